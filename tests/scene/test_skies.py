"""The map of an `envmap` without its border: what is optimized, written and judged."""

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest

from pbdr.optimization.experiment import ParameterSpec
from pbdr.parameters.collection import Collection
from pbdr.parameters.representations import Pyramid
from pbdr.scene.keys import bordered, is_sky, picture, unbordered

PICTURE = np.random.default_rng(3).uniform(0.2, 0.8, (4, 8, 3)).astype(np.float32)


def sky_scene():
    return mi.load_dict(
        {
            "type": "scene",
            "sky": {"type": "envmap", "bitmap": mi.Bitmap(PICTURE)},
            "ball": {
                "type": "sphere",
                "bsdf": {
                    "type": "diffuse",
                    "reflectance": {"type": "bitmap", "bitmap": mi.Bitmap(PICTURE), "raw": True},
                },
            },
        }
    )


def test_the_border_is_that_of_mitsuba():
    params = mi.traverse(sky_scene())
    assert is_sky(params, "sky.data") and not is_sky(params, "ball.bsdf.reflectance.data")
    made = np.array(bordered(mi.TensorXf(PICTURE)))
    np.testing.assert_array_equal(made, np.array(params["sky.data"]))
    np.testing.assert_array_equal(unbordered(made), PICTURE)
    np.testing.assert_array_equal(picture(params, "sky.data"), PICTURE)
    params["sky.data"] = mi.TensorXf(made)  # another array: `update` writes the border anew
    params.update()
    np.testing.assert_array_equal(np.array(params["sky.data"]), made)


@pytest.mark.parametrize("representation", ["direct", "bounded", "log", "pyramid"])
def test_gradients_reach_all_columns(representation):
    """Of a weighted sum of the map: the border's weights belong to the columns that it copies."""
    params = mi.traverse(sky_scene())
    spec = ParameterSpec(key="sky.data", representation=representation, bounds=(0.05, 1.0))
    collection = Collection(params, [spec])
    np.testing.assert_allclose(collection.values()["sky.data"], PICTURE, atol=1e-5)
    weights = np.random.default_rng(4).normal(size=(4, 10, 3)).astype(np.float32)
    expected = weights[:, 1:-1].copy()
    expected[:, -1] += weights[:, 0]
    expected[:, 0] += weights[:, -1]
    shown, optimizer = collection.items["sky.data"]
    collection.to_scene()
    dr.backward(dr.sum(params["sky.data"] * mi.TensorXf(weights), axis=None))
    found = np.array(dr.grad(optimizer["x"]))
    latent = optimizer["x"]
    direction = np.random.default_rng(5).normal(size=found.shape).astype(np.float32)
    up, down = (
        np.array(shown.to_scene(dr.detach(latent) + 1e-2 * s * type(latent)(direction)), np.float64) for s in (1, -1)
    )
    difference = ((up - down) * expected).sum() / 2e-2
    assert float((found * direction).sum()) == pytest.approx(difference, rel=2e-3, abs=1e-3)
    assert np.abs(found).min() > 0  # also in the first and last column


def test_a_sky_is_optimized_without_its_border():
    params = mi.traverse(sky_scene())
    collection = Collection(params, [ParameterSpec(key="sky.data", learning_rate=0.1)])
    for _ in range(2):
        collection.to_scene()
        dr.backward(dr.sum(params["sky.data"], axis=None))
        collection.step(1.0)
    assert collection.values()["sky.data"].shape == PICTURE.shape
    collection.to_scene()
    data = np.array(params["sky.data"])
    np.testing.assert_array_equal(data[:, 0], data[:, -2])
    np.testing.assert_array_equal(data[:, -1], data[:, 1])
    np.testing.assert_allclose(data[:, 1:-1], PICTURE - 0.2, atol=1e-4)


def test_a_pyramid_goes_on_around_a_sky():
    """A turn of a coarse level by one of its texels is a turn of the map: there is no seam."""
    value = mi.TensorXf(np.full((8, 16, 1), 0.5, np.float32))
    for periodic in (False, True):
        shown = Pyramid("sky.data", value, (0.0, 1.0), periodic=periodic)
        rows, columns = shown.sizes[0]
        start = np.array(shown.init(value))
        coarse = np.random.default_rng(1).normal(size=(rows, columns)).astype(np.float32)
        maps = []
        for turn in (0, 1):
            start[: rows * columns] = np.roll(coarse, turn, 1).ravel()
            maps.append(np.array(shown.to_scene(mi.Float(start))))
        turned = np.roll(maps[0], 16 // columns, 1)
        assert np.allclose(maps[1], turned, atol=1e-6) == periodic
