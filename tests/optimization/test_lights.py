"""Experiments whose images show the scene in several illuminations."""

import json

import mitsuba as mi
import numpy as np
import pytest
from tiny_scene import TOML, cut_short, write_scene

import pbdr
from pbdr.core.errors import InputError
from pbdr.optimization.experiment import load_experiment
from pbdr.scene.lighting import Lighting

LIGHTS = """
[[lights]]
name = "both"

[[lights]]
name = "dim"
set = { "lamp.intensity.value" = [0.5, 1.0, 2.0], "lamp.position" = [-2.0, 3.0, 1.0] }

[[lights]]
name = "other"
held_out = true
set = { "lamp.intensity.value" = 9.0 }
"""
EXPERIMENT = TOML.replace("[schedule]", LIGHTS + "\n[schedule]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_scene(tmp_path_factory.mktemp("scene"))
    (folder / "optimize.toml").write_text(EXPERIMENT)
    return folder


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    return pbdr.optimize(folder, folder=tmp_path_factory.mktemp("runs") / "whole", quiet=True)


def test_every_view_is_judged_in_every_light(whole):
    names = [v["name"] for v in json.loads((whole.folder / "summary.json").read_text())["views"]]
    assert names == [
        "view-00-both", "view-01-both", "view-00-dim", "view-01-dim",
        "held-out-00-both", "held-out-00-dim", "held-out-light-other-00",
    ]  # fmt: skip
    page = whole.report.read_text()
    assert all(name in page for name in names)


def test_targets_show_their_light(folder, whole):
    from pbdr.scene.load import load_file, orbit

    stored = sorted((whole.folder.parent / ".targets").glob("*.npz"))
    assert len(stored) == 2
    scene = load_file(folder / "reference.xml")
    sensor = orbit(load_experiment(folder).views)[0]
    means = set()
    for values in ({}, {"lamp.intensity.value": mi.Color3f(0.5, 1, 2), "lamp.position": mi.Point3f(-2, 3, 1)}):
        params = mi.traverse(scene)
        params.update(values)
        image = mi.render(scene, sensor=sensor, integrator=mi.load_dict({"type": "path", "max_depth": 2}), spp=1024)
        means.add(tuple(np.mean(np.array(image), axis=(0, 1))))
    found = {tuple(np.load(file)["v0"].mean(axis=(0, 1))) for file in stored}
    for mean in means:
        assert any(np.allclose(mean, other, rtol=0.03) for other in found), (means, found)


def test_recovered_scene_has_the_lights_of_the_file(whole):
    intensity = np.array(mi.traverse(mi.load_file(str(whole.folder / "scene.xml")))["lamp.intensity.value"])
    np.testing.assert_allclose(intensity.ravel(), 6)


def test_resumed_run_is_the_uninterrupted_run(whole, tmp_path):
    again = pbdr.resume(cut_short(whole.folder, tmp_path / "cut", 2), quiet=True)
    for key, value in whole.values.items():
        assert (again.values[key] == value).all(), key


def test_recorded_steps_see_the_light(folder, whole, tmp_path):
    """A recording replayed in another illumination gives what tracing anew gives."""
    plain = pbdr.optimize(folder, folder=tmp_path / "plain", overrides=["schedule.freeze=false"], quiet=True)
    for key, value in whole.values.items():
        np.testing.assert_allclose(plain.values[key], value, atol=2e-4)
    losses = [
        [json.loads(line)["loss"] for line in (r.folder / "metrics.jsonl").read_text().splitlines()]
        for r in (whole, plain)
    ]
    np.testing.assert_allclose(*losses, rtol=2e-3)


def test_lamp_that_moves(folder):
    scene = mi.load_dict({
        "type": "scene", "e": {"type": "rectangle", "id": "lamp", "emitter": {"type": "area"}},
        "s": {"type": "sphere", "center": [0, 0, 5]},
    })  # fmt: skip
    params = mi.traverse(scene)
    away = np.eye(4)
    away[2, 3] = -7.0
    lighting = Lighting(params, {"far": {"lamp.to_world": away.ravel().tolist()}})
    ray = mi.Ray3f(mi.Point3f(0.1, 0.1, -9), mi.Vector3f(0, 0, 1))
    for name, t in (("far", 2.0), (None, 9.0), ("far", 2.0)):
        lighting.turn_on(name)
        assert abs(float(scene.ray_intersect(ray).t[0]) - t) < 1e-4


def with_lights(folder, text):
    (folder / "bad.toml").write_text(TOML.replace("[schedule]", text + "\n[schedule]"))
    return folder / "bad.toml"


@pytest.mark.parametrize(
    "text, words",
    [
        ('[[lights]]\nname = "a"\nset = { "lamp.intensty.value" = 1.0 }', ["'a'", "lamp.intensity.value"]),
        ('[[lights]]\nname = "a"\nset = { "lamp.intensity.value" = [1.0, 2.0] }', ["'a'", "3 finite numbers"]),
        ('[[lights]]\nname = "a"\nset = { "lamp.intensity.value" = nan }', ["'a'", "finite"]),
        ('[[lights]]\nname = "a"\nset = { "ball.bsdf.reflectance.data" = 1.0 }', ["optimized"]),
        ('[[lights]]\nname = "a"\n[[lights]]\nname = "a"', ["twice"]),
        ('[[lights]]\nname = "a"\nheld_out = true', ["held out"]),
        ('[[lights]]\nname = "a b"', ["lights.0.name"]),
        ('[[lights]]\nname = "a"\nhold_out = true', ["hold_out", "held_out"]),
    ],
)
def test_bad_lights(folder, tmp_path, text, words):
    with pytest.raises(InputError) as caught:
        pbdr.optimize(with_lights(folder, text), folder=tmp_path / "bad", quiet=True)
    for word in words:
        assert word in str(caught.value)


def test_unknown_light():
    lighting = Lighting({}, {"evening": {}})
    with pytest.raises(InputError, match="evening"):
        lighting.turn_on("evning")


def test_images_are_counted_by_view_and_light(folder, tmp_path):
    text = EXPERIMENT.replace('scene = "reference.xml"\nspp = 32', 'images = ["a.exr", "b.exr"]')
    (folder / "files.toml").write_text(text)
    with pytest.raises(InputError, match="2 images for 2 views in 2 illuminations"):
        pbdr.optimize(folder / "files.toml", folder=tmp_path / "files", quiet=True)
