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


class Perturbation:
    """Sets one parameter to its value at θ.

    Args:
        params: what `mi.traverse(scene)` returned.
        key: parameter name.
        direction: ``translate_x|y|z`` (scene units), ``rotate_x|y|z`` (radians about the origin of
            the object), ``scale`` (relative, about the centroid), ``uniform`` (adds θ everywhere),
            ``random`` (a fixed smooth direction of maximum 1) or an array of the parameter's size.
    """

    def __init__(self, params: Any, key: str, direction: Any = "uniform"):
        (self.key,) = find_keys(params, key)[:1]
        self.params = params
        value = require_differentiable(params, self.key)
        value = dr.detach(value)  # the caller may have attached it
        self.start = type(value)(value)
        self.transform = is_transform(value)
        geometric = isinstance(direction, str) and GEOMETRIC.match(direction)
        if self.transform:
            if not geometric:
                raise InputError(f"'{self.key}' is a transform: its direction is translate_x, rotate_x, scale, ...")
            self.direction = direction
            return
        flat = np.array(dr.ravel(value), np.float64)
        if geometric:
            if not is_positions(self.key):
                raise InputError(f"Direction '{direction}' needs vertex positions or a transform, not '{self.key}'.")
            tangent = _geometric_tangent(flat.reshape(-1, 3), direction).ravel()
        elif isinstance(direction, str) and direction == "uniform":
            tangent = np.ones(len(flat))
        elif isinstance(direction, str) and direction == "random":
            tangent = np.random.default_rng(0).uniform(-1, 1, len(flat))
        elif isinstance(direction, str):
            raise InputError(
                f"Unknown direction '{direction}'; known: translate_x|y|z, rotate_x|y|z, scale, uniform,"
                " random, or an array."
            )
        else:
            tangent = np.asarray(direction, np.float64).ravel()
            if len(tangent) != len(flat):
                raise InputError(f"The direction has {len(tangent)} numbers, '{self.key}' has {len(flat)}.")
        self.tangent = mi.Float(tangent.astype(np.float32))

    def set(self, θ: Any) -> None:
        """Move the scene to θ (Float, may be attached) and update it."""
        θ = mi.Float(θ)
        if self.transform:
            self.params[self.key] = self._motion(θ) @ mi.Transform4f(self.start)
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

    def _motion(self, θ: Any) -> Any:
        if self.direction == "scale":
            return self._about_centre(mi.Transform4f().scale(1 + θ))
        verb, axis = self.direction.split("_")
        if verb == "translate":
            return mi.Transform4f().translate(mi.Point3f(*AXES[axis]) * θ)
        return self._about_centre(mi.Transform4f().rotate(mi.Point3f(*AXES[axis]), dr.rad2deg(θ)))

    def _about_centre(self, motion: Any) -> Any:
        centre = dr.detach(mi.Transform4f(self.start) @ mi.Point3f(0))
        there, back = mi.Transform4f().translate(centre), mi.Transform4f().translate(-centre)
        return there @ motion @ back


def _geometric_tangent(points: np.ndarray, direction: str) -> np.ndarray:
    if direction == "scale":
        return points - points.mean(0)
    verb, axis = direction.split("_")
    a = np.array(AXES[axis])
    if verb == "translate":
        return np.broadcast_to(a, points.shape).copy()
    return np.cross(a, points - points.mean(0))
