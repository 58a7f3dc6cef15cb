"""One-dimensional families of scenes: a parameter moved along a direction by θ."""

from __future__ import annotations

import re
from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from ..core.errors import InputError
from ..scene.keys import find_keys, is_positions, is_transform, require_differentiable

AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
GEOMETRIC = re.compile(r"(translate|rotate)_([xyz])$|scale$")
# Of transforms, by the number of their rows.
PLANE_OR_SPACE = {
    3: re.compile(r"translate_[xy]$|rotate$|scale$"),
    4: re.compile(r"(translate|rotate)_([xyz])$|scale$|random$"),
}
KNOWN = {3: "translate_x|y, rotate, scale", 4: "translate_x|y|z, rotate_x|y|z, scale, random"}
SOMEWHERE = (0.48, -0.6, 0.64)


class Perturbation:
    """Sets one parameter to its value at θ.

    Args:
        params: what `mi.traverse(scene)` returned.
        key: parameter name.
        direction: ``translate_x|y|z`` (scene units), ``rotate_x|y|z`` (radians about the origin of
            the object), ``scale`` (relative, about the centroid), ``uniform`` (adds θ everywhere),
            ``random`` (a fixed direction of maximum 1; of a transform a fixed translation with a turn) or an array of the
            parameter's size. Transforms of a plane (3 × 3) have ``translate_x|y``, ``rotate`` and ``scale``; arrays are
            added to the matrix of a transform.

    Raises:
        InputError: no such parameter, or a direction that it does not have.
    """

    def __init__(self, params: Any, key: str, direction: Any = "uniform"):
        (self.key,) = find_keys(params, key)[:1]
        self.params = params
        value = require_differentiable(params, self.key)
        kind = type(value).__name__
        if kind.startswith("Scalar"):
            raise InputError(
                f"Parameter '{self.key}' ({kind}) is not differentiable: Mitsuba keeps it on the host, outside of the AD graph."
            )
        value = dr.detach(value)  # the caller may have attached it
        self.start = type(value)(value)
        self.direction = direction
        self.transform = is_transform(value)
        self.tangent = None
        named = isinstance(direction, str)
        if self.transform:
            self.size = len(value.matrix)
            properties = getattr(params, "properties", {})
            if (
                named
                and direction == "scale"
                and self.key in properties
                and isinstance(properties[self.key][2], mi.Sensor)
            ):
                raise InputError(
                    f"'{self.key}' belongs to a sensor, which cannot be scaled: take translate_x, rotate_x, random, ..."
                )
            if not named:
                self.tangent = self._array(np.asarray(direction, np.float64), self.size**2)
            elif not PLANE_OR_SPACE[self.size].match(direction):
                raise InputError(f"'{self.key}' is a transform: its direction is {KNOWN[self.size]}, or an array.")
            return
        flat = np.array(dr.ravel(value), np.float64)
        if named and GEOMETRIC.match(direction):
            if not (is_positions(self.key) or (dr.size_v(type(value)) == 3 and direction.startswith("translate"))):
                raise InputError(f"Direction '{direction}' needs vertex positions or a transform, not '{self.key}'.")
            tangent = _geometric_tangent(flat.reshape(-1, 3), direction).ravel()
        elif named and direction == "uniform":
            tangent = np.ones(len(flat))
        elif named and direction == "random":
            tangent = np.random.default_rng(0).uniform(-1, 1, len(flat))
        elif named:
            raise InputError(
                f"Unknown direction '{direction}'; known: translate_x|y|z, rotate_x|y|z, scale, uniform,"
                " random, or an array."
            )
        else:
            tangent = np.asarray(direction, np.float64).ravel()
        self.tangent = self._array(tangent, len(flat))

    def _array(self, tangent: np.ndarray, count: int) -> Any:
        if tangent.size != count:
            raise InputError(f"The direction has {tangent.size} numbers, '{self.key}' has {count}.")
        return mi.Float(tangent.ravel().astype(np.float32))

    def set(self, θ: Any) -> None:
        """Move the scene to θ (Float, may be attached) and update it."""
        θ = mi.Float(θ)
        if self.transform:
            self.params[self.key] = self._moved(θ)
        else:
            value = dr.fma(self.tangent, θ, dr.ravel(self.start))
            kind = type(self.start)
            if dr.is_tensor_v(kind):
                value = kind(value, dr.shape(self.start))
            elif dr.depth_v(kind) > 1:
                value = dr.unravel(kind, value)
            self.params[self.key] = value
        self.params.update()

    def reset(self) -> None:
        self.set(0.0)

    def _moved(self, θ: Any) -> Any:
        if self.tangent is not None:
            rows = [[self.tangent[self.size * i + j] * θ for j in range(self.size)] for i in range(self.size)]
            matrix = self.start.matrix
            return type(self.start)(type(matrix)(matrix + type(matrix)(*[x for row in rows for x in row])))
        if self.size == 3:
            return self._plane_motion(θ) @ mi.Transform3f(self.start)
        return self._motion(self.direction, θ) @ mi.Transform4f(self.start)

    def _motion(self, direction: str, θ: Any) -> Any:
        if direction == "random":
            turn = self._about_centre(mi.Transform4f().rotate(mi.Point3f(*SOMEWHERE), dr.rad2deg(θ)))
            return mi.Transform4f().translate(mi.Point3f(*SOMEWHERE) * θ) @ turn
        if direction == "scale":
            return self._about_centre(mi.Transform4f().scale(1 + θ))
        verb, axis = direction.split("_")
        if verb == "translate":
            return mi.Transform4f().translate(mi.Point3f(*AXES[axis]) * θ)
        return self._about_centre(mi.Transform4f().rotate(mi.Point3f(*AXES[axis]), dr.rad2deg(θ)))

    def _about_centre(self, motion: Any) -> Any:
        centre = dr.detach(mi.Transform4f(self.start) @ mi.Point3f(0))
        there, back = mi.Transform4f().translate(centre), mi.Transform4f().translate(-centre)
        return there @ motion @ back

    def _plane_motion(self, θ: Any) -> Any:
        if self.direction.startswith("translate"):
            return mi.Transform3f().translate(mi.Point2f(*AXES[self.direction[-1]][:2]) * θ)
        centre = dr.detach(mi.Transform3f(self.start) @ mi.Point2f(0))
        there, back = mi.Transform3f().translate(centre), mi.Transform3f().translate(-centre)
        turn = mi.Transform3f().rotate(dr.rad2deg(θ)) if self.direction == "rotate" else mi.Transform3f().scale(1 + θ)
        return there @ turn @ back


def _geometric_tangent(points: np.ndarray, direction: str) -> np.ndarray:
    if direction == "scale":
        return points - points.mean(0)
    verb, axis = direction.split("_")
    a = np.array(AXES[axis])
    if verb == "translate":
        return np.broadcast_to(a, points.shape).copy()
    return np.cross(a, points - points.mean(0))
