"""Dipoles: a source below the surface and its mirror image above it solve the diffusion equation.

With z > 0 the depth of the real source, -z_v the height of the image and d = √(r² + z²), both models
are sums of the flux term z (1 + σd) exp(-σd) / d³ and, in the better one, of the fluence exp(-σd) / d.
"""

from __future__ import annotations

from typing import Any

import drjit as dr

from .medium import CLEAREST, THINNEST, Medium

NEWTON = 6  # steps; convex and from above, so each only gets nearer


def _flux(z: Any, sigma: Any, r: Any) -> Any:
    """z (1 + σd) exp(-σd) / d³; over the plane 2π exp(-σz)."""
    d = dr.sqrt(dr.fma(z, z, dr.square(r)))
    return z * (1 + sigma * d) * dr.exp(-sigma * d) / (d * dr.square(d))


def _sample_flux(z: Any, sigma: Any, v: Any, steps: int = NEWTON) -> Any:
    """The radius beyond which the share ``v`` of `_flux` lies; a larger one after fewer ``steps``.

    That share is (z/d) exp(-σ (d - z)). With d = z exp(x) this is x + σz (exp(x) - 1) = -ln v.
    """
    t, a = -dr.log(v), sigma * z
    x = dr.minimum(t, dr.log(1 + t / dr.maximum(a, 1e-20)))
    for _ in range(steps):
        grown = a * dr.exp(x)
        x = dr.maximum(x - (x + grown - a - t) / (1 + grown), 0)
    return z * dr.sqrt(2 * dr.sinh(x) * dr.exp(x))  # √(exp(2x) - 1) without cancellation


class _Dipole:
    """What both models share: depths, and sampling by the flux terms of source and image."""

    def __init__(self, medium: Medium):
        self.medium = medium
        self.alpha = medium.reduced_albedo
        self.z_real, self.z_image, self.sigma, self.diffusion = self._geometry(
            self.alpha, dr.maximum(medium.reduced_extinction, THINNEST), medium.eta
        )

    @classmethod
    def _geometry(cls, alpha: Any, extinction: Any, eta: Any) -> tuple[Any, Any, Any, Any]:
        """(z_real, -z_v, σtr, D) for reduced albedo and extinction."""
        D, boundary = cls._boundary(alpha, extinction, eta)
        absorption = dr.maximum((1 - alpha) * extinction, CLEAREST * extinction)
        z = dr.rcp(extinction)
        return z, z + 2 * boundary, dr.sqrt(absorption / D), D

    def _shares(self) -> tuple[Any, Any, Any, Any]:
        """Detached z_real, z_image, σtr and the share of the real source in `sample`."""
        z, image, sigma = (dr.detach(x) for x in (self.z_real, self.z_image, self.sigma))
        return z, image, sigma, dr.rcp(1 + dr.exp(-sigma * (image - z)))

    def pdf(self, r: Any) -> Any:
        """Density of `sample` per unit of area; detached."""
        z, image, sigma, real = self._shares()
        r = dr.detach(r)
        first = _flux(z, sigma, r) * dr.exp(sigma * z)
        second = _flux(image, sigma, r) * dr.exp(sigma * image)
        return dr.lerp(second, first, real) * dr.inv_two_pi

    def sample(self, u: Any) -> Any:
        """A radius for a uniform number in [0, 1); detached."""
        return self._sample(u, NEWTON)

    def bound(self, u: Any) -> Any:
        """A radius not much larger than `sample` gives."""
        return self._sample(u, 1)

    def _sample(self, u: Any, steps: int) -> Any:
        z, image, sigma, real = self._shares()
        first = u < real
        v = 1 - dr.select(first, u / real, (u - real) / dr.maximum(1 - real, 1e-7))
        return _sample_flux(dr.select(first, z, image), sigma, dr.clip(v, 2.0**-24, 1), steps)

    def tail(self, r: Any) -> Any:
        """Share of `sample` beyond ``r``."""
        z, image, sigma, real = self._shares()
        share = [h / d * dr.exp(-sigma * (d - h)) for h in (z, image) for d in (dr.sqrt(h * h + dr.square(r)),)]
        return dr.lerp(share[1], share[0], real)

    def effective_albedo(self) -> Any:
        """∫ R 2πr dr, the total diffuse reflectance."""
        return self.reflectance(self.alpha, self.medium.eta)


