"""The border of the light of a spot without falloff, on the surfaces that it lights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import drjit as dr
import mitsuba as mi

from ...core.recording import recording

SCALE = 0.4  # keeps the level function between -1 and 1: its only integer value is 0, at the border
_found: set[int] = set()  # spots without falloff, by address
HARD = 1e-3  # share of the cone's angle: a falloff that is narrower is a jump


def is_hard(emitter: Any) -> bool:
    """Is it a spot whose ``beam_width`` reaches its ``cutoff_angle``?

    Inside of what `dr.freeze` records nothing is read: what was found before counts.
    """
    if emitter.class_name() != "SpotLight":
        return False
    if not recording():
        params = mi.traverse(emitter)
        cutoff, beam = (dr.detach(params[k]) for k in ("cutoff_angle", "beam_width"))
        (_found.add if (beam >= cutoff * (1 - HARD))[0] else _found.discard)(emitter.ptr)
    return emitter.ptr in _found


def cone(emitter: Any) -> Callable[[Any], list]:
    """SCALE · (cosine of the angle between the spot's axis and the point - that of its cone)."""

    params = mi.traverse(emitter)

    def values(si: Any) -> list:
        local = params["to_world"].inverse() @ mi.Point3f(si.p)
        cos = local.z / dr.norm(local)
        return [SCALE * (cos - dr.cos(dr.deg2rad(params["cutoff_angle"])))]

    return values
