"""The catalogue of tiny scenes: one scalar θ each, grouped by what its derivative exercises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import mitsuba as mi
import numpy as np

from .meshes import dome

CASES: dict[str, Case] = {}


@dataclass(frozen=True)
class Case:
    """A scene, a parameter and a direction.

    Attributes:
        build: returns the scene dictionary, integrator excluded.
        group: 'material', 'light', 'moving' (no silhouette changes), 'silhouette', 'indirect', 'contact' or
            'jump' (inside surfaces).
        step: central-difference step.
        integrator: further parameters of the integrator.
    """

    name: str
    group: str
    key: str
    direction: Any
    step: float
    build: Callable[[], dict]
    max_depth: int = 3
    integrator: dict = field(default_factory=dict)

    def scene(self) -> Any:
        return mi.load_dict(self.build())


def case(group: str, key: str, direction: Any = "uniform", step: float = 0.005, max_depth: int = 3, **integrator: Any):
    """Register the decorated scene builder under its function's name."""

    def add(build: Callable[[], dict]) -> Callable[[], dict]:
        CASES[build.__name__] = Case(build.__name__, group, key, direction, step, build, max_depth, integrator)
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


def faded(size: int = 8) -> dict:
    """The same with a black border."""
    data = np.zeros((size, size, 3), np.float32)
    data[1:-1, 1:-1] = np.random.default_rng(4).uniform(0.3, 0.9, (size - 2, size - 2, 3))
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


LIGHTS: dict[str, Callable[[], dict]] = {
    "point": lambda: {"type": "point", "position": [1, 4, 1], "intensity": rgb(20, 18, 15)},
    "directional": lambda: {"type": "directional", "direction": [-0.3, -1, -0.2], "irradiance": rgb(2, 1.8, 1.5)},
    "spot": lambda: {
        "type": "spot",
        "to_world": T().look_at([1, 4, 1], [0, 0, 0], [0, 0, 1]),
        "cutoff_angle": 50,
        "intensity": rgb(20, 18, 15),
    },
    "projector": lambda: {
        "type": "projector",
        "to_world": T().look_at([1, 4, 1], [0, 0, 0], [0, 0, 1]),
        "fov": 40,
        "scale": 60,
        "irradiance": faded(),
    },
    "area": lambda: {
        "type": "rectangle",
        "to_world": T().translate([1, 3, 1]).rotate([1, 0, 0], 90).scale(0.5),
        "emitter": glow(9, 8, 6),
    },
    "constant": lambda: {"type": "constant", "radiance": rgb(0.4, 0.3, 0.5)},
    "environment": environment,
}


def floor(bsdf: dict | None = None) -> dict:
    lying = T().translate([0, -1, 0]).rotate([1, 0, 0], -90).scale(4)
    return {"type": "rectangle", "to_world": lying, "bsdf": bsdf or diffuse()}


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


from . import (  # noqa: E402 (they register)
    border_cases,  # noqa: F401
    coat_cases,  # noqa: F401
    contact_cases,  # noqa: F401
    dirac_cases,  # noqa: F401
    indirect_cases,  # noqa: F401
    jump_cases,  # noqa: F401
    silhouette_cases,  # noqa: F401
    sky_cases,  # noqa: F401
    translucent_cases,  # noqa: F401
)
