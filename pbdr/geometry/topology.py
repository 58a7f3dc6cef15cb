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
    p = np.ascontiguousarray(positions, np.float32) + np.float32(0)  # -0 becomes 0
    order = np.lexsort((p[:, 2], p[:, 1], p[:, 0]))
    new = np.zeros(len(p), np.int64)
    x, y, z = p[order].T
    new[1:] = (x[1:] != x[:-1]) | (y[1:] != y[:-1]) | (z[1:] != z[:-1])
    ids = np.empty(len(p), np.int64)
    ids[order] = np.cumsum(new)
    return ids


@dataclass(frozen=True)
class _HalfEdges:
    """Edges of all faces in the order of their end points, so that those of one edge follow each other.

    ``face``, ``first``, ``second``: its face and, within that, the corners of the lower and the higher end. ``swap``: the face
    runs from the higher to the lower. ``head``, ``count``: first row and number of rows of each edge.
    """

    face: np.ndarray
    first: np.ndarray
    second: np.ndarray
    swap: np.ndarray
    head: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, ids: np.ndarray) -> _HalfEdges:
        """Of faces whose corners are the welded vertices ``ids`` (F, 3); degenerate ones are left out."""
        sound = (ids[:, 0] != ids[:, 1]) & (ids[:, 1] != ids[:, 2]) & (ids[:, 2] != ids[:, 0])
        which = np.nonzero(sound)[0].astype(np.int32)
        a = ids[which]  # three half-edges a face, from each corner to the next one
        b = np.roll(a, -1, 1)
        swap = (a > b).ravel()
        key = (np.minimum(a, b) * (int(ids.max(initial=0)) + 1) + np.maximum(a, b)).ravel()
        order = np.argsort(key, kind="stable")
        key = key[order]
        head = np.nonzero(np.r_[True, key[1:] != key[:-1]] if len(key) else np.zeros(0, bool))[0]
        count = np.diff(np.r_[head, len(key)])
        swap, start = swap[order], (order % 3).astype(np.int8)
        end = (start + np.int8(1)) % np.int8(3)
        return cls(which[order // 3], np.where(swap, end, start), np.where(swap, start, end), swap, head, count)

    def border(self, faces: np.ndarray) -> np.ndarray:
        """(N, 2) vertices of the edges with one face."""
        row = self.head[self.count == 1]
        return np.stack([faces[self.face[row], corner[row]] for corner in (self.first, self.second)], 1).astype(
            np.int64
        )


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
    h = _HalfEdges.of(ids[faces])
    joined = merged(positions, h.border(faces), ids)
    if joined is not ids:
        h = _HalfEdges.of(joined[faces])
    rows = np.stack([h.head, np.where(h.count > 1, h.head + 1, h.head)], 1)
    face = h.face[rows].astype(np.uint32)
    corner = np.stack([h.first[rows], h.second[rows]], 2).astype(np.uint32)
    vertex = faces[face[:, :, None], corner]
    split = (vertex[:, 0, 0] != vertex[:, 1, 0]) | (vertex[:, 0, 1] != vertex[:, 1, 1])
    turned = (h.count == 2) & (h.swap[rows[:, 0]] == h.swap[rows[:, 1]])
    near = _along_a_curve(0.5 * (positions[vertex[:, 0, 0]] + positions[vertex[:, 0, 1]]))
    return MeshEdges(
        face[near],
        corner[near],
        (h.count != 2)[near],
        split[near],
        turned[near],
    )


def _along_a_curve(points: np.ndarray) -> np.ndarray:
    """Order points along a Morton curve: stratified samples then spread over the silhouette."""
    if len(points) == 0:
        return np.zeros(0, np.int64)
    low = points.min(0)
    extent = max(float((points.max(0) - low).max()), 1e-20)
    cell = np.clip((points - low) / extent * 1023, 0, 1023).astype(np.uint32)
    for shift, mask in ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, 0x09249249)):  # bits, three apart
        cell = (cell | (cell << np.uint32(shift))) & np.uint32(mask)
    return np.argsort(cell[:, 0] | (cell[:, 1] << np.uint32(1)) | (cell[:, 2] << np.uint32(2)), kind="stable")
