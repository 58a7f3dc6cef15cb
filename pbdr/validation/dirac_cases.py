"""Scenes with Dirac lobes: their share in mixtures, what they turn to, what is transparent, and what is hidden."""

from __future__ import annotations

import mitsuba as mi
import numpy as np

from .cases import T, camera, case, diffuse, environment, film, glow, lamp, plane, texture, world

MIRROR = {"type": "conductor"}
ROSE = {
    "type": "conductor",
    "specular_reflectance": {"type": "rgb", "value": [0.9, 0.7, 0.7]},
}  # two equal ones are merged


def sky_and(**objects: dict) -> dict:
    """Objects under an environment map, which mirrors show."""
    return world(sky=0, light=environment(), **objects)


def ball(bsdf: dict) -> dict:
    return {"type": "sphere", "bsdf": bsdf}


def blend(second: dict) -> dict:
    return {"type": "blendbsdf", "weight": 0.4, "a": diffuse(), "b": second}


# ------------------------------------------------------------------------------ shares of lobes


@case("material", "ball.bsdf.diffuse_reflectance.value", step=0.02)
def plastic_colour():
    return sky_and(ball=ball({"type": "plastic", "diffuse_reflectance": {"type": "rgb", "value": [0.6, 0.3, 0.2]}}))


@case("material", "ball.bsdf.weight.value", step=0.05)
def blend_with_mirror():
    return sky_and(ball=ball(blend(MIRROR)))


@case("material", "ball.bsdf.weight.value", step=0.05, max_depth=4)
def blend_with_glass():
    return sky_and(ball=ball(blend({"type": "dielectric"})))


@case("material", "plane.bsdf.brdf_0.weight.value", step=0.05)
def blend_inside_twosided():
    return sky_and(plane=plane({"type": "twosided", "inner": blend({"type": "plastic"})}))


@case("material", "ball.bsdf.eta", step=0.05, max_depth=4)
def thin_glass_eta():
    return sky_and(ball=ball({"type": "thindielectric"}))


# ------------------------------------------------------------------------------ where they turn to


def perturbed(kind: str, slot: str, data: np.ndarray) -> dict:
    map = {"type": "bitmap", "data": mi.TensorXf(data.astype(np.float32)), "raw": True, "wrap_mode": "clamp"}
    return plane({"type": kind, slot: map, "inner": MIRROR})


@case("material", "plane.bsdf.normalmap.data", "random", step=0.005)
def normal_map_on_mirror():
    slopes = np.random.default_rng(0).uniform(0.38, 0.62, (6, 6, 2))
    return sky_and(plane=perturbed("normalmap", "normalmap", np.concatenate([slopes, np.full((6, 6, 1), 0.98)], -1)))


@case("material", "plane.bsdf.nested_texture.data", "random", step=0.005)
def bump_map_on_mirror():
    return sky_and(plane=perturbed("bumpmap", "map", np.random.default_rng(0).uniform(0, 0.25, (8, 8, 1))))


@case("moving", "plane.to_world", "rotate_x")
def mirror_turns():
    return sky_and(plane=plane(MIRROR))


@case("silhouette", "ball.to_world", "translate_x", step=0.01)
def mirror_ball():
    return sky_and(ball=ball(MIRROR))


@case("silhouette", "ball.to_world", "translate_x", step=0.01, max_depth=4)
def glass_ball():
    return sky_and(ball=ball({"type": "dielectric"}))


@case("camera", "sensor.to_world", "rotate_x")
def camera_before_mirror():
    wide = {"type": "rectangle", "to_world": T().rotate([1, 0, 0], -25).scale(40), "bsdf": MIRROR}
    return sky_and(plane=wide)


