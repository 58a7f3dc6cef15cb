"""Every bad input gets a message that names the culprit and the remedy.

``pytest tests/test_bad_input.py --table docs/guides/bad-input.md`` writes what was said as a table.
"""

import os
import subprocess
import sys

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest
from PIL import Image
from tiny_scene import SCENE, write_scene

import pbdr
from pbdr.integrators.capabilities import require_unbiased
from pbdr.optimization.experiment import ParameterSpec, load_experiment
from pbdr.parameters.collection import Collection
from pbdr.scene.keys import find_keys
from pbdr.validation.cases import CASES
from pbdr.validation.compare import gradcheck
from pbdr.validation.meshes import uv_sphere

OVERRIDES = {
    "unknown key": ("schedule.iteration=5", "Did you mean 'iterations'"),
    "unknown section": ("shedule.iterations=5", "Did you mean 'schedule'"),
    "wrong type": ('schedule.iterations="many"', "schedule.iterations"),
    "zero iterations": ("schedule.iterations=0", "greater than or equal to 1"),
    "unknown loss": ("loss=l3", "loss"),
    "missing scene": ("scene=scen.xml", "Did you mean 'scene.xml'"),
    "missing target": ("targets.scene=referenc.xml", "Did you mean 'reference.xml'"),
    "two kinds of target": ('targets.images=["a.exr"]', "exactly one of"),
    "no views": ("views.count=0", "no sensor"),
    "more views a step than views": ("schedule.views_per_step=9", "there are 2 views"),
    "unknown parameter": ("parameters.0.key=ball.vertex_position", "Did you mean 'ball.vertex_positions'"),
    "parameter without derivative": ("parameters.0.key=ball.faces", "not differentiable"),
    "Large Steps on a map": ("parameters.1.representation=large_steps", "needs the vertex positions"),
    "bounds reversed": ("parameters.1.bounds=[1.0, 0.0]", "not increasing"),
    "unknown representation": ("parameters.1.representation=spline", "representation"),
    "unknown integrator": ("integrator.type=prb_edges", "Did you mean 'prb_edge'"),
    "unknown integrator parameter": ("integrator.max_dept=3", "max_dept"),
    "parameter that an integrator of Mitsuba has not": ("integrator={type='path', foo=1}", 'integer "foo": 1'),
    "override without value": ("schedule.iterations", "expected section.key=value"),
    "override beyond a list": ("parameters.5.key=a", "no entry '5'"),
    "override of a list": ("parameters.0=1", "name an entry of that list and a key"),
    "initial value that is no number": ("parameters.1.initial=nan", "finite number"),
    "more samples than a mean can hold": ("schedule.spp=99999999999", "less than or equal to 16777216"),
}


@pytest.fixture
def folder(tmp_path):
    write_scene(tmp_path / "scene")
    return tmp_path / "scene"


def optimize(folder, *overrides):
    return lambda: pbdr.optimize(folder, folder=folder.parent / "run", overrides=list(overrides), quiet=True)


@pytest.mark.parametrize("name", OVERRIDES)
def test_experiment(folder, refuse, name):
    override, words = OVERRIDES[name]
    refuse(f"{name}: `{override}`", words, optimize(folder, override))
    assert not (folder.parent / "run" / "metrics.jsonl").exists()


