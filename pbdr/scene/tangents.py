"""Tangents of a scene's parameters, carried to all that shapes and sensors keep beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import drjit as dr
import mitsuba as mi

from ..core.errors import UnsupportedError
from .attached import values

# Of a traversal that uses up its graph; parameters keep their tangents.
ONCE = dr.ADFlag.ClearEdges | dr.ADFlag.ClearInterior | dr.ADFlag.AllowNoGrad


@contextmanager
def settled(scene: Any) -> Iterator[None]:
    """Within: whatever is derived from the scene's parameters has its tangent, and hangs on nothing.

    `mi.render` asks for a derivative image in the middle of a traversal, where parameters have their tangents but what is
    derived from them (inverse transforms, normals, edges) has not. The first of the traversals that a render consists
    of would carry them there, and use up the edges: all later ones would see shapes at rest. So parameters are replaced
    by copies, whose tangents are carried on at once, until the render is done.
    """
    with dr.resume_grad():
        params = mi.traverse(scene)
        # Copies of the handles: what is assigned below reaches those of the scene itself.
        kept = {key: type(value)(value) for key, value in values(params) if dr.grad_enabled(value)}
        kept = {key: value for key, value in kept.items() if not params.flags(key) & mi.ParamFlags.ReadOnly}  # derived
        for key in [k for k in kept if k.endswith("vertex_normals")]:
            # Made anew from the positions, unless they have been set.
            positions = key.removesuffix("vertex_normals") + "vertex_positions"
            if positions in kept and dr.all(dr.grad(kept[key]) == 0, axis=None):
                del kept[key]
    if not kept:
        yield
        return
    try:
        with dr.resume_grad():
            copies = {}
            for key, value in kept.items():
                copies[key] = copy = dr.detach(value)
                dr.enable_grad(copy)
                dr.set_grad(copy, dr.grad(value))
                params[key] = copy
            params.update()
            dr.enqueue(dr.ADMode.Forward, *copies.values())
            dr.traverse(dr.ADMode.Forward, dr.ADFlag.ClearEdges)
        yield
    finally:
        with dr.resume_grad():
            for key, value in kept.items():
                params[key] = value
            params.update()


def tangents_only(v: Any) -> Any:
    """A copy that has the tangent of ``v``, without the way on which that came (forward mode).

    Dr.Jit does not carry derivatives through calls of shapes while something else hangs on their parameters.
    """
    if not dr.grad_enabled(v):
        return v
    tangent = dr.forward_to(v, flags=dr.ADFlag.ClearInterior | dr.ADFlag.AllowNoGrad)
    v = type(v)(dr.detach(v))
    dr.enable_grad(v)
    dr.set_grad(v, tangent)
    return v


def ray_tangent(attached: Any, sensor: Any) -> tuple[Any, Any]:
    """Derivatives of origin and direction of the sensor's attached rays.

    Raises:
        UnsupportedError: inside `mi.render`, Dr.Jit 1.5 carries none through the calls of a batch.
    """
    flags = dr.ADFlag.ClearInterior | dr.ADFlag.AllowNoGrad
    with dr.resume_grad():
        try:
            # One after the other: the origin depends on the direction.
            d = dr.forward_to(attached.d, flags=flags)
            dr.clear_grad(attached.d)
            return dr.forward_to(attached.o, flags=flags), d
        except RuntimeError:
            if sensor.class_name() != "BatchSensor":
                raise
            raise UnsupportedError(
                f"Sensor '{sensor.id()}' (batch): forward mode of mi.render cannot differentiate the sensors in a batch. Use"
                " backward mode, integrator.render_forward, or render each of them by itself."
            ) from None
