"""Situations of BSDFs: a ball of the material on the floor."""

from __future__ import annotations

from typing import Any

from .shapes import strand
from .situations import T, add, ball, bitmap, diffuse, rgb, sheet, stage

MOVES = (("thing.to_world", "translate_x"),)
RED, GREY = (0.6, 0.3, 0.2), (0.7, 0.6, 0.5)


def material(name: str, bsdf: Any, plugins: str = "", make: Any = ball, moves: bool = True, **more: Any) -> None:
    """Register a material; ``bsdf`` is a dictionary, or makes one (what holds arrays exists in one variant only)."""

    def build() -> dict:
        return stage(thing=make(bsdf() if callable(bsdf) else bsdf))

    more.setdefault("also", MOVES if moves else ())
    add(name, "BSDF", plugins or name.split()[0], build, **more)


def register() -> None:
    _simple()
    _conductors_and_glass()
    _coated()
    _layered()
    _special()
    _translucent()


def _simple() -> None:
    material("diffuse", diffuse(*RED), core=True)
    material("twosided", {"type": "twosided", "a": diffuse(*RED), "b": diffuse(0.2, 0.3, 0.6)}, make=_leaning)
    material("mask", {"type": "mask", "opacity": 0.6, "nested": diffuse(*RED)}, core=True)
    material("mask textured", lambda: {"type": "mask", "opacity": bitmap(1), "nested": diffuse(*RED)}, make=sheet)
    material("null", {"type": "null"})


def _leaning(bsdf: dict) -> dict:
    """A disk of which both sides are lit, one seen by the camera, the other by the floor."""
    return {"type": "disk", "to_world": T().rotate([1, 0, 0], -50).scale(0.9), "bsdf": bsdf}


def _conductors_and_glass() -> None:
    gold = {"material": "Au", "specular_reflectance": rgb(0.9, 0.8, 0.7)}
    tint = {"specular_reflectance": rgb(0.9, 0.8, 0.7), "specular_transmittance": rgb(0.7, 0.8, 0.9)}
    material("conductor", {"type": "conductor", **gold}, core=True)
    material("roughconductor", {"type": "roughconductor", "alpha": 0.3, "distribution": "ggx", **gold}, core=True)
    material(
        "roughconductor beckmann",
        {"type": "roughconductor", "alpha_u": 0.2, "alpha_v": 0.4, "distribution": "beckmann", **gold},
    )
    material("roughconductor textured", lambda: {"type": "roughconductor", "alpha": bitmap(1, 0.2, 0.5), **gold})
    material("dielectric", {"type": "dielectric", "int_ior": 1.5, **tint}, max_depth=4, core=True)
    material("thindielectric", {"type": "thindielectric", "int_ior": 1.5, **tint}, max_depth=4, make=sheet)
    material("roughdielectric", {"type": "roughdielectric", "alpha": 0.3, "int_ior": 1.5, **tint}, max_depth=4)
    material(
        "roughdielectric beckmann",
        {"type": "roughdielectric", "alpha_u": 0.3, "alpha_v": 0.2, "distribution": "beckmann", "int_ior": 1.4, **tint},
        max_depth=4,
    )
    material(
        "roughdielectric textured",
        lambda: {"type": "roughdielectric", "alpha": bitmap(1, 0.2, 0.5), "int_ior": 1.4},
        max_depth=4,
    )


