"""Which faces, corners and copies belong to each edge of a scene's meshes, on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from ..core.arrays import on_device, same
from ..core.errors import warn_once
from ..core.memo import asked_once
from ..scene.instances import Part, registry_number
from ..scene.shapes import interpolates_normals, jumps_between_faces
from .coincidences import MOST, partners
from .topology import MeshEdges, mesh_edges

DISORDER = 0.1  # share of edges between faces that wind oppositely, above which interpolated normals say nothing


@dataclass
class MeshTopology:
    """Edges of several meshes on the device, kept while their faces stay the same.

    A dataclass, so that `dr.freeze` finds its arrays through the integrator. Vertices are numbered
    through all meshes.

    Attributes:
        faces: UInt32 per mesh, its index buffer.
        corners: 4 UInt32 per edge, end points and the third corner of both faces.
        copies: 2 UInt32 per edge, end points as the second face has them.
        faces_beside: 2 UInt32 per edge, within the mesh.
        flags: UInt32 per edge: shape · 8 + flat-shaded · 4 + always a discontinuity · 2 + open · 1.
        counts: number of edges of each mesh.
        children: 2 UInt32 per edge, of a mesh in a group its registry number and its number in the group; else 0.
            ``None`` without instances.
        partners: 3 UInt32 per edge, open ones that coincided with it when the table was made, or itself. ``None`` if none did.
    """

    faces: list
    corners: Any
    copies: Any
    faces_beside: Any
    flags: Any
    split: bool
    counts: tuple
    children: Any = None
    partners: Any = None

    @classmethod
    def of(cls, meshes: list[Part]) -> MeshTopology:
        columns: dict[str, list] = {k: [] for k in ("corners", "copies", "beside", "flags", "children")}
        split, base, buffers, ends_of, border = False, 0, [], [], []
        for part in meshes:
            index, mesh = part.index, part.shape
            buffers.append(dr.detach(mesh.faces_buffer()))
            positions, table, edges = _edges_of(mesh)
            if interpolates_normals(mesh) and edges.turned.mean() > DISORDER:
                warn_once(
                    f"Mesh '{part.name}': {100 * edges.turned.mean():.0f} % of its edges lie between faces that wind oppositely, and its"
                    " normals are interpolated: they point to either side, and the derivative of what moves may be wrong. Give all"
                    " faces one winding, or load the mesh with face_normals = true."
                )
            ends = table[edges.face[:, :, None], edges.corner]
            third = table[edges.face, 3 - edges.corner[:, :, 0] - edges.corner[:, :, 1]]
            columns["corners"].append(np.concatenate([ends[:, 0], third], 1) + np.uint32(base))
            columns["copies"].append(ends[:, 1] + np.uint32(base))
            open_edges = edges.face[:, 0] == edges.face[:, 1]
            ends_of.append(_in_world(part, positions)[ends[open_edges, 0]])
            border.append(open_edges)
            columns["beside"].append(edges.face)
            varies = mesh.has_vertex_texcoords() or mesh.has_vertex_normals() or mesh.has_mesh_attributes()
            # Colours that belong to faces jump at every edge, coplanar ones included.
            every = has_face_attributes(mesh) or jumps_between_faces(mesh)
            always = edges.always | edges.turned | (edges.split if varies else False) | every
            flat = 0 if mesh.has_vertex_normals() else 4
            word = np.uint32(8 * index + flat) + 2 * np.asarray(always, np.uint32) + edges.always
            columns["flags"].append(np.broadcast_to(word, len(edges)))
            split |= bool(edges.split.any())
            base += len(positions)
            pair = (0, 0) if part.instance is None else (registry_number(mesh), part.number)
            columns["children"].append(np.broadcast_to(np.array(pair, np.uint32), (len(edges), 2)))
        children = columns.pop("children")
        if all(part.instance is None for part in meshes):
            children = None
        else:
            children = on_device(mi.UInt32, np.concatenate(children))
        flat_columns = [on_device(mi.UInt32, np.concatenate(c).astype(np.uint32, copy=False)) for c in columns.values()]
        counts = tuple(len(c) for c in columns["flags"])
        found = _partners(np.concatenate(ends_of), np.concatenate(border))
        return cls(buffers, *flat_columns, split, counts, children, found)

    @property
    def count(self) -> int:
        """Number of edges."""
        return sum(self.counts)

    def matches(self, meshes: list[Part]) -> bool:
        return all(same(f, dr.detach(m.shape.faces_buffer())) for f, m in zip(self.faces, meshes))


@asked_once  # several instances, and the sets of both boundaries, have meshes in common
def _edges_of(mesh: Any) -> tuple[np.ndarray, np.ndarray, MeshEdges]:
    """(positions, faces, edges)."""
    positions = dr.detach(mesh.vertex_positions_buffer()).numpy().reshape(-1, 3)
    table = dr.detach(mesh.faces_buffer()).numpy().reshape(-1, 3)
    return positions, table, mesh_edges(positions, table)


def _in_world(part: Part, positions: np.ndarray) -> np.ndarray:
    to_world = part.to_world()
    if to_world is None:
        return positions
    m = np.array(dr.detach(to_world).matrix, np.float64).reshape(4, 4)
    return positions @ m[:3, :3].T + m[:3, 3]


def _partners(ends: np.ndarray, border: np.ndarray) -> Any:
    """`coincidences.partners` of the open edges among all.

    Args:
        ends: (B, 2, 3) end points of those that are open.
        border: (N,) bool, which they are.
    """
    count, border = len(border), np.nonzero(border)[0]
    found = partners(ends)
    if found is None:
        return None
    table = np.repeat(np.arange(count)[:, None], MOST, axis=1)
    table[border] = border[found]
    return on_device(mi.UInt32, table.astype(np.uint32))


def has_face_attributes(mesh: Any) -> bool:
    """Does a mesh carry ``face_*`` attributes?"""
    return mesh.has_mesh_attributes() and any(key.startswith("face_") for key in mi.traverse(mesh).keys())
