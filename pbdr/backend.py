"""Find CUDA or a libLLVM that Dr.Jit can use, before Mitsuba is loaded.

LLVM 14 to 16 abort the whole process at the first render, so a library is accepted only after
it has told its own version, and it is asked in a child process: a broken file cannot take the
user's process with it.
"""

from __future__ import annotations

import ctypes
import functools
import glob
import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .core.errors import BackendError

MINIMUM_LLVM = 17
ENVIRONMENT = "DRJIT_LIBLLVM_PATH"
PREFERENCE = ("cuda_ad_rgb", "llvm_ad_rgb")

# Runs in a child: load, ask the version, print it.
_PROBE = """
import ctypes, glob, os, sys
path = sys.argv[1]
for needed in sorted(glob.glob(os.path.join(os.path.dirname(path), "deps", "*.so*"))):
    ctypes.CDLL(needed, mode=ctypes.RTLD_GLOBAL)
lib = ctypes.CDLL(path)
parts = [ctypes.c_uint() for _ in range(3)]
lib.LLVMGetVersion(*[ctypes.byref(p) for p in parts])
print(".".join(str(p.value) for p in parts))
"""


@dataclass(frozen=True)
class Library:
    """A libLLVM on this machine: its path, version (``None``: unusable) and what was wrong."""

    path: str
    version: tuple[int, ...] | None
    fault: str = ""

    @property
    def usable(self) -> bool:
        return self.version is not None and self.version[0] >= MINIMUM_LLVM


def project_llvm_dir() -> Path:
    """Where ``make setup`` unpacks a library when it may not install packages."""
    return Path(__file__).resolve().parent.parent / ".llvm"


def _candidates() -> list[str]:
    """Every usual place, the user's own choice first, then newer names before older."""
    found: list[str] = []
    if os.environ.get(ENVIRONMENT):
        found.append(os.environ[ENVIRONMENT])
    name = "libLLVM*.dylib" if sys.platform == "darwin" else "libLLVM*.so*"
    roots = [
        str(project_llvm_dir()),
        *sorted(glob.glob("/usr/lib/llvm-*/lib"), reverse=True),
        "/opt/homebrew/opt/llvm/lib",
        "/usr/local/opt/llvm/lib",
        *sorted(glob.glob("/opt/homebrew/opt/llvm@*/lib"), reverse=True),
        *sorted(glob.glob("/usr/local/opt/llvm@*/lib"), reverse=True),
        *glob.glob("/usr/lib/*-linux-gnu"),
        "/usr/lib64",
        "/usr/lib",
        "/usr/local/lib",
        os.path.join(sys.prefix, "lib"),
    ]
    for config in _on_path("llvm-config"):
        roots.append(_run([config, "--libdir"]).strip())
    for line in _run(["ldconfig", "-p"]).splitlines() if sys.platform != "darwin" else ():
        if "libLLVM" in line and "=>" in line:
            found.append(line.split("=>")[-1].strip())
    for root in filter(None, roots):
        found += sorted(glob.glob(os.path.join(root, name)), reverse=True)
    unique: dict[str, str] = {}
    for path in found:
        unique.setdefault(os.path.realpath(path), path)
    own = os.environ.get(ENVIRONMENT)
    rest = [p for p in unique.values() if p != own]
    rest.sort(key=_version_in_name, reverse=True)
    return ([own] if own else []) + rest


def _version_in_name(path: str) -> float:
    numbers = re.findall(r"(\d+)", os.path.basename(os.path.realpath(path)))
    return float(numbers[0]) if numbers else 0.0


def _on_path(prefix: str) -> list[str]:
    hits = []
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        hits += glob.glob(os.path.join(folder, prefix)) + glob.glob(os.path.join(folder, f"{prefix}-[0-9]*"))
    return hits


