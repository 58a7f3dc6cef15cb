"""Cases of jumps inside surfaces: checkerboards, nearest-neighbour bitmaps, colours of faces, perturbed normals."""

from __future__ import annotations

from collections.abc import Callable

import mitsuba as mi
import numpy as np

from .cases import CASES, Case, T, camera, diffuse, lamp, rgb, world
from .meshes import as_file, make_mesh, mesh_file, uv_sphere


def jump(name: str, key: str, direction: str, build: Callable[[], dict], max_depth: int = 2, step: float = 0.01):
    """Register a scene."""
    CASES[name] = Case(name, "jump", key, direction, step, build, max_depth)


def checkerboard(u: float = 3, v: float | None = None, low: float = 0.1, high: float = 0.8) -> dict:
    scale = mi.ScalarTransform3f().scale([u, u if v is None else v])
    return {"type": "checkerboard", "color0": low, "color1": high, "to_uv": scale}


def stripe() -> dict:
    """Dark on one half, bright on the other."""
    return checkerboard(1, 0.4)


def nearest(size: int = 4, low: float = 0.1, high: float = 0.9, channels: int = 3) -> dict:
    data = np.random.default_rng(3).uniform(low, high, (size, size, channels)).astype(np.float32)
    return {"type": "bitmap", "data": mi.TensorXf(data), "raw": True, "filter_type": "nearest"}


def paint(texture: dict) -> dict:
    return {"type": "diffuse", "reflectance": texture}


def board(bsdf: dict | None = None, **more) -> dict:
    turned = T().rotate([0, 1, 0], 20).scale(1.3)
    return {"type": "rectangle", "to_world": turned, **({} if bsdf is None else {"bsdf": bsdf}), **more}


def bumpy(normals: bool, nested: dict | None = None, **more) -> dict:
    """A bump or a normal map of coarse random texels."""
    rng, nested = np.random.default_rng(3), nested or diffuse(0.8, 0.6, 0.5)
    if normals:
        slopes = 0.5 + 0.125 * rng.normal(size=(8, 8, 2))
        data = np.concatenate([slopes, np.ones((8, 8, 1))], -1).astype(np.float32)
        return {"type": "normalmap", "normalmap": _raw(data), "nested": nested, **more}
    data = rng.uniform(0, 0.3, (8, 8, 1)).astype(np.float32)
    return {"type": "bumpmap", "height": _raw(data), "nested": nested, **more}


def _raw(data: np.ndarray) -> dict:
    return {"type": "bitmap", "data": mi.TensorXf(data), "raw": True}


def low_poly(**more) -> dict:
    """A ball of 224 faces with the normals of a smooth one, which turn away from the viewer before its outline."""
    return {**as_file(uv_sphere(8, seam=False), True), **more}


def coloured_sheet(n: int = 3) -> dict:
    """A flat sheet of triangles, a random colour each."""
    y, x = np.mgrid[0 : n + 1, 0 : n + 1] * (3 / n) - 1.5
    p = np.stack([x, y, 0 * x], -1).reshape(-1, 3)
    row, column = np.mgrid[0:n, 0:n]
    k = (row * (n + 1) + column).ravel()
    faces = np.concatenate([np.stack([k, k + 1, k + n + 2], 1), np.stack([k, k + n + 2, k + n + 1], 1)])
    mesh = make_mesh(p, faces, None, False)
    colours = np.random.default_rng(1).uniform(0.1, 0.9, 3 * len(faces)).astype(np.float32)
    mesh.add_attribute("face_color", 3, colours)
    bsdf = {"type": "diffuse", "reflectance": {"type": "mesh_attribute", "name": "face_color"}}
    return {**as_file(mesh, False), "bsdf": bsdf}


# ------------------------------------------------------------------------------ seen by the sensor

