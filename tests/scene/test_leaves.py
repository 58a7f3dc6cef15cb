"""Gradients of parameters that Mitsuba derives anew in `update`: right at an own leaf, and never silently 0."""

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest

import pbdr
from pbdr.core import errors

SKY = np.random.default_rng(3).uniform(0.2, 1.0, (4, 8, 3)).astype(np.float32)


def make():
    return mi.load_dict(
        {
            "type": "scene",
            "integrator": {"type": "prb_edge", "max_depth": 3},
            "sky": {"type": "envmap", "bitmap": mi.Bitmap(SKY)},
            "box": {"type": "cube", "bsdf": {"type": "principled", "specular": 0.4, "roughness": 0.5}},
            "sensor": {
                "type": "perspective",
                "to_world": mi.ScalarTransform4f().look_at([1, -5, 2], [0, 0, 0], [0, 0, 1]),
                "film": {"type": "hdrfilm", "width": 8, "height": 8, "pixel_format": "rgb"},
            },
        }
    )


@pytest.mark.parametrize(
    ("key", "lost"),
    [("sky.data", True), ("box.bsdf.specular", True), ("box.vertex_positions", False), ("sky.scale", False)],
)
@pytest.mark.parametrize("integrator", ["prb_edge", "prb_reparam"])
def test_a_gradient_that_nobody_can_read_is_named(capfd, monkeypatch, key, lost, integrator):
    monkeypatch.setattr(errors, "_warned", set())
    scene, plugin = make(), mi.load_dict({"type": integrator, "max_depth": 2})
    params = mi.traverse(scene)
    dr.enable_grad(params[key])
    params.update()
    dr.backward(dr.mean(mi.render(scene, params, integrator=plugin, spp=4), axis=None))
    found = np.abs(np.array(dr.grad(params[key]))).sum()
    said = capfd.readouterr().out
    assert (found == 0) == lost
    assert (f"pbdr.attach(params, '{key}')" in said) == lost
    del params, scene
    # The same with a leaf of one's own: no word, and a gradient.
    monkeypatch.setattr(errors, "_warned", set())
    scene = make()
    params = mi.traverse(scene)
    leaf = pbdr.attach(params, key)
    dr.backward(dr.mean(mi.render(scene, params, integrator=plugin, spp=4), axis=None))
    assert np.abs(np.array(dr.grad(leaf))).sum() > 0
    assert "cannot be read" not in capfd.readouterr().out


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_gradient_of_a_sky(seed):
    """An image is linear in its only light: the gradient times the sky is the image, sample by sample."""
    scene = make()
    params = mi.traverse(scene)
    leaf = pbdr.attach(params, "sky.data")
    mean = dr.mean(mi.render(scene, params, spp=32, seed=seed, seed_grad=seed + 100), axis=None)
    dr.backward(mean)
    gradient = np.array(dr.grad(leaf))
    assert (gradient[:, [0, -1]] == 0).all() and (gradient[1:-1, 1:-1] > 0).all()
    again = np.array(mi.render(scene, spp=32, seed=seed + 100)).mean()
    assert (gradient * np.array(leaf)).sum() == pytest.approx(again, rel=1e-4)


def test_gradient_of_specular_against_differences():
    scene, key, seeds, h = make(), "box.bsdf.specular", 8, 0.05
    params = mi.traverse(scene)
    ours, theirs = [], []
    for seed in range(seeds):
        leaf = pbdr.attach(params, key)
        dr.backward(dr.mean(mi.render(scene, params, spp=64, seed=seed, seed_grad=seed + 100), axis=None))
        ours.append(float(dr.grad(leaf)[0]))
        ends = []
        for s in (h, -h):
            params[key] = mi.Float(0.4 + s)
            params.update()
            ends.append(np.array(mi.render(scene, spp=256, seed=seed + 200), np.float64).mean())
        theirs.append((ends[0] - ends[1]) / (2 * h))
        params[key] = mi.Float(0.4)
        params.update()
    error = np.sqrt((np.var(ours, ddof=1) + np.var(theirs, ddof=1)) / seeds)
    assert error < 0.05 * np.mean(theirs)
    assert abs(np.mean(ours) - np.mean(theirs)) < 3.5 * error


def test_attach_changes_no_value():
    params = mi.traverse(make())
    for key in ("sky.data", "box.bsdf.specular", "box.vertex_positions"):
        before = np.array(params[key])
        leaf = pbdr.attach(params, key)
        np.testing.assert_allclose(np.array(params[key]), before, rtol=1e-6)
        assert dr.grad_enabled(leaf) and dr.grad_enabled(params[key])
