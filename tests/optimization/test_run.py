"""Experiments end to end on a tiny scene: run folder, exact resume, kill, bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest
from tiny_scene import cut_short, write_scene

import pbdr
from pbdr.optimization import checkpoint
from pbdr.optimization.run import thread_count


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory):
    return write_scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture(scope="module")
def whole(scene_folder, tmp_path_factory):
    return pbdr.optimize(scene_folder, folder=tmp_path_factory.mktemp("runs") / "whole", quiet=True)


def test_run_folder(whole):
    names = {p.name for p in whole.folder.iterdir()}
    assert {"experiment.toml", "versions.json", "metrics.jsonl", "checkpoints", "images", "meshes", "textures"} <= names
    assert {"scene.xml", "report.html", "summary.json"} <= names
    lines = [json.loads(x) for x in (whole.folder / "metrics.jsonl").read_text().splitlines()]
    assert [x["iteration"] for x in lines] == list(range(6))
    assert all(x["compilations"] is not None for x in lines[:4]) and lines[3]["compilations"] == 0  # 2 views: 2 passes
    assert lines[5]["compilations"] is None and not dr.flag(dr.JitFlag.KernelHistory)
    page = whole.report.read_text()
    assert page.count("data:image/png") >= 12 and "held-out-00" in page
    plain = mi.load_file(str(whole.folder / "scene.xml"))
    recovered = np.array(mi.traverse(plain)["ball.vertex_positions"])
    np.testing.assert_allclose(recovered, whole.values["ball.vertex_positions"], atol=1e-6)
    colour = np.array(mi.traverse(plain)["ball.bsdf.reflectance.data"])
    np.testing.assert_allclose(colour, whole.values["ball.bsdf.reflectance.data"], atol=1e-6)


def test_resumed_run_is_the_uninterrupted_run(scene_folder, whole, tmp_path):
    folder = cut_short(whole.folder, tmp_path / "cut", 2)
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


def test_scenes_freed_while_a_step_is_recorded(scene_folder, tmp_path):
    """Mitsuba aborts if that happens: the collector must wait."""
    code = f"""
import gc, pbdr
pbdr.set_variant()
import drjit as dr
import mitsuba as mi
render = mi.render
def littering(*args, **more):
    cycle = [waiting.pop()]
    cycle.append(cycle)
    del cycle
    if gc.isenabled():
        gc.collect()
    return render(*args, **more)
waiting = [mi.load_dict({{"type": "scene", "c": {{"type": "cube"}}}}) for _ in range(100)]
mi.render = littering
pbdr.optimize({str(scene_folder)!r}, overrides=["schedule.iterations=2"], folder={str(tmp_path / "run")!r}, quiet=True)
print("finished")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "finished" in done.stdout, done.stderr


def test_unreadable_checkpoint_is_passed_over(tmp_path):
    checkpoint.save(tmp_path, 1, {"a": np.ones(2)}, {})
    (tmp_path / "step-000000002.npz").write_bytes(b"cut off")
    (tmp_path / "step-000000002.json").write_text('{"step": 2}')
    assert checkpoint.latest(tmp_path)[0] == 1


def test_command_line(scene_folder, tmp_path):
    env = {**os.environ, "COLUMNS": "200"}
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


@pytest.mark.skipif("cuda" in (mi.variant() or ""), reason="threads of the CPU")
def test_sums_outlive_a_change_of_threads():
    """Sums per thread are laid out for the number of threads that there was when they were recorded."""
    for k in range(5):
        with thread_count(1):
            index = dr.arange(mi.UInt32, 1 << 20) % 16
            total = dr.zeros(mi.Float, 64)
            dr.scatter_add(total, mi.Float(1 + k), index, mode=dr.ReduceMode.Expand)
        assert (total.numpy() == (1 + k) * (np.arange(64) < 16) * (1 << 16)).all()
