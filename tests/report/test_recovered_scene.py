"""What a run writes for others to load, and which light its pictures show."""

from pathlib import Path
from types import SimpleNamespace

import mitsuba as mi
import numpy as np
import pytest

import pbdr
from pbdr.optimization.experiment import Experiment
from pbdr.report.recovered_scene import write_scene
from pbdr.scene.keys import picture
from pbdr.validation.meshes import uv_sphere

BLOB = Path(__file__).resolve().parents[2] / "scenes/translucent_blob"
RNG = np.random.default_rng(2)
SKY, MAP = (RNG.uniform(0.1, 2, size).astype(np.float32) for size in ((4, 8, 3), (3, 5, 3)))
CAMERA = np.array([[-1, 0, 0, 0.3], [0, 1, 0, 0.2], [0, 0, -1, 5], [0, 0, 0, 1]], np.float64)

XML = """<scene version="3.0.0">
<default name="grey" value="old.exr"/>
<integrator type="prb_edge"><integer name="max_depth" value="3"/><integer name="sppp" value="2"/></integrator>
<sensor type="perspective"><float name="fov" value="40"/>
<transform name="to_world"><lookat origin="0,0,5" target="0,0,0" up="0,1,0"/></transform>
<film type="hdrfilm"><integer name="width" value="12"/><integer name="height" value="12"/></film></sensor>
<emitter type="envmap" id="sky"><string name="filename" value="$grey"/></emitter>
<emitter type="point"><point name="position" x="1" y="4" z="2"/></emitter>
<bsdf type="roughconductor" id="metal"><float name="alpha" value="0.2"/></bsdf>
<include filename="parts/ball.xml"/>
<shape type="cube" id="two"><transform name="to_world"><translate x="-1.5"/></transform><bsdf type="blendbsdf"><float name="weight" value="0.5"/>
<bsdf type="diffuse"><rgb name="reflectance" value="0.3"/></bsdf>
<bsdf type="diffuse"><rgb name="reflectance" value="0.6"/></bsdf></bsdf></shape>
<shape type="sphere"><float name="radius" value="0.3"/><ref id="metal"/></shape>
<shape type="disk"><bsdf type="roughdielectric"/></shape>
</scene>"""
BALL = """<scene version="3.0.0"><shape type="ply" id="ball"><string name="filename" value="ball.ply"/>
<bsdf type="twosided"><bsdf type="diffuse"><texture type="bitmap" name="reflectance">
<string name="filename" value="old.exr"/><boolean name="raw" value="true"/></texture></bsdf></bsdf></shape></scene>"""
FOUND = {
    "sky.data": SKY,
    "sky.scale": np.array([1.7]),
    "emitter.position": np.array([0.5, 3.0, 1.0]),
    "emitter.intensity.value": np.array([3.0, 2.0, 1.0]),
    "metal.alpha.value": np.array([0.35]),
    "ball.bsdf.brdf_0.reflectance.data": MAP,
    "two.bsdf.weight.value": np.array([0.7]),
    "two.bsdf.bsdf_1.reflectance.value": np.array([0.1, 0.2, 0.3]),
    "sensor.x_fov": np.array([33.0]),
    "sensor.to_world": CAMERA,
    "shape_1.bsdf.eta": np.array([1.3]),
}


def problem(values):
    return SimpleNamespace(collection=SimpleNamespace(values=lambda: values))


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "home"
    (home / "parts").mkdir(parents=True)
    mi.Bitmap(np.full((4, 4, 3), 0.5, np.float32)).write(str(home / "old.exr"))
    uv_sphere(5).write_ply(str(home / "ball.ply"))
    (home / "scene.xml").write_text(XML)
    (home / "parts" / "ball.xml").write_text(BALL)
    run = tmp_path / "run"
    (run / "textures").mkdir(parents=True)
    for key, value in FOUND.items():
        if value.ndim == 3:
            mi.Bitmap(value).write(str(run / "textures" / f"{key.replace('.', '-')}.exr"))
    return tmp_path


