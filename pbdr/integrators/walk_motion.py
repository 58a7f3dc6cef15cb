"""How a walk through an object follows its shape.

Every point of a walk moves with a field U that is that of the surface on the surface, and continuous inside: the
walk's density, a product over its flights and turns,

    w = Π exp(-σt r) / r² · cosθ (at the boundary) · phase, or the density of the boundary's facets,

then has the derivative ∂ log w · U + Σ ∇·U, in which nothing is singular: points that are close to one another move
alike :cite:`zhang2020path`. Inside, U is interpolated along the line through a point in a direction e, one for each
walk, between all places where it crosses the surface,

    U(x) = Σ ±V_i / D_i / Σ ±1 / D_i,

D_i the distance, + where the line leaves the object and - where it enters it. At the surface one D_i → 0; where the line
begins or ceases to touch a part of the surface two terms cancel. So U is continuous for every closed shape.

Lines are drawn in the direction of the first flight's lobe. The slide of x_o against the surface, where it is held on a ray,
is shared as `face_slide` says, and inside by `_cone`.

The walk is followed once more with the same random numbers. Derivatives of w come one point later than the point itself,
when the next two are known; only three points are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from ..bssrdfs.random_walk import Matter, advance, begin, henyey_greenstein
from ..bssrdfs.rough_boundary import log_facet
from ..scene.shapes import follow
from ..scene.tangents import ONCE
from .entry_motion import area_of, spans_of
from .face_slide import STEEP, FaceSlide, step

MOST_CROSSINGS = 32  # of a line
SHORT = 1e-6  # flights, relative to coordinates, whose ends are taken to move alike: rounding would count
GRAZING = 1e-3  # least cosine between line and normal
START, FREE, REFLECTED, ENTRY = range(4)  # what a point is


@dataclass
class Joint:
    """A point of the walk, and what the logarithm of its density changes by where it moves."""

    kind: Any  # UInt32
    p: Any  # Point3f
    ray: Any  # leads to it,
    pi: Any  # ... if it is on the surface: hit,
    n: Any  # ... with this normal,
    m: Any  # ... and that of the facet
    folded: Any  # Bool, see `Event`
    q: Any  # Vector3f, derivative by the point
    qn: Any  # ... by the normal
    live: Any  # Bool: still to be moved


@dataclass
class AtStart:
    """Derivatives by what belongs to x_o: the point, its shading normal, the view, and its slide over the surface."""

    p: Any
    n: Any
    view: Any
    slide: Any
    total: Any  # Float, what all other points have changed (forward mode)


@dr.syntax
def follow_walk(
    mode: dr.ADMode, scene: Any, si: Any, matter: Matter, rng: Any, e: Any, around: FaceSlide, weights: Any, active: Any
) -> AtStart:
    """Move all points of a walk but its first; in backward mode, add the gradient to the scene's parameters.

    Args:
        si: x_o, detached.
        rng: as it was when the walk was made.
        e: unit Vector3f.
        around: the surface about x_o.
        weights: Spectrum, factors on the logarithm of each colour.
    """
    with dr.suspend_grad():
        view = si.to_world(si.wi)
        h = dr.sum(weights)
        s, m = begin(si, matter, rng, active)
        before, here = _blank(s.ray), _blank(s.ray)
        here.kind, here.p, here.n, here.m = mi.UInt32(START), mi.Point3f(si.p), mi.Vector3f(si.sh_frame.n), m
        here.live = mi.Bool(active)
        start = AtStart(mi.Vector3f(0), mi.Vector3f(0), mi.Vector3f(0), mi.Vector3f(0), mi.Float(0))
        left = dr.select(active, mi.UInt32(2), 0)  # points to be moved after the walk has ended
        while dr.hint(s.active | (left > 0), label=f"pbdr walk motion ({mode.name})"):
            walking = mi.Bool(s.active)
            ray = mi.Ray3f(s.ray)
            there = _blank(ray)
            event = advance(scene, matter, s)
            new = walking & (event.scattered | event.reflected | event.through)
            there.kind = dr.select(
                event.through, mi.UInt32(ENTRY), dr.select(event.reflected, mi.UInt32(REFLECTED), FREE)
            )
            there.p, there.pi = mi.Point3f(event.p), s.pi
            there.n, there.m, there.folded = event.n, event.m, event.folded
            there.live = new
            δ = _slopes(before, here, there, view, matter, weights, new)
            before.q += δ[0]
            here.q += δ[1]
            there.q = δ[2]
            here.qn += δ[3]
            there.qn = δ[4]
            start.view += δ[5]

            # After the end of the walk, the last two follow.
            ended = ~walking & (left > 0)
            moves = new | ended
            done = moves & before.live
            first = done & (before.kind == START)
            start.p += dr.select(first, before.q, 0)
            start.n += dr.select(first, before.qn, 0)
            slide, total = _move(mode, scene, matter, before, e, around, h, done & ~first)
            start.slide += slide
            start.total += total
            before = dr.select(moves, here, before)
            here = dr.select(moves, there, here)
            left = dr.select(ended, left - 1, left)
        return start


def _blank(ray: Any) -> Joint:
    pi = dr.zeros(mi.PreliminaryIntersection3f)
    zeros = (mi.Vector3f(0) for _ in range(2))
    return Joint(
        mi.UInt32(FREE),
        mi.Point3f(0),
        mi.Ray3f(ray),
        pi,
        mi.Vector3f(0),
        mi.Vector3f(0),
        mi.Bool(False),
        *zeros,
        mi.Bool(False),
    )


def _slopes(before: Joint, here: Joint, there: Joint, view: Any, matter: Matter, weights: Any, active: Any) -> list:
    """Derivatives of what the logarithm of w gains with point ``there``: by the three points, the normals of the last
    two, and the view."""
    with dr.resume_grad():
        a, b, c = (mi.Vector3f(x.p) for x in (before, here, there))
        nb, nc = mi.Vector3f(here.n), mi.Vector3f(there.n)
        v = mi.Vector3f(view)
        leaves = [a, b, c, nb, nc, v]
        dr.enable_grad(leaves)
        started, free, reflected = (active & (here.kind == k) for k in (START, FREE, REFLECTED))
        entry, bounded = active & (there.kind == ENTRY), active & (there.kind != FREE)
        to = _flight(there.ray.d, b, c)
        r = dr.norm(to)
        out = to / r
        arrived = dr.normalize(_flight(here.ray.d, a, b))

        # The flight.
        common = -2 * dr.log(r)
        common += dr.select(bounded, dr.log(dr.maximum(dr.dot(nc, out), 1e-6)), 0)
        colours = -matter.σ_t * r
        # The turn before it.
        cos = dr.dot(arrived, out)
        colours += dr.select(free, dr.log(henyey_greenstein(matter.g, cos)), 0)
        common += dr.select(reflected, _log_reflected(nb, -arrived, out, here, matter), 0)
        common += dr.select(started, _log_refracted(nb, v, out, here.m, matter), 0)
        # Through the boundary at its end.
        common += dr.select(entry, _log_passed(dr.dot(nc, out), dr.detach(out), there, matter), 0)
        total = dr.select(active, dr.sum(weights * colours) + dr.sum(weights) * common, 0)
        dr.backward_from(total)
        return [dr.select(active & dr.all(dr.isfinite(dr.grad(x))), dr.grad(x), 0) for x in leaves]


def _flight(d: Any, start: Any, end: Any) -> Any:
    """From one point to the next, attached, in the direction that was flown: rays start a little beside surfaces, which
    would turn short ones."""
    length = dr.detach(dr.norm(end - start))
    least = SHORT * dr.maximum(dr.max(dr.abs(dr.detach(end))), 1e-6)
    fixed = d * dr.maximum(length, least)
    return dr.replace_grad(fixed, dr.select(length > least, end - start, fixed))


def _log_passed(cos: Any, out: Any, joint: Joint, matter: Matter) -> Any:
    """Logarithm of the density of the facet that lets ``out`` pass. It is held in the frame of direction and normal,
    which keeps Fresnel's F."""
    facing, c, fixed = -dr.dot(joint.m, out), -dr.dot(joint.m, joint.n), dr.detach(cos)
    sine = dr.sqrt(dr.maximum(1 - dr.square(fixed), 1e-6))
    sideways = dr.clip((c - facing * fixed) / sine, -1, 1)
    c = dr.replace_grad(c, facing * cos + sideways * (sine - (cos - fixed) * fixed / sine))
    return log_facet(cos, c, facing, matter.alpha)