jump("checker_board", "board.to_world", "translate_x", lambda: world(board=board(paint(checkerboard()))))
jump("checker_camera", "sensor.to_world", "rotate_y", lambda: world(board=board(paint(checkerboard()))))
jump("nearest_board", "board.to_world", "rotate_z", lambda: world(board=board(paint(nearest()))))
jump(
    "checker_ball", "ball.to_world", "rotate_y", lambda: world(ball={"type": "sphere", "bsdf": paint(checkerboard(2))})
)
jump(
    "checker_disk",
    "disk.to_world",
    "rotate_z",
    lambda: world(disk={"type": "disk", "to_world": T().scale(1.5), "bsdf": paint(checkerboard(1.25))}),
)
jump(
    "checker_cylinder",
    "tube.to_world",
    "translate_y",
    lambda: world(
        tube={
            "type": "cylinder",
            "p0": [-0.3, -0.9, 0],
            "p1": [0.2, 0.9, 0.4],
            "radius": 0.6,
            "bsdf": {"type": "twosided", "nested": paint(checkerboard(2.3))},
        }
    ),
)
jump(
    "nearest_mesh",
    "ball.vertex_positions",
    "rotate_y",
    lambda: world(ball={**mesh_file(12), "bsdf": paint(nearest())}),
)
jump(
    "checker_light",
    "board.to_world",
    "translate_x",
    lambda: world(board=board(emitter={"type": "area", "radiance": checkerboard()})),
)
jump(
    "checker_mask",
    "board.to_world",
    "translate_x",
    lambda: world(board=board({"type": "mask", "opacity": checkerboard(3, None, 0, 1), "nested": diffuse()})),
)
jump(
    "checker_blend",
    "board.to_world",
    "translate_x",
    lambda: world(
        board=board(
            {
                "type": "blendbsdf",
                "weight": checkerboard(3, None, 0, 1),
                "a": diffuse(0.1, 0.1, 0.1),
                "b": diffuse(0.9, 0.8, 0.7),
            }
        )
    ),
)
jump(
    "nearest_roughness",
    "board.to_world",
    "translate_x",
    lambda: world(
        lamp=lamp(),
        board=board({"type": "roughconductor", "alpha": nearest(3, 0.15, 0.6, 1), "material": "Au"}),
    ),
)
jump("face_colours", "sheet.vertex_positions", "translate_x", lambda: world(sheet=coloured_sheet()))
jump("face_colours_camera", "sensor.to_world", "rotate_z", lambda: world(sheet=coloured_sheet()))


def inward_normals() -> dict:
    """A normal map a part of whose normals points into the surface, lit by a point."""
    data = np.random.default_rng(2).uniform(0.35, 0.65, (8, 8, 3)).astype(np.float32)
    return world(
        sky=0,
        plate={
            **board({"type": "normalmap", "normalmap": _raw(data), "nested": diffuse()}),
            "to_world": T().rotate([0, 1, 0], 25),
        },
        light={"type": "point", "position": [1.5, 3, 3], "intensity": 20.0},
    )


jump("inward_normal_map", "plate.to_world", "translate_x", inward_normals, step=0.005)
jump("normal_map", "ball.to_world", "translate_x", lambda: world(ball={"type": "sphere", "bsdf": bumpy(True)}))
jump(
    "normal_map_black",
    "ball.to_world",
    "translate_x",
    lambda: world(ball={"type": "sphere", "bsdf": bumpy(True, flip_invalid_normals=False)}),
)
jump("bump_map", "ball.to_world", "translate_x", lambda: world(ball={"type": "sphere", "bsdf": bumpy(False)}))
jump("bump_map_turns", "ball.to_world", "rotate_y", lambda: world(ball={"type": "sphere", "bsdf": bumpy(False)}))
jump(
    "bump_mesh",
    "ball.vertex_positions",
    "translate_x",
    lambda: world(ball={**mesh_file(16), "bsdf": {"type": "twosided", "nested": bumpy(False)}}),
)
jump(
    "normal_map_texels",
    "ball.bsdf.normalmap.data",
    "random",
    lambda: world(ball={"type": "sphere", "bsdf": bumpy(True, flip_invalid_normals=False)}),
)
jump(
    "checker_behind_mask",
    "board.to_world",
    "translate_x",
    lambda: world(
        front={
            "type": "rectangle",
            "to_world": T().translate([0, 0, 1]).scale(1.2),
            "bsdf": {"type": "mask", "opacity": 0.4, "nested": diffuse()},
        },
        board=board(paint(checkerboard(2))),
    ),
    4,
)


def in_mirror(**board) -> dict:
    return world(
        mirror={
            "type": "rectangle",
            "to_world": T().rotate([1, 0, 0], -50).scale(2.5),
            "bsdf": {"type": "conductor"},
        },
        board={
            "type": "rectangle",
            "to_world": T().translate([0, 3.2, 1]).rotate([1, 0, 0], 80).scale(1.5),
            **board,
        },
    )


def glowing_board_in_mirror() -> dict:
    """Nothing but the board is seen, and its emission does not depend on the mirror."""
    wide = {"to_world": T().translate([0, 3.2, 1]).rotate([1, 0, 0], 80).scale(30)}
    return in_mirror(emitter={"type": "area", "radiance": checkerboard(40, 0.1, 1.5)}, **wide)


