"""A tiny experiment: a ball whose size and colour are to be recovered."""

import shutil
from pathlib import Path

import mitsuba as mi
import numpy as np

from pbdr.validation.meshes import uv_sphere

SCENE = """<scene version="3.0.0"><integrator type="prb_edge"/><emitter type="constant"/>
<emitter type="point" id="lamp"><point name="position" x="1" y="4" z="2"/><rgb name="intensity" value="6"/></emitter>
<shape type="rectangle" id="floor"><transform name="to_world"><rotate x="1" angle="-90"/><scale value="3"/>
<translate y="-1.2"/></transform></shape>
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
shares = [1.0, 1.0, 1.0]
checkpoint_every = 2
image_every = 4
"""


def write_scene(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    uv_sphere(6).write_ply(str(folder / "start.ply"))
    uv_sphere(6, radius=1.2).write_ply(str(folder / "target.ply"))
    mi.Bitmap(np.full((4, 4, 3), 0.5, np.float32)).write(str(folder / "grey.exr"))
    mi.Bitmap(np.full((4, 4, 3), 0.8, np.float32)).write(str(folder / "bright.exr"))
    (folder / "scene.xml").write_text(SCENE.format(mesh="start.ply", map="grey.exr"))
    (folder / "reference.xml").write_text(SCENE.format(mesh="target.ply", map="bright.exr"))
    (folder / "optimize.toml").write_text(TOML)
    return folder


def cut_short(run: Path, folder: Path, step: int) -> Path:
    """Copy a run folder as if it had been stopped after ``step``."""
    shutil.copytree(run, folder)
    for path in (folder / "checkpoints").glob("step-*"):
        if int(path.stem.split("-")[1]) > step:
            path.unlink()
    return folder
