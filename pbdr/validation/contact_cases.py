"""Moving things that touch others, where vertices of a path come as close to one another as one likes; faces seen edge-on."""

from __future__ import annotations

import mitsuba as mi
import numpy as np

from . import meshes
from .cases import LIGHTS, T, camera, case, diffuse, floor, glow, rgb, world


def scene(light: str = "constant", sensor: dict | None = None, ground: dict | None = None, **objects: dict) -> dict:
    seen = sensor or camera(origin=(1, 2.2, 5), fov=30)
    return {"type": "scene", "sensor": seen, "light": LIGHTS[light](), "floor": floor(ground), **objects}


def standing(bsdf: dict | None = None, lift: float = 0.0) -> dict:
    """A box on the floor."""
    to_world = T().translate([0, lift - 0.4, 0]).rotate([0, 1, 0], 20).scale(0.6)
    return {"type": "cube", "to_world": to_world, "bsdf": bsdf or diffuse(0.6, 0.6, 0.5)}


def rough_glass() -> dict:
    return {"type": "roughdielectric", "alpha": 0.3}


@case("contact", "box.vertex_positions", "translate_x", 0.02)
def box_on_floor():
    return scene(box=standing())


@case("contact", "box.vertex_positions", "translate_x", 0.02, 5)
def box_on_floor_deep():
    return scene(box=standing())


@case("contact", "floor.to_world", "translate_y", 0.01)
def floor_under_box():
    return scene(box=standing(lift=0.02))


@case("contact", "box.vertex_positions", "rotate_y", 2.0)
def box_turns_under_a_sky():
    return scene("environment", box=standing(rgb_glossy()))


@case("contact", "box.vertex_positions", "translate_x", 0.02)
def box_on_floor_by_point():
    return scene("point", box=standing())


@case("contact", "box.vertex_positions", "translate_x", 0.02)
def box_on_floor_by_area():
    return scene("area", box=standing())


@case("contact", "box.vertex_positions", "translate_x", 0.02, 2)
def box_nearly_on_floor():
    """Rays that leave the floor begin above the box's lower face."""
    return scene("area", box=standing(lift=1e-4))


@case("contact", "box.vertex_positions", "translate_x", 0.02)
def glowing_box_on_floor():
    return scene(box={**standing(), "emitter": glow(0.8, 0.6, 0.4)})


@case("contact", "ball.to_world", "translate_x", 0.02)
def ball_on_floor():
    return scene(ball={"type": "sphere", "center": [0, -0.5, 0], "radius": 0.5, "bsdf": diffuse(0.6, 0.6, 0.5)})


# ------------------------------------------------------------------------------ surfaces that pass through each other


@case("contact", "box.vertex_positions", "scale", 0.02, 2)
def box_through_floor():
    return scene("area", box=standing(lift=-0.25))


@case("contact", "ball.to_world", "translate_y", 0.02, 2)
def ball_through_floor():
    return scene(ball={"type": "sphere", "center": [0, -0.8, 0], "radius": 0.5, "bsdf": diffuse(0.6, 0.6, 0.5)})


@case("contact", "pipe.to_world", "rotate_x", 1.0, 2)
def pipe_through_ball():
    pipe = {
        "type": "cylinder",
        "p0": [-0.9, 0.1, 0.2],
        "p1": [0.9, 0.3, 0],
        "radius": 0.25,
        "bsdf": diffuse(0.2, 0.3, 0.6),
    }
    return scene(pipe=pipe, ball={"type": "sphere", "radius": 0.5, "bsdf": diffuse(0.6, 0.6, 0.5)})


@case("contact", "sensor.to_world", "translate_x", 0.02, 2)
def camera_before_ball_through_box():
    ball = {"type": "sphere", "center": [0.3, 0.2, 0.5], "radius": 0.4, "bsdf": diffuse(0.1, 0.2, 0.7)}
    return scene("area", box=standing(), ball=ball)


@case("contact", "box.vertex_positions", "translate_x", 0.02, 2)
def mesh_through_mesh():
    other = {**meshes.mesh_file(8, seam=False), "bsdf": diffuse(0.1, 0.2, 0.7)}
    return scene(box=standing(), ball=other)


@case("contact", "instance.to_world", "translate_x", 0.02, 2)
def ball_through_box_of_a_group():
    ball = {"type": "sphere", "center": [0.3, 0.4, 0.3], "radius": 0.45, "bsdf": diffuse(0.1, 0.2, 0.7)}
    group = {"type": "shapegroup", "box": standing(), "ball": ball}
    return scene(
        group=group,
        instance={"type": "instance", "to_world": T().translate([0, 0.2, 0]), "group": {"type": "ref", "id": "group"}},
    )


