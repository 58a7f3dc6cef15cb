"""Curves in space along which the visible surface changes, seen through one camera.

Two sets, one contract (`weights`, `sample`, `motion`): straight edges (meshes) and arcs (spheres,
disks, cylinders). Rows are detached; only `motion` is attached. (`Shape.differential_motion` will
not do: it takes the point from texture coordinates, which differ from shape to shape.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from ..core.errors import UnsupportedError
from .topology import MeshEdges, mesh_edges

ARCS = 64  # pieces of a circle
CREASE = 1.0  # sampling weight of an edge that only bends by 90°, relative to a contour
SEAM = 0.5  # of an edge where texture coordinates or normals jump


@dataclass
class EdgeSample:
    """A point on a boundary curve. ``x(t)`` is the curve, ``t`` any parameter.

    Attributes:
        p: Point3f, world position x(t).
        tangent: Vector3f, dx/dt.
        dt: Float, 1 / density of t, the probability of the row excluded; 0 for no sample.
        shape: ShapePtr, whose outline it is.
        row: UInt32, edge or arc.
        local: Vector3f, what the set needs to follow the material point (`motion`).
        contour: Bool, the surface lies on one side of it only; else it only bends there.
        faces: two UInt32, the triangles beside a straight edge.
    """

    p: Any
    tangent: Any
    dt: Any
    shape: Any
    row: Any
    local: Any
    contour: Any = True
    faces: tuple[Any, ...] = ()

    def beside(self, hit: Any) -> Any:
        """Is ``hit`` the surface that ends at this outline? It hides nothing, however near."""
        own = hit.shape == self.shape
        for face in self.faces[:1]:
            own &= (hit.prim_index == face) | (hit.prim_index == self.faces[1])
        return own


def _join(parts: list[Any]) -> Any:
    """Concatenate arrays or 3-D points."""
    if len(parts) == 1:
        return parts[0]
    if dr.depth_v(parts[0]) == 1:
        return dr.concat(parts)
    return type(parts[0])(*(dr.concat([p[k] for p in parts]) for k in range(3)))


# ------------------------------------------------------------------------- straight edges


class SegmentSet:
    """Mesh edges (Mitsuba's `rectangle` and `cube` are meshes too).

    An edge is active if it is open, if it is a contour (both third corners lie on one side of
    the plane through viewpoint and edge; the winding does not matter), or if shading jumps across
    it: any bent edge of a flat-shaded mesh, and edges with split vertices.
    """

    def __init__(self, rows: list[dict]):
        for key in ("p0", "p1", "qa", "qb", "fa", "fb", "odd", "always", "flat", "shape"):
            setattr(self, key, _join([r[key] for r in rows]))
        self.seams = any(r["seams"] for r in rows)
        # Attached positions of all meshes, and the end points of each edge in both faces.
        with dr.resume_grad():
            self.positions = _join([r["positions"] for r in rows])
        base, ends = 0, []
        for r in rows:
            ends.append([v + base for v in r["ends"]])
            base += dr.width(r["positions"]) // 3
        self.ends = [_join([e[k] for e in ends]) for k in range(4)]
        self._corners = (self.p0, self.p1, self.qa, self.qb)
        na, nb = (dr.normalize(dr.cross(self.p1 - self.p0, q - self.p0)) for q in (self.qa, self.qb))
        # Sine of the angle between the faces, 1 beyond a right angle; coplanar corners: na = -nb.
        self.bend = dr.select(dr.dot(na, nb) > 0, 1, dr.norm(dr.cross(na, nb)))
        dr.eval(*self._corners, self.bend, self.odd, self.always, self.flat, self.ends)

    def __len__(self) -> int:
        return dr.width(self.p0)

    def _active(self, camera: Any, p0, p1, qa, qb, always, flat, lens, slack) -> Any:
        """Discontinuity test from a viewpoint; ``slack``: from any viewpoint within that distance."""
        view = camera.viewpoint(lens)
        na, nb = dr.cross(p1 - p0, qa - p0), dr.cross(p1 - p0, qb - p0)
        to = (p0 - view) if camera.is_point else mi.Vector3f(view)
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
        active = self._active(camera, *self._corners, self.always, self.flat, mi.Vector2f(0), slack)
        # Creases inside an outline show less contrast, about proportional to their angle.
        contour = self._active(camera, *self._corners, self.odd, mi.Bool(False), mi.Vector2f(0), slack)
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
        contour = self._active(camera, p0, p1, qa, qb, odd, mi.Bool(False), lens, None)
        if camera.kind == "thinlens":
            good = self._active(camera, p0, p1, qa, qb, always, flat, lens, None)
        along = dr.clip(dr.dot(p - p0, p1 - p0) / dr.squared_norm(p1 - p0), 0, 1)
        return EdgeSample(
            p=p,
            tangent=tangent,
            dt=dr.select(good, (u1 - u0) * dtdv, 0),
            shape=dr.gather(mi.ShapePtr, scene.shapes_dr(), dr.gather(mi.UInt32, self.shape, row)),
            row=row,
            local=mi.Vector3f(along, 0, 0),
            contour=contour,
            faces=(dr.gather(mi.UInt32, self.fa, row), dr.gather(mi.UInt32, self.fb, row)),
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


# ------------------------------------------------------------------------- curved outlines

RIM, SPHERE, LINE = 0, 1, 2


class ArcSet:
    """Outlines of spheres, disks and cylinders, cut into short arcs.

    Each row is a shape frame (o, x, y, z: origin and axes in world space) and a start parameter.
    Outlines of spheres and cylinders depend on the viewpoint and are derived from it.
    """

    def __init__(self, shapes: list[tuple[int, Any]]):
        rows = {k: [] for k in ("shape", "kind", "start", "step", "sign")}
        frames = {k: [] for k in "oxyz"}
        k = dr.arange(mi.Float, ARCS)
        for index, shape in shapes:
            with dr.resume_grad():
                m = mi.traverse(shape)["to_world"]
                o, x, y, z = (m @ mi.Point3f(0), *(m @ mi.Vector3f(*e) for e in ((1, 0, 0), (0, 1, 0), (0, 0, 1))))
                top = o + z
            name = shape.class_name()
            pieces = []
            if name in ("Disk", "Cylinder"):
                pieces.append((RIM, o, 0, 1))
            if name == "Cylinder":
                pieces += [(RIM, top, 0, 1), (LINE, o, 1, 1), (LINE, o, -1, 1)]
            if name == "Sphere":
                pieces.append((SPHERE, o, 0, 1))
            for kind, origin, sign, _ in pieces:
                step = 1 / ARCS if kind == LINE else dr.two_pi / ARCS
                for key, value in (("kind", kind), ("shape", index)):
                    rows[key].append(dr.full(mi.UInt32, value, ARCS))
                rows["start"].append(k * step)
                rows["step"].append(dr.full(mi.Float, step, ARCS))
                rows["sign"].append(dr.full(mi.Float, sign, ARCS))
                with dr.resume_grad():
                    for key, value in zip("oxyz", (origin, x, y, z)):
                        frames[key].append(mi.Vector3f(value) + dr.zeros(mi.Vector3f, ARCS))
        for key, parts in rows.items():
            setattr(self, key, _join(parts))
        with dr.resume_grad():
            self.attached = [_join(frames[key]) for key in "oxyz"]
        self.o, self.x, self.y, self.z = (dr.detach(v) for v in self.attached)
        dr.eval(self.shape, self.kind, self.start, self.step, self.sign, self.o, self.x, self.y, self.z)

    def __len__(self) -> int:
        return dr.width(self.start)

    @staticmethod
    def _point(camera, lens, kind, sign, o, x, y, z, t):
        """x(t), dx/dt and whether the outline exists from this viewpoint."""
        view = camera.viewpoint(lens)
        # Sphere: the circle of tangent points.
        r = dr.norm(x)
        to = (o - view) if camera.is_point else mi.Vector3f(view)
        d = dr.norm(to)
        sin2 = dr.square(r / d) if camera.is_point else mi.Float(0)
        axis = to / d
        frame = mi.Frame3f(axis)
        rho = r * dr.safe_sqrt(1 - sin2)
        sphere = kind == SPHERE
        c = dr.select(sphere, o - to * sin2, o)
        ax = dr.select(sphere, frame.s * rho, x)
        ay = dr.select(sphere, frame.t * rho, y)
        exists = ~sphere | (sin2 < 1)
        sin, cos = dr.sincos(t)
        p, tangent = c + ax * cos + ay * sin, ay * cos - ax * sin
        # Cylinder: the two lines where the viewpoint lies in the tangent plane.
        local = _into_frame(x, y, z) @ ((view - o) if camera.is_point else mi.Vector3f(-view))
        distance = dr.sqrt(dr.square(local.x) + dr.square(local.y))
        angle = dr.atan2(local.y, local.x)
        reach = dr.safe_acos(1 / distance) if camera.is_point else mi.Float(0.5 * dr.pi)
        sin, cos = dr.sincos(angle + sign * reach)
        line = kind == LINE
        p = dr.select(line, o + x * cos + y * sin + z * t, p)
        tangent = dr.select(line, z, tangent)
        if camera.is_point:
            exists &= ~line | (distance > 1)
        return mi.Point3f(p), mi.Vector3f(tangent), exists

    def weights(self, camera: Any) -> Any:
        """Length on the film in pixels of each arc (its chord); 0 outside the film."""
        lens = mi.Vector2f(0)
        args = (camera, lens, self.kind, self.sign, self.o, self.x, self.y, self.z)
        a, _, exists = self._point(*args, self.start)
        b, _, _ = self._point(*args, self.start + self.step)
        s0, z0 = camera.project(a, lens)
        s1, z1 = camera.project(b, lens)
        pad = dr.maximum(camera.blur(z0), camera.blur(z1)) + dr.norm(s1 - s0)
        low, high = camera.window()
        seen = dr.all((dr.maximum(s0, s1) >= low - pad) & (dr.minimum(s0, s1) <= high + pad))
        length = dr.norm(s1 - s0)
        if camera.is_point:
            near = camera.near
            seen &= (z0 > near) | (z1 > near)
            # An arc through the near plane has no meaningful chord.
            length = dr.select((z0 > near) & (z1 > near), length, dr.max(camera.size))
        return dr.select(exists & seen & dr.isfinite(length), length, 0)

    def sample(self, camera: Any, row: Any, u: Any, lens: Any, scene: Any) -> EdgeSample:
        """The point at fraction ``u`` of arc ``row``, on the outline seen from ``lens``."""
        kind, shape = dr.gather(mi.UInt32, self.kind, row), dr.gather(mi.UInt32, self.shape, row)
        start, step, sign = (dr.gather(mi.Float, x, row) for x in (self.start, self.step, self.sign))
        o, x, y, z = (dr.gather(mi.Vector3f, v, row) for v in (self.o, self.x, self.y, self.z))
        p, tangent, exists = self._point(camera, lens, kind, sign, mi.Point3f(o), x, y, z, dr.fma(u, step, start))
        return EdgeSample(
            p=p,
            tangent=tangent,
            dt=dr.select(exists, step, 0),
            shape=dr.gather(mi.ShapePtr, scene.shapes_dr(), shape),
            row=row,
            local=_into_frame(x, y, z) @ (p - mi.Point3f(o)),
        )

    def motion(self, edge: EdgeSample) -> Any:
        """World position of a sample, attached to its shape's transform; its value is ``edge.p``."""
        o, x, y, z = (dr.gather(mi.Vector3f, v, edge.row) for v in self.attached)
        return mi.Point3f(o + x * edge.local.x + y * edge.local.y + z * edge.local.z)


def _into_frame(x: Any, y: Any, z: Any) -> Any:
    """Matrix from world vectors to coordinates along the axes x, y, z."""
    return dr.rcp(mi.Matrix3f(x.x, y.x, z.x, x.y, y.y, z.y, x.z, y.z, z.z))


# ------------------------------------------------------------------------- of a scene


def topology(cache: dict[str, MeshTopology], index: int, mesh: Any) -> MeshTopology:
    """Adjacency of shape number ``index``, from ``cache`` while its faces stay the same."""
    key = f"{index} {mesh.id()}"
    found = cache.get(key)
    if found is None or not found.matches(mesh):
        found = cache[key] = MeshTopology.of(mesh)
    return found


def moving_edges(scene: Any, cache: dict[str, MeshTopology]) -> list[Any]:
    """The edge sets of all shapes that are attached to the AD graph (others do not move).

    Raises:
        UnsupportedError: an attached shape has no outline that could be listed.
    """
    rows, arcs = [], []
    for index, shape in enumerate(scene.shapes()):
        if not shape.parameters_grad_enabled():
            continue
        name = shape.class_name()
        if shape.is_mesh():
            adjacency = topology(cache, index, shape)
            if adjacency.count:
                rows.append(adjacency.rows(shape, index))
        elif name in ("Disk", "Sphere", "Cylinder"):
            arcs.append((index, shape))
        else:
            raise UnsupportedError(
                f"prb_edge cannot list the edges of shape '{shape.id()}' ({name}), which is attached to"
                " the AD graph: it handles meshes, rectangle, disk, sphere and cylinder. Convert the"
                " shape to a mesh, detach it, or set sppp=0 (its silhouette gradient is then missing)."
            )
    sets: list[Any] = []
    if rows:
        sets.append(SegmentSet(rows))
    if arcs:
        sets.append(ArcSet(arcs))
    return sets
