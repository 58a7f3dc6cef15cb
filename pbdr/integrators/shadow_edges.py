"""Emitter-side sampling of shadow boundaries: a point on a light, an outline, then the receiver.

For each light point the boundary on the receivers is a curve; for point-like lights this is the
only way to meet it. With ω the direction from receiver p over the outline point e to the light,

    dI/dθ ⊃ ∓ ∫ k(s(p)) |∂s/∂A| (r_pe / |n_p·ω|) f(p) Le v dω ds,

in the measure of `indirect`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from ..bssrdfs.names import MARK
from ..geometry.curve_sampling import curve_proposal
from ..geometry.edge_sample import GAP
from ..geometry.rounding import CURVED, above_horizon, extent
from ..sampling.lattice import lattice
from ..sampling.paired import lane_sampler
from ..scene.shapes import moved_across
from ..scene.viewpoint import Viewpoint
from . import own_horizon
from .boundary import EdgeRecord
from .indirect import Indirect
from .near_motion import change
from .near_motion import slide as near_slide

PASS = 2  # hairs beside a mesh: along a wall that its light sees edge-on one in 70 rays met the wall at one


def shadow_record(ctx: Indirect, seed: Any) -> EdgeRecord:
    """Shadow boundaries that the sensor sees directly: one lane per sample."""
    with dr.suspend_grad():
        scene, edges, camera = ctx.scene, ctx.edges, ctx.camera
        rng = lane_sampler(seed, ctx.count)
        lane = dr.arange(mi.UInt32, ctx.count)

        # A light, and a point or a direction of it.
        u_light, u_x, u_y, u_edge, u_along = lattice(lane, 5, seed)
        index, _, _ = scene.sample_emitter(u_light)
        emitter = dr.gather(mi.EmitterPtr, scene.emitters_dr(), index)
        flags = emitter.flags()
        on_surface = mi.has_flag(flags, mi.EmitterFlags.Surface)
        infinite = mi.has_flag(flags, mi.EmitterFlags.Infinite)
        delta = mi.has_flag(flags, mi.EmitterFlags.Delta)
        time = mi.Float(camera.sensor.shutter_open())
        if camera.sensor.shutter_open_time() > 0:
            time += rng.next_1d() * camera.sensor.shutter_open_time()
        sample = mi.Point2f(u_x, u_y)
        it = dr.zeros(mi.SurfaceInteraction3f, ctx.count)
        it.p, it.time = mi.Point3f(scene.bbox().center()), time
        dr.make_opaque(it.p)  # a literal would be compiled anew when shapes move
        ds, _ = emitter.sample_direction(it, sample, ~on_surface)
        ps, _ = emitter.sample_position(time, sample, on_surface)
        y = dr.select(on_surface, ps.p, ds.p)
        # Rays beside a face that a point-like light sees edge-on pass it.
        view = Viewpoint(dr.select(infinite, mi.Point3f(-ds.d), y), ~infinite, grazes=True)

        # An outline seen from there.
        leaf, pmf, group, chosen = ctx.outline_from_light(view, delta, u_edge)
        start, length = edges.span(leaf)
        edge = edges.at(view, leaf, dr.fma(u_along, length, start))
        ω = dr.select(infinite, ds.d, dr.normalize(y - edge.p))
        far = dr.norm(y - edge.p)
        n = dr.normalize(dr.cross(edge.tangent, ω))
        n = dr.select(dr.dot(n, edge.inside) > 0, -n, n)
        across = dr.norm(dr.cross(edge.tangent, ω))
        active = (pmf > 0) & (edge.dt > 0) & edge.contour & (across > 0) & ((far > 0) | infinite)

        # Light passes just outside it, and meets the receiver beyond.
        scale = extent(edge.p)
        o = edge.p + n * dr.maximum(dr.maximum(CURVED * dr.select(infinite, 0, far), 2e-6 * scale), edge.vague)
        if edge.faces:
            o = dr.select(edge.curved, o, edge.just_outside(n, PASS))
        gap = GAP * extent(edge.p, dr.select(infinite, edge.p, y))
        free = dr.select(infinite, dr.largest(mi.Float), far * (1 - 1e-4) - 2 * gap)
        to_light = mi.Ray3f(o + ω * gap, ω, time)
        to_light.maxt = mi.Float(free)
        active &= ~scene.ray_test(to_light, coherent=False, active=active)
        away = mi.Ray3f(o - ω * gap, -ω, time)
        landed = scene.ray_intersect_preliminary(away, coherent=False, reorder=False, active=active)
        active &= landed.is_valid()
        receiver = landed.compute_surface_interaction(away, mi.RayFlags.Minimal, active)
        r = dr.norm(edge.p - receiver.p)
        active &= above_horizon(receiver, edge, r)

        # Point-like lights: camera-side samples cannot meet their shadows, at no vertex of a path.
        skip, stop = ctx.rough_vertex(rng.next_1d())
        skip = dr.select(delta, skip, 0)
        stop = dr.select(delta, stop, 1)
        end = _toward_sensor(scene, rng, away, landed, skip, ctx.deepest, ctx.context.type_mask, active)
        active = end.active
        last = end.pi.compute_surface_interaction(end.ray, mi.RayFlags.Minimal, active)
        back = -end.ray.d  # toward the light side

        # The sensor sees the last vertex.
        aperture = rng.next_2d() if camera.kind == "thinlens" else mi.Point2f(0.5)
        lens = camera.lens_point(aperture)
        pos, z = camera.project(last.p, lens)
        active &= camera.inside(pos)
        if camera.is_point:
            active &= z > camera.near
        ray, weight = camera.ray(pos, time, rng.next_1d() if mi.is_spectral else 0, aperture)
        pi, onto = ctx.integrator.first_hit(scene, ray, active), ray
        if ctx.null_lobes:
            pi, onto, through = _look_through(ctx, ray, pi, last, scale, end.depth, active & delta)
            weight *= through
        si = pi.compute_surface_interaction(onto, mi.RayFlags.All, active)
        active &= si.is_valid() & _meets(si, last, scale)
        bsdf = si.bsdf(onto)
        if ctx.subsurface is not None:  # camera-side samples alone
            active &= ~bsdf.has_attribute(MARK, active)
        f = bsdf.eval(ctx.context, si, si.to_local(back), active)
        cos = dr.abs_dot(si.n, back)

        # Radiance over the density of its direction around e.
        ds_e = dr.zeros(mi.DirectionSample3f, ctx.count)
        ds_e.p, ds_e.n, ds_e.uv, ds_e.d, ds_e.dist = y, ps.n, ps.uv, ω, far
        ds_e.n = dr.select(on_surface, ps.n, ds.n)
        ds_e.uv = dr.select(on_surface, ps.uv, ds.uv)
        ds_e.emitter, ds_e.time, ds_e.delta = emitter, time, ds.delta
        it.p, it.wavelengths = edge.p, ray.wavelengths
        Le = emitter.eval_direction(it, ds_e, active)
        if ctx.framed:  # asked for its value alone, a projector does not look where its image ends
            _, inside = emitter.sample_direction(it, sample, active & delta)
            Le = dr.select(delta, inside, Le)
        pdf = dr.select(on_surface, ps.pdf * dr.square(far) / dr.maximum(dr.abs_dot(ps.n, ω), 1e-8), ds.pdf)
        pdf = dr.select(delta, 1, pdf) * ctx.light_share(emitter, active)
        density = pdf * pmf / (length * across) * ctx.number

        J = camera.pixels_per_area(si.p, si.n, lens)
        share = dr.select(delta, 1, _share(ctx, pos, si, bsdf, leaf, edge, ω, r, J, density, rng, active & ~delta))
        value = Le * f * weight * end.weight * edge.share * (-share * J * r / (dr.maximum(cos, 1e-8) * density * stop))
        active &= dr.all(dr.isfinite(mi.unpolarized_spectrum(value)))

    # The adjoint takes several kernels: none of them must trace the paths again.
    dr.eval(
        edge,
        receiver,
        landed,
        away,
        end,
        n,
        r,
        y,
        ω,
        ray,
        pos,
        aperture,
        skip,
        sample,
        emitter,
        value,
        active,
        group,
        chosen,
    )
    with dr.resume_grad():
        seen = skip == 0
        line = mi.Ray3f(dr.select(seen, ray.o, receiver.p - end.first), dr.select(seen, ray.d, end.first), time)
        line = ctx.led(landed, line, dr.select(seen, mi.UInt32(0), 1), [], pos, aperture)
        p = ctx.receiver_motion(moved_across(landed, away, True, ctx.frames), receiver, line)
        x = edges.motion(edge)
        speed = dr.dot(n, (x - p) / r + _light_motion(ctx, emitter, receiver, sample, y, ω, infinite, delta, p))

    def slide() -> Any:
        """What the receiver owes to the vertex before it, which it is close to."""
        with dr.suspend_grad():
            close = mi.PreliminaryIntersection3f(landed)
            close.t = end.second.t
            w = dr.select(end.turned | seen, 0, ctx.near.share(close))
            before = end.second.compute_surface_interaction(end.to_second, mi.RayFlags.Minimal, active)
            line = mi.Ray3f(dr.select(skip == 1, ray.o, before.p - end.out), dr.select(skip == 1, ray.d, end.out), time)
        line = ctx.led(end.second, line, dr.select(skip == 1, mi.UInt32(0), 1), [], pos, aperture)
        base = ctx.receiver_motion(moved_across(end.second, end.to_second, active, ctx.frames), before, line)
        δ = near_slide(change(base) * w, dr.detach(receiver.n), dr.detach(end.first))
        return dr.select(active, dr.dot(n * (dr.select(infinite, 0, dr.rcp(dr.norm(y - receiver.p))) - 1 / r), δ), 0)

    lever = dr.rcp(dr.maximum(r, 1e-12))

    def learn(worth: Any) -> None:
        ctx.choice.learn(group, worth if ctx.forward else worth * lever, chosen, ctx.number)

    return EdgeRecord(
        pos, dr.select(active, value, 0), mi.Float(0), ray.wavelengths, active, speed,
        slide=slide if ctx.near is not None and ctx.deepest > 0 else None,
        learn=None if ctx.choice is None else learn, lever=lever, pairs=False, cuts=ctx.cuts,
    )  # fmt: skip


def _meets(si: Any, last: Any, scale: Any) -> Any:
    """Is it the point ``last``? A triangle is met once, and where its corners are far away that point is known badly."""
    same = si.shape.is_mesh() & (si.shape == last.shape) & (si.prim_index == last.prim_index)
    same &= si.instance == last.instance
    return same | (dr.norm(si.p - last.p) < 1e-4 * (si.t + scale))


@dr.syntax
def _look_through(ctx, ray, pi, last, scale, depth, active) -> tuple[Any, Any, Any]:
    """What the sensor sees through null lobes before the point ``last``, at most: (hit, ray to it, what the lobes let pass).

    ``depth``: segments from ``last`` to the receiver; each surface that is passed is one more.
    """
    pi, ray = mi.PreliminaryIntersection3f(pi), mi.Ray3f(ray)
    weight, left, going = mi.Spectrum(1), mi.UInt32(ctx.deepest) - depth, mi.Bool(active)
    while going:
        si = pi.compute_surface_interaction(ray, ray_flags=mi.RayFlags.All)
        bsdf = si.bsdf(ray)
        going &= si.is_valid() & ~_meets(si, last, scale) & (left > 0) & mi.has_flag(bsdf.flags(), mi.BSDFFlags.Null)
        weight[going] = weight * bsdf.eval_null_transmission(si, going)
        ray[going] = si.spawn_ray(ray.d)
        pi[going] = ctx.integrator.first_hit(ctx.scene, ray, going)
        left[going] = left - 1
        going &= dr.max(mi.unpolarized_spectrum(weight)) > 0
    return pi, ray, weight


def _light_motion(ctx, emitter, receiver, sample, y, ω, infinite, delta, p):
    """Attached: (p - y) / |p - y|, or -ω; a point on an area light is held, a point-like light moves."""
    inv = dr.rcp(dr.norm(y - receiver.p))
    if ctx.lights_move:
        ds, _ = emitter.sample_direction(dr.detach(receiver), sample, delta)
        y = dr.replace_grad(y, dr.select(delta, ds.p, y))
        ω = dr.replace_grad(ω, dr.select(delta, ds.d, ω))
    return dr.select(infinite, -ω, (p - y) * inv)


@dataclass
class Approach:
    """State of a path from the receiver to the vertex that the sensor sees."""

    ray: Any  # leads to the current vertex, from the side of the light
    pi: Any
    weight: Any  # Spectrum
    first: Any  # Vector3f: direction of the first segment
    second: Any  # PreliminaryIntersection3f: where it ends
    to_second: Any  # Ray3f
    out: Any  # Vector3f: direction in which the path goes on from there
    turned: Any  # Bool: by a Dirac lobe
    left: Any  # UInt32: rough vertices still to be passed
    depth: Any
    going: Any
    active: Any  # Bool: not lost


@dr.syntax
def _toward_sensor(scene, rng, ray, pi, skip, limit, mask, active) -> Approach:
    """Pass ``skip`` rough vertices by BSDF samples, as importance flows.

    A vertex between a (from the light) and b (next) has the weight f cos_s(a) |n·b| / (|n·a| p(b)),
    with cos_s to the shading and n the geometric normal; the receiver's 1 / |n·a| is the caller's
    for the last vertex, where the sensor is met.
    """
    context = mi.BSDFContext(mi.TransportMode.Importance)
    context.type_mask = mask
    s = Approach(
        ray=mi.Ray3f(ray),
        pi=pi,
        weight=mi.Spectrum(1),
        first=mi.Vector3f(0, 0, 1),
        second=mi.PreliminaryIntersection3f(pi),
        to_second=mi.Ray3f(ray),
        out=mi.Vector3f(0, 0, 1),
        turned=mi.Bool(False),
        left=mi.UInt32(skip),
        depth=mi.UInt32(0),
        going=mi.Bool(active),
        active=mi.Bool(active),
    )
    while s.going:
        si = s.pi.compute_surface_interaction(s.ray, ray_flags=mi.RayFlags.All)
        bsdf = si.bsdf(s.ray)
        rough = si.is_valid() & mi.has_flag(bsdf.flags(), mi.BSDFFlags.Smooth)
        arrived = rough & (s.left == 0)
        on = si.is_valid() & ~arrived & (s.depth < limit)
        bs, weight = bsdf.sample(context, si, rng.next_1d(), rng.next_2d(), on)
        delta = mi.has_flag(bs.sampled_type, mi.BSDFFlags.Delta)
        on &= (dr.max(mi.unpolarized_spectrum(weight)) > 0) & ((s.depth > 0) | ~delta)
        out = si.to_world(bs.wo)
        turn = dr.abs(mi.Frame3f.cos_theta(si.wi) * dr.dot(si.n, out))
        turn /= dr.maximum(dr.abs(dr.dot(si.n, s.ray.d) * mi.Frame3f.cos_theta(bs.wo)), 1e-8)
        s.weight[on] = s.weight * weight * dr.select(delta, 1, turn)
        begins, second = on & (s.depth == 0), on & (s.depth == 1)
        s.first[begins] = out
        s.out[second], s.turned[second] = out, delta
        ray_next = si.spawn_ray(out)
        s.pi[on] = scene.ray_intersect_preliminary(ray_next, coherent=False, reorder=False, active=on)
        s.second[begins], s.to_second[begins] = s.pi, ray_next
        s.ray[on] = ray_next
        s.left[on & rough] = s.left - 1
        s.depth[on] = s.depth + 1
        s.active &= on | arrived
        s.going = on
    return s


def _share(ctx, pos, si, bsdf, leaf, edge, ω, r, J, density, rng, active):
    """Weight against the camera-side samples that could make the same path."""
    bs, _ = bsdf.sample(ctx.context, si, rng.next_1d(), rng.next_2d(), active)
    delta = mi.has_flag(bs.sampled_type, mi.BSDFFlags.Delta) | (bs.pdf == 0)
    lobe = dr.select(bs.pdf > 0, si.to_world(bs.wo), si.n)
    query = ctx.receiver_query(si, ctx.sensor_moves, lobe, dr.select(delta, 0, bs.pdf), bsdf)
    pmf = ctx.edges.tree.pdf(query, leaf, active)
    proposal = curve_proposal(ctx.edges, query.view, leaf, lobe, query.width2)
    t = ctx.edges.parameter(query.view, leaf, edge, proposal.start)
    seen = ctx.edges.at(query.view, leaf, t)
    across = dr.norm(dr.cross(seen.tangent, ω))
    theirs = ctx.camera_density(pos) * J * pmf * proposal.pdf(t)
    if ctx.smooth:
        theirs *= 1 - own_horizon.share(si)
    theirs *= dr.square(r) / dr.maximum(dr.abs_dot(si.n, ω), 1e-8) / dr.maximum(across, 1e-12)
    return density / (density + dr.select(dr.isfinite(theirs), theirs, 0))
