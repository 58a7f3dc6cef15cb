"""Straight boundary curves: the edges of meshes (Mitsuba's `rectangle` and `cube` are meshes too)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from .edge_sample import EdgeBounds, EdgeSample, join
from .topology import MeshEdges, mesh_edges

CREASE = 1.0  # sampling weight of an edge that only bends by 90°, relative to a contour
SEAM = 0.5  # of an edge where texture coordinates or normals jump


class SegmentSet:
    """Mesh edges (Mitsuba's `rectangle` and `cube` are meshes too).

    An edge is active if it is open, if it is a contour (both third corners lie on one side of
    the plane through viewpoint and edge; the winding does not matter), or if shading jumps across
    it: any bent edge of a flat-shaded mesh, and edges with split vertices.
    """

    def __init__(self, rows: list[dict]):
        for key in ("p0", "p1", "qa", "qb", "fa", "fb", "odd", "always", "flat", "shape"):
            setattr(self, key, join([r[key] for r in rows]))
        self.seams = any(r["seams"] for r in rows)
        # Attached positions of all meshes, and the end points of each edge in both faces.
        with dr.resume_grad():
            self.positions = join([r["positions"] for r in rows])
        base, ends = 0, []
        for r in rows:
            ends.append([v + base for v in r["ends"]])
            base += dr.width(r["positions"]) // 3
        self.ends = [join([e[k] for e in ends]) for k in range(4)]
        self._corners = (self.p0, self.p1, self.qa, self.qb)
        na, nb = (dr.normalize(dr.cross(self.p1 - self.p0, q - self.p0)) for q in (self.qa, self.qb))
        # Sine of the angle between the faces, 1 beyond a right angle; coplanar corners: na = -nb.
        self.bend = dr.select(dr.dot(na, nb) > 0, 1, dr.norm(dr.cross(na, nb)))
        dr.eval(*self._corners, self.bend, self.odd, self.always, self.flat, self.ends)

    def __len__(self) -> int:
        return dr.width(self.p0)

    @staticmethod
    def _active(view: Any, p0, p1, qa, qb, always, flat, slack=None) -> Any:
        """Discontinuity test from a viewpoint; ``slack``: from any viewpoint within that distance."""
        na, nb = dr.cross(p1 - p0, qa - p0), dr.cross(p1 - p0, qb - p0)
        to = view.toward(p0)
        ha, hb = dr.dot(to, na), dr.dot(to, nb)
        contour = ha * hb > 0
        if slack is not None:
            near = (dr.abs(ha) < slack * dr.norm(na)) | (dr.abs(hb) < slack * dr.norm(nb))
            contour |= near
        bent = dr.squared_norm(dr.cross(na, nb)) > 1e-7 * dr.squared_norm(na) * dr.squared_norm(nb)
        return always | contour | (flat & bent)

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
        view = camera.view(mi.Vector2f(0))
        active = self._active(view, *self._corners, self.always, self.flat, slack)
        # Creases inside an outline show less contrast, about proportional to their angle.
        contour = self._active(view, *self._corners, self.odd, mi.Bool(False), slack)
        contrast = dr.select(self.always, SEAM, CREASE * self.bend)
        _, _, s0, s1, _, _, u0, u1 = self._clip(camera, self.p0, self.p1)
        length = dr.norm(s1 - s0) * (u1 - u0) * dr.select(contour, 1, contrast)
        return dr.select(active & dr.isfinite(length), length, 0)

    def sample(self, camera: Any, row: Any, u: Any, lens: Any, scene: Any) -> EdgeSample:
        """The point at fraction ``u`` (on the film) of the visible part of edge ``row``."""
        p0, p1, qa, qb = (dr.gather(mi.Point3f, x, row) for x in (self.p0, self.p1, self.qa, self.qb))
        always, flat = dr.gather(mi.Bool, self.always, row), dr.gather(mi.Bool, self.flat, row)
        a, b, _, _, z0, z1, u0, u1 = self._clip(camera, p0, p1)
        v = dr.lerp(u0, u1, u)
        if camera.is_point:
            w = dr.rcp(z1 + v * (z0 - z1))
            t, dtdv = v * z0 * w, z0 * z1 * w * w
        else:
            t, dtdv = v, mi.Float(1)
        p, tangent = dr.lerp(a, b, t), mi.Vector3f(b - a)
        good = mi.Bool(True)
        odd = dr.gather(mi.Bool, self.odd, row)
        view = camera.view(lens)
        contour = self._active(view, p0, p1, qa, qb, odd, mi.Bool(False))
        if camera.kind == "thinlens":
            good = self._active(view, p0, p1, qa, qb, always, flat)
        along = dr.clip(dr.dot(p - p0, p1 - p0) / dr.squared_norm(p1 - p0), 0, 1)
        return EdgeSample(
            p=p,
            tangent=tangent,
            dt=dr.select(good, (u1 - u0) * dtdv, 0),
            shape=dr.gather(mi.ShapePtr, scene.shapes_dr(), dr.gather(mi.UInt32, self.shape, row)),
            row=row,
            local=mi.Vector3f(along, 0, 0),
            inside=qa - p + (qb - p),
            contour=contour,
            faces=(dr.gather(mi.UInt32, self.fa, row), dr.gather(mi.UInt32, self.fb, row)),
        )

    def at(self, view: Any, row: Any, t: Any, scene: Any) -> EdgeSample:
        """The point p0 + t (p1 - p0) of edge ``row``; no sample where nothing jumps, seen from ``view``."""
        p0, p1, qa, qb = (dr.gather(mi.Point3f, x, row) for x in self._corners)
        always, flat, odd = (dr.gather(mi.Bool, x, row) for x in (self.always, self.flat, self.odd))
        p = dr.lerp(p0, p1, t)
        return EdgeSample(
            p=p,
            tangent=p1 - p0,
            dt=dr.select(self._active(view, p0, p1, qa, qb, always, flat), mi.Float(1), 0),
            shape=dr.gather(mi.ShapePtr, scene.shapes_dr(), dr.gather(mi.UInt32, self.shape, row)),
            row=row,
            local=mi.Vector3f(t, 0, 0),
            inside=qa - p + (qb - p),
            contour=self._active(view, p0, p1, qa, qb, odd, mi.Bool(False)),
            faces=(dr.gather(mi.UInt32, self.fa, row), dr.gather(mi.UInt32, self.fb, row)),
        )

    def bounds(self) -> EdgeBounds:
        """Boxes and cones of face normals, for `edge_tree.EdgeTree`."""
        p0, p1 = self.p0, self.p1
        edge = p1 - p0
        na = dr.normalize(dr.cross(edge, self.qa - p0))
        nb = dr.normalize(dr.cross(self.qb - p0, edge))
        length = dr.norm(edge)
        crease = dr.select(self.always, SEAM, dr.select(self.flat, CREASE * self.bend, 0))
        return EdgeBounds(
            low=dr.minimum(p0, p1),
            high=dr.maximum(p0, p1),
            first=na,
            second=nb,
            free=self.odd | ~dr.isfinite(dr.dot(na, nb)),
            contour=length,
            crease=length * crease,
        )

    def motion(self, edge: EdgeSample) -> Any:
        """World position of a sample, attached; its value is ``edge.p``.

        Where a seam splits vertices, the mean of both copies: each receives half the gradient.
        """

        def follow(a, b):
            v0, v1 = dr.gather(mi.UInt32, a, edge.row), dr.gather(mi.UInt32, b, edge.row)
            return dr.lerp(
                dr.gather(mi.Point3f, self.positions, v0), dr.gather(mi.Point3f, self.positions, v1), edge.local.x
            )

        q = follow(self.ends[0], self.ends[1])
        return 0.5 * (q + follow(self.ends[2], self.ends[3])) if self.seams else q


@dataclass
class MeshTopology:
    """Device copy of `MeshEdges` for one mesh, kept while its faces stay the same.

    A dataclass, so that `dr.freeze` finds its arrays through the integrator.
    """

    faces: Any  # UInt32, the mesh's index buffer
    ends: list  # four UInt32 per edge: end points in the first and in the second face
    third: list  # two UInt32 per edge: the remaining corner of each face
    beside: list  # two UInt32 per edge: the faces
    odd: Any  # Bool per edge: open, or shared by more than two faces
    always: Any  # Bool per edge: a discontinuity from everywhere
    split: bool
    count: int

    @classmethod
    def of(cls, mesh: Any) -> MeshTopology:
        positions = dr.detach(mesh.vertex_positions_buffer()).numpy().reshape(-1, 3)
        faces = dr.detach(mesh.faces_buffer())
        table = faces.numpy().reshape(-1, 3)
        edges: MeshEdges = mesh_edges(positions, table)
        ends = [mi.UInt32(table[edges.face[:, k], edges.corner[:, k, j]]) for k in range(2) for j in range(2)]
        third = [mi.UInt32(table[edges.face[:, k], 3 - edges.corner[:, k].sum(1)]) for k in range(2)]
        beside = [mi.UInt32(edges.face[:, k]) for k in range(2)]
        varies = mesh.has_vertex_texcoords() or mesh.has_vertex_normals() or mesh.has_mesh_attributes()
        always = mi.Bool(edges.always | (edges.split if varies else False))
        return cls(faces, ends, third, beside, mi.Bool(edges.always), always, bool(edges.split.any()), len(edges))

    def matches(self, mesh: Any) -> bool:
        return self.faces.index == dr.detach(mesh.faces_buffer()).index

    def rows(self, mesh: Any, shape_index: int) -> dict:
        """Current positions of all edges."""
        with dr.resume_grad():
            attached = mesh.vertex_positions_buffer()
        position = dr.detach(attached)
        p0, p1, qa, qb = (dr.gather(mi.Point3f, position, v) for v in (*self.ends[:2], *self.third))
        return {
            "p0": p0,
            "p1": p1,
            "qa": qa,
            "qb": qb,
            "fa": self.beside[0],
            "fb": self.beside[1],
            "odd": self.odd,
            "always": self.always,
            "flat": dr.full(mi.Bool, not mesh.has_vertex_normals(), self.count),
            "shape": dr.full(mi.UInt32, shape_index, self.count),
            "seams": self.split,
            "positions": attached,
            "ends": self.ends,
        }
