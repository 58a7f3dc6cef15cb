"""The border of the light of a spot without falloff, on the surfaces that it lights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import drjit as dr
import mitsuba as mi

SCALE = 0.4  # keeps the level function between -1 and 1: its only integer value is 0, at the border
HARD = 1e-3  # share of the cone's angle: a falloff that is narrower is a jump


def is_hard(emitter: Any) -> bool:
    """Is it a spot whose ``beam_width`` reaches its ``cutoff_angle``? Literals and evaluated numbers are read, nothing else."""
    if emitter.class_name() != "SpotLight":
        return False
    params = mi.traverse(emitter)
    cutoff, beam = (dr.detach(params[k]) for k in ("cutoff_angle", "beam_width"))
    return bool((beam >= cutoff * (1 - HARD))[0])


def cone(emitter: Any) -> Callable[[Any], list]:
    """SCALE · (cosine of the angle between the spot's axis and the point - that of its cone)."""

    def values(si: Any) -> list:
        params = mi.traverse(emitter)
        local = params["to_world"].inverse() @ mi.Point3f(si.p)
        cos = local.z / dr.norm(local)
        return [SCALE * (cos - dr.cos(dr.deg2rad(params["cutoff_angle"])))]

    return values
