"""When jumps inside surfaces are sampled, and through which cameras."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import drjit as dr
import mitsuba as mi

from ...core.errors import warn_once
from ...sampling.film_guide import FilmGuide
from ...scene.instances import moved_by_instances
from ...scene.sensors import cameras, sensor_moves
from ...scene.shapes import shapes_move
from ..boundary import EdgeRecord
from ..path_state import SceneTraits
from ..primary_edges import sample_count
from .levels import Level, Levels
from .meetings import meeting_records
from .reflected import reflected_record
from .seen import seen_record

FEWEST = 1 << 13  # samples, on however small a film


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


def moving_levels(scene: Any, seen: Callable[[Level], bool], everywhere: bool = False) -> Levels:
    """The level functions that may move.

    Args:
        seen: tells of a function whether it moves with what it is seen from.
        everywhere: all do.
    """

    carried = moved_by_instances(scene)

    def keep(level: Level, shapes: list) -> bool:
        with dr.resume_grad():
            moves = seen(level) or any(map(attached, level.sources))
            moves = moves or any(s.ptr in carried or shape_moves(s) for s in shapes)
        if moves and level.refused:
            warn_once(level.refused)
        return moves and not level.refused

    def coordinates(shape: Any) -> bool:
        with dr.resume_grad():
            return everywhere or shape.ptr in carried or shape_moves(shape)

    return Levels(scene, keep, coordinates)


def seen_levels(scene: Any, sensor: Any, chains: bool) -> Levels:
    """Of jumps that ``sensor`` sees, by way of Dirac lobes (``chains``) or not."""
    moves = SceneTraits(scene, sensor_moves(sensor)).chains_move if chains else sensor_moves(sensor)
    return moving_levels(scene, lambda level: moves, moves)


def _ways(integrator: Any, scene: Any) -> tuple[bool, ...]:
    """How a sensor may see a jump: not by way of Dirac lobes, and, where there are any, so."""
    return (False, True) if SceneTraits(scene).delta_bsdfs and integrator.max_depth != 1 else (False,)


def sees_jumps(integrator: Any, scene: Any, sensor: Any) -> bool:
    """Whether ``sensor`` sees jumps that move."""
    return any(len(seen_levels(scene, sensor, chains)) for chains in _ways(integrator, scene))


def reflected_levels(scene: Any, sensor: Any) -> Levels:
    """Of jumps seen from path vertices."""
    moves = shapes_move(scene) or sensor_moves(sensor)
    return moving_levels(scene, lambda level: level.views and moves)


def jump_records(integrator: Any, scene: Any, sensor: Any, seed: Any, spp: int, forward: bool) -> Iterator[EdgeRecord]:
    """Jumps that the cameras of ``sensor`` see, directly and behind Dirac lobes."""
    levels = {chains: seen_levels(scene, sensor, chains) for chains in _ways(integrator, scene)}
    for k, camera in enumerate(cameras(sensor)):
        for chains, all_levels in levels.items():
            for j, part in enumerate(all_levels.ranks() if len(all_levels) else ()):
                stream = mi.sample_tea_32(mi.UInt32(seed) ^ 0x5BD1E995, mi.UInt32(8 * k + 2 * j + chains))[0]
                dr.make_opaque(stream)
                count = max(FEWEST, sample_count(camera, spp))
                record = seen_record(integrator, scene, camera, part, stream, spp, count, chains, forward)
                yield from _if_attached(record)
                del record  # nothing attached may be left in forward mode


def seen_meetings(integrator: Any, scene: Any, sensor: Any, seed: Any, spp: int, forward: bool) -> Iterator[EdgeRecord]:
    """Where surfaces pass through each other."""
    sliding = integrator.sliding_cameras(scene, sensor)
    for k, camera in enumerate(cameras(sensor)):
        stream = mi.sample_tea_32(mi.UInt32(seed) ^ 0x3C6EF372, mi.UInt32(k))[0]
        dr.make_opaque(stream)
        count = max(FEWEST, sample_count(camera, spp))
        yield from meeting_records(integrator, scene, camera, sliding, stream, spp, count, forward)


def _if_attached(record: EdgeRecord) -> Iterator[EdgeRecord]:
    with dr.resume_grad():
        moves = record.speed is not None and dr.grad_enabled(record.speed)
    if moves or record.slide is not None:
        yield record


def reflected_records(
    integrator: Any, scene: Any, sensor: Any, seed: Any, spp: int, forward: bool
) -> Iterator[EdgeRecord]:
    """Jumps that are seen from path vertices."""
    levels = reflected_levels(scene, sensor)
    if not len(levels) or (integrator.max_depth == 2 and not levels.shines()):
        return  # nothing but emission is seen from there
    if SceneTraits(scene).delta_bsdfs and integrator.max_depth > 3:
        warn_once(
            "prb_edge: jumps inside surfaces (checkerboard, nearest-neighbour bitmaps, bump and normal maps) that rough"
            " surfaces see in mirrors, through smooth glass or masks are not sampled; those that the camera sees there are."
        )
    for k, camera in enumerate(cameras(sensor)):
        low, high = camera.window()
        for j, part in enumerate(levels.ranks()):
            guides = integrator.guides_of(sensor, f"{k} jumps")
            if str(j) not in guides:
                guides[str(j)] = FilmGuide.over([n + 2 * camera.border for n in camera.size])
            with dr.suspend_grad():
                film = guides[str(j)].begin(dr.zeros(mi.Float, 6), low, high - low)
            stream = mi.sample_tea_32(mi.UInt32(seed) ^ 0x27D4EB2F, mi.UInt32(4 * k + j))[0]
            dr.make_opaque(stream)
            record = reflected_record(integrator, scene, camera, part, film, sensor_moves(sensor), stream, spp, forward)
            yield from _if_attached(record)
            del record
