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


def sample_facet(n: Any, ω: Any, α: Any, u: Any) -> Any:
    """A facet's normal.

    Args:
        n: unit normal (Vector3f) on the side of ω.
        ω: unit direction away from the boundary.
        α: Float, roughness.
        u: Point2f, uniform numbers.
    """
    rough = α >= SMOOTH
    frame = mi.Frame3f(n)
    facets = mi.MicrofacetDistribution(mi.MicrofacetType.Beckmann, dr.select(rough, α, 0.1), True)
    m, _ = facets.sample(frame.to_local(ω), u)
    return dr.select(rough, frame.to_world(m), n)


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