def _log_reflected(n: Any, ω: Any, out: Any, joint: Joint, matter: Matter) -> Any:
    """Logarithm of the density of ``out`` where a facet has reflected ω (both lead away from the boundary, inward)."""
    out = dr.select(joint.folded, out - n * (2 * dr.dot(out, n)), out)
    half = dr.select(joint.kind == REFLECTED, ω + out, mi.Vector3f(0, 0, 1))
    m = dr.normalize(half)
    cos = dr.maximum(dr.dot(ω, m), 1e-6)
    F = mi.fresnel(-cos, matter.eta)[0]
    F = dr.select(F < 1, F, 1)  # total reflection has no slope
    return dr.log(dr.maximum(F, 1e-6) / cos) + log_facet(-dr.dot(n, ω), -dr.dot(n, m), cos, matter.alpha)


def _log_refracted(n: Any, view: Any, out: Any, facet: Any, matter: Matter) -> Any:
    """The same where a facet refracts the view."""
    half = view + out * matter.eta
    half = dr.select(dr.squared_norm(half) > 1e-12, half, facet)
    m = dr.normalize(half)
    m = dr.select(dr.dot(m, facet) < 0, -m, m)
    both = dr.dot(view, m) + matter.eta * dr.dot(out, m)
    density = dr.maximum(-dr.dot(out, m), 1e-6) / dr.maximum(dr.square(both), 1e-8)
    return dr.log(density) + log_facet(dr.dot(n, view), dr.dot(n, m), dr.dot(view, m), matter.alpha)


