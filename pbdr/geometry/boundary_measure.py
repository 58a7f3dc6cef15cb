"""Boundary measure: how far a visible point is from where visibility or shading jumps.

Two measures of a hit, both 0 on every curve across which the radiance along a ray from o may jump
when the curve belongs to the surface that is hit, and positive elsewhere: B, relative to the size of
the surface and 1 where nothing is hit :cite:`bangaru2020unbiased`, and s, about the angle (radians)
under which the curve is seen from the hit. Nothing is listed or searched: they are functions of the
hit alone, so shapes without edges have them.

| shape | B | s |
|---|---|---|
| sphere, curves, signed distance field | min(1, 4 (n·d)²) | (1 - √(1 - (n·d)²)) R / t |
| cylinder | that, or the distance to an end | the same, R / t its size |
| disk | 1 - r | (1 - r) R / t |
| mesh | m (with vertex normals times the B of a sphere) | the angle to a discontinuous edge, or the s of a sphere |

A discontinuous edge of the triangle is a contour between its two faces from o, open, a seam, or a
crease of flat shading; m is the least barycentric distance to one. So smooth-shaded meshes have the
*polygonal* silhouette, not the curve where the interpolated normal turns away.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from ..core.arrays import on_device, same
from ..scene.instances import registry_number
from ..scene.shapes import jumps_between_faces
from ..scene.viewpoint import Viewpoint
from .edge_sample import join
from .faces import FEW, Face
from .segments import SegmentSet
from .topology import mesh_edges

SMOOTH, SPHERE, CYLINDER, DISK, MESH, FIELD = range(6)  # what the measure distinguishes
KINDS = {"SDFGrid": FIELD, "Sphere": SPHERE, "Cylinder": CYLINDER, "Disk": DISK}
NOTHING = 1.5  # s where nothing is hit, and at most
REACH = 3.0  # widths of the kernel to an outline beyond the face that was hit
DOUBT = 0.3  # of the way there that is left, as that outline is an estimate
RIM_STEPS = 5  # of Newton, to the nearest point of a cylinder's end
RIM = 0.02  # least |n·d| of a smooth mesh: its contour is where m is 0, not where normals turn away


@dataclass
class BoundaryTables:
    """What the measure looks up, kept while shapes and faces stay the same.

    Attributes:
        ids: per shape, its number in Dr.Jit's registry: what a `ShapePtr` holds.
        faces: index buffers of the meshes.
        kind, first: UInt32 per registry number: kind of shape, and its first row in ``corners``.
        size: Float per registry number, half the extent of the shape's box (when the table was made).
        corners: 6 UInt32 per face: its vertices, and across the edge opposite to each of them the
            third vertex of the neighbour (numbered through all meshes).
        joined: 3 UInt32 per face: the faces across these edges, rows of ``corners``.
        flags: UInt32 per face: bits 0-2 discontinuous from everywhere, bit 3 flat-shaded.
        bent: largest of the meshes' mean angles between normals of vertices and of faces, radians.
    """

    ids: list
    faces: list
    kind: Any
    first: Any
    size: Any
    corners: Any
    joined: Any
    flags: Any
    bent: float

    @classmethod
    def of(cls, shapes: list[Any]) -> BoundaryTables:
        # Shapes of scenes that nobody holds any more take part in every call of a method until they are collected;
        # with many of them Dr.Jit 1.5 has been seen to define a function twice, and to abort.
        gc.collect()
        ids = [registry_number(s) for s in shapes]
        kind = np.zeros(max(ids, default=0) + 1, np.uint32)
        first, size = np.zeros_like(kind), np.zeros(len(kind), np.float32)
        buffers, rows, base, bent = [], 0, 0, 0.0
        corners, joined, flags = ([np.zeros((0, n), np.int64)] for n in (6, 3, 1))
        for number, shape in zip(ids, shapes):
            kind[number] = MESH if shape.is_mesh() else KINDS.get(shape.class_name(), SMOOTH)
            extents = np.array(shape.bbox().extents()).ravel()
            size[number] = max(0.5 * float(extents.max()), 1e-20) if np.isfinite(extents).all() else 1.0
            if not shape.is_mesh():
                continue
            buffers.append(dr.detach(shape.faces_buffer()))
            positions = dr.detach(shape.vertex_positions_buffer()).numpy().reshape(-1, 3)
            faces = buffers[-1].numpy().reshape(-1, 3)
            across, beside, word = _neighbours(shape, positions, faces)
            bent = max(bent, _bent(shape, positions, faces))
            first[number] = rows
            corners.append(np.concatenate([faces, across], 1) + base)
            joined.append(beside + rows)
            flags.append(word[:, None])
            rows, base = rows + len(faces), base + len(positions)
        columns = (np.concatenate(c).ravel() for c in (corners, joined, flags))
        heads = (on_device(mi.UInt32, kind), on_device(mi.UInt32, first), on_device(mi.Float, size))
        return cls(ids, buffers, *heads, *(on_device(mi.UInt32, c.astype(np.uint32)) for c in columns), bent)

    def matches(self, shapes: list[Any]) -> bool:
        meshes = [s for s in shapes if s.is_mesh()]
        return (
            self.ids == [registry_number(s) for s in shapes]
            and len(self.faces) == len(meshes)
            and all(same(f, dr.detach(m.faces_buffer())) for f, m in zip(self.faces, meshes))
        )


def _bent(mesh: Any, positions: np.ndarray, faces: np.ndarray) -> float:
    """Mean angle between the normals of vertices and of faces, 0 without the former."""
    if not mesh.has_vertex_normals() or mesh.has_face_normals() or not len(faces):
        return 0.0
    n = np.cross(positions[faces[:, 1]] - positions[faces[:, 0]], positions[faces[:, 2]] - positions[faces[:, 0]])
    area = np.linalg.norm(n, axis=1)
    normals = dr.detach(mesh.vertex_normals_buffer()).numpy().reshape(-1, 3)[faces]
    cos = (normals * (n / np.maximum(area, 1e-30)[:, None])[:, None]).sum(2)
    return float(np.average(np.arccos(np.clip(np.abs(cos), 0, 1)).mean(1), weights=np.maximum(area, 1e-30)))


def _neighbours(mesh: Any, positions: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per face: the vertex and the face across each edge (F, 3), and the flags."""
    edges = mesh_edges(positions, faces)
    varies = mesh.has_vertex_texcoords() or mesh.has_vertex_normals() or mesh.has_mesh_attributes()
    always = edges.always | edges.turned | (edges.split if varies else False) | jumps_between_faces(mesh)
    across = faces.copy()
    beside = np.repeat(np.arange(len(faces))[:, None], 3, 1)
    flags = np.full(len(faces), 0 if mesh.has_vertex_normals() else 8)
    opposite = 3 - edges.corner.sum(2)  # corner of each face that is not on the edge
    third = faces[edges.face, opposite]
    for side in range(2):
        across[edges.face[:, side], opposite[:, side]] = third[:, 1 - side]
        beside[edges.face[:, side], opposite[:, side]] = edges.face[:, 1 - side]
        np.bitwise_or.at(flags, edges.face[:, side], np.where(always, 1 << opposite[:, side].astype(np.int64), 0))
    return across, beside, flags


