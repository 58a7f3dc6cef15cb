"""Warp fields: directions that move with what they see.

Visibility changes at boundaries that move. If the directions of an integral move with them,

    d/dθ ∫ f dω = ∫ ∂f/∂θ + ∇·(f V) dω = ∫ ∂f/∂θ + ∇f·V + f ∇·V dω,

for every field V that is continuous and equals the velocity of the boundary on each boundary
:cite:`bangaru2020unbiased`. V is a mean over auxiliary rays ω' around ω, vMF-distributed with
concentration κ: V = Σ W_i V_i / Σ W_i, where V_i is the motion of what ω'_i hits, as seen from the
origin of the rays, and W_i grows where ω'_i is close to both ω and a boundary:

    q = κ (1 - ω·ω'),    W = e^q / (e^q - 1 + B)^α    (B: `geometry.boundary_measure`).

The ratio has a bias that Bangaru's formula for the divergence leaves in, at 16 rays about 10 %. Here
the field is *defined* as the expectation over N rays, whose divergence is known exactly: of the
weights, plus the score κ ω'⊥ of the density, with the ray's own share taken out of its baseline,

    ∇·E[V] = E[ Σ_i W_i/Z (V_i - V)·∂log W_i + W_i/(Z - W_i) (V_i - V)·κ ω'_i⊥ ],    Z = Σ W_i.

What remains is how far V at a boundary is from the boundary's velocity: the chance that no ray finds
it (2⁻ᴺ), and the width of the kernel where the motion varies, which B = λ √κ s narrows: s, the angle to the nearest
boundary, counts λ times as much as the kernel's width. Randomized
telescoping of the ratio over N, 2N, 4N, ... would remove the first, at 5 times the variance.
"""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from .path_state import hit_fields, hit_of, hit_values


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
        self.antithetic, self.debiased = antithetic, debiased
        self.contrast = contrast


SCALES, FINER = 2, 32  # widths of the kernel, of every other ray: √32 times as narrow


def row_type(vector: Any) -> Any:
    """What the passes over the rays share, a row of thread-local memory.

    ``offset`` is ω'⊥ and ``drop`` 1 - ω·ω' (unused on the film); ∂log W = ``slope`` κ ω'⊥. ``d`` leads to the
    point whose motion counts, a little beside what the ray has hit.
    """
    own = {"offset": vector, "drop": mi.Float, "W": mi.Float, "slope": mi.Float, "gain": mi.Float, "d": mi.Vector3f}
    return make_dataclass("AuxiliaryRay", list((own | hit_fields()).items()))


@dataclass
class Weights:
    """Sums over the auxiliary rays. One weight may exceed the others by more than float32 can tell in
    a sum, so the largest is kept apart.
    """

    count: Any  # UInt32, rays
    largest: Any  # Float, W of the ray ...
    at: Any  # UInt32, ... with this number
    rest: Any  # Float, Σ W of all others

    @property
    def total(self) -> Any:
        return self.rest + self.largest

    def add(self, W: Any, i: Any) -> None:
        larger = W > self.largest
        self.rest += dr.select(larger, self.largest, W)
        self.at = dr.select(larger, i, self.at)
        self.largest = dr.select(larger, W, self.largest)

    def share(self, W: Any) -> Any:
        """W / Z."""
        return dr.select(self.total > 0, W / self.total, 0)

    def against_the_others(self, W: Any, i: Any) -> Any:
        """W / (Z - W) for ray ``i``."""
        others = dr.select(i == self.at, self.rest, self.rest + (self.largest - W))
        return dr.select(others > 0, W / others, 0)


@dataclass
class Slopes:
    """Sums of the divergence: Σ W/Z ∂log W, and Σ W/(Z - W) κω'⊥ with the largest weight apart."""

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
        self.follow = mi.RayFlags.Minimal | mi.RayFlags.FollowShape

    def _hit(self, chart, row):
        """The hit again, following the shape (attached), and whether it is one."""
        ray = chart.ray(row.offset, row.drop)
        ray.d = row.d
        pi = hit_of(row)
        hit = pi.is_valid()
        with dr.resume_grad():
            si = pi.compute_surface_interaction(ray, self.follow, hit)
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
                dr.backward_from(dr.dot(mi.Vector3f(si.p), dr.select(hit, δy * row.gain, 0)))
        return dr.select(hit, δo, 0)


