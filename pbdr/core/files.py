"""Where results are to go, asked before the work begins."""

from __future__ import annotations

from pathlib import Path

from .errors import InputError


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
