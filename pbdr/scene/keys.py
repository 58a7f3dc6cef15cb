"""Names, shapes and kinds of Mitsuba scene parameters: the one adapter for both."""

from __future__ import annotations

import fnmatch
import re
from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from ..core.errors import InputError, near_matches
from .names import ADDRESS, MERGED

MOST = 12  # names in a message
POSITIONS = "vertex_positions"  # 3.10 renames it


def find_keys(params: Any, pattern: str) -> list[str]:
    """Keys of ``params`` that match a name or glob.

    Raises:
        InputError: nothing matches; names the nearest keys, and says if meshes were merged or have no name.
    """
    names = list(params.keys())
    found = [k for k in names if k == pattern] or fnmatch.filter(names, pattern)
    if not found:
        names = [k for k in names if not ADDRESS.match(k)]  # which nobody could use in another run
        raise InputError(
            f"The scene has no parameter '{pattern}'.{near_matches(pattern, names)}{_lost_names(params)}"
            f" It has: {', '.join(_tellingly(params, names)[:MOST])}{' ...' if len(names) > MOST else ''}"
        )
    return found


def _tellingly(params: Any, names: list[str]) -> list[str]:
    """Those of shapes, materials and lights first."""

    def is_of_sensor(key: str) -> bool:
        entry = getattr(params, "properties", {}).get(key)
        return "." not in key or (entry is not None and isinstance(entry[2], mi.Sensor | mi.Film))

    return sorted(names, key=is_of_sensor)


def _lost_names(params: Any) -> str:
    """Why a name of the file may be missing."""
    nameless = [k for k in params.keys() if ADDRESS.match(k)]
    merged = [k for k in nameless if node_of(params, k) == "Mesh"]
    if merged or any(re.match(rf"{MERGED}(_\d+)?\.", k) for k in params.keys()):
        return (
            " The scene was loaded with merging: meshes of one material have become one, without their names. Use"
            " pbdr.load_file(path) or mi.load_file(path, optimize=False)."
        )
    if nameless:
        return (
            " Objects without an id have other names in each run: give them an id, or use pbdr.load_file, which names"
            " them by their tag (sensor, shape, shape_1, ...)."
        )
    return ""


def node_of(params: Any, key: str) -> str:
    """Class name of the object that a parameter belongs to; empty if ``params`` does not tell."""
    entry = getattr(params, "properties", {}).get(key)
    return entry[2].class_name() if entry is not None else ""


def require_differentiable(params: Any, key: str) -> Any:
    """The value of ``key``, if gradients can be asked for.

    Raises:
        InputError: an integer (8-bit map, index buffer) or another non-differentiable type, or what cannot be set.
    """
    value = params[key]
    if isinstance(params, mi.SceneParameters) and params.flags(key) & mi.ParamFlags.ReadOnly:
        raise InputError(
            f"Parameter '{key}' is read-only in Mitsuba {mi.__version__}: its object cannot be given another."
        )
    if isinstance(value, (mi.TensorXf, mi.Float)) or (dr.is_diff_v(type(value)) and dr.is_float_v(type(value))):
        return value
    kind = type(value).__name__
    if "Transform" in kind:
        return value
    if kind in ("float", "int"):
        raise InputError(
            f"Parameter '{key}' ({kind}) is not differentiable: Mitsuba keeps a plain number there, which no AD graph reaches."
            " Compare renders of a few values."
        )
    remedy = (
        ' It is an 8-bit map: load it with format="variant" in the scene'
        ' (<string name="format" value="variant"/>), and raw="true" for roughness.'
        if kind.startswith("TensorX")
        else ""
    )
    raise InputError(f"Parameter '{key}' ({kind}) is not differentiable.{remedy}")


def is_distance_grid(key: str, value: Any) -> bool:
    """Whether it is the grid of an ``sdfgrid``."""
    return key.rsplit(".", 1)[-1] == "grid" and dr.is_tensor_v(value) and value.ndim == 4


def is_sky(params: Any, key: str) -> bool:
    """Whether it is the map of an ``envmap``, which has a column more on both sides than the picture: see `bordered`."""
    return key.rsplit(".", 1)[-1] == "data" and node_of(params, key) == "EnvironmentMapEmitter"


def bordered(picture: Any) -> Any:
    """The map that an ``envmap`` keeps of a ``picture`` [height, width, channels]: [height, width + 2, channels].

    A copy of the last column on the left and of the first on the right, so that it can be interpolated all around.
    `update` makes them anew from the columns between, the only ones that have a gradient.
    """
    h, w, channels = picture.shape
    i = dr.arange(mi.UInt32, h * (w + 2) * channels)
    c, x, y = i % channels, (i // channels) % (w + 2), i // (channels * (w + 2))
    values = dr.gather(mi.Float, picture.array, (y * w + (x + (w - 1)) % w) * channels + c)
    return type(picture)(values, (h, w + 2, channels))


def unbordered(value: Any) -> Any:
    """The picture in the map of an ``envmap``: inverse of `bordered`; a tensor or an array."""
    return value[:, 1:-1]


def picture(params: Any, key: str) -> np.ndarray:
    """A scene value as an array, the map of an ``envmap`` without its border."""
    value = numbers(params[key])
    return unbordered(value) if is_sky(params, key) else value


def is_spectral_model(params: Any, key: str) -> bool:
    """Whether it holds coefficients of Mitsuba's spectra in the place of colours, as in spectral variants."""
    if not mi.is_spectral:
        return False
    kind, last = node_of(params, key), key.rsplit(".", 1)[-1]
    if kind.startswith("BitmapTexture") and last == "data":
        return params[key].shape[2] == 3 and "raw = 0" in str(params.properties[key][2])
    return is_sky(params, key) or (last == "value" and kind in ("SRGBReflectanceSpectrum", "D65Spectrum"))


def is_positions(key: str) -> bool:
    return key.rsplit(".", 1)[-1] == POSITIONS


def is_transform(value: Any) -> bool:
    return "Transform" in type(value).__name__


def parts(value: Any) -> list[Any]:
    """The arrays of a scene value."""
    return [value.matrix, value.inverse_transpose] if is_transform(value) else [value]


def numbers(value: Any) -> np.ndarray:
    """A scene value as an array; a transform as its 4×4 matrix."""
    if is_transform(value):
        return np.array(value.matrix, np.float64).reshape(4, 4, -1)[..., 0]
    return np.array(value)
