"""When jumps inside surfaces are sampled, and through which cameras."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import drjit as dr
import mitsuba as mi

from ...scene.sensors import cameras, sensor_moves
from ..boundary import EdgeRecord
from ..primary_edges import sample_count
from .levels import Level, Levels
from .seen import seen_record


def attached(node: Any) -> bool:
    """Does a parameter of a plugin or of what is below it hang on the AD graph?"""
    params = mi.traverse(node)
    return any(dr.grad_enabled(params[key]) for key in params.keys())


def shape_moves(shape: Any) -> bool:
    """Is its geometry attached, texture coordinates and normals included?"""
    if shape.parameters_grad_enabled():
        return True
    if not shape.is_mesh():
        return False
    params = mi.traverse(shape)
    return any(dr.grad_enabled(params[k]) for k in ("vertex_texcoords", "vertex_normals") if k in params)


def moving_levels(scene: Any, everywhere: bool) -> Levels:
    """The level functions that may move.

    Args:
        everywhere: what surfaces are seen from moves.
    """

    def keep(level: Level, shapes: list) -> bool:
        with dr.resume_grad():
            return everywhere or any(map(attached, level.sources)) or any(map(shape_moves, shapes))

    return Levels(scene, keep)


def jump_records(integrator: Any, scene: Any, sensor: Any, seed: Any, spp: int) -> Iterator[EdgeRecord]:
    """Jumps that the cameras of ``sensor`` see."""
    levels = moving_levels(scene, sensor_moves(sensor))
    if not len(levels):
        return
    for k, camera in enumerate(cameras(sensor)):
        for j, part in enumerate(levels.ranks()):
            stream = mi.sample_tea_32(mi.UInt32(seed) ^ 0x5BD1E995, mi.UInt32(4 * k + j))[0]
            dr.make_opaque(stream)
            record = seen_record(integrator, scene, camera, part, stream, spp, sample_count(camera, spp))
            with dr.resume_grad():
                moves = dr.grad_enabled(record.speed)
            if moves:
                yield record
            del record  # nothing attached may be left in forward mode
