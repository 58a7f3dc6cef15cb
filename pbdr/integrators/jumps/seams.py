"""Whether a texture jumps where the angle of a sphere, cylinder or disk begins again."""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi

from ...core.memo import asked_once
from ...core.recording import recording
from ...scene.shapes import textures_of

ROUND = {"Sphere": 0, "Cylinder": 0, "Disk": 1}  # shapes whose texture coordinate of that number is an angle
EPS = 1e-6  # of the whole angle, on either side
LEAST = 1e-3  # jump, relative to the largest value there, that counts
POINTS = 64
_found: set[int] = set()  # textures that jump, by address: others are asked again, as what they show may change


@asked_once
def jumps_at_seam(shape: Any) -> bool:
    """Does a smooth texture of a round shape have different values at both ends of the coordinate that is an angle?

    So it is with ``wrap_mode`` clamp or mirror, and where ``to_uv`` does not map 1 to a whole number. Inside of what `dr.freeze`
    records nothing is read: what was found before counts.
    """
    axis = ROUND[shape.class_name()]
    return any(texture.ptr in _found or (not recording() and _jumps(texture, axis)) for texture in textures_of(shape))


def _jumps(texture: Any, axis: int) -> bool:
    with dr.suspend_grad():
        si = dr.zeros(mi.SurfaceInteraction3f, 2 * POINTS)
        k = dr.arange(mi.UInt32, 2 * POINTS)
        along = (mi.Float(k >> 1) + 0.37) / POINTS
        end = dr.select((k & 1) == 0, mi.Float(EPS), 1 - EPS)
        si.uv = mi.Point2f(end, along) if axis == 0 else mi.Point2f(along, end)
        si.wavelengths = mi.Color0f() if not mi.is_spectral else si.wavelengths + 550
        try:
            value = mi.Float(dr.mean(texture.eval(si)))
        except RuntimeError:  # of one channel
            value = texture.eval_1(si)
        a, b = (dr.gather(mi.Float, value, 2 * dr.arange(mi.UInt32, POINTS) + j) for j in (0, 1))
        jumps = bool((dr.max(dr.abs(a - b)) > LEAST * dr.max(dr.abs(value)))[0])
    if jumps:
        _found.add(texture.ptr)
    return jumps
