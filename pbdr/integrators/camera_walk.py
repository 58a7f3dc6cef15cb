"""Camera paths that stop at a chosen vertex: where a boundary event is looked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi


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
    active: Any


@dr.syntax
def walk(scene: Any, rng: Any, ray: Any, first_hit: Any, skip: Any, limit: int, active: Any) -> Walk:
    """Follow BSDF samples past ``skip`` rough vertices (those with a lobe that is not a Dirac one).

    Args:
        limit: number of vertices, at most, before the one that is returned.
    """
    context = mi.BSDFContext()
    s = Walk(
        ray=mi.Ray3f(ray),
        pi=first_hit,
        depth=mi.UInt32(0),
        β=mi.Spectrum(1),
        left=mi.UInt32(skip),
        found=mi.Bool(False),
        active=mi.Bool(active),
    )
    while s.active:
        si = s.pi.compute_surface_interaction(s.ray, ray_flags=mi.RayFlags.All)
        bsdf = si.bsdf(s.ray)
        rough = si.is_valid() & mi.has_flag(bsdf.flags(), mi.BSDFFlags.Smooth)
        s.found = rough & (s.left == 0)
        on = si.is_valid() & ~s.found & (s.depth < limit)
        bs, weight = bsdf.sample(context, si, rng.next_1d(), rng.next_2d(), on)
        on &= dr.max(mi.unpolarized_spectrum(weight)) > 0
        ray_next = si.spawn_ray(si.to_world(bs.wo))
        s.pi[on] = scene.ray_intersect_preliminary(ray_next, coherent=False, reorder=False, active=on)
        s.ray[on] = ray_next
        s.β[on] = s.β * weight
        s.depth[on] = s.depth + 1
        s.left[on & rough] = s.left - 1
        s.active = on
    return s
