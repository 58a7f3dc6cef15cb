"""Warp fields: directions that move with what they see.

Visibility changes at boundaries that move. If the directions of an integral move with them,

    d/dθ ∫ f dω = ∫ ∂f/∂θ + ∇·(f V) dω = ∫ ∂f/∂θ + ∇f·V + f ∇·V dω,

for every field V that is continuous and has the normal velocity of each boundary on it
:cite:`bangaru2020unbiased`. V is fitted to what N auxiliary rays ω' around ω have seen (`motion_fit`),
drawn from vMF densities of concentration κ. V_i is the motion, as seen from the origin of the rays, of the
boundary beside what ω'_i hits, and its weight grows where that boundary is close to ω:

    W = (e^q - 1 + λ √κ s)^-α,    q = κ (1 - ω·ω'),

with ω' toward that boundary (a distance along it counts little), and s the angle between the boundary and the
point that stands for it, as far as its place is not known (`geometry.boundary_measure`).

The ratio has a bias that Bangaru's formula for the divergence leaves in, at 16 rays about 10 %. Here
the field is *defined* as the expectation over N rays, whose divergence is known exactly: of the
weights, plus the score κ ω'⊥ of the density, with the ray's own share taken out of its baseline. For a
weighted mean (the fit replaces W/Z and 1/(Z - W_i) by matrices) it is

    ∇·E[V] = E[ Σ_i W_i/Z (V_i - V)·∂log W_i + W_i/(Z - W_i) (V_i - V)·κ ω'_i⊥ ],    Z = Σ W_i.

What remains is how far V at a boundary is from the boundary's velocity: the chance that no ray finds
it (2⁻ᴺ), and others closer than the finest rays tell apart. Not debiased, it is the estimator of Mitsuba 3.0
to 3.4: W = e^q / (e^q - 1 + B)^α with ω' of the ray itself, a mean, and the first sum alone.
"""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from ..geometry.contour_walk import contour_ahead
from ..scene.shapes import follow
from .motion_fit import MotionFit
from .path_state import as_flag, hit_fields, hit_of, hit_values


class WarpSettings:
    """How a field is estimated. A plain class: Dr.Jit would take a dataclass for loop state.

    Args:
        rays: auxiliary rays N.
        kappa: concentration κ of the vMF density of directions.
        exponent: α.
        antithetic: auxiliary rays in pairs, mirrored at ω (only without debiasing).
        debiased: exact divergence; off: the estimator of Mitsuba 3.0 to 3.4.
        contrast: λ (only with debiasing).
    """

    def __init__(self, rays, kappa, exponent, antithetic=False, debiased=True, contrast=1.0):
        self.rays, self.kappa, self.exponent = rays, kappa, exponent
        self.power = int(exponent) if exponent == int(exponent) else exponent  # whole ones are multiplied out
        self.farthest = MOST / exponent  # largest q
        self.antithetic, self.debiased = antithetic, debiased
        self.contrast = contrast


SCALES, FINER = 2, 32  # widths of the kernel, of every other ray: √32 times as narrow
ALONG = 0.02  # what a distance along a boundary counts, squared, beside one across
FLOOR, MOST = 1e-4, 60.0  # least of what W is a power of; largest α q: 1 / Σ W must not overflow
COARSE = 0.02  # radians between the normals of vertices and of faces from which the horizons of faces count
NEAR = 6.0  # q to the horizon up to which it counts
# Least distance of a boundary from where the ray begins, relative to that of the hit and the surface's size.
CLOSEST = 4e-6


def row_type(vector: Any) -> Any:
    """What the passes over the rays share, a row of thread-local memory.

    ``offset`` is ω'⊥ and ``drop`` 1 - ω·ω' (unused on the film); ``normal`` is n or 0, ``slope`` ∂log W.
    ``d`` leads to the point whose motion counts, a little beside what the ray has hit. ``below``: 1 where the ray runs
    through the surface that it has left.
    """
    own = {
        "offset": vector,
        "normal": vector,
        "slope": vector,
        "drop": mi.Float,
        "W": mi.Float,
        "gain": mi.Float,
        "below": mi.UInt32,
    }
    return make_dataclass("AuxiliaryRay", list((own | {"d": mi.Vector3f} | hit_fields()).items()))


