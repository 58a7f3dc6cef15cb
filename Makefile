# Two commands: `make demo` and `make test`. Both set everything up first.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3.10 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all lint typecheck setup clean cases

demo: setup
	$(BIN)/pbdr optimize scenes/vase

test: setup lint
	$(BIN)/python -m pytest

test-all: setup lint
	$(BIN)/python -m pytest -m "slow or not slow"

lint: setup
	$(BIN)/ruff check pbdr tests benchmarks scenes scripts
	$(BIN)/ruff format --check pbdr tests benchmarks scenes scripts

typecheck: setup
	$(BIN)/pyright --pythonpath $(BIN)/python

cases: setup
	$(BIN)/python benchmarks/bm_bias.py

setup: $(VENV)/.ready
	@$(BIN)/python scripts/setup_llvm.py

$(VENV)/.ready: pyproject.toml scripts/setup_venv.sh
	sh scripts/setup_venv.sh "$(PYTHON)" $(VENV)
	touch $@

clean:
	rm -rf $(VENV) .llvm build *.egg-info
