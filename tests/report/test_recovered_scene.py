"""What a run writes for others to load, and which light its pictures show."""

from pathlib import Path
from types import SimpleNamespace

import mitsuba as mi
import numpy as np

from pbdr.optimization.experiment import Experiment
from pbdr.report.recovered_scene import write_scene

BLOB = Path(__file__).resolve().parents[2] / "scenes/translucent_blob"


def test_numbers_reach_the_scene_file(tmp_path):
    found = {
        "blob.bsdf.albedo.value": np.array([0.1, 0.2, 0.3]),
        "blob.bsdf.radius.value": np.array([[0.3], [0.2], [0.1]]),
        "blob.bsdf.eta": np.array([1.4]),  # not a parameter of the file: left out
        "lamp.emitter.radiance.value": np.array([1.0, 2.0, 3.0]),
    }
    experiment = SimpleNamespace(scene="scene.xml", path=lambda name: BLOB / name)
    problem = SimpleNamespace(collection=SimpleNamespace(values=lambda: found))
    write_scene(experiment, problem, {}, tmp_path)
    scene = mi.load_file(str(tmp_path / "scene.xml"))
    params = mi.traverse(scene)
    for key, value in found.items():
        if not key.endswith("eta"):
            np.testing.assert_allclose(np.array(params[key]).ravel(), value.ravel(), atol=1e-6)
    assert type(scene.integrator()).__name__ == "EdgeIntegrator"  # `path` would carry no light through the object


def test_targets_show_the_light_of_the_integrator():
    given = {"type": "prb_edge", "max_depth": 3, "hide_emitters": True, "sppc": 4}
    assert Experiment.model_construct(integrator=given).light_paths == {"max_depth": 3, "hide_emitters": True}