@dataclass
class Slopes:
    """Sums of the divergence: of ∂log W, and of the score κω'⊥ with the ray of the largest weight apart."""

    weights: Any
    score: Any
    largest: Any


class Field:
    """What every field needs: the motion of what a ray has hit.

    Args:
        scene, measure: what is seen, and its `BoundaryMeasure`.
        settings: `WarpSettings`.
    """

    def __init__(self, scene: Any, measure: Any, settings: WarpSettings):
        self.scene = scene
        self.measure = measure
        self.settings = settings
        self.flags = mi.RayFlags.ShadingFrame | mi.RayFlags.UV | mi.RayFlags.dPdUV

    def _hit(self, chart, row):
        """The hit again, following the shape (attached), and whether it is one."""
        ray = chart.ray(row.offset, row.drop)
        ray.d = row.d
        pi = hit_of(row)
        hit = pi.is_valid()
        with dr.resume_grad():
            si = follow(pi, ray, hit)
        return ray, si, hit

    def _velocity(self, chart, row):
        ray, si, hit = self._hit(chart, row)
        with dr.resume_grad():
            if dr.grad_enabled(si.p):
                y = dr.forward_to(si.p, flags=dr.ADFlag.ClearEdges | dr.ADFlag.ClearInterior)
            else:
                y = mi.Vector3f(0)
        return dr.select(hit, chart.velocity(ray, si, mi.Vector3f(y) * row.gain), 0)

    def _velocity_adjoint(self, chart, row, coefficient):
        ray, si, hit = self._hit(chart, row)
        δy, δo = chart.velocity_adjoint(ray, si, dr.select(hit, coefficient, 0))
        with dr.resume_grad():
            if dr.grad_enabled(si.p):
                dr.backward_from(
                    dr.dot(mi.Vector3f(si.p), dr.select(hit, δy * row.gain, 0)), flags=dr.ADFlag.ClearInterior
                )
        return dr.select(hit, δo, 0)


