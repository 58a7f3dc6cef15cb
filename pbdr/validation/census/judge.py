"""From numbers to a verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ..statistics import regions_of

# In the order of the table; a row that is none of the first four must not be trusted.
VERDICTS = ("right", "no effect", "refused", "warned", "undecided", "wrong")
BIAS_LIMIT = 0.01  # relative
ERROR_LIMIT = 0.02  # largest standard error of a verdict 'right'
TARGET = 0.015  # standard error at which no more samples are taken
ERRORS = 3.0  # standard errors that a bias may have by chance
PART_BIAS = 0.02  # the same of a quadrant, in units of the whole
PART_ERRORS = 4.0  # and in standard errors: there are four
ENOUGH = 24  # seeds from which on a standard error is trusted
SILENCE = 1e-6  # relative change of the image by one step, below which there is nothing but rounding
CHANCE = 1e-3  # probability of taking noise for an effect
FAINT = 1e-3  # the same, where noise hides what there may be


@dataclass(frozen=True)
class Judgement:
    """What a comparison says.

    Attributes:
        verdict: 'right', 'wrong' or 'undecided'.
        bias, error: (estimate - reference) / reference in the projection on the reference, and its standard error.
        settled: more samples would hardly change the verdict.
        line: what is wrong, if it is not the bias.
    """

    verdict: str
    bias: float
    error: float
    settled: bool
    line: str = ""


def judge(ours: list[np.ndarray], reference: list[np.ndarray], weights: np.ndarray) -> Judgement:
    """Compare derivative images with finite differences.

    Both are projected on ``weights`` (the reference, from seeds of its own), as a whole and in each quadrant, where errors of
    opposite sign do not cancel. Right: the bias is at most 1 % or 3 standard errors (of a quadrant 2 % of the whole or 4), and
    the standard error at most 2 %.

    Args:
        ours: one image per seed, [height, width, channels].
        reference: the same, of the same seeds first; there may be more.
        weights: an image.
    """
    if not all(np.isfinite(x).all() for x in ours):
        return Judgement("wrong", math.nan, math.nan, True, "The derivative is not finite.")
    regions = regions_of(weights)
    f = np.array([[(x * w).sum() for w in regions] for x in reference])
    g = np.array([[(x * w).sum() for w in regions] for x in ours])
    return judge_numbers(g, f)


def judge_numbers(ours: np.ndarray, reference: np.ndarray) -> Judgement:
    """The same for projections [seed, region], of which region 0 is the whole.

    Seed by seed, where most of the noise is common to both; or all references against all estimates, where it is not and
    there are more of the former. What has the smaller standard error is taken.
    """
    total = float(reference[:, 0].mean())
    if not np.isfinite(ours).all():
        return Judgement("wrong", math.nan, math.nan, True, "The derivative is not finite.")
    if total == 0:
        return Judgement("undecided", math.nan, math.nan, False)
    paired = (ours - reference[: len(ours)]) / total
    bias, error = paired.mean(0), paired.std(0, ddof=1) / math.sqrt(len(ours))
    if len(reference) > len(ours):
        variance = ours.var(0, ddof=1) / len(ours) + reference.var(0, ddof=1) / len(reference)
        apart = np.sqrt(variance) / abs(total)
        if apart[0] < error[0]:
            bias, error = (ours.mean(0) - reference.mean(0)) / total, apart
    least, limits = np.full(bias.shape, PART_BIAS), np.full(bias.shape, PART_ERRORS)
    least[0], limits[0] = BIAS_LIMIT, ERRORS
    off = np.abs(bias) > np.maximum(least, limits * error)
    clear = np.abs(bias) > np.maximum(2 * BIAS_LIMIT, 10 * error)  # of few seeds error bars are rough
    b, e = float(bias[0]), float(error[0])
    if off.any():
        sure = len(ours) >= ENOUGH and (np.abs(bias) > (limits + 1.5) * error)[off].any()
        settled = bool(sure or clear.any())
        line = "" if off[0] else f"A quarter of the image is off by {100 * bias[np.argmax(off)]:+.1f} % of the whole."
        return Judgement("wrong", b, e, settled, line)
    if e > ERROR_LIMIT:
        return Judgement("undecided", b, e, False)
    return Judgement("right", b, e, e <= TARGET and abs(b) <= max(BIAS_LIMIT, 2 * e))


def judge_faintness(
    ours: list[np.ndarray], reference: list[np.ndarray], weights: np.ndarray, scale: float
) -> Judgement | None:
    """'no effect' where neither shows one beyond its noise, which is less than 0.1 % of the image for a whole step.

    Some parameters change only which directions are sampled (texture coordinates turn the frame of a surface): finite
    differences are then noise around zero.
    """
    unit = float(np.abs(weights).sum()) * scale
    if not unit > 0:
        return None
    bounds = []
    for images in (reference, ours):
        x = np.array([(image * weights).sum() for image in images]) / unit
        error = float(x.std(ddof=1)) / math.sqrt(len(x))
        if abs(x.mean()) > ERRORS * error:
            return None
        bounds.append(abs(float(x.mean())) + ERRORS * error)
    return Judgement("no effect", 0.0, max(bounds), True) if max(bounds) < FAINT else None


def judge_silence(ours: list[np.ndarray], scale: float) -> Judgement:
    """Judge the derivative of a parameter of which finite differences show no effect at all: it must be zero.

    Args:
        scale: image per derivative, mean of the image / step.
    """
    if not all(np.isfinite(x).all() for x in ours):
        return Judgement("wrong", math.nan, math.nan, True, "The derivative is not finite.")
    mean = np.mean(ours, 0) / scale
    if np.abs(mean).max() <= SILENCE:
        return Judgement("no effect", 0.0, 0.0, True)
    error = np.std(ours, 0, ddof=1) / math.sqrt(len(ours)) / scale
    far = stats.t.isf(CHANCE / mean.size, len(ours) - 1)  # for the largest of all entries
    if (np.abs(mean) > np.maximum(10 * SILENCE, far * error)).any():
        return Judgement("wrong", math.nan, math.nan, True, "The parameter has no effect, but a derivative.")
    return Judgement("no effect", 0.0, float(error.max()), True)
