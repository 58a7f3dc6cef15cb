"""Where results are to go, asked before the work begins."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import InputError


def require_writable(path: str | Path, name: str) -> None:
    """Refuse the name of a file that cannot be written.

    Raises:
        InputError: names ``name`` and the remedy.
    """
    path = Path(path)
    there = next(p for p in (path, *path.absolute().parents) if p.exists())
    if path.is_dir() or not os.access(there, os.W_OK):
        raise InputError(f"{name} {path}: it cannot be written. Name a file in a folder of yours.")


def require_folder(path: str | Path, name: str) -> Path:
    """The path of a folder that exists, or can be made (it is not left behind).

    Raises:
        InputError: names ``name``, path and reason.
    """
    path = Path(path)
    missing = [p for p in (path, *path.parents) if not p.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = (
            "there is a file of that name"
            if isinstance(error, FileExistsError)
            else (error.strerror or str(error)).lower()
        )
        raise InputError(f"{name} {path}: cannot be made a folder ({why}); give another one.") from None
    for made in missing:
        made.rmdir()
    return path
