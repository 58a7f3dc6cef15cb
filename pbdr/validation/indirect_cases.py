"""Cases of indirect visibility (shadows, interreflection, glossy reflection) and of moving cameras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .cases import CASES, LIGHTS, Case, T, camera, diffuse, floor, glow, rgb, texture
from .meshes import as_file, corner, knobbly_ball, mesh_file, smooth_box

# A real mesh, where the checkout has data beside it.
BUNNY = Path(__file__).resolve().parents[3] / "shared/data/meshes/bunny/stanford-bunny.obj"


def ball() -> dict:
    return {"type": "sphere", "center": [0.3, 0.3, 0], "radius": 0.5, "bsdf": diffuse(0.2, 0.2, 0.5)}


def box() -> dict:
    tilted = T().translate([0.2, 0.4, 0]).rotate([1, 2, 0.5], 35).scale(0.35)
    return {"type": "cube", "to_world": tilted, "bsdf": diffuse(0.2, 0.2, 0.5)}


def indirect(
    name: str,
    key: str,
    direction: str,
    light: str,
    depth: int = 2,
    step: float = 0.02,
    **objects: Callable[[], dict],
) -> None:
    """Register a scene that a camera looks down on."""

    def build() -> dict:
        return {
            "type": "scene",
            "sensor": camera(origin=(0, 4, 5)),
            "light": LIGHTS[light](),
            **{name: make() for name, make in objects.items()},
        }

    CASES[name] = Case(name, "indirect", key, direction, step, build, depth)


for _light in LIGHTS:
    indirect(f"shadow_{_light}", "box.vertex_positions", "translate_x", _light, floor=floor, box=box)
    indirect(f"round_shadow_{_light}", "ball.to_world", "translate_x", _light, floor=floor, ball=ball)
for _light in ("point", "area", "constant"):
    indirect(f"receiver_{_light}", "floor.to_world", "translate_y", _light, floor=floor, box=box)
indirect(
    "shadow_behind_veil",
    "box.vertex_positions",
    "translate_x",
    "point",
    3,
    floor=floor,
    box=box,
    veil=lambda: {
        "type": "rectangle",
        "to_world": T().look_at([0, 2.8, 3.5], [0, 4, 5], [0, 1, 0]).scale(1.5),
        "bsdf": {"type": "mask", "opacity": 0.4, "nested": diffuse()},
    },
)
indirect(
    "shadow_disk",
    "disk.to_world",
    "rotate_x",
    "area",
    floor=floor,
    disk=lambda: {
        "type": "disk",
        "to_world": T().translate([0.2, 0.4, 0]).rotate([1, 0, 0], -70).scale(0.6),
        "bsdf": {"type": "twosided", "bsdf": diffuse()},
    },
)
indirect(
    "shadow_cylinder",
    "pipe.to_world",
    "rotate_y",
    "area",
    floor=floor,
    pipe=lambda: {
        "type": "cylinder",
        "p0": [-0.6, 0.3, 0],
        "p1": [0.6, 0.5, 0.2],
        "radius": 0.25,
        "bsdf": {"type": "twosided", "bsdf": diffuse()},
    },
)
indirect(
    "shadow_flat_mesh",
    "solid.vertex_positions",
    "translate_x",
    "area",
    floor=floor,
    solid=lambda: {**mesh_file(6, seam=False, normals=False, radius=0.6), "bsdf": diffuse()},
)
indirect(
    "shadow_seamed_mesh",
    "solid.vertex_positions",
    "translate_x",
    "area",
    floor=floor,
    # Another colour than the floor: Mitsuba merges meshes of one material.
    solid=lambda: {**mesh_file(24, seam=True, radius=0.6), "bsdf": diffuse(0.2, 0.2, 0.5)},
)
indirect(
    "shadow_72000_triangles",
    "solid.vertex_positions",
    "translate_x",
    "area",
    floor=floor,
    solid=lambda: {**as_file(knobbly_ball(190), True), "bsdf": diffuse()},
)
if BUNNY.exists():
    indirect(
        "shadow_bunny",
        "bunny.vertex_positions",
        "translate_x",
        "area",
        floor=floor,
        bunny=lambda: {
            "type": "obj",
            "filename": str(BUNNY),
            "to_world": T().translate([0.3, -0.6, 0]).scale(7),
            "bsdf": diffuse(),
        },
    )


def turning_box(name: str, origin: tuple, direction: str, light: dict) -> None:
    """Register a box with interpolated normals, close up: light ends at the planes of its faces."""

    def build() -> dict:
        near = T().look_at(list(origin), [min(origin[0], 1), 1, -0.3], [0, 0, 1])
        return {
            "type": "scene",
            "sensor": camera(to_world=near, fov=8),
            "light": light,
            "box": {**as_file(smooth_box(), True), "bsdf": diffuse()},
        }

    CASES[name] = Case(name, "indirect", "box.vertex_positions", direction, 0.01, build, 2)


turning_box(
    "own_horizon",
    (0.5, 6, -0.2),
    "rotate_z",
    {"type": "rectangle", "to_world": T().translate([3, 1.4, 0.3]).rotate([0, 1, 0], -90), "emitter": glow(9, 8, 6)},
)
turning_box("own_horizon_sky", (0.5, 6, -0.2), "rotate_x", {"type": "constant", "radiance": rgb(0.4, 0.3, 0.5)})
turning_box(
    "bend_horizon",
    (6, 6, -0.2),
    "translate_y",
    {"type": "rectangle", "to_world": T().translate([3, 1.4, 0.3]).rotate([0, 1, 0], -90), "emitter": glow(9, 8, 6)},
)
for _light in ("point", "area", "constant"):
    indirect(
        f"self_shadow_{_light}",
        "corner.vertex_positions",
        "rotate_y",
        _light,
        corner=lambda: {
            **corner(),
            "to_world": T().translate([-0.7, 0, 0]).rotate([0, 1, 0], -90),
            "bsdf": {"type": "twosided", "bsdf": diffuse()},
        },
    )
for _name, _light in (("interreflected_shadow", "area"), ("interreflected_point_shadow", "point")):
    indirect(
        _name,
        "box.vertex_positions",
        "translate_x",
        _light,
        depth=4,
        floor=lambda: floor(diffuse(0.8, 0.7, 0.6)),
        box=box,
        wall=lambda: {
            "type": "rectangle",
            "to_world": T().translate([-1.5, 0, 0]).rotate([0, 1, 0], 90).scale(3),
            "bsdf": diffuse(0.8, 0.7, 0.6),
        },
        blind=lambda: {
            "type": "rectangle",
            "to_world": T().translate([1, 2.5, 1]).rotate([1, 0, 0], -90).rotate([0, 1, 0], 25).scale(0.45),
            "bsdf": diffuse(0, 0, 0),
        },
    )
for _light, _key, _direction in (
    ("point", "light.position", [1, 0, 0]),
    ("spot", "light.to_world", "translate_x"),
    ("directional", "light.to_world", "rotate_z"),
    ("area", "light.to_world", "translate_x"),
):
    indirect(f"moving_light_{_light}", _key, _direction, _light, floor=floor, box=box)
indirect(
    # Along the common edge: across it the continuous part has 1 / r between the two faces.
    "plane_and_light",
    "rig.vertex_positions",
    "translate_z",
    "point",
    rig=lambda: {
        **corner(),
        "to_world": T().translate([-0.7, 0, 0]).rotate([0, 1, 0], -90),
        "bsdf": {"type": "twosided", "bsdf": diffuse()},
        "emitter": glow(0.6, 0.5, 0.3),
    },
    box=box,
)
indirect(
    "glossy_floor",
    "ball.to_world",
    "translate_x",
    "constant",
    floor=lambda: floor({"type": "roughconductor", "alpha": 0.025, "material": "Al"}),
    ball=lambda: {**ball(), "emitter": glow(1.0, 0.8, 0.5)},
)


# ------------------------------------------------------------------------------ mirrors and glass


def behind(name: str, key: str, direction: str, chain: Callable[[], dict], depth: int = 4, **objects: Callable) -> None:
    """Register a moving object that is seen by way of ``chain``, before a glowing sky."""

    def build() -> dict:
        return {
            "type": "scene",
            "sensor": camera(),
            "sky": {"type": "constant", "radiance": rgb(0.4, 0.32, 0.48)},
            "chain": chain(),
            **{name: make() for name, make in objects.items()},
        }

    CASES[name] = Case(name, "specular", key, direction, 0.02, build, depth)


def mirror() -> dict:
    turned = T().translate([0, 0, -1]).rotate([0, 1, 0], 45).scale(3)
    return {"type": "rectangle", "to_world": turned, "bsdf": {"type": "conductor", "specular_reflectance": 0.9}}


def sheet() -> dict:
    """A slab of glass."""
    turned = T().translate([0, 0, 2]).rotate([1, 0, 0], 20).scale([3, 3, 0.2])
    return {"type": "cube", "to_world": turned, "bsdf": {"type": "dielectric"}}


def lens() -> dict:
    return {"type": "sphere", "center": [0, 0, 2], "radius": 0.8, "bsdf": {"type": "dielectric"}}


def glowing_box(position=(0, 0, 0)) -> dict:
    tilted = T().translate(list(position)).rotate([1, 2, 0.5], 35).scale(0.5)
    return {"type": "cube", "to_world": tilted, "bsdf": diffuse(0.5, 0.4, 0.3), "emitter": glow(1.0, 0.8, 0.5)}


def glowing_ball(position=(0, 0, 0)) -> dict:
    return {
        "type": "sphere",
        "center": list(position),
        "radius": 0.6,
        "bsdf": diffuse(),
        "emitter": glow(1.0, 0.8, 0.5),
    }


behind("mirrored_box", "box.vertex_positions", "translate_z", mirror, 2, box=lambda: glowing_box((3, 0.2, -1.2)))
behind("mirrored_ball", "ball.to_world", "translate_z", mirror, 2, ball=lambda: glowing_ball((3, 0.2, -1.2)))
behind("box_behind_glass", "box.vertex_positions", "translate_x", sheet, box=glowing_box)
behind("ball_behind_glass", "ball.to_world", "translate_x", sheet, ball=glowing_ball)
behind("box_behind_lens", "box.vertex_positions", "translate_x", lens, box=lambda: glowing_box((0.2, 0.2, -4)))
behind(
    "box_in_convex_mirror",
    "box.vertex_positions",
    "translate_x",
    lambda: {"type": "sphere", "center": [0, 0, 0], "radius": 1.0, "bsdf": {"type": "conductor"}},
    2,
    box=lambda: glowing_box((1.3, 1.6, 2)),
)
behind(
    "disk_in_mirror",
    "disk.to_world",
    "translate_z",
    mirror,
    2,
    disk=lambda: {"type": "disk", "to_world": T().translate([3, 0.2, -1]).rotate([0, 1, 0], -70), "emitter": glow()},
)
behind(
    "pipe_in_mirror",
    "pipe.to_world",
    "rotate_z",
    mirror,
    2,
    pipe=lambda: {"type": "cylinder", "p0": [2.6, -0.5, -1], "p1": [3, 0.7, -1.2], "radius": 0.3, "emitter": glow()},
)


# ------------------------------------------------------------------------------ moving cameras


def seen(name: str, key: str, direction: str, step: float, sensor: Callable[[], dict] | None = None) -> None:
    """Register a derivative with respect to the camera, silhouettes and shadows included."""

    def build() -> dict:
        return {
            "type": "scene",
            "sensor": sensor() if sensor else camera(origin=(0, 4, 5)),
            "light": LIGHTS["area"](),
            "floor": floor({"type": "diffuse", "reflectance": texture()}),
            "box": {**box(), "bsdf": diffuse(0.6, 0.6, 0.8)},
            "ball": {**ball(), "center": [-0.8, 0, 0.2]},
        }

    CASES[name] = Case(name, "camera", key, direction, step, build, 3)


seen("camera_translate_x", "sensor.to_world", "translate_x", 0.02)
seen("camera_translate_z", "sensor.to_world", "translate_z", 0.02)
seen("camera_rotate", "sensor.to_world", "rotate_x", 0.0025)
seen("camera_fov", "sensor.x_fov", "uniform", 0.2)
seen("camera_principal_point", "sensor.principal_point_offset_x", "uniform", 0.005)
seen(
    "camera_thin_lens",
    "sensor.to_world",
    "translate_y",
    0.02,
    lambda: camera("thinlens", origin=(0, 4, 5), aperture_radius=0.2, focus_distance=5.5),
)
seen(
    "camera_focus",
    "sensor.focus_distance",
    "uniform",
    0.05,
    lambda: camera("thinlens", origin=(0, 4, 5), aperture_radius=0.4, focus_distance=4.0),
)
seen(
    "camera_orthographic",
    "sensor.to_world",
    "rotate_y",
    0.01,
    lambda: camera("orthographic", to_world=T().look_at([0, 4, 5], [0, 0, 0], [0, 1, 0]).scale(2)),
)


def glossy_wall() -> dict:
    """A matte floor, and behind it a shiny wall that the sensor does not see: directions turn at second vertices."""
    return {
        "type": "scene",
        "sensor": camera(origin=(0, 4, 5), fov=10),
        "floor": floor(diffuse(0.8, 0.8, 0.8)),
        "wall": {
            "type": "rectangle",
            "to_world": T().translate([0, 1.2, -4.5]).scale(2),
            "bsdf": {"type": "roughconductor", "alpha": 0.15, "material": "Au"},
        },
        "lamp": {
            "type": "rectangle",
            "to_world": T().translate([0, 1.5, 6]).rotate([0, 1, 0], 180),
            "emitter": glow(20, 18, 15),
        },
    }


CASES["glossy_wall"] = Case("glossy_wall", "indirect", "wall.to_world", "rotate_x", 0.01, glossy_wall, 3)
CASES["camera_glossy_wall"] = Case(
    "camera_glossy_wall", "camera", "sensor.to_world", "translate_z", 0.02, glossy_wall, 3
)
