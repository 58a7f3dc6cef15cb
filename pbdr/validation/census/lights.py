"""Situations of emitters: what they light, and what is seen of them."""

from __future__ import annotations

from typing import Any

from .situations import T, add, ball, bitmap, diffuse, glow, rgb, sky, stage


def light(name: str, emitter: Any, plugins: str = "", own: str = "light.*", **more: Any) -> None:
    """Register an emitter; ``emitter`` makes its dictionary."""

    def build() -> dict:
        return stage(thing=ball(diffuse(0.6, 0.3, 0.2), 0.6), lamp=None, light=emitter(), **more_objects(name))

    add(name, "Emitter", plugins or name.split()[0], build, own, **more)


def more_objects(name: str) -> dict:
    """Mitsuba allows one sky: those that are one replace the stage's."""
    return {"sky": None} if name.split()[0] in ("constant", "envmap", "sunsky", "timed_sunsky") else {}


def aimed(x: float = 1.0, y: float = 1.9, z: float = 1.0) -> Any:
    return T().look_at([x, y, z], [0, -0.3, 0], [0, 1, 0])


def register() -> None:
    panel = {"type": "rectangle", "to_world": aimed().scale(0.35)}
    light("area", lambda: {**panel, "emitter": glow(9, 8, 6)}, core=True)
    light("area textured", lambda: {**panel, "emitter": {"type": "area", "radiance": bitmap(low=2, high=9)}})
    light(
        "area seen",
        lambda: {"type": "sphere", "center": [-0.9, 0.5, 0.5], "radius": 0.3, "emitter": glow(3, 2, 1)},
    )
    light("constant", lambda: {"type": "constant", "radiance": rgb(0.5, 0.6, 0.9)}, core=True)
    light("directional", lambda: {"type": "directional", "to_world": aimed(), "irradiance": rgb(3, 2.5, 2)})
    light(
        "directionalarea",
        lambda: {
            "type": "rectangle",
            "to_world": aimed().scale(1.5),
            "emitter": {"type": "directionalarea", "radiance": rgb(3, 2.5, 2)},
        },
    )
    light("envmap", sky, core=True)
    light("envmap scaled", lambda: {**sky(), "scale": 1.7, "to_world": T().rotate([0, 1, 0.3], 40)})
    light("point", lambda: {"type": "point", "position": [1.5, 3, 2], "intensity": rgb(20, 18, 12)}, core=True)
    light(
        "projector",
        lambda: {
            "type": "projector",
            "to_world": aimed(),
            "fov": 40,
            "irradiance": bitmap(low=5, high=20),
            "scale": 1.5,
        },
    )
    spot = {"type": "spot", "to_world": aimed(), "cutoff_angle": 22, "beam_width": 15}
    light("spot", lambda: {**spot, "intensity": rgb(30, 25, 20)})
    light("spot textured", lambda: {**spot, "intensity": rgb(30, 25, 20), "texture": bitmap()})
    day = {"turbidity": 3.6, "albedo": 0.3, "sun_scale": 0.02, "sky_scale": 1.0}
    light(
        "sunsky",
        lambda: {"type": "sunsky", "sun_direction": [0.4, 0.7, 0.5], **_up(), **day},
        variants=("rgb", "spectral"),
    )
    light(
        "timed_sunsky",
        lambda: {"type": "timed_sunsky", "window_start_time": 9.0, "window_end_time": 15.0, **_up(), **day},
        variants=("rgb", "spectral"),
    )


def _up() -> dict:
    """Mitsuba's skies have +Z above; the stage has +Y."""
    return {"to_world": T().rotate([1, 0, 0], -90)}
