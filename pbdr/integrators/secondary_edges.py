"""Camera-side sampling of indirect visibility: a camera path, then an outline seen from its end.

At a receiver p with direction ω toward a point e of an outline x(t), c = (e - p) × dx/dt,

    dL_o/dθ ⊃ ∫ f(ω_o, ω) [L(ω - εn) - L(ω + εn)] v (|c| / r²) dt,    n = c / |c|,
    v = n · [(ẋ - ṗ) / r + ṗ / r_y],

:cite:`li2018differentiable` in solid angle. The last term belongs to each side: the interior
derivative holds the next vertex, at distance r_y, in place while p moves. What is near follows p (`near_motion`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import drjit as dr
import mitsuba as mi

from ..geometry.curve_sampling import curve_proposal
from ..geometry.rounding import CURVED, above_horizon, apart, extent, nearer, past_a_slit, past_the_rim, transmits
from ..sampling.lattice import EvenNumbers, lattice
from ..sampling.paired import lane_sampler, paired_sampler
from ..scene.shapes import follow, moved_across
from ..scene.viewpoint import Viewpoint
from . import own_horizon
from .bend_light import BendLight
from .boundary import EdgeRecord
from .camera_walk import walk
from .entry_motion import entry_slide
from .face_slide import FaceSlide
from .indirect import Indirect
from .sliding_film import first_point
from .visibility import blocks

# Angle between outline and each of the two rays. The intersection with a curved shape is less exact.
OFFSET = 3e-6


@dataclass
class Choice:
    """One sample before its two sides are traced."""

    pos: Any
    aperture: Any
    ray: Any
    pi: Any
    depth: Any
    first: Any  # Bool: the receiver is seen directly
    β: Any  # Spectrum: throughput over the density of receiver and film position
    leaf: Any
    t: Any
    pdf: Any  # Float: density of (leaf, t)
    own: Any  # Bool: the receiver's own horizon instead of an outline, at t
    links: list  # vertices before the receiver, see `led_segments`
    found: Any


@dataclass
class Before:
    """In scenes with translucent objects: where light left one that it had entered at the receiver."""

    entered: Any  # Bool: it did
    pi: Any
    ray: Any
    near: Any  # Vector2f, of `entry_motion`


def secondary_record(ctx: Indirect, seed: Any) -> EdgeRecord:
    """Sample receivers and outlines, and trace both sides: two lanes per sample."""
    with dr.suspend_grad():
        choice, before = _choose(ctx, lane_sampler(seed, ctx.count), seed)
        dr.eval(choice, before)
        lane = dr.arange(mi.UInt32, 2 * ctx.count)
        choice = dr.gather(Choice, choice, lane >> 1)
        if before is not None:
            before = dr.gather(Before, before, lane >> 1)
        rng = paired_sampler(mi.sample_tea_32(seed, mi.UInt32(1))[1], ctx.count)
        sign = dr.select((lane & 1) == 0, mi.Float(1), mi.Float(-1))
        return _trace(ctx, choice, before, rng, sign, lane, seed)


def _choose(ctx: Indirect, rng: Any, seed: Any) -> tuple[Choice, Before | None]:
    camera, count = ctx.camera, ctx.count
    lane = dr.arange(mi.UInt32, count)
    u_film, u_x, u_y, u_stop, u_lobe, u_a, u_b, u_narrow, u_edge, u_near, u_along = lattice(lane, 11, seed)
    pos = ctx.film["rough"].sample((mi.Float(lane) + u_film) / ctx.number, mi.Vector2f(u_x, u_y))
    aperture = rng.next_2d() if camera.kind == "thinlens" else mi.Point2f(0.5)
    time = camera.sensor.shutter_open()
    if camera.sensor.shutter_open_time() > 0:
        time += rng.next_1d() * camera.sensor.shutter_open_time()
    ray, weight = camera.ray(pos, time, rng.next_1d() if mi.is_spectral else 0, aperture)
    skip, share = ctx.rough_vertex(u_stop)
    hit = ctx.integrator.first_hit(ctx.scene, ray, True)
    held = first_point(ctx.sliding, pos).held if ctx.sliding else None
    end = walk(ctx.scene, ctx.subsurface, rng, ray, hit, skip, ctx.deepest, True, held, ctx.links)
    first = (end.depth == 0) & ~end.entered
    led = first & ctx.sensor_moves
    if ctx.links:
        led |= (end.depth >= 1) & ctx.may_lead(end)

    # A sample of the BSDF says where light matters.
    si = end.pi.compute_surface_interaction(end.ray, mi.RayFlags.All, end.found)
    bsdf = si.bsdf(end.ray)
    si.wi = dr.select(end.entered, mi.Vector3f(0, 0, 1), si.wi)  # a probe has come from any side
    bs, _ = bsdf.sample(ctx.context, si, u_lobe, mi.Point2f(u_a, u_b), end.found)
    if ctx.subsurface is not None:
        visit = ctx.subsurface.visit(si, bsdf, end.entered, u_lobe, end.found)
        bs, _ = visit.choose(bs, mi.Spectrum(1), mi.Point2f(u_a, u_b))
    delta = mi.has_flag(bs.sampled_type, mi.BSDFFlags.Delta) | (bs.pdf == 0)
    lobe = dr.select(bs.pdf > 0, si.to_world(bs.wo), si.n)
    query = ctx.receiver_query(si, led, lobe, dr.select(delta, 0, bs.pdf), bsdf)
    leaf, pmf = ctx.edges.tree.sample(query, u_edge, u_narrow < 0.5)
    proposal = curve_proposal(ctx.edges, query.view, leaf, lobe, query.width2)
    t = proposal.sample(u_along, u_near < 0.5)
    pdf = pmf * proposal.pdf(t)
    own = dr.full(mi.Bool, False, count)
    if ctx.smooth:
        often = own_horizon.share(si)
        own = rng.next_1d() < often
        _, along = own_horizon.direction(si, bsdf, u_along)
        pdf = dr.select(own, often * along, (1 - often) * pdf)
        t = dr.select(own, u_along, t)
    before = None
    if ctx.subsurface is not None:
        before = Before(end.entered, end.pi_prev, end.ray_prev, end.near)
    choice = Choice(
        pos=pos,
        aperture=aperture,
        ray=end.ray,
        pi=end.pi,
        depth=end.depth,
        first=first,
        β=end.β * weight / (ctx.number * share * ctx.film["rough"].pdf(pos)),
        leaf=leaf,
        t=t,
        pdf=pdf,
        own=own,
        links=end.links,
        found=end.found & (pdf > 0) & dr.isfinite(pdf),
    )
    return choice, before


def _trace(
    ctx: Indirect, choice: Choice, before: Before | None, rng: Any, sign: Any, lane: Any, seed: Any
) -> EdgeRecord:
    scene, edges = ctx.scene, ctx.edges
    active, own = mi.Bool(choice.found), choice.own
    si = choice.pi.compute_surface_interaction(choice.ray, mi.RayFlags.All, active)
    if before is not None:
        si.wi = dr.select(before.entered, mi.Vector3f(0, 0, 1), si.wi)
    # Seen from where rays start: on a fine mesh what lies next to a receiver is no higher than that.
    ray = si.spawn_ray(edges.at(Viewpoint(si.p), choice.leaf, choice.t).p - si.p)
    edge = edges.at(Viewpoint(ray.o), choice.leaf, choice.t)
    to = edge.p - ray.o
    r = dr.norm(to)
    ω = to / r
    n = dr.cross(to, edge.tangent)
    arc = dr.norm(n)
    n /= arc
    measure = arc / dr.square(r)
    outline = (edge.dt > 0) & (arc > 0) & above_horizon(si, edge, r)
    if ctx.smooth:
        ω_own, _ = own_horizon.direction(si, si.bsdf(), choice.t)
        ω, n, measure = dr.select(own, ω_own, ω), dr.select(own, si.n, n), dr.select(own, 1, measure)
        ray = dr.select(own, own_horizon.beside(si, ω_own, sign), ray)
    active &= outline | own
    wo = si.to_local(ω)
    f = si.bsdf().eval(ctx.context, si, wo, active)
    alone = mi.Bool(False)  # no emitter-side sample makes the same path
    if before is not None:
        visit = ctx.subsurface.visit(si, si.bsdf(), before.entered, mi.Float(0), active)
        f, _ = visit.evaluate(wo, f, mi.Float(1))
        alone = visit.leaving | visit.entered
    active &= dr.max(mi.unpolarized_spectrum(f)) > 0

    ray, hit, same, active = beside_outline(scene, edge, ray, n, r, sign, lane, active, own)

    # What lights emit from behind the outline, emitter-side samples find too.
    si_y = hit.compute_surface_interaction(ray, mi.RayFlags.Minimal, active)
    J = ctx.camera.pixels_per_area(si.p, si.n, ctx.camera.lens_point(choice.aperture))
    across = dr.norm(dr.cross(edge.tangent, ω))
    mine = ctx.camera_density(choice.pos) * J * choice.pdf
    mine *= dr.square(r) / dr.maximum(dr.abs_dot(si.n, ω), 1e-8) / dr.maximum(across, 1e-12)
    shared = active & choice.first & ~same & ~own & ~alone
    theirs = ctx.light_density(choice.leaf, edge, si_y, ω, shared)
    emission = dr.select(theirs > 0, mine / (mine + theirs), 1)

    L, _, _, _ = ctx.integrator.sample(
        dr.ADMode.Primal,
        scene,
        rng,
        ray,
        active,
        first_hit=hit,
        rim_shape=dr.select(own, dr.zeros(mi.ShapePtr), edge.shape),
        first_emission=emission,
        segments=mi.UInt32(ctx.integrator.max_depth) - choice.depth - 1,
        bend=BendLight.of(edge, edge.p - ray.o, ~own),
        early=EvenNumbers(lane >> 1, seed ^ 0x5EED),
    )
    value = L * f * choice.β * (sign * measure * dr.select(own, 1, edge.share) / choice.pdf)
    active &= dr.all(dr.isfinite(mi.unpolarized_spectrum(value)))

    if ctx.sensor_moves:  # each number of the sensor gets its sum by a kernel of its own
        dr.eval(edge, si, hit, n, r, value, active)
    held = dr.select(hit.is_valid(), dr.rcp(hit.t), 0)
    # What is near follows the receiver, but for what that owes to a rough vertex before it.
    follows = mi.Float(0) if ctx.near is None else ctx.near.share(hit) * held
    leads = (choice.depth == 0) | choice.links[0].delta if choice.links else mi.Bool(True)
    with dr.resume_grad():
        point = (
            moved_across if before is None else follow
        )  # only light inside of an object knows how points move along it
        material = point(choice.pi, choice.ray, True, ctx.frames)
        line = choice.ray
        if not choice.links:  # else it is part of the slide
            line = ctx.led(choice.pi, line, choice.depth, [], choice.pos, choice.aperture)
        p = ctx.receiver_motion(material, si, line)
        if before is not None:
            p = dr.select(before.entered, material.p, p)
        x = edges.motion(edge)
        speed = dr.dot(n, (x - p) / r)
        if ctx.smooth:
            speed = dr.select(own, -dr.dot(material.n, ω), speed)
        speed += dr.dot(n, p) * (held - follows)
    slide, share = None, n * (held - dr.select(leads, follows, 0) - 1 / r)
    if choice.links:

        def slide():
            line = ctx.led(choice.pi, choice.ray, choice.depth, choice.links, choice.pos, choice.aperture)
            return dr.dot(share, ctx.receiver_motion(dr.detach(si), si, line))

    elif before is not None:

        def slide():
            left = follow(before.pi, before.ray, before.entered)
            around = FaceSlide(before.pi, before.ray, before.entered) if ctx.subsurface.walks else None
            return dr.select(before.entered, dr.dot(share, entry_slide(si, left, before.ray, before.near, around)), 0)

    return EdgeRecord(
        pos=choice.pos,
        value=dr.select(active, value, 0),
        alpha=mi.Float(0),
        wavelengths=choice.ray.wavelengths,
        active=active,
        speed=speed,
        slide=slide,
        learn=ctx.learner("rough", choice.pos),
        lever=dr.select(own, ctx.finest, dr.rcp(dr.maximum(r, 1e-12))),
        cuts=ctx.cuts,
    )


def beside_outline(
    scene: Any, edge: Any, ray: Any, n: Any, r: Any, sign: Any, lane: Any, active: Any, aimed: Any = False
):
    """One ray on each side of an outline, aimed from where ``ray`` starts: ``(ray, hit, own, active)``.

    Args:
        n: unit vector across the outline and the view; the side is ``-sign * n``.
        r: distance.
        lane: UInt32; the other side of the sample is lane ``lane ^ 1``.
        aimed: Bool, ``ray`` is the side's already, and no outline is looked at.

    ``own`` tells whether the ray meets the surface that ends here. Samples of hidden outlines, and
    of bends that one side does not see, become inactive.
    """
    least = dr.maximum(extent(edge.p) * dr.select(edge.curved, 2e-6, 1e-6), apart(edge, ray.o))
    distance = dr.maximum(dr.select(edge.curved, CURVED, OFFSET) * r, least)
    if edge.faces and transmits(scene):
        distance = past_the_rim(edge, (dr.dot(n, edge.inside) * sign < 0) & ~mi.Bool(edge.curved), distance)
    side = n * (-sign * distance)
    if edge.faces:
        face = edge.face_toward(lambda to: -sign * dr.dot(to, n))
        side = dr.select(mi.Bool(edge.contour) | edge.curved, side, face)
    ray.d = dr.select(aimed, ray.d, dr.normalize(edge.p + side - ray.o))
    hit = scene.ray_intersect_preliminary(ray, coherent=False, reorder=False, active=active)
    closed, reach = past_a_slit(edge, ray, hit, active & ~mi.Bool(aimed))
    past = edge.p + n * (-sign * dr.maximum(distance, reach))
    ray.d = dr.select(closed, dr.normalize(past - ray.o), ray.d)
    again = scene.ray_intersect_preliminary(ray, coherent=False, reorder=False, active=closed)
    hit = dr.select(closed, again, hit)
    own = edge.beside(hit)
    before = nearer(edge, ray, hit, 1e-4)
    active = mi.Bool(active)
    # The two sides read each other's numbers: one kernel for all that.
    dr.eval(edge, ray, hit, n, r, own, before, active)
    seen = edge.in_view(partial(blocks, scene), ray, own, before, hit.t, lane, active & ~mi.Bool(aimed))
    return ray, hit, own, (active & aimed) | seen
