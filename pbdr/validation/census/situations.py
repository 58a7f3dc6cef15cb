"""Situations: minimal scenes, each of which shows one plugin.

The stage is a matte floor under a lamp and a sky with structure, a ball behind and a ball before what is tested. Nothing
in it is symmetric, so that no derivative vanishes by symmetry.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mitsuba as mi
import numpy as np

from ..cases import T, diffuse, film, glow, rgb

SITUATIONS: dict[str, Situation] = {}
SIZE = 10  # pixels


@dataclass(frozen=True)
class Situation:
    """A scene and those of its parameters that are tested in it.

    Attributes:
        name: unique.
        kind: kind of plugin, a key of `plugins.KINDS`.
        plugins: the plugins that it stands for.
        build: returns the scene dictionary.
        own: globs of the parameters of the tested plugin.
        also: further rows, (key, direction): a plugin without parameters, or one that changes how others are seen.
        max_depth: of all integrators.
        reference: integrator that renders the finite differences.
        core: part of the smaller census of mono and spectral variants.
        variants: colour modes that have the plugin.
    """

    name: str
    kind: str
    plugins: tuple[str, ...]
    build: Callable[[], dict]
    own: tuple[str, ...]
    also: tuple[tuple[str, str], ...] = ()
    max_depth: int = 3
    reference: str = "path"
    core: bool = False
    variants: tuple[str, ...] = ("rgb", "mono", "spectral")

    def exists_in(self, variant: str) -> bool:
        return any(word in variant for word in self.variants)

    def scene(self) -> Any:
        return mi.load_dict(self.build())


def add(name: str, kind: str, plugins: str, build: Callable[[], dict], own: str = "thing.bsdf.*", **more: Any) -> None:
    """Register a situation; ``plugins`` and ``own`` hold several words."""
    if name in SITUATIONS:
        raise ValueError(f"Two situations are called '{name}'.")
    SITUATIONS[name] = Situation(name, kind, tuple(plugins.split()), build, tuple(own.split()), **more)


# ------------------------------------------------------------------------------ the stage


def camera(kind: str = "perspective", **more: Any) -> dict:
    place = T().look_at([0, 1.2, 5], [0, 0, 0], [0, 1, 0])
    lens = {"fov": 35} if kind in ("perspective", "thinlens") else {}
    return {"type": kind, "to_world": place, "film": film(SIZE), "sampler": {"type": "multijitter"}, **lens, **more}


def sky() -> dict:
    y, x = np.mgrid[0:8, 0:16] / 8
    data = np.stack([1 + np.sin(3 * x + c) * np.cos(2 * y - c) for c in range(3)], -1).astype(np.float32)
    return {"type": "envmap", "bitmap": mi.Bitmap(0.6 * data)}


def stage(**objects: Any) -> dict:
    """The scene around the tested ``objects``; one of its own objects is replaced by its name, or left out by ``None``."""
    scene = {
        "type": "scene",
        "sensor": camera(),
        "sky": sky(),
        "floor": {
            "type": "rectangle",
            "to_world": T().translate([0, -1, 0]).rotate([1, 0, 0], -90).scale(5),
            "bsdf": diffuse(0.5, 0.45, 0.4),
        },
        "lamp": {
            "type": "rectangle",
            "to_world": T().translate([1.5, 3, 2]).rotate([1, 0, 0], 110).scale(0.6),
            "emitter": glow(9, 8, 6),
        },
        "behind": {"type": "sphere", "center": [-0.9, -0.3, -2.2], "radius": 0.7, "bsdf": diffuse(0.2, 0.5, 0.6)},
        "before": {"type": "sphere", "center": [0.45, 0.1, 1.3], "radius": 0.2, "bsdf": diffuse(0.6, 0.2, 0.2)},
    }
    scene.update(objects)
    return {k: v for k, v in scene.items() if v is not None}


def ball(bsdf: dict, radius: float = 0.8, **more: Any) -> dict:
    return {"type": "sphere", "radius": radius, "bsdf": bsdf, **more}


def sheet(bsdf: dict, **more: Any) -> dict:
    """A tilted rectangle before the camera."""
    turn = T().translate([0.1, 0.2, 0]).rotate([0.4364, 0.8729, 0.2182], -30).scale([0.9, 0.8, 1])
    return {"type": "rectangle", "to_world": turn, "bsdf": bsdf, **more}


def bitmap(channels: int = 3, low: float = 0.2, high: float = 0.8, size: int = 4, **more: Any) -> dict:
    """A texture of few texels."""
    data = np.random.default_rng(3).uniform(low, high, (size, size, channels)).astype(np.float32)
    return {"type": "bitmap", "data": mi.TensorXf(data), "raw": True, **more}


def load_all() -> dict[str, Situation]:
    """All situations by name."""
    _load()
    return SITUATIONS


@functools.cache
def _load() -> None:
    from . import cameras, lights, materials, media, shapes, textures

    for module in (materials, textures, lights, shapes, cameras, media):
        module.register()


__all__ = ["SITUATIONS", "Situation", "T", "add", "ball", "bitmap", "camera", "diffuse", "film", "glow", "load_all", "rgb", "sheet", "sky", "stage"]  # fmt: skip
