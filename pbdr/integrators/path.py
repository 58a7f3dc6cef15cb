"""The path tracer: one loop for the primal image, its forward and its adjoint derivative.

Path replay :cite:`vicini2021path`: a first pass stores only the radiance L of each path. A second
pass with the same random numbers subtracts at each vertex what the first had added, so L holds
what arrives from further along, and differentiates one vertex at a time. Memory does not depend
on the path length.

The integrand at a vertex is f(ω_i, ω_o) · Li. Its derivative uses detached sampling with the next
vertex held in area measure, so that a moving surface changes directions and J = |n·ω|/r²
:cite:`worchel2025radiative`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import drjit as dr
import mitsuba as mi

from ..scene.instances import interact
from ..scene.tangents import ONCE
from . import path_terms as terms
from .led_segments import Lead, SensorRay
from .near_motion import change
from .path_state import SceneTraits, initial_state, last_links, link_of
from .width_slope import width_slope


@dr.syntax
def trace(
    mode: dr.ADMode,
    scene: Any,
    sampler: Any,
    ray: Any,
    first_hit: Any,
    active: Any,
    *,
    max_depth: int,
    rr_depth: int,
    hide_emitters: bool,
    traits: SceneTraits,
    replay: bool,
    L: Any = 0,
    Z: Any = 0,
    δL: Any = 0,
    rim_shape: Any = None,
    first_emission: Any = None,
    segments: Any = None,
    ray_tangent: Any = None,
    record: Any = None,
    entered: Any = False,
    first: Any = None,
    δA: Any = None,
    opaque: Any = None,
    bend: Any = None,
    early: Any = None,
):
    """Trace one path per lane.

    Args:
        mode: ``Primal``, ``Forward`` or ``Backward``.
        first_hit: preliminary intersection of ``ray`` (emitters to hide already skipped).
        max_depth, rr_depth, hide_emitters: as in Mitsuba's ``prb``.
        traits: which terms the scene can have.
        replay: this pass belongs to a pair (primal, derivative): keep paths behind a black
            factor alive. Both passes of a pair need the same value.
        L, Z: in a derivative pass, what the primal pass returned.
        δL: adjoint radiance in backward mode.
        rim_shape: shape whose silhouette is being sampled (see `path_terms.face_the_viewer`).
        first_emission: Float or ``None``, factor on what the first vertex emits.
        segments: UInt32 or ``None``, longest path of each lane (default ``max_depth``).
        ray_tangent: derivatives of origin and direction of ``ray`` where the sensor moves (forward;
            backward: any pair), else ``None``.
        record: a `PathRecord` that keeps the vertices of the path (primal only), or ``None``.
        entered: Bool, ``first_hit`` is where light enters a translucent object (primal only).
        first: `sliding_film.FirstPoint`, or ``None``.
        opaque: Bool, a lobe that is no null lobe came before the first vertex; or ``None``.
        bend: `bend_light.BendLight`, or ``None`` (primal only).
        early: `lattice.EvenNumbers` for the first vertex, or ``None`` (primal only).
        δA: where null lobes decide what is opaque: adjoint of ``valid`` in backward mode, anything in forward mode.

    Returns:
        ``(L or δL, valid, L, Z, δray, inner, δA)``: Spectrum, Bool (a lobe that is no null lobe was met), Spectrum,
        Spectrum, the adjoint (origin, direction) of ``ray``, of L what has come from inside a translucent object at the
        first vertex, and in forward mode the derivative of ``valid``.
    """
    primal = mode == dr.ADMode.Primal
    step = traits.subsurface
    translucent = step is not None
    context = step.context if translucent else mi.BSDFContext()
    links = traits.links(max_depth) if traits.moving and not primal and not translucent else 0
    chained = links if traits.delta_bsdfs else 0
    near = traits.near_motion(max_depth) if links > 1 else None
    s = initial_state(mi.Ray3f(dr.detach(ray)), first_hit, L, Z, δL, entered, active, chained, δA)
    if dr.hint(opaque is not None, mode="scalar"):
        s.opaque = mi.Bool(opaque)

    spreads = translucent and not primal and step.spreads and not traits.moving
    sensor_moves = ray_tangent is not None and not primal
    # The motion of points may be asked for.
    held = mi.Float(1) if traits.moving and (not primal or record is not None) else None
    walks = translucent and traits.moving and step.follows_walks
    limit = max_depth if segments is None else segments
    zero = dr.opaque(mi.Float, 0) if mode == dr.ADMode.Forward else None
    if dr.hint(not primal and traits.plastics is not None, mode="scalar"):
        traits.plastics.prepare()
    while dr.hint(s.active, max_iterations=traits.most_vertices(max_depth), label=f"pbdr path ({mode.name})"):
        active_next = mi.Bool(s.active)

        # ------------------------- Current vertex -------------------------
        with dr.resume_grad(when=not primal):
            root = SensorRay(s.ray, ray_tangent) if sensor_moves else None
            if dr.hint(links > 0, mode="scalar"):
                before = s.links if chained > 1 else last_links(s, links)
                lead = Lead(root, context, traits.frames, near)
                si, base = lead.vertex(s.pi, s.ray, s.depth, before, mi.Bool(True))
            elif dr.hint(not primal and traits.moving, mode="scalar"):
                segment, before = terms.attach_entry(s, step.walks)
                si = s.pi.compute_surface_interaction(segment, ray_flags=mi.RayFlags.All)
                terms.attach_incident_direction(si, before, (s.depth >= 1) & ~s.entered)
            else:
                si = s.pi.compute_surface_interaction(s.ray, ray_flags=mi.RayFlags.All)
        if dr.hint(rim_shape is not None, mode="scalar"):
            terms.face_the_viewer(scene, si, (s.depth == 0) & (si.shape == rim_shape))
        bsdf = si.bsdf(s.ray)
        if dr.hint(bend is not None, mode="scalar"):
            bend.turn(si, bsdf, traits.lobes.perturbing, s.depth == 0)

        # ------------------------- Emission -------------------------
        if dr.hint(hide_emitters, mode="scalar"):
            unseen = ~s.opaque if traits.null_bsdfs else s.depth == 0  # of all but null lobes
            active_next &= ~unseen | si.is_valid()
        with dr.resume_grad(when=not primal):
            emission = terms.emitted(scene, si, s, active_next & ~s.entered)
        if dr.hint(first_emission is not None, mode="scalar"):
            emission = emission * dr.select(s.depth == 0, first_emission, 1)

        # ------------------------- Emitter sampling -------------------------
        surface = active_next & si.is_valid()
        active_next = surface & (s.depth + 1 < limit)
        # The last vertex has no next one, but it may be transparent.
        sampled = surface if traits.null_bsdfs else active_next
        active_em = active_next & mi.has_flag(bsdf.flags(), mi.BSDFFlags.Smooth)
        u_em = sampler.next_2d()
        if dr.hint(early is not None, mode="scalar"):
            u_em = early.pair(0, u_em, s.depth == 0)
        ds, em_weight = scene.sample_emitter_direction(si, u_em, True, active_em)
        active_em &= ds.pdf != 0
        u1 = sampler.next_1d()
        u2 = sampler.next_2d()
        if dr.hint(early is not None, mode="scalar"):
            u1 = early.one(2, u1, s.depth == 0)
            u2 = early.pair(3, u2, s.depth == 0)
        if dr.hint(translucent, mode="scalar"):
            with dr.resume_grad(when=not primal):
                visit = step.visit(si, bsdf, s.entered, u1, active_next)
            u1 = visit.u
            us = sampler.next_1d(), sampler.next_2d(), sampler.next_1d()
        if dr.hint(primal, mode="scalar"):
            # Both questions to the BSDF in one call.
            f_em, pdf_em, bs, weight = bsdf.eval_pdf_sample(context, si, si.to_local(ds.d), u1, u2, sampled)
            if dr.hint(translucent, mode="scalar"):
                f_em, pdf_em = visit.evaluate(si.to_local(ds.d), f_em, pdf_em)
            if dr.hint(bend is not None, mode="scalar"):
                pdf_em = bend.density(ds.d, pdf_em, bsdf, s.depth == 0)
                bs, weight = bend.choose(context, si, bsdf, bs, weight, sampler, sampled & (s.depth == 0), early)
            mis_em = dr.select(ds.delta, 1, terms.mis_weight(ds.pdf, pdf_em))
            direct = dr.select(active_em, mis_em * f_em * em_weight, 0)
        else:
            with dr.resume_grad():
                ds, em_weight = terms.attach_emitter_sample(scene, si, ds, em_weight, u_em, traits, active_em)
                f_em, pdf_em = bsdf.eval_pdf(context, si, si.to_local(ds.d), active_em)
                if dr.hint(traits.plastics is not None, mode="scalar"):
                    f_em += traits.plastics.missing(bsdf, si, si.to_local(ds.d), active_em)
                if dr.hint(translucent, mode="scalar"):
                    f_em, pdf_em = visit.evaluate(si.to_local(ds.d), f_em, pdf_em)
                mis_em = dr.select(ds.delta, 1, terms.mis_weight(ds.pdf, pdf_em))
                direct = dr.select(active_em, mis_em * f_em * em_weight, 0)
            bs, weight = bsdf.sample(context, si, u1, u2, sampled)

        # ------------------------- BSDF sample (detached) -------------------------
        jump = None
        if dr.hint(translucent, mode="scalar"):
            bs, weight = visit.choose(bs, weight, u2)
            entering = active_next & ~visit.coat
            if dr.hint(first is not None and not primal, mode="scalar"):
                held = dr.select(s.depth == 0, first.held, 1)
            entry = step.enter(scene, si, bsdf, visit, us, held, entering)
            weight = dr.select(entering, entry.weight, weight)
            jump = (entry, entering, us)
        ray_next = si.spawn_ray(si.to_world(bs.wo))
        delta = mi.has_flag(bs.sampled_type, mi.BSDFFlags.Delta)
        black = (weight == 0) & (bs.pdf > 0) & terms.on_its_side(si, bs)
        if dr.hint(translucent, mode="scalar"):
            black &= ~entering
            delta &= ~entering

        # ------------------------- Accumulate, extend the throughput -------------------------
        with dr.resume_grad(when=not primal):
            Lo = s.β * (emission + direct)
        if dr.hint(primal, mode="scalar"):
            s.L = mi.Spectrum(s.L + Lo)
            if dr.hint(replay, mode="scalar"):
                s.Z = mi.Spectrum(s.Z + s.γ * (emission + direct))
            if dr.hint(first is not None, mode="scalar"):
                begins = (s.depth == 0) & entering
                s.own = dr.select(begins, s.L, s.own)
                s.inner = s.inner | begins
        else:
            s.L = mi.Spectrum(s.L - dr.detach(Lo))
        β = s.β
        s.η *= bs.eta
        s.β = mi.Spectrum(β * weight)
        β_max = dr.max(mi.unpolarized_spectrum(s.β))
        if dr.hint(replay, mode="scalar"):
            s.γ = mi.Spectrum(dr.select(black, β, s.γ * weight))
            β_max = dr.maximum(β_max, dr.max(mi.unpolarized_spectrum(s.γ)))
        # ------------------------- Stop or go on -------------------------
        active_next &= β_max != 0
        survival = dr.minimum(β_max * dr.square(s.η), 0.95)
        roulette = s.depth >= rr_depth
        boost = dr.select(roulette & (survival > 0), dr.rcp(survival), 1)
        s.β *= boost
        if dr.hint(replay, mode="scalar"):
            s.γ *= boost
        active_next &= ~roulette | (sampler.next_1d() < survival)
        if dr.hint(record is not None, mode="scalar"):
            record.put(
                s, β, emission + direct, weight * boost, boost, active_em & dr.any(em_weight != 0), (u_em, u1, u2), jump
            )
        traced = active_next
        if dr.hint(translucent, mode="scalar"):
            traced = active_next & ~entering
        pi_next = scene.ray_intersect_preliminary(ray_next, coherent=False, reorder=False, active=traced)
        if dr.hint(translucent, mode="scalar"):
            pi_next[entering] = entry.pi
            ray_next[entering] = entry.ray

        # ------------------------- Derivative of this vertex -------------------------
        if dr.hint(not primal, mode="scalar"):
            grazing = mi.Bool(False)
            if dr.hint(traits.moving, mode="scalar"):
                grazing = terms.grazes(si, s.ray)
                si_next = interact(traits.frames, pi_next, ray_next, mi.RayFlags.Minimal, active_next)
            else:
                si_next = None
            with dr.resume_grad():
                p = si.p
                if dr.hint(near is not None, mode="scalar"):
                    p = p - change(base) * near.share(pi_next)
                wo = terms.scattered_direction(si, p, ray_next, si_next, traits.moving)
                f = bsdf.eval(context, si, wo, active_next)
                if dr.hint(traits.plastics is not None, mode="scalar"):
                    f += traits.plastics.missing(bsdf, si, wo, active_next)
                if dr.hint(translucent, mode="scalar"):
                    f, _ = visit.evaluate(wo, f, mi.Float(1))
                    left = (s.pi, s.ray) if traits.moving else None
                    start = None if first is None else terms.first_vertex(s, first, step.walks)
                    f = dr.select(entering, step.value(si, bsdf, visit, entry, left, spreads, entering, start), f)
                if dr.hint(traits.delta_bsdfs, mode="scalar"):
                    # A Dirac lobe has no density: differentiate the weight of the same sample.
                    w_delta, wo_delta = traits.lobes.sample_dirac(bsdf, context, si, u1, u2, active_next & delta)
                    f = dr.select(delta, w_delta, f)
                Lr_ind = s.L * terms.relative(f)
                if dr.hint(traits.moving, mode="scalar"):
                    J = terms.area_jacobian(p, si_next.p, si_next.n, traced & si_next.is_valid() & ~delta)
                    Lr_ind *= terms.relative(J)
                if dr.hint(near is not None, mode="scalar"):
                    spread = near.spread(pi_next, si_next.n, ray_next.d, change(base))
                    Lr_ind *= dr.replace_grad(mi.Float(1), dr.select(traced & ~delta, spread, 0))
                inv_pdf = boost * dr.select(delta, 1, dr.rcp(bs.pdf))
                Lr_ind += dr.select(black, s.Z * inv_pdf, 0) * dr.replace_grad(mi.Spectrum(0), f)
                Lo += Lr_ind
                if dr.hint(mode == dr.ADMode.Forward, mode="scalar"):
                    Lo += terms.none_left_out(zero, pdf_em)
                    if dr.hint(traits.delta_bsdfs, mode="scalar"):
                        Lo += terms.none_left_out(zero, wo_delta)
                score = mi.Float(0)
                if dr.hint(δA is not None, mode="scalar"):
                    score = terms.null_score(traits, context, si, bsdf, bs, surface & ~s.opaque)
                if dr.hint(not dr.grad_enabled(Lo) and not dr.grad_enabled(score), mode="scalar"):
                    pass  # nothing at this vertex depends on a parameter
                # Radiance and alpha by one traversal: the first of two would leave no edges to the second.
                elif dr.hint(mode == dr.ADMode.Backward, mode="scalar"):
                    dr.backward_from(dr.sum(mi.unpolarized_spectrum(dr.select(grazing, 0, s.δL) * Lo)) + s.δA * score)
                    if dr.hint(sensor_moves, mode="scalar"):
                        s.δo += dr.grad(root.o)
                        s.δd += dr.grad(root.d)
                elif dr.hint(δA is not None, mode="scalar"):
                    found, changed = terms.tangents_of(Lo, score)
                    s.δL += dr.select(grazing, 0, mi.Spectrum(found))
                    s.δA += changed
                else:
                    s.δL += dr.select(grazing, 0, mi.Spectrum(dr.forward_to(Lo)))

        # After all else of this vertex: nothing attached may be in use while inner loops are recorded.
        if dr.hint(spreads, mode="scalar"):
            beyond = partial(
                trace, dr.ADMode.Primal, scene, max_depth=max_depth, rr_depth=rr_depth, hide_emitters=False, traits=traits,
                replay=False, L=0, Z=0, δL=0, rim_shape=None, first_emission=None, segments=limit - s.depth,
                ray_tangent=None, record=None, entered=True, first=None, δA=None, opaque=None, bend=None, early=None,
            )  # fmt: skip
            slope = width_slope(step, scene, si, bsdf, us, beyond, entering) * visit.inside(si.wi)
            with dr.resume_grad():
                wider = β * slope * dr.replace_grad(mi.Spectrum(0), step.width(si, bsdf, entering))
                if dr.hint(mode == dr.ADMode.Backward, mode="scalar"):
                    dr.backward_from(s.δL * wider)
                else:
                    s.δL += mi.Spectrum(dr.forward_to(wider))

        if dr.hint(walks and not primal, mode="scalar"):
            forward = mode == dr.ADMode.Forward
            weights = s.L if forward else s.δL * s.L
            moved = step.follow_walk(mode, scene, si, s.pi, s.ray, bsdf, visit, us, weights, entering)
            with dr.resume_grad():
                here = terms.first_vertex(s, first, step.walks)
                gains = [terms.walk_start(s.pi, s.ray, here, m, entering) for m in moved]
                if dr.hint(forward, mode="scalar"):
                    s.δL += mi.Spectrum(dr.forward_to(mi.Spectrum(gains), flags=ONCE)) + mi.Spectrum(
                        [m.total for m in moved]
                    )
                else:
                    dr.backward_from(gains[0])

        # ------------------------- What is opaque -------------------------
        if dr.hint(traits.null_bsdfs, mode="scalar"):
            s.opaque |= surface & ~mi.has_flag(bs.sampled_type, mi.BSDFFlags.Null)

        # ------------------------- Next vertex -------------------------
        if dr.hint(chained > 1, mode="scalar"):
            s.links = [link_of(s, u1, u2, delta), *s.links[:-1]]
        s.pdf_prev = bs.pdf
        s.delta_prev = delta
        s.it_prev = terms.reference_point(si)
        if dr.hint(translucent, mode="scalar"):
            s.depth[si.is_valid() & ~entering] += 1
            s.entered_prev, s.near_prev = s.entered, s.near
            s.entered, s.near = entering, entry.near
            s.pi_before, s.ray_before = s.pi_prev, s.ray_prev
        else:
            s.depth[si.is_valid()] += 1
            if dr.hint(near is not None and chained == 0, mode="scalar"):
                s.pi_before, s.ray_before = s.pi_prev, s.ray_prev
        if dr.hint(not primal or translucent, mode="scalar"):
            s.pi_prev, s.ray_prev = s.pi, s.ray
        s.pi, s.ray = pi_next, ray_next
        s.active = active_next

    valid = s.opaque if traits.null_bsdfs else s.depth != 0
    return (
        (s.L if primal else s.δL), valid, s.L, s.Z, (s.δo, s.δd), dr.select(s.inner, s.L - s.own, 0),
        dr.select(valid, s.δA, 0),
    )  # fmt: skip
