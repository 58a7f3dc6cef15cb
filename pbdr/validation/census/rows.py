"""The rows of the census: which parameters of a situation move along which directions."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import drjit as dr
import numpy as np

from ...scene.keys import is_positions, is_transform
from ..perturbation import Perturbation
from .situations import Situation

ONE = "one entry"  # of an array: a texel, a vertex, ...
FEW = 4  # numbers that are moved as one
UNEVEN = 30.0  # ratio of the largest to the least of them, from which on each is moved in proportion to itself
SHARES = (0.5, 0.3, 0.7, 0.2, 0.85, 0.4, 0.6, 0.1, 0.95)  # where in an array the one entry is looked for


@dataclass(frozen=True)
class Row:
    """One derivative: a parameter of a situation along a direction."""

    situation: str
    key: str
    direction: str

    @property
    def name(self) -> str:
        return f"{self.situation}/{self.key}/{self.direction}"


def matches(name: str, only: str) -> bool:
    """Whether the name of a row matches a glob ``situation/key/direction``, whose last parts may be missing.

    Args:
        only: such globs, separated by commas.
    """
    for globs in ([*one.split("/"), "*", "*"][:3] for one in only.split(",")):
        if all(fnmatch.fnmatchcase(part, glob) for part, glob in zip(name.split("/"), globs, strict=False)):
            return True
    return False


def list_rows(situation: Situation, params: Any) -> list[Row]:
    """The rows of every floating-point parameter of the tested plugin, marked as differentiable or not."""
    rows = []
    for key in params.keys():
        if any(fnmatch.fnmatchcase(key, glob) for glob in situation.own):
            rows += [Row(situation.name, key, d) for d in directions(key, params[key]) if is_valid(key, d, params)]
    rows += [Row(situation.name, key, d) for key, d in situation.also]
    return list(dict.fromkeys(rows))


def directions(key: str, value: Any) -> Iterator[str]:
    """Names of the directions along which a parameter is moved; none if it does not hold floating-point numbers."""
    kind = type(value)
    if is_transform(value) and is_plain(value):
        yield "translate_x"  # it cannot be attached along any
    elif is_transform(value):
        yield "translate_x"
        yield "rotate_y" if key.startswith(("sensor", "light")) else "rotate_z"
        yield "scale"
    elif is_positions(key):
        yield from ("translate_x", "rotate_z", "scale", ONE)
    elif isinstance(value, float):
        yield "uniform"
    elif dr.is_array_v(kind) and dr.is_float_v(kind):
        size = size_of(value)
        if 0 < size <= FEW:
            yield "uniform"
        elif size > FEW:  # a mesh without texture coordinates has an empty array of them
            yield from ("random", ONE)


def is_valid(key: str, direction: str, params: Any) -> bool:
    """Whether the motion makes a scene of it: cameras, skies and directions must not be scaled.

    Of a scaled sky Mitsuba renders something, but its two sampling techniques disagree about what.
    """
    place, _, name = key.rpartition(".")
    is_light = place == "light" and f"{place}.silhouette_sampling_weight" not in params
    return not (direction == "scale" and name == "to_world" and (is_light or key.startswith("sensor")))


def size_of(value: Any) -> int:
    return len(np.ravel(np.array(value)))


def is_uneven(value: Any) -> bool:
    """Whether its numbers are of different kinds: those of a spectrum multiply 1, λ and λ² (in nanometres)."""
    if isinstance(value, float) or is_transform(value):
        return False
    sizes = np.abs(np.ravel(np.array(value)))
    return len(sizes) > 1 and sizes.max() > UNEVEN * sizes.min() > 0


def is_plain(value: Any) -> bool:
    """Whether it is a number (or a matrix) of the host: no array that could be attached to a graph."""
    return isinstance(value, float) or type(value).__name__.startswith("Scalar")


def natural_step(key: str, value: Any, direction: str) -> float:
    """Half width of the central differences to begin with: 8 % of the largest number, or of the stage's unit (a fifth of a
    pixel); of one entry, which does less, twice that. One vertex moves less: its faces soon turn away from the camera. Nodes of
    a spectrum stay in order."""
    wide = 0.16 if direction == ONE else 0.08
    if is_positions(key) and direction == ONE:
        return 0.02
    if is_transform(value) or is_positions(key):
        return wide
    if key.endswith("wavelengths"):
        return 0.2 * float(np.diff(np.ravel(np.array(value))).min())
    return wide * max(float(np.abs(np.array(value)).max()), 0.1)


def entries(key: str, value: Any) -> Iterator[np.ndarray]:
    """Directions that move one entry of an array, of which the first that the sensor sees is taken.

    Of vertex positions it is one coordinate of all vertices at one place: where texture seams or flat faces split a vertex,
    a mesh stays closed only if its copies move together, and only the sum of their gradients is a derivative.
    """
    numbers = np.ravel(np.array(value))
    for share in SHARES:
        direction = np.zeros(len(numbers))
        direction[int(share * len(numbers))] = 1
        if is_positions(key):
            points, one = numbers.reshape(-1, 3), direction.reshape(-1, 3)
            vertex = int(one.sum(1).argmax())
            one[np.abs(points - points[vertex]).max(1) < 1e-6] = one[vertex]
        yield direction


def moves(params: Any, row: Row) -> Iterator[Perturbation]:
    """The motion of a row; of one entry of an array there are several to choose from.

    Raises:
        InputError: the parameter cannot be attached to the AD graph.
    """
    if row.direction == ONE:
        for direction in entries(row.key, params[row.key]):
            yield Perturbation(params, row.key, direction)
    elif row.direction == "uniform" and is_uneven(params[row.key]):
        numbers = np.ravel(np.array(params[row.key]))
        yield Perturbation(params, row.key, numbers / np.abs(numbers).max())
    else:
        yield Perturbation(params, row.key, row.direction)


__all__ = [
    "ONE",
    "Row",
    "directions",
    "entries",
    "is_plain",
    "list_rows",
    "matches",
    "moves",
    "natural_step",
    "size_of",
]
