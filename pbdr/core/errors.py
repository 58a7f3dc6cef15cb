"""The one exception family a user meets: bad input, always with a remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PbdrError(Exception):
    """Base class of the errors that pbdr raises on purpose (exit status 2 in the CLI)."""


class BackendError(PbdrError):
    """No usable CUDA device or LLVM library."""


class InputError(PbdrError, ValueError):
    """A file, key, value or scene that cannot be used as it is."""


class UnsupportedError(PbdrError, NotImplementedError):
    """A request whose result would be wrong: refused instead of returned."""


def near_matches(name: str, known: Iterable[str], count: int = 3) -> str:
    """`` Did you mean 'a' or 'b'?`` for the closest of ``known``, or an empty string."""
    known = [str(k) for k in known]
    found = difflib.get_close_matches(name, known, n=count, cutoff=0.5)
    if not found:
        tail = name.rsplit(".", 1)[-1]
        found = [k for k in known if k.rsplit(".", 1)[-1] == tail][:count]
    if not found:
        return ""
    return " Did you mean " + " or ".join(repr(k) for k in found) + "?"


_warned: set[str] = set()


def warn_once(message: str) -> None:
    """Write a warning to Mitsuba's log, the first time."""
    import mitsuba as mi

    if message not in _warned:
        _warned.add(message)
        mi.Log(mi.LogLevel.Warn, message)
