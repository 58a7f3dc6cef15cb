"""Error bars of `gradcheck`: right on noise whose law is known, and sharp with few seeds."""

import numpy as np
import pytest

from pbdr.validation.compare import Z_LIMIT, GradcheckReport
from pbdr.validation.statistics import Projection, Reference, difference, tail_share

TRUE = np.zeros((12, 12, 3))
TRUE[3:7, 3:7] = 1


def reference(rng, seeds, noise, slope=0.0):
    """Differences of step h and h/2 whose error is slope · h² (h = 1), with noise shared by both, as by the same seeds."""
    images, halves = [], {}
    for k in range(seeds):
        shared = noise * rng.standard_normal(TRUE.shape)
        images.append(TRUE * (1 + slope) + shared)
        if k % 2:
            halves[k] = TRUE * (1 + slope / 4) + shared + 0.1 * noise * rng.standard_normal(TRUE.shape)
    return Reference(1.0, images, halves)


def compare(rng, seeds, noise, factor=1.0, slope=0.0):
    """The difference between ``factor`` times the truth and differences of it, in one experiment."""
    found = reference(rng, seeds, noise, slope)
    ours = [factor * (TRUE + noise * rng.standard_normal(TRUE.shape)) for _ in range(seeds)]
    mask = np.ones_like(TRUE)
    return difference(ours, found, mask, Projection(ours, found, mask).total)


@pytest.mark.parametrize("seeds", [4, 6, 16])
@pytest.mark.parametrize("noise", [0.05, 0.5])
def test_what_is_right_is_called_right(seeds, noise):
    """The z-scores of 400 experiments are those of a normal variable, also where the reference is its own filter."""
    rng = np.random.default_rng(seeds)
    z = np.array([compare(rng, seeds, noise).z for _ in range(400)])
    assert abs(z.mean()) < 4 / 20
    assert 0.75 < z.std() < 1.25
    assert (np.abs(z) > Z_LIMIT).mean() < 0.02


@pytest.mark.parametrize("seeds", [4, 5, 6, 8])
def test_a_missing_gradient_is_found_with_few_seeds(seeds):
    rng = np.random.default_rng(1)
    found = [compare(rng, seeds, 0.05, factor=0.0) for _ in range(50)]
    assert all(d.z < -Z_LIMIT for d in found)
    assert np.mean([d.value for d in found]) == pytest.approx(-1, abs=0.01)


@pytest.mark.parametrize("seeds", [4, 8, 16])
def test_the_error_of_the_step_is_taken_out(seeds):
    """2 % at step h, a hundred times the noise: no bias, and an error bar of the size of the noise."""
    rng = np.random.default_rng(2)
    found = [compare(rng, seeds, 0.005, slope=0.02) for _ in range(100)]
    values, errors = np.array([(d.value, d.error) for d in found]).T
    assert abs(values.mean()) < 4 * values.std() / 10 + 2e-4  # (1 + slope) is what everything is divided by
    assert values.std() < 1.5 * np.sqrt(np.mean(errors**2)) and errors.max() < 0.002
    assert (np.abs([d.z for d in found]) > Z_LIMIT).mean() < 0.05


def test_tails():
    rng = np.random.default_rng(3)
    light = [rng.standard_normal((16, 16, 3)) for _ in range(8)]
    assert tail_share(light) < 0.1
    sparse = [x * (np.arange(16) == 3)[:, None] for x in light]  # an outline: most pixels never deviate
    assert tail_share(sparse) < 0.15
    light[2][5, 5] += 200
    assert tail_share(light) > 0.8
    assert tail_share([TRUE, TRUE]) == 0


def report(tail):
    return GradcheckReport("prb_edge", "k", "uniform", 0.1, 4, 0, 0.01, [0.0] * 5, 0, 0, 0, 0, 1, 1, 0.02, tail)


def test_heavy_tails_are_named_in_one_line():
    assert report(0.2).notes() == []
    (line,) = report(0.63).notes()
    assert "Heavy tails" in line and "63 %" in line and "\n" not in line


def test_a_parameter_without_influence_is_named():
    nothing = report(0.0)
    nothing.images["reference"] = 0 * TRUE
    assert nothing.verdict() == "pass" and "0 everywhere" in nothing.notes()[0]
