"""Homogeneous medium behind a smooth dielectric boundary, and the numbers that diffusion asks of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import drjit as dr

from .fresnel import first_moment, second_moment

THINNEST = 1e-6  # least reduced extinction that diffusion divides by
CLEAREST = 1e-8  # and least absorption relative to it
TRIES = 4  # of an inversion
MIDDLE = 0.5  # √(1 - α') where the curve is measured
STEP = 2e-3  # of the reduced albedo, for a slope


@dataclass(frozen=True)
class Medium:
    """Coefficients per unit of length, each a Dr.Jit value or array (all of one type, a channel an entry).

    Attributes:
        sigma_a, sigma_s: absorption and scattering coefficient.
        g: mean cosine of the phase function, in (-1, 1).
        eta: index of refraction relative to the outside, > 1 for most materials.
    """

    sigma_a: Any
    sigma_s: Any
    g: Any
    eta: Any

    @classmethod
    def of_reduced(cls, albedo: Any, extinction: Any, g: Any, eta: Any) -> Medium:
        """From α' and σt'."""
        return cls((1 - albedo) * extinction, albedo * extinction / (1 - g), g, eta)

    @property
    def reduced_scattering(self) -> Any:
        """σs' = (1 - g) σs."""
        return (1 - self.g) * self.sigma_s

    @property
    def reduced_extinction(self) -> Any:
        """σt' = σa + σs'."""
        return self.sigma_a + self.reduced_scattering

    @property
    def reduced_albedo(self) -> Any:
        """α' = σs' / σt'."""
        return self.reduced_scattering / dr.maximum(self.reduced_extinction, THINNEST)

    @property
    def internal_moments(self) -> tuple[Any, Any]:
        """Fresnel moments C1, C2 of light that meets the boundary from inside."""
        return first_moment(self.eta), second_moment(self.eta)


def from_albedo(albedo: Any, radius: Any, eta: Any, profile: type, g: Any = 0.0) -> Medium:
    """The medium with total diffuse reflectance ``albedo`` under ``profile`` and mean free path ``radius``.

    ``radius`` is 1 / σt', the transport mean free path. Inverts ``profile.reflectance(α', η)``, which
    grows with α'; derivatives are those of the implicit function, dα'/dA = 1 / (dA/dα').

    Args:
        albedo: in [0, 1).
        radius: > 0, units of length.
        profile: a class of `pbdr.bssrdfs` with a static ``reflectance``.
    """
    with dr.suspend_grad():
        target, index = dr.detach(albedo), dr.detach(eta)
        found = _invert(lambda alpha: profile.reflectance(alpha, index), target)
        slope = _slope(profile, found, index)
    # The derivative of a Newton step is that of the implicit function; its value is not needed, so it costs renders nothing.
    alpha = dr.replace_grad(dr.clip(found, 0, 1), found + (albedo - profile.reflectance(found, eta)) / slope)
    extinction = dr.rcp(radius)
    return Medium.of_reduced(alpha, extinction, albedo * 0 + g, albedo * 0 + eta)


def _invert(reflectance: Callable, target: Any) -> Any:
    """α' of a reflectance that grows with it, by false position (with the Illinois rule) in y = √(1 - α').

    As A is about (1 - y) / (1 + k y), (1 - A) / (1 + k A) is about y: k is chosen so that it is in the middle.
    """
    half = reflectance(target * 0 + (1 - MIDDLE**2))
    k = ((1 - MIDDLE) / dr.maximum(half, 1e-6) - 1) / MIDDLE

    def straight(A: Any) -> Any:
        return (1 - A) / (1 + k * A)

    goal = straight(target)
    a, b = target * 0, target * 0 + 1
    at_a, at_b = goal, goal - 1
    before = None
    for _ in range(TRIES):
        y = dr.clip(_crossing(a, at_a, b, at_b), a, b)
        value = goal - straight(reflectance(1 - dr.square(y)))
        beyond = value > 0  # the root has a larger y
        if before is not None:
            at_b = dr.select(beyond & before, 0.5 * at_b, at_b)
            at_a = dr.select(beyond | before, at_a, 0.5 * at_a)
        a, at_a = dr.select(beyond, y, a), dr.select(beyond, value, at_a)
        b, at_b = dr.select(beyond, b, y), dr.select(beyond, at_b, value)
        before = beyond
    return 1 - dr.square(dr.clip(_crossing(a, at_a, b, at_b), a, b))


def _crossing(a: Any, at_a: Any, b: Any, at_b: Any) -> Any:
    rise = at_b - at_a
    return (a * at_b - b * at_a) / dr.select(rise != 0, rise, 1)


def to_albedo(medium: Medium, profile: type) -> tuple[Any, Any]:
    """(albedo, radius): the inverse of `from_albedo`."""
    albedo = profile.reflectance(medium.reduced_albedo, medium.eta)
    return albedo, dr.rcp(dr.maximum(medium.reduced_extinction, THINNEST))


def _slope(profile: type, alpha: Any, eta: Any) -> Any:
    """Detached dA/dα', by a difference: no AD inside the calls of recorded loops."""
    step = dr.minimum(STEP, 0.05 * (1 - alpha) + 1e-6)  # A(α') behaves like a root beside 1
    low, high = dr.maximum(alpha - step, 0), dr.minimum(alpha + step, 1)
    rise = profile.reflectance(high, eta) - profile.reflectance(low, eta)
    return dr.maximum(dr.detach(rise / (high - low)), THINNEST)
