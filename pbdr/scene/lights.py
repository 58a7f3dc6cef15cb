"""Lights whose position or direction is attached to the AD graph."""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi

from ..core.memo import asked_once

PLACES = ("position", "to_world")


@asked_once
def lights_move(scene: Any) -> bool:
    """Whether a point-like light moves: its shadows then move over resting surfaces.

    Area lights are shapes, whose borders are outlines; environments have no border.
    """
    with dr.resume_grad():
        for emitter in scene.emitters():
            if mi.has_flag(emitter.flags(), mi.EmitterFlags.Delta):
                params = mi.traverse(emitter)
                if any(k in params and dr.grad_enabled(params[k]) for k in PLACES):
                    return True
    return False
