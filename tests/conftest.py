"""One variant for all tests (LLVM, or what PBDR_VARIANT names); memory and kernels are given back between modules."""

import gc
import os
import re
from pathlib import Path

import pytest

import pbdr

os.environ.setdefault("PBDR_VARIANT", "llvm_ad_rgb")  # child processes follow
pbdr.set_variant()

import drjit as dr  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def release_memory():
    yield
    gc.collect()
    dr.flush_malloc_cache()


@pytest.fixture
def collector_off():
    """Mitsuba ends the process if a plugin of another test is freed while kernels are recorded."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


MESSAGES = pytest.StashKey[dict]()


@pytest.fixture
def refuse(request):
    """``refuse(title, words, call, error)``: the call must fail and say all ``words``."""
    said = request.config.stash.setdefault(MESSAGES, {})

    def check(title, words, call, kind=pbdr.InputError):
        with pytest.raises(kind) as error:
            call()
        message = str(error.value).strip()
        said[title] = message.splitlines()[-1]
        for word in [words] if isinstance(words, str) else words:
            assert word in message

    return check


def pytest_addoption(parser):
    parser.addoption("--table", help="write the messages of tests/test_bad_input.py to this file (with -n 0)")


def pytest_sessionfinish(session):
    path = session.config.getoption("--table")
    if not path:
        return
    rows = [f"| {title} | {' '.join(m.split())} |" for title, m in sorted(session.config.stash[MESSAGES].items())]
    head = "# What bad input gets\n\nWritten by `pytest tests/test_bad_input.py -n 0 --table FILE`.\n\n| input | message |\n|---|---|\n"
    root = str(session.config.rootpath)
    text = head + "\n".join(rows).replace(root, ".") + "\n"
    Path(path).write_text(re.sub(r"/[^ |']*/pytest-[^/ ]*/pytest-\d+/[^/ ]*", "<folder>", text))
