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

from ..core.arrays import on_device
from .dipole import exitance_factors
from .fresnel import fresnel_inside
from .medium import THINNEST, Medium
from .probe import QUANTILE

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
        # Once, not in every turn of a loop that evaluates.
        self.rows = self.table.rows(self.alpha)
        self.total = self.table.total(self.rows)

    def eval(self, r: Any) -> Any:
        """R(r) per unit of area."""
        x = r * self.extinction
        value = self.table.at(self.rows, x)
        return value * dr.square(self.extinction) / (2 * dr.pi * dr.maximum(x, NEAREST))

    def pdf(self, r: Any) -> Any:
        """Density of `sample` per unit of area, R / A; detached."""
        with dr.suspend_grad():
            return dr.detach(self.eval(r) / self.total)

    def sample(self, u: Any) -> Any:
        """A radius for a uniform number in [0, 1); detached."""
        with dr.suspend_grad():
            return self.table.invert(self.table.rows(dr.detach(self.alpha)), u) / dr.detach(self.extinction)

    def bound(self, u: Any) -> Any:
        """A radius not much larger than `sample` gives for u ≤ `probe.QUANTILE`."""
        with dr.suspend_grad():
            return self.table.farthest(self.rows) / dr.detach(self.extinction)

    def effective_albedo(self) -> Any:
        """∫ R 2πr dr."""
        return self.total


@dataclass
class BeamTable:
    """2πr R(r) on the grid, and its running integral over r; a dataclass, so that `dr.freeze` finds it."""

    radius: Any
    values: Any  # for each radius, and each interval of the albedo, the four rows around it
    running: Any  # so, too
    far: Any  # for each interval of the albedo

    @classmethod
    def build(cls, g: float, eta: float) -> BeamTable:
        i = np.arange(ALBEDOS) / (ALBEDOS - 1)
        albedo = (1 - np.exp(-GROWING * i)) / (1 - np.exp(-GROWING))
        radius = np.r_[0, FIRST_RADIUS * GROWTH ** np.arange(RADII - 1)]
        values = np.stack([tabulate(a, radius[1:], g, eta) for a in albedo]) * (2 * np.pi * radius[1:])
        values = np.concatenate([np.zeros((ALBEDOS, 1)), values], 1)
        running = np.cumsum(0.5 * (values[:, 1:] + values[:, :-1]) * np.diff(radius), 1)
        running = np.concatenate([np.zeros((ALBEDOS, 1)), running], 1)
        far = [np.interp(QUANTILE * row[-1], row, radius) if row[-1] > 0 else 0 for row in running]
        far = np.maximum(far[:-1], far[1:])
        packed = (around(table) for table in (values, running))
        return cls(*(on_device(mi.Float, x.astype(np.float32)) for x in (radius, *packed, far)))

    @staticmethod
    def of(g: float, eta: float) -> BeamTable:
        """The table of a pair, built once."""
        return _tables(mi.variant(), g, eta)

    # ---------------------------------------------------------------- interpolation

    def rows(self, alpha: Any) -> tuple[Any, tuple]:
        """The interval of an albedo, and the Catmull-Rom weights of the four rows around it."""
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
        return dr.uint32_array_t(type(alpha))(first), weights

    @staticmethod
    def _blend(table: Any, rows: tuple, column: Any) -> Any:
        interval, weights = rows
        index = column * (ALBEDOS - 1) + interval
        if dr.depth_v(index) == 1:
            return _weighted(table, index, weights)
        return dr.float_array_t(type(index))(
            *(_weighted(table, index[k], [w[k] for w in weights]) for k in range(len(index)))
        )

    def farthest(self, rows: tuple) -> Any:
        """Radius within which about the share `probe.QUANTILE` of what comes back lies."""
        return _gather(self.far, rows[0])

    def at(self, rows: tuple, x: Any) -> Any:
        """2πx R at a radius in mean free paths."""
        cell = self._cell(x + rows[1][0] * 0)
        low, high = _gather(self.radius, cell), _gather(self.radius, cell + 1)
        t = (x - low) / (high - low)
        value = dr.lerp(self._blend(self.values, rows, cell), self._blend(self.values, rows, cell + 1), t)
        return dr.select(t <= 1, dr.maximum(value, 0), 0)

    def total(self, rows: tuple) -> Any:
        return self._blend(self.running, rows, rows[0] * 0 + (RADII - 1))

    def _cell(self, x: Any) -> Any:
        """Grid cell of a radius."""
        x = dr.maximum(dr.detach(x), 1e-20)
        k = dr.floor(dr.log(x / FIRST_RADIUS) * (1 / float(np.log(GROWTH)))) + 1
        return dr.uint32_array_t(type(x))(dr.clip(k, 0, RADII - 2))

    def invert(self, rows: tuple, u: Any) -> Any:
        """Radius below which the share ``u`` lies: bisection over cells, a quadratic in one."""
        target = u * self.total(rows)
        zero = rows[0] * 0
        low, high = zero, zero + (RADII - 1)
        for _ in range(RADII.bit_length()):
            middle = (low + high) >> 1
            below = self._blend(self.running, rows, middle) <= target
            inside = high - low > 1
            low, high = dr.select(inside & below, middle, low), dr.select(inside & ~below, middle, high)
        a, b = self._blend(self.values, rows, low), self._blend(self.values, rows, low + 1)
        start, stop = _gather(self.radius, low), _gather(self.radius, low + 1)
        rest = dr.maximum(target - self._blend(self.running, rows, low), 0) / (stop - start)
        # a t + (b - a) t² / 2 = rest, by the root that does not cancel
        root = dr.sqrt(dr.maximum(dr.square(a) + 2 * (b - a) * rest, 0))
        t = dr.clip(2 * rest / dr.maximum(a + root, 1e-30), 0, 1)
        return dr.lerp(start, stop, t)


def _number(x: Any) -> float:
    return float(x) if isinstance(x, (int, float)) else float(dr.detach(dr.ravel(x))[0])


@functools.lru_cache(maxsize=32)
def _tables(variant: str, g: float, eta: float) -> BeamTable:
    return BeamTable.build(g, eta)


def around(table: np.ndarray) -> np.ndarray:
    """[albedo, radius] → [radius, interval, 4]: the rows from one before to one behind each interval."""
    first = np.arange(len(table) - 1)
    rows = [table[np.clip(first + k, 0, len(table) - 1)] for k in (-1, 0, 1, 2)]
    return np.stack(rows, -1).transpose(1, 0, 2)


def _weighted(table: Any, index: Any, weights: Any) -> Any:
    """Σ of the four neighbours at ``index``, read as one packet."""
    v = dr.gather(mi.Vector4f, table, mi.UInt32(index))
    return sum(v[k] * weights[k] for k in range(4))


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
