"""Several illuminations of one scene: what each lamp gives, image by image."""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from ..core.arrays import on_device
from ..core.errors import InputError, near_matches
from .keys import find_keys, is_transform, numbers


class Lighting:
    """Switches a scene from one illumination to another.

    Args:
        params: what `mi.traverse(scene)` returned.
        lights: mappings {key or glob: number, or list of numbers} by the name of the illumination. What one of them
            leaves out has the value of the scene file.
        optimized: keys that are looked for, which no illumination may set.

    Raises:
        InputError: an unknown key, one that is optimized, or a value of another size; names the illumination.
    """

    def __init__(self, params: Any, lights: dict[str, dict[str, Any]], optimized: Any = ()):
        self.params = params
        self.values: dict[str, dict[str, np.ndarray]] = {}
        for name, wanted in lights.items():
            values = {}
            for pattern, given in wanted.items():
                try:
                    keys = find_keys(params, pattern)
                except InputError as error:
                    raise InputError(f"[[lights]] '{name}': {error}") from None
                values |= {key: self._checked(name, key, given) for key in keys}
            self.values[name] = values
            if taken := sorted(set(values) & set(optimized)):
                raise InputError(
                    f"[[lights]] '{name}' sets '{taken[0]}', which is optimized: take it out of one of them."
                )
        keys = sorted({key for values in self.values.values() for key in values})
        self.usual = {key: numbers(params[key]).copy() for key in keys}
        self.on: str | None = None

    def _checked(self, name: str, key: str, given: Any) -> np.ndarray:
        old, matrix = numbers(self.params[key]), is_transform(self.params[key])
        try:
            value = np.asarray(given, np.float64)
        except (TypeError, ValueError):
            value = np.array(np.nan)
        if not np.isfinite(value).all() or value.size not in ({16} if matrix else {1, old.size}):
            expected = (
                "a number"
                if old.size == 1
                else f"{old.size} finite numbers" + (", row by row" if matrix else " or one")
            )
            raise InputError(f"[[lights]] '{name}', key '{key}': expected {expected}, got {given!r}.")
        return np.broadcast_to(value.ravel(), (old.size,)).reshape(old.shape)

    def turn_on(self, name: str | None) -> None:
        """Show the scene in illumination ``name``; as in its file for ``None``.

        Raises:
            InputError: there is no such illumination.
        """
        if name is not None and name not in self.values:
            raise InputError(f"There are no [[lights]] named '{name}'.{near_matches(name, list(self.values))}")
        if name == self.on or not self.usual:
            return
        values = self.usual if name is None else self.usual | self.values[name]
        for key, value in values.items():
            new = _as(self.params[key], value)
            dr.make_opaque(new)  # a literal would be compiled into the kernels
            self.params[key] = new
        self.params.update()
        self.on = name


def _as(old: Any, value: np.ndarray) -> Any:
    """``value`` in the type of the scene value ``old``."""
    kind = type(old)
    if is_transform(old):
        return kind(mi.Matrix4f(value))
    if dr.is_tensor_v(old):
        return kind(on_device(type(old.array), value.astype(np.float32)), value.shape)
    if dr.depth_v(old) == 1:
        return on_device(kind, value.astype(np.float32))
    return kind(*(float(x) for x in value.ravel())) if value.size > 1 else kind(value.item())
