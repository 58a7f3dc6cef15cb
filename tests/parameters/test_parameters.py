"""The parameter and loss contracts."""

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest

from pbdr.losses.image import LOSSES
from pbdr.optimization.experiment import ParameterSpec
from pbdr.parameters.collection import Collection
from pbdr.parameters.representations import REPRESENTATIONS
from pbdr.scene.keys import numbers
from pbdr.validation.meshes import uv_sphere


def ball_field(n=12):
    z, y, x = np.meshgrid(*[np.linspace(0, 1, n)] * 3, indexing="ij")
    return (np.sqrt((x - 0.5) ** 2 + (y - 0.5) ** 2 + (z - 0.48) ** 2) - 0.3).astype(np.float32)


def make(name):
    mesh = uv_sphere(5)
    params = mi.traverse(mesh)
    if name == "large_steps":
        value = mi.Float(params["vertex_positions"])
        return REPRESENTATIONS[name]("ball.vertex_positions", value, faces=params["faces"], smoothness=10.0), value
    if name == "pose":
        sensor = mi.load_dict(
            {"type": "perspective", "to_world": mi.ScalarTransform4f().look_at([1, 2, 3], [0, 0, 0], [0, 1, 0])}
        )
        value = mi.traverse(sensor)["to_world"]
        return REPRESENTATIONS[name]("sensor.to_world", value, unit=2.0), value
    if name == "distance_field":
        value = mi.TensorXf(ball_field()[..., None])
        return REPRESENTATIONS[name]("body.grid", value), value
    value = mi.TensorXf(np.random.default_rng(0).uniform(0.1, 0.9, (10, 7, 3)).astype(np.float32))
    return REPRESENTATIONS[name]("map.data", value, bounds=(0.05 if name == "log" else 0.0, 1.0)), value


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_round_trip_and_projection(name):
    shown, value = make(name)
    latent = shown.init(value)
    back = numbers(shown.to_scene(latent))
    if name == "distance_field":
        # A blur has no exact inverse; a distance on a grid is one up to a quarter of a cell (of 1/11).
        near = np.abs(numbers(value)) < 0.15
        assert np.abs(back - numbers(value))[near].max() < 0.01
        once = shown.project(latent)
        twice = np.array(shown.project(type(latent)(once)))
        assert np.abs(twice - np.array(once))[near].max() * 11 < 0.25
        return
    np.testing.assert_allclose(back, numbers(value), atol=2e-5)
    once = np.array(shown.project(latent))
    np.testing.assert_array_equal(np.array(shown.project(type(latent)(shown.project(latent)))), once)


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_gradient_against_differences(name):
    shown, value = make(name)
    rng = np.random.default_rng(1)
    latent = shown.init(value)
    weights = rng.normal(size=numbers(value).shape).astype(np.float32)
    direction = rng.normal(size=np.array(latent).shape).astype(np.float32)
    kind = type(latent)

    def f(x):
        y = shown.to_scene(x)
        if name == "pose":
            return sum(y.matrix[i, j] * float(weights[i, j]) for i in range(4) for j in range(4))
        return dr.sum(y * type(value)(weights), axis=None)

    x = kind(latent)
    dr.enable_grad(x)
    dr.backward(f(x))
    ours = float((np.array(dr.grad(x)) * direction).sum())
    h = 1e-2
    up, down = (np.array(f(latent + kind(direction) * s)).item() for s in (h, -h))
    assert ours == pytest.approx((up - down) / (2 * h), rel=2e-2, abs=1e-2)


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    rng = np.random.default_rng(2)
    target = mi.TensorXf(rng.uniform(0.1, 1, (5, 4, 3)).astype(np.float32))
    assert np.array(LOSSES[name](target, target)).item() == 0
    start = rng.uniform(0.1, 1, (5, 4, 3)).astype(np.float32)
    image = mi.TensorXf(start)
    dr.enable_grad(image)
    dr.backward(LOSSES[name](image, target))
    gradient = np.array(dr.grad(image))
    direction = rng.normal(size=start.shape).astype(np.float32)
    h = 1e-3
    up, down = (np.array(LOSSES[name](mi.TensorXf(start + s * direction), target)).item() for s in (h, -h))
    assert (gradient * direction).sum() == pytest.approx((up - down) / (2 * h), rel=3e-2)


def _steps(norms, clip):
    """What a wall's colour becomes after gradients of these norms, and the collection."""
    scene = mi.load_dict({"type": "scene", "wall": {"type": "rectangle", "bsdf": {"type": "diffuse"}}})
    params = mi.traverse(scene)
    key = "wall.bsdf.reflectance.value"
    collection = Collection(params, [ParameterSpec(key=key, representation="direct", learning_rate=1e-3, clip=clip)])
    _, optimizer = collection.items[key]
    for norm in norms:
        dr.set_grad(optimizer["x"], mi.Float(norm, 0, 0))
        assert np.isclose(collection.step(1.0)[key], norm)  # what is reported is not cut
    return numbers(dr.detach(optimizer["x"])).ravel(), collection


def test_cutting_compiles_nothing():
    with dr.scoped_set_flag(dr.JitFlag.KernelHistory):
        _steps([1, 1], 5.0)
        dr.kernel_history_clear()
        _steps([1, 1, 37.123, 1, 91.7], 5.0)
        kernels = [x for x in dr.kernel_history() if x["type"] == dr.KernelType.JIT]
    assert kernels and all(x["cache_hit"] for x in kernels)


def test_outlier_among_gradients_is_cut():
    cut, collection = _steps([1, 1, 1, 100, 1, 1], 5.0)
    usual, _ = _steps([1, 1, 1, 5, 1, 1], 0.0)
    assert np.allclose(cut, usual)
    assert not np.allclose(cut, _steps([1, 1, 1, 100, 1, 1], 0.0)[0])
    assert np.isclose(collection.usual["wall.bsdf.reflectance.value"], 5 ** (0.1 * 0.9**2))
    # A lasting change becomes the usual one.
    _, collection = _steps([1] + 60 * [100], 5.0)
    assert collection.usual["wall.bsdf.reflectance.value"] > 90

    state = collection.state()
    _, other = _steps([1], 5.0)
    other.restore(state)
    assert other.usual == collection.usual
