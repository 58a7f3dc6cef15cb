"""Angular moments of the Fresnel reflectance of a smooth dielectric.

From the less dense side the polynomials in η of :cite:`deon2011quantized`. From the denser side
polynomials in the cosine c = √(1 - 1/η²) of the critical angle, fitted to quadrature for η up to 3
(error below 8e-5): the published ones are sums of numbers a thousand times larger than the result,
which float32 does not survive.
"""

from __future__ import annotations

from typing import Any

import drjit as dr
import numpy as np

_FIRST = (0.45966, -1.73965, 3.37668, -3.904945, 2.49277, -0.68441)
_SECOND = (0.27614, -0.87350, 1.12077, -0.65095, 0.07883, 0.04860)
_FIRST_INSIDE = (0.0, -0.00218, 0.63649, -0.4429, 1.37733, -2.59114, 2.40756, -0.87836)
_SECOND_INSIDE = (0.0, -0.00215, 0.0517, 0.04405, 1.36639, -2.74049, 2.54257, -0.92183)


def _moment(outside: tuple[float, ...], inside: tuple[float, ...], eta: Any) -> Any:
    critical = dr.sqrt(dr.maximum(1 - dr.rcp(dr.square(eta)), 1e-6))
    return dr.select(eta < 1, _polynomial(outside, eta), _polynomial(inside, critical))


def _polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    value = x * 0 + coefficients[-1]
    for c in coefficients[-2::-1]:
        value = dr.fma(value, x, c)
    return value


def first_moment(eta: Any) -> Any:
    """∫ F(cosθ, η) cosθ sinθ dθ over [0, π/2], a fit for η in [0.5, 3].

    Args:
        eta: index of refraction on the side of the ray over that beyond (from inside: > 1).
    """
    return _moment(_FIRST, _FIRST_INSIDE, eta)


def second_moment(eta: Any) -> Any:
    """∫ F(cosθ, η) cos²θ sinθ dθ over [0, π/2], a fit for η in [0.5, 3]."""
    return _moment(_SECOND, _SECOND_INSIDE, eta)


def fresnel_inside(cosine: np.ndarray, eta: float) -> np.ndarray:
    """Unpolarized reflectance for light that meets the boundary from inside (host side, float64; cosine > 0)."""
    out = np.sqrt(np.maximum(1 - eta**2 * (1 - cosine**2), 0))
    s = (eta * cosine - out) / (eta * cosine + out)
    p = (cosine - eta * out) / (cosine + eta * out)
    return 0.5 * (s**2 + p**2)