@dr.syntax
def _move(mode, scene, matter, joint, e, around, h, active):
    """Move one point: (derivative by the slide of x_o, change in forward mode)."""
    surface = active & (joint.kind != FREE)
    grows = dr.select(joint.kind == REFLECTED, h, 0)  # of where light has entered, the area is the caller's
    shared = around.at(joint.pi, mi.Vector3f(joint.p), joint.n, surface).by(joint.q, grows, joint.qn)
    slide = dr.select(surface, shared, 0)
    total = _surface(mode, joint, grows, surface)
    inside = active & (joint.kind == FREE)
    g, dg = _cone(scene, matter.shape, around, joint.p, inside)
    slide += dr.select(inside, joint.q * g + dg * h, 0)
    q, rest = joint.q * (1 - g) - dg * h, h * (1 - g)
    W, dW = _crossings(scene, matter.shape, joint.p, e, inside)
    c = _Crossing(ray=mi.Ray3f(joint.ray), ahead=mi.Bool(True), hits=mi.UInt32(0), active=inside & (W > 0))
    c.ray.o, c.ray.d = joint.p, e
    c.ray.maxt = dr.largest(mi.Float)
    while dr.hint(c.active, max_iterations=MOST_CROSSINGS, label="pbdr walk line"):
        ray = mi.Ray3f(c.ray)
        pi, x, D, sign, along = _crossing(scene, matter.shape, joint.p, e, c)
        on = sign != 0
        D = dr.select(on, D, 1)
        share = dr.select(on, sign / (D * W), 0)
        slope = mi.Vector3f(x.n) / (D * along) - dW / W  # ∂ log share
        pull = (joint.q + slope * h) * share
        stretch = h * share
        slid = around.at(pi, mi.Vector3f(x.p), mi.Vector3f(x.n), on).along(e, (q + slope * rest) * share, rest * share)
        slide += dr.select(on, slid, 0)
        total += _on_line(mode, pi, ray, pull, stretch, on)
    return slide, total


@dataclass
class _Crossing:
    """The next crossing of a line, first ahead, then behind."""

    ray: Any
    ahead: Any
    hits: Any
    active: Any


def _crossing(scene, shape, p, e, c):
    """(hit, point, distance, ± 1 or 0, n·direction) of the next crossing; goes on to the one after it."""
    pi = scene.ray_intersect_preliminary(c.ray, coherent=False, reorder=False, active=c.active)
    x = pi.compute_surface_interaction(c.ray, mi.RayFlags.Minimal, c.active)
    hit = c.active & pi.is_valid()
    d = mi.Vector3f(c.ray.d)
    along = dr.dot(x.n, d)
    D = dr.maximum(dr.dot(x.p - p, d), 1e-9)
    sign = dr.select(hit & (pi.shape == shape), dr.sign(along), 0)
    along = dr.mulsign(dr.maximum(dr.abs(along), GRAZING), along)
    back = mi.Ray3f(c.ray)
    back.o, back.d = p, -e
    beyond = x.spawn_ray(d)
    c.ray = dr.select(hit, beyond, back)
    c.active &= hit | c.ahead
    c.ahead &= hit
    c.hits += 1
    c.active &= c.hits < MOST_CROSSINGS
    return pi, x, D, sign, along


