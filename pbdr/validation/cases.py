"""The catalogue of tiny scenes: one scalar θ each, grouped by what its derivative exercises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mitsuba as mi
import numpy as np

from .meshes import dome, mesh_file

CASES: dict[str, Case] = {}


@dataclass(frozen=True)
class Case:
    """A scene, a parameter and a direction.

    Attributes:
        build: returns the scene dictionary, integrator excluded.
        group: 'material', 'light', 'moving' (no silhouette changes), 'silhouette' or 'indirect'.
        step: central-difference step.
    """

    name: str
    group: str
    key: str
    direction: Any
    step: float
    build: Callable[[], dict]
    max_depth: int = 3

    def scene(self) -> Any:
        return mi.load_dict(self.build())


def case(group: str, key: str, direction: Any = "uniform", step: float = 0.005, max_depth: int = 3):
    """Register the decorated scene builder under its function's name."""

    def add(build: Callable[[], dict]) -> Callable[[], dict]:
        CASES[build.__name__] = Case(build.__name__, group, key, direction, step, build, max_depth)
        return build

    return add


# ------------------------------------------------------------------------------ ingredients


def T() -> Any:
    return mi.ScalarTransform4f()


def rgb(*value: float) -> dict:
    return {"type": "rgb", "value": list(value)}


def film(size: int = 16, filter: str = "gaussian", **more) -> dict:
    return {
        "type": "hdrfilm",
        "width": size,
        "height": size,
        "rfilter": {"type": filter},
        "sample_border": True,
        "pixel_format": "rgb",
        **more,
    }


def camera(kind: str = "perspective", origin=(0, 0, 5), fov: float = 40, **more) -> dict:
    d = {
        "type": kind,
        "to_world": T().look_at(list(origin), [0, 0, 0], [0, 1, 0]),
        "film": film(),
        "sampler": {"type": "multijitter"},
    }
    if kind != "orthographic":
        d["fov"] = fov
    return {**d, **more}


def world(*, sensor: dict | None = None, sky: float = 0.4, **objects: dict) -> dict:
    d: dict = {"type": "scene", "sensor": sensor or camera()}
    if sky:
        d["sky"] = {"type": "constant", "radiance": rgb(sky, 0.8 * sky, 1.2 * sky)}
    return {**d, **objects}


def diffuse(*value: float) -> dict:
    return {"type": "diffuse", "reflectance": rgb(*(value or (0.6, 0.4, 0.3)))}


def texture(size: int = 8, low: float = 0.1, high: float = 0.9, channels: int = 3, seed: int = 3) -> dict:
    """A smooth random texture, bilinear and clamped."""
    rng = np.random.default_rng(seed)
    data = rng.uniform(low, high, (size, size, channels)).astype(np.float32)
    return {"type": "bitmap", "data": mi.TensorXf(data), "raw": True, "wrap_mode": "clamp"}


def plane(bsdf: dict, **more) -> dict:
    return {"type": "rectangle", "to_world": T().rotate([1, 0, 0], -25).scale(4), "bsdf": bsdf, **more}


def glow(*value: float) -> dict:
    return {"type": "area", "radiance": rgb(*(value or (1.0, 0.8, 0.5)))}


def lamp() -> dict:
    return {
        "type": "rectangle",
        "to_world": T().translate([1.5, 3, 3]).rotate([1, 0, 0], 130).scale(0.7),
        "emitter": glow(9, 8, 6),
    }


def environment(size: int = 16) -> dict:
    y, x = np.mgrid[0:size, 0 : 2 * size] / size
    data = np.stack([1 + np.sin(3 * x + c) * np.cos(2 * y - c) for c in range(3)], -1).astype(np.float32)
    return {"type": "envmap", "bitmap": mi.Bitmap(data)}


# ------------------------------------------------------------------------------ materials

S = "plane.bsdf"


@case("material", S + ".reflectance.value")
def albedo():
    return world(plane=plane(diffuse()), lamp=lamp())


