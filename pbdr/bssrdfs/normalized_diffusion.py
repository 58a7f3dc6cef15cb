"""Normalized diffusion: two exponentials whose width was fitted to Monte Carlo simulation."""

from __future__ import annotations

from typing import Any

import drjit as dr

NEAR = 1e-6  # least r in units of d: R diverges like 1/r
FITS = {
    # s(A), ℓ / d = s, for ℓ the mean free path (normal and diffuse illumination), or the diffuse one
    "searchlight": lambda A: 1.85 - A + 7 * dr.abs(dr.power(A - 0.8, 3)),
    "diffuse": lambda A: 1.9 - A + 3.5 * dr.square(A - 0.8),
    "diffuse_mfp": lambda A: 3.5 + 100 * dr.square(dr.square(A - 0.33)),
}


class NormalizedDiffusion:
    """R(r) = A (exp(-r/d) + exp(-r/3d)) / (8π d r), d = ℓ / s(A) :cite:`christensen2015approximate`.

    Its integral over the plane is A, whatever d. It has no index of refraction: the boundary's losses
    are part of A.

    Args:
        albedo: A, total diffuse reflectance, in [0, 1].
        radius: ℓ > 0, units of length; which length depends on ``fit``.
        fit: ``searchlight`` (mean free path, light along the normal), ``diffuse`` (mean free path,
            light from everywhere), ``diffuse_mfp`` (diffuse mean free path, searchlight).
    """

    def __init__(self, albedo: Any, radius: Any, fit: str = "searchlight"):
        self.albedo = albedo
        self.width = radius / FITS[fit](albedo)

    @classmethod
    def of_width(cls, albedo: Any, width: Any) -> NormalizedDiffusion:
        """The profile of a given d."""
        profile = cls.__new__(cls)
        profile.albedo, profile.width = albedo, width
        return profile

    def eval(self, r: Any) -> Any:
        """R(r) per unit of area; derivatives with respect to albedo, radius and r."""
        x = dr.maximum(r / self.width, NEAR)
        near = dr.exp(-x / 3)
        return self.albedo * near * (1 + dr.square(near)) / (8 * dr.pi * dr.square(self.width) * x)

    def pdf(self, r: Any) -> Any:
        """Density of `sample` per unit of area, R / A; detached."""
        d = dr.detach(self.width)
        x = dr.maximum(dr.detach(r) / d, NEAR)
        near = dr.exp(-x / 3)
        return near * (1 + dr.square(near)) / (8 * dr.pi * dr.square(d) * x)

    def sample(self, u: Any) -> Any:
        """A radius for a uniform number in [0, 1); detached.

        With y = exp(-r/3d) the distribution function is inverted by the real root of
        y³ + 3y = 4 (1 - u), written without cancellation.
        """
        v = dr.maximum(1 - u, 2.0**-24)
        n = dr.power(1 + 4 * v * (2 * v + dr.sqrt(dr.fma(4 * v, v, 1))), -1 / 3)
        c = 1 + n + dr.rcp(n)
        return 3 * dr.detach(self.width) * dr.log(c / (4 * v))

    def effective_albedo(self) -> Any:
        """∫ R 2πr dr = A."""
        return self.albedo

    def tail(self, r: Any) -> Any:
        """Share of `sample` beyond ``r``."""
        y = dr.exp(-dr.detach(r) / (3 * dr.detach(self.width)))
        return 0.25 * y * (dr.square(y) + 3)
