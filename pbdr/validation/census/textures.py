"""Situations of textures: on a tilted sheet, in a lamp, or as a roughness."""

from __future__ import annotations

from typing import Any

import mitsuba as mi
import numpy as np

from ..meshes import uv_sphere
from .situations import T, add, bitmap, diffuse, rgb, sheet, stage

MOVES = (("thing.to_world", "translate_x"),)


def pattern(name: str, texture: Any, plugins: str = "", also: tuple = MOVES, **more: Any) -> None:
    """Register a texture as the reflectance of a sheet; ``texture`` makes its dictionary."""

    def build() -> dict:
        return stage(thing=sheet({"type": "diffuse", "reflectance": texture()}))

    add(name, "Texture", plugins or name.split()[0], build, "thing.bsdf.reflectance*", also=also, **more)


def register() -> None:
    pattern("bitmap", bitmap, core=True)
    pattern("bitmap clamp", lambda: bitmap(wrap_mode="clamp", to_uv=T().scale([1.3, 0.8, 1])))
    pattern("bitmap mirror", lambda: bitmap(wrap_mode="mirror", to_uv=T().scale([2.3, 1.8, 1])))
    pattern("bitmap nearest", lambda: bitmap(filter_type="nearest"))
    pattern("bitmap gray", lambda: bitmap(1))
    checks = {"color0": rgb(0.2, 0.3, 0.6), "color1": rgb(0.8, 0.6, 0.3), "to_uv": T().scale([3, 2, 1])}
    pattern("checkerboard", lambda: {"type": "checkerboard", **checks}, core=True)
    pattern("srgb", lambda: rgb(0.6, 0.3, 0.2))
    pattern("uniform", lambda: {"type": "uniform", "value": 0.6}, core=True)
    pattern("rawconstant", lambda: {"type": "rawconstant", "value": [0.6, 0.3, 0.2]}, variants=("rgb",))
    spectrum = {"wavelengths": "400,500,600,700", "values": "0.2,0.4,0.7,0.5"}
    pattern("irregular", lambda: {"type": "irregular", **spectrum}, variants=("spectral",), core=True)
    pattern(
        "regular",
        lambda: {"type": "regular", "wavelength_min": 400, "wavelength_max": 700, "values": "0.2,0.4,0.7,0.5"},
        variants=("spectral",),
        core=True,
    )
    pattern("volume", lambda: {"type": "volume", "volume": _cells()}, "volume gridvolume")
    pattern("volume constant", lambda: {"type": "volume", "volume": _constant()}, "volume constvolume")
    for name, light in (
        ("d65", {"type": "d65", "scale": 4.0}),
        ("blackbody", {"type": "blackbody", "temperature": 4500.0}),
    ):
        add(name, "Texture", name, lambda x=light: _lit(x), "lamp.emitter.radiance*", variants=("spectral",), core=True)
    for kind in ("vertex", "face"):
        add(f"mesh_attribute {kind}", "Texture", "mesh_attribute", lambda k=kind: _painted(k), f"thing.{kind}_color",
            also=(("thing.vertex_positions", "translate_x"),), core=kind == "vertex")  # fmt: skip


def _lit(radiance: dict) -> dict:
    lamp = stage()["lamp"]
    return stage(thing=sheet(diffuse(0.6, 0.3, 0.2)), lamp={**lamp, "emitter": {"type": "area", "radiance": radiance}})


def _cells() -> dict:
    data = np.random.default_rng(7).uniform(0.2, 0.8, (3, 3, 3, 3)).astype(np.float32)
    place = T().translate([-1.5, -1.5, -1.5]).scale(3)
    return {"type": "gridvolume", "grid": mi.VolumeGrid(data), "to_world": place, "raw": True}


def _constant() -> dict:
    return {"type": "constvolume", "value": rgb(0.6, 0.3, 0.2)}


def _painted(kind: str) -> dict:
    """A ball whose colours are kept at its vertices or faces."""
    mesh = uv_sphere(5, seam=False, normals=kind == "vertex", radius=0.8)
    count = mesh.vertex_count() if kind == "vertex" else mesh.face_count()
    colours = np.random.default_rng(11).uniform(0.2, 0.8, 3 * count).astype(np.float32)
    props = mi.Properties()
    props["bsdf"] = mi.load_dict(
        {"type": "diffuse", "reflectance": {"type": "mesh_attribute", "name": f"{kind}_color"}}
    )
    painted = mi.Mesh(
        "thing", mesh.vertex_count(), mesh.face_count(), props, has_vertex_normals=kind == "vertex",
        has_vertex_texcoords=False,
    )  # fmt: skip
    painted.add_attribute(f"{kind}_color", 3, colours)
    source, target = mi.traverse(mesh), mi.traverse(painted)
    for key in ("vertex_positions", "faces"):
        target[key] = source[key]
    target.update()
    return stage(thing=painted)
