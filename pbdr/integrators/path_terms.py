"""The terms of the path loop: one function each, called with gradients resumed where they count.

Notation: β throughput, Le emitted radiance, f BSDF times foreshortening, ω_i direction to the
previous vertex, ω_o direction to the next, J = |n·ω| / r² the Jacobian of solid angle to area.
"""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi

from ..scene.instances import all_shapes
from ..scene.shapes import follow, has_rim
from .entry_motion import entry_point
from .face_slide import FaceSlide

EDGE_ON = 3e-4  # cosine between ray and normal


def mis_weight(a: Any, b: Any) -> Any:
    """Power heuristic a² / (a² + b²), detached; 0 where undefined."""
    a2 = dr.square(a)
    w = a2 / dr.fma(b, b, a2)
    return dr.detach(dr.select(dr.isfinite(w), w, 0))


def grazes(si: Any, ray: Any) -> Any:
    """Is a surface met so flatly that the rounding of the hit decides over its derivative, which grows like 1 / cos?

    One ray in 10⁷ meets a sphere like that, and 1 / cos of the rounded hit may be any number. Of the derivative about twice
    `EDGE_ON` is left out.
    """
    return si.is_valid() & (dr.abs_dot(si.n, ray.d) < EDGE_ON)


def area_jacobian(o: Any, p: Any, n: Any, active: Any) -> Any:
    """J = |n·ω| / r² with ω = (p - o) / r; 1 for inactive lanes and coincident points."""
    d = p - o
    active &= dr.squared_norm(d) > 1e-17  # r⁴, in its derivative, must stay a normal float
    d = dr.select(active, d, mi.Vector3f(1, 0, 0))
    r2 = dr.squared_norm(d)
    J = dr.abs_dot(n, d * dr.rsqrt(r2)) / r2
    return dr.select(active & (J > 0), J, 1)


def relative(x: Any) -> Any:
    """1 with the derivative of log ``x``, of the same type (`dr.relative_grad` forgets that of spectra)."""
    return type(x)(dr.relative_grad(x))


def none_left_out(zero: Any, *results: Any) -> Any:
    """0, attached to results of calls that nothing else uses.

    In forward mode Dr.Jit 1.5 raises an exception where a call has an attached result that the traversal does not come by.

    Args:
        zero: Float that is not a literal.
    """
    total = mi.Float(0)
    for x in results:
        total += x if dr.depth_v(x) == 1 else dr.sum(x)
    return dr.replace_grad(mi.Float(0), zero * total)


def attach_entry(s: Any, walks: bool) -> tuple[Any, Any]:
    """(current segment, point before): both attached to the motion of points where light entered an object.

    From such a point a probe leads that follows it; any other vertex before is held on its ray.
    """
    prev = s.pi_prev.compute_surface_interaction(s.ray_prev, mi.RayFlags.Minimal, s.entered | (s.depth >= 1))
    material = follow(s.pi_prev, s.ray_prev, s.entered | s.entered_prev)
    around = FaceSlide(s.pi_prev, s.ray_prev, s.entered) if walks else None
    p, _ = entry_point(follow(s.pi, s.ray, s.entered), prev, material, s.near, around)
    attached = mi.Ray3f(s.ray)
    attached.o = dr.select(s.entered, dr.replace_grad(s.ray.o, p), s.ray.o)
    before = s.pi_before.compute_surface_interaction(s.ray_before, mi.RayFlags.Minimal, s.entered_prev)
    around = FaceSlide(s.pi_before, s.ray_before, s.entered_prev) if walks else None
    p, _ = entry_point(material, before, follow(s.pi_before, s.ray_before, s.entered_prev), s.near_prev, around)
    return attached, dr.select(s.entered_prev, p, prev.p)


def attach_incident_direction(si: Any, before: Any, active: Any) -> None:
    """Let ω_i at ``si`` follow the motion of the previous vertex, at ``before``, in place.

    The point itself is held: its own motion is the concern of the Jacobian of the segment, which
    is taken at the other end (algorithms: Worchel 2025).
    """
    active &= si.is_valid()  # what lies at infinity sees no motion
    toward = dr.select(active, before - dr.detach(si.p), mi.Vector3f(0, 0, 1))
    wi = si.to_local(dr.normalize(toward))
    si.wi = dr.replace_grad(si.wi, dr.select(active, wi, si.wi))