@case("moving", "plane.to_world", "rotate_x", max_depth=4)
def mirror_before_mirror():
    """The second mirror shows a glowing sphere all around, and the seam of its map."""
    shell = {"type": "sphere", "radius": 90, "flip_normals": True, "emitter": {"type": "area", "radiance": texture()}}
    top = {"type": "rectangle", "to_world": T().translate([0, 5, 0]).rotate([1, 0, 0], 80).scale(50), "bsdf": ROSE}
    return world(sky=0, shell=shell, plane=plane(MIRROR), top=top)


# ------------------------------------------------------------------------------ outlines by way of what turns


def box_above(bsdf: dict) -> dict:
    """A plate that shows a box above it."""
    box = {"type": "cube", "to_world": T().translate([0.3, 3.2, 0.5]).rotate([1, 1, 0], 30).scale(0.7)}
    plate = {"type": "rectangle", "to_world": T().rotate([1, 0, 0], -45).scale(4), "bsdf": bsdf}
    return world(box={**box, "bsdf": diffuse(0.2, 0.2, 0.2)}, plate=plate)


@case("indirect", "plate.to_world", "rotate_x", step=0.01)
def box_in_turning_mirror():
    return box_above(MIRROR)


@case("indirect", "sensor.to_world", "translate_x", step=0.02)
def box_in_mirror_of_moving_camera():
    return box_above(MIRROR)


@case("indirect", "plate.bsdf.normalmap.data", "random", step=0.01)
def box_in_mirror_with_normal_map():
    slopes = np.random.default_rng(0).uniform(0.44, 0.56, (4, 4, 2))
    return box_above(
        perturbed("normalmap", "normalmap", np.concatenate([slopes, np.full((4, 4, 1), 0.98)], -1))["bsdf"]
    )


# ------------------------------------------------------------------------------ transparent and hidden


def with_alpha(**objects: dict) -> dict:
    return world(sensor=camera(film=film(pixel_format="rgba")), **objects)


@case("silhouette", "ball.to_world", "translate_x", step=0.01)
def alpha_without_sky():
    light = {"type": "point", "position": [1, 2, 4], "intensity": 20.0}
    return with_alpha(sky=0, light=light, ball=ball(diffuse()))


@case("material", "ball.bsdf.opacity.value", step=0.05, max_depth=4, hide_emitters=True)
def opacity_alpha():
    return with_alpha(ball=ball({"type": "mask", "opacity": 0.6, "nested": diffuse()}))


@case("material", "ball.bsdf.weight.value", step=0.05, max_depth=4)
def blend_with_null_alpha():
    lit = {"type": "point", "position": [1, 2, 4], "intensity": 20.0}
    return with_alpha(
        sky=0, light=lit, ball=ball({"type": "blendbsdf", "weight": 0.3, "a": {"type": "null"}, "b": diffuse()})
    )


@case("silhouette", "ball.to_world", "translate_x", step=0.01, hide_emitters=True)
def behind_hidden_lamp():
    before = {"type": "rectangle", "to_world": T().translate([0, 0, 2]).scale(1.5), "emitter": glow()}
    return with_alpha(ball=ball(diffuse()), before=before, lamp=lamp())


@case("silhouette", "ball.vertex_positions", "translate_x", step=0.01, hide_emitters=True)
def box_behind_hidden_lamp():
    before = {"type": "rectangle", "to_world": T().translate([0, 0, 2]).scale(1.5), "emitter": glow()}
    box = {"type": "cube", "to_world": T().rotate([1, 1, 0], 30).scale(0.6), "bsdf": diffuse()}
    return with_alpha(ball=box, before=before)


@case("indirect", "box.vertex_positions", "translate_x", step=0.02, hide_emitters=True)
def box_behind_veil_under_hidden_sky():
    veil = {"type": "rectangle", "to_world": T().translate([0, 0, 1.5]).scale(1.5)}
    box = {"type": "cube", "to_world": T().rotate([1, 1, 0], 30).scale(0.6), "bsdf": diffuse()}
    return world(veil={**veil, "bsdf": {"type": "mask", "opacity": 0.5, "nested": diffuse()}}, box=box)