COMMANDS = {
    "image of unknown kind": ("render {xml} -o a.xyz", ".exr, .png"),
    "image in a file": ("render {xml} -o {xml}/a.exr", "cannot be made a folder"),
    "folder in place of a scene": ("render {folder}", "this is a folder"),
    "unknown variant": ("render {xml} -m llvm_ad_rgbb", "Did you mean 'llvm_ad_rgb'"),
    "maps in a file": ("gradcheck {xml} ball.vertex_positions -o {xml}", "cannot be made a folder"),
    "unknown integrator": ("gradcheck {xml} ball.vertex_positions --integrator prb_edgee", "Did you mean 'prb_edge'"),
    "run in a file": ("optimize {folder} -o {xml}", "cannot be made a folder"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_command(folder, refuse, name):
    """Refused before anything is computed."""
    from pbdr.cli import commands  # noqa: F401  (registers the verbs)
    from pbdr.cli.main import app

    line, words = COMMANDS[name]
    arguments = [x.format(xml=folder / "scene.xml", folder=folder) for x in line.split()]
    refuse(
        f"command line, {name}: `{line.format(xml='scene.xml', folder='.')}`",
        words,
        lambda: app(arguments, standalone_mode=False),
    )
    assert sorted(p.name for p in folder.parent.iterdir()) == ["scene"]


def test_an_image_in_place_of_a_folder(folder, refuse):
    from pbdr.cli import commands  # noqa: F401
    from pbdr.cli.main import app

    (folder / "a.png").mkdir()
    arguments = ["render", str(folder / "scene.xml"), "-o", str(folder / "a.png")]
    refuse(
        "command line, image in place of a folder", "cannot be written", lambda: app(arguments, standalone_mode=False)
    )


@pytest.mark.parametrize("mode", ["render", "render_forward"])
def test_images_without_samples(refuse, mode):
    film = {"type": "hdrfilm", "width": 0, "height": 0}
    scene = mi.load_dict({"type": "scene", "eye": {"type": "perspective", "film": film}, "sky": {"type": "constant"}})
    call = getattr(mi.load_dict({"type": "prb_edge"}), mode)
    more = {"params": None} if mode == "render_forward" else {}
    refuse(f"{mode}: film without pixels", ["sensor 'eye'", "0 x 0"], lambda: call(scene, **more))
    scene = CASES["albedo"].scene()
    refuse(f"{mode}: negative number of samples", "'spp' must be", lambda: call(scene, spp=-1, **more))


def test_files(folder, refuse, tmp_path):
    refuse("missing experiment file", "no such experiment", lambda: pbdr.optimize(tmp_path / "nothing.toml"))
    (tmp_path / "broken.toml").write_text("scene = [")
    refuse("broken TOML", "not a valid TOML", lambda: load_experiment(tmp_path / "broken.toml"))
    refuse("resume of something else", "not a run folder", lambda: pbdr.resume(tmp_path))
    refuse("missing scene file", "no such scene file", lambda: pbdr.load_file(tmp_path / "a.xml"))
    old = tmp_path / "old.xml"
    old.write_text(
        '<scene version="0.6.0"><sensor type="perspective"><transform name="toWorld">'
        '<lookAt origin="0,0,0"/></transform></sensor></scene>'
    )
    refuse("scene in the format of Mitsuba 0.6", "Mitsuba cannot load this scene", lambda: pbdr.load_file(old))
    (folder / "start.ply").unlink()
    refuse("missing mesh file", "start.ply", optimize(folder))


SCENE_FILES = {
    "parameter that a plugin does not have": (
        '<integrator type="path"><integer name="strict_depth" value="3"/></integrator>',
        ["line 1, col 25", 'integer "strict_depth": 3', "take it out"],
    ),
    "colour as <spectrum>": (
        '<bsdf type="diffuse" id="a"><spectrum name="reflectance" value="0.1, 0.2, 0.3"/></bsdf>',
        ["<rgb name=", "wavelength"],
    ),
    "undefined $parameter": (
        '<shape type="sphere"><float name="radius" value="$size"/></shape>',
        ["$size", '<default name="size"', "-D size=", "pbdr.load_file(path, size=...)"],
    ),
    "plugin of another package": ('<bsdf type="itu-radio-material" id="a"/>', ["itu-radio-material", "import that"]),
    "misspelt plugin": ('<bsdf type="roughplastik" id="a"/>', ["Did you mean 'roughplastic'"]),
    "parameter of an own plugin": (
        '<integrator type="prb_edge"><integer name="max_dept" value="3"/></integrator>',
        ["max_dept", "Did you mean 'max_depth'"],
    ),
}


@pytest.mark.parametrize("name", SCENE_FILES)
def test_scene_files(tmp_path, refuse, name):
    body, words = SCENE_FILES[name]
    (tmp_path / "scene.xml").write_text(f'<scene version="3.0.0">{body}</scene>')
    refuse(f"scene file: {name}", words, lambda: pbdr.load_file(tmp_path / "scene.xml"))


def test_scene_parameters(tmp_path, refuse):
    file = tmp_path / "scene.xml"
    file.write_text('<scene version="3.0.0"><shape type="sphere"/></scene>')
    refuse("scene file: `-D` for a $parameter that it has not", "$size=3", lambda: pbdr.load_file(file, size=3))
    refuse(
        "scene file: `optimize` that is no bool",
        "must be True or False",
        lambda: pbdr.load_file(file, optimize="yes"),
    )


def test_images(folder, refuse):
    same = 'targets.scene=""'
    for title, name, data, words in (
        ("target of the wrong size", "size", np.zeros((8, 8, 3), np.float32), "the target is 8x8"),
        ("NaN in a target", "nan", np.full((16, 16, 3), np.nan, np.float32), "NaN"),
    ):
        mi.Bitmap(data).write(str(folder / f"{name}.exr"))
        refuse(title, words, optimize(folder, f'targets.images=["{name}.exr", "{name}.exr"]', same))
    cut = np.full((16, 16, 4), 128, np.uint8)
    cut[:8, :, 3] = 0
    cut[8:, :, 3] = 255
    cutout, bad = tuple(f'targets.images=["{name}", "{name}"]' for name in ("cut.png", "text.png"))
    mi.Bitmap(cut).write(str(folder / "cut.png"))
    refuse("target with transparent pixels", ["50 %", "[targets] background ="], optimize(folder, cutout, same))
    (folder / "text.png").write_text("no image")
    refuse("target that is no image", "not an image", optimize(folder, bad, same))
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (16, 8)).save(folder / "turned.jpg", exif=turned)
    wide = 'targets.images=["turned.jpg", "turned.jpg"]'
    refuse("photograph that EXIF turns", "8x16 after the turn", optimize(folder, wide, same, "views.height=8"))
    mi.Bitmap(np.full((4, 4, 3), 128, np.uint8)).write(str(folder / "grey.png"))
    (folder / "scene.xml").write_text(SCENE.format(mesh="start.ply", map="grey.png"))
    refuse("8-bit map to be optimized", "8-bit map", optimize(folder))


def test_not_a_number(folder, refuse):
    data = np.full((4, 4, 3), 0.5, np.float32)
    data[1, 1] = np.nan
    mi.Bitmap(data).write(str(folder / "grey.exr"))
    refuse("NaN in a map", ["ball.bsdf.reflectance.data", "NaN"], optimize(folder))
    positions = np.array(mi.traverse(uv_sphere(6))["vertex_positions"])
    lines = (folder / "start.ply").read_bytes()
    (folder / "start.ply").write_bytes(
        lines.replace(positions[:3].tobytes(), np.full(3, np.nan, np.float32).tobytes(), 1)
    )
    refuse("NaN in a mesh", ["start.ply", "invalid vertex position"], optimize(folder))


@pytest.mark.parametrize("representation", ["distance_field", "direct"])
def test_invisible_distance_field(refuse, representation):
    grid = mi.TensorXf(np.zeros((6, 8, 9, 1), np.float32))
    scene = mi.load_dict({"type": "scene", "body": {"type": "sdfgrid", "grid": grid}})
    spec = ParameterSpec(key="body.grid", representation=representation)
    refuse(
        f"distance field with unlike x and z, representation `{representation}`",
        ["as many values along x as along z", "9 x 8 x 6", "resample it to 9", "to_world"],
        lambda: Collection(mi.traverse(scene), [spec]),
    )


def test_merged_scene(folder, refuse):
    text = SCENE.format(mesh="start.ply", map="grey.exr").replace("</scene>", "")
    twin = '<shape type="ply" id="{}"><string name="filename" value="start.ply"/><ref id="clay"/></shape>'
    text += '<bsdf type="diffuse" id="clay"/>'
    (folder / "twins.xml").write_text(text + twin.format("vase") + twin.format("cup") + "</scene>")
    merged = mi.traverse(mi.load_file(str(folder / "twins.xml")))
    refuse(
        "name of a mesh that `mi.load_file` merged",
        ["loaded with merging", "pbdr.load_file", "optimize=False"],
        lambda: find_keys(merged, "vase.vertex_positions"),
    )


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("shape.vertex_position", "has no parameter"),
        ("shape.*", "not a pattern"),
        ("shape.faces", "not differentiable"),
        ("sensor.to_world", "what it is made of"),
        ("sun.sun_direction", "read-only"),
    ],
)
def test_attach(refuse, key, words):
    scene = mi.load_dict(
        {"type": "scene", "shape": {"type": "cube"}, "sensor": {"type": "perspective"}, "sun": {"type": "sunsky"}}
    )
    refuse(f"attach: `{key}`", words, lambda: pbdr.attach(mi.traverse(scene), key))


