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
        halves: of step h/2, with the seeds that they are numbered by; none: nothing is extrapolated.
    """

    step: float
    images: list[np.ndarray]
    halves: dict[int, np.ndarray]

    def change(self) -> tuple[float, float]:
        """Change from step h to h/2 and its standard error, relative to the reference."""
        p = Projection([], self, np.ones_like(self.images[0]))
        return mean_and_error(p.change / (p.total or 1.0))


class Projection:
    """Products of images with reference images, over the region ``mask``.

    A matched filter would be the mean reference. Products of a reference with itself are left out of all means, so that
    these are unbiased however noisy it is.
    """

    def __init__(self, ours: list[np.ndarray], reference: Reference, mask: np.ndarray):
        def flat(images: list[np.ndarray]) -> np.ndarray:
            return np.array([(x * mask).ravel() for x in images]).reshape(len(images), mask.size)

        f = flat(reference.images)
        self.seeds = len(f)
        self.own = f @ f.T
        np.fill_diagonal(self.own, 0)
        self.ours = flat(ours) @ f.T
        changes = flat([reference.images[k] - h for k, h in reference.halves.items()]) @ f.T
        for row, k in enumerate(reference.halves):
            changes[row, k] = 0
        self.change = changes.sum(1) / (self.seeds - 1)

    @property
    def total(self) -> float:
        """Square of the reference."""
        return float(self.own.sum() / (self.seeds * (self.seeds - 1)))

    @property
    def estimates(self) -> np.ndarray:
        """One number per image of ``ours``."""
        return self.ours.mean(1)

    def differences(self) -> tuple[float, np.ndarray]:
        """Mean of ``ours`` minus the reference, and the same without one seed of the reference each."""
        n, h, pairs = self.seeds, self.ours.mean(0), self.own.sum(1)
        without = (h.sum() - h) / (n - 1) - (self.own.sum() - 2 * pairs) / ((n - 1) * (n - 2))
        return float(h.mean() - self.total), without


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
    significant; its uncertainty is part of the error bar. That of the reference is a jackknife estimate: the reference is
    the filter, too.

    Args:
        total: number that everything is divided by, `Projection.total` of the whole image.
    """
    p = Projection(ours, reference, mask)
    g, n = p.estimates / total, p.seeds
    value, without = p.differences()
    value, jackknife = value / total, (n - 1) ** 2 / n * (without / total).var(ddof=1)
    parts = [(g.var(ddof=1) / len(g), len(g) - 1), (jackknife, n - 1)]
    change, error = mean_and_error(p.change / total) if len(p.change) > 1 else (0.0, 0.0)
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
