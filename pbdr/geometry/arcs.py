"""Curved outlines of spheres, disks and cylinders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from ..core.arrays import on_device
from ..scene.frames import columns, held_columns, tangents, with_tangents
from ..scene.instances import Part, registry_number
from .coincidences import coinciding_rims, reach
from .edge_sample import EdgeBounds, EdgeSample
from .rounding import UNIT, extent

ARCS = 64  # pieces of a circle
RIM, SPHERE, LINE = 0, 1, 2
# (kind, sign, top) of each piece: the wall of a cylinder hides parts of its rims, and ends in two lines.
PIECES = {
    "Disk": ((RIM, 0, 0),),
    "Sphere": ((SPHERE, 0, 0),),
    "Cylinder": ((RIM, 1, 0), (RIM, -1, 1), (LINE, 1, 0), (LINE, -1, 0)),
}
# Mitsuba solves |o + t d|² = R² of a cylinder in single precision, so that from a distance r the square of the distance
# between ray and axis is off by this times u r².
QUADRATIC = 8


@dataclass
class ArcTable:
    """What curved outlines a scene has, kept while its shapes stay the same. A dataclass, so that `dr.freeze` finds it.

    A piece is a circle or a line; its rows ``64 p`` to ``64 p + 63`` are arcs of it.

    Attributes:
        owner: UInt32 per piece, number of its shape in the list that the table was made of.
        kind, sign, top: UInt32, Float, Float per piece; a rim at the top of a cylinder has ``top`` 1.
        shape, child, number: UInt32 per piece, of `Part`; ``child`` is its registry number in a group, else 0.
        partner: UInt32 per piece, a rim that lay on it when the table was made, or itself. ``None`` if none did.
        whole: UInt32, rows for a search from changing viewpoints: rims stay cut, of other outlines one row stands for all.
        counts: number of these rows of each shape.
    """

    owner: Any
    kind: Any
    sign: Any
    top: Any
    shape: Any
    child: Any
    number: Any
    whole: Any
    shown: bool
    pieces: int
    counts: tuple
    partner: Any = None

    @classmethod
    def of(cls, shapes: list[Part]) -> ArcTable:
        rows: list[tuple] = []
        for owner, part in enumerate(shapes):
            child = 0 if part.instance is None else registry_number(part.shape)
            for kind, sign, top in PIECES[part.shape.class_name()]:
                rows.append((owner, kind, sign, top, part.index, child, part.number))
        owner, kind, sign, top, shape, child, number = (np.array(c) for c in zip(*rows))
        first = np.arange(len(rows)) * ARCS
        whole = [f + np.arange(ARCS if k == RIM else 1) for f, k in zip(first, kind)]
        integers = (owner, kind, shape, child, number, np.concatenate(whole))
        owner, kind, shape, child, number, whole = (on_device(mi.UInt32, x.astype(np.uint32)) for x in integers)
        sign, top = (on_device(mi.Float, x.astype(np.float32)) for x in (sign, top))
        shown = any(part.instance is not None for part in shapes)
        counts = tuple(
            sum(ARCS if kind == RIM else 1 for kind, *_ in PIECES[part.shape.class_name()]) for part in shapes
        )
        table = cls(owner, kind, sign, top, shape, child, number, whole, shown, len(rows), counts)
        rims = np.nonzero(np.array([r[1] for r in rows]) == RIM)[0]
        if len(rims) > 1:
            arcs = ArcSet(table, shapes)
            frames = np.stack([np.array(v).T for v in (arcs.o, arcs.x, arcs.y, arcs.z)], 1)
            partner = coinciding_rims(frames, rims)
            table.partner = None if partner is None else on_device(mi.UInt32, partner.astype(np.uint32))
        return table


def _to_world(shape: Any) -> Any:
    """Transform4f of a shape; that of a sphere, which Mitsuba keeps one whatever its ``to_world``, does not stretch or turn it."""
    to_world = mi.Transform4f(mi.traverse(shape)["to_world"])
    if shape.class_name() != "Sphere":
        return to_world
    # By numbers alone: an inverse for each of many spheres would take as long as all the rest.
    m = to_world.matrix
    r = dr.norm(mi.Vector3f(m[0, 0], m[1, 0], m[2, 0]))
    frame = mi.Transform4f()
    frame.matrix = mi.Matrix4f(r, 0, 0, m[0, 3], 0, r, 0, m[1, 3], 0, 0, r, m[2, 3], 0, 0, 0, 1)
    return frame


class ArcSet:
    """Outlines of spheres, disks and cylinders, cut into short arcs.

    Each row has a shape frame (o, x, y, z: origin and axes in world space) and a start parameter.
    Outlines of spheres and cylinders depend on the viewpoint and are derived from it.
    """

    def __init__(self, table: ArcTable, shapes: list[Part]):
        self.table, self.shown = table, table.shown
        self.shapes, self._attached = shapes, None
        self.counts = [
            (a.index, count) for a, count in zip(shapes, table.counts)
        ]  # shape, number of curves in a search
        with dr.suspend_grad():
            self.o, self.x, self.y, self.z = self._frames(held_columns(self._transforms()))
        dr.eval(self.o, self.x, self.y, self.z)

    def _transforms(self) -> list[Any]:
        """To world, of each shape; attached inside `dr.resume_grad`."""
        inner = [_to_world(part.shape) for part in self.shapes]
        outer = [part.to_world() for part in self.shapes]
        return [t if o is None else o @ t for t, o in zip(inner, outer)]

    def _frames(self, found: Any) -> tuple[Any, ...]:
        """(o, x, y, z) of each piece."""
        dr.eval(found)  # as one kernel, where each component gathered would be one
        x, y, z, o = (dr.gather(mi.Vector3f, v, self.table.owner) for v in found)
        return o + z * self.table.top, x, y, z

    @property
    def attached(self) -> tuple[Any, ...]:
        """The frames, attached inside `dr.resume_grad`. Anew each time: a second traversal of a call adds to the first one's."""
        return self._attached or self._frames(columns(self._transforms()))

    def piece(self, row: Any) -> tuple[Any, Any, Any, tuple[Any, Any, Any, Any]]:
        """(number, kind, sign, frame) of the pieces that rows belong to."""
        p = row // ARCS
        frame = tuple(dr.gather(mi.Vector3f, v, p) for v in (self.o, self.x, self.y, self.z))
        return p, dr.gather(mi.UInt32, self.table.kind, p), dr.gather(mi.Float, self.table.sign, p), frame

    def interval(self, row: Any) -> tuple[Any, Any]:
        """(start, length) of rows, in the curve parameter."""
        kind = dr.gather(mi.UInt32, self.table.kind, row // ARCS)
        step = dr.select(kind == LINE, mi.Float(1 / ARCS), dr.two_pi / ARCS)
        return mi.Float(row % ARCS) * step, step

    def shape(self, row: Any) -> Any:
        """UInt32, index of the shape in the scene."""
        return dr.gather(mi.UInt32, self.table.shape, row // ARCS)

    def __len__(self) -> int:
        return self.table.pieces * ARCS

    def hold_tangents(self) -> None:
        """Forward mode: keep the tangents alone of all outlines."""
        with dr.resume_grad():
            moved = self._frames(tangents(self._transforms()))
            self._attached = tuple(with_tangents((self.o, self.x, self.y, self.z), moved))

    @staticmethod
    def _point(view, kind, sign, o, x, y, z, t):
        """x(t), dx/dt and whether the outline exists from this viewpoint."""
        # Sphere: the circle of tangent points, in its own frame. (Instances may stretch it.)
        to = view.toward(o)
        local = _into_frame(x, y, z) @ to
        d = dr.norm(local)
        sin2 = dr.select(view.finite, dr.rcp(dr.square(d)), 0)
        frame = mi.Frame3f(local / d)
        rho = dr.safe_sqrt(1 - sin2)
        sphere = kind == SPHERE
        c = dr.select(sphere, o - to * sin2, o)

        def out(v: Any) -> Any:
            return (x * v.x + y * v.y + z * v.z) * rho

        ax, ay = dr.select(sphere, out(frame.s), x), dr.select(sphere, out(frame.t), y)
        exists = ~sphere | (sin2 < 1)
        sin, cos = dr.sincos(t)
        p, tangent = c + ax * cos + ay * sin, ay * cos - ax * sin
        # Cylinder: the two lines where the viewpoint lies in the tangent plane.
        local = -local
        distance = dr.sqrt(dr.square(local.x) + dr.square(local.y))
        angle = dr.atan2(local.y, local.x)
        reach = dr.select(view.finite, dr.safe_acos(1 / distance), 0.5 * dr.pi)
        sin, cos = dr.sincos(angle + sign * reach)
        line = kind == LINE
        p = dr.select(line, o + x * cos + y * sin + z * t, p)
        tangent = dr.select(line, z, tangent)
        exists &= ~line | ~mi.Bool(view.finite) | (distance > 1)
        return mi.Point3f(p), mi.Vector3f(tangent), exists

    @staticmethod
    def _behind_wall(view, sign, o, x, y, z, t):
        """Bool: the wall of the cylinder hides the point ``t`` of one of its rims.

        Two rays cannot tell: a rim touches the outline of the wall, and on the way there comes closer to it than
        they are to the rim.
        """
        to = _into_frame(x, y, z) @ -view.toward(o)
        sin, cos = dr.sincos(t)
        finite = mi.Bool(view.finite)
        dx, dy = (to.x - dr.select(finite, cos, 0)), (to.y - dr.select(finite, sin, 0))
        # The line from the rim to the viewer meets the wall again at a share s of its length, at a height h.
        s = -2 * (cos * dx + sin * dy) / (dr.square(dx) + dr.square(dy))
        h = s * to.z * sign
        return (s > 0) & (~finite | (s < 1)) & (h > 0) & (h < 1)

    def _vague(self, row: Any, p: Any, viewer: Any) -> Any:
        """Distance by which the outline of a cylinder is off that rays from ``viewer`` see near ``p``."""
        _, _, sign, (_, x, _, z) = self.piece(row)
        across = dr.cross(p - viewer, dr.normalize(z))
        off = (QUADRATIC * UNIT) * dr.squared_norm(across) * dr.rcp(dr.norm(x))
        return dr.select(sign != 0, off, 0)

    def weights(self, camera: Any) -> Any:
        """Length on the film in pixels of each arc (its chord); 0 outside the film."""
        lens = mi.Vector2f(0)
        row = dr.arange(mi.UInt32, len(self))
        _, kind, sign, (o, x, y, z) = self.piece(row)
        start, step = self.interval(row)
        args = (camera.view(lens), kind, sign, mi.Point3f(o), x, y, z)
        a, _, exists = self._point(*args, start)
        b, _, _ = self._point(*args, start + step)
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
        start, step = self.interval(row)
        edge = self.at(camera.view(lens), row, dr.fma(u, step, start), scene)
        edge.dt *= step
        edge.vague = self._vague(row, edge.p, camera.origin)
        return edge

    def at(self, view: Any, row: Any, t: Any, scene: Any) -> EdgeSample:
        """The point with curve parameter ``t`` (angle, or share of the height for lines)."""
        piece, kind, sign, (o, x, y, z) = self.piece(row)
        p, tangent, exists = self._point(view, kind, sign, mi.Point3f(o), x, y, z, t)
        exists &= (kind != RIM) | (sign == 0) | ~self._behind_wall(view, sign, mi.Point3f(o), x, y, z, t)
        inside = dr.select((kind == RIM) & (sign != 0), z * sign, o - mi.Vector3f(p))
        owner, shown = dr.gather(mi.ShapePtr, scene.shapes_dr(), self.shape(row)), {}
        if self.shown:
            child = dr.gather(mi.UInt32, self.table.child, piece)
            shown["instance"] = dr.select(child != 0, owner, dr.zeros(mi.ShapePtr))
            shown["number"] = dr.gather(mi.UInt32, self.table.number, piece)
            owner = dr.select(child != 0, dr.reinterpret_array(mi.ShapePtr, child), owner)
        return EdgeSample(
            p=p,
            tangent=tangent,
            dt=dr.select(exists, mi.Float(1), 0),
            shape=owner,
            row=row,
            local=_into_frame(x, y, z) @ (p - mi.Point3f(o)),
            inside=dr.select(kind == LINE, o + z * t - mi.Vector3f(p), inside),
            curved=True,
            vague=dr.select(view.finite, self._vague(row, p, mi.Point3f(view.at)), 0),
            share=self._coinciding(piece, kind, p),
            **shown,
        )

    def _coinciding(self, piece: Any, kind: Any, p: Any) -> Any:
        """1 / number of rims that coincide at the point ``p`` of a piece."""
        if self.table.partner is None:
            return mi.Float(1)
        other = dr.gather(mi.UInt32, self.table.partner, piece)
        o, x, y, z = (dr.gather(mi.Vector3f, v, other) for v in (self.o, self.x, self.y, self.z))
        local = _into_frame(x, y, z) @ (p - mi.Point3f(o))
        off = dr.abs(dr.norm(mi.Vector2f(local.x, local.y)) - 1) * dr.norm(x) + dr.abs(local.z) * dr.norm(z)
        close = reach(extent(p), dr.norm(x), extent(p), dr)
        return dr.select((kind == RIM) & (other != piece) & (off < close), 0.5, 1.0)

    def closed(self, row: Any) -> Any:
        """Bool: a circle that slides over its surface."""
        return dr.gather(mi.UInt32, self.table.kind, row // ARCS) == SPHERE

    def angle(self, view: Any, row: Any, direction: Any) -> Any:
        """Parameter of the point on a sphere's outline in ``direction``."""
        _, _, _, (o, x, y, z) = self.piece(row)
        inward = _into_frame(x, y, z)
        local = mi.Frame3f(dr.normalize(inward @ view.toward(mi.Point3f(o)))).to_local(inward @ mi.Vector3f(direction))
        return dr.atan2(local.y, local.x)

    def parameter(self, view: Any, row: Any, edge: EdgeSample, start: Any) -> Any:
        """Parameter of the point ``edge`` on the outline seen from ``view``, at or after ``start``."""
        _, kind, _, (o, *_) = self.piece(row)
        around = self.angle(view, row, edge.p - mi.Point3f(o))
        t = dr.select(kind == SPHERE, around, dr.atan2(edge.local.y, edge.local.x))
        t -= dr.two_pi * dr.floor((t - start) / dr.two_pi)
        return dr.select(kind == LINE, edge.local.z, t)

    def whole(self) -> tuple[Any, Any, Any]:
        """Curves for a search from changing viewpoints: (row, start, length) in the curve parameter.

        A rim stays cut into arcs; outlines that slide over the surface are one curve.
        """
        row = self.table.whole
        start, step = self.interval(row)
        return row, start, dr.select(self.piece(row)[1] == RIM, step, step * ARCS)

    def bounds(self, row: Any, start: Any, length: Any) -> EdgeBounds:
        """Bounds of the curves that `whole` lists."""
        _, kind, _, frame = self.piece(row)
        o, x, y, z = (mi.Point3f(v) for v in frame)
        lengths = dr.norm(mi.Vector3f(x)), dr.norm(mi.Vector3f(y))
        radius = dr.hypot(*lengths) if self.shown else dr.maximum(*lengths)  # an instance may shear
        far = dr.select(kind == LINE, o + z, o)
        sin, cos = dr.sincos(start + 0.5 * length)
        middle = o + x * cos + y * sin
        rim = kind == RIM
        low = dr.select(rim, middle, dr.minimum(o, far))
        high = dr.select(rim, middle, dr.maximum(o, far))
        around = dr.sqrt(dr.square(mi.Vector3f(x)) + dr.square(mi.Vector3f(y)) + dr.square(mi.Vector3f(z)))
        reach = dr.select(rim, radius * length * 0.5, dr.select(kind == SPHERE, around, radius))
        return EdgeBounds(
            low=low - mi.Vector3f(reach),
            high=high + mi.Vector3f(reach),
            first=dr.zeros(mi.Vector3f, dr.width(row)),
            second=dr.zeros(mi.Vector3f, dr.width(row)),
            free=dr.full(mi.Bool, True, dr.width(row)),
            contour=dr.select(kind == LINE, dr.norm(mi.Vector3f(z)), radius * length),
            crease=dr.zeros(mi.Float, dr.width(row)),
            edge_on=dr.zeros(mi.Float, dr.width(row)),
        )

    def motion(self, edge: EdgeSample) -> Any:
        """World position of a sample, attached to its shape's transform; its value is ``edge.p``."""
        o, x, y, z = (dr.gather(mi.Vector3f, v, edge.row // ARCS) for v in self.attached)
        return mi.Point3f(o + x * edge.local.x + y * edge.local.y + z * edge.local.z)


def _into_frame(x: Any, y: Any, z: Any) -> Any:
    """Matrix from world vectors to coordinates along the axes x, y, z."""
    return dr.rcp(mi.Matrix3f(x.x, y.x, z.x, x.y, y.y, z.y, x.z, y.z, z.z))