def test_gradcheck(refuse):
    scene = CASES["albedo"].scene()
    key = "plane.bsdf.reflectance.value"
    refuse("gradcheck: unknown key", f"Did you mean '{key}'", lambda: gradcheck(scene, "plane.bsdf.reflectanc.value"))
    refuse("gradcheck: too few seeds", "at least 4 seeds", lambda: gradcheck(scene, key, seeds=2))
    refuse("gradcheck: unknown direction", "Unknown direction", lambda: gradcheck(scene, key, "sideways"))
    refuse("gradcheck: direction of a number", "is a transform", lambda: gradcheck(scene, "plane.to_world", "uniform"))
    refuse("gradcheck: direction of the wrong size", "has 2 numbers", lambda: gradcheck(scene, key, [1.0, 2.0]))


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"max_dept": 3}, ["max_dept", "Did you mean 'max_depth'"]),
        ({"max_depth": -2}, ["max_depth", ">= -1"]),
        ({"rr_depth": 0}, ["rr_depth", ">= 1"]),
        ({"sppp": -1}, ["sppp", ">= 0"]),
    ],
)
def test_plugin_parameters(refuse, properties, words):
    title = "plugin: " + ", ".join(f"`{k}={v}`" for k, v in properties.items())
    refuse(title, words, lambda: mi.load_dict({"type": "prb_edge", **properties}), RuntimeError)


