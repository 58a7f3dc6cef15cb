"""The way over a mesh from a hit to the contour that it comes to, triangle by triangle."""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi

from ..scene.viewpoint import Viewpoint
from .boundary_measure import MESH, perpendicular
from .segments import SegmentSet

FACES = 32  # most triangles on the way


def contour_ahead(
    measure: Any, ray: Any, pi: Any, si: Any, active: Any, both: bool = False
) -> tuple[Any, Any, Any, Any]:
    """The contour that a hit on a mesh comes to, straight on as seen from the origin.

    The way is that on which the triangle leads away from the viewer; with ``both`` that over its nearest edge, if this
    is no contour, and the way beyond it ends sooner.

    Returns:
        (found, hit on the contour, its position, direction along it).
    """
    if measure.positions is None:
        return mi.Bool(False), pi, si.p, mi.Vector3f(0)
    one = _follow_faces(measure, ray, pi, si, active, False)
    if not both:
        return one
    other = _follow_faces(measure, ray, pi, si, active, True)
    length = [dr.squared_norm(perpendicular(ray.d, x[2] - si.p)) for x in (one, other)]
    sooner = other[0] & (other[1].prim_index != pi.prim_index) & (~one[0] | (length[1] < length[0]))
    return tuple(dr.select(sooner, b, a) for a, b in zip(one, other))


@dr.syntax
def _follow_faces(measure: Any, ray: Any, pi: Any, si: Any, active: Any, over: bool) -> tuple[Any, Any, Any, Any]:
    """From triangle to triangle, `FACES` at most. ``over``: the nearest edge of the first."""
    number = dr.reinterpret_array(mi.UInt32, pi.shape)
    hit = pi.is_valid() & active
    active = hit & (dr.gather(mi.UInt32, measure.tables.kind, number, hit) == MESH)
    first = dr.gather(mi.UInt32, measure.tables.first, number, active)
    view = Viewpoint(ray.o)
    row = first + pi.prim_index
    entry = mi.UInt32(3)  # corner opposite to the edge by which the triangle was entered
    away, side = mi.Vector3f(0), mi.Vector3f(0)
    found, uv = mi.Bool(False), mi.Point2f(pi.prim_uv)
    p, along = mi.Point3f(si.p), mi.Vector3f(0)
    steps = mi.UInt32(0)
    while dr.hint(active, max_iterations=FACES, label="pbdr way to a contour"):
        index, across, flags, corners = measure.face(row, active)
        joined = dr.gather(mi.Vector3u, measure.tables.joined, row, active)
        start = steps == 0
        if dr.hint(over, mode="scalar"):
            away = dr.select(start, _to_nearest_edge(ray, p, corners), away)
        else:
            n = dr.cross(corners[1] - corners[0], corners[2] - corners[0])
            outward = ray.d - n * (dr.dot(n, ray.d) / dr.maximum(dr.squared_norm(n), 1e-30))
            away = dr.select(start, outward, away)
        side = dr.select(start, dr.cross(ray.d, away), side)
        h = [dr.dot(side, c - ray.o) for c in corners]
        out, ends, best = mi.UInt32(3), mi.Bool(False), mi.Float(-dr.inf)
        out_uv, out_p, out_along, mate, opposite = (
            mi.Point2f(uv),
            mi.Point3f(p),
            mi.Vector3f(0),
            mi.UInt32(row),
            mi.UInt32(0),
        )
        for k in range(3):
            i, j = (k + 1) % 3, (k + 2) % 3
            a, b = corners[i], corners[j]
            t = dr.clip(h[i] / dr.select(h[i] == h[j], 1, h[i] - h[j]), 0, 1)
            x = a + (b - a) * t
            # Of the first triangle two edges are crossed, of the others one that was not the entrance.
            further = dr.dot(x - p, away)
            chosen = (entry != k) & (h[i] * h[j] <= 0) & (h[i] != h[j]) & (further > best)
            q = dr.gather(mi.Point3f, measure.positions, across[k], active)
            contour = SegmentSet.contour(view, a, b, corners[k], q, ((flags >> k) & 1) != 0)
            bary = [mi.Float(0)] * 3
            bary[i], bary[j] = 1 - t, t
            best = dr.select(chosen, further, best)
            out = dr.select(chosen, mi.UInt32(k), out)
            ends = dr.select(chosen, contour, ends)
            out_uv = dr.select(chosen, mi.Point2f(bary[1], bary[2]), out_uv)
            out_p = dr.select(chosen, x, out_p)
            out_along = dr.select(chosen, b - a, out_along)
            mate = dr.select(chosen, joined[k], mate)
            opposite = dr.select(chosen, index[k], opposite)
        left = out < 3
        found = active & left & ends
        uv, p, along = (
            dr.select(found, out_uv, uv),
            dr.select(active & left, out_p, p),
            dr.select(found, out_along, along),
        )
        steps += 1
        active &= left & ~ends & (mate != row) & (steps < FACES)
        row = dr.select(active, mate, row)
        # The neighbour's entrance: the edge whose other side is this triangle.
        back = dr.gather(mi.Vector3u, measure.tables.corners, 2 * row + 1, active)
        entry = dr.select(back.x == opposite, mi.UInt32(0), dr.select(back.y == opposite, mi.UInt32(1), 2))
    there = mi.PreliminaryIntersection3f(pi)
    there.prim_index = dr.select(found, row - first, pi.prim_index)
    there.prim_uv = dr.select(found, uv, pi.prim_uv)
    return found, there, p, along


def _to_nearest_edge(ray: Any, p: Any, corners: list) -> Any:
    """Vector3f perpendicular to the ray, from ``p`` to the line of the nearest edge of a triangle."""
    best = mi.Vector3f(dr.inf)
    for k in range(3):
        a, b = corners[k], corners[(k + 1) % 3]
        u, v = perpendicular(ray.d, b - a), perpendicular(ray.d, a - p)
        to = v - u * (dr.dot(u, v) / dr.maximum(dr.squared_norm(u), 1e-30))
        best = dr.select(dr.squared_norm(to) < dr.squared_norm(best), to, best)
    return best