def test_every_kind_of_value_reaches_the_scene_file(folder):
    """Also the sky, objects without a name, those of included files, and the second of two like ones."""
    home, run = folder / "home", folder / "run"
    missing = [key for key in FOUND if key not in mi.traverse(pbdr.load_file(home / "scene.xml"))]
    assert not missing
    experiment = SimpleNamespace(scene="scene.xml", path=lambda name: home / name)
    assert write_scene(experiment, problem(FOUND), {}, run) == []
    (home / "old.exr").unlink()  # the run folder is complete in itself
    scene = mi.load_file(str(run / "scene.xml"), optimize=False)
    params = mi.traverse(scene)
    for key, value in FOUND.items():
        np.testing.assert_allclose(picture(params, key).ravel(), value.ravel(), rtol=1e-5, err_msg=key)
    assert np.array(params["two.bsdf.bsdf_0.reflectance.value"]).ravel()[0] == pytest.approx(0.3)
    assert scene.integrator().class_name() == "PathIntegrator" and "max_depth = 3" in str(scene.integrator())
    # Every ray that leaves the scene sees the recovered sky.
    up, sky = mi.Vector3f(0.1, 1, 0.2), scene.environment()
    si = mi.SurfaceInteraction3f()
    si.wi = -mi.Vector3f(up / np.sqrt(1.05))
    expected = mi.load_dict({"type": "envmap", "bitmap": mi.Bitmap(SKY), "scale": 1.7}).eval(si)
    np.testing.assert_allclose(np.array(sky.eval(si)), np.array(expected), rtol=1e-5)


def test_what_the_file_cannot_hold_is_named(folder):
    home, run = folder / "home", folder / "run"
    colours = np.full(3 * 17, 0.3)  # per vertex
    found = {"ball.vertex_color": colours, "metal.nonsense": np.array([2.0]), "sky.scale": np.array([1.7])}
    experiment = SimpleNamespace(scene="scene.xml", path=lambda name: home / name)
    assert write_scene(experiment, problem(found), {}, run) == ["ball.vertex_color", "metal.nonsense"]
    params = mi.traverse(mi.load_file(str(run / "scene.xml"), optimize=False))
    assert params["sky.scale"][0] == pytest.approx(1.7)


def test_colours_of_vertices_go_with_the_mesh(folder):
    home, run = folder / "home", folder / "run"
    mesh = mi.load_dict({"type": "ply", "filename": str(home / "ball.ply")})
    colours = np.random.default_rng(6).uniform(size=3 * mesh.vertex_count()).astype(np.float32)
    mesh.add_attribute("vertex_color", 3, colours)
    (run / "meshes").mkdir()
    mesh.write_ply(str(run / "meshes" / "ball.ply"))
    experiment = SimpleNamespace(scene="scene.xml", path=lambda name: home / name)
    assert write_scene(experiment, problem({"ball.vertex_color": colours}), {"ball": "meshes/ball.ply"}, run) == []


def test_numbers_reach_the_scene_file(tmp_path):
    found = {
        "blob.bsdf.albedo.value": np.array([0.1, 0.2, 0.3]),
        "blob.bsdf.radius.value": np.array([[0.3], [0.2], [0.1]]),
        "blob.bsdf.eta": np.array([1.4]),
        "lamp.emitter.radiance.value": np.array([1.0, 2.0, 3.0]),
    }
    experiment = SimpleNamespace(scene="scene.xml", path=lambda name: BLOB / name)
    lost = write_scene(experiment, problem(found), {}, tmp_path)
    scene = mi.load_file(str(tmp_path / "scene.xml"))
    params = mi.traverse(scene)
    for key, value in found.items():
        if key not in lost:
            np.testing.assert_allclose(np.array(params[key]).ravel(), value.ravel(), atol=1e-6)
    assert set(lost) <= {"blob.bsdf.eta"}  # which is none of its traversed parameters
    assert type(scene.integrator()).__name__ == "EdgeIntegrator"  # `path` would carry no light through the object


def test_targets_show_the_light_of_the_integrator():
    given = {"type": "prb_edge", "max_depth": 3, "hide_emitters": True, "sppc": 4}
    assert Experiment.model_construct(integrator=given).light_paths == {"max_depth": 3, "hide_emitters": True}
