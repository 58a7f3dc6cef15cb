import drjit as dr
import mitsuba as mi
import numpy as np
from scipy import stats

from pbdr.sampling.discrete import DeviceDistribution
from pbdr.sampling.paired import paired_sampler


def test_discrete_frequencies_and_density():
    weights = np.array([0, 3, 0, 1, 2, 0, 0.5], np.float32)
    distribution = DeviceDistribution(mi.Float(weights))
    n = 100_000
    u = mi.PCG32(size=n).next_float32()
    index, pmf, rest = distribution.sample(u)
    counts = np.bincount(np.array(index), minlength=7)
    expected = weights.astype(float) / weights.sum() * n
    assert counts[weights == 0].sum() == 0
    used = weights > 0
    assert stats.chisquare(counts[used], expected[used]).pvalue > 1e-3
    np.testing.assert_allclose(np.array(pmf), (weights / weights.sum())[np.array(index)], rtol=1e-4)
    assert stats.kstest(np.array(rest), "uniform").pvalue > 1e-3


def test_discrete_keeps_strata():
    distribution = DeviceDistribution(mi.Float(1, 2, 1))
    index, _, _ = distribution.sample((dr.arange(mi.Float, 8) + 0.5) / 8)
    assert np.array(index).tolist() == [0, 0, 1, 1, 1, 1, 2, 2]


def test_no_weight_gives_no_density():
    _, pmf, _ = DeviceDistribution(mi.Float(0, 0)).sample(mi.Float(0.3, 0.9))
    assert not np.array(pmf).any()


def test_pairs_share_numbers_and_differ_between_pairs():
    rng = paired_sampler(mi.UInt32(7), 1000)
    for draw in (rng.next_1d, lambda: rng.next_2d().x):
        x = np.array(draw())
        assert x.shape == (2000,)
        assert (x[::2] == x[1::2]).all()
        assert len(np.unique(x[::2])) > 990
