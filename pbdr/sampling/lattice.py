"""Points that fill a cube more evenly than random ones."""

from __future__ import annotations

from typing import Any

import drjit as dr
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


class EvenNumbers:
    """Numbers of a lattice for the first vertex of paths that start near each other, in the order of their lanes.

    What they look at is nearly the same, so that even numbers cancel a part of each other's noise. A plain class: no loop state.

    Args:
        index: UInt32, number of the path.
        seed: UInt32.
    """

    COUNT = 8

    def __init__(self, index: Any, seed: Any):
        self.points = lattice(index, self.COUNT, seed)

    def one(self, k: int, u: Any, first: Any) -> Any:
        """Coordinate ``k`` where ``first``, elsewhere ``u``."""
        return dr.select(first, self.points[k], u)

    def pair(self, k: int, u: Any, first: Any) -> Any:
        """Coordinates ``k`` and ``k + 1``, likewise."""
        return dr.select(first, mi.Point2f(self.points[k], self.points[k + 1]), u)