def test_sensors(refuse):
    integrator = mi.load_dict({"type": "prb_edge"})
    scene = CASES["sphere_scale"].scene()
    refuse("sensor that is not there", "sensor", lambda: integrator.render(scene, sensor=3), (pbdr.InputError))
    params = mi.traverse(scene)
    shape = mi.Transform4f(params["shape.to_world"])
    x = mi.Float(0)
    dr.enable_grad(x)
    params["shape.to_world"] = mi.Transform4f().translate([x, 0, 0]) @ shape
    params.update()
    dr.forward(x, flags=dr.ADFlag.ClearEdges)
    meter = mi.load_dict(
        {"type": "distant", "film": {"type": "hdrfilm", "width": 1, "height": 1, "rfilter": {"type": "box"}}}
    )
    refuse(
        "sensor without a projection",
        "perspective",
        lambda: integrator.render_forward(scene, params, sensor=meter, spp=1),
        pbdr.UnsupportedError,
    )


def test_polarized(refuse):
    code = (
        "import pbdr, mitsuba as mi\nmi.set_variant('llvm_ad_spectral_polarized')\nmi.load_dict({'type': 'prb_edge'})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    def call():
        raise RuntimeError(run.stderr.strip().splitlines()[-1])

    assert run.returncode == 1
    refuse("polarized variant", ["polarization", "llvm_ad_spectral'"], call, RuntimeError)


def test_colours_in_a_spectral_variant(folder, refuse):
    """Mitsuba holds coefficients there; the maps of the scene are raw, so they are numbers still."""
    code = f"""
import pbdr
pbdr.set_variant('llvm_ad_spectral')
import mitsuba as mi
from pbdr.optimization.experiment import ParameterSpec
from pbdr.parameters.collection import Collection
picture = {{'type': 'bitmap', 'filename': {str(folder / "grey.exr")!r}}}
params = mi.traverse(mi.load_dict({{'type': 'scene', 'sky': {{'type': 'envmap', 'filename': picture['filename']}},
    'a': {{'type': 'sphere', 'bsdf': {{'type': 'diffuse', 'reflectance': picture}}}},
    'b': {{'type': 'sphere', 'bsdf': {{'type': 'diffuse', 'reflectance': {{'type': 'rgb', 'value': [.1, .2, .3]}}}}}},
    'c': {{'type': 'sphere', 'bsdf': {{'type': 'diffuse', 'reflectance': picture | {{'raw': True}}}}}}}}))
for key in ('sky.data', 'a.bsdf.reflectance.data', 'b.bsdf.reflectance.value', 'c.bsdf.reflectance.data'):
    try:
        Collection(params, [ParameterSpec(key=key, bounds=(0.0, 1.0))])
        print('taken', key)
    except pbdr.UnsupportedError as error:
        print('refused', key, error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    lines = run.stdout.strip().splitlines()[-4:]
    assert [line.split()[:2] for line in lines] == [
        ["refused", "sky.data"],
        ["refused", "a.bsdf.reflectance.data"],
        ["refused", "b.bsdf.reflectance.value"],
        ["taken", "c.bsdf.reflectance.data"],
    ], run.stderr

    def call():
        raise pbdr.UnsupportedError(lines[2].split(maxsplit=2)[2])

    refuse(
        "bounds of a colour in a spectral variant",
        ["coefficients of a spectrum", "llvm_ad_rgb"],
        call,
        pbdr.UnsupportedError,
    )


def test_command_line_status(folder):
    env = {**os.environ, "COLUMNS": "200"}
    command = [sys.executable, "-m", "pbdr", "optimize", str(folder), "--set", "loss=l3"]
    bad = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert bad.returncode == 2 and "loss" in bad.stderr and "Traceback" not in bad.stderr


def test_a_non_manifold_mesh_is_no_error():
    """Three triangles on one edge: not refused, and the edge is found."""
    from pbdr.geometry.topology import mesh_edges

    p = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1]], np.float32)
    faces = np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]], np.uint32)
    assert mesh_edges(p, faces).always.any()


# ---------------------------------------------------------------- derivatives that are not known to be right


def attached_by(scene, key):
    """(scene, params, x): a number that is added to a value, or moves it along x."""
    params = mi.traverse(scene)
    x, value = mi.Float(0), params[key]
    dr.enable_grad(x)
    moves = "Transform" in type(value).__name__
    params[key] = mi.Transform4f().translate([x, 0, 0]) @ mi.Transform4f(value) if moves else type(value)(value) + x
    params.update()
    return params, x


def test_derivatives(refuse, tmp_path):
    (tmp_path / "hair.txt").write_text("-1 0 0 0.2\n-0.5 0 0 0.2\n0.5 0 0 0.3\n1 0.3 0 0.3\n")
    objects = {
        "hair": {"type": "bsplinecurve", "filename": str(tmp_path / "hair.txt")},
        "ball": {"type": "sphere", "bsdf": {"type": "null"}, "interior": {"type": "homogeneous"}},
        "group": {"type": "shapegroup", "inner": {"type": "cube"}},
        "one": {"type": "instance", "ref": {"type": "ref", "id": "group"}},
        "field": {
            "type": "sdfgrid",
            "grid": mi.TensorXf(np.mgrid[0:3, 0:3, 0:3][0, ..., None].astype(np.float32) - 0.7),
        },
    }
    for title, key, words in (
        ("control points of a curve", "hair.control_points", ["lacks curves", "prb_reparam"]),
        ("participating medium", "ball.interior_medium.albedo.value.value", "prbvolpath"),
        ("distance field that moves", "field.to_world", "grid"),
        ("shape in a shapegroup", "group.inner.vertex_positions", "instances"),
    ):
        scene = mi.load_dict({"type": "scene", "sensor": {"type": "perspective"}, **objects})
        params = attached_by(scene, key)[0]
        integrator = mi.load_dict({"type": "prb_edge"})

        def call(integrator=integrator, scene=scene, params=params):
            integrator.render_forward(scene, params, spp=1)

        refuse(
            f"derivative: {title}",
            [f"'{key}'", *([words] if isinstance(words, str) else words)],
            call,
            pbdr.UnsupportedError,
        )


@pytest.mark.parametrize("kind", ["path", "aov"])
def test_integrators_without_visibility(refuse, kind):
    inner = {"image": {"type": "prb_edge"}, "aovs": "dd:depth"} if kind == "aov" else {}
    plugin = mi.load_dict({"type": kind, **inner})
    title = f"[integrator] {kind} for a moving shape"
    refuse(
        title, f"gradient of {kind}", lambda: require_unbiased(plugin, "ball.vertex_positions"), pbdr.UnsupportedError
    )


def test_gradcheck_of_what_has_no_derivative(refuse, tmp_path):
    (tmp_path / "hair.txt").write_text("-1 0 0 0.2\n1 0.3 0 0.3\n")
    bitmap = {"type": "bitmap", "bitmap": mi.Bitmap(np.ones((4, 4, 3), np.float32)), "raw": True}
    scene = mi.load_dict(
        {
            "type": "scene",
            "plate": {"type": "rectangle", "bsdf": {"type": "diffuse", "reflectance": bitmap}},
            "hair": {"type": "linearcurve", "filename": str(tmp_path / "hair.txt")},
            "sensor": {"type": "perspective", "film": {"type": "hdrfilm", "width": 8, "height": 8}},
            "integrator": {"type": "prb_edge"},
        }
    )
    refuse(
        "gradcheck: a number on the host",
        "on the host",
        lambda: gradcheck(scene, "plate.bsdf.reflectance.to_uv", "rotate"),
    )
    refuse(
        "gradcheck: control points of a curve",
        "'hair.control_points'",
        lambda: gradcheck(scene, "hair.control_points", "uniform"),
        pbdr.UnsupportedError,
    )


def test_optimize_with_an_integrator_without_visibility(folder, refuse):
    override = ("integrator.type=path", "parameters.0.key=ball.vertex_positions")
    refuse(
        "optimize vertices with `integrator.type=path`",
        "lacks moving geometry",
        optimize(folder, *override),
        pbdr.UnsupportedError,
    )


def test_the_verdict_fits_into_80_columns(tmp_path):
    write_scene(tmp_path / "scene")
    sensor = '<sensor type="perspective"><transform name="to_world"><lookat origin="0,0,6" target="0,0,0" up="0,1,0"/></transform><film type="hdrfilm"><integer name="width" value="8"/><integer name="height" value="8"/></film></sensor>'
    file = tmp_path / "scene" / "scene.xml"
    file.write_text(file.read_text().replace("</scene>", sensor + "</scene>"))
    command = [sys.executable, "-m", "pbdr", "gradcheck", str(file), "ball.bsdf.reflectance.data", "--error", "1e-9"]
    command += ["--seeds", "4", "--spp", "4", "--fd-spp", "4", "-o", str(tmp_path / "maps")]
    env = {**os.environ, "COLUMNS": "80", "TERM": "dumb"}
    run = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert run.returncode == 1 and "inconclusive" in run.stdout, run.stdout + run.stderr
    assert max(len(line) for line in run.stdout.splitlines()[:-1]) <= 80
