"""Situations of shapes: a matte one, moved, turned and scaled."""

from __future__ import annotations

import functools
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mitsuba as mi
import numpy as np

from ..meshes import as_file, uv_sphere
from .situations import T, add, bitmap, diffuse, stage

MATTE = diffuse(0.6, 0.3, 0.2)


def shape(name: str, make: Callable[[], Any], plugins: str = "", own: str = "thing.*", **more: Any) -> None:
    """Register a shape; ``make`` returns its dictionary."""

    def build() -> dict:
        return stage(thing=make())

    add(name, "Shape", plugins or name.split()[0], build, own, **more)


def register() -> None:
    turn = T().rotate([0.4364, 0.8729, 0.2182], 35)
    matte = {"bsdf": MATTE}
    shape("sphere", lambda: {"type": "sphere", "radius": 0.8, **matte}, core=True)
    shape("cube", lambda: {"type": "cube", "to_world": turn.scale(0.5), **matte}, core=True)
    shape("rectangle", lambda: {"type": "rectangle", "to_world": turn.scale([0.8, 0.6, 1]), **matte}, core=True)
    shape("disk", lambda: {"type": "disk", "to_world": turn.scale(0.8), **matte})
    shape(
        "cylinder", lambda: {"type": "cylinder", "p0": [-0.3, -0.6, 0], "p1": [0.2, 0.7, 0.4], "radius": 0.4, **matte}
    )
    shape("ply smooth", lambda: {**as_file(uv_sphere(8, seam=False, radius=0.8), True), **matte}, core=True)
    shape("ply flat", lambda: {**as_file(uv_sphere(4, seam=False, normals=False, radius=0.8), False), **matte})
    shape("ply textured", lambda: {**as_file(uv_sphere(8, seam=True, radius=0.8), True), "bsdf": _textured()})
    shape("obj", lambda: {"type": "obj", "filename": _obj(), **matte})
    shape("serialized", lambda: {"type": "serialized", "filename": _serialized(), **matte})
    # The default merges shapes of one material into one mesh: its key is not that of either.
    add("merge", "Shape", "merge", _merged, "*positions *normals *texcoords")
    group = {"type": "shapegroup", "ball": {"type": "sphere", "radius": 0.8, **matte}}
    box = {"type": "shapegroup", "box": {"type": "cube", "to_world": turn.scale(0.5), **matte}}
    for name, content in (("sphere", group), ("cube", box)):
        add(f"instance {name}", "Shape", "instance shapegroup", lambda c=content: _instance(c), "thing.* group.*")
    add("sdfgrid", "Shape", "sdfgrid", lambda: stage(thing=_distances()), "thing.*")
    shape("bsplinecurve", lambda: strand(MATTE))
    shape("linearcurve", lambda: strand(MATTE, "linearcurve"))
    shape("ellipsoids", lambda: _ellipsoids("ellipsoids"))
    shape("ellipsoidsmesh", lambda: _ellipsoids("ellipsoidsmesh"))


def _textured() -> dict:
    return {"type": "diffuse", "reflectance": bitmap()}


# ------------------------------------------------------------------------------ files


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    """Removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="pbdr-census-")


def _write(name: str, content: bytes) -> str:
    path = Path(_folder().name) / name
    path.write_bytes(content)
    return str(path)


def _ball() -> tuple[np.ndarray, np.ndarray]:
    """Positions [n, 3] and faces [m, 3]."""
    p = mi.traverse(uv_sphere(6, seam=False, radius=0.8))
    return np.array(p["vertex_positions"]).reshape(-1, 3), np.array(p["faces"]).reshape(-1, 3)


def _obj() -> str:
    positions, faces = _ball()
    lines = ["v {} {} {}".format(*p) for p in positions] + ["f {} {} {}".format(*(f + 1)) for f in faces]
    return _write("ball.obj", "\n".join(lines).encode())


def _serialized() -> str:
    """Mitsuba's own format, version 4: a header, one zlib stream per mesh, and a table of their offsets."""
    positions, faces = _ball()
    flags = 0x1000  # single precision
    content = struct.pack("<I", flags) + b"ball\0" + struct.pack("<QQ", len(positions), len(faces))
    content += positions.astype("<f4").tobytes() + faces.astype("<u4").tobytes()
    mesh = struct.pack("<HH", 0x041C, 4) + zlib.compress(content)
    return _write("ball.serialized", mesh + struct.pack("<QI", 0, 1))


def strand(bsdf: dict, kind: str = "bsplinecurve") -> dict:
    """A thick curve."""
    t = np.linspace(-1, 1, 8)
    points = np.stack([0.5 * np.sin(2 * t), t, 0.3 * t**2, 0.2 + 0.05 * np.cos(3 * t)], -1)
    text = "\n".join(" ".join(f"{x:.5f}" for x in row) for row in points) + "\n"
    return {"type": kind, "filename": _write(f"{kind}.txt", text.encode()), "bsdf": bsdf}


# ------------------------------------------------------------------------------ several parts


def _merged() -> dict:
    """Two meshes of one material: `mi.load_dict` makes one of them."""
    parts = {
        f"part{k}": {
            "type": "cube",
            "to_world": T().translate([x, -0.1, 0]).rotate([0.4364, 0.8729, 0.2182], 35).scale(0.35),
        }
        for k, x in enumerate((-0.5, 0.6))
    }
    return stage(thing={"type": "merge", **{k: {**v, "bsdf": MATTE} for k, v in parts.items()}})


def _instance(group: dict) -> dict:
    place = T().rotate([0, 1, 0.4], 20).scale([0.9, 1.1, 1])
    return stage(group=group, thing={"type": "instance", "to_world": place, "g": {"type": "ref", "id": "group"}})


def _distances() -> dict:
    """A knobbly ball; equal numbers of values along all axes, off the planes of the grid."""
    n = 12
    x, y, z = np.meshgrid(*3 * [np.linspace(-1, 1, n) + 1e-3], indexing="ij")
    r = np.sqrt(x**2 + y**2 + z**2)
    values = (r - 0.75 + 0.08 * np.sin(4 * x) * np.cos(3 * y)).astype(np.float32)
    place = T().translate([-0.9, -0.9, -0.9]).scale(1.8)
    return {"type": "sdfgrid", "grid": mi.TensorXf(values[..., None]), "to_world": place, "bsdf": MATTE}


def _ellipsoids(kind: str) -> dict:
    rng = np.random.default_rng(2)
    centers = np.array([[-0.4, 0, 0], [0.4, 0.2, 0.3], [0.1, -0.5, 0.2]])
    scales = rng.uniform(0.1, 0.2, (3, 3))
    turns = rng.normal(size=(3, 4))
    turns /= np.linalg.norm(turns, axis=1, keepdims=True)
    more = {"centers": centers, "scales": scales, "quaternions": turns}
    return {"type": kind, "bsdf": MATTE, **{k: mi.TensorXf(v.astype(np.float32)) for k, v in more.items()}}
