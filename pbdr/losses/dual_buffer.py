"""The squared error of noisy images, without the bias of noise.

One image I with noise has E[(I - T)²] = (E[I] - T)² + Var I, and a gradient that sees the same noise has
E[2 (I - T) ∂I] = 2 (E[I] - T) ∂E[I] + 2 Cov(I, ∂I): the optimum moves. Of two independent images,

    mean (I₁ - T)(I₂ - T),    gradient mean (I₁ - T) ∂I₂ + (I₂ - T) ∂I₁,

both are unbiased :cite:`deng2022reconstructing`. The value may be negative. `mi.render` draws other samples
for derivatives than for values, so that "l2" has an unbiased gradient too, but a value too large by Var I.
"""

from __future__ import annotations

from typing import Any

import drjit as dr

PAIRED = "dual_l2"  # loss of two renders with half of the samples each
SINGLE = "single_l2"  # the baseline: value and derivative of the same samples


def dual_l2(first: Any, second: Any, target: Any) -> Any:
    """mean (I₁ - T)(I₂ - T) over pixels and channels; ``first`` and ``second`` must be independent."""
    return dr.mean((first - target) * (second - target), axis=None)
