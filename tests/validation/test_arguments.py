"""What `gradcheck` refuses before it renders, and references that say nothing."""

import drjit as dr
import mitsuba as mi
import pytest

from pbdr.core.errors import InputError
from pbdr.validation.cases import CASES, camera
from pbdr.validation.compare import gradcheck


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"integrator": "prb_edge"}, "'integrator' is a loaded plugin"),
        ({"integrator": None}, "the scene has no integrator"),
        ({"reference": "path"}, "'reference' is a loaded plugin"),
        ({"seeds": 8.0}, "'seeds' must be a whole number"),
        ({"seeds": 3}, "at least 4 seeds"),
        ({"spp": 0}, "'spp' must be"),
        ({"fd_spp": 2.5}, "'fd_spp' must be"),
        ({"step": 0}, "'step' must be a number > 0"),
        ({"step": float("nan")}, "'step' must be a number > 0"),
        ({"key": 3}, "'key' is the name"),
        ({"direction": None}, "'direction' is a name"),
        ({"direction": [float("nan")] * 3}, "not finite"),
        ({"direction": [0.0] * 3}, "0 everywhere"),
        ({"scene": {"type": "scene"}}, "a scene that is loaded"),
    ],
)
def test_arguments_that_cannot_be_meant(wrong, says):
    c = CASES["albedo"]
    given = {
        "scene": c.scene(), "key": c.key, "direction": "uniform", "step": 0.02, "spp": 4, "fd_spp": 4, "seeds": 4,
        "integrator": mi.load_dict({"type": "prb_edge", "max_depth": 2}),
    }  # fmt: skip
    given |= wrong
    scene, key, direction = (given.pop(k) for k in ("scene", "key", "direction"))
    with pytest.raises(InputError, match=says):
        gradcheck(scene, key, direction, **given)


def test_a_reference_that_has_not_converged_says_nothing():
    """A step of 40000 degrees, halved as often as may be."""
    c = CASES["albedo"]
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 2})
    report = gradcheck(
        c.scene(), "sensor.x_fov", "uniform", integrator=integrator, step=4e4, spp=16, fd_spp=64, seeds=4, required_error=10.0
    )  # fmt: skip
    assert not report.converged and not report.significant
    assert report.verdict() == "inconclusive"
    assert any("not converged" in line for line in report.notes()), report.notes()


def test_camera_of_a_scene_without_shapes():
    scene = mi.load_dict({"type": "scene", "sensor": camera(), "sky": {"type": "constant"}})
    params = mi.traverse(scene)
    dr.enable_grad(params["sensor.x_fov"])
    params.update()
    image = mi.render(scene, params, integrator=mi.load_dict({"type": "prb_edge", "max_depth": 2}), spp=4)
    dr.backward(dr.mean(image, axis=None))
    assert dr.grad(params["sensor.x_fov"])[0] == 0
