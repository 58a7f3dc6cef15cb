"""Camera rays through perfect mirrors and smooth glass: the map from the film to the ray behind them.

A chain is a sequence of Dirac lobes. Which lobes is drawn once (`explore`); `follow` then sends
other film positions through the same surfaces and lobes, so the map is smooth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from .led_segments import Link, shifted

LAST = 0.99999994  # the largest number below 1: BSDFs with two Dirac lobes choose the second one


@dataclass
class Chain:
    """The first ``length`` vertices of a path, all of them Dirac lobes.

    Attributes:
        ray: Ray3f that leaves the last vertex.
        length: UInt32; 0 where there is none.
        lobes: UInt32, bit j tells which of two lobes vertex j takes.
        signature: UInt32, hash of shapes and lobes.
        β: Spectrum, product of the lobes' values (not divided by their probability).
        pdf: Float, probability of choosing these lobes and this length.
        null: Bool, all of them are null lobes.
    """

    ray: Any
    length: Any
    lobes: Any
    signature: Any
    β: Any
    pdf: Any
    null: Any


def _empty(ray: Any) -> Chain:
    return Chain(
        ray=mi.Ray3f(ray), length=mi.UInt32(0), lobes=mi.UInt32(0), signature=mi.UInt32(0), β=mi.Spectrum(1),
        pdf=mi.Float(1), null=mi.Bool(True),
    )  # fmt: skip


def _sign(signature: Any, si: Any, bs: Any) -> Any:
    shape = dr.reinterpret_array(mi.UInt32, si.shape) + 8191 * dr.reinterpret_array(mi.UInt32, si.instance)
    return (signature * 31 + shape) * 31 + bs.sampled_component


@dr.syntax
def explore(scene: Any, rng: Any, ray: Any, first_hit: Any, limit: int, active: Any) -> Chain:
    """Draw Dirac lobes until a vertex has none, and one of the lengths that occur (each as likely).

    Args:
        limit: largest length.
    """
    context = mi.BSDFContext()
    s, chosen = _empty(ray), _empty(ray)
    pi = mi.PreliminaryIntersection3f(first_hit)
    going = mi.Bool(active)
    while going:
        si = pi.compute_surface_interaction(s.ray, ray_flags=mi.RayFlags.All, active=going)
        bsdf = si.bsdf(s.ray)
        some = si.is_valid() & mi.has_flag(bsdf.flags(), mi.BSDFFlags.Delta)
        u, square = rng.next_1d(), mi.Point2f(0.5)
        bs, weight = bsdf.sample(context, si, u, square, some)
        first, _ = bsdf.sample(context, si, 0, square, some)
        going = some & mi.has_flag(bs.sampled_type, mi.BSDFFlags.Delta) & (bs.pdf > 0)
        second = bs.sampled_component != first.sampled_component
        s.lobes[going & second] = s.lobes | (mi.UInt32(1) << s.length)
        s.signature[going] = _sign(s.signature, si, bs)
        s.β[going] = s.β * weight * bs.pdf
        s.pdf[going] = s.pdf * bs.pdf
        s.null[going] = s.null & mi.has_flag(bs.sampled_type, mi.BSDFFlags.Null)
        s.length[going] = s.length + 1
        s.ray[going] = si.spawn_ray(si.to_world(bs.wo))
        take = going & (rng.next_1d() * mi.Float(s.length) < 1)
        chosen = dr.select(take, s, chosen)
        going &= s.length < limit
        pi = scene.ray_intersect_preliminary(s.ray, coherent=False, reorder=False, active=going)
    chosen.pdf = chosen.pdf / dr.maximum(mi.Float(s.length), 1)
    return chosen


@dr.syntax
def follow(scene: Any, ray: Any, first_hit: Any, lobes: Any, length: Any, active: Any) -> Chain:
    """The chain of given lobes and length from another ray; ``length`` 0 where it breaks off."""
    context = mi.BSDFContext()
    s = _empty(ray)
    pi = mi.PreliminaryIntersection3f(first_hit)
    going = mi.Bool(active) & (length > 0)
    while going:
        si = pi.compute_surface_interaction(s.ray, ray_flags=mi.RayFlags.All, active=going)
        bsdf = si.bsdf(s.ray)
        u = dr.select((lobes >> s.length) & 1 != 0, mi.Float(LAST), 0)
        bs, weight = bsdf.sample(context, si, u, mi.Point2f(0.5), going & si.is_valid())
        going &= si.is_valid() & mi.has_flag(bs.sampled_type, mi.BSDFFlags.Delta) & (bs.pdf > 0)
        s.signature[going] = _sign(s.signature, si, bs)
        s.β[going] = s.β * weight * bs.pdf
        s.pdf[going] = s.pdf * bs.pdf
        s.null[going] = s.null & mi.has_flag(bs.sampled_type, mi.BSDFFlags.Null)
        s.length[going] = s.length + 1
        s.ray[going] = si.spawn_ray(si.to_world(bs.wo))
        going &= s.length < length
        pi = scene.ray_intersect_preliminary(s.ray, coherent=False, reorder=False, active=going)
    s.length = dr.select(s.length == length, s.length, 0)
    return s


def links_of(scene: Any, ray: Any, first_hit: Any, lobes: Any, length: Any, most: int) -> list[Link]:
    """The vertices of a chain, the last one first (see `led_segments`).

    Args:
        most: largest ``length``.
    """
    context = mi.BSDFContext()
    links = [Link.none(ray) for _ in range(most + 1)]
    segment, pi = mi.Ray3f(ray), first_hit
    for j in range(most):
        on = length > j
        si = pi.compute_surface_interaction(segment, mi.RayFlags.All, on)
        u = dr.select((lobes >> j) & 1 != 0, mi.Float(LAST), 0)
        bs, _ = si.bsdf().sample(context, si, u, mi.Point2f(0.5), on)
        links = shifted(links, Link(segment, pi, u, mi.Point2f(0.5), mi.Bool(True)), on)
        segment = si.spawn_ray(si.to_world(bs.wo))
        pi = scene.ray_intersect_preliminary(segment, coherent=False, reorder=False, active=on & (length > j + 1))
    return links