@case("contact", "sensor.to_world", "translate_x", 0.02)
def camera_before_box():
    return scene(box=standing())


@case("contact", "glass.vertex_positions", "translate_x", 0.02, 4)
def rough_glass_box():
    return scene(glass=standing(rough_glass(), 0.3))


def rgb_glossy() -> dict:
    return {"type": "roughconductor", "alpha": 0.4, "specular_reflectance": rgb(0.8, 0.7, 0.6)}


@case("contact", "box.vertex_positions", "translate_x", 0.02)
def box_on_checkerboard():
    colours = {"color0": rgb(0.1, 0.1, 0.1), "color1": rgb(0.9, 0.8, 0.7)}
    ground = {"type": "checkerboard", **colours, "to_uv": mi.ScalarTransform4f().scale([9, 9, 1])}
    # Off the floor: what is near a surface with jumps inside is not followed, and its variance has no bound at a contact.
    return scene(ground={"type": "diffuse", "reflectance": ground}, box=standing(lift=0.08))


# ------------------------------------------------------------------------------ faces that are seen exactly edge-on


def upright(bsdf: dict, **place: float) -> dict:
    return {
        "type": "cube",
        "to_world": T().translate([place.get("x", 0), place.get("y", 0), 0]).scale(0.5),
        "bsdf": bsdf,
    }


@case("silhouette", "box.vertex_positions", "translate_x", 0.01, 2)
def edge_on_orthographic():
    return {
        "type": "scene", "light": LIGHTS["constant"](), "box": upright(diffuse()),
        "sensor": camera("orthographic", to_world=T().look_at([0, 0, 5], [0, 0, 0], [0, 1, 0]).scale([2, 2, 1])),
    }  # fmt: skip


@case("silhouette", "sensor.to_world", "translate_x", 0.01, 2)
def edge_on_perspective():
    return {"type": "scene", "light": LIGHTS["constant"](), "box": upright(diffuse(), x=0.5), "sensor": camera()}


@case("indirect", "box.vertex_positions", "translate_x", 0.01, 2)
def edge_on_shadow():
    light = {"type": "directional", "direction": [0, -1, 0], "irradiance": rgb(2, 1.8, 1.5)}
    return {**scene(box=upright(diffuse(0.2, 0.2, 0.5))), "light": light}


def turning(axis: tuple, angle: float) -> np.ndarray:
    return np.array(T().rotate(list(axis), angle).matrix)[:3, :3]


def divided_box(levels: int, edge: float, *turns: tuple) -> dict:
    """A finely divided box, turned so that no axis is special."""
    corners, faces = meshes.divided_box(levels, edge)
    for axis, angle, offset in turns:
        corners = (corners + offset) @ turning(axis, angle).T
    return meshes.as_file(meshes.make_mesh(corners, faces, None, False), False)


def divided_box_edge_on(levels: int = 5) -> dict:
    """The plane of one of its sides passes through the sensor: of its many faces each is edge-on up to rounding."""
    turn = turning((1, 2, 0.5), 35)
    origin, target, up = (list(turn @ np.array(v)) for v in ([0.5, 0.1, 5.0], [0.2, 0, 0], [0, 1, 0]))
    sensor = camera(to_world=T().look_at(origin, target, up), fov=20)
    box = {**divided_box(levels, 1.0, ([1, 2, 0.5], 35, [0, 0, 0])), "emitter": glow()}
    return world(sensor=sensor, box=box)


@case("indirect", "box.vertex_positions", "translate_x", 0.02, 2)
def shadow_of_divided_box(levels: int = 5) -> dict:
    """Light falls along four of its sides."""
    tilt = ([1, 0, 0.3], 15)
    direction = list(turning(*tilt) @ np.array([0, -1.0, 0]))
    light = {"type": "directional", "direction": direction, "irradiance": rgb(2, 1.8, 1.5)}
    box = {
        **divided_box(levels, 0.8, ([0, 1, 0], 20, [0, 0, 0]), (*tilt, [0.1, 0.3, 0])),
        "bsdf": diffuse(0.2, 0.2, 0.5),
    }
    return {"type": "scene", "sensor": camera(origin=(0, 4, 5)), "light": light, "floor": floor(), "box": box}