def _run(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def probe(path: str) -> Library:
    """Ask one library for its version in a child process."""
    if not os.path.isfile(path):
        return Library(path, None, "no such file")
    try:
        child = subprocess.run(
            [sys.executable, "-c", _PROBE, path], capture_output=True, text=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        return Library(path, None, "did not answer within 60 s")
    if child.returncode != 0:
        lines = child.stderr.strip().splitlines()
        return Library(path, None, lines[-1] if lines else f"the probe ended with status {child.returncode}")
    return Library(path, tuple(int(p) for p in child.stdout.strip().split(".")))


@functools.lru_cache(maxsize=1)
def find_llvm() -> tuple[Library | None, tuple[Library, ...]]:
    """The library to use (or ``None``) and every library looked at on the way.

    A good answer is remembered per user and file time, so that `import pbdr` does not start a
    child process each time.
    """
    seen = []
    for path in _candidates():
        library = _remembered(path) or probe(path)
        seen.append(library)
        if library.usable:
            _remember(library)
            return library, tuple(seen)
    return None, tuple(seen)


def _memo_file() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "pbdr" / "llvm.json"


def _stamp(path: str) -> list:
    info = os.stat(path)
    return [os.path.realpath(path), info.st_mtime_ns, info.st_size]


def _remembered(path: str) -> Library | None:
    try:
        memo = json.loads(_memo_file().read_text())
        if memo["path"] == path and memo["stamp"] == _stamp(path):
            return Library(path, tuple(memo["version"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None


def _remember(library: Library) -> None:
    try:
        file = _memo_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(f".{os.getpid()}")
        temporary.write_text(
            json.dumps({"path": library.path, "stamp": _stamp(library.path), "version": library.version})
        )
        temporary.replace(file)
    except OSError:
        pass  # only a speed-up


def has_cuda() -> bool:
    """Whether a CUDA driver with at least one device answers."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def remedy() -> str:
    """The command that installs a suitable LLVM on this system."""
    if sys.platform == "darwin":
        return "brew install llvm"
    release = {}
    try:
        for line in Path("/etc/os-release").read_text().splitlines():
            key, _, value = line.partition("=")
            release[key] = value.strip('"')
    except OSError:
        pass
    family = f"{release.get('ID', '')} {release.get('ID_LIKE', '')}"
    if "ubuntu" in family:
        return "sudo apt-get install libllvm19 (Ubuntu 24.04 and later; libllvm17t64 also works)"
    if "debian" in family:
        return "sudo apt-get install libllvm19"
    if "fedora" in family or "rhel" in family:
        return "sudo dnf install llvm-libs"
    if "arch" in family:
        return "sudo pacman -S llvm-libs"
    return f"install libLLVM {MINIMUM_LLVM} or newer with the package manager of {platform.platform()}"


def setup() -> Library | None:
    """Point Dr.Jit to a usable LLVM. Called by ``import pbdr`` before Mitsuba loads.

    Raises:
        BackendError: neither CUDA nor libLLVM >= 17 was found, or ``DRJIT_LIBLLVM_PATH`` names a
            library that would abort the process.
    """
    wanted = os.environ.get(ENVIRONMENT)
    library, seen = find_llvm()
    if wanted and seen and not seen[0].usable:
        first = seen[0]
        what = first.fault or f"it is LLVM {'.'.join(map(str, first.version or ()))}, older than {MINIMUM_LLVM}"
        fix = f"unset it (pbdr would use {library.path})" if library else f"unset it and run: {remedy()}"
        raise BackendError(f"{ENVIRONMENT}={wanted} cannot be used: {what}. To repair: {fix}.")
    if library is not None:
        for needed in sorted(glob.glob(os.path.join(os.path.dirname(library.path), "deps", "*.so*"))):
            ctypes.CDLL(needed, mode=ctypes.RTLD_GLOBAL)
        os.environ[ENVIRONMENT] = library.path
        return library
    if has_cuda():
        return None
    looked = "; ".join(f"{s.path}: {s.fault or 'LLVM ' + '.'.join(map(str, s.version or ()))}" for s in seen)
    raise BackendError(
        f"No CUDA device and no libLLVM >= {MINIMUM_LLVM} found"
        f" (looked at: {looked or 'no library at all'}). To repair, run: {remedy()}"
    )


def best_variant() -> str:
    """``cuda_ad_rgb`` where a CUDA device answers, else ``llvm_ad_rgb``."""
    return PREFERENCE[0] if has_cuda() else PREFERENCE[1]
