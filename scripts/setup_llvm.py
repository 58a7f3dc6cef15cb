"""Make sure that CUDA or a libLLVM >= 17 is there: find, else install, else unpack, else explain."""

from __future__ import annotations

import glob
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHOICES = ("22", "21", "20", "19", "18", "17")


def load_backend():
    """`pbdr.backend` without `import pbdr`, which would stop where no library is found."""
    sys.path.insert(0, str(ROOT))
    import types

    package = types.ModuleType("pbdr")
    package.__path__ = [str(ROOT / "pbdr")]
    sys.modules["pbdr"] = package
    return importlib.import_module("pbdr.backend")


def run(*command: str, cwd: str | None = None) -> bool:
    print("+", " ".join(command), flush=True)
    return subprocess.run(command, cwd=cwd, check=False).returncode == 0


def root_prefix() -> list[str] | None:
    """How to become root without a question; ``None`` if that is not possible."""
    if os.geteuid() == 0:
        return []
    if (
        shutil.which("sudo")
        and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    ):
        return ["sudo", "-n"]
    return None


def apt_package() -> str | None:
    """The newest libllvm package (17 or later) that apt knows."""
    listing = subprocess.run(["apt-cache", "pkgnames", "libllvm"], capture_output=True, text=True, check=False).stdout
    for version in CHOICES:
        for name in (f"libllvm{version}", f"libllvm{version}t64"):
            if re.search(rf"^{name}$", listing, re.M):
                return name
    return None


def unpack(package: str) -> bool:
    """Without root: download the package and its libraries into .llvm."""
    target = ROOT / ".llvm"
    (target / "deps").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name in (package, "libz3-4", "libedit2", "libxml2", "libbsd0", "libmd0", "libicu72"):
            run("apt-get", "download", name, cwd=scratch)
        for deb in glob.glob(f"{scratch}/*.deb"):
            run("dpkg", "-x", deb, f"{scratch}/unpacked")
        for path in glob.glob(f"{scratch}/unpacked/usr/lib/*-linux-gnu/lib*.so*"):
            if "libLLVM" in path:
                shutil.copy(path, target, follow_symlinks=True)
            else:
                shutil.copy(path, target / "deps", follow_symlinks=True)
    return bool(list(target.glob("libLLVM*")))


def main() -> int:
    backend = load_backend()
    if backend.has_cuda() or backend.find_llvm()[0]:
        return 0
    print(f"No libLLVM >= {backend.MINIMUM_LLVM} found.")
    if sys.platform == "darwin" and shutil.which("brew"):
        run("brew", "install", "llvm")
    elif shutil.which("apt-get"):
        prefix = root_prefix()
        if prefix is not None:
            run(*prefix, "apt-get", "update", "-qq")
        package = apt_package()
        if package and prefix is not None:
            run(*prefix, "apt-get", "install", "-y", "-qq", package)
        elif package:
            print("Not root: unpacking into .llvm instead of installing.")
            unpack(package)
    backend.find_llvm.cache_clear()
    if backend.find_llvm()[0]:
        return 0
    print(
        f"pbdr needs libLLVM >= {backend.MINIMUM_LLVM} and could not install it. Run: {backend.remedy()}",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
