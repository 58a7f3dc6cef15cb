"""Derivative of a path whose directions follow a warp field, vertex by vertex.

A first pass keeps the vertices x_k of each path (`path.trace`). With the field V_k at x_k the next
segment is the ray (x_k(θ), normalize(ω_k + V_k)): where it hits, the next vertex is attached to all
that moved before it. Forward, the tangents of origin and direction are carried from segment to
segment. Backward, a sweep from the end carries their adjoints: moving a vertex changes what all
later ones see, which no replay from the front could know.

The integrand is multiplied by 1 + ∇·V_k for every direction that was chosen: along the BSDF sample,
and toward the emitter sample, which has a field of its own.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import drjit as dr
import mitsuba as mi

from ..bssrdfs.random_walk import Walk
from ..sampling.paired import seeded
from ..scene.shapes import follow
from ..scene.tangents import ONCE
from . import path_terms as terms
from .charts import SphereChart
from .entry_motion import entry_point
from .face_slide import FaceSlide
from .path_state import hit_of
from .subsurface_step import Entry


class ReparameterizedPath:
    """Sweeps over recorded paths.

    Args:
        scene, traits: what is rendered, see `SceneTraits`.
        field, kappa: `WarpField` of directions, and its concentration.
        max_depth, warp_depth: longest path; number of segments whose directions follow a field,
            the camera's included.
        hide_emitters: as in `path.trace`.
        seed: UInt32, of the auxiliary rays.
        incident: `IncidentRadiance` or ``None``, with the film position of each path there.
    """

    def __init__(
        self, scene, traits, field, kappa, max_depth, warp_depth, hide_emitters, seed, incident=None, pos=None
    ):
        self.scene, self.traits, self.field, self.kappa = scene, traits, field, kappa
        self.max_depth, self.warp_depth, self.hide_emitters = max_depth, warp_depth, hide_emitters
        self.step = traits.subsurface
        self.context = mi.BSDFContext() if self.step is None else self.step.context
        self.most = traits.most_vertices(max_depth)
        self.seed = seed
        self.incident, self.pos = incident, pos

    # ---------------------------------------------------------------- sweeps

    @dr.syntax
    def forward(self, ray, record, o, d):
        """δL for the tangents (o, d) of ``ray`` and those of the scene's parameters."""
        self._prepare()
        radiance = self._radiance(record)
        δL = mi.Spectrum(0)
        o, d = mi.Vector3f(o), mi.Vector3f(d)
        k = mi.UInt32(0)
        while dr.hint(k < record.count, max_iterations=self.most, label="pbdr forward sweep"):
            v = self._vertex(ray, record, k, radiance[k + 1])
            x = self._point_forward(v, o, d)
            Vw, div_w = self.field.forward(SphereChart(v.si, v.w, self.kappa, x), seeded(self.seed, 2 * k), v.warp_w)
            Ve, div_e = self.field.forward(
                SphereChart(v.si, v.e, self.kappa, x), seeded(self.seed, 2 * k + 1), v.warp_e
            )
            moved = self._moved(dr.ADMode.Forward, v, mi.Spectrum(1))
            dL, d = self._vertex_forward(v, o, d, Vw, Ve, div_w, div_e, moved)
            δL += mi.Spectrum(dL)
            o = x
            k += 1
        return δL

    @dr.syntax
    def backward(self, ray, record, δL):
        """Add the gradient for the adjoint radiance ``δL`` to the scene's parameters; adjoint of ``ray``."""
        self._prepare()
        L = mi.Spectrum(0)
        δo, δd = mi.Vector3f(0), mi.Vector3f(0)
        k = mi.UInt32(record.count)
        while dr.hint(k > 0, max_iterations=self.most, label="pbdr backward sweep"):
            k -= 1
            v = self._vertex(ray, record, k, L)
            moved = self._moved(dr.ADMode.Backward, v, δL)
            δo_now, δd_now, δw, δe, div_w, div_e = self._vertex_backward(v, δL, δd, moved)
            δw += dr.select(v.specular, 0, δd)
            chart = SphereChart(v.si, v.w, self.kappa)
            δx = δo + self.field.backward(chart, seeded(self.seed, 2 * k), v.warp_w, δw, div_w)
            chart = SphereChart(v.si, v.e, self.kappa)
            δx += self.field.backward(chart, seeded(self.seed, 2 * k + 1), v.warp_e, δe, div_e)
            δo, δd = self._point_backward(v, δx)
            δo += δo_now
            δd += δd_now
            L = v.row.own + v.row.weight * L
        return δo, δd

    def _prepare(self):
        """What cannot be made within a loop."""
        if self.traits.plastics is not None:
            self.traits.plastics.prepare()

    @dr.syntax
    def _radiance(self, record):
        """What each vertex sends back along its segment: dr.Local of Spectrum, one more than vertices."""
        radiance = dr.alloc_local(mi.Spectrum, self.most + 1, value=mi.Spectrum(0))
        L = mi.Spectrum(0)
        k = mi.UInt32(record.count)
        while dr.hint(k > 0, max_iterations=self.most, label="pbdr radiance"):
            k -= 1
            row = record.rows[k]
            L = row.own + row.weight * L
            radiance[k] = L
        return radiance

    @dr.syntax
    def learn(self, record, pos):
        """Add paths of a pass of their own to ``incident``."""
        radiance = self._radiance(record)
        k = mi.UInt32(0)
        while dr.hint(k + 1 < record.count, max_iterations=self.most, label="pbdr incident radiance"):
            self.incident.add(pos, k, radiance[k + 1])
            k += 1

    # ---------------------------------------------------------------- one vertex

    def _vertex(self, ray, record, k, L):
        """All about vertex ``k`` that carries no derivative. ``L``: what arrives from the next one."""
        row = record.rows[k]
        v = SimpleNamespace(row=row, L=L, k=k)
        v.pi, v.segment = _hit(row, ray)
        v.si = si = v.pi.compute_surface_interaction(v.segment, ray_flags=mi.RayFlags.All)
        v.bsdf = bsdf = si.bsdf(v.segment)
        v.prev = SimpleNamespace(pdf_prev=row.pdf, delta_prev=row.delta != 0, it_prev=dr.zeros(mi.Interaction3f))
        v.prev.it_prev.p, v.prev.it_prev.n = mi.Point3f(row.p), mi.Normal3f(row.n)
        v.prev.it_prev.time, v.prev.it_prev.wavelengths = ray.time, ray.wavelengths
        going_on = (row.depth + 1 < self.max_depth) & si.is_valid()
        v.last = ~(going_on & (k + 1 < record.count))
        v.entered, v.entering = mi.Bool(False), mi.Bool(False)
        if self.step is not None:
            v.entered, v.entering = row.entered != 0, ~v.last & (row.entering != 0)
            v.before = _hit(record.rows[dr.select(v.entered, k, 1) - 1], ray)
            v.entry = self._entry(row, record.rows[k + dr.select(v.entering, mi.UInt32(1), 0)], ray, v.entering)
        v.active_em = going_on & (row.visible != 0)
        v.ds, v.em_weight = self.scene.sample_emitter_direction(si, row.u_em, False, v.active_em)
        v.active_em &= v.ds.pdf != 0
        v.bs, _ = bsdf.sample(self.context, si, row.u1, row.u2, ~v.last)
        if self.step is not None:
            v.visit = self.step.visit(si, bsdf, v.entered, row.u1, going_on)
            v.bs, _ = v.visit.choose(v.bs, mi.Spectrum(1), row.u2)
        v.null = mi.has_flag(v.bs.sampled_type, mi.BSDFFlags.Null)
        v.specular = ~v.last & ~v.entering & mi.has_flag(v.bs.sampled_type, mi.BSDFFlags.Delta)
        v.w, v.e = si.to_world(v.bs.wo), v.ds.d
        follows = row.depth + 1 < self.warp_depth
        v.warp_w = ~v.last & ~v.entering & ~v.specular & follows
        v.mean = mi.Spectrum(0)
        if self.incident is not None:
            v.mean = self.incident.at(self.pos, k, v.warp_w)
        v.warp_w &= dr.any(L != 0) | dr.any(v.mean != 0)
        v.warp_e = v.active_em & ~v.ds.delta & follows
        v.w = dr.select(~v.last, v.w, mi.Vector3f(0, 0, 1))
        v.e = dr.select(v.active_em, v.e, mi.Vector3f(0, 0, 1))
        return v

    def _entry(self, row, following, ray, active):
        """Where light has entered the object that is left at ``row``."""
        pi, probe = _hit(following, ray)
        p = pi.compute_surface_interaction(probe, mi.RayFlags.Minimal, active).p
        entry = Entry(probe, pi, p, mi.Spectrum(0), following.near)
        if self.step.walks:
            entry.path = Walk(probe, pi, mi.Spectrum(0), mi.Bool(True), row.N, row.T, row.slope, row.roughness)
        return entry

    def _moved(self, mode, v, weights):
        """How the walk from vertex ``v`` follows what moves, see `SubsurfaceStep.follow_walk`."""
        if self.step is None or not self.step.follows_walks:
            return []
        weights = weights * v.row.β * v.row.weight * v.L
        us = v.row.us1, v.row.us2, v.row.us3
        return self.step.follow_walk(mode, self.scene, v.si, v.pi, v.segment, v.bsdf, v.visit, us, weights, v.entering)

    def _segment(self, v, o, d):
        """The segment with leaves for the vertex before and for the direction, whose tangents are given.

        No segment leads to where light has entered an object: the probe to there follows the point.
        """
        start = mi.Vector3f(v.row.o)
        if self.step is not None:
            pi, probe = v.before
            x_o = pi.compute_surface_interaction(probe, mi.RayFlags.Minimal, v.entered)
            start = dr.select(v.entered, mi.Vector3f(x_o.p), start)
        leaf_o, leaf_d = mi.Vector3f(dr.detach(start)), mi.Vector3f(v.row.d)
        dr.enable_grad(leaf_o, leaf_d)
        dr.set_grad(leaf_o, o)
        dr.set_grad(leaf_d, d)
        segment = mi.Ray3f(v.segment)
        segment.o, segment.d = mi.Point3f(leaf_o), leaf_d
        if self.step is not None:
            x_i = follow(v.pi, v.segment, v.entered)
            around = FaceSlide(pi, probe, v.entered) if self.step.walks else None
            held = SimpleNamespace(p=mi.Point3f(leaf_o))
            p, _ = entry_point(x_i, held, follow(pi, probe, v.entered), v.row.near, around)
            segment.o = dr.select(v.entered, dr.replace_grad(mi.Point3f(v.row.o), p), segment.o)
            segment.d = dr.select(v.entered, v.row.d, segment.d)
        return leaf_o, leaf_d, segment

    def _point(self, v, o, d):
        leaf_o, leaf_d, segment = self._segment(v, o, d)
        si = v.pi.compute_surface_interaction(segment, ray_flags=mi.RayFlags.Minimal)
        return leaf_o, leaf_d, mi.Vector3f(dr.select(si.is_valid(), si.p, 0))

    # Functions of their own: what is attached must be gone before the next loop begins.

    def _point_forward(self, v, o, d):
        """Motion of the vertex."""
        with dr.resume_grad():
            return dr.forward_to(self._point(v, o, d)[2], flags=ONCE)

    def _point_backward(self, v, δx):
        with dr.resume_grad():
            o, d, p = self._point(v, mi.Vector3f(0), mi.Vector3f(0))
            dr.backward_from(dr.dot(p, dr.select(v.si.is_valid(), δx, 0)))
            return mi.Vector3f(dr.grad(o)), mi.Vector3f(dr.grad(d))

    def _vertex_forward(self, v, o, d, Vw, Ve, div_w, div_e, moved):
        """Derivative of what the vertex adds, and of the direction in which the path goes on."""
        with dr.resume_grad():
            g = self._graph(v, o, d, Vw, Ve)
            for c, m in enumerate(moved):
                g.scattered[c] += terms.walk_start(v.pi, v.segment, g.si, m, v.entering)
            # Together: edges left for a second traversal would cross into the next loop.
            δL, turned = dr.forward_to(g.scattered + g.direct + g.emission, g.turned, flags=ONCE)
            δL += dr.detach(g.spread) * div_w + dr.detach(g.direct) * div_e
            for c, m in enumerate(moved):
                δL[c] += m.total
            return δL, dr.select(v.specular, turned, Vw)

    def _vertex_backward(self, v, δL, δd, moved):
        """Adjoints of segment (o, d) and directions (w, e), and of the divergences along these."""
        zero = mi.Vector3f(0)
        with dr.resume_grad():
            g = self._graph(v, zero, zero, zero, zero)
            value = dr.sum(δL * (g.scattered + g.direct + g.emission))
            value += dr.dot(g.turned, dr.select(v.specular, δd, 0))
            for m in moved:
                value += terms.walk_start(v.pi, v.segment, g.si, m, v.entering)
            dr.backward_from(value)
            div_w, div_e = dr.sum(δL * dr.detach(g.spread)), dr.sum(δL * dr.detach(g.direct))
            return (*(mi.Vector3f(dr.grad(x)) for x in (g.o, g.d, g.w, g.e)), div_w, div_e)

    def _graph(self, v, o, d, Vw, Ve):
        """What vertex ``v`` adds to the image, attached to its segment, its directions and the scene."""
        g = SimpleNamespace()
        g.o, g.d, segment = self._segment(v, o, d)
        g.w, g.e = mi.Vector3f(v.w), mi.Vector3f(v.e)
        dr.enable_grad(g.w, g.e)
        dr.set_grad(g.w, Vw)
        dr.set_grad(g.e, Ve)
        g.si = si = v.pi.compute_surface_interaction(segment, ray_flags=mi.RayFlags.All)
        emits = ~v.entered
        if self.hide_emitters:
            emits &= ((v.row.opaque != 0) if self.traits.null_bsdfs else (v.k > 0)) | v.si.is_valid()
        g.emission = v.row.β * dr.select(emits, terms.emitted(self.scene, si, v.prev, emits), 0)

        # Toward the emitter.
        direction, weight = self._emitter(v, si, g.e)
        wo = si.to_local(direction)
        f, pdf = v.bsdf.eval_pdf(self.context, si, wo, v.active_em)
        if self.traits.plastics is not None:
            f += self.traits.plastics.missing(v.bsdf, si, wo, v.active_em)
        if self.step is not None:
            visit = self.step.visit(si, v.bsdf, v.entered, v.row.u1, v.active_em | ~v.last)
            f, pdf = visit.evaluate(wo, f, pdf)
        mis = dr.select(v.ds.delta, 1, terms.mis_weight(v.ds.pdf, pdf))
        g.direct = dr.select(v.active_em, v.row.β * mis * f * weight, 0)

        # Along the BSDF sample.
        go = ~v.last
        wo = si.to_local(g.w)
        f = v.bsdf.eval(self.context, si, wo, go)
        if self.traits.plastics is not None:
            f += self.traits.plastics.missing(v.bsdf, si, wo, go)
        if self.step is not None:
            f, _ = visit.evaluate(wo, f, mi.Float(1))
        g.turned = mi.Vector3f(0, 0, 1)
        if self.traits.delta_bsdfs:
            weight, turned = self.traits.lobes.sample_dirac(v.bsdf, self.context, si, v.row.u1, v.row.u2, v.specular)
            f = dr.select(v.specular, weight if self.step is None else weight / visit.share, f)
            g.turned = dr.select(v.specular, si.to_world(turned), g.turned)
            if self.traits.null_bsdfs:
                g.turned = dr.select(v.specular & v.null, g.d, g.turned)
        inv_pdf = v.row.boost * dr.select(v.specular, 1, dr.rcp(v.bs.pdf))
        weight = dr.select(go & ~v.entering, v.row.β * inv_pdf, 0)
        g.scattered = weight * v.L * f
        g.spread = weight * (v.L - v.mean) * f
        if self.incident is not None:
            # The control variate follows the direction alone.
            moved, held = (self._value(v, v.si.to_local(w)) for w in (g.w, v.w))
            g.scattered -= dr.replace_grad(mi.Spectrum(0), weight * v.mean * (moved - held))
        if self.step is not None:
            value = self.step.value(si, v.bsdf, visit, v.entry, (v.pi, v.segment), False, v.entering)
            through = v.row.β * v.row.weight * v.L * terms.relative(value)
            g.scattered += dr.select(v.entering, through, 0)
        return g

    def _value(self, v, wo):
        """The BSDF toward ``wo``, with vertex and material at rest."""
        f = v.bsdf.eval(self.context, v.si, wo, v.warp_w)
        if self.step is not None:
            f, _ = v.visit.evaluate(wo, f, mi.Float(1))
        return f

    def _emitter(self, v, si, e):
        """(direction, weight) of the emitter sample: along ``e`` to where that meets the emitter."""
        ds, active = v.ds, v.active_em & ~v.ds.delta
        flags = ds.emitter.flags()
        on_surface = active & mi.has_flag(flags, mi.EmitterFlags.Surface)
        # Visibility is known: start beside the light.
        ray = v.si.spawn_ray_to(ds.p)
        start = dr.select(on_surface, ray.maxt, 0)
        ray.o = dr.fma(ray.d, start, ray.o)
        ray.maxt = dr.largest(mi.Float)
        pi = self.scene.ray_intersect_preliminary(ray, coherent=False, reorder=False, active=on_surface)
        attached = mi.Ray3f(ray)
        attached.o, attached.d = dr.replace_grad(ray.o, si.p + e * start), dr.replace_grad(ray.d, e)
        met = active & (pi.is_valid() | ~on_surface)  # rounding may begin the ray behind the light
        hit = pi.compute_surface_interaction(attached, ray_flags=mi.RayFlags.All, active=met)
        value = ds.emitter.eval(hit, met)
        inv_pdf = dr.select(ds.pdf != 0, dr.rcp(ds.pdf), 0)
        weight = dr.select(met, dr.replace_grad(v.em_weight, value * inv_pdf), v.em_weight)
        direction = dr.replace_grad(ds.d, e)
        if self.traits.delta_lights:
            delta = v.active_em & ds.delta
            again, value = self.scene.sample_emitter_direction(si, v.row.u_em, False, delta)
            direction = dr.select(delta, dr.replace_grad(ds.d, again.d), direction)
            weight = dr.select(delta, dr.replace_grad(v.em_weight, value), weight)
        return direction, weight


def _hit(row: Any, like: Any) -> tuple[Any, Any]:
    """(hit, segment that led to it) of a row; time and wavelengths as of the ray ``like``."""
    segment = mi.Ray3f(like)
    segment.o, segment.d = mi.Point3f(row.o), row.d
    return hit_of(row), segment
