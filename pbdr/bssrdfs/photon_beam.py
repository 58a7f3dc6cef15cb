"""Photon beam diffusion: the better dipole along a beam of sources, and single scattering.

In units of the mean free path 1 / σt the profile depends on albedo, r, g and η only. It is tabulated
over the first two: linear in r, cubic in the albedo, so that evaluation, density and derivative
belong to one another.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from .dipole import exitance_factors
from .fresnel import fresnel_inside
from .medium import THINNEST, Medium

ALBEDOS, RADII = 100, 96
FIRST_RADIUS, GROWTH = 2.5e-3, 1.2  # the grid of radii, 0 in front of it
NEAREST = 1e-6 * FIRST_RADIUS
DEPTHS = 100  # source depths of a table entry
GROWING = 8.0  # how the grid of albedos condenses toward 1


class PhotonBeamDiffusion:
    """Multiple scattering by photon beam diffusion, and exact single scattering :cite:`habel2013photon`.

    R(r) = ∫ κ R_BD(r; z) σt' e^{-σt' z} dz + R₁(r), with R_BD the better dipole of a source at depth z
    and κ = 1 - exp(-2σt' (d + z)).

    Light that enters along the normal. g and η are numbers, not textures: each pair has its table.
    The model is not energy-conserving: up to 1.03 comes back of a medium that does not absorb.

    Args:
        medium: coefficients; ``g`` and ``eta`` are Python numbers (else they are read from the device,
            which a recorded loop does not allow), and carry no derivative.
    """

    def __init__(self, medium: Medium):
        self.medium = medium
        self.extinction = dr.maximum(medium.sigma_a + medium.sigma_s, THINNEST)
        self.alpha = medium.sigma_s / self.extinction
        self.table = BeamTable.of(_number(medium.g), _number(medium.eta))

    def eval(self, r: Any) -> Any:
        """R(r) per unit of area."""
        x = r * self.extinction
        value = self.table.at(self.alpha, x)
        return value * dr.square(self.extinction) / (2 * dr.pi * dr.maximum(x, NEAREST))

    def pdf(self, r: Any) -> Any:
        """Density of `sample` per unit of area, R / A; detached."""
        with dr.suspend_grad():
            return dr.detach(self.eval(r) / self.effective_albedo())

    def sample(self, u: Any) -> Any:
        """A radius for a uniform number in [0, 1); detached."""
        with dr.suspend_grad():
            return self.table.invert(dr.detach(self.alpha), u) / dr.detach(self.extinction)

    def effective_albedo(self) -> Any:
        """∫ R 2πr dr."""
        return self.table.total(self.alpha)


@dataclass
class BeamTable:
    """2πr R(r) on the grid, and its running integral over r; a dataclass, so that `dr.freeze` finds it."""

    radius: Any
    values: Any
    running: Any

    @classmethod
    def build(cls, g: float, eta: float) -> BeamTable:
        i = np.arange(ALBEDOS) / (ALBEDOS - 1)
        albedo = (1 - np.exp(-GROWING * i)) / (1 - np.exp(-GROWING))
        radius = np.r_[0, FIRST_RADIUS * GROWTH ** np.arange(RADII - 1)]
        values = np.stack([tabulate(a, radius[1:], g, eta) for a in albedo]) * (2 * np.pi * radius[1:])
        values = np.concatenate([np.zeros((ALBEDOS, 1)), values], 1)
        running = np.cumsum(0.5 * (values[:, 1:] + values[:, :-1]) * np.diff(radius), 1)
        running = np.concatenate([np.zeros((ALBEDOS, 1)), running], 1)
        return cls(*(mi.Float(x.astype(np.float32).ravel()) for x in (radius, values, running)))

    @staticmethod
    def of(g: float, eta: float) -> BeamTable:
        """The table of a pair, built once."""
        return _tables(mi.variant(), g, eta)

    # ---------------------------------------------------------------- interpolation

    def _rows(self, alpha: Any) -> list[tuple[Any, Any]]:
        """Four rows around the albedo and their Catmull-Rom weights."""
        span = 1 - float(np.exp(-GROWING))
        x = -dr.log(dr.maximum(1 - alpha * span, 1e-7)) / GROWING * (ALBEDOS - 1)
        x = dr.clip(x, 0, ALBEDOS - 1)
        first = dr.minimum(dr.floor(dr.detach(x)), ALBEDOS - 2)
        t = x - first
        weights = (
            t * (-0.5 + t * (1 - 0.5 * t)),
            1 + t * t * (-2.5 + 1.5 * t),
            t * (0.5 + t * (2 - 1.5 * t)),
            t * t * (0.5 * t - 0.5),
        )
        index = type(alpha) if dr.depth_v(alpha) == 1 else None
        rows = []
        for k, w in enumerate(weights):
            row = dr.clip(first + (k - 1), 0, ALBEDOS - 1)
            rows.append((dr.uint32_array_t(index or type(alpha))(row), w))
        return rows

    def _blend(self, table: Any, alpha: Any, column: Any) -> Any:
        return sum(w * _gather(table, row * RADII + column) for row, w in self._rows(alpha))

    def at(self, alpha: Any, x: Any) -> Any:
        """2πx R at a radius in mean free paths."""
        cell = self._cell(x + alpha * 0)
        low, high = _gather(self.radius, cell), _gather(self.radius, cell + 1)
        t = (x - low) / (high - low)
        value = dr.lerp(self._blend(self.values, alpha, cell), self._blend(self.values, alpha, cell + 1), t)
        return dr.select(t <= 1, dr.maximum(value, 0), 0)

    def total(self, alpha: Any) -> Any:
        column = dr.uint32_array_t(type(alpha))(alpha * 0) + (RADII - 1)
        return self._blend(self.running, alpha, column)

    def _cell(self, x: Any) -> Any:
        """Grid cell of a radius."""
        x = dr.maximum(dr.detach(x), 1e-20)
        k = dr.floor(dr.log(x / FIRST_RADIUS) * (1 / float(np.log(GROWTH)))) + 1
        return dr.uint32_array_t(type(x))(dr.clip(k, 0, RADII - 2))

    def invert(self, alpha: Any, u: Any) -> Any:
        """Radius below which the share ``u`` lies: bisection over cells, a quadratic in one."""
        target = u * self.total(alpha)
        zero = dr.uint32_array_t(type(alpha))(alpha * 0)
        low, high = zero, zero + (RADII - 1)
        for _ in range(RADII.bit_length()):
            middle = (low + high) >> 1
            below = self._blend(self.running, alpha, middle) <= target
            inside = high - low > 1
            low, high = dr.select(inside & below, middle, low), dr.select(inside & ~below, middle, high)
        a, b = self._blend(self.values, alpha, low), self._blend(self.values, alpha, low + 1)
        start, stop = _gather(self.radius, low), _gather(self.radius, low + 1)
        rest = dr.maximum(target - self._blend(self.running, alpha, low), 0) / (stop - start)
        # a t + (b - a) t² / 2 = rest, by the root that does not cancel
        root = dr.sqrt(dr.maximum(dr.square(a) + 2 * (b - a) * rest, 0))
        t = dr.clip(2 * rest / dr.maximum(a + root, 1e-30), 0, 1)
        return dr.lerp(start, stop, t)


def _number(x: Any) -> float:
    return float(x) if isinstance(x, (int, float)) else float(dr.detach(dr.ravel(x))[0])


@functools.lru_cache(maxsize=32)
def _tables(variant: str, g: float, eta: float) -> BeamTable:
    return BeamTable.build(g, eta)


def _gather(table: Any, index: Any) -> Any:
    """Per entry of ``index``, which may be an array of channels."""
    if dr.depth_v(index) == 1:
        return dr.gather(mi.Float, table, mi.UInt32(index))
    values = [dr.gather(mi.Float, table, mi.UInt32(index[k])) for k in range(len(index))]
    return dr.float_array_t(type(index))(*values)


def tabulate(albedo: float, r: np.ndarray, g: float, eta: float) -> np.ndarray:
    """R(r) for σt = 1 (host side, float64).

    Args:
        albedo: σs / σt in [0, 1].
        r: radii > 0.
    """
    u = (np.arange(DEPTHS) + 0.5) / DEPTHS
    r = r[:, None]
    reduced = albedo * (1 - g)
    extinction = 1 - albedo + reduced
    alpha = reduced / extinction
    absorption = max(1 - albedo, 1e-8)
    D = (2 * absorption + reduced) / (3 * extinction**2)
    sigma = np.sqrt(absorption / D)
    c_phi, c_flux, boundary = _host_factors(eta)
    z = -np.log1p(-u) / extinction
    image = z + 4 * boundary * D
    dr_, dv = np.hypot(r, z), np.hypot(r, image)
    flux = (
        z * (1 + sigma * dr_) * np.exp(-sigma * dr_) / dr_**3 + image * (1 + sigma * dv) * np.exp(-sigma * dv) / dv**3
    )
    fluence = np.exp(-sigma * dr_) / dr_ - np.exp(-sigma * dv) / dv
    kappa = 1 - np.exp(-2 * extinction * (dr_ + z))
    multiple = (alpha**2 / (4 * np.pi) * kappa * (c_flux * flux + c_phi / D * fluence)).mean(1)
    # Single scattering: from where the light leaves below the critical angle, deeper.
    critical = r * np.sqrt(eta**2 - 1)
    t = critical - np.log1p(-u)
    d = np.hypot(r, t)
    cosine = t / d
    phase = (1 - g**2) / (4 * np.pi * (1 + g**2 + 2 * g * cosine) ** 1.5)  # it turns back: cos = -cosine
    single = albedo * np.exp(-(d + critical)) / d**2 * phase * (1 - fresnel_inside(cosine, eta)) * cosine
    return multiple + single.mean(1)


def _host_factors(eta: float) -> tuple[float, float, float]:
    """C_φ, C_E and A_b."""
    with dr.suspend_grad():
        one = mi.Float(1)
        phi, flux = (float(x[0]) for x in exitance_factors(one, mi.Float(eta)))
    return phi, flux, (1 - flux) / (2 * phi)