def face_the_viewer(scene: Any, si: Any, active: Any) -> None:
    """Turn a shading normal that looks away from a visible side just back to it, in place.

    Beside a polygonal silhouette the interpolated normal already points away. One-sided emission
    and reflection switch off there, in a rim that moves with the silhouette: its two borders are
    counted as one. Where it is wide (`has_rim`) they are not: the inner one is a jump inside the surface.
    """
    for s in all_shapes(scene):
        if has_rim(s):
            active &= si.shape != mi.ShapePtr(s)
    wi = si.to_world(si.wi)
    n = si.sh_frame.n
    # A mirrored mesh winds the other way than its normals point.
    side = dr.sign(dr.dot(si.n, wi) * dr.dot(si.n, n))
    cos = dr.dot(n, wi)
    wrong = active & (cos * side < 1e-3)
    n = dr.select(wrong, dr.normalize(n + wi * (side * 1e-3 - cos)), n)
    frame = mi.Frame3f(n)
    si.sh_frame = dr.select(wrong, frame, si.sh_frame)
    si.wi = dr.select(wrong, frame.to_local(wi), si.wi)


def reference_point(si: Any) -> Any:
    """The part of ``si`` that emitter sampling asks for, detached: a small loop variable."""
    it = dr.zeros(mi.Interaction3f)
    it.t, it.time, it.wavelengths = dr.detach(si.t), si.time, si.wavelengths
    it.p, it.n = dr.detach(si.p), dr.detach(si.n)
    return it


def emitted(scene: Any, si: Any, s: Any, active: Any) -> Any:
    """Le toward the previous vertex, weighted against emitter sampling there."""
    ds = mi.DirectionSample3f(scene, si=dr.detach(si), ref=s.it_prev)
    pdf_em = scene.pdf_emitter_direction(s.it_prev, ds, ~s.delta_prev)
    return mis_weight(s.pdf_prev, pdf_em) * ds.emitter.eval(si, active)


def attach_emitter_sample(scene: Any, si: Any, ds: Any, weight: Any, sample: Any, traits: Any, active: Any):
    """Re-evaluate a detached emitter sample with derivatives; returns ``(ds, weight)``.

    Points on area lights are held in area measure (J), or follow the surface where their texture
    does; directions to environments are held. Point-like lights have nothing to hold: the same
    ``sample`` is drawn again, attached, so distance, direction and projected texture all move.
    """
    flags = ds.emitter.flags()
    on_surface = mi.has_flag(flags, mi.EmitterFlags.Surface)
    infinite = mi.has_flag(flags, mi.EmitterFlags.Infinite)
    held = dr.detach(ds)
    d = dr.select(infinite, held.d, dr.normalize(held.p - si.p))
    ds_att = dr.detach(ds)
    ds_att.d = dr.replace_grad(held.d, d)
    if traits.textured_area_lights and traits.moving:
        textured = active & on_surface & mi.has_flag(flags, mi.EmitterFlags.SpatiallyVarying)
        ray = dr.detach(si).spawn_ray_to(held.p)
        ray.o = dr.fma(ray.d, ray.maxt, ray.o)  # visibility is known: start beside the light
        ray.maxt = dr.largest(ray.maxt)
        si_em = scene.ray_intersect(ray, textured)
        follow = mi.DirectionSample3f(scene, si_em, si)
        ds_att = dr.replace_grad(held, dr.select(textured, follow, ds_att))
    value = scene.eval_emitter_direction(si, ds_att, active)
    if traits.turning_sky:
        # The direction is held, not the place on the map.
        far = dr.zeros(mi.SurfaceInteraction3f)
        far.wi, far.time, far.wavelengths = -held.d, si.time, si.wavelengths
        sky = active & infinite & ~held.delta
        value = dr.select(sky, ds.emitter.eval(far, sky), value)
    inv_pdf = dr.select(held.pdf != 0, dr.rcp(held.pdf), 0)
    weight = dr.replace_grad(weight, value * inv_pdf)
    if traits.delta_lights:
        delta = active & held.delta
        again, value = scene.sample_emitter_direction(si, sample, False, delta)
        ds_att.d = dr.select(delta, dr.replace_grad(held.d, again.d), ds_att.d)
        weight = dr.select(delta, dr.replace_grad(dr.detach(weight), value), weight)
    if traits.moving:
        J = area_jacobian(si.p, held.p, held.n, active & on_surface)
        weight = weight * relative(J)
    return ds_att, weight