def _coated() -> None:
    coat = {"diffuse_reflectance": rgb(*RED), "specular_reflectance": rgb(0.9, 0.8, 0.7), "int_ior": 1.5}
    for nonlinear in (False, True):
        word = " nonlinear" if nonlinear else ""
        material("plastic" + word, {"type": "plastic", "nonlinear": nonlinear, **coat}, core=not nonlinear)
        material("roughplastic" + word, {"type": "roughplastic", "alpha": 0.3, "nonlinear": nonlinear, **coat})
    material("roughplastic beckmann", {"type": "roughplastic", "alpha": 0.3, "distribution": "beckmann", **coat})
    material("pplastic", {"type": "pplastic", "alpha": 0.3, **coat})
    lobes = {
        "base_color": rgb(*RED), "roughness": 0.4, "anisotropic": 0.3, "spec_trans": 0.3, "spec_tint": 0.4, "sheen": 0.5,
        "sheen_tint": 0.4, "flatness": 0.3,
    }  # fmt: skip
    material(
        "principled",
        {"type": "principled", "metallic": 0.3, "clearcoat": 0.6, "clearcoat_gloss": 0.5, "eta": 1.5, **lobes},
        core=True,
    )
    material(
        "principled glass",
        {"type": "principled", "base_color": rgb(*GREY), "roughness": 0.3, "spec_trans": 0.6, "eta": 1.5},
        # Of the others, which are 0, there is no derivative to both sides.
        own="*.spec_trans.value *.eta *.roughness.value *.base_color.value",
        max_depth=4,
    )
    material(
        "principled specular",
        {"type": "principled", "base_color": rgb(*RED), "roughness": 0.4, "specular": 0.6},
        own="*.specular *.roughness.value *.base_color.value",
    )
    material("principledthin", {"type": "principledthin", "diff_trans": 0.8, "eta": 1.5, **lobes}, make=sheet)


def _layered() -> None:
    rough = {"type": "roughconductor", "alpha": 0.3, "material": "Au"}
    mirror = {"type": "conductor", "material": "Au"}
    for name, other in (
        ("rough", rough),
        ("mirror", mirror),
        ("glass", {"type": "dielectric", "int_ior": 1.5}),
        ("plastic", {"type": "plastic", "diffuse_reflectance": rgb(*RED)}),
    ):
        bsdf = {"type": "blendbsdf", "weight": 0.4, "a": diffuse(*RED), "b": other}
        material(f"blendbsdf {name}", bsdf, core=name == "rough")
    material(
        "blendbsdf textured",
        lambda: {"type": "blendbsdf", "weight": bitmap(1), "a": diffuse(*RED), "b": rough},
        own="thing.bsdf.weight.*",
    )
    for name, nested in (("diffuse", diffuse(*RED)), ("rough", rough), ("mirror", mirror)):
        material(
            f"bumpmap {name}",
            lambda n=nested: {"type": "bumpmap", "arbitrary": bitmap(1, size=6), "scale": 0.1, "bsdf": n},
            own="thing.bsdf.*data thing.bsdf.scale thing.bsdf.*to_uv",
        )
        material(
            f"normalmap {name}",
            lambda n=nested: {"type": "normalmap", "normalmap": _slopes(), "bsdf": n},
            own="thing.bsdf.normalmap.*",
        )


def _slopes() -> dict:
    """A map of normals that lean by up to 30 degrees."""
    import mitsuba as mi
    import numpy as np

    xy = np.random.default_rng(5).uniform(-0.45, 0.45, (6, 6, 2))
    n = np.concatenate([xy, np.sqrt(1 - (xy**2).sum(-1, keepdims=True))], -1)
    return {"type": "bitmap", "data": mi.TensorXf((0.5 * n + 0.5).astype(np.float32)), "raw": True}


def _special() -> None:
    material("polarizer", {"type": "polarizer", "transmittance": 0.7}, make=sheet)
    material("retarder", {"type": "retarder", "transmittance": 0.7}, make=sheet)
    material("circular", {"type": "circular", "transmittance": 0.7}, make=sheet)
    # With pigments instead of sigma_a, Mitsuba 3.9.1 cannot traverse it (a TypeError).
    material(
        "hair",
        {"type": "hair", "sigma_a": rgb(0.4, 0.6, 0.9), "longitudinal_roughness": 0.4, "azimuthal_roughness": 0.4},
        make=strand,
        moves=False,
    )


def _translucent() -> None:
    direct = {"type": "subsurface", "albedo": rgb(0.8, 0.5, 0.3), "radius": 0.3, "alpha": 0.3}
    physical = {"type": "subsurface", "sigma_a": rgb(0.4, 0.6, 0.9), "sigma_s": 6.0, "g": 0.3, "alpha": 0.3}
    for profile, parameters in (
        ("normalized_diffusion", direct),
        ("dipole", physical),
        ("better_dipole", physical),
        ("photon_beam_diffusion", physical),
        ("random_walk", physical),
    ):
        material(f"subsurface {profile}", {"profile": profile, **parameters}, reference="prb_edge")
