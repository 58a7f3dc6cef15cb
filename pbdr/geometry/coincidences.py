"""Borders of shapes that lie on each other (host side, once per topology).

Where open borders coincide, as at the corners of a box made of rectangles, each of them shows the same jump. Candidates are
listed here; whether they still coincide is asked on the device, in each render (`SegmentSet`, `ArcSet`).
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

CLOSE = 2e-5  # of the extent of all points: what is nearer than that coincides
MOST = 3  # partners


def merged(points: np.ndarray, which: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """``ids`` with those of points joined that lie close together.

    Args:
        points: (V, 3).
        which: (N,) indices of the points that may be joined; no others are moved.
        ids: (V,) int64, equal where points are one already.
    """
    if len(which) == 0:
        return ids
    extent = float(np.ptp(points, axis=0).max())
    pairs = (
        cKDTree(points[which]).query_pairs(CLOSE * extent, output_type="ndarray")
        if extent > 0
        else np.empty((0, 2), int)
    )
    if len(pairs) == 0:
        return ids
    a, b = ids[which[pairs[:, 0]]], ids[which[pairs[:, 1]]]
    n = int(ids.max()) + 1
    _, group = connected_components(coo_matrix((np.ones(len(a)), (a, b)), (n, n)), directed=False)
    return group.astype(np.int64)[ids]


def partners(ends: np.ndarray) -> np.ndarray | None:
    """For each segment up to three others that coincide with it, its own number where there are fewer; ``None`` if none do.

    Args:
        ends: (N, 2, 3) end points.
    """
    n = len(ends)
    if n < 2:
        return None
    close = CLOSE * float(np.ptp(ends.reshape(-1, 3), axis=0).max())
    if close <= 0:
        return None
    pairs = cKDTree(ends.mean(1)).query_pairs(close, output_type="ndarray")
    if len(pairs) == 0:
        return None
    a, b = ends[pairs[:, 0]], ends[pairs[:, 1]]
    along = np.linalg.norm(a - b, axis=2).max(1), np.linalg.norm(a - b[:, ::-1], axis=2).max(1)
    pairs = pairs[np.minimum(*along) < close]
    found = np.repeat(np.arange(n)[:, None], MOST, axis=1)
    taken = np.zeros(n, int)
    for i, j in np.concatenate([pairs, pairs[:, ::-1]]):
        if taken[i] < MOST:
            found[i, taken[i]] = j
            taken[i] += 1
    return found if taken.any() else None


def coinciding_rims(frames: np.ndarray, rims: np.ndarray) -> np.ndarray | None:
    """For each circle another one that coincides with it, or its own number; ``None`` if none do.

    Args:
        frames: (P, 4, 3), centre and axes x, y, z of each, of which x and y reach the circle.
        rims: numbers of those that are asked.
    """
    extent = float(np.abs(frames[rims]).max()) * 2
    found = np.arange(len(frames))
    t = np.arange(8) * (np.pi / 4)
    pairs = cKDTree(frames[rims, 0]).query_pairs(CLOSE * extent, output_type="ndarray")
    for i, j in rims[np.concatenate([pairs, pairs[:, ::-1]])]:
        o, x, y, _ = frames[i]
        points = o + np.cos(t)[:, None] * x + np.sin(t)[:, None] * y
        local = (points - frames[j, 0]) @ np.linalg.inv(frames[j, 1:].T).T
        off = np.abs(np.hypot(local[:, 0], local[:, 1]) - 1) * np.linalg.norm(frames[j, 1])
        if (off + np.abs(local[:, 2]) * np.linalg.norm(frames[j, 3])).max() < CLOSE * extent:
            found[i] = j
    return found if (found != np.arange(len(frames))).any() else None
