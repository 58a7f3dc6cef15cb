"""The rotation of Loubet et al.: all directions of a kernel follow the nearest occluder in it.

The integral is split into kernels k(ω | ω_m) around main directions ω_m. Within one, a few rays are
traced, the one is chosen that most likely belongs to the occluder, and all directions rotate with
what it has hit :cite:`loubet2019reparameterizing`:

    ∫ f k dω → V constant in the kernel,  d/dθ = ∫ ∂f/∂θ k + ∇f·V k + f V·∂k/∂ω.

Biased where a kernel sees more than one silhouette, or misjudges which surface is in front: kept
because it is the field's first method, for comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from .path_state import hit_values
from .warp import Field, row_type


@dataclass
class Occluder:
    """The nearest surface so far."""

    row: Any  # `row_type`
    p: Any  # Point3f
    n: Any  # Normal3f


class RotationField(Field):
    """Value and divergence of the field; ``settings.rays`` directions per kernel."""

    def forward(self, chart: Any, rng: Any, active: Any) -> tuple[Any, Any]:
        """(V, V·∂log k) for the tangents set on the scene's parameters, and on the chart's origin."""
        row, main = self._occluder(chart, rng, active)
        V = self._velocity(chart, row)
        return chart.on_the_surface(V, dr.dot(main, V) * chart.kappa)

    def backward(self, chart: Any, rng: Any, active: Any, δV: Any, δdiv: Any) -> Any:
        """Add the gradient of δV·V + δdiv V·∂log k to the scene's parameters; returns the adjoint of the origin."""
        row, main = self._occluder(chart, rng, active)
        δV, δdiv = chart.on_the_surface_adjoint(δV, δdiv)
        return self._velocity_adjoint(chart, row, δV + main * (chart.kappa * δdiv))

    @dr.syntax
    def _occluder(self, chart, rng, active):
        """(the ray chosen, offset of ω_m from ω). The density of kernels is symmetric: ω_m is drawn from ω."""
        main, _, _ = chart.draw(rng.next_2d(), mi.Float(1))
        Row = row_type(chart.vector)
        best = Occluder(dr.zeros(Row), dr.zeros(mi.Point3f), dr.zeros(mi.Normal3f))
        best.row.t = mi.Float(dr.inf)
        i = mi.UInt32(0)
        while dr.hint(active & (i < self.settings.rays), max_iterations=self.settings.rays, label="pbdr rotation"):
            aside, _, _ = chart.draw(rng.next_2d(), mi.Float(1))
            offset = dr.select(i == 0, 0, main + aside)
            drop = 0.5 * dr.squared_norm(offset)
            ray = chart.ray(offset, drop)
            pi = self.scene.ray_intersect_preliminary(ray, coherent=False, reorder=False)
            si = pi.compute_surface_interaction(ray, self.flags)
            nearer = self._occludes(ray, si, best)
            none = chart.vector(0)
            here = Row(offset, none, none, drop, mi.Float(0), mi.Float(1), mi.UInt32(0), ray.d, *hit_values(pi))
            best.row = dr.select(nearer, here, best.row)
            best.p = dr.select(nearer, si.p, best.p)
            best.n = dr.select(nearer, si.n, best.n)
            i += 1
        return best.row, main

    @staticmethod
    def _occludes(ray, si, best):
        """Is ``si`` before the tangent plane of the best one? If that does not tell: the nearer one."""
        found = best.row.t < dr.inf
        before_best = dr.dot(best.n, si.p - best.p) * dr.dot(best.n, ray.o - best.p) > 0
        before_this = dr.dot(si.n, best.p - si.p) * dr.dot(si.n, ray.o - si.p) > 0
        nearer = dr.select(before_best == before_this, si.t < best.row.t, before_best)
        return si.is_valid() & (~found | nearer)
