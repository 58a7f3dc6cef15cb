"""How far apart two sets of noisy images are: projections, error bars, tails."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

FLOOR = 3e-4  # least error bar, relative: below, float sums decide
SIGNIFICANT = 2.0  # standard errors, from which on the step error of central differences is taken out
RICHARDSON = 4 / 3  # error O(h²) at step h, in units of the change from h to h/2
TOP = 0.01  # share of the entries that the tail consists of


@dataclass(frozen=True)
class Reference:
    """Central differences, one image per seed.

    Attributes:
        step: their half width h.
        images: of step h.
        halves: of step h/2, with the seeds that they are numbered by.
    """

    step: float
    images: list[np.ndarray]
    halves: dict[int, np.ndarray]

    def without(self, k: int) -> np.ndarray:
        """Mean over all seeds but number ``k``."""
        n = len(self.images)
        return (sum(self.images) - self.images[k]) / (n - 1)

    def change(self) -> tuple[float, float]:
        """Change from step h to h/2 and its standard error, relative to the reference."""
        first = Projection(self, np.ones_like(self.images[0]))
        return mean_and_error(first.change / (first.total or 1.0))


class Projection:
    """Reference images as numbers: matched filter with the mean of all *other* seeds, in the region ``mask``."""

    def __init__(self, reference: Reference, mask: np.ndarray):
        self.weights = np.mean(reference.images, 0) * mask
        others = [reference.without(k) * mask for k in range(len(reference.images))]
        # An average over pairs of different seeds: unbiased, where the square of the mean is not.
        self.total = float(np.mean([(x * w).sum() for x, w in zip(reference.images, others)]))
        self.numbers = self.of(reference.images)
        self.change = np.array([((reference.images[k] - h) * others[k]).sum() for k, h in reference.halves.items()])

    def of(self, images: list[np.ndarray]) -> np.ndarray:
        return np.array([(x * self.weights).sum() for x in images])


@dataclass(frozen=True)
class Difference:
    """Estimate minus reference in one region, relative to the reference of the whole image."""

    value: float
    error: float
    z: float
    variance: float  # of one projected estimate


def difference(ours: list[np.ndarray], reference: Reference, mask: np.ndarray, total: float) -> Difference:
    """Mean difference, standard error, and the z-score of Welch's t-test.

    The reference has an error of O(h²), which Richardson's extrapolation takes out where the change from h to h/2 is
    significant; its uncertainty is part of the error bar.

    Args:
        total: number that everything is divided by, `Projection.total` of the whole image.
    """
    p = Projection(reference, mask)
    g, f = p.of(ours) / total, p.numbers / total
    parts = [(g.var(ddof=1) / len(g), len(g) - 1), (f.var(ddof=1) / len(f), len(f) - 1)]
    value = g.mean() - p.total / total
    change, error = mean_and_error(p.change / total)
    if abs(change) > SIGNIFICANT * error:
        value += RICHARDSON * change
        parts.append(((RICHARDSON * error) ** 2, len(p.change) - 1))
    return Difference(float(value), math.sqrt(sum(v for v, _ in parts)), z_score(value, parts), float(g.var(ddof=1)))


def z_score(value: float, parts: list[tuple[float, int]]) -> float:
    """The normal quantile that is as improbable as ``value`` for a sum of normal variables (few seeds have fat tails).

    Args:
        parts: (variance of the mean, degrees of freedom that it was estimated with) of each; their sum has the degrees of
            Welch and Satterthwaite.
    """
    variance = sum(v for v, _ in parts)
    if not math.isfinite(value) or not math.isfinite(variance):
        return math.nan
    freedom = variance**2 / max(sum(v * v / n for v, n in parts), 1e-300)
    t = value / max(math.sqrt(variance), FLOOR)
    p = stats.t.sf(abs(t), max(freedom, 1.0))
    return float(np.sign(t) * min(stats.norm.isf(max(p, 1e-300)), 99.0))


def mean_and_error(x: np.ndarray) -> tuple[float, float]:
    return float(x.mean()), float(x.std(ddof=1) / math.sqrt(len(x)))


def tail_share(images: list[np.ndarray]) -> float:
    """Share of the squared deviations from the mean image that the largest 1 % of them hold.

    Entries are pixels of single images (all channels), without those that never deviate. About 0.1 to 0.2 for light tails;
    above 0.5 a mean over a few images says little about the expectation.
    """
    deviations = np.sort(((np.array(images) - np.mean(images, 0)) ** 2).sum(-1).ravel())[::-1]
    deviations = deviations[deviations > 0]
    if not len(deviations):
        return 0.0
    return float(deviations[: max(1, round(TOP * len(deviations)))].sum() / deviations.sum())


def regions_of(weights: np.ndarray) -> list[np.ndarray]:
    """The weights, and the weights restricted to each quadrant of the image."""
    h, w = weights.shape[:2]
    regions = [weights]
    for rows in (slice(0, h // 2), slice(h // 2, h)):
        for columns in (slice(0, w // 2), slice(w // 2, w)):
            part = np.zeros_like(weights)
            part[rows, columns] = weights[rows, columns]
            regions.append(part)
    return regions
