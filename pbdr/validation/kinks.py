"""A second look at a derivative that is not that of central differences: does it change within their step?

Tables that are interpolated linearly (the brightness of a sun by its height, in steps of 3°) have kinks. Beside one, a central
difference that reaches beyond it gives the mean of two slopes at any step, where the derivative is one of them, and right. But
the mean of derivatives over [-h, h] is the central difference, whatever is in between. So where an estimate looks biased,
means are compared instead, if the derivative at 0 belongs to that of at least one side, or to the mean of both where it
changes steadily: a derivative that is wrong at 0 alone, as that of a black albedo may be, does not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .statistics import Difference, Projection, Reference, difference

NEAR = 1 / 30  # of the step: what is still "at 0"
BELONGS = 0.25  # of the bias, by which the derivative beside 0 may differ from that at 0


def means_over_the_step(
    derivative: Callable[[float, int], np.ndarray],
    ours: list[np.ndarray],
    reference: Reference,
    masks: list[np.ndarray],
    found: list[Difference],
) -> list[Difference] | None:
    """Differences in each region between means over the step, or ``None`` if the derivative at 0 stands alone.

    Args:
        derivative: image of the derivative at θ (Float) for seed number k.
        ours: those at 0.
        masks: regions, the whole image first.
        found: their differences at 0; the gravest is looked at.
    """
    h, seeds = reference.step, len(ours)
    total = Projection([], reference, masks[0]).total or 1.0
    gravest, mask = max(zip(found, masks), key=lambda pair: abs(pair[0].z))
    few = range(min(4, seeds))
    here = Projection([ours[k] for k in few], reference, mask).estimates
    apart = []
    for side in (-1, 1):
        near = [derivative(side * NEAR * h, k) for k in few]  # the same random numbers as at 0
        apart.append(np.mean(Projection(near, reference, mask).estimates - here) / total)
    if min(abs(a) for a in (*apart, np.mean(apart))) > BELONGS * abs(gravest.value):
        return None
    means = []
    for k in range(seeds):
        θ = h * (k + 0.5) / seeds
        means.append(0.5 * (derivative(θ, k) + derivative(-θ, k)))
    at_step = Reference(h, reference.images, {})
    return [difference(means, at_step, mask, total) for mask in masks]
