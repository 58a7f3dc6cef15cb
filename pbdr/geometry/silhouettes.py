"""Curves in space along which the visible surface changes, seen through one camera.

Two sets, one contract (`weights`, `sample`, `motion`): straight edges (meshes) and arcs (spheres,
disks, cylinders). Rows are detached; only `motion` is attached. (`Shape.differential_motion` will
not do: it takes the point from texture coordinates, which differ from shape to shape.)
"""

from __future__ import annotations

from typing import Any

from ..core.errors import UnsupportedError, warn_once
from ..scene.instances import Part, parts, registry_number
from .arcs import PIECES, ArcSet, ArcTable
from .mesh_topology import MeshTopology
from .rounding import is_coarse
from .segments import SegmentSet


def topology(cache: dict[str, Any], meshes: list[Part]) -> MeshTopology:
    """Adjacency of meshes, from ``cache`` while their faces stay the same."""
    key = " ".join(f"{m.index}:{m.name}" for m in meshes)
    found = cache.get(key)
    if found is None or not found.matches(meshes):
        found = cache[key] = MeshTopology.of(meshes)
    return found


def edge_sets(scene: Any, cache: dict[str, Any], statics: bool = False) -> list[Any]:
    """The edge sets of all shapes that are attached to the AD graph; with ``statics``, of all.

    Raises:
        UnsupportedError: a shape has no outline that could be listed. One that does not move is left
            out with a warning, once.
    """
    meshes, arcs = [], []
    for part in parts(scene):
        moves = part.moves
        if not (moves or statics):
            continue
        if moves and is_coarse(part.shape):
            warn_once(
                f"Shape '{part.name}' lies so far from the origin that single precision rounds its coordinates by more"
                " than 1 % of its size: image and derivative are rounded, too. Move the scene toward the origin."
            )
        name = part.shape.class_name()
        if part.shape.is_mesh():
            meshes.append(part)
        elif name in PIECES:
            arcs.append(part)
        elif not moves:
            warn_once(
                f"prb_edge cannot list the edges of shape '{part.name}' ({name}): the derivative of its"
                " shadows and reflections on moving surfaces is missing."
            )
        else:
            raise UnsupportedError(
                f"prb_edge cannot list the edges of shape '{part.name}' ({name}), which is attached to"
                " the AD graph: it handles meshes, rectangle, disk, sphere and cylinder. Convert the"
                " shape to a mesh, detach it, or set sppp=0 (its silhouette gradient is then missing)."
            )
    sets: list[Any] = []
    if meshes:
        adjacency = topology(cache, meshes)
        if adjacency.count:
            sets.append(SegmentSet(adjacency, meshes))
    if arcs:
        key = " ".join(
            f"{a.index}:{a.name}:{a.shape.class_name()}:{'' if a.instance is None else registry_number(a.shape)}"
            for a in arcs
        )
        if key not in cache:
            cache[key] = ArcTable.of(arcs)
        sets.append(ArcSet(cache[key], arcs))
    return sets
