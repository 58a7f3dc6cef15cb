"""Points that fill a cube more evenly than random ones."""

from __future__ import annotations

from typing import Any

import mitsuba as mi


def lattice(index: Any, dimensions: int, seed: Any) -> list[Any]:
    """Coordinates of point number ``index`` of a Kronecker sequence, shifted at random.

    x_d = frac(index · g^-(d+1) + shift_d), g the root of g^(dimensions+1) = g + 1. Each point is
    uniform by itself; all together are stratified in every coordinate. In 32-bit integers: exact
    for any index.

    Args:
        index: UInt32.
        seed: UInt32, of the shift.
    """
    g = 2.0
    for _ in range(64):
        g = (1 + g) ** (1 / (dimensions + 1))
    points = []
    for d in range(dimensions):
        step = mi.UInt32(round(2**32 * g ** -(d + 1)) & 0xFFFFFFFF)
        shift = mi.sample_tea_32(mi.UInt32(seed), mi.UInt32(d + 77))[0]
        bits = index * step + shift
        points.append(mi.Float(bits >> 8) * 2**-24)
    return points
