"""Signed distance fields."""

import numpy as np
import pytest

from pbdr.geometry.redistance import redistance, zero_crossings

N = 32
z, y, x = np.meshgrid(*[np.linspace(0, 1, N)] * 3, indexing="ij")
SPHERE = np.sqrt((x - 0.5) ** 2 + (y - 0.45) ** 2 + (z - 0.52) ** 2) - 0.3


def test_a_distorted_sphere_becomes_a_distance():
    found = redistance(SPHERE * (1 + 2 * x) + 3 * SPHERE**3)
    near = np.abs(SPHERE) < 0.1
    assert np.abs(found - SPHERE)[near].max() * (N - 1) < 0.25  # cells
    assert np.array_equal(found > 0, SPHERE > 0)


def test_a_distance_stays():
    once = redistance(SPHERE, 6)
    assert np.abs(redistance(once, 6) - once)[np.abs(SPHERE) < 0.1].max() * (N - 1) < 0.1


def test_zero_crossings_lie_on_the_surface():
    p = zero_crossings(SPHERE)
    assert len(p) > 1000
    assert np.abs(np.linalg.norm(p - [0.5, 0.45, 0.52], axis=1) - 0.3).max() < 2e-3


def test_no_surface_and_bad_values():
    assert np.array_equal(redistance(np.ones((4, 4, 4))), np.ones((4, 4, 4)))
    with pytest.raises(ValueError, match="NaN"):
        redistance(np.full((4, 4, 4), np.nan))
    with pytest.raises(ValueError, match="4 values"):
        redistance(np.ones((2, 4, 4)))
