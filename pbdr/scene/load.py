"""Loading of scene files with messages that name the file and the remedy; orbiting cameras."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import mitsuba as mi

from ..core.errors import InputError


def load_file(path: str | Path, **parameters: Any) -> Any:
    """`mi.load_file` for a scene, with errors a user can act on.

    Raises:
        InputError: the file is missing, or Mitsuba refuses it.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such scene file.")
    try:
        return mi.load_file(str(path), **{k: str(v) for k, v in parameters.items()})
    except (RuntimeError, ValueError) as error:
        message = str(error).strip().splitlines()[0]
        remedy = ""
        if "lookAt" in str(error) or "unexpected" in str(error):
            remedy = (
                ' The file may be in the format of Mitsuba 0.x: set version="3.0.0", write names in'
                " snake_case (lookAt is <lookat>), and use <rgb> for colours."
            )
        raise InputError(f"{path}: Mitsuba cannot load this scene: {message}{remedy}") from None


def orbit(views: Any, held_out: bool = False) -> list[Any]:
    """Perspective sensors around ``views.target``; the held-out ones lie between the others."""
    count = views.held_out if held_out else views.count
    sensors = []
    for k in range(count):
        azimuth = 2 * math.pi * (k + (0.5 if held_out else 0.0)) / count
        elevation = math.radians(views.elevations[k % len(views.elevations)])
        offset = (
            math.cos(elevation) * math.sin(azimuth),
            math.sin(elevation),
            math.cos(elevation) * math.cos(azimuth),
        )
        origin = [t + views.distance * o for t, o in zip(views.target, offset)]
        sensors.append(
            mi.load_dict(
                {
                    "type": "perspective",
                    "fov": views.fov,
                    "to_world": mi.ScalarTransform4f().look_at(origin, list(views.target), [0, 1, 0]),
                    "film": {
                        "type": "hdrfilm",
                        "width": views.width,
                        "height": views.height,
                        "pixel_format": "rgb",
                        "sample_border": True,
                        "rfilter": {"type": "gaussian"},
                    },
                    "sampler": {"type": "independent"},
                }
            )
        )
    return sensors
