"""Camera paths that stop at a chosen vertex: where a boundary event is looked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from .led_segments import Link, shifted


@dataclass
class Walk:
    """State of one path; after the loop, the vertex at which it stopped.

    ``ray`` leads to vertex ``pi``, number ``depth``; ``β`` is the throughput up to it.
    """

    ray: Any
    pi: Any
    depth: Any
    β: Any
    left: Any  # UInt32: rough vertices still to be passed
    found: Any  # Bool: stopped at a vertex with a rough lobe
    entered: Any  # Bool: the vertex is where light entered a translucent object
    ray_prev: Any  # the vertex before
    pi_prev: Any
    near: Any  # Vector2f, of `entry_motion`
    links: list[Link]  # the vertices before, see `led_segments`
    active: Any


@dr.syntax
def walk(
    scene: Any,
    step: Any,
    rng: Any,
    ray: Any,
    first_hit: Any,
    skip: Any,
    limit: int,
    active: Any,
    held: Any = None,
    links: int = 0,
) -> Walk:
    """Follow BSDF samples past ``skip`` rough vertices (those with a lobe that is not a Dirac one).

    Of a translucent object, either the boundary is the vertex, or the point where light entered.

    Args:
        step: `SubsurfaceStep` or ``None``.
        limit: number of vertices, at most, before the one that is returned.
        held: of `sliding_film.FirstPoint`, or ``None``.
        links: number of vertices to remember.
    """
    translucent = step is not None
    context = step.context if translucent else mi.BSDFContext()
    s = Walk(
        ray=mi.Ray3f(ray),
        pi=first_hit,
        depth=mi.UInt32(0),
        β=mi.Spectrum(1),
        left=mi.UInt32(skip),
        found=mi.Bool(False),
        entered=mi.Bool(False),
        ray_prev=mi.Ray3f(ray),
        pi_prev=dr.zeros(mi.PreliminaryIntersection3f),
        near=mi.Vector2f(0),
        links=[Link.none(ray) for _ in range(links)],
        active=mi.Bool(active),
    )
    while s.active:
        si = s.pi.compute_surface_interaction(s.ray, ray_flags=mi.RayFlags.All)
        bsdf = si.bsdf(s.ray)
        u1, u2 = rng.next_1d(), rng.next_2d()
        rough = si.is_valid() & mi.has_flag(bsdf.flags(), mi.BSDFFlags.Smooth)
        if dr.hint(translucent, mode="scalar"):
            visit = step.visit(si, bsdf, s.entered, u1, s.active & si.is_valid())
            u1 = visit.u
            # The object itself is met one vertex later.
            rough &= ~visit.leaving | (visit.coat & mi.has_flag(bsdf.flags(), mi.BSDFFlags.Glossy))
        s.found = rough & (s.left == 0)
        on = si.is_valid() & ~s.found & (s.depth < limit)
        if dr.hint(translucent, mode="scalar"):
            s.β[s.found & visit.leaving] = s.β / visit.share
            on |= si.is_valid() & ~s.found & ~visit.coat
        bs, weight = bsdf.sample(context, si, u1, u2, on)
        ray_next = si.spawn_ray(si.to_world(bs.wo))
        traced = mi.Bool(on)
        if dr.hint(translucent, mode="scalar"):
            bs, weight = visit.choose(bs, weight, u2)
            entering = on & ~visit.coat
            us = rng.next_1d(), rng.next_2d(), rng.next_1d()
            entry = step.enter(scene, si, bsdf, visit, us, _held(held, s.depth), entering)
            weight = dr.select(entering, entry.weight, weight)
            ray_next = si.spawn_ray(si.to_world(bs.wo))
            traced &= ~entering
        on &= dr.max(mi.unpolarized_spectrum(weight)) > 0
        pi_next = scene.ray_intersect_preliminary(ray_next, coherent=False, reorder=False, active=traced & on)
        s.β[on] = s.β * weight
        s.left[on & rough] = s.left - 1
        if dr.hint(translucent, mode="scalar"):
            pi_next[entering] = entry.pi
            ray_next[entering] = entry.ray
            s.ray_prev[on], s.pi_prev[on] = s.ray, s.pi
            s.near[on] = entry.near
            s.entered[on] = entering
            s.depth[on & ~entering] = s.depth + 1
        else:
            s.depth[on] = s.depth + 1
        if dr.hint(links > 0, mode="scalar"):
            delta = mi.has_flag(bs.sampled_type, mi.BSDFFlags.Delta)
            s.links = shifted(s.links, Link(s.ray, s.pi, mi.Float(u1), mi.Point2f(u2), delta), on)
        s.pi[on] = pi_next
        s.ray[on] = ray_next
        s.active = on
    return s


def _held(held: Any, depth: Any) -> Any:
    return mi.Float(1) if held is None else dr.select(depth == 0, held, 1)
