"""How a scene parameter is optimized: latent variable ↔ scene value.

Contract: `init` (scene value to latent), `to_scene` (differentiable), `project` (idempotent, after
each optimizer step). Latents are owned by the optimizer; the scene only receives values.
"""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi

from ..core.errors import InputError
from ..scene.keys import is_positions


class Direct:
    """The value itself, clipped to its bounds after each step.

    Args:
        bounds: (low, high) or ``None``.
    """

    uniform = False

    def __init__(self, key: str, value: Any, bounds: tuple[float, float] | None = None, **_: Any):
        self.bounds = bounds

    def init(self, value: Any) -> Any:
        return type(value)(value)

    def to_scene(self, latent: Any) -> Any:
        return latent

    def project(self, latent: Any) -> Any:
        return latent if self.bounds is None else dr.clip(latent, *self.bounds)


class Bounded:
    """value = low + (high - low) · sigmoid(latent): stays inside without clipping.

    Args:
        bounds: (low, high). Start values on a bound are moved inside by 0.1 % of the range.
    """

    uniform = False

    def __init__(self, key: str, value: Any, bounds: tuple[float, float] | None = None, **_: Any):
        self.low, self.high = bounds or (0.0, 1.0)
        if not self.low < self.high:
            raise InputError(f"'{key}': bounds [{self.low}, {self.high}] are not increasing.")

    def init(self, value: Any) -> Any:
        x = dr.clip((value - self.low) / (self.high - self.low), 1e-3, 1 - 1e-3)
        return dr.log(x / (1 - x))

    def to_scene(self, latent: Any) -> Any:
        return self.low + (self.high - self.low) / (1 + dr.exp(-latent))

    def project(self, latent: Any) -> Any:
        return latent


class LargeSteps:
    """Vertex positions x = (I + λL)⁻¹ u, optimized in u with uniform Adam :cite:`nicolet2021large`.

    Args:
        smoothness: λ, larger values couple more of the mesh (10 to 50).

    Vertices that share a position at the start stay together, so seams do not open.
    """

    uniform = True

    def __init__(self, key: str, value: Any, faces: Any = None, smoothness: float = 19.0, **_: Any):
        if not is_positions(key) or faces is None:
            raise InputError(f"'{key}': large_steps needs the vertex positions of a mesh.")
        try:
            self.system = mi.ad.LargeSteps(value, faces, smoothness)
        except ImportError as error:
            raise InputError("large_steps needs the package cholespy: pip install cholespy") from error

    def init(self, value: Any) -> Any:
        return self.system.to_differential(value)

    def to_scene(self, latent: Any) -> Any:
        return self.system.from_differential(latent)

    def project(self, latent: Any) -> Any:
        return latent


REPRESENTATIONS = {"direct": Direct, "bounded": Bounded, "large_steps": LargeSteps}
