"""What the guide learns, and that its density is the one it samples with."""

import drjit as dr
import mitsuba as mi
import numpy as np

from pbdr.sampling.film_guide import FAR, UNIFORM, FilmGuide

SIZE = mi.Vector2f(32, 24)  # cells of one pixel
LOW = mi.Point2f(-2, -3)
BOX = [0, 0, 0, 1, 2, 1]


def begin(guide, box=BOX):
    return guide.begin(mi.Float(box), LOW, SIZE)


def spot(pos):
    """Worth of a sample: only a small disk of the film counts."""
    return dr.select(dr.norm(pos - mi.Point2f(10, 5)) < 3, mi.Float(1), 0)


def rounds(guide, count=8, n=20000):
    """Estimates of the integral of `spot`, learning from each other."""
    rng, estimates = mi.PCG32(size=n), []
    for _ in range(count):
        sampler = begin(guide)
        u = (mi.Float(dr.arange(mi.UInt32, n)) + rng.next_float32()) / n
        pos = sampler.sample(u, mi.Vector2f(rng.next_float32(), rng.next_float32()))
        worth = spot(pos) / (sampler.pdf(pos) * n)
        estimates.append(float(dr.sum(worth)[0]))
        sampler.learn(pos, worth, n)
    return np.array(estimates)


def test_density_is_that_of_the_samples():
    guide = FilmGuide.over(SIZE.numpy().ravel())
    rounds(guide)
    sampler = begin(guide)
    n, rng = 200000, mi.PCG32(size=200000)
    pos = sampler.sample(rng.next_float32(), mi.Vector2f(rng.next_float32(), rng.next_float32()))
    x, y = np.array(pos)
    counts, *_ = np.histogram2d(x, y, (8, 6), ((-2, 30), (-3, 21)))
    fine = [
        mi.Float(g.ravel().astype(np.float32))
        for g in np.meshgrid(np.arange(64) / 2 - 1.75, np.arange(48) / 2 - 2.75, indexing="ij")
    ]
    density = np.array(sampler.pdf(mi.Point2f(*fine))).reshape(8, 8, 6, 8).mean((1, 3)) * 16
    assert abs(density.sum() - 1) < 1e-3
    assert (np.abs(counts - n * density) < 5 * np.sqrt(n * density) + 1).all()


def test_it_learns_without_bias():
    guide = FilmGuide.over(SIZE.numpy().ravel())
    estimates = rounds(guide, 40)
    exact = np.pi * 9
    assert abs(estimates.mean() - exact) < 4 * estimates.std() / np.sqrt(len(estimates))
    sampler = begin(guide)
    inside, outside = (np.array(sampler.pdf(mi.Point2f(*p)))[0] * 768 for p in ((10, 5), (28, 18)))
    assert inside > 5 and abs(outside - UNIFORM) < 1e-3


def test_it_forgets_when_the_outlines_move_far():
    guide = FilmGuide.over(SIZE.numpy().ravel())
    rounds(guide)
    begin(guide, [x + 0.5 * FAR for x in BOX])
    assert dr.max(guide.moment)[0] > 0
    begin(guide, [x + 3 * FAR for x in BOX])
    assert dr.max(guide.moment)[0] == 0
