"""At the true parameter the gradient of a noisy loss must vanish on average."""

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest

from pbdr.core.errors import InputError
from pbdr.optimization.experiment import ParameterSpec, Schedule
from pbdr.optimization.loop import Problem, differentiate, prepare
from pbdr.parameters.collection import Collection
from pbdr.parameters.representations import Log
from pbdr.validation.cases import camera, diffuse, film, glow

KEY = "floor.bsdf.reflectance.value"


@pytest.fixture(scope="module")
def setting():
    T = mi.ScalarTransform4f
    scene = mi.load_dict(
        {
            "type": "scene",
            "sensor": camera(origin=(0, 4, 5), film=film(12)),
            "light": {
                "type": "rectangle",
                "to_world": T().translate([0, -0.7, -1]).rotate([1, 0, 0], 90).scale(1.5),
                "emitter": glow(3, 3, 3),
            },
            "floor": {
                "type": "rectangle",
                "to_world": T().translate([0, -1, 0]).rotate([1, 0, 0], -90).scale(3),
                "bsdf": diffuse(),
            },
        }
    )
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 3})
    target = sum(mi.render(scene, integrator=integrator, spp=4096, seed=10 + k) for k in range(4)) / 4
    return scene, integrator, target[..., :3]


def gradients(setting, loss, count=64):
    scene, integrator, target = setting
    params = mi.traverse(scene)
    collection = Collection(params, [ParameterSpec(key=KEY)])
    problem = Problem(scene, params, integrator, [scene.sensors()[0]], [target], collection, loss)
    prepare(problem)
    schedule = Schedule(spp=2, threads=0)
    step = differentiate(problem, 0, schedule)
    values, slopes = [], []
    for k in range(count):
        problem.collection.to_scene()
        seed = mi.UInt32(1000 + k)
        dr.make_opaque(seed)
        values.append(float(step(params, target, seed)[0]))
        collection.collect(params)
        slopes.append(float(np.sum(collection.gradients()[0])))
        collection.clear_grad()
    return np.array(values), np.array(slopes)


def z(x):
    return x.mean() / (x.std(ddof=1) / np.sqrt(len(x)))


def test_two_buffers_have_no_bias(setting):
    value, slope = gradients(setting, "dual_l2")
    assert abs(z(slope)) < 4 and abs(z(value)) < 4, (z(slope), z(value))


def test_one_buffer_has(setting):
    """The baseline drifts, and its value is the variance of the image."""
    value, slope = gradients(setting, "single_l2")
    assert z(slope) > 8 and z(value) > 8, (z(slope), z(value))


def test_mitsubas_own_seeds(setting):
    """l2 through `mi.render`: gradient without bias, value with it."""
    value, slope = gradients(setting, "l2")
    assert abs(z(slope)) < 4 and z(value) > 8, (z(slope), z(value))


def test_logarithms():
    x = mi.Color3f(0.1, 0.2, 0.4)
    shown = Log("radius", x)
    np.testing.assert_allclose(shown.to_scene(shown.init(x)), x, rtol=1e-6)
    held = Log("radius", x, bounds=(0.15, 0.3))
    np.testing.assert_allclose(np.ravel(held.to_scene(held.project(held.init(x)))), [0.15, 0.2, 0.3], rtol=1e-5)
    with pytest.raises(InputError, match="positive"):
        Log("radius", mi.Color3f(0.0, 1, 1))
    with pytest.raises(InputError, match="positive"):
        shown.init(mi.Color3f(-1.0, 1, 1))  # `initial` of an experiment
    with pytest.raises(InputError, match="positive"):
        Log("radius", x, bounds=(0.0, 1.0))
