"""Scene files keep the names of their objects, and get the same ones in each run."""

import subprocess
import sys

import mitsuba as mi
import numpy as np
import pytest

import pbdr
from pbdr.scene.keys import find_keys
from pbdr.scene.load import light_paths
from pbdr.scene.names import names_of
from pbdr.validation.meshes import uv_sphere

XML = """<scene version="3.0.0">
<integrator type="aov"><string name="aovs" value="z:depth"/>
<integrator type="path"><integer name="max_depth" value="4"/><boolean name="hide_emitters" value="true"/></integrator></integrator>
<sensor type="perspective"><transform name="to_world"><lookat origin="0,0,5" target="0,0,0" up="0,1,0"/></transform>
<film type="hdrfilm"><integer name="width" value="16"/><integer name="height" value="16"/></film></sensor>
<emitter type="constant"/>
<emitter type="point"><point name="position" x="1" y="4" z="2"/></emitter>
<bsdf type="diffuse" id="clay"><rgb name="reflectance" value="0.3, 0.2, 0.1"/></bsdf>
<shape type="ply" id="vase"><string name="filename" value="ball.ply"/><ref id="clay"/>
<transform name="to_world"><translate x="-1"/></transform></shape>
<shape type="ply" id="cup"><string name="filename" value="ball.ply"/><ref id="clay"/>
<transform name="to_world"><translate x="1"/></transform></shape>
<shape type="cube" name="die"><bsdf type="diffuse"><rgb name="reflectance" value="0.3, 0.2, 0.1"/></bsdf></shape>
<include filename="more.xml"/>
<shape type="sphere"><float name="radius" value="0.5"/></shape>
</scene>"""
MORE = """<scene version="3.0.0"><shape type="disk"/><shape type="rectangle" id="shape"/></scene>"""
NAMES = {"sensor", "emitter", "emitter_1", "clay", "vase", "cup", "die", "shape", "shape_1", "shape_2"}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    uv_sphere(6).write_ply(str(folder / "ball.ply"))
    (folder / "more.xml").write_text(MORE)
    (folder / "scene.xml").write_text(XML)
    return folder / "scene.xml"


def owners(scene):
    return {k.split(".")[0] for k in mi.traverse(scene).keys() if "." in k}


def test_meshes_of_one_material_keep_their_names(file):
    before = list(mi.file_resolver())
    scene = pbdr.load_file(file)
    assert owners(scene) == NAMES
    assert [s.id() for s in scene.shapes()] == ["vase", "cup", "die", "shape_1", "shape", "shape_2"]
    assert list(mi.file_resolver()) == before


def test_names_are_those_of_another_run(file):
    code = f"""
import pbdr; pbdr.set_variant()
import mitsuba as mi
print(sorted(mi.traverse(pbdr.load_file({str(file)!r})).keys()))"""
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert again.stdout.strip().splitlines()[-1] == str(sorted(mi.traverse(pbdr.load_file(file)).keys()))


def test_merging_on_request_changes_no_image(file):
    apart, merged = pbdr.load_file(file), pbdr.load_file(file, optimize=True)
    assert len(apart.shapes()) == 6 and len(merged.shapes()) < 6
    assert "merged" in owners(merged) and not owners(merged) & {"vase", "cup"}
    path = mi.load_dict({"type": "path", "max_depth": 4})
    images = [np.array(mi.render(s, integrator=path, spp=16, seed=3)) for s in (apart, merged)]
    assert images[0].mean() > 0.1
    np.testing.assert_allclose(*images, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("load", [lambda f: mi.load_file(str(f)), lambda f: pbdr.load_file(f, optimize=True)])
def test_a_merged_scene_says_so(file, load):
    with pytest.raises(pbdr.InputError, match=r"loaded with merging.*optimize=False") as said:
        find_keys(mi.traverse(load(file)), "vase.vertex_positions")
    assert "object_" not in str(said.value)


def test_a_parameter_of_a_file(file, tmp_path):
    text = '<scene version="3.0.0"><default name="r" value="2"/><shape type="sphere"><float name="radius" value="$r"/></shape></scene>'
    (tmp_path / "a.xml").write_text(text)
    for more, radius in (({}, 2.0), ({"r": 3}, 3.0)):
        ball = pbdr.load_file(tmp_path / "a.xml", **more).shapes()[0]
        assert ball.bbox().max.x == pytest.approx(radius)


def test_names_pass_over_those_that_are_taken():
    given = [
        ("shape", "", ""),
        ("shape", "shape_1", ""),
        ("shape", "", ""),
        ("shape", "", "ball"),
        ("bsdf", "ball", ""),
    ]
    assert names_of(given) == ["shape", "shape_1", "shape_2", "ball_1", "ball"]


def test_light_paths_of_the_integrator_inside(file):
    assert light_paths(file) == {"max_depth": 4, "hide_emitters": True}