class WarpField(Field):
    """Value and divergence of the field, forward and adjoint."""

    # ---------------------------------------------------------------- passes without derivatives

    @dr.syntax
    def _trace(self, chart, rng, active):
        """Trace the auxiliary rays: (rows in thread-local memory, `Weights`)."""
        S = self.settings
        count = dr.select(active, mi.UInt32(S.rays), 0)
        Row = row_type(chart.vector)
        rows = dr.alloc_local(Row, S.rays, value=dr.zeros(Row))
        Z = Weights(count, mi.Float(0), mi.UInt32(0), mi.Float(0))
        i = mi.UInt32(0)
        previous = chart.vector(0)
        dropped, distance = mi.Float(0), mi.Float(0)
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
            narrow = chart.narrow(si)
            B, s = self.measure.eval(ray, pi, si, narrow if S.debiased else None)
            gain = mi.Float(1)
            if dr.hint(S.debiased, mode="scalar"):
                gain = self.measure.gain(ray, pi, si, s, narrow)
            d = mi.Vector3f(si.p - ray.o)
            t = dr.norm(d)
            if dr.hint(S.debiased, mode="scalar"):
                B = S.contrast * narrow * s
            pi.t = dr.select(pi.is_valid(), t, dr.inf)
            e = dr.exp(q)
            bottom = dr.maximum(e - 1 + B, 1e-4)
            density, score = self._mixture(q)
            W = dr.power(bottom, -S.exponent) / density
            slope = S.exponent * e / bottom - (score if S.debiased else 0)
            rows[i] = Row(offset, drop, W, slope, gain, d / t, *hit_values(pi))
            Z.add(W, i)
            i += 1
        return rows, Z

    @dr.syntax
    def _totals(self, chart, rows, Z):
        A = Slopes(chart.vector(0), chart.vector(0), chart.vector(0))
        i = mi.UInt32(0)
        while dr.hint(i < Z.count, max_iterations=self.settings.rays, label="pbdr slopes"):
            row = rows[i]
            step = row.offset * chart.kappa
            A.weights += step * (Z.share(row.W) * row.slope)
            if dr.hint(self.settings.debiased, mode="scalar"):
                against = step * self._scale(i) * Z.against_the_others(row.W, i)
                A.score += dr.select(i == Z.at, 0, against)
                A.largest = dr.select(i == Z.at, against, A.largest)
            i += 1
        return A

    def _scale(self, i):
        """Concentration of ray ``i``, relative to κ."""
        if not self.settings.debiased:
            return mi.Float(1)
        return dr.power(mi.Float(FINER), mi.Float(i % SCALES))

    def _mixture(self, q):
        """Density of all rays together (q = 0 for the widest: 1), and -∂log of it by q."""
        if not self.settings.debiased:
            return dr.exp(-q), mi.Float(1)
        density, slope = mi.Float(0), mi.Float(0)
        for j in range(SCALES):
            c = float(FINER**j)
            part = c / SCALES * dr.exp(-c * q)
            density += part
            slope += c * part
        return density, slope / density

    def _coefficients(self, chart, row, i, Z, A):
        """(h, b) of a ray: it adds h V_i to V and b·V_i to ∇·V."""
        h, step = Z.share(row.W), row.offset * chart.kappa
        b = step * row.slope - A.weights
        if self.settings.debiased:
            score = step * self._scale(i)
            others = dr.select(i == Z.at, A.score, A.score + A.largest - score * Z.against_the_others(row.W, i))
            b += score - others
        return h, h * b

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
        while dr.hint(i < Z.count, max_iterations=self.settings.rays, label="pbdr warp"):
            row = rows[i]
            h, b = self._coefficients(chart, row, i, Z, A)
            v = self._velocity(chart, row)
            V += h * v
            div += dr.dot(b, v)
            i += 1
        return chart.on_the_surface(V, div)

    @dr.syntax
    def _backward(self, chart, rows, Z, A, δV, δdiv):
        δo = mi.Vector3f(0)
        i = mi.UInt32(0)
        while dr.hint(i < Z.count, max_iterations=self.settings.rays, label="pbdr warp adjoint"):
            row = rows[i]
            h, b = self._coefficients(chart, row, i, Z, A)
            δo += self._velocity_adjoint(chart, row, h * δV + δdiv * b)
            i += 1
        return δo