class Dipole(_Dipole):
    """The classical dipole :cite:`jensen2001practical`.

    R(r) = α'/4π [z_r (1 + σ d_r) e^{-σ d_r} / d_r³ + |z_v| (1 + σ d_v) e^{-σ d_v} / d_v³], D = 1/3σt',
    z_v = -z_r - 4 A_b D, A_b = (1 + 2C₁) / (1 - 2C₁).

    Overestimates what strongly absorbing media reflect, and is too dark near the source.

    Args:
        medium: coefficients; entries of its arrays are channels.
    """

    @staticmethod
    def _boundary(alpha: Any, extinction: Any, eta: Any) -> tuple[Any, Any]:
        c1, _ = Medium(alpha, alpha, 0, eta).internal_moments
        D = dr.rcp(3 * extinction)
        return D, 2 * D * (1 + 2 * c1) / (1 - 2 * c1)

    def eval(self, r: Any) -> Any:
        """R(r) per unit of area."""
        both = _flux(self.z_real, self.sigma, r) + _flux(self.z_image, self.sigma, r)
        return self.alpha * both / (4 * dr.pi)

    @classmethod
    def reflectance(cls, alpha: Any, eta: Any) -> Any:
        """A(α', η) = α'/2 (e^{-σ z_r} + e^{-σ |z_v|})."""
        z, image, sigma, _ = cls._geometry(alpha, alpha * 0 + 1, eta)
        return 0.5 * alpha * (dr.exp(-sigma * z) + dr.exp(-sigma * image))


class BetterDipole(_Dipole):
    """The better dipole :cite:`deon2012better`.

    R(r) = α'²/4π [(C_E z (1 + σd)/d² + C_φ/D) e^{-σd}/d] of the source, the same with C_φ subtracted of
    the image; D = (2σa + σs') / 3σt'², z_v = -z_r - 4 A_b D, A_b = (1 + 3C₂) / (1 - 2C₁),
    C_φ = (1 - 2C₁)/4, C_E = (1 - 3C₂)/2.

    Args:
        medium: coefficients; entries of its arrays are channels.
    """

    @staticmethod
    def _boundary(alpha: Any, extinction: Any, eta: Any) -> tuple[Any, Any]:
        c1, c2 = Medium(alpha, alpha, 0, eta).internal_moments
        D = (2 - alpha) / (3 * extinction)
        return D, 2 * D * (1 + 3 * c2) / (1 - 2 * c1)

    def eval(self, r: Any) -> Any:
        """R(r) per unit of area."""
        return exitance(self.alpha, self.z_real, self.z_image, self.sigma, self.diffusion, self.medium.eta, r)

    @classmethod
    def reflectance(cls, alpha: Any, eta: Any) -> Any:
        """A(α', η) = α'²/2 [C_E (e^{-σ z_r} + e^{-σ |z_v|}) + C_φ / Dσ (e^{-σ z_r} - e^{-σ |z_v|})]."""
        z, image, sigma, D = cls._geometry(alpha, alpha * 0 + 1, eta)
        phi, flux = exitance_factors(alpha, eta)
        near, far = dr.exp(-sigma * z), dr.exp(-sigma * image)
        return 0.5 * dr.square(alpha) * (flux * (near + far) + phi / (D * sigma) * (near - far))


def exitance_factors(alpha: Any, eta: Any) -> tuple[Any, Any]:
    """C_φ and C_E: how fluence and flux below the boundary leave it."""
    c1, c2 = Medium(alpha, alpha, 0, eta).internal_moments
    return 0.25 * (1 - 2 * c1), 0.5 * (1 - 3 * c2)


def exitance(alpha: Any, z: Any, image: Any, sigma: Any, D: Any, eta: Any, r: Any) -> Any:
    """Radiant exitance of a source at depth ``z`` with its image at height ``image``, per unit of power."""
    phi, flux = exitance_factors(alpha, eta)
    fluence = [dr.exp(-sigma * d) / d for h in (z, image) for d in (dr.sqrt(dr.fma(h, h, dr.square(r))),)]
    value = flux * (_flux(z, sigma, r) + _flux(image, sigma, r)) + phi / D * (fluence[0] - fluence[1])
    return dr.square(alpha) * value / (4 * dr.pi)
