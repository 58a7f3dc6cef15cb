"""A triangle that a ray has hit, and the outline that is near to it.

Either an edge of the triangle is the outline, or the surface goes on and turns away further on. How far
is told by the next face on that way: with the angle between both normals over the distance of the
centres as curvature, the surface is a cylinder, and its outline is where its normal has turned to the side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

FEW = 0.4  # radians between faces up to which they stand for a round surface


@dataclass
class Face:
    """One face, seen along d.

    Attributes:
        p: its three corners.
        n, away: unit normal toward the viewer, and the direction in its plane that leads away from him.
        flip: -1 if the corners run the other way around.
        nearest: UInt32, corner opposite to the nearest edge where something jumps; 3 if there is none.
        weak: Bool, only shading jumps there, and little.
        turn: Float, angle to the neighbour last looked at.
        best, bend, length: of the neighbour that lies best on the way, how well; angle and distance to it.
    """

    p: list
    n: Any
    away: Any
    flip: Any
    nearest: Any
    weak: Any
    turn: Any
    best: Any
    bend: Any
    length: Any

    @classmethod
    def seen(cls, d: Any, p: list) -> Face:
        n = _unit(dr.cross(p[1] - p[0], p[2] - p[0]))
        flip = dr.select(dr.dot(n, d) > 0, mi.Float(-1), 1)
        n = n * flip
        zero = mi.Float(0)
        away = _unit(d - n * dr.dot(n, d))
        return cls(p, n, away, flip, mi.UInt32(3), mi.Bool(True), zero, mi.Float(-1), zero, mi.Float(1))

    def look_across(self, a: Any, b: Any, c: Any, q: Any, joined: Any) -> None:
        """At the neighbour (b, a, q) of the corners' (a, b, c)."""
        other = _unit(dr.cross(a - b, q - b)) * self.flip
        self.turn = dr.safe_acos(dr.dot(self.n, other))
        out = dr.cross(b - a, self.n) * self.flip
        along = dr.dot(_unit(out), self.away)
        better = joined & (along > self.best)
        self.best = dr.select(better, along, self.best)
        self.bend = dr.select(better, dr.atan2(dr.dot(other, self.away), dr.dot(other, self.n)), self.bend)
        self.length = dr.select(better, dr.dot(q - c, self.away) / 3, self.length)

    @property
    def round(self) -> Any:
        """Is there a surface that turns away gently?"""
        return (self.bend > 1e-5) & (self.bend < FEW) & (self.length > 0)

    def to_outline(self, ray: Any, si: Any) -> Any:
        """Vector3f from the hit to where the surface has turned to the side."""
        R = self.length / dr.maximum(self.bend, 1e-5)
        centre = (self.p[0] + self.p[1] + self.p[2]) / 3
        here = dr.dot(si.p - centre, self.away) / R  # angle of the normal from that of the face
        turned = dr.maximum(dr.safe_asin(-dr.dot(self.n, ray.d)), here)
        s0, c0 = dr.sincos(here)
        s1, c1 = dr.sincos(turned)
        return (self.away * (s1 - s0) + self.n * (c1 - c0)) * R

    def move(self, pi: Any, si: Any, near: Any, active: Any) -> Any:
        """Move hits toward the nearest edge, by a factor ``near`` of the way. Vector3f along it."""
        k, p = self.nearest, self.p
        b = [1 - pi.prim_uv.x - pi.prim_uv.y, pi.prim_uv.x, pi.prim_uv.y]
        own = dr.select(k == 0, b[0], dr.select(k == 1, b[1], b[2]))
        moved = own * (1 - near)
        rest = (1 - moved) / dr.maximum(1 - own, 1e-6)
        b = [dr.select(k == j, moved, x * rest) for j, x in enumerate(b)]
        self._put(pi, si, b, p[0] * b[0] + p[1] * b[1] + p[2] * b[2], active & (own < 0.999))
        return dr.select(k == 0, p[2] - p[1], dr.select(k == 1, p[0] - p[2], p[1] - p[0]))

    def move_on(self, pi: Any, si: Any, way: Any, active: Any) -> None:
        """Move hits by ``way``, out of the face: its motion goes on linearly."""
        p = self.p
        e1, e2, n = p[1] - p[0], p[2] - p[0], self.n * self.flip
        area = dr.dot(dr.cross(e1, e2), n)
        u = pi.prim_uv.x + dr.dot(dr.cross(way, e2), n) / area
        v = pi.prim_uv.y + dr.dot(dr.cross(e1, way), n) / area
        self._put(pi, si, [1 - u - v, u, v], si.p + way, active & (dr.abs(u) + dr.abs(v) < 100))

    @staticmethod
    def _put(pi: Any, si: Any, b: list, p: Any, active: Any) -> None:
        pi.prim_uv = dr.select(active, mi.Point2f(b[1], b[2]), pi.prim_uv)
        si.p = dr.select(active, p, si.p)


def _unit(v: Any) -> Any:
    n2 = dr.squared_norm(v)
    return dr.select(n2 > 0, v * dr.rsqrt(n2), 0)
