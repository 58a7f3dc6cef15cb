"""Experiments end to end on a tiny scene: run folder, exact resume, kill, bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mitsuba as mi
import numpy as np
import pytest

import pbdr
from pbdr.optimization import checkpoint
from pbdr.optimization.experiment import load_experiment
from pbdr.validation.meshes import uv_sphere

SCENE = """<scene version="3.0.0"><integrator type="prb_edge"/><emitter type="constant"/>
<shape type="ply" id="ball"><string name="filename" value="{mesh}"/>
<bsdf type="diffuse"><texture type="bitmap" name="reflectance"><string name="filename" value="{map}"/>
<boolean name="raw" value="true"/></texture></bsdf></shape></scene>"""

TOML = """scene = "scene.xml"
[integrator]
type = "prb_edge"
max_depth = 2
[views]
count = 2
width = 16
height = 16
held_out = 1
[targets]
scene = "reference.xml"
spp = 32
[[parameters]]
key = "ball.vertex_positions"
learning_rate = 0.02
[[parameters]]
key = "ball.bsdf.reflectance.data"
bounds = [0.0, 1.0]
[schedule]
iterations = 6
spp = 2
checkpoint_every = 2
image_every = 4
"""


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    uv_sphere(6).write_ply(str(folder / "start.ply"))
    uv_sphere(6, radius=1.2).write_ply(str(folder / "target.ply"))
    mi.Bitmap(np.full((4, 4, 3), 0.5, np.float32)).write(str(folder / "grey.exr"))
    mi.Bitmap(np.full((4, 4, 3), 0.8, np.float32)).write(str(folder / "bright.exr"))
    (folder / "scene.xml").write_text(SCENE.format(mesh="start.ply", map="grey.exr"))
    (folder / "reference.xml").write_text(SCENE.format(mesh="target.ply", map="bright.exr"))
    (folder / "optimize.toml").write_text(TOML)
    return folder


@pytest.fixture(scope="module")
def whole(scene_folder, tmp_path_factory):
    return pbdr.optimize(scene_folder, folder=tmp_path_factory.mktemp("runs") / "whole", quiet=True)


def test_run_folder(whole):
    names = {p.name for p in whole.folder.iterdir()}
    assert {"experiment.toml", "versions.json", "metrics.jsonl", "checkpoints", "images", "meshes", "textures"} <= names
    assert {"scene.xml", "report.html", "summary.json"} <= names
    lines = [json.loads(x) for x in (whole.folder / "metrics.jsonl").read_text().splitlines()]
    assert [x["iteration"] for x in lines] == list(range(6))
    page = whole.report.read_text()
    assert page.count("data:image/png") >= 12 and "held-out-00" in page
    plain = mi.load_file(str(whole.folder / "scene.xml"))
    recovered = np.array(mi.traverse(plain)["ball.vertex_positions"])
    np.testing.assert_allclose(recovered, whole.values["ball.vertex_positions"], atol=1e-6)
    colour = np.array(mi.traverse(plain)["ball.bsdf.reflectance.data"])
    np.testing.assert_allclose(colour, whole.values["ball.bsdf.reflectance.data"], atol=1e-6)


def test_resumed_run_is_the_uninterrupted_run(scene_folder, whole, tmp_path):
    import shutil

    folder = tmp_path / "cut"
    shutil.copytree(whole.folder, folder)
    for path in (folder / "checkpoints").glob("step-*"):
        if int(path.stem.split("-")[1]) > 2:
            path.unlink()
    again = pbdr.resume(folder, quiet=True)
    for key, value in whole.values.items():
        assert (again.values[key] == value).all(), key
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 6


def test_killed_run_resumes_bit_for_bit(scene_folder, whole, tmp_path):
    folder = tmp_path / "killed"
    code = f"import pbdr; pbdr.optimize({str(scene_folder)!r}, folder={str(folder)!r}, quiet=True)"
    child = subprocess.Popen([sys.executable, "-c", code])
    for _ in range(600):
        if (folder / "checkpoints" / "step-000000002.npz").exists() or child.poll() is not None:
            break
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    again = pbdr.resume(folder, quiet=True)
    for key, value in whole.values.items():
        assert (again.values[key] == value).all(), key


def test_unreadable_checkpoint_is_passed_over(tmp_path):
    checkpoint.save(tmp_path, 1, {"a": np.ones(2)}, {})
    (tmp_path / "step-000000002.npz").write_bytes(b"cut off")
    (tmp_path / "step-000000002.json").write_text('{"step": 2}')
    assert checkpoint.latest(tmp_path)[0] == 1


BAD = {
    "unknown key": ("schedule.iteration=5", "Did you mean 'iterations'"),
    "unknown section": ("shedule.iterations=5", "Did you mean 'schedule'"),
    "wrong type": ('schedule.iterations="many"', "schedule.iterations"),
    "zero iterations": ("schedule.iterations=0", "greater than or equal to 1"),
    "unknown loss": ("loss=l3", "loss"),
    "missing scene": ("scene=scen.xml", "Did you mean 'scene.xml'"),
    "missing target": ("targets.scene=referenc.xml", "Did you mean 'reference.xml'"),
    "two targets": ('targets.images=["a.exr"]', "exactly one of"),
    "no views": ("views.count=0", "no sensor"),
    "too many views": ("schedule.views_per_step=9", "there are 2 views"),
    "unknown parameter": ("parameters.0.key=ball.vertex_position", "Did you mean 'ball.vertex_positions'"),
    "transform": ("parameters.0.key=ball.faces", "not differentiable"),
    "large steps on a map": ("parameters.1.representation=large_steps", "needs the vertex positions"),
    "bounds reversed": ("parameters.1.bounds=[1.0, 0.0]", "not increasing"),
    "unknown representation": ("parameters.1.representation=spline", "representation"),
    "unknown integrator": ("integrator.type=prb_edges", "prb_edges"),
    "unknown integrator key": ("integrator.max_dept=3", "max_dept"),
    "no separator": ("schedule.iterations", "expected section.key=value"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(scene_folder, tmp_path, name):
    override, words = BAD[name]
    with pytest.raises(pbdr.InputError) as error:
        pbdr.optimize(scene_folder, folder=tmp_path / "run", overrides=[override], quiet=True)
    assert words in str(error.value)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_bad_files(scene_folder, tmp_path):
    with pytest.raises(pbdr.InputError, match="no such experiment"):
        pbdr.optimize(tmp_path / "nothing.toml")
    (tmp_path / "broken.toml").write_text("scene = [")
    with pytest.raises(pbdr.InputError, match="not a valid TOML"):
        load_experiment(tmp_path / "broken.toml")
    with pytest.raises(pbdr.InputError, match="not a run folder"):
        pbdr.resume(tmp_path)
    old = tmp_path / "old.xml"
    old.write_text(
        '<scene version="0.6.0"><sensor type="perspective"><transform name="toWorld"><lookAt origin="0,0,0"/></transform></sensor></scene>'
    )
    with pytest.raises(pbdr.InputError, match="Mitsuba cannot load this scene"):
        pbdr.load_file(old)
    for name, data, words in (
        ("size", np.zeros((8, 8, 3), np.float32), "the target is 8x8"),
        ("nan", np.full((16, 16, 3), np.nan, np.float32), "NaN"),
    ):
        mi.Bitmap(data).write(str(scene_folder / f"{name}.exr"))
        with pytest.raises(pbdr.InputError, match=words):
            pbdr.optimize(
                scene_folder, folder=tmp_path / name, quiet=True,
                overrides=[f'targets.images=["{name}.exr", "{name}.exr"]', 'targets.scene=""'],
            )  # fmt: skip


def test_eight_bit_map_is_named(scene_folder, tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    for file in scene_folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    mi.Bitmap(np.full((4, 4, 3), 128, np.uint8)).write(str(folder / "grey.png"))
    (folder / "scene.xml").write_text(SCENE.format(mesh="start.ply", map="grey.png"))
    with pytest.raises(pbdr.InputError, match="8-bit map"):
        pbdr.optimize(folder, folder=tmp_path / "run", quiet=True)


def test_command_line_status_and_message(scene_folder, tmp_path):
    env = {**os.environ, "COLUMNS": "200"}
    bad = subprocess.run(
        [sys.executable, "-m", "pbdr", "optimize", str(scene_folder), "--set", "loss=l3"],
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )
    assert bad.returncode == 2 and "loss" in bad.stderr and "Traceback" not in bad.stderr
    shown = subprocess.run(
        [sys.executable, "-m", "pbdr", "--help"], capture_output=True, text=True, env=env, check=False
    )
    assert shown.returncode == 0
    for verb in ("doctor", "render", "optimize", "resume", "gradcheck", "benchmark", "report", "view"):
        assert verb in shown.stdout
    image = tmp_path / "a.exr"
    scene = Path(scene_folder) / "reference.xml"
    text = scene.read_text().replace("<emitter", '<sensor type="perspective"/><emitter', 1)
    (scene_folder / "with_sensor.xml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pbdr", "render", str(scene_folder / "with_sensor.xml"), "-o", str(image), "--spp", "1"],
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )
    assert done.returncode == 0 and image.exists(), done.stderr