jump(
    "checker_in_mirror",
    "board.to_world",
    "translate_x",
    lambda: in_mirror(bsdf={"type": "twosided", "nested": paint(checkerboard(2))}),
)
jump("checker_in_turning_mirror", "mirror.to_world", "rotate_z", glowing_board_in_mirror, 2)
jump("checker_in_mirror_of_moving_camera", "sensor.to_world", "translate_x", glowing_board_in_mirror, 2)
jump("low_poly_ball", "ball.vertex_positions", "random", lambda: world(ball=low_poly(bsdf=diffuse())), step=0.004)
jump(
    "low_poly_light",
    "ball.vertex_positions",
    "random",
    lambda: world(ball=low_poly(emitter={"type": "area", "radiance": rgb(2, 1.5, 1)})),
    1,
    step=0.001,
)


# ------------------------------------------------------------------------------ seen from path vertices


def room(floor: dict | None = None, **wall) -> dict:
    """The sensor sees a floor, which sees a wall."""
    return world(
        sky=0.3,
        sensor=camera(origin=(0, 4, 3), fov=25),
        floor={"type": "rectangle", "to_world": T().rotate([1, 0, 0], -90).scale(2), "bsdf": floor or diffuse()},
        wall={"type": "rectangle", "to_world": T().translate([0, 1.7, -2]).scale(1.4), **wall},
        lamp=lamp(),
    )


def shiny() -> dict:
    return {"type": "roughconductor", "alpha": 0.2}


def beside(bsdf: dict) -> dict:
    """A ball over a shiny floor."""
    scene = room({"type": "roughconductor", "alpha": 0.3})
    del scene["lamp"]
    scene["wall"] = {"type": "sphere", "center": [0, 1, -1], "radius": 0.8, "bsdf": bsdf}
    scene["sky"]["radiance"] = rgb(1, 1, 1)
    return scene


def beside_mesh() -> dict:
    scene = beside(diffuse())
    scene["wall"] = low_poly(to_world=T().translate([0, 1, -1]).scale(0.8), bsdf=diffuse())
    return scene


jump("wall_diffuse", "wall.to_world", "translate_x", lambda: room(bsdf=paint(stripe())), 3)
jump("wall_glossy", "wall.to_world", "translate_x", lambda: room(shiny(), bsdf=paint(stripe())), 3)
jump("wall_receiver", "floor.to_world", "translate_y", lambda: room(shiny(), bsdf=paint(stripe())), 3)
jump(
    "wall_light",
    "wall.to_world",
    "translate_x",
    lambda: room(shiny(), emitter={"type": "area", "radiance": checkerboard(1, 0.4, 0.5, 5)}),
)
jump("reflected_ball", "wall.to_world", "rotate_z", lambda: beside(paint(stripe())), 3)
jump("reflected_bumps", "wall.to_world", "rotate_y", lambda: beside(bumpy(False)), 3)
jump("reflected_normals", "wall.to_world", "translate_x", lambda: beside(bumpy(True, flip_invalid_normals=False)), 3)
jump("reflected_low_poly", "wall.vertex_positions", "random", lambda: beside_mesh(), 3, step=0.004)


# ------------------------------------------------------------------------------ shown by instances


def shown(scene: dict, name: str, stretched: tuple[float, float, float] = (1, 1, 1)) -> dict:
    """The same scene with one of its shapes, stretched along its axes, in a group that an instance shows."""
    shape = scene.pop(name)
    to_world = shape.pop("to_world", T()).scale(list(stretched))
    instance = {"type": "instance", "to_world": to_world, "group": {"type": "ref", "id": "group"}}
    return scene | {"group": {"type": "shapegroup", "shape": shape}, name: instance}


def block(texture: dict, **more) -> dict:
    place = T().rotate([0.6, 0.8, 0], 35).scale(0.5)
    return world(thing={"type": "cube", "to_world": place, "bsdf": paint(texture)}, **more)


jump(
    "instance_checker",
    "board.to_world",
    "translate_x",
    lambda: shown(world(board=board(paint(checkerboard()))), "board"),
)
jump("instance_nearest", "thing.to_world", "rotate_y", lambda: shown(block(nearest(3)), "thing", (1.3, 0.8, 1)))
jump("instance_ball", "thing.to_world", "scale", lambda: shown(
    world(thing={"type": "sphere", "bsdf": paint(checkerboard(8, 6))}), "thing", (0.9, 0.7, 0.8)))  # fmt: skip
jump("instance_bumps", "thing.to_world", "rotate_y", lambda: shown(
    world(thing={"type": "sphere", "radius": 0.8, "bsdf": bumpy(False)}), "thing"))  # fmt: skip
jump("instance_checker_camera", "sensor.to_world", "translate_x", lambda: shown(block(nearest(3)), "thing"))
jump("instance_wall", "wall.to_world", "translate_x", lambda: shown(room(shiny(), bsdf=paint(stripe())), "wall"), 3)
jump("instance_low_poly", "wall.to_world", "rotate_y", lambda: shown(beside_mesh(), "wall"), 3)
