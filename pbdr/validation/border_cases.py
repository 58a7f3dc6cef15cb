"""Cases of borders that coincide, and of faces that look different from their neighbours for no reason of their shape."""

from __future__ import annotations

import mitsuba as mi
import numpy as np

from .cases import T, camera, case, diffuse, world
from .jump_cases import paint
from .meshes import as_file, make_mesh

SIDES = (([0, 1, 0], 0), ([0, 1, 0], 90), ([0, 1, 0], 180), ([0, 1, 0], 270), ([1, 0, 0], 90), ([1, 0, 0], -90))
DARK = {"type": "twosided", "side": {"type": "diffuse", "reflectance": 0.2}}


def six_sides() -> dict:
    """A box made of rectangles, which share their borders."""
    pose = T().rotate([0, 1, 0], 30).rotate([1, 0, 0], 20).scale(0.6)
    sides = {}
    for k, (axis, angle) in enumerate(SIDES):
        to_world = pose.rotate(axis, angle).translate([0, 0, 1])
        sides[f"side{k}"] = {"type": "rectangle", "to_world": to_world, "bsdf": diffuse(0.1, 0.15, 0.2)}
    return sides


def coarse_ball(seam: bool = False, normals: bool = False) -> mi.Mesh:
    """36 vertices and 60 faces; with a ``seam`` both its borders are there, and differ by rounding."""
    t, f = np.linspace(0.1, np.pi - 0.1, 6), np.linspace(0, 2 * np.pi, 7)
    t, f = np.meshgrid(t, f if seam else f[:-1], indexing="ij")
    n = np.stack([np.sin(t) * np.cos(f), np.cos(t), np.sin(t) * np.sin(f)], -1).reshape(-1, 3)
    columns = 7 if seam else 6
    i, j = (x.ravel() for x in np.meshgrid(np.arange(5), np.arange(6), indexing="ij"))
    a, b = i * columns + j, i * columns + (j + 1) % columns
    faces = np.concatenate([np.stack([a, b, a + columns], 1), np.stack([b, b + columns, a + columns], 1)])
    return make_mesh(0.8 * n, faces, None, normals)


def turned_square() -> mi.Mesh:
    """Two triangles of a flat square, of which one shows its back."""
    p = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32)
    return make_mesh(p, np.array([[0, 1, 2], [0, 3, 2]]), None, False)


@case("jump", "sensor.to_world", "translate_x", max_depth=2)
def six_sides_seen():
    return world(sensor=camera(origin=(0, 1, 4)), **six_sides())


@case("shadow", "lamp.position", "translate_x", max_depth=2)
def six_sides_shadow():
    floor = {
        "type": "rectangle",
        "to_world": T().translate([0, -1.2, 0]).rotate([1, 0, 0], -90).scale(4),
        "bsdf": diffuse(),
    }
    light = {"type": "point", "position": [1, 3, 1], "intensity": 8.0}
    return world(sensor=camera(origin=(0, 3, 4)), sky=0.2, floor=floor, lamp=light, **six_sides())


@case("jump", "sensor.to_world", "translate_y", max_depth=2)
def closed_can():
    """A cylinder and the disks that close it."""
    lid = T().rotate([1, 0, 0], -90).scale(0.5)
    can = {"type": "cylinder", "p0": [0, -0.5, 0], "p1": [0, 0.5, 0], "radius": 0.5, "bsdf": DARK}
    top = {"type": "disk", "to_world": T().translate([0, 0.5, 0]) @ lid, "bsdf": DARK}
    bottom = {"type": "disk", "to_world": T().translate([0, -0.5, 0]).rotate([1, 0, 0], 180) @ lid, "bsdf": DARK}
    return world(sensor=camera(origin=(0, 1.5, 4)), can=can, top=top, bottom=bottom)


@case("jump", "sensor.to_world", "rotate_y", max_depth=2)
def instances_side_by_side():
    """Two instances whose squares share an edge."""
    square = {"type": "rectangle", "to_world": T().translate([0, 0, 0.5]).scale(0.5), "bsdf": DARK}
    wings = {
        f"wing{k}": {
            "type": "instance",
            "to_world": T().rotate([0, 1, 0], angle),
            "group": {"type": "ref", "id": "group"},
        }
        for k, angle in enumerate((30, 120))
    }
    return world(sensor=camera(origin=(0, 1, 4)), group={"type": "shapegroup", "square": square}, **wings)


@case("silhouette", "ball.vertex_positions", "translate_x", max_depth=2)
def seam_off_by_rounding():
    return world(sensor=camera(origin=(0, 1, 4)), ball={**as_file(coarse_ball(True), True), "bsdf": DARK})


@case("jump", "square.vertex_positions", "translate_x", max_depth=2)
def turned_face():
    return world(square={**as_file(turned_square(), False), "bsdf": diffuse(0.8, 0.7, 0.6)})


@case("jump", "ball.vertex_positions", "translate_x", max_depth=2)
def no_texture_coordinates():
    """Each face of the ball has the whole map."""
    data = np.random.default_rng(3).uniform(0.1, 0.9, (4, 4, 3)).astype(np.float32)
    bsdf = paint({"type": "bitmap", "data": mi.TensorXf(data), "raw": True})
    return world(sensor=camera(origin=(0, 1, 4)), ball={**as_file(coarse_ball(normals=True), True), "bsdf": bsdf})


def under_spot(**floor) -> dict:
    """A floor in the light of a spot without falloff."""
    pose = T().look_at([0, 2, 1], [0, -1, 0], [0, 0, 1])
    spot = {"type": "spot", "to_world": pose, "cutoff_angle": 18.0, "beam_width": 18.0, "intensity": 10.0}
    turned = T().translate([0, -1, 0]).rotate([1, 0, 0], -90).scale(8)
    return world(
        sensor=camera(origin=(0, 3, 4)), sky=0.1, floor={"type": "rectangle", "to_world": turned, **floor}, spot=spot
    )


@case("jump", "spot.to_world", "rotate_x", max_depth=2)
def hard_spot_turns():
    return under_spot(bsdf=diffuse())


@case("jump", "spot.to_world", "rotate_x", max_depth=2)
def hard_spot_on_instance():
    scene = under_spot(bsdf=diffuse())
    floor = scene.pop("floor")
    instance = {"type": "instance", "to_world": floor.pop("to_world"), "group": {"type": "ref", "id": "group"}}
    return scene | {"group": {"type": "shapegroup", "floor": floor}, "floor": instance}


@case("jump", "floor.to_world", "translate_y", max_depth=2)
def floor_under_hard_spot():
    return under_spot(bsdf=diffuse())


@case("jump", "sensor.to_world", "rotate_y", max_depth=2)
def hard_spot_seen():
    return under_spot(bsdf=diffuse())


@case("jump", "ball.to_world", "translate_x", max_depth=3)
def ball_under_hard_spot():
    """The border lies on ball and floor."""
    ball = {"type": "sphere", "center": [0.6, -0.5, 0], "radius": 0.5, "bsdf": diffuse(0.2, 0.5, 0.7)}
    return {**under_spot(bsdf=diffuse()), "ball": ball}
