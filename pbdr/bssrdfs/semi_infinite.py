"""Reflectance of a half-space of scattering matter under a smooth dielectric boundary, exactly.

The radiance that a half-space without a boundary returns is that of the H-function of
:cite:`chandrasekhar1960radiative` (isotropic scattering of albedo α); on Gauss nodes μ of the cosine it is a matrix,

    I_up = M I_down,   M_ij = α/2 H(μ_i) H(μ_j) μ_j / (μ_i + μ_j) w_j,
    1 / H(μ) = √(1 - α) + α/2 ∫ μ' H(μ') / (μ + μ') dμ'.

The boundary returns F(μ) I_up and adds what enters, I_down = T + F I_up; a share 1 - F(μ) of I_up leaves.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np
from scipy.interpolate import PchipInterpolator

from ..core.arrays import on_device
from .fresnel import fresnel_inside

NODES = 48  # Gauss nodes on each side of the critical angle
ROWS = 257  # of a table
STEPS = 60  # iterations for H


@dataclass
class ReflectanceTable:
    """A(s) and its inverse for one index of refraction, on even grids; s = √(1 - α).

    Both are smooth in s up to a white medium. Nodes hold value and slope (cubic Hermite interpolation).
    A dataclass, so that `dr.freeze` finds the arrays.
    """

    reflectance: Any
    thinness: Any

    @staticmethod
    def of(eta: float) -> ReflectanceTable:
        """The table of an index, built once."""
        return _tables(mi.variant(), float(eta))

    def albedo(self, alpha: Any) -> Any:
        """Total diffuse reflectance A of a half-space whose single-scattering albedo is ``alpha``."""
        s2 = dr.maximum(1 - alpha, 0)
        s = dr.sqrt(dr.maximum(s2, 1e-12))
        return dr.clip(_hermite(self.reflectance, s), 0, 1)

    def scattering(self, albedo: Any) -> Any:
        """α of a half-space that reflects ``albedo``: the inverse."""
        return 1 - dr.square(dr.clip(_hermite(self.thinness, dr.clip(albedo, 0, 1)), 0, 1))


@functools.lru_cache(maxsize=32)
def _tables(variant: str, eta: float) -> ReflectanceTable:
    s = np.linspace(0, 1, ROWS)
    A = reflectance(1 - s**2, eta)
    A[0], A[-1] = 1.0, 0.0
    forward, inverse = PchipInterpolator(s, A), PchipInterpolator(A[::-1], s[::-1])
    grid = np.linspace(0, 1, ROWS)
    columns = (np.stack([f(grid), f(grid, 1) / (ROWS - 1)], 1) for f in (forward, inverse))
    return ReflectanceTable(*(on_device(mi.Float, c.astype(np.float32)) for c in columns))


def reflectance(alpha: np.ndarray, eta: float, cosine: float | None = None) -> np.ndarray:
    """Share of the light that enters a half-space and leaves it again (host side, float64).

    Args:
        alpha: single-scattering albedos, in [0, 1].
        eta: index of refraction inside over that outside.
        cosine: of the direction inside in which the light enters; ``None``: it enters from all directions,
            after even radiance outside.
    """
    alpha = np.atleast_1d(np.asarray(alpha, float))[:, None]
    critical = np.sqrt(max(1 - 1 / eta**2, 0.0))
    μ, w = _nodes(critical)
    if cosine is not None:  # a node without weight
        μ, w = np.r_[μ, cosine], np.r_[w, 0.0]
    F = fresnel_inside(μ, eta)
    H = np.ones((len(alpha), len(μ)))
    kernel = μ * w / (μ[:, None] + μ)
    for _ in range(STEPS):
        # Halfway: near α = 1 a whole step goes too far by as much as it was off.
        H = 0.5 * (H + 1 / (np.sqrt(1 - alpha) + 0.5 * alpha * H @ kernel.T))
    M = 0.5 * alpha[..., None] * H[:, :, None] * H[:, None, :] * kernel
    if cosine is None:
        first, flux = M @ (1 - F), ((1 - F) * μ * w).sum()
    else:
        first, flux = 0.5 * alpha * H * H[:, -1:] * cosine / (μ + cosine), cosine
    up = np.linalg.solve(np.eye(len(μ)) - M * F, first[..., None])[..., 0]
    return ((1 - F) * up * μ * w).sum(1) / flux


def _nodes(critical: float) -> tuple[np.ndarray, np.ndarray]:
    x, w = np.polynomial.legendre.leggauss(NODES)
    panels = [(0.0, critical), (critical, 1.0)] if critical > 0 else [(0.0, 1.0)]
    return tuple(np.concatenate(c) for c in zip(*((a + (b - a) * (x + 1) / 2, w * (b - a) / 2) for a, b in panels)))


def _hermite(table: Any, x: Any) -> Any:
    """Interpolate a table on [0, 1]; ``x`` may be an array of channels."""
    if dr.depth_v(x) > 1:
        return type(x)(*(_hermite(table, x[k]) for k in range(len(x))))
    y = x * (ROWS - 1)
    k = dr.clip(dr.floor(dr.detach(y)), 0, ROWS - 2)
    t, row = y - k, mi.UInt32(k)
    (a, da), (b, db) = (dr.gather(mi.Vector2f, table, row + j) for j in range(2))
    return a + t * (da + t * (3 * (b - a) - 2 * da - db + t * (2 * (a - b) + da + db)))