@case("material", S + ".reflectance.value", step=0.01)
def albedo_zero():
    box = {"type": "cube", "to_world": T().translate([0, 0.6, 0]).scale(0.5), "bsdf": diffuse(0.8, 0.8, 0.8)}
    return world(plane=plane(diffuse(0, 0, 0)), box=box)


@case("material", S + ".reflectance.data", "random")
def albedo_texture():
    return world(plane=plane({"type": "diffuse", "reflectance": texture()}), lamp=lamp())


@case("material", S + ".alpha.value", step=0.01)
def alpha():
    return world(plane=plane({"type": "roughconductor", "alpha": 0.3, "material": "Au"}), lamp=lamp())


@case("material", S + ".alpha.data", "random", step=0.01)
def alpha_texture():
    t = texture(channels=1, low=0.2, high=0.5)
    return world(plane=plane({"type": "roughconductor", "alpha": t, "material": "Au"}), lamp=lamp())


@case("material", S + ".base_color.value")
def principled_colour():
    return world(
        plane=plane({"type": "principled", "base_color": rgb(0.5, 0.4, 0.2), "roughness": 0.4, "metallic": 0.3}),
        lamp=lamp(),
    )


@case("material", S + ".roughness.value", step=0.01)
def principled_roughness():
    return world(plane=plane({"type": "principled", "base_color": rgb(0.5, 0.4, 0.2), "roughness": 0.4}), lamp=lamp())


@case("material", S + ".specular_reflectance.value")
def mirror_tint():
    return world(plane=plane({"type": "conductor", "specular_reflectance": rgb(0.7, 0.6, 0.5)}), lamp=lamp())


@case("material", "ball.bsdf.opacity.value")
def opacity():
    ball = {"type": "sphere", "bsdf": {"type": "mask", "opacity": 0.6, "nested": diffuse()}}
    return world(ball=ball, plane=plane(diffuse(0.3, 0.6, 0.3)))


# ------------------------------------------------------------------------------ lights


@case("light", "lamp.emitter.radiance.value", step=0.1)
def area_light():
    return world(plane=plane(diffuse()), lamp=lamp(), sky=0)


@case("light", "light.intensity.value", step=0.1)
def point_light():
    return world(plane=plane(diffuse()), light={"type": "point", "position": [1, 2, 2], "intensity": rgb(5, 4, 3)})


@case("light", "light.intensity.value", step=0.1)
def spot_light():
    spot = {"type": "spot", "to_world": T().look_at([1, 3, 3], [0, 0, 0], [0, 1, 0]), "intensity": rgb(20, 18, 15)}
    return world(plane=plane(diffuse()), light=spot)


@case("light", "sky.radiance.value")
def constant_light():
    return world(plane=plane(diffuse()))


@case("light", "light.data", "random", step=0.02)
def environment_map():
    return world(sky=0, plane=plane(diffuse()), light=environment())


@case("light", "light.irradiance.data", "random", step=0.05)
def projector_image():
    return world(plane=plane(diffuse()), light=_projector())


def _projector() -> dict:
    """Wide enough that the border of its image, a discontinuity, stays out of view."""
    return {
        "type": "projector",
        "fov": 85,
        "scale": 50,
        "irradiance": texture(6),
        "to_world": T().look_at([1, 1.5, 4], [0, 0, 0], [0, 1, 0]),
    }


# ------------------------------------------------------------------------------ moving, no silhouette


@case("moving", "plane.to_world", "translate_z")
def textured_plane():
    return world(plane=plane({"type": "diffuse", "reflectance": texture()}))


@case("moving", "plane.to_world", "rotate_x")
def rotating_plane():
    return world(sky=0, light=environment(), plane=plane({"type": "diffuse", "reflectance": texture()}))


@case("moving", "plane.to_world", "translate_z")
def plane_under_point():
    return world(
        plane=plane(diffuse()), light={"type": "point", "position": [1, 2, 2], "intensity": rgb(5, 4, 3)}, sky=0
    )


