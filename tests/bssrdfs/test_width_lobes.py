"""The two lobes of the derivative of normalized diffusion by its width."""

import itertools

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest

from pbdr.bssrdfs.normalized_diffusion import NormalizedDiffusion
from pbdr.bssrdfs.width_lobes import CROSSING, MASS, WidthLobe
from pbdr.integrators import subsurface_step
from pbdr.validation.cases import T, film, glow, rgb

A, D = 0.7, 0.4


def lobe(outer):
    return WidthLobe(NormalizedDiffusion.of_width(mi.Float(A), mi.Float(D)), outer)


@pytest.mark.parametrize("outer", [False, True])
def test_lobe_is_that_side_of_the_derivative(outer):
    r = mi.Float(np.geomspace(1e-3, 12, 2000))
    h = 1e-3 * D
    high, low = (np.asarray(NormalizedDiffusion.of_width(mi.Float(A), mi.Float(D + s)).eval(r), float) for s in (h, -h))
    slope = (high - low) / (2 * h)
    side = (np.asarray(r) > CROSSING * D) == outer
    value = np.asarray(lobe(outer).eval(r), float)
    assert np.allclose(value[side], np.abs(slope[side]), rtol=2e-2, atol=1e-3 * np.abs(slope[side]).min() + 1e-4)
    assert (value[~side] == 0).all() and ((slope[side] > -1e-4) if outer else (slope[side] < 1e-4)).all()


@pytest.mark.parametrize("outer", [False, True])
def test_samples_have_their_density(outer):
    n, x = 400_000, lobe(outer)
    r = np.asarray(x.sample(mi.Float((np.arange(n) + 0.5) / n)), float)
    edges = np.linspace(0, CROSSING * D, 21) if not outer else np.linspace(CROSSING * D, 10 * D, 21)
    fine = np.stack([np.linspace(a, b, 201) for a, b in itertools.pairwise(edges)])
    middle = 0.5 * (fine[:, 1:] + fine[:, :-1])
    density = np.asarray(x.pdf(mi.Float(middle.ravel())), float).reshape(middle.shape) * 2 * np.pi * middle
    expected = (density * np.diff(fine, axis=1)).sum(1) * n
    count = np.histogram(r, edges)[0]
    assert np.allclose(count, expected, rtol=0.01, atol=5)
    assert expected.sum() + (r > edges[-1]).sum() == pytest.approx(n, rel=2e-3)


def test_mass():
    """Both sides hold as much: the total albedo does not depend on the width."""
    x = CROSSING
    assert MASS == pytest.approx(0.325126, abs=1e-6)
    assert (x - 1) * np.exp(-x) + (x / 3 - 1) * np.exp(-x / 3) == pytest.approx(0, abs=1e-6)


def test_less_variance(monkeypatch):
    """On a plane under a lamp, beside what the replayed point sees: the same mean, a fifth of the variance at most."""
    scene = mi.load_dict({
        "type": "scene",
        "integrator": {"type": "prb_edge", "max_depth": 3},
        "sensor": {"type": "perspective", "to_world": T().look_at([0, 2, 5], [0, 0, 0], [0, 1, 0]), "film": film(12)},
        "light": {"type": "rectangle", "to_world": T().translate([0, 0, 3]).rotate([1, 0, 0], 180), "emitter": glow(9, 8, 6)},
        "wall": {
            "type": "rectangle", "to_world": T().scale(100),
            "bsdf": {"type": "subsurface", "albedo": rgb(0.8, 0.5, 0.3), "radius": 0.1, "alpha": 0.3},
        },
    })  # fmt: skip
    params, key = mi.traverse(scene), "wall.bsdf.radius.value"
    seeds, sums, variance = 12, {}, {}
    for lobes in (False, True):
        monkeypatch.setattr(subsurface_step, "POSITIVIZED", lobes)
        images = []
        for seed in range(seeds):
            value = mi.Float(dr.detach(params[key]))
            dr.enable_grad(value)
            dr.set_grad(value, 1)
            params[key] = value
            params.update()
            image = scene.integrator().render_forward(scene, params, scene.sensors()[0], seed=seed, spp=64)
            images.append(np.asarray(image, float))
        images = np.array(images)
        variance[lobes] = images.var(0, ddof=1).mean()
        weights = np.linspace(-1, 1, 12)[None, :, None, None] ** 2  # the sum alone is nearly 0
        total = (images * weights).sum((1, 2, 3))
        sums[lobes] = total.mean(), total.std(ddof=1) / np.sqrt(seeds)
    assert variance[True] * 5 < variance[False]
    assert abs(sums[True][0] - sums[False][0]) < 4 * np.hypot(sums[True][1], sums[False][1])


def test_gradients_of_the_rest_stay(monkeypatch):
    """The lobes' paths are recorded between derivatives of other things, which must not notice."""
    scene = mi.load_dict({
        "type": "scene",
        "integrator": {"type": "prb_edge", "max_depth": 4},
        "sensor": {"type": "perspective", "to_world": T().look_at([0, 2, 5], [0, 0, 0], [0, 1, 0]), "film": film(12)},
        "lamp": {"type": "rectangle", "to_world": T().translate([1, 3, 1]).rotate([1, 0, 0], 90), "emitter": glow(9, 8, 6)},
        "floor": {
            "type": "rectangle", "to_world": T().translate([0, -1, 0]).rotate([1, 0, 0], -90).scale(4),
            "bsdf": {"type": "diffuse", "reflectance": rgb(0.5, 0.6, 0.4)},
        },
        "ball": {"type": "sphere", "bsdf": {"type": "subsurface", "albedo": rgb(0.8, 0.5, 0.3), "radius": 0.1, "alpha": 0.3}},
    })  # fmt: skip
    params = mi.traverse(scene)
    others = ("lamp.emitter.radiance.value", "floor.bsdf.reflectance.value", "ball.bsdf.alpha.value")
    found = {}
    for lobes in (False, True):
        monkeypatch.setattr(subsurface_step, "POSITIVIZED", lobes)
        for key in (*others, "ball.bsdf.radius.value"):
            value = type(params[key])(dr.detach(params[key]))
            dr.enable_grad(value)
            params[key] = value
        params.update()
        dr.backward(dr.mean(mi.render(scene, params, spp=64, seed=3)[..., :3], axis=None))
        found[lobes] = [np.asarray(dr.grad(params[key]), float).ravel() for key in others]
    for with_lobes, without in zip(found[True], found[False]):
        assert np.allclose(with_lobes, without, rtol=1e-3) and np.abs(without).min() > 0
