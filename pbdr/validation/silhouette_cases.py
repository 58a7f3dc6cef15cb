"""Cases of silhouettes that the camera sees directly."""

from __future__ import annotations

from collections.abc import Callable

from .cases import CASES, Case, T, camera, case, diffuse, environment, film, glow, rgb, world
from .meshes import as_file, knobbly_ball, mesh_file


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
outline(
    "folded_mesh",
    "shape.vertex_positions",
    "translate_x",
    lambda: {**as_file(knobbly_ball(190), False), "emitter": glow()},
    lambda: camera(origin=(0, 4, 5)),
    0.01,
)
# Mitsuba mirrors its triangles, but not its normals.
outline(
    "mirrored_rectangle",
    "shape.to_world",
    "translate_x",
    lambda: {"type": "rectangle", "to_world": T().rotate([0, 1, 0], 20).scale([-0.7, 0.7, 1]), "bsdf": diffuse()},
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


@case("silhouette", "front.to_world", "translate_x", max_depth=2)
def ball_before_ball():
    """A field that follows the nearer one slides points over the curved surface behind it."""
    front = {"type": "sphere", "center": [0.1, 0.05, 2.5], "radius": 0.25, "bsdf": diffuse(0.1, 0.1, 0.1)}
    return world(ball={"type": "sphere", "bsdf": diffuse()}, front=front)


@case("silhouette", "ball.to_world", "translate_x", max_depth=2)
def ball_before_a_sliver():
    """Another ball, at rest, looks out behind it by a fifth of a pixel: two outlines, of which one moves."""
    behind = {"type": "sphere", "center": [-0.43, 0.2, -2], "radius": 1.05, "bsdf": diffuse(0.1, 0.1, 0.1)}
    return world(sensor=camera(film=film(12)), ball=_shape("sphere"), behind=behind)


@case("silhouette", "ball.to_world", "translate_x", max_depth=2)
def occluded_ball():
    """Part of the outline is hidden by a nearer shape that stands still."""
    front = {"type": "rectangle", "to_world": T().translate([0.6, 0.4, 2]).scale(0.4), "emitter": glow(0.2, 0.5, 0.9)}
    return world(ball=_shape("sphere"), front=front)


@case("silhouette", "box.vertex_positions", "translate_x", max_depth=2)
def far_from_the_origin():
    """Rounding of coordinates, not the size of the film, decides how near to an outline rays find their side."""
    at = [1000, -700, 400]
    pose = T().translate(at).look_at([3, 2, -3.5], [0, 0, 0], [0, 1, 0])
    tilted = T().translate(at).rotate([1, 1, 0], 30).scale(0.6)
    return world(sensor=camera(to_world=pose), box={"type": "cube", "to_world": tilted, "bsdf": diffuse()})


@case("silhouette", "ball.to_world", "translate_x", max_depth=2)
def long_lens():
    """A ball 700 units away."""
    sensor = camera(to_world=T().look_at([300, 400, -490], [0, 0, 0], [0, 1, 0]), fov=0.3)
    return world(sensor=sensor, ball=_shape("sphere"))