@case("moving", "plane.to_world", "translate_z")
def plane_under_spot():
    spot = {"type": "spot", "to_world": T().look_at([1, 3, 3], [0, 0, 0], [0, 1, 0]), "intensity": rgb(20, 18, 15)}
    return world(plane=plane(diffuse()), light=spot, sky=0)


@case("moving", "plane.to_world", "translate_z")
def plane_under_projector():
    return world(plane=plane(diffuse()), light=_projector(), sky=0)


@case("moving", "plane.to_world", "translate_z")
def plane_under_area():
    return world(plane=plane(diffuse()), lamp=lamp(), sky=0)


@case("moving", "glowing.to_world", "translate_x")
def textured_emitter():
    emitter = {"type": "area", "radiance": texture()}
    return world(sky=0, glowing={"type": "rectangle", "to_world": T().scale(4), "emitter": emitter})


@case("moving", "dome.vertex_positions", "random", step=0.01)
def shading_normals():
    """Light from the front only: where shading and true horizon differ, an environment would add a
    secondary boundary."""
    return world(sky=0, lamp=lamp(), dome={**dome(), "bsdf": diffuse()})


# ------------------------------------------------------------------------------ silhouettes


def outline(
    name: str,
    key: str,
    direction: str,
    make: Callable[[], dict],
    sensor: Callable[[], dict] | None = None,
    step: float = 0.005,
):
    """Register a shape in front of a sky."""

    def build() -> dict:
        return world(shape=make(), sensor=sensor() if sensor else None)

    CASES[name] = Case(name, "silhouette", key, direction, step, build, 2)


def _shape(kind: str, **more) -> dict:
    return {"type": kind, "emitter": glow(), **more}


def _tilted(kind: str, size: float = 0.8, **more) -> dict:
    return _shape(kind, to_world=T().rotate([1, 2, 0.5], 35).scale(size), **more)


def _cylinder() -> dict:
    return _shape("cylinder", p0=[-0.3, -0.9, 0], p1=[0.2, 0.9, 0.4], radius=0.5, flip_normals=False)


for _direction in ("translate_x", "scale"):
    outline(f"sphere_{_direction}", "shape.to_world", _direction, lambda: _shape("sphere"))
    outline(f"disk_{_direction}", "shape.to_world", _direction, lambda: _tilted("disk", 1.0))
    outline(f"rectangle_{_direction}", "shape.to_world", _direction, lambda: _tilted("rectangle"))
    outline(f"cylinder_{_direction}", "shape.to_world", _direction, _cylinder)
    outline(f"cube_{_direction}", "shape.vertex_positions", _direction, lambda: _tilted("cube", 0.6))
    outline(
        f"smooth_mesh_{_direction}",
        "shape.vertex_positions",
        _direction,
        lambda: {**mesh_file(seam=False), "emitter": glow()},
    )
    outline(
        f"flat_mesh_{_direction}",
        "shape.vertex_positions",
        _direction,
        lambda: {**mesh_file(6, seam=False, normals=False), "bsdf": diffuse()},
    )
    outline(
        f"seamed_mesh_{_direction}",
        "shape.vertex_positions",
        _direction,
        lambda: {**mesh_file(seam=True), "emitter": glow()},
    )
for _rows, _normals, _name in ((100, True, "fine_mesh"), (200, False, "fine_flat_mesh")):
    outline(
        _name,
        "shape.vertex_positions",
        "translate_x",
        lambda rows=_rows, normals=_normals: {**mesh_file(rows, seam=True, normals=normals), "emitter": glow()},
    )
outline("cube_rotate", "shape.vertex_positions", "rotate_y", lambda: _tilted("cube", 0.6))
outline("cylinder_rotate", "shape.to_world", "rotate_z", _cylinder)


