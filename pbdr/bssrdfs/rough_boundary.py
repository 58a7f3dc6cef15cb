"""Directions that a rough boundary of translucent matter reflects and refracts, by its microfacets (Beckmann).

Facets m are drawn as ω sees them, D_v(m) = G₁(ω) (ω·m) D(m) / (ω·n). Each one is a smooth boundary: no light is lost,
what would lead out of the matter after one reflection is turned back into it. (Beckmann's D vanishes where facets turn
edge-on, as derivatives by the direction need it; that of GGX ends with a jump there.)
"""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi

SMOOTH = 1e-3  # α below which the boundary is smooth
STEEPEST = 1e4  # cotangent over α
BELOW_ONE = 1 - 2**-24


def sample_facet(n: Any, ω: Any, α: Any, u: Any) -> Any:
    """A facet's normal.

    With slopes in units of α, x along ω and y across, their density is (c - x)⁺ exp(-x² - y²), c the cotangent of ω's angle.
    Both signs of x together have max(2c, c + |x|) exp(-x²): Gaussians, and x exp(-x²) beyond c. (Mitsuba's sampler looks for
    x by Newton's steps, and takes more time than all else of a walk.)

    Args:
        n: unit normal (Vector3f) on the side of ω.
        ω: unit direction away from the boundary.
        α: Float, roughness.
        u: Point2f, uniform numbers.
    """
    rough = α >= SMOOTH
    frame = mi.Frame3f(n)
    view = frame.to_local(ω)
    sin2 = dr.square(view.x) + dr.square(view.y)
    slanted = sin2 > 1e-12
    inverse = dr.select(slanted, dr.rsqrt(sin2), 1)
    along = mi.Vector2f(dr.select(slanted, view.x * inverse, 1), dr.select(slanted, view.y * inverse, 0))
    c = dr.select(slanted, dr.clip(view.z * inverse / dr.select(rough, α, 1), 0, STEEPEST), STEEPEST)

    gauss, tail = c * (0.5 * dr.sqrt(dr.pi)), 0.5 * dr.exp(-dr.square(c))
    inner = gauss * (1 + dr.erf(c))
    at = u.x * (inner + tail)
    beyond = at >= inner
    share = dr.select(beyond, 0, at / dr.maximum(gauss, 1e-20))
    share = dr.select(share >= 1, share - 1, share)
    x = dr.erfinv(dr.minimum(share, BELOW_ONE))
    v = dr.minimum((at - inner) / dr.maximum(tail, 1e-30), BELOW_ONE)
    x = dr.select(beyond, dr.sqrt(dr.square(c) - dr.log(1 - v)), x)
    ahead = dr.maximum(c - x, 0) / dr.maximum(dr.maximum(2 * c, c + x), 1e-20)
    upper = u.y < ahead
    x = dr.select(upper, x, -x)
    rest = dr.select(upper, u.y / dr.maximum(ahead, 1e-20), (u.y - ahead) / (1 - ahead))
    y = dr.erfinv(dr.clip(2 * rest - 1, -BELOW_ONE, BELOW_ONE))
    m = mi.Vector3f(-α * (x * along.x - y * along.y), -α * (x * along.y + y * along.x), 1)
    return dr.select(rough, dr.normalize(frame.to_world(m)), n)


def log_facet(cos: Any, c: Any, facing: Any, α: Any) -> Any:
    """log D_v(m), up to a constant, attached to ω·n, m·n and ω·m; 0 for a smooth boundary."""
    rough = α >= SMOOTH
    α = dr.select(rough, α, 1)
    cos, c = dr.clip(cos, 1e-4, 1 - 1e-7), dr.maximum(c, 1e-3)
    _, Λ = _shadowing(cos, α)
    c2 = dr.square(c)
    value = dr.log(dr.maximum(facing, 1e-6) / (cos * (1 + Λ) * dr.square(c2))) - (dr.rcp(c2) - 1) / dr.square(α)
    return dr.select(rough, value, 0)


def facet_slope(n: Any, ω: Any, m: Any, α: Any) -> Any:
    """∂/∂α of log D_v(m)."""
    rough = α >= SMOOTH
    α = dr.select(rough, α, 1)
    cos, c2 = dr.clip(dr.dot(ω, n), 1e-4, 1 - 1e-7), dr.square(dr.maximum(dr.dot(m, n), 1e-3))
    a, Λ = _shadowing(cos, α)
    value = -2 / α + 2 * (dr.rcp(c2) - 1) / (dr.square(α) * α)
    value -= dr.exp(-dr.square(a)) / (2 * dr.sqrt(dr.pi) * a * α * (1 + Λ))
    return dr.select(rough, value, 0)


def _shadowing(cos: Any, α: Any) -> tuple[Any, Any]:
    """(a, Λ) of Smith: G₁ = 1 / (1 + Λ)."""
    a = cos / (α * dr.sqrt(1 - dr.square(cos)))
    return a, 0.5 * (dr.erf(a) - 1) + dr.exp(-dr.square(a)) / (2 * dr.sqrt(dr.pi) * a)
