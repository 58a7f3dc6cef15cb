"""Scenes with a translucent object: its parameters, its shape, and what moves beside it."""

from __future__ import annotations

from .cases import T, case, diffuse, glow, rgb, texture, world

BALL = {"type": "sphere", "radius": 0.9}
DICE = {"type": "cube", "to_world": T().rotate([0.44, 0.87, 0.22], 35).scale(0.55)}  # above the floor
ROUGH = {"albedo": rgb(0.8, 0.5, 0.3), "radius": 0.3, "alpha": 0.3}
MATTER = {"profile": "better_dipole", "sigma_a": 0.4, "sigma_s": 6.0, "alpha": 0.3}
WALK = {"profile": "random_walk", "sigma_a": rgb(0.4, 0.6, 0.9), "sigma_s": 6.0, "g": 0.3, "alpha": 0.3}


def translucent(name: str, key: str, direction: str, step: float, material: dict, shape: dict = BALL, **more: dict):
    """Register a translucent object on a floor under a lamp, a block that shades it, and what else there is."""

    def build() -> dict:
        lamp = {"type": "rectangle", "to_world": T().translate([1, 3, 1]).rotate([1, 0, 0], 90).scale(0.5)}
        ground = {"type": "rectangle", "to_world": T().translate([0, -1, 0]).rotate([1, 0, 0], -90).scale(4)}
        return world(
            object={**shape, "bsdf": {"type": "subsurface", **material}},
            block={"type": "sphere", "center": [0.6, 1.6, 0.4], "radius": 0.35, "bsdf": diffuse(0.2, 0.2, 0.2)},
            ground={**ground, "bsdf": diffuse()},
            lamp={**lamp, "emitter": glow(9, 8, 6)},
            **more,
        )

    build.__name__ = f"translucent_{name}"
    case("translucent", key, direction, step)(build)


M = "object.bsdf."
translucent("albedo", M + "albedo.value", "uniform", 0.02, ROUGH)
translucent("albedo_texture", M + "albedo.data", "random", 0.02, ROUGH | {"albedo": texture()})
translucent("radius", M + "radius.value", "uniform", 0.02, ROUGH)
translucent("alpha", M + "alpha.value", "uniform", 0.02, ROUGH)
translucent("eta", M + "eta", "uniform", 0.02, ROUGH)
translucent("sigma_a", M + "sigma_a.value", "uniform", 0.04, MATTER)
translucent("sigma_s", M + "sigma_s.value", "uniform", 0.4, MATTER)
translucent("g", M + "g.value", "uniform", 0.05, MATTER)
translucent("walk_sigma_a", M + "sigma_a.value", "uniform", 0.04, WALK)
translucent("walk_sigma_s", M + "sigma_s.value", "uniform", 0.4, WALK)
translucent("walk_g", M + "g.value", "uniform", 0.05, WALK)
translucent("shadow", "block.to_world", "translate_x", 0.02, ROUGH)
translucent("lamp", "lamp.to_world", "translate_x", 0.02, ROUGH)
translucent("ball_scale", "object.to_world", "scale", 0.02, ROUGH)
translucent("dice_scale", "object.vertex_positions", "scale", 0.02, ROUGH, DICE)
translucent("walk_ball_scale", "object.to_world", "scale", 0.02, WALK)
translucent("walk_dice_scale", "object.vertex_positions", "scale", 0.02, WALK, DICE)

FRONT = {"type": "sphere", "center": [0.1, 0.3, 2.2], "radius": 0.3, "bsdf": diffuse(0.2, 0.2, 0.2)}
# An outline that rests before what slides.
translucent("ball_behind", "object.to_world", "scale", 0.02, ROUGH, front=FRONT)
translucent("walk_ball_behind", "object.to_world", "scale", 0.02, WALK, front=FRONT)
