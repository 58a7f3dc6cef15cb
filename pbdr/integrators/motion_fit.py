"""The motion that agrees best with what several rays have seen.

A boundary that moves fixes the motion across itself and none along itself. So V minimizes

    Σ_i W_i [(1 - ε) (n_i · (V - V_i))² + ε |V - V_i|²],

n_i across the boundary that is nearest to what ray i has hit. With A_i = (1 - ε) n_i n_iᵀ + ε (the
identity where no boundary is known) the minimum is V = M⁻¹ Σ W_i A_i V_i, M = Σ W_i A_i. Where two
boundaries cross, as an outline and the border of a light, both keep their own motions; a weighted mean
(ε = 1) would lose 1 % of a shadow's derivative there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

ALONG = 0.01  # ε
LEAST = 1e-20  # share of all rays but one below which they are nothing: its inverse must stay finite


@dataclass
class MotionFit:
    """M and its inverses. One weight may exceed the others by more than float32 can tell in a sum, so
    the largest is kept apart.
    """

    count: Any  # UInt32, rays
    at: Any  # UInt32, number of the ray with the largest weight,
    largest: Any  # Float, ... its W
    normal: Any  # ... and its n
    rest: Any  # Float, Σ W of all others
    matrix: Any  # Σ W A of all others; after `solve`: M / Σ W
    inverse: Any  # after `solve`: of that
    without: Any  # after `solve`: inverse of M without the largest, times Σ W

    @classmethod
    def empty(cls, chart: Any, count: Any) -> MotionFit:
        matrices = (chart.matrix(0) for _ in range(3))
        return cls(count, mi.UInt32(0), mi.Float(0), chart.vector(0), mi.Float(0), *matrices)

    @property
    def total(self) -> Any:
        return self.rest + self.largest

    def add(self, i: Any, W: Any, normal: Any) -> None:
        larger = W > self.largest
        smaller = dr.select(larger, self.largest, W)
        self.rest += smaller
        self.matrix += constraint(dr.select(larger, self.normal, normal), self.matrix) * smaller
        self.at = dr.select(larger, i, self.at)
        self.largest = dr.select(larger, W, self.largest)
        self.normal = dr.select(larger, normal, self.normal)

    def solve(self) -> None:
        """After the last ray."""
        some = self.rest > LEAST * self.total
        unit = constraint(self.normal * 0, self.matrix)
        others = dr.select(some, self.matrix * (1 / self.rest), unit)
        self.without = dr.rcp(others) * dr.select(some, self.total / self.rest, 0)
        full = self.matrix + constraint(self.normal, self.matrix) * self.largest
        self.matrix = dr.select(self.total > 0, full * (1 / self.total), unit)
        self.inverse = dr.rcp(self.matrix)

    def share(self, row: Any) -> Any:
        """W / Σ W."""
        return dr.select(self.total > 0, row.W / self.total, 0)

    def pull(self, row: Any, v: Any) -> Any:
        """W A v / Σ W."""
        n, along = row.normal, _along(row.normal)
        return type(n)(n * (dr.dot(n, v) * (1 - along)) + v * along) * self.share(row)

    def left_out(self, row: Any, i: Any, v: Any) -> Any:
        """(M_i⁻¹ - M⁻¹) v Σ W = M_i⁻¹ W A M⁻¹ v Σ W, where M_i lacks ray ``i``."""
        M = self.matrix - constraint(row.normal, self.matrix) * self.share(row)
        inverse = dr.select(i == self.at, self.without, dr.rcp(M))
        return type(v)(inverse @ self.pull(row, self.inverse @ v))


def _along(n: Any, least: float = ALONG) -> Any:
    """ε, or 1 where there is no normal."""
    return dr.select(dr.squared_norm(n) > 0.5, least, mi.Float(1))


def constraint(n: Any, like: Any, least: float = ALONG) -> Any:
    """A, of the type of ``like``."""
    along = _along(n, least)
    A = type(like)(along)
    for j in range(len(n)):
        for k in range(len(n)):
            A[j, k] += n[j] * n[k] * (1 - along)
    return A
