"""Transforms of many shapes as arrays, for use by index."""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi

Columns = tuple[Any, Any, Any, Any]


def columns(transforms: list[Any]) -> Columns:
    """Axes x, y, z and origins of affine transforms (mi.Transform4f): Vector3f each, one lane per transform, attached if they are.

    By a call of one function per transform, which Dr.Jit merges: its code does not grow with their number. Joined number by
    number, a hundred transforms take LLVM twenty seconds.
    """
    return _columns([t.matrix for t in transforms])


def held_columns(transforms: list[Any]) -> Columns:
    """The same, detached."""
    with dr.suspend_grad():
        return _columns([dr.detach(t.matrix) for t in transforms])


def tangents(transforms: list[Any]) -> Columns:
    """Their tangents (forward mode), detached. Not through the call: Dr.Jit carries none while another one hangs on the same
    parameters."""
    zero, found = dr.zeros(mi.Matrix4f), []
    for t in transforms:
        moves = dr.grad_enabled(t.matrix)
        found.append(dr.forward_to(t.matrix, flags=dr.ADFlag.ClearInterior | dr.ADFlag.AllowNoGrad) if moves else zero)
    with dr.suspend_grad():
        return _columns(found)


def with_tangents(values: Any, tangents: Any) -> list[Any]:
    """Copies of ``values`` that are leaves of the AD graph with these tangents."""
    copies = []
    for v, tangent in zip(values, tangents):
        v = type(v)(dr.detach(v))
        dr.enable_grad(v)
        dr.set_grad(v, tangent)
        copies.append(v)
    return copies


def _columns(matrices: list[Any]) -> Columns:
    def of(matrix: Any) -> Any:
        return lambda: tuple(mi.Vector3f(matrix[0, j], matrix[1, j], matrix[2, j]) for j in range(4))

    if len(matrices) == 1:
        return of(matrices[0])()
    return dr.switch(dr.arange(mi.UInt32, len(matrices)), [of(m) for m in matrices])
