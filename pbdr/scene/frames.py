"""Transforms of many shapes as arrays, for use by index."""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi


def columns(transforms: list[Any]) -> tuple[Any, Any, Any, Any]:
    """Axes x, y, z and origins of affine transforms (mi.Transform4f): Vector3f each, one lane per transform, attached if they are.

    By a call of one function per transform, which Dr.Jit merges: its code does not grow with their number. Joined number by
    number, a hundred transforms take LLVM twenty seconds.
    """

    def of(matrix: Any) -> Any:
        return lambda: tuple(mi.Vector3f(matrix[0, j], matrix[1, j], matrix[2, j]) for j in range(4))

    if len(transforms) == 1:
        return of(transforms[0].matrix)()
    functions = [of(t.matrix) for t in transforms]
    return dr.switch(dr.arange(mi.UInt32, len(functions)), functions)
