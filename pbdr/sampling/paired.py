"""Random numbers shared by the two sides of an edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi


@dataclass
class PairedSampler:
    """An independent sampler whose lanes 2i and 2i + 1 draw the same numbers.

    Both paths of an edge sample then make the same choices, and what they have in common cancels
    in L(inside) - L(outside). It has the two methods that a path loop calls.
    """

    rng: Any  # mi.PCG32

    def next_1d(self) -> Any:
        return self.rng.next_float32()

    def next_2d(self) -> Any:
        return mi.Point2f(self.rng.next_float32(), self.rng.next_float32())


def paired_sampler(seed: Any, pairs: int) -> PairedSampler:
    """A sampler for ``2 * pairs`` lanes."""
    return seeded(seed, dr.arange(mi.UInt32, 2 * pairs) >> 1)


def both_sides(values: Any) -> Any:
    """Sum of lanes 2i and 2i + 1, the two sides of one sample."""
    i = 2 * dr.arange(mi.UInt32, dr.width(values) // 2)
    return dr.gather(mi.Float, values, i) + dr.gather(mi.Float, values, i + 1)


def lane_sampler(seed: Any, count: int) -> PairedSampler:
    """A sampler for ``count`` independent lanes."""
    return seeded(seed, dr.arange(mi.UInt32, count))


def seeded(seed: Any, stream: Any) -> PairedSampler:
    """The sampler number ``stream`` of lanes that have a ``seed`` each; for use inside loops."""
    a, b = mi.sample_tea_32(seed, stream)
    rng = dr.zeros(mi.PCG32)
    rng.inc = (mi.UInt64(b) << 1) | 1
    rng.state = (mi.UInt64(a) << 32) | mi.UInt64(b)
    rng.next_uint32()
    return PairedSampler(rng)


def continued(u1: Any, u2: Any, u3: Any) -> PairedSampler:
    """A sampler that starts from uniform numbers (Float, Point2f, Float), for what needs an unknown number of them."""
    a, b, c, d = (dr.reinterpret_array(mi.UInt32, mi.Float(u)) for u in (u1, u2.x, u2.y, u3))
    return seeded(mi.sample_tea_32(a, b)[0], mi.sample_tea_32(c, d)[0])