@dataclass
class Nearest:
    """What is known of the boundary nearest to a hit.

    Attributes:
        B, s: Float, the two measures; s is what is left of the way to the boundary if the hit was moved.
        along: Vector3f along the boundary, 0 where there is none.
        met: Bool, the hit was moved toward the boundary.
        weak: Bool, that is a crease where only shading jumps, and little.
        estimated: Bool, that is an outline beyond the triangle, whose place is a guess.
    """

    B: Any
    s: Any
    along: Any
    met: Any
    weak: Any
    estimated: Any


class BoundaryMeasure:
    """B and s at intersections with a scene.

    Args:
        scene: what is rendered.
        cache: `BoundaryTables` under the key ``"boundary"``, kept from render to render.
    """

    def __init__(self, scene: Any, cache: dict[str, Any]):
        shapes = scene.shapes()
        tables = cache.get("boundary")
        if tables is None or not tables.matches(shapes):
            tables = cache["boundary"] = BoundaryTables.of(shapes)
        self.tables = tables
        meshes = [s for s in shapes if s.is_mesh()]
        self.positions = join([dr.detach(m.vertex_positions_buffer()) for m in meshes]) if meshes else None
        kinds = {KINDS.get(s.class_name(), SMOOTH) for s in shapes if not s.is_mesh()}
        self.has_fields = FIELD in kinds
        self.has_cylinders, self.has_disks = CYLINDER in kinds, DISK in kinds
        self.knows_outlines = not kinds & {SMOOTH, FIELD}
        self.most_boundaries = 3 if self.has_cylinders else 1 if self.positions is None else 2

    def eval(self, ray: Any, pi: Any, si: Any, narrow: Any = None, other: Any = 0) -> Nearest:
        """Measures of detached hits.

        Args:
            ray: Ray3f that led to the hit.
            pi, si: the hit, with ``sh_frame``, ``uv`` and ``dp_duv``.
            narrow: Float, angles up to 1 / narrow count as near. If given, such hits move onto the
                boundary, in place (``pi.prim_uv``, ``si.p``), where that is known (on spheres, cylinders,
                disks and triangles that border it): the motion that counts is there.
            other: UInt32, where to move on cylinders: 0 to the nearest of outline and end, 1 to the other one of these,
                2 to the opposite side of the end.
        """
        hit = pi.is_valid()
        number = dr.reinterpret_array(mi.UInt32, pi.shape)
        kind = dr.gather(mi.UInt32, self.tables.kind, number, hit)
        size = dr.gather(mi.Float, self.tables.size, number, hit)
        angle = size / dr.select(hit, si.t, 1)
        cos = dr.abs_dot(si.sh_frame.n, ray.d)
        B, s = _turning(cos)
        along, met, weak = mi.Vector3f(0), mi.Bool(False), mi.Bool(False)
        if self.has_cylinders:
            ends = 2 * dr.minimum(si.uv.y, 1 - si.uv.y)
            tube = kind == CYLINDER
            B, s = dr.select(tube, dr.minimum(B, ends), B), dr.select(tube, dr.minimum(s, ends), s)
        if self.has_disks:
            B, s = (dr.select(kind == DISK, 1 - si.uv.x, x) for x in (B, s))
        s *= angle
        if narrow is not None:
            to_boundary, along = self._to_boundary(ray, si, kind, size, other)
            met = hit & ((kind == SPHERE) | (kind == CYLINDER) | (kind == DISK))
            s = dr.select(met, dr.norm(perpendicular(ray.d, to_boundary)) / si.t, s)
        if self.positions is not None:
            mesh = hit & (kind == MESH)
            on_mesh, face = self._on_mesh(ray, pi, cos, angle, mesh)
            B, s = (dr.select(mesh, new, old) for new, old in zip(on_mesh, (B, s)))
        beyond = mi.Bool(False)
        if narrow is not None:
            if self.positions is not None:
                to_outline = face.to_outline(ray, si)
                s_outline = dr.norm(perpendicular(ray.d, to_outline)) / si.t
                beyond = mesh & face.round & (face.weak | (s_outline < s)) & (s_outline * narrow < REACH)
                s = dr.select(beyond, s_outline, s)
            near = 1 / dr.square(1 + dr.square(dr.square(s * narrow)))
            si.p += dr.select(met, to_boundary * near, 0)
            met |= beyond
            if self.positions is not None:
                bordering = mesh & (face.nearest < 3) & ~beyond
                along = dr.select(bordering, face.move(pi, si, near, bordering), along)
                face.move_on(pi, si, to_outline * near, beyond)
                met |= bordering
                weak = bordering & face.weak
            s *= dr.select(beyond, DOUBT, dr.select(met, 1 - near, 1))
        B, s = dr.select(hit, dr.maximum(B, 0), 1), dr.select(hit, dr.clip(s, 0, NOTHING), NOTHING)
        return Nearest(B, s, dr.select(hit, along, 0), met, weak, beyond)

    def interpolates(self, si: Any, active: Any) -> Any:
        """Is it a point of a mesh with normals of its vertices? The plane of its face ends the view from there."""
        number = dr.reinterpret_array(mi.UInt32, si.shape)
        mesh = active & (dr.gather(mi.UInt32, self.tables.kind, number, active) == MESH)
        return mesh & ((dr.gather(mi.UInt32, self.tables.flags, self._row(si, mesh), mesh) & 8) == 0)

    def on_the_plane(self, si: Any, d: Any, active: Any) -> Any:
        """Hit (PreliminaryIntersection3f) of a point in direction ``d`` on the plane of the face of ``si``, beyond its corners perhaps."""
        _, _, _, (a, b, c) = self.face(self._row(si, active), active)
        u, v = b - a, c - a
        t = dr.norm(u) + dr.norm(v)
        q = si.p + d * t - a
        uu, uv, vv, qu, qv = dr.dot(u, u), dr.dot(u, v), dr.dot(v, v), dr.dot(q, u), dr.dot(q, v)
        inverse = dr.select(active, dr.rcp(dr.maximum(uu * vv - dr.square(uv), 1e-30)), 0)
        pi = dr.zeros(mi.PreliminaryIntersection3f)
        pi.prim_uv = mi.Point2f((vv * qu - uv * qv) * inverse, (uu * qv - uv * qu) * inverse)
        pi.prim_index, pi.shape, pi.instance = si.prim_index, si.shape, si.instance
        pi.t = dr.select(active, t, dr.inf)
        return pi

    def gain(self, ray: Any, pi: Any, si: Any, s: Any, narrow: Any) -> Any:
        """Factor on the motion of a hit that makes it the motion of the outline beside it.

        The points of a distance field move along their normals, v_n n. Where n still looks at the
        viewer by a cosine c, its outline moves faster than that on the film, by 1 / (1 - c²).
        """
        if not self.has_fields:
            return mi.Float(1)
        kind = dr.gather(mi.UInt32, self.tables.kind, dr.reinterpret_array(mi.UInt32, pi.shape), pi.is_valid())
        side = dr.maximum(1 - dr.square(dr.dot(si.n, ray.d)), 0.05)
        near = 1 / dr.square(1 + dr.square(s * narrow))
        return dr.select(pi.is_valid() & (kind == FIELD), 1 + near * (1 / side - 1), 1)

    def _row(self, hit: Any, active: Any) -> Any:
        """Row of the face that was hit in the tables."""
        number = dr.reinterpret_array(mi.UInt32, hit.shape)
        return dr.gather(mi.UInt32, self.tables.first, number, active) + hit.prim_index

    def face(self, row: Any, active: Any) -> tuple[Any, Any, Any, list]:
        """(vertices, vertices across the edges, flags, positions of the former) of a row of the tables."""
        index, across = (dr.gather(mi.Vector3u, self.tables.corners, 2 * row + k, active) for k in range(2))
        flags = dr.gather(mi.UInt32, self.tables.flags, row, active)
        return index, across, flags, [dr.gather(mi.Point3f, self.positions, index[k], active) for k in range(3)]

    def _on_mesh(self, ray: Any, pi: Any, cos: Any, angle: Any, active: Any) -> tuple[Any, Face]:
        """((B, s), the face)."""
        _, across, flags, p = self.face(self._row(pi, active), active)
        flat = (flags & 8) != 0
        distance = (1 - pi.prim_uv.x - pi.prim_uv.y, pi.prim_uv.x, pi.prim_uv.y)
        view = Viewpoint(ray.o)
        rim, s = _turning(dr.maximum(cos, RIM))
        face = Face.seen(ray.d, p)
        m, s = mi.Float(1), dr.select(flat, 1, s) * angle
        for k in range(3):
            a, b, c = p[(k + 1) % 3], p[(k + 2) % 3], p[k]
            q = dr.gather(mi.Point3f, self.positions, across[k], active)
            open_ = ((flags >> k) & 1) != 0
            ends = SegmentSet.contour(view, a, b, c, q, open_)
            face.look_across(a, b, c, q, ~open_)
            # The planes of coarse smooth faces end what their normals see, so light jumps where two of them meet.
            jumps = ends | (SegmentSet.bent(a, b, c, q) & (flat | (face.turn > FEW)))
            m = dr.select(jumps, dr.minimum(m, distance[k]), m)
            away = dr.abs_dot(ray.d, dr.normalize(dr.cross(ray.o - a, b - ray.o)))
            nearer = jumps & (away < s)
            s = dr.select(nearer, away, s)
            face.nearest = dr.select(nearer, k, face.nearest)
            face.weak = dr.select(nearer, ~ends & (face.turn < FEW), face.weak)
        return (m * dr.select(flat, 1, rim), s), face

    def _to_boundary(self, ray: Any, si: Any, kind: Any, size: Any, other: Any) -> tuple[Any, Any]:
        """Vector3f from a hit on a sphere, cylinder or disk to the nearest point of its outline, and one along it.

        The outlines of other smooth shapes are taken for those of spheres, but not moved to.
        """
        d = ray.d
        # Where the normal has turned to the side. A cylinder turns about its axis only.
        axis = dr.normalize(si.dp_dv)
        flat_d = dr.select(kind == CYLINDER, dr.normalize(d - axis * dr.dot(axis, d)), d)
        n = mi.Vector3f(si.n)
        side = n - flat_d * dr.dot(flat_d, n)
        turned = dr.select(dr.squared_norm(side) > 1e-12, dr.normalize(side), n)
        radius = dr.select(kind == CYLINDER, dr.norm(si.dp_du) * dr.inv_two_pi, size)
        outward = dr.select(kind == CYLINDER, 1, -1) * dr.sign(dr.dot(n, dr.cross(si.dp_du, si.dp_dv)))
        move = (turned - n) * radius * outward
        along = dr.cross(d, mi.Vector3f(si.sh_frame.n))
        if self.has_cylinders:
            # The nearer end, straight as seen from the origin, around the axis as far as the surface is bent.
            v, u = perpendicular(d, si.dp_dv), perpendicular(d, si.dp_du)
            way = dr.select(si.uv.y < 0.5, -si.uv.y, 1 - si.uv.y)
            around = dr.clip(-dr.dot(u, v) / dr.maximum(dr.squared_norm(u), 1e-20) * way, -0.1, 0.1)
            start = n * outward * radius
            radial = dr.normalize(start + si.dp_du * around) * radius
            to_end = si.dp_dv * way + radial - start
            tube = kind == CYLINDER
            end_is_nearer = dr.squared_norm(perpendicular(d, to_end)) < dr.squared_norm(perpendicular(d, move))
            opposite = mi.UInt32(other) == 2
            at_end = tube & (opposite | (end_is_nearer ^ (other == 1)))
            # What is seen through an open end is bordered by both sides of it, which may be close to each other.
            view = dr.normalize(flat_d)
            radial = dr.select(opposite, radial - view * (2 * dr.dot(view, radial)), radial)
            radial = _nearest_on_rim(d, si.dp_dv * way - start, axis, radial)
            to_end = dr.select(at_end, si.dp_dv * way + radial - start, to_end)
            move = dr.select(at_end, to_end, move)
            along = dr.select(at_end, dr.cross(axis, radial), dr.select(tube, axis, along))
        if self.has_disks:
            # Steepest toward the rim as seen from the origin.
            out, in_plane = dr.normalize(si.dp_du), d - n * dr.dot(n, d)
            steep = out + in_plane * (dr.dot(in_plane, out) / dr.maximum(1 - dr.squared_norm(in_plane), 1e-6))
            steep = dr.normalize(steep)
            R = dr.norm(si.dp_du)
            r, c = si.uv.x * R, dr.dot(steep, out)
            to_rim = steep * (dr.safe_sqrt(dr.square(R) - dr.square(r) * (1 - dr.square(c))) - r * c)
            disk = kind == DISK
            move = dr.select(disk, to_rim, move)
            along = dr.select(disk, dr.cross(n, out * r + to_rim), along)
        return move, along


def _nearest_on_rim(d: Any, centre: Any, axis: Any, radial: Any) -> Any:
    """From its centre to the point of a circle that is nearest to the origin as seen along d: Newton's steps in the angle."""
    for _ in range(RIM_STEPS):
        t = dr.cross(axis, radial)
        off, along = perpendicular(d, centre + radial), perpendicular(d, t)
        length = dr.squared_norm(along)
        bent = length - dr.dot(off, perpendicular(d, radial))
        step = dr.clip(-dr.dot(off, along) / dr.maximum(bent, 0.1 * length + 1e-20), -0.3, 0.3)
        sin, cos = dr.sincos(step)
        radial = radial * cos + t * sin
    return radial


def perpendicular(d: Any, v: Any) -> Any:
    return v - d * dr.dot(d, v)


def _turning(cos: Any) -> tuple[Any, Any]:
    """Of a curved surface, relative to its size: 0 where it turns away."""
    c2 = dr.square(cos)
    return dr.minimum(1, 4 * c2), c2 / (1 + dr.safe_sqrt(1 - c2))
