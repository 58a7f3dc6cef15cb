"""How much memory one wavefront may take: renders and their adjoints are split to stay below it."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from .errors import InputError

SHARE = 0.5  # of the free memory, where nothing was said
LEAST = 64 << 20
MOST_SAMPLES = 1 << 24  # per pixel: with more, means of float32 numbers no longer change
_UNITS = {"": 1, "k": 10, "m": 20, "g": 30, "t": 40}
_budget: int | None = None


def parse_size(text: str | int) -> int:
    """Bytes from ``4GiB``, ``500M`` or a number.

    Raises:
        InputError: not a size, or too small to render with.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", str(text).lower())
    if match is None:
        raise InputError(f"'{text}' is not a memory size; write for instance 500MiB or 4GiB.")
    unit = _UNITS[match[2]]
    size = int(float(match[1]) * (unit if unit == 1 else 1 << unit))
    if size < LEAST:
        raise InputError(f"A memory budget of '{text}' is too small; give at least {LEAST >> 20}MiB.")
    return size


def set_budget(size: str | int | None) -> None:
    """Bytes that one wavefront may take; ``None``: a share of what is free."""
    global _budget
    _budget = None if size is None else parse_size(size)


def budget() -> int:
    """The bytes set by `set_budget`, else by the variable ``PBDR_MEMORY``, else half of what is free.

    The free memory is asked once per process, so that a repeated render is split the same way.
    """
    global _budget
    if _budget is None:
        text = os.environ.get("PBDR_MEMORY")
        _budget = parse_size(text) if text else max(int(SHARE * free()), LEAST)
    return _budget


def free() -> int:
    """Free bytes: of the CUDA device in a CUDA variant, else of the machine (within its container's limit)."""
    import mitsuba as mi

    if (mi.variant() or "").startswith("cuda"):
        return _ask("nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits", scale=1 << 20)
    if sys.platform == "darwin":
        # Inactive pages are free for the asking; half of the machine is close enough.
        return _ask("sysctl", "-n", "hw.memsize", scale=1) // 2
    found = []
    try:
        with open("/proc/meminfo") as f:
            found += [int(line.split()[1]) << 10 for line in f if line.startswith("MemAvailable")]
    except OSError:
        pass
    try:
        with open("/sys/fs/cgroup/memory.max") as limit, open("/sys/fs/cgroup/memory.current") as used:
            text = limit.read().strip()
            if text != "max":
                found.append(max(int(text) - int(used.read()), 0))
    except (OSError, ValueError):
        pass
    return min(found, default=4 << 30)


def _ask(*command: str, scale: int) -> int:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
        return int(answer.split()[0]) * scale
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return 4 << 30
