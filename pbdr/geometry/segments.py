"""Straight boundary curves: the edges of meshes (Mitsuba's `rectangle` and `cube` are meshes too)."""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi

from ..scene.instances import Part
from ..scene.shapes import interpolates_normals
from ..scene.tangents import tangents_only
from .coincidences import reach
from .edge_sample import EdgeBounds, EdgeSample, join
from .facing import Side, coplanar, edge_on
from .mesh_topology import MeshTopology
from .rounding import STRIP, extent, spawn_height

CREASE = 1.0  # sampling weight of an edge that only bends by 90°, relative to a contour
SMOOTH = 0.4  # of the same with interpolated normals
NARROW = 0.1  # sine of a bend below which light found in its lunes is rare rather than weak
SEAM = 0.5  # of an edge where texture coordinates or normals jump
# From an edge onto a face: share of the face. Radiance varies faster where normals are interpolated, and what it gains
# on many faces is no jump.
ONTO_FLAT, ONTO_SMOOTH = 1e-2, 1e-3


class SegmentSet:
    """Mesh edges (Mitsuba's `rectangle` and `cube` are meshes too).

    An edge is active if it is open, if it is a contour (both third corners lie on one side of
    the plane through viewpoint and edge; the winding does not matter), or if shading jumps across
    it: any bent edge (with interpolated normals, where the plane of a face still ends the light,
    see `own_horizon`), edges with split vertices, and all edges of meshes with ``face_*`` attributes, or without texture coordinates where their
    look depends on some.
    """

    def __init__(self, topology: MeshTopology, meshes: list[Part]):
        self.topology = topology
        self.counts = [(m.index, count) for m, count in zip(meshes, topology.counts)]  # shape, number of curves
        with dr.resume_grad():
            self.positions = join([_positions(m) for m in meshes])
        self._held = dr.detach(self.positions)
        self._normals = None
        if any(interpolates_normals(m.shape) for m in meshes):
            self._normals = join([_normals(m) for m in meshes])

    def hold_tangents(self) -> None:
        """Forward mode: keep the tangents alone of all outlines."""
        with dr.resume_grad():
            self.positions = tangents_only(self.positions)

    def __len__(self) -> int:
        return self.topology.count

    @property
    def shape(self) -> Any:
        """UInt32, the shape of each edge."""
        return self._flags(dr.arange(mi.UInt32, len(self)))[0]

    def _corners(self, row: Any) -> tuple[Any, Any, Any, Any]:
        """End points p0 and p1, and the third corner of both faces."""
        index = dr.gather(mi.Vector4u, self.topology.corners, row)
        return tuple(dr.gather(mi.Point3f, self._held, v) for v in index)

    def _flags(self, row: Any) -> tuple[Any, Any, Any, Any]:
        """Shape (UInt32) and three Bool: open or non-manifold, always a discontinuity, flat-shaded."""
        word = dr.gather(mi.UInt32, self.topology.flags, row)
        return word >> 3, (word & 1) != 0, (word & 2) != 0, (word & 4) != 0

    @staticmethod
    def _bend(p0: Any, p1: Any, qa: Any, qb: Any) -> Any:
        """Sine of the angle between the faces, 1 beyond a right angle."""
        na, nb = (dr.normalize(dr.cross(p1 - p0, q - p0)) for q in (qa, qb))
        return dr.select(dr.dot(na, nb) > 0, 1, dr.norm(dr.cross(na, nb)))  # coplanar: na = -nb

    @staticmethod
    def contour(view: Any, p0, p1, qa, qb, always, slack=None) -> Any:
        """Does the surface end at the edge, seen from a viewpoint? ``slack``: from any within that distance.

        A face that is seen exactly edge-on is taken to be hidden: the surface ends at its front edges, those that lie between
        the viewpoint and the face, if the other face is not edge-on, too. Or to be seen (``view.grazes``): at its other ones.
        """
        edge, to = p1 - p0, view.toward(p0)
        first, second = (Side.of(to, edge, q - p0, extent(p0, p1, q)) for q in (qa, qb))
        q = dr.select(first.flat, qa, qb) - p0
        ahead = dr.dot(to, q) * dr.squared_norm(edge) - dr.dot(to, edge) * dr.dot(q, edge)
        ends = ahead < 0 if view.grazes else ahead > 0
        contour = dr.select(
            first.flat | second.flat, (first.flat != second.flat) & ends, first.height * second.height > 0
        )
        if slack is not None:
            near = (dr.abs(first.height) < slack * dr.norm(first.n)) | (
                dr.abs(second.height) < slack * dr.norm(second.n)
            )
            contour |= near
        return always | (contour & ~coplanar(first.n, second.n, dr.maximum(first.sine, second.sine)))

    def active(self, view: Any, p0, p1, qa, qb, always, slack=None) -> Any:
        """Does anything jump at the edge? At a bend not, where one of its faces is seen edge-on and shows nothing."""
        bent = self.bent(p0, p1, qa, qb)
        if slack is None:
            for q in (qa, qb):
                bent &= ~Side.of(view.toward(p0), p1 - p0, q - p0, extent(p0, p1, q)).flat
        return bent | self.contour(view, p0, p1, qa, qb, always, slack)

    @staticmethod
    def bent(p0, p1, qa, qb) -> Any:
        """Do the faces lie in different planes?"""
        na, nb = (dr.normalize(dr.cross(p1 - p0, q - p0)) for q in (qa, qb))
        return dr.squared_norm(dr.cross(na, nb)) > 1e-7

    def _contrast(self, row: Any, always: Any, flat: Any, p0: Any, p1: Any, qa: Any, qb: Any) -> Any:
        """What inner edges show beside a contour: less, the less they bend.

        With interpolated normals light differs in two lunes of 2β steradians (`bend_light`), by its cosine to the shading normal.
        """
        sin = self._bend(p0, p1, qa, qb)
        bent = CREASE * sin
        if self._normals is not None:
            bent = dr.select(flat, bent, SMOOTH * dr.sqrt(sin * (sin + NARROW)) * self._lean(row, p0, p1, qa, qb))
        bent = dr.select(dr.isfinite(bent), bent, 1)  # faces without an area have no normal
        return dr.select(always, SEAM, bent)

    def _lean(self, row: Any, p0: Any, p1: Any, qa: Any, qb: Any) -> Any:
        """Cosines of directions in both faces, and along the edge, to the shading normal: the larger sum of the two ends."""
        index = dr.gather(mi.Vector4u, self.topology.corners, row)
        t = dr.normalize(p1 - p0)
        a, b = (dr.normalize(q - p0 - t * dr.dot(q - p0, t)) for q in (qa, qb))
        ends = (dr.gather(mi.Normal3f, self._normals, v) for v in (index.x, index.y))
        most = mi.Float(0)
        for n in ends:
            n *= dr.rsqrt(dr.maximum(dr.squared_norm(n), 1e-20))  # some are 0
            most = dr.maximum(most, dr.abs_dot(n, a) + dr.abs_dot(n, b) + dr.abs_dot(n, t))
        return most

    def _clip(self, camera: Any, p0: Any, p1: Any):
        """Visible part: near-clipped ends, their film positions and depths, range [u0, u1] of the film."""
        z0, z1 = (camera.to_camera @ p0).z, (camera.to_camera @ p1).z
        near = camera.near if camera.is_point else -dr.inf
        ahead = (z0 > near) | (z1 > near)
        if camera.is_point:
            near = near * 1.0001
            t0 = dr.select(z0 < near, (near - z0) / (z1 - z0), 0)
            t1 = dr.select(z1 < near, (near - z0) / (z1 - z0), 1)
            p0, p1 = dr.lerp(p0, p1, t0), dr.lerp(p0, p1, t1)
        centre = mi.Vector2f(0)
        s0, z0 = camera.project(p0, centre)
        s1, z1 = camera.project(p1, centre)
        pad = dr.maximum(camera.blur(z0), camera.blur(z1))
        low, high = camera.window()
        low, high = low - pad, high + pad
        u0, u1 = mi.Float(0), mi.Float(1)
        for a, d, lo, hi in ((s0.x, s1.x - s0.x, low.x, high.x), (s0.y, s1.y - s0.y, low.y, high.y)):
            still = dr.abs(d) < 1e-12
            d = dr.select(still, 1, d)
            ua, ub = (lo - a) / d, (hi - a) / d
            out = still & ((a < lo) | (a > hi))
            u0 = dr.select(out, 1, dr.select(still, u0, dr.maximum(u0, dr.minimum(ua, ub))))
            u1 = dr.select(out, 0, dr.select(still, u1, dr.minimum(u1, dr.maximum(ua, ub))))
        return p0, p1, s0, s1, z0, z1, u0, dr.select(ahead, dr.maximum(u1, u0), u0)

    def weights(self, camera: Any) -> Any:
        """Sampling weight: length in pixels of each active edge, clipped to what the film can see."""
        slack = camera.radius if camera.kind == "thinlens" else None
        row = dr.arange(mi.UInt32, len(self))
        corners, (_, odd, always, flat) = self._corners(row), self._flags(row)
        view = camera.view(mi.Vector2f(0))
        active = self.active(view, *corners, always, slack)
        contour = self.contour(view, *corners, odd, slack)
        contrast = self._contrast(row, always, flat, *corners)
        _, _, s0, s1, _, _, u0, u1 = self._clip(camera, *corners[:2])
        length = dr.norm(s1 - s0) * (u1 - u0) * dr.select(contour, 1, contrast)
        return dr.select(active & dr.isfinite(length), length, 0)

    def sample(self, camera: Any, row: Any, u: Any, lens: Any, scene: Any) -> EdgeSample:
        """The point at fraction ``u`` (on the film) of the visible part of edge ``row``."""
        p0, p1, qa, qb = self._corners(row)
        _, _, always, _ = self._flags(row)
        a, b, _, _, z0, z1, u0, u1 = self._clip(camera, p0, p1)
        v = dr.lerp(u0, u1, u)
        if camera.is_point:
            w = dr.rcp(z1 + v * (z0 - z1))
            t, dtdv = v * z0 * w, z0 * z1 * w * w
        else:
            t, dtdv = v, mi.Float(1)
        p, tangent = dr.lerp(a, b, t), mi.Vector3f(b - a)
        view = camera.view(lens)
        edge = self._sample(row, p, tangent, view, p0, p1, qa, qb, scene)
        edge.dt = dr.select(edge.dt > 0, (u1 - u0) * dtdv, 0)
        if camera.kind == "thinlens":
            edge.dt = dr.select(self.active(view, p0, p1, qa, qb, always), edge.dt, 0)
        return edge

    def at(self, view: Any, row: Any, t: Any, scene: Any) -> EdgeSample:
        """The point p0 + t (p1 - p0) of edge ``row``; no sample where nothing jumps, seen from ``view``."""
        p0, p1, qa, qb = self._corners(row)
        _, _, always, _ = self._flags(row)
        edge = self._sample(row, dr.lerp(p0, p1, t), p1 - p0, view, p0, p1, qa, qb, scene)
        edge.dt = dr.select(self.active(view, p0, p1, qa, qb, always), edge.dt, 0)
        return edge

    def _sample(self, row, p, tangent, view, p0, p1, qa, qb, scene) -> EdgeSample:
        shape, odd, always, flat = self._flags(row)
        faces = dr.gather(mi.Vector2u, self.topology.faces_beside, row)
        along = dr.clip(dr.dot(p - p0, p1 - p0) / dr.squared_norm(p1 - p0), 0, 1)
        share, most = dr.select(flat, ONTO_FLAT, mi.Float(ONTO_SMOOTH)), STRIP * spawn_height(p)
        owner, shown = dr.gather(mi.ShapePtr, scene.shapes_dr(), shape), {}
        if self.topology.children is not None:
            child, number = dr.gather(mi.Vector2u, self.topology.children, row)
            instance = dr.select(child != 0, owner, dr.zeros(mi.ShapePtr))
            owner = dr.select(child != 0, dr.reinterpret_array(mi.ShapePtr, child), owner)
            shown = {"instance": instance, "number": number}
        return EdgeSample(
            p=p,
            tangent=mi.Vector3f(tangent),
            dt=mi.Float(1),
            shape=owner,
            row=row,
            local=mi.Vector3f(along, 0, 0),
            inside=qa - p + (qb - p),
            contour=self.contour(view, p0, p1, qa, qb, odd),
            faces=(faces.x, faces.y),
            onto=tuple(to * dr.minimum(share, most / dr.maximum(dr.norm(to), 1e-20)) for to in (qa - p, qb - p)),
            share=self._coinciding(row, p0, p1),
            flat=flat,
            normal=self._normal(row, along, flat | always),
            **shown,
        )

    def _normal(self, row: Any, along: Any, none: Any) -> Any:
        if self._normals is None:
            return mi.Vector3f(0)
        index = dr.gather(mi.Vector4u, self.topology.corners, row)
        ends = (dr.gather(mi.Vector3f, self._normals, v) for v in (index.x, index.y))
        return dr.select(none, 0, dr.normalize(dr.lerp(*ends, along)))

    def _coinciding(self, row: Any, p0: Any, p1: Any) -> Any:
        """1 / number of borders that coincide with an edge."""
        if self.topology.partners is None:
            return mi.Float(1)
        far, number = extent(p0, p1), mi.Float(1)
        close = reach(far, dr.norm(p1 - p0), far, dr)
        for other in dr.gather(mi.Vector3u, self.topology.partners, row):
            q0, q1, _, _ = self._corners(other)
            along = dr.maximum(dr.norm(q0 - p0), dr.norm(q1 - p1))
            against = dr.maximum(dr.norm(q1 - p0), dr.norm(q0 - p1))
            number += dr.select((other != row) & (dr.minimum(along, against) < close), 1.0, 0.0)
        return dr.rcp(number)

    def bounds(self) -> EdgeBounds:
        """Boxes and cones of face normals, for `edge_tree.EdgeTree`."""
        row = dr.arange(mi.UInt32, len(self))
        p0, p1, qa, qb = self._corners(row)
        _, odd, always, flat = self._flags(row)
        edge = p1 - p0
        sine = dr.maximum(*(edge_on(edge, q - p0, extent(p0, p1, q)) for q in (qa, qb)))
        na, nb = dr.normalize(dr.cross(edge, qa - p0)), dr.normalize(dr.cross(qb - p0, edge))
        length = dr.norm(edge)
        contour = dr.select(coplanar(na, -nb, sine) & ~odd, 0, length)
        return EdgeBounds(
            low=dr.minimum(p0, p1),
            high=dr.maximum(p0, p1),
            first=na,
            second=nb,
            free=odd | ~dr.isfinite(dr.dot(na, nb)),
            contour=contour,
            crease=length * self._contrast(row, always, flat, p0, p1, qa, qb),
            edge_on=sine,
        )

    def motion(self, edge: EdgeSample) -> Any:
        """World position of a sample, attached; its value is ``edge.p``.

        Where a seam splits vertices, the mean of both copies: each receives half the gradient.
        """

        def follow(v):
            ends = (dr.gather(mi.Point3f, self.positions, k) for k in v)
            return dr.lerp(*ends, edge.local.x)

        index = dr.gather(mi.Vector4u, self.topology.corners, edge.row)
        q = follow((index.x, index.y))
        if self.topology.split:
            q = 0.5 * (q + follow(dr.gather(mi.Vector2u, self.topology.copies, edge.row)))
        return q


def _positions(part: Part) -> Any:
    """Vertices in world space (flat Float), attached inside `dr.resume_grad`."""
    buffer, to_world = part.shape.vertex_positions_buffer(), part.to_world()
    if to_world is None:
        return buffer
    return dr.ravel(to_world @ dr.unravel(mi.Point3f, buffer))


def _normals(part: Part) -> Any:
    """Vertex normals in world space (flat Float; those of instances are no unit vectors), 0 where faces have theirs."""
    if not interpolates_normals(part.shape):
        return dr.zeros(mi.Float, 3 * part.shape.vertex_count())
    buffer, to_world = dr.detach(part.shape.vertex_normals_buffer()), part.to_world()
    if to_world is None:
        return buffer
    return dr.ravel(dr.detach(to_world) @ dr.unravel(mi.Normal3f, buffer))
