"""Cases of skies that turn, and of instances that move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .cases import CASES, LIGHTS, Case, T, camera, diffuse, environment, floor, glow

SUN = [0.5, 0.2, 0.755]  # at 54.5°, between two knots of Mitsuba's table of the sun's brightness


def sunsky(**more: Any) -> dict:
    return {"type": "sunsky", "turbidity": 3.4, "sun_direction": SUN, **more}


def ground(**more: Any) -> dict:
    return {"type": "rectangle", "to_world": T().scale(8), "bsdf": diffuse(), **more}


def under_the_sky(
    name: str,
    key: str,
    direction: Any,
    step: float,
    sky: Callable[[], dict],
    look: tuple | None = None,
    **objects: Callable,
) -> None:
    """Register a scene with z up, seen from the south; ``look``: at what (default: the ground)."""

    def build() -> dict:
        to_world = T().look_at([0, -5, 4] if look is None else [0, -5, 1], list(look or (0, 0, 0)), [0, 0, 1])
        return {
            "type": "scene",
            "sensor": camera(to_world=to_world, fov=45 if look is None else 20),
            "sky": sky(),
            "ground": ground(),
            **{n: make() for n, make in objects.items()},
        }

    CASES[name] = Case(name, "sky", key, direction, step, build, 2)


def marble() -> dict:
    return {"type": "sphere", "center": [0, 0, 1.0], "radius": 0.6, "bsdf": diffuse(0.3, 0.4, 0.5)}


def wall() -> dict:
    standing = T().translate([0, 3, 0]).rotate([1, 0, 0], 90).scale(4)
    return {"type": "rectangle", "to_world": standing, "bsdf": diffuse(0.3, 0.4, 0.5)}


AT_THE_SUN = (5.0, -3.0, 8.55)
under_the_sky("sun_direction", "sky.sun_direction", [1, 0, 0], 0.01, sunsky)
under_the_sky("sun_behind_ball", "sky.sun_direction", [1, 0, 0], 0.01, sunsky, ball=marble)
under_the_sky("ball_under_sun", "ball.to_world", "translate_x", 0.01, sunsky, ball=marble)
under_the_sky("sunsky_turns", "sky.to_world", "rotate_x", 0.01, sunsky, wall=wall)
under_the_sky("sun_turbidity", "sky.turbidity", "uniform", 0.05, sunsky)
under_the_sky("sky_ground_albedo", "sky.albedo.value", "uniform", 0.05, sunsky)
under_the_sky("sun_by_hour", "sky.hour", "uniform", 0.01, lambda: {"type": "sunsky", "hour": 14.2})
under_the_sky("sun_seen", "sky.sun_direction", [1, 0, 0], 0.0015, lambda: sunsky(sun_aperture=3.0), AT_THE_SUN)
under_the_sky("camera_at_sun", "sensor.to_world", "rotate_x", 0.0015, lambda: sunsky(sun_aperture=3.0), AT_THE_SUN)
under_the_sky("camera_at_horizon", "sensor.to_world", "rotate_x", 0.0015, sunsky, (0.0, -20.0, 0.8))


def turning_map(name: str, direction: str, bsdf: Callable[[], dict]) -> None:
    """Register an environment map that turns over a floor and a mirror."""

    def build() -> dict:
        return {
            "type": "scene",
            "sensor": camera(origin=(0, 4, 5)),
            "sky": {**environment(), "to_world": T().rotate([1, 0, 0], 20)},
            "floor": floor(bsdf()),
            "mirror": {"type": "sphere", "center": [-1, 0, 0], "radius": 0.6, "bsdf": {"type": "conductor"}},
        }

    CASES[name] = Case(name, "sky", "sky.to_world", direction, 0.005, build, 3)


for _axis in "xyz":
    turning_map(f"envmap_rotate_{_axis}", f"rotate_{_axis}", diffuse)
turning_map("envmap_over_metal", "rotate_y", lambda: {"type": "roughconductor", "alpha": 0.2, "material": "Al"})


# ------------------------------------------------------------------------------ instances


def tilted() -> Any:
    # A unit vector as axis: else Mitsuba's matrix is no rotation, and its normals are not those of the surface.
    return T().translate([0.2, 0.4, 0]).rotate([2 / 3, 2 / 3, 1 / 3], 35)


def instance(to_world: Any) -> dict:
    return {"type": "instance", "to_world": to_world, "group": {"type": "ref", "id": "group"}}


def die() -> dict:
    return {"type": "cube", "to_world": T().scale(0.35), "bsdf": diffuse(0.2, 0.2, 0.5)}


def pebble() -> dict:
    return {"type": "sphere", "radius": 0.4, "bsdf": diffuse(0.5, 0.2, 0.2)}


def shown_twice(
    name: str,
    key: str,
    direction: str,
    shape: Callable[[], dict],
    light: str = "area",
    depth: int = 2,
    **objects: Callable,
) -> None:
    """Register two instances of one shape over a floor; ``first`` is stretched."""

    def build() -> dict:
        return {
            "type": "scene",
            "sensor": camera(origin=(0, 4, 5)),
            "light": LIGHTS[light](),
            "floor": floor(),
            "group": {"type": "shapegroup", "shape": shape()},
            "first": instance(tilted().scale([1, 1.3, 0.8])),
            "second": instance(T().translate([-1, -0.3, 0.3])),
            **{n: make() for n, make in objects.items()},
        }

    CASES[name] = Case(name, "instance", key, direction, 0.02, build, depth)


shown_twice("instance_translate_x", "first.to_world", "translate_x", die)
shown_twice("instance_rotate_y", "first.to_world", "rotate_y", die, depth=3)
shown_twice("instance_of_ball_scale", "first.to_world", "scale", pebble, depth=3)
shown_twice("instance_under_point", "first.to_world", "translate_x", pebble, "point")
shown_twice("instance_rests", "floor.to_world", "translate_y", die)
shown_twice("bsdf_of_instances", "group.shape.bsdf.reflectance.value", "uniform", die, depth=3)
shown_twice(
    "instance_receives",
    "lid.to_world",
    "translate_x",
    die,
    lid=lambda: {
        "type": "rectangle",
        "to_world": T().translate([0.4, 1.4, 0.3]).rotate([1, 0, 0], -90).scale(0.3),
        "bsdf": diffuse(0, 0, 0),
    },
)
shown_twice(
    "instance_before_sky",
    "first.to_world",
    "translate_x",
    lambda: {**pebble(), "bsdf": {"type": "roughconductor", "alpha": 0.3, "material": "Au"}},
    "constant",
    lamp=lambda: {
        "type": "rectangle",
        "to_world": T().translate([1, 3, 1]).rotate([1, 0, 0], 90).scale(0.5),
        "emitter": glow(9, 8, 6),
    },
)
