"""The derivative of normalized diffusion by its width, as a difference of two densities.

With x = r/d and h(x) = ((x - 1) e^{-x} + (x/3 - 1) e^{-x/3}),

    ∂R/∂d = A h(x) / (8π r d²),

negative for x < x₀ and positive beyond. Each side holds the same mass M = A g(x₀) / d with
g(x) = x (e^{-x} + e^{-x/3}) / 4: a wider profile takes light from the inner lobe to the outer one. Drawing a point from
each and subtracting what they see leaves no change of sign within a sample, after :cite:`belhe2024importance`.
"""

from __future__ import annotations

import math
from typing import Any

import drjit as dr
import mitsuba as mi

from .normalized_diffusion import NEAR, NormalizedDiffusion

CROSSING = 2.1733858  # x₀
FARTHEST = 60.0  # largest x
MASS = CROSSING / 4 * (math.exp(-CROSSING) + math.exp(-CROSSING / 3))  # g(x₀)
HALVINGS = 28


class WidthLobe:
    """|∂R/∂d| on one side of its zero: has the interface of a profile that `probe.sample_entry` asks for. Detached.

    Args:
        profile: the profile.
        outer: Bool, the side beyond x₀.
    """

    def __init__(self, profile: NormalizedDiffusion, outer: Any):
        self.albedo, self.width = dr.detach(profile.albedo), dr.detach(profile.width)
        self.outer = mi.Bool(outer)

    def eval(self, r: Any) -> Any:
        """|∂R/∂d|, 0 on the other side."""
        return self.albedo * MASS / self.width * self.pdf(r)

    def pdf(self, r: Any) -> Any:
        """Density of `sample` per unit of area."""
        x = dr.maximum(dr.detach(r) / self.width, NEAR)
        far = dr.exp(-x / 3)
        h = dr.abs((x - 1) * far * far * far + (x / 3 - 1) * far)
        side = dr.select(self.outer, 1, -1) * (x - CROSSING) > 0
        return dr.select(side, h / (8 * dr.pi * MASS * dr.square(self.width) * x), 0)

    def sample(self, u: Any) -> Any:
        """A radius for a uniform number in [0, 1): g falls from x₀ to both sides."""
        target = MASS * dr.select(self.outer, 1 - u, u)
        low = dr.select(self.outer, CROSSING, mi.Float(0))
        high = dr.select(self.outer, FARTHEST, mi.Float(CROSSING))
        for _ in range(HALVINGS):
            x = 0.5 * (low + high)
            far = dr.exp(-x / 3)
            before = (0.25 * x * far * (1 + dr.square(far)) < target) ^ self.outer
            low, high = dr.select(before, x, low), dr.select(before, high, x)
        return self.width * (0.5 * (low + high))