class WarpField(Field):
    """Value and divergence of the field, forward and adjoint."""

    # ---------------------------------------------------------------- passes without derivatives

    @dr.syntax
    def _trace(self, chart, rng, active):
        """Trace the auxiliary rays: (rows in thread-local memory, `MotionFit`)."""
        S = self.settings
        count = dr.select(active, mi.UInt32(S.rays), 0)
        Row = row_type(chart.vector)
        rows = dr.alloc_local(Row, self._most(chart), value=dr.zeros(Row))
        Z = MotionFit.empty(chart, count)
        i = mi.UInt32(0)
        previous = chart.vector(0)
        dropped, distance = mi.Float(0), mi.Float(0)
        something = mi.Bool(False)
        while dr.hint(i < count, max_iterations=S.rays, label="pbdr auxiliary rays"):
            scale = self._scale(i)
            offset, drop, q = chart.draw(rng.next_2d(), scale)
            if dr.hint(S.antithetic and not S.debiased, mode="scalar"):
                odd = (i & 1) != 0
                offset = dr.select(odd, -previous, offset)
                drop = dr.select(odd, dropped, drop)
                q = dr.select(odd, distance, q)
                previous = chart.vector(offset)
                dropped, distance = mi.Float(drop), mi.Float(q)
            ray = chart.ray(offset, drop)
            pi = self.scene.ray_intersect_preliminary(ray, coherent=False, reorder=False)
            si = pi.compute_surface_interaction(ray, self.flags)
            if dr.hint(S.debiased, mode="scalar"):
                pi, normal, d, t, gain, W, slope = self._found(chart, ray, pi, si, offset, drop)
                # Nothing reflects along the horizon of a smooth surface, and what is as near as one likes has no angle to measure.
                below = chart.below(ray.d)
                pi.t = dr.select(pi.is_valid() & ~(below & ~pi.shape.is_mesh()), t, dr.inf)
            else:
                below = mi.Bool(False)
                normal, d, gain = chart.vector(0), mi.Vector3f(ray.d), mi.Float(1)
                e = dr.exp(q)
                bottom = dr.maximum(e - 1 + self.measure.eval(ray, pi, si).B, FLOOR)
                W = dr.power(1 / bottom, S.power) * e
                slope = offset * (chart.kappa * S.exponent * e / bottom)
            something |= pi.is_valid()
            rows[i] = Row(offset, normal, chart.vector(slope), drop, W, gain, as_flag(below), d, *hit_values(pi))
            Z.add(i, W, normal)
            i += 1
        if dr.hint(self._sees_horizons(chart), mode="scalar"):
            row = self._horizon(chart, Row, active)
            rows[S.rays] = row
            Z.add(mi.UInt32(S.rays), row.W, row.normal)
            Z.count = dr.select(active, mi.UInt32(S.rays + 1), 0)
            something |= row.W > 0
        Z.solve()
        # Where all rays have left the scene nothing moves: the passes to come have nothing to do.
        Z.count = dr.select(something, Z.count, 0)
        return rows, Z

    def _sees_horizons(self, chart):
        return self.settings.debiased and chart.horizon is not None and self.measure.tables.bent > COARSE

    def _most(self, chart):
        """Number of rows."""
        return self.settings.rays + int(self._sees_horizons(chart))

    def _horizon(self, chart, Row, active):
        """The boundary that no ray has to find: where the plane of a face ends what its interpolated normals see.

        It goes through the origin, so its nearest direction h to ω is known. A point of the plane in this direction
        stands for it, of which only the motion across counts: that does not change from ω to ω as h does.
        """
        si = chart.si
        n, height = mi.Vector3f(si.n), dr.dot(si.n, chart.d)
        h = dr.normalize(chart.d - n * height)
        cos = dr.safe_sqrt(1 - dr.square(height))
        drop = dr.square(height) / (1 + cos)
        q, dq = chart.kappa * drop, (n - chart.d * height) * (chart.kappa * height / cos)
        on = active & self.measure.interpolates(si, active & si.is_valid()) & (q < NEAR) & dr.isfinite(q)
        bottom = expm1(q) + FLOOR
        W = dr.select(on, dr.power(1 / bottom, self.settings.power), 0)
        slope = dq * (-self.settings.exponent * dr.exp(q) / bottom)
        slope = mi.Vector3f(dr.select(on, slope, 0))
        there = hit_values(self.measure.on_the_plane(si, h, on))
        return Row(h - chart.d * cos, n, slope, drop, W, mi.Float(1), mi.UInt32(1), h, *there)

    def _found(self, chart, ray, pi, si, offset, drop):
        """What a hit tells of the boundary beside it: (the point whose motion counts as a hit, n, direction and distance
        of that point, its `gain`, W, ∂log W)."""
        narrow = chart.narrow(si)
        nearest = self.measure.eval(ray, pi, si, narrow)
        # Rather than a guess at the outline of a mesh, the way to it.
        further, there, p, along = contour_ahead(self.measure, ray, pi, si, nearest.estimated)
        pi, si.p = dr.select(further, there, pi), dr.select(further, p, si.p)
        # Beside a very large round surface its outline may come to lie where the ray begins.
        to = mi.Vector3f(si.p - ray.o)
        t = dr.norm(to)
        apart = t > CLOSEST * (pi.t + dr.norm(si.dp_dv) + dr.norm(si.dp_du))
        met = (nearest.met | further) & apart
        n = chart.vector(dr.select(apart, chart.across(ray, si.p, dr.select(further, along, nearest.along)), 0))
        beside, beside_drop = chart.toward(ray, si.p)
        beside, beside_drop = dr.select(met, beside, offset), dr.select(met, beside_drop, drop)
        q, dq = chart.closeness(beside, beside_drop, dr.select(met, n, 0), ALONG)
        q = dr.minimum(q, self.settings.farthest)
        bottom = expm1(q) + self.settings.contrast * narrow * dr.select(further, 0, nearest.s) + FLOOR
        W = dr.power(1 / bottom, self.settings.power)
        slope = dq * dr.select(q < self.settings.farthest, -self.settings.exponent * dr.exp(q) / bottom, 0)
        to, t = dr.select(apart, to / t, ray.d), dr.select(apart, t, pi.t)
        return pi, n, to, t, self.measure.gain(ray, pi, si, nearest.s, narrow), W, slope

    @dr.syntax
    def _totals(self, chart, rows, Z):
        A = Slopes(chart.vector(0), chart.vector(0), chart.vector(0))
        i = mi.UInt32(0)
        while dr.hint(i < Z.count, max_iterations=self._most(chart), label="pbdr slopes"):
            row = rows[i]
            A.weights += Z.pull(row, Z.inverse @ row.slope)
            if dr.hint(self.settings.debiased, mode="scalar"):
                left_out = Z.left_out(row, i, self._score(chart, row, i))
                A.score += dr.select(i == Z.at, 0, left_out)
                A.largest = dr.select(i == Z.at, left_out, A.largest)
            i += 1
        return A

    def _scale(self, i):
        """Concentration of ray ``i``, relative to κ."""
        if not self.settings.debiased:
            return mi.Float(1)
        return dr.power(mi.Float(FINER), mi.Float(i % SCALES))

    def _score(self, chart, row, i):
        """∂log of the density of ray ``i``; a horizon is not drawn."""
        score = chart.kappa * self._scale(i)
        return row.offset * (dr.select(i < self.settings.rays, score, 0) if self._sees_horizons(chart) else score)

    def _across(self, chart, row, v):
        """What counts of a motion, and of its adjoint: where the surface itself ends the view, that across its plane. What slides
        along has no bound close by."""
        if chart.horizon is None:
            return v
        return dr.select(row.below == 1, chart.horizon * dr.dot(chart.horizon, v), v)

    def _coefficient(self, chart, row, i, Z, A):
        """b of a ray: it adds b·V_i to ∇·V."""
        b = row.slope - A.weights
        if not self.settings.debiased:
            return Z.pull(row, Z.inverse @ b)
        score = self._score(chart, row, i)
        others = dr.select(i == Z.at, A.score, A.score + A.largest - Z.left_out(row, i, score))
        return Z.pull(row, Z.inverse @ (b + score) - others)

    # ---------------------------------------------------------------- derivatives

    def forward(self, chart: Any, rng: Any, active: Any) -> tuple[Any, Any]:
        """(V, ∇·V) for the tangents set on the scene's parameters, and on the chart's origin."""
        rows, Z = self._trace(chart, rng, active)
        A = self._totals(chart, rows, Z)
        return self._forward(chart, rows, Z, A)

    def backward(self, chart: Any, rng: Any, active: Any, δV: Any, δdiv: Any) -> Any:
        """Add the gradient of δV·V + δdiv ∇·V to the scene's parameters; returns the adjoint of the origin."""
        δV, δdiv = chart.on_the_surface_adjoint(δV, δdiv)
        rows, Z = self._trace(chart, rng, active)
        A = self._totals(chart, rows, Z)
        return self._backward(chart, rows, Z, A, δV, δdiv)

    @dr.syntax
    def _forward(self, chart, rows, Z, A):
        V, div = chart.vector(0), mi.Float(0)
        i = mi.UInt32(0)
        while dr.hint(i < Z.count, max_iterations=self._most(chart), label="pbdr warp"):
            row = rows[i]
            v = self._across(chart, row, self._velocity(chart, row))
            V += Z.pull(row, v)
            div += dr.dot(self._coefficient(chart, row, i, Z, A), v)
            i += 1
        return chart.on_the_surface(chart.vector(Z.inverse @ V), div)

    @dr.syntax
    def _backward(self, chart, rows, Z, A, δV, δdiv):
        δo = mi.Vector3f(0)
        δV = chart.vector(Z.inverse @ δV)
        i = mi.UInt32(0)
        while dr.hint(i < Z.count, max_iterations=self._most(chart), label="pbdr warp adjoint"):
            row = rows[i]
            b = self._coefficient(chart, row, i, Z, A)
            δv = self._across(chart, row, Z.pull(row, δV) + δdiv * b)
            δo += self._velocity_adjoint(chart, row, δv)
            i += 1
        return δo


def expm1(q: Any) -> Any:
    return dr.select(q < 0.01, q * (1 + 0.5 * q), dr.exp(q) - 1)
