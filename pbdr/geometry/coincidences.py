"""Borders of shapes that lie on each other (host side, once per topology).

Where open borders coincide, as at the corners of a box made of rectangles, each of them shows the same jump. Candidates are
listed here; whether they still coincide is asked on the device, in each render (`SegmentSet`, `ArcSet`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from .rounding import UNIT

CLOSE = 2e-5  # of the extent of all points, and
SHORT = 1e-4  # of the length of the edges there: what is nearer than both coincides, or is nearer than
ROUNDED = 8 * UNIT  # of the coordinates
MOST = 3  # partners


def reach(whole: Any, length: Any, coordinate: Any, m: Any = np) -> Any:
    """Distance within which points are one.

    It follows what is there, not the scene alone: beside a ground that reaches to the horizon small things stay apart.

    Args:
        whole: extent of all points.
        length: of the edges at each point, or radius of a circle.
        coordinate: largest absolute one.
        m: module of minimum and maximum.
    """
    return m.maximum(m.minimum(CLOSE * whole, SHORT * length), ROUNDED * coordinate)


def _near(points: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Pairs (i, j), i < j, of points that lie within the reach of each other."""
    tree = cKDTree(points)
    nearest = tree.query(points, k=2)[0][:, 1]
    some = np.nonzero(nearest <= radius)[0]
    if len(some) == 0:
        return np.empty((0, 2), int)
    found = tree.query_ball_point(points[some], radius[some])
    i, j = np.repeat(some, [len(x) for x in found]), np.concatenate([np.array(x, int) for x in found])
    keep = (i < j) & (np.linalg.norm(points[i] - points[j], axis=1) <= np.minimum(radius[i], radius[j]))
    return np.stack([i[keep], j[keep]], 1)


def merged(points: np.ndarray, ends: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """``ids`` with those of points joined that lie close together.

    Args:
        points: (V, 3).
        ends: (N, 2) indices of the ends of open edges; no others are moved.
        ids: (V,) int64, equal where points are one already.
    """
    if len(ends) == 0:
        return ids
    length = np.zeros(len(points))
    np.maximum.at(length, ends, np.linalg.norm(points[ends[:, 0]] - points[ends[:, 1]], axis=1)[:, None])
    which = np.unique(ends)
    there = points[which]
    whole = float(np.ptp(there, axis=0).max())
    pairs = _near(there, reach(whole, length[which], np.abs(there).max(1)))
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
    whole = float(np.ptp(ends.reshape(-1, 3), axis=0).max())
    close = reach(whole, np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1), np.abs(ends).max((1, 2)))
    pairs = _near(ends.mean(1), close)
    if len(pairs) == 0:
        return None
    a, b = ends[pairs[:, 0]], ends[pairs[:, 1]]
    along = np.linalg.norm(a - b, axis=2).max(1), np.linalg.norm(a - b[:, ::-1], axis=2).max(1)
    pairs = pairs[np.minimum(*along) <= close[pairs].min(1)]
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
    whole = float(np.abs(frames[rims]).max()) * 2
    close = reach(whole, np.linalg.norm(frames[:, 1], axis=1), np.abs(frames[:, :2]).max((1, 2)))
    found = np.arange(len(frames))
    t = np.arange(8) * (np.pi / 4)
    pairs = _near(frames[rims, 0], close[rims])
    for i, j in rims[np.concatenate([pairs, pairs[:, ::-1]])]:
        o, x, y, _ = frames[i]
        points = o + np.cos(t)[:, None] * x + np.sin(t)[:, None] * y
        local = (points - frames[j, 0]) @ np.linalg.inv(frames[j, 1:].T).T
        off = np.abs(np.hypot(local[:, 0], local[:, 1]) - 1) * np.linalg.norm(frames[j, 1])
        if (off + np.abs(local[:, 2]) * np.linalg.norm(frames[j, 3])).max() < min(close[i], close[j]):
            found[i] = j
    return found if (found != np.arange(len(frames))).any() else None
