"""What `gradcheck` is given, checked before anything is rendered."""

from __future__ import annotations

import math
from typing import Any

import mitsuba as mi
import numpy as np

from ..core.errors import InputError
from ..scene.keys import find_keys

LEAST_SEEDS = 4


def check_arguments(
    scene: Any, key: Any, direction: Any, integrators: dict[str, Any], step: Any, counts: dict[str, Any], required: Any
) -> None:
    """Refuse what cannot be meant.

    Args:
        integrators: by the names of their arguments; ``None``: not given.
        counts: numbers that must be whole and positive.

    Raises:
        InputError: names argument, value and remedy.
    """
    if not isinstance(scene, mi.Scene):
        raise InputError(f"gradcheck needs a scene that is loaded (mi.load_dict, pbdr.load_file), got {_what(scene)}.")
    if not isinstance(key, str):
        raise InputError(f"gradcheck: 'key' is the name of one parameter (see mi.traverse(scene)), got {_what(key)}.")
    find_keys(mi.traverse(scene), key)
    for name, value in integrators.items():
        if value is not None and not isinstance(value, mi.Integrator):
            raise InputError(
                f"gradcheck: '{name}' is a loaded plugin, mi.load_dict({{'type': ...}}), got {_what(value)}."
            )
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or (value < 1 and name != "seeds"):
            raise InputError(f"gradcheck: '{name}' must be a whole number >= 1, got {value!r}.")
    if counts["seeds"] < LEAST_SEEDS:
        raise InputError(f"gradcheck needs at least {LEAST_SEEDS} seeds for error bars, got {counts['seeds']}.")
    for name, value in (("step", step), ("required_error", required)):
        if not isinstance(value, int | float | np.number) or not (math.isfinite(value) and value > 0):
            raise InputError(f"gradcheck: '{name}' must be a number > 0, got {value!r}.")
    if direction is None:
        raise InputError("gradcheck: 'direction' is a name (uniform, random, translate_x, ...) or an array, got None.")
    if not isinstance(direction, str):
        entries = np.asarray(direction, np.float64)
        if not np.isfinite(entries).all():
            raise InputError("gradcheck: 'direction' has entries that are not finite.")
        if not entries.any():
            raise InputError(
                "gradcheck: 'direction' is 0 everywhere, along which nothing changes; give an entry another value."
            )


def _what(value: Any) -> str:
    return repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
