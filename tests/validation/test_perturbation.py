"""Directions of every kind of parameter, against differences of the values that they set."""

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest

from pbdr.core.errors import InputError
from pbdr.scene.keys import is_transform
from pbdr.validation.perturbation import Perturbation

SCENE = {
    "type": "scene",
    "plate": {"type": "rectangle", "to_world": mi.ScalarTransform4f().translate([1, 2, 3]).rotate([0, 1, 0], 30)},
    "box": {"type": "cube"},
    "lamp": {"type": "point", "position": [1.0, 2.0, 0.0]},
    "spot": {"type": "spot"},
    "sensor": {"type": "perspective", "to_world": mi.ScalarTransform4f().look_at([0, 0, 5], [0, 0, 0], [0, 1, 0])},
}


class Params(dict):
    """Stands for `mi.SceneParameters`: no plugin of Mitsuba 3.9 has a transform of the plane on the device."""

    def update(self):
        pass


def parameters(key):
    if key != "plane":
        return mi.traverse(mi.load_dict(SCENE))
    return Params(plane=mi.Transform3f().translate([2.0, 1.0]) @ mi.Transform3f().rotate(20.0))


def value(params, key):
    v = params[key]
    return v.matrix if is_transform(v) else v


CASES = [
    *((k, d) for k in ("plate.to_world", "spot.to_world", "sensor.to_world") for d in ("random", "rotate_x")),
    *((k, "scale") for k in ("plate.to_world", "spot.to_world")),
    ("sensor.to_world", np.outer([0.2, 0.3, 0.4, 0], [0, 0, 0, 1])),
    ("lamp.position", "translate_y"),
    ("box.vertex_positions", "rotate_z"),
    ("sensor.x_fov", "uniform"),
    *(("plane", d) for d in ("translate_x", "translate_y", "rotate", "scale", np.eye(3))),
]


@pytest.mark.parametrize(("key", "direction"), CASES, ids=lambda x: x if isinstance(x, str) else "array")
def test_tangents_are_those_of_the_values(key, direction):
    params = parameters(key)
    move = Perturbation(params, key, direction)
    start = np.array(value(params, key), np.float64)
    sides = []
    for h in (0.01, -0.01):
        move.set(h)
        sides.append(np.array(value(params, key), np.float64))
    expected = (sides[0] - sides[1]) / 0.02
    x = mi.Float(0)
    dr.enable_grad(x)
    dr.set_grad(x, 1)
    move.set(x)
    tangent = np.array(dr.forward_to(value(params, key)), np.float64)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(tangent, expected, atol=2e-3)
    move.reset()
    assert not dr.grad_enabled(params[key])
    np.testing.assert_allclose(np.array(value(params, key)), start, atol=1e-6)


@pytest.mark.parametrize(
    ("key", "direction", "words"),
    [
        ("plane", "rotate_x", "translate_x|y, rotate, scale"),
        ("plane", "uniform", "translate_x|y, rotate, scale"),
        ("plate.to_world", "rotate", "rotate_x|y|z"),
        ("plate.to_world", np.eye(3), "has 9 numbers, 'plate.to_world' has 16"),
        ("lamp.position", "rotate_x", "vertex positions or a transform"),
        ("sensor.to_world", "scale", "cannot be scaled"),
        ("sensor.near_clip", "uniform", "not differentiable"),
    ],
    ids=str,
)
def test_directions_that_a_parameter_does_not_have(key, direction, words):
    with pytest.raises(InputError) as error:
        Perturbation(parameters(key), key, direction)
    assert words in str(error.value)
