"""Checkpoints: plain arrays plus a JSON side file, written to a temporary name and renamed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InputError


def save(folder: Path, step: int, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> Path:
    """Write ``step-%09d.npz`` and ``.json``; a killed process leaves either all of it or nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:09d}.npz"
    _replace(path.with_suffix(".json"), json.dumps({"step": step, **facts}).encode())
    temporary = folder / f".{path.name}.{os.getpid()}"
    with open(temporary, "wb") as f:
        np.savez(f, **arrays)
        f.flush()
        os.fsync(f.fileno())
    os.replace(temporary, path)  # last: a checkpoint exists once its arrays do
    return path


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def latest(folder: Path) -> tuple[int, dict[str, np.ndarray], dict[str, Any]]:
    """The newest checkpoint that can be read.

    Raises:
        InputError: there is none.
    """
    for path in sorted(folder.glob("step-*.npz"), reverse=True):
        try:
            facts = json.loads(path.with_suffix(".json").read_text())
            with np.load(path, allow_pickle=False) as stored:
                return int(facts["step"]), dict(stored), facts
        except (OSError, ValueError, KeyError):
            continue
    raise InputError(f"{folder}: no readable checkpoint; start the experiment anew with pbdr optimize.")