def on_its_side(si: Any, bs: Any) -> Any:
    """Is a BSDF sample on the side that its lobe reaches?

    Microfacets have samples on the other one, whose weight is zero for every parameter: such a lobe is not black.
    """
    same = mi.Frame3f.cos_theta(si.wi) * mi.Frame3f.cos_theta(bs.wo) > 0
    return same == mi.has_flag(bs.sampled_type, mi.BSDFFlags.Reflection)


def scattered_direction(si: Any, p: Any, ray_next: Any, si_next: Any, moving: bool) -> Any:
    """Local direction to the next vertex, attached to the motion of this one, ``p``."""
    if not moving:
        return si.to_local(ray_next.d)
    toward = dr.normalize(si_next.p - p)
    return si.to_local(dr.replace_grad(ray_next.d, dr.select(si_next.is_valid(), toward, ray_next.d)))


def first_vertex(s: Any, first: Any, walks: bool) -> Any:
    """The current vertex as light inside an object sees it; ``first``: a `FirstPoint`, how it moves if the sensor sees it."""
    segment, before = attach_entry(s, walks)
    si = s.pi.compute_surface_interaction(segment, ray_flags=mi.RayFlags.All)
    attach_incident_direction(si, before, (s.depth >= 1) & ~s.entered)
    if first is None:
        return si
    seen = s.depth == 0
    material = s.pi.compute_surface_interaction(s.ray, mi.RayFlags.All | mi.RayFlags.FollowShape, seen)
    held = dr.select(seen, first.held, 1)

    def between(a: Any, b: Any) -> Any:
        return dr.replace_grad(a, dr.select(seen, a * held + b * (1 - held), a))

    wi = si.to_world(si.wi)
    if first.eye is not None:
        wi = between(wi, dr.normalize(mi.Vector3f(first.eye - material.p)))
    si.p, si.uv = between(si.p, material.p), between(si.uv, material.uv)
    si.sh_frame = mi.Frame3f(between(si.sh_frame.n, material.sh_frame.n))
    si.wi = si.to_local(wi)
    return si


def walk_start(pi: Any, ray: Any, si: Any, moved: Any, active: Any) -> Any:
    """What a walk gains by the motion of the point where it begins, attached.

    Args:
        pi, ray: hit of the point.
        si: the same as walks see it, attached.
        moved: `walk_motion.AtStart`.
    """
    x = mi.Vector3f(si.p)
    value = dr.dot(moved.p, x) + dr.dot(moved.n, mi.Vector3f(si.sh_frame.n)) + dr.dot(moved.view, si.to_world(si.wi))
    value += dr.dot(moved.slide, x - mi.Vector3f(follow(pi, ray, active).p))
    return dr.select(active, value, 0)


def null_score(traits: Any, context: Any, si: Any, bsdf: Any, bs: Any, active: Any) -> Any:
    """log q, attached, of the probability q with which a sample ``bs`` is the null lobe, or none, that it is."""
    p = traits.lobes.null_probability(bsdf, context, si, active)
    null = mi.has_flag(bs.sampled_type, mi.BSDFFlags.Null)
    return dr.log(dr.select(active, dr.select(null, p, 1 - p), 1))


def tangents_of(*values: Any) -> list[Any]:
    """Of all of them by one traversal; 0 for those that are not attached."""
    attached = [v for v in values if dr.grad_enabled(v)]
    found = dr.forward_to(*attached) if len(attached) > 1 else [dr.forward_to(*attached)]
    found = iter(found)
    return [next(found) if dr.grad_enabled(v) else type(v)(0) for v in values]
