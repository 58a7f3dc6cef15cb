"""Edges of a triangle mesh from welded positions (host side, once per topology).

Vertices that a file splits for texture coordinates or normals share a position: adjacency is
taken from the position, so a seam is no border. What the split changes on the surface (shading
normal, texture coordinate) still jumps there: such edges are creases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .coincidences import merged


@dataclass(frozen=True)
class MeshEdges:
    """Unique edges, one row each. Corners are 0, 1, 2 within a face.

    Attributes:
        face: (E, 2) uint32, the adjacent faces; the same twice for an open edge.
        corner: (E, 2, 2) uint32, corner of end point j in face k at ``corner[:, k, j]``.
        always: (E,) bool, open or non-manifold: a discontinuity from everywhere.
        split: (E,) bool, the two faces use different vertices at an end point (seam or crease).
        turned: (E,) bool, the two faces wind oppositely: one of them shows its back.
    """

    face: np.ndarray
    corner: np.ndarray
    always: np.ndarray
    split: np.ndarray
    turned: np.ndarray

    def __len__(self) -> int:
        return len(self.face)


def weld(positions: np.ndarray) -> np.ndarray:
    """Map each vertex to a representative index, equal for bitwise equal positions.

    Args:
        positions: (V, 3) float32.

    Returns:
        (V,) int64 in [0, number of distinct positions).
    """
    rows = np.ascontiguousarray(positions, np.float32) + np.float32(0)  # -0 becomes 0
    _, ids = np.unique(rows.view([("x", "f4"), ("y", "f4"), ("z", "f4")]).ravel(), return_inverse=True)
    return ids.astype(np.int64)


def _border(ids: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Vertices of edges with one face."""
    corners = ids[faces]
    a, b = corners.ravel(), np.roll(corners, -1, 1).ravel()
    n = int(ids.max()) + 1 if len(ids) else 0
    key = np.minimum(a, b) * n + np.maximum(a, b)
    _, which, count = np.unique(key, return_inverse=True, return_counts=True)
    open_ = (count[which] == 1) & (a != b)
    return np.unique(np.concatenate([faces.ravel()[open_], np.roll(faces, -1, 1).ravel()[open_]]))


def mesh_edges(positions: np.ndarray, faces: np.ndarray) -> MeshEdges:
    """List the unique edges of a triangle soup.

    Args:
        positions: (V, 3) float32. Equal ones are one; on open borders those that nearly are, too: the ends of a seam that
            was computed with sines are not the same bit for bit.
        faces: (F, 3) integer vertex indices.

    Degenerate faces (two corners at one position) have no edges of their own. An edge with more than two faces is kept and
    always active.
    """
    ids = weld(positions)
    border = _border(ids, faces)
    ids = merged(positions, border, ids)[faces]
    sound = (ids[:, 0] != ids[:, 1]) & (ids[:, 1] != ids[:, 2]) & (ids[:, 2] != ids[:, 0])
    face = np.nonzero(sound)[0]
    if len(face) == 0:
        return MeshEdges(
            *(np.zeros(s, t) for s, t in (((0, 2), "u4"), ((0, 2, 2), "u4"), (0, bool), (0, bool), (0, bool)))
        )
    start = np.tile(np.arange(3), len(face))
    face = np.repeat(face, 3)
    end = (start + 1) % 3
    a, b = ids[face, start], ids[face, end]
    swap = a > b
    low, high = np.where(swap, b, a), np.where(swap, a, b)
    first, second = np.where(swap, end, start), np.where(swap, start, end)
    order = np.lexsort((high, low))
    low, high, face, first, second, swap = (x[order] for x in (low, high, face, first, second, swap))
    new = np.r_[True, (low[1:] != low[:-1]) | (high[1:] != high[:-1])]
    head = np.nonzero(new)[0]
    count = np.diff(np.r_[head, len(low)])
    mate = np.where(count > 1, head + 1, head)
    rows = np.stack([head, mate], 1)
    corner = np.stack([first[rows], second[rows]], 2)
    vertex = faces[face[rows][:, :, None], corner]
    split = (vertex[:, 0] != vertex[:, 1]).any(1)
    near = _along_a_curve(positions[vertex[:, 0]].mean(1))
    return MeshEdges(
        face[rows].astype(np.uint32)[near],
        corner.astype(np.uint32)[near],
        (count != 2)[near],
        split[near],
        ((count == 2) & (swap[head] == swap[mate]))[near],
    )


def _along_a_curve(points: np.ndarray) -> np.ndarray:
    """Order points along a Morton curve: stratified samples then spread over the silhouette."""
    low = points.min(0)
    extent = max(float((points.max(0) - low).max()), 1e-20)
    cell = np.clip((points - low) / extent * 1023, 0, 1023).astype(np.uint64)
    key = np.zeros(len(points), np.uint64)
    for bit in range(10):
        for axis in range(3):
            key |= ((cell[:, axis] >> np.uint64(bit)) & np.uint64(1)) << np.uint64(3 * bit + axis)
    return np.argsort(key, kind="stable")
