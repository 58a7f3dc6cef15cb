"""Discovery of libLLVM: what is refused, and what the message says. Each case in its own process."""

import glob
import os
import subprocess
import sys

from pbdr import backend

RUN = [sys.executable, "-c", "import pbdr; print('imported')"]


def start(tmp_path, **environment):
    env = {k: v for k, v in os.environ.items() if k != backend.ENVIRONMENT}
    return subprocess.run(
        RUN, env={**env, "XDG_CACHE_HOME": str(tmp_path), **environment}, capture_output=True, text=True, check=False
    )


def test_library_is_found_without_a_variable(tmp_path):
    result = start(tmp_path)
    assert result.returncode == 0, result.stderr
    library, _ = backend.find_llvm()
    assert library is None or library.version[0] >= backend.MINIMUM_LLVM


def test_missing_library_is_named(tmp_path):
    result = start(tmp_path, **{backend.ENVIRONMENT: "/nowhere/libLLVM.so"})
    assert result.returncode == 1
    assert "/nowhere/libLLVM.so" in result.stderr and "no such file" in result.stderr
    assert "unset it" in result.stderr


def test_broken_library_does_not_abort(tmp_path):
    broken = tmp_path / "libLLVM.so"
    broken.write_bytes(b"\x7fELF not really")
    result = start(tmp_path, **{backend.ENVIRONMENT: str(broken)})
    assert result.returncode == 1
    assert "BackendError" in result.stderr


def test_library_without_the_version_function_is_refused():
    found = backend.probe(next(iter([*glob.glob("/lib*/*/libc.so.6"), "/usr/lib/libSystem.dylib"])))
    assert not found.usable


def test_old_versions_are_not_usable():
    assert not backend.Library("x", (14, 0, 6)).usable
    assert not backend.Library("x", (16, 0, 0)).usable
    assert backend.Library("x", (17, 0, 0)).usable


def test_remedy_names_a_package():
    assert "llvm" in backend.remedy().lower()


def test_doctor_reports_a_bad_library(tmp_path):
    env = {**os.environ, backend.ENVIRONMENT: "/nowhere/libLLVM.so", "XDG_CACHE_HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-m", "pbdr", "doctor"], env=env, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "FAULT" in result.stdout or "/nowhere/libLLVM.so" in result.stdout + result.stderr
