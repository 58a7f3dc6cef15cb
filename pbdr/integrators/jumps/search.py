"""Points on jump curves, found by short random segments across what is seen.

For curves in a plane (or on the unit sphere) and segments of length δ whose beginning has density p and whose
direction is isotropic, each crossing c at which the unit normal n has the angle n·d to the direction counts

    E Σ_c 2 |n·d| h(c) / (δ p) = ∫ h dl,

Crofton's formula with the weight |n·d|, which keeps near-tangential crossings, on which a search may fail, from
counting much. Of a segment on which the functions g are not smooth (another shape, a fold, a seam) one half is taken, rather
that in which one is seen to pass an integer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from ...scene.instances import same_surface
from .levels import Levels

HALVINGS = 12  # of a segment at most
QUIET, DIVIDED = (
    0.05,
    0.4,
)  # chance of parts on which nothing is seen to jump, or on two shapes, beside those where it is
BENT = 0.5  # deviation from a straight line, relative to the difference between the ends, of a g that is monotone
LEAST = 1e-3  # the same of the whole segment, at least: nearer to each other values differ by rounding
STEPS = 7  # of the search for a root
PROBE = 0.05  # of the part of a segment: distance at which slopes are taken


@dataclass
class Crossing:
    """One jump on a segment, its place not yet known exactly.

    Attributes:
        a, b: Float, part of the segment on which it is.
        slot: UInt32, of the function that passes ``level``, an integer (Float).
        times: Float, number of crossings that this one stands for; 0 if there is none.
    """

    a: Any
    b: Any
    slot: Any
    level: Any
    times: Any


@dataclass
class Piece:
    """State of the search for a part [a, b] of a segment, smooth or short."""

    a: Any
    b: Any
    hit_a: Any
    hit_b: Any
    halved: Any  # UInt32
    worth: Any  # Float, 1 / probability of this part
    smooth: Any  # Bool
    going: Any  # Bool


@dataclass
class Root:
    """Where a curve is crossed.

    Attributes:
        t: Float, distance from the beginning of the segment.
        hit: what is seen there.
        along, across: derivatives of g in the direction of the segment, and at right angles.
        found: Bool.
    """

    t: Any
    hit: Any
    along: Any
    across: Any
    found: Any


def whole(view: Any, δ: Any, active: Any) -> Piece:
    """All of a segment, before it is halved."""
    zero = mi.Float(0)
    return Piece(
        a=dr.zeros(mi.Float, dr.width(active)),
        b=mi.Float(δ),
        hit_a=view.hit(zero, zero, active),
        hit_b=view.hit(mi.Float(δ), zero, active),
        halved=mi.UInt32(0),
        worth=mi.Float(1),
        smooth=mi.Bool(False),
        going=mi.Bool(active),
    )


def keep(s: Piece, m: Any, hit: Any, first: Any, second: Any) -> None:
    """Go on with the part before ``m``, where ``hit`` is seen, in lanes ``first``, with that behind it in lanes ``second``."""
    s.b[first] = m
    s.hit_b[first] = hit
    s.a[second] = m
    s.hit_a[second] = hit


@dr.syntax
def find_crossing(levels: Levels, view: Any, δ: Any, rng: Any, active: Any) -> Crossing:
    """Choose one crossing on each segment.

    Args:
        view: has ``hit(t, w, active)`` and ``surface(hit, t, w, active)``: what is seen from the point at distance t along the
            segment and w beside it, a preliminary and a full intersection.
        δ: Float, length of segments.
        rng: sampler.
    """
    s = whole(view, δ, active)
    s.going &= levels.any(s.hit_a.shape) | levels.any(s.hit_b.shape)
    while s.going:
        m = 0.5 * (s.a + s.b)
        hit = view.hit(m, mi.Float(0), s.going)
        smooth = s.hit_a.is_valid() & same_surface(s.hit_a, s.hit_b) & same_surface(s.hit_a, hit)
        si_a = view.surface(s.hit_a, s.a, mi.Float(0), s.going)
        si_b = view.surface(s.hit_b, s.b, mi.Float(0), s.going)
        si_m = view.surface(hit, m, mi.Float(0), s.going)
        smooth &= is_smooth(levels, s.hit_a.shape, si_a, si_m, si_b)
        ends = (
            smooth
            | (s.halved >= HALVINGS)
            | ~(levels.any(s.hit_a.shape) | levels.any(s.hit_b.shape) | levels.any(hit.shape))
        )
        s.smooth = smooth
        chances = [_likely(levels, *pair) for pair in ((s.hit_a, si_a, hit, si_m), (hit, si_m, s.hit_b, si_b))]
        share = chances[0] / (chances[0] + chances[1])
        first = rng.next_1d() < share
        s.worth[~ends] = s.worth / dr.select(first, share, 1 - share)
        keep(s, m, hit, ~ends & first, ~ends & ~first)
        s.halved[~ends] = s.halved + 1
        s.going = ~ends

    si_a = view.surface(s.hit_a, s.a, mi.Float(0), s.smooth)
    si_b = view.surface(s.hit_b, s.b, mi.Float(0), s.smooth)
    low, high = levels.values(si_a, s.hit_a.shape), levels.values(si_b, s.hit_b.shape)
    total, counts, lowest = mi.Float(0), [], []
    for ga, gb in zip(low, high):
        fa, fb = dr.floor(ga), dr.floor(gb)
        counts.append(dr.abs(fb - fa))
        lowest.append(dr.minimum(fa, fb))
        total += counts[-1]
    # One of them, all equally likely.
    k = dr.minimum(dr.floor(rng.next_1d() * total), total - 1)
    slot, level, before = mi.UInt32(0), mi.Float(0), mi.Float(0)
    for q, (count, least) in enumerate(zip(counts, lowest)):
        here = (k >= before) & (k < before + count)
        slot = dr.select(here, q, slot)
        level = dr.select(here, least + 1 + (k - before), level)
        before += count
    times = dr.select(s.smooth & (total > 0), total * s.worth, 0)
    return Crossing(s.a, s.b, slot, level, times)


def _likely(levels: Levels, hit_a: Any, a: Any, hit_b: Any, b: Any) -> Any:
    """Float: how likely one of two parts is to be that with a jump, whose ends these are."""
    passed = mi.Bool(False)
    for ga, gb in zip(levels.values(a, hit_a.shape), levels.values(b, hit_b.shape)):
        passed |= dr.floor(ga) != dr.floor(gb)
    return dr.select(same_surface(hit_a, hit_b), dr.select(passed, 1, mi.Float(QUIET)), DIVIDED)


def is_smooth(levels: Levels, shape: Any, a: Any, m: Any, b: Any) -> Any:
    """Bool: between three points in a row the surface goes on, and no g passes the same integer twice."""
    fine = levels.convex(shape) | (dr.norm(m.p - (a.p + b.p) * 0.5) <= BENT * dr.norm(b.p - a.p))
    unbroken = mi.Bool(True)
    for ga, gm, gb in zip(*(levels.guards(x, shape) for x in (a, m, b))):
        unbroken &= (dr.floor(ga) == dr.floor(gb)) & (dr.floor(ga) == dr.floor(gm))
    for ga, gm, gb in zip(*(levels.values(x, shape) for x in (a, m, b))):
        bend = dr.abs(ga + gb - 2 * gm)
        low, high = dr.minimum(dr.minimum(ga, gb), gm), dr.maximum(dr.maximum(ga, gb), gm)
        quiet = dr.floor(low - bend) == dr.floor(high + bend)
        fine &= quiet | (unbroken & (bend <= BENT * dr.abs(gb - ga)))
    return fine


def on_both_sides(found: Any, lane: Any) -> Any:
    """Bool: so it is on both sides of a sample, lanes ``lane`` and ``lane ^ 1``."""
    dr.eval(found)
    return found & dr.gather(mi.Bool, found, lane ^ 1)


def apart_from_edges(hit: Any, ray: Any, lane: Any, active: Any) -> Any:
    """Bool: the two sides do not lie on two faces of a mesh that are bent against each other.

    Texture coordinates often follow the faces. What jumps along a bent edge belongs to the edge.
    """
    n = hit.compute_surface_interaction(ray, mi.RayFlags.Minimal, active).n
    face = mi.UInt32(hit.prim_index)
    dr.eval(n, face)
    other = dr.gather(mi.Normal3f, n, lane ^ 1)
    bent = dr.squared_norm(dr.cross(n, other)) > 1e-7
    return ~(bent & (face != dr.gather(mi.UInt32, face, lane ^ 1)))


def choose(values: list, slot: Any) -> Any:
    """``values[slot]`` of each lane."""
    out = mi.Float(0)
    for q, g in enumerate(values):
        out = dr.select(slot == q, g, out)
    return out


@dr.syntax
def find_root(levels: Levels, view: Any, c: Crossing, δ: Any, active: Any) -> Root:
    """The exact place of a crossing, by the Illinois rule, and the slopes there."""
    begins = view.hit(c.a, mi.Float(0), active)

    def g(t, w, on):
        hit = view.hit(t, w, on)
        si = view.surface(hit, t, w, on)
        on = on & same_surface(hit, begins)
        return choose(levels.values(si, begins.shape), c.slot) - c.level, on, hit

    zero = mi.Float(0)
    a, b = mi.Float(c.a), mi.Float(c.b)
    ga, on, _ = g(a, zero, active)
    gb, on, _ = g(b, zero, on)
    on &= ga * gb <= 0
    side = mi.Float(0)
    k = mi.UInt32(0)
    while (k < STEPS) & on:
        t = dr.clip((a * gb - b * ga) / dr.select(gb == ga, 1, gb - ga), dr.minimum(a, b), dr.maximum(a, b))
        gt, on, _ = g(t, mi.Float(0), on)
        left = gt * gb > 0  # the root lies before t
        ga = dr.select(left & (side < 0), ga * 0.5, ga)
        gb = dr.select(~left & (side > 0), gb * 0.5, gb)
        b, gb = dr.select(left, t, b), dr.select(left, gt, gb)
        a, ga = dr.select(left, a, t), dr.select(left, ga, gt)
        side = dr.select(left, mi.Float(-1), 1)
        k += 1
    t = dr.clip((a * gb - b * ga) / dr.select(gb == ga, 1, gb - ga), dr.minimum(a, b), dr.maximum(a, b))
    here, on, hit = g(t, zero, on)
    h = dr.maximum(PROBE * (c.b - c.a), LEAST * δ)
    slopes = []
    for dt, dw in ((h, zero), (zero, h)):
        up, up_on, _ = g(t + dt, dw, on)
        down, down_on, _ = g(t - dt, -dw, on)
        slopes.append(
            dr.select(up_on & down_on, (up - down) / (2 * h), dr.select(up_on, (up - here) / h, (here - down) / h))
        )
        on &= up_on | down_on
    size = dr.hypot(*slopes)
    on &= (size > 0) & dr.isfinite(size) & (dr.abs(here) < 1e-2 * size * δ + 1e-5 * (1 + dr.abs(c.level)))
    return Root(t, hit, *slopes, on)