def lit(name: str, key: str, direction: str, make: Callable[[], dict]):
    """Register a convex reflecting shape in an environment, so that no shadow moves."""

    def build() -> dict:
        plastic = {"type": "roughplastic", "diffuse_reflectance": rgb(0.2, 0.4, 0.7), "alpha": 0.2}
        return world(sky=0, light=environment(), shape={**make(), "bsdf": plastic})

    CASES[name] = Case(name, "silhouette", key, direction, 0.02, build, 2)


lit("lit_sphere", "shape.to_world", "translate_x", lambda: {"type": "sphere"})
lit(
    "lit_cube",
    "shape.vertex_positions",
    "rotate_y",
    lambda: {"type": "cube", "to_world": T().rotate([1, 2, 0.5], 35).scale(0.6)},
)
lit("lit_smooth_mesh", "shape.vertex_positions", "translate_x", lambda: mesh_file(64, seam=True))
lit("lit_flat_mesh", "shape.vertex_positions", "scale", lambda: mesh_file(6, seam=False, normals=False))

for _filter in ("box", "tent", "gaussian", "mitchell", "catmullrom", "lanczos"):
    outline(
        f"filter_{_filter}",
        "shape.to_world",
        "translate_x",
        lambda: _shape("sphere"),
        lambda f=_filter: camera(film=film(filter=f)),
    )
outline(
    "thin_lens",
    "shape.to_world",
    "translate_x",
    lambda: _tilted("rectangle"),
    lambda: camera("thinlens", aperture_radius=0.3, focus_distance=3.5),
)
outline(
    "thin_lens_sphere",
    "shape.to_world",
    "translate_x",
    lambda: _shape("sphere"),
    lambda: camera("thinlens", aperture_radius=0.3, focus_distance=3.5),
)
outline(
    "orthographic",
    "shape.to_world",
    "translate_x",
    lambda: _shape("sphere"),
    lambda: camera("orthographic", to_world=T().look_at([0, 0, 5], [0, 0, 0], [0, 1, 0]).scale(2)),
)
outline(
    "orthographic_cube",
    "shape.vertex_positions",
    "translate_x",
    lambda: _tilted("cube", 0.6),
    lambda: camera("orthographic", to_world=T().look_at([0, 0, 5], [0, 0, 0], [0, 1, 0]).scale(2)),
)
outline(
    "principal_point",
    "shape.to_world",
    "translate_x",
    lambda: _shape("sphere"),
    lambda: camera(principal_point_offset_x=0.15, principal_point_offset_y=-0.1),
)
outline(
    "crop",
    "shape.to_world",
    "translate_x",
    lambda: _shape("sphere"),
    lambda: camera(film=film(32, crop_width=12, crop_height=14, crop_offset_x=4, crop_offset_y=9)),
)
outline(
    "no_border",
    "shape.to_world",
    "scale",
    lambda: _shape("sphere", radius=1.95),
    lambda: camera(film=film(sample_border=False)),
)
outline(
    "alpha_channel",
    "shape.to_world",
    "translate_x",
    lambda: _shape("sphere"),
    lambda: camera(
        film=film(pixel_format="rgba"),
    ),
)
outline(
    "batch",
    "shape.to_world",
    "translate_x",
    lambda: _shape("sphere"),
    lambda: {
        "type": "batch",
        "left": camera(origin=(1, 0, 5)),
        "right": camera(origin=(-2, 1, 4)),
        "film": {**film(sample_border=False), "width": 32},
    },
)
outline(
    "near_plane",
    "shape.to_world",
    "translate_x",
    lambda: _shape("rectangle", to_world=T().rotate([0, 1, 0], 70).scale(6)),
)


@case("silhouette", "ball.to_world", "translate_x", max_depth=2)
def occluded_ball():
    """Part of the outline is hidden by a nearer shape that stands still."""
    front = {"type": "rectangle", "to_world": T().translate([0.6, 0.4, 2]).scale(0.4), "emitter": glow(0.2, 0.5, 0.9)}
    return world(ball=_shape("sphere"), front=front)


from . import indirect_cases  # noqa: E402, F401 (registers its cases)
