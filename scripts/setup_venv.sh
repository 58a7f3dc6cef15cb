#!/bin/sh
# Create the virtual environment. On Debian and Ubuntu, python3-venv is installed where it is missing.
set -eu
python=$1
venv=$2
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
if [ -z "$python" ] && command -v apt-get >/dev/null 2>&1; then
    echo "No Python 3.10 to 3.13 with venv: installing python3-venv"
    as_root apt-get update -qq
    as_root apt-get install -y -qq python3 python3-venv
    python=python3
fi
if [ -z "$python" ]; then
    echo "pbdr needs Python 3.10 to 3.13 with the venv module. On macOS: brew install python@3.12" >&2
    exit 2
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install -q --disable-pip-version-check --upgrade pip
"$venv/bin/python" -m pip install -q --disable-pip-version-check -e ".[dev]"
