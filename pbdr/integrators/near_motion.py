"""Vertices that are close to one another move together.

A vertex p of a path moves by b_p where the direction that leads to it is held. Were the next one, q, held meanwhile, the
direction between them would turn by |b_p| / r: where two surfaces meet, that has no bound. So q follows,

    q̇ = b_q + w P b_p,    w = (1 - r² / R²)² within R, else 0,    P δ = δ - ω (n_q·δ) / (n_q·ω),

as if the ray from p to q had been shifted by w b_p with its direction ω held: what turns is (1 - w) of it. Since w depends on ω,
the area about q gains ∇_ω w · b_p / r, with ∇_ω r = -r n_q⊥ / (n_q·ω) (⊥: across ω). A point on a light does not follow: emitter
samples hold it; nor one on a surface with jumps inside, whose boundary terms are for surfaces that move themselves. Any w that is the same for boundary and interior derivatives gives the same sum :cite:`zhang2020path`.
"""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from ..scene.instances import moves
from .jumps.levels import jumps, jumps_in_groups

SHARE = 1 / 8  # R, of the diagonal of the smallest box that moves
GRAZING = 1e-4  # least cosine between a ray and a surface on which it slides


class NearMotion:
    """How much the next vertex of a path follows one that moves."""

    def __init__(self, scene: Any):
        shapes = scene.shapes()
        moving = [s for s in shapes if moves(s)]
        sizes = [float(np.linalg.norm(np.array(s.bbox().extents(), dtype=float))) for s in moving or shapes]
        sizes = [x for x in sizes if np.isfinite(x) and x > 0]
        self.held = [s for s in shapes if jumps(s)]
        self.instances_held = jumps_in_groups(scene)
        # Not a literal: kernels stay the same while shapes move.
        self.R2 = dr.opaque(mi.Float, (SHARE * min(sizes)) ** 2 if sizes else 0.0)

    def share(self, hit: Any) -> Any:
        """w for the vertex ``hit`` (a PreliminaryIntersection3f, by a ray from the vertex before)."""
        return dr.square(self._root(hit))

    def _root(self, hit: Any) -> Any:
        t2 = dr.square(hit.t)
        on = hit.is_valid() & (t2 < self.R2)
        on &= ~hit.shape.is_emitter()
        for s in self.held:
            on &= hit.shape != mi.ShapePtr(s)
        if self.instances_held:
            on &= hit.instance == dr.zeros(mi.ShapePtr)
        return dr.select(on, 1 - t2 / self.R2, 0)

    def spread(self, hit: Any, n: Any, d: Any, b: Any) -> Any:
        """Relative growth of the area about ``hit`` with what moves by ``b``: ∇_ω w · b / r.

        Args:
            n, d: normal there and direction of the ray, detached.
        """
        cos = _guarded(dr.dot(n, d))
        across = dr.dot(n, b) - dr.dot(n, d) * dr.dot(d, b)
        root = self._root(hit)
        return dr.select(root > 0, 4 * hit.t / self.R2 * root * across / cos, 0)


def change(x: Any) -> Any:
    """0 with the derivative of the vector ``x``."""
    return dr.replace_grad(mi.Vector3f(0), mi.Vector3f(x))


def slide(δ: Any, n: Any, d: Any) -> Any:
    """P δ: how the point slides on a plane with normal ``n`` where a ray in direction ``d`` is shifted by ``δ``."""
    return δ - d * (dr.dot(n, δ) / _guarded(dr.dot(n, d)))


def _guarded(cos: Any) -> Any:
    return dr.mulsign(dr.maximum(dr.abs(cos), GRAZING), cos)