@dr.syntax
def _crossings(scene, shape, p, e, active):
    """Σ ±1 / D over the line, and its gradient."""
    W, dW = mi.Float(0), mi.Vector3f(0)
    ray = dr.zeros(mi.Ray3f)
    ray.o, ray.d, ray.maxt = mi.Point3f(p), mi.Vector3f(e), dr.largest(mi.Float)
    c = _Crossing(ray=ray, ahead=mi.Bool(True), hits=mi.UInt32(0), active=mi.Bool(active))
    while dr.hint(c.active, max_iterations=MOST_CROSSINGS, label="pbdr walk crossings"):
        _, x, D, sign, along = _crossing(scene, shape, p, e, c)
        W += sign / D
        dW += mi.Vector3f(x.n) * (sign / (dr.square(D) * along))
    return W, dW


@dr.syntax
def _cone(scene, shape, around, p, active):
    """g and its gradient: how far a point below x_o on a mesh moves as x_o does, whatever flows around it.

    The direction of the first flight has a narrow lobe. g = f(angle to the normal) ψ, where ψ = 1 / (1 + r Σ ±1 / D_i) with
    the crossings beyond x_o of the line through x_o and the point, r from x_o: 1 at x_o and 0 on the surface.
    """
    to = mi.Vector3f(p - around.p)
    r = dr.maximum(dr.norm(to), 1e-9)
    ω = to / r
    f, df = step(-dr.dot(around.n, ω), STEEP)
    df = around.n * -df
    df = (df - ω * dr.dot(df, ω)) / r
    S, dS = mi.Float(0), mi.Vector3f(0)
    on = active & around.mesh & (f > 0)
    inside = mi.Bool(on)
    ray = around.spawn_ray(ω)
    hits = mi.UInt32(0)
    while dr.hint(on, max_iterations=MOST_CROSSINGS, label="pbdr walk cone"):
        pi = scene.ray_intersect_preliminary(ray, coherent=False, reorder=False, active=on)
        y = pi.compute_surface_interaction(ray, mi.RayFlags.Minimal, on)
        on &= pi.is_valid()
        t = dr.dot(mi.Vector3f(y.p) - around.p, ω)
        along = dr.dot(y.n, ω)
        along = dr.mulsign(dr.maximum(dr.abs(along), GRAZING), along)
        ahead = dr.select(t > r, mi.Float(1), -1)
        D = dr.maximum(ahead * (t - r), 1e-9)
        sign = dr.select(on & (pi.shape == shape), ahead * dr.sign(along), 0)
        S += sign / D
        dD = ahead * ((ω - mi.Vector3f(y.n) / along) * (t / r) - ω)
        dS -= dD * (sign / dr.square(D))
        ray = y.spawn_ray(ω)
        hits += 1
        on &= hits < MOST_CROSSINGS
    inside &= S > 0
    ψ = dr.rcp(1 + r * dr.maximum(S, 0))
    dψ = -dr.square(ψ) * (ω * S + dS * r)
    return dr.select(inside, f * ψ, 0), dr.select(inside, df * ψ + dψ * f, 0)


# Functions of their own: what is attached must be gone before the next loop begins.


def _carried(mode, value):
    """Carry a derivative on: its change in forward mode, 0 in backward mode."""
    if not dr.grad_enabled(value):
        return mi.Float(0)
    if mode == dr.ADMode.Backward:
        dr.backward_from(value)
        return mi.Float(0)
    return mi.Float(dr.forward_to(value, flags=ONCE))


def _surface(mode, joint, grows, active):
    with dr.resume_grad():
        x = follow(joint.pi, joint.ray, active)
        value = dr.dot(joint.q, mi.Vector3f(x.p)) + dr.dot(joint.qn, mi.Vector3f(x.n))
        value += grows * dr.log(area_of(joint.pi, joint.ray, active))
        return _carried(mode, dr.select(active, value, 0))


def _on_line(mode, pi, ray, pull, stretch, active):
    """Motion of one crossing, and the divergence that it brings into U."""
    with dr.resume_grad():
        x = follow(pi, ray, active)
        u, v = spans_of(pi, ray, active)
        fixed_u, fixed_v, d = dr.detach(u), dr.detach(v), mi.Vector3f(ray.d)
        volume = dr.dot(fixed_u, dr.cross(fixed_v, d))
        inverse = dr.select(active & (dr.abs(volume) > 1e-20), 1 / volume, 0)
        trace = dr.dot(dr.cross(fixed_v, d), u) + dr.dot(dr.cross(d, fixed_u), v)
        value = dr.dot(pull, mi.Vector3f(x.p)) + stretch * inverse * trace
        return _carried(mode, dr.select(active, value, 0))
