"""A sky from images, and the lengths of paths that the scene file asks for: end to end."""

import json

import mitsuba as mi
import numpy as np
import pytest

import pbdr
from pbdr.optimization.experiment import load_experiment
from pbdr.scene.keys import picture

SCENE = """<scene version="3.0.0">
<integrator type="path"><integer name="max_depth" value="4"/><boolean name="hide_emitters" value="true"/></integrator>
<sensor type="perspective"><float name="fov" value="60"/>
<transform name="to_world"><lookat origin="0,0,4" target="0,0,0" up="0,1,0"/></transform>
<film type="hdrfilm"><integer name="width" value="12"/><integer name="height" value="12"/></film></sensor>
<emitter type="envmap" id="sky"><string name="filename" value="{sky}.exr"/></emitter>
<shape type="sphere"><bsdf type="roughconductor"><float name="alpha" value="0.1"/></bsdf></shape>
<shape type="sphere"><point name="center" x="1.5" y="0" z="0"/><float name="radius" value="0.5"/></shape>
</scene>"""
TOML = """scene = "scene.xml"
[targets]
scene = "reference.xml"
spp = 64
[[parameters]]
key = "sky.data"
bounds = [0.0, 2.0]
representation = "direct"
learning_rate = 0.05
[schedule]
iterations = 30
spp = 8
shares = [1.0, 0.0, 0.0]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sky")
    truth = np.full((4, 8, 3), 0.5, np.float32)
    truth[0] = 1.2, 1.0, 0.8
    truth[:, 0] = truth[:, -1] = 0.9  # at the seam
    mi.Bitmap(truth).write(str(folder / "true.exr"))
    mi.Bitmap(np.full((4, 8, 3), 0.5, np.float32)).write(str(folder / "grey.exr"))
    (folder / "scene.xml").write_text(SCENE.format(sky="grey"))
    (folder / "reference.xml").write_text(SCENE.format(sky="true"))
    (folder / "optimize.toml").write_text(TOML)
    return folder


def test_recovered_sky(folder, tmp_path, capfd):
    result = pbdr.optimize(folder, folder=tmp_path / "run")
    said = capfd.readouterr().out
    assert "max_depth = 4 (scene.xml)" in said and "hide_emitters = True (scene.xml)" in said
    assert "rr_depth = 5 (default)" in said
    found = result.values["sky.data"]
    assert found.shape == (4, 8, 3)
    summary = json.loads((result.folder / "summary.json").read_text())
    truth = np.array(mi.Bitmap(str(folder / "true.exr")))
    entry = summary["parameters"]["sky.data"]
    assert entry["mean_error"] == pytest.approx(np.abs(found - truth).mean(), rel=1e-4)
    assert entry["mean_error"] < 0.8 * entry["mean_error_initial"]
    assert np.abs(found - 0.5)[:, [0, -1]].mean() > 0.03  # columns at the seam are optimized, too
    assert summary["not in scene.xml"] == []
    # The scene file in plain Mitsuba has, and shows, the recovered sky.
    plain = mi.load_file(str(result.folder / "scene.xml"))
    np.testing.assert_allclose(picture(mi.traverse(plain), "sky.data"), found, atol=1e-6)
    image = np.array(mi.render(plain, spp=256, seed=1))[..., :3]
    shown = np.array(mi.Bitmap(str(result.folder / "images" / "view-00-recovered.exr")))
    assert image.mean() == pytest.approx(shown.mean(), rel=0.02)
    assert np.abs(image - shown).mean() < 0.03 * shown.mean() + 0.01
    written = load_experiment(result.folder / "experiment.toml").integrator
    assert written == {"type": "prb_edge", "max_depth": 4, "hide_emitters": True}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], {"type": "prb_edge", "max_depth": 4, "hide_emitters": True}),
        (["integrator.type=prb_reparam"], {"type": "prb_reparam", "max_depth": 4, "hide_emitters": True}),
        (
            ["integrator.type=prb_edge", "integrator.max_depth=2"],
            {"type": "prb_edge", "max_depth": 2, "hide_emitters": True},
        ),
        (
            ["integrator.type=prb", "integrator.hide_emitters=false", "integrator.rr_depth=7"],
            {"type": "prb", "max_depth": 4, "hide_emitters": False, "rr_depth": 7},
        ),
    ],
)
def test_what_the_experiment_says_wins(folder, overrides, expected):
    experiment, origin = load_experiment(folder, overrides).with_light_paths()
    assert experiment.integrator == expected
    for name in ("max_depth", "rr_depth", "hide_emitters"):
        said = any(f"integrator.{name}" in x for x in overrides)
        assert origin[name] == ("experiment" if said else "scene.xml" if name in expected else "default")
    assert experiment.light_paths["max_depth"] == expected["max_depth"]


def test_without_a_word_the_default_stays(folder):
    text = SCENE.format(sky="grey").replace("<integrator", "<!--").replace("</integrator>", "-->")
    (folder / "bare.xml").write_text(text)
    experiment, origin = load_experiment(folder, ["scene=bare.xml"]).with_light_paths()
    assert experiment.integrator == {"type": "prb_edge", "max_depth": 3}
    assert set(origin.values()) == {"default"}
