"""Frozen functions that survive Python's garbage collector."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from typing import Any

import drjit as dr


def recording() -> bool:
    """Whether a frozen function is being recorded."""
    return dr.flag(dr.JitFlag.FreezingScope)


def freeze(function: Callable) -> Callable:
    """`drjit.freeze`, with the cyclic garbage collector paused during calls.

    Mitsuba ends the process if a scene is freed while kernels are recorded: a collection may free
    one that has nothing to do with the recording.
    """
    frozen = dr.freeze(function)

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        collecting = gc.isenabled()
        gc.disable()
        try:
            return frozen(*args)
        finally:
            if collecting:
                gc.enable()

    return call
