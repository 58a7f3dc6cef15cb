"""Image losses: mean over pixels and channels of a pointwise difference.

With `mi.render`, whose gradient pass uses an independent seed, l2 has an unbiased gradient; l1 and
log do not (they are not linear in the noise of the image).
"""

from __future__ import annotations

from typing import Any

import drjit as dr


def l1(image: Any, target: Any) -> Any:
    """mean |I - T|"""
    return dr.mean(dr.abs(image - target), axis=None)


def l2(image: Any, target: Any) -> Any:
    """mean (I - T)²"""
    return dr.mean(dr.square(image - target), axis=None)


def relative_l2(image: Any, target: Any, epsilon: float = 1e-2) -> Any:
    """mean (I - T)² / (T² + ε), ε = 0.01; the denominator is constant"""
    return dr.mean(dr.square(image - target) / (dr.square(target) + epsilon), axis=None)


def log(image: Any, target: Any) -> Any:
    """mean (ln(1 + I) - ln(1 + T))², negative radiance counted as 0"""
    return dr.mean(dr.square(dr.log(1 + dr.fmax(image, 0)) - dr.log(1 + dr.fmax(target, 0))), axis=None)


LOSSES = {"l1": l1, "l2": l2, "relative_l2": relative_l2, "log": log}
