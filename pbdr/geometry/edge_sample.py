"""What every set of boundary curves returns: a point on a curve, and what lies beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from .rounding import LEAVE, UNIT, extent

HAIR = 5 * UNIT  # float32's resolution of a position
GAP = 3e-6  # of a view ray, left out at both ends
AWAY = 3.0  # hairs beside a contour: rays that go on along a wall that is seen edge-on do not meet it
BEHIND = 30  # gaps behind a contour, at which they start: it may touch another surface
SHORT = 0.9  # of the way to what lies behind a contour


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
        inside: Vector3f, from the point to the surface (where that lies on one side only).
        contour: Bool, the surface lies on one side of it only; else it only bends there.
        faces: two UInt32, the triangles beside a straight edge.
        onto: two Vector3f, from the point onto each of them, far enough in for a ray to meet it.
        curved: Bool, the outline of a curved shape, which has no faces.
        instance, number: where the scene has instances, ShapePtr to the one that shows the shape (or null), and
            UInt32, the shape's number in its group.
        vague: Float, distance by which the intersection of rays with that shape is off (see `arcs`).
        share: Float, 1 / number of borders that coincide here: each of them shows the whole jump.
        flat: Bool, of a mesh whose normals are those of its faces.
        normal: Vector3f, what normals are interpolated to there, if they are, and alike on both sides; else 0.
    """

    p: Any
    tangent: Any
    dt: Any
    shape: Any
    row: Any
    local: Any
    inside: Any = None
    contour: Any = True
    faces: tuple[Any, ...] = ()
    onto: tuple[Any, ...] = ()
    curved: Any = False
    instance: Any = None
    number: Any = None
    vague: Any = 0.0
    share: Any = 1.0
    flat: Any = False
    normal: Any = None

    def beside(self, hit: Any) -> Any:
        """Is ``hit`` the surface that ends at this outline? It hides nothing, however near."""
        own = hit.shape == self.shape
        if self.instance is not None:  # a hit on an instance does not name its shape
            shown = self.instance != dr.zeros(mi.ShapePtr)
            own = (hit.instance == self.instance) & dr.select(shown, hit.shape_index == self.number, own)
        for face in self.faces[:1]:
            own &= self.curved | (hit.prim_index == face) | (hit.prim_index == self.faces[1])
        return own

    def face_toward(self, height: Any) -> Any:
        """Vector3f onto the face for which ``height`` (a function of a vector) is larger."""
        first, second = self.onto
        return dr.select(height(first) > height(second), first, second)

    def just_outside(self, across: Any, hairs: Any = 1.0) -> Any:
        """Point3f beside a contour of a mesh, by float32's resolution (times ``hairs``) along the unit vector ``across``."""
        across = dr.select(dr.dot(across, self.inside) > 0, -across, across)
        return self.p + across * (hairs * HAIR * extent(self.p))

    def alone(self, blocked: Callable, ray: Any, own: Any, reach: Any, lane: Any, active: Any) -> Any:
        """Is a contour of a mesh neither hidden, nor is there another one between it and the ray that passes outside?

        One ray of each pair goes to the viewer, the other one away from it, both just outside the contour: the two rays
        beside it are too far apart to tell. Where a fine mesh is saddle-shaped its outlines fold: what hides a fold may end
        between the two, and so may what the fold hides, whose own contour shows the jump to what lies behind.

        Args:
            own, reach: of `in_view`.
        """
        to_viewer = (lane & 1) == 0
        hairs = dr.select(to_viewer, mi.Float(1), AWAY)
        start = self.just_outside(dr.normalize(dr.cross(self.tangent, ray.o - self.p)), hairs)
        to, length = ray.o - start, dr.norm(ray.o - start)
        gap = dr.maximum(GAP, (LEAVE * UNIT) * extent(self.p, ray.o) * dr.rcp(length))
        near, far = dr.minimum(gap, 0.25), BEHIND * gap
        # Where one of them meets the surface that ends here, nothing comes between that and what the other one meets.
        other = dr.gather(mi.Bool, own, lane ^ 1)
        there = dr.select(own, dr.gather(mi.Float, reach, lane ^ 1), reach) - length
        most = dr.select(to_viewer, 1 - 2 * near, dr.minimum(there * dr.rcp(length) * SHORT, 1e6) - far)
        probe = mi.Ray3f(
            start + to * dr.select(to_viewer, near, -far),
            dr.select(to_viewer, mi.Vector3f(to), -mi.Vector3f(to)),
            ray.time,
        )
        probe.maxt = most
        asked = active & self.contour & ~mi.Bool(self.curved) & (to_viewer | ((own != other) & (most > 0)))
        met = asked & blocked(probe, asked)  # Embree says yes for inactive lanes whose ray has no length
        return ~(met | dr.gather(mi.Bool, met, lane ^ 1))

    def in_view(self, blocked: Callable, ray: Any, own: Any, before: Any, reach: Any, lane: Any, active: Any) -> Any:
        """Which samples show a jump: two rays each, in lanes ``lane`` and ``lane ^ 1``.

        A contour is hidden where both rays meet something ``before`` it that is not its ``own`` surface:
        one alone may do so on that surface, which bends toward the viewer. Where a surface only bends,
        both must see it: a contour closer than the rays would be counted twice. ``blocked(ray, active)`` tells whether
        something opaque lies on a ray.

        Args:
            own, before: Bool, what the rays meet.
            reach: Float, how far from the viewer they meet something.
        """
        lost = dr.select(self.contour, before & ~own, ~own)
        other = dr.gather(mi.Bool, lost, lane ^ 1)
        active &= ~dr.select(self.contour, lost & other, lost | other)
        if self.faces:  # a mesh
            active &= self.alone(blocked, ray, own, reach, lane, active)
        return active


@dataclass
class EdgeBounds:
    """Conservative bounds of boundary curves, one row each.

    Attributes:
        low, high: Point3f, box around the curve, from wherever it is seen.
        first, second: Vector3f, normals of the faces beside a straight edge, on the same side of the
            surface: it is a contour seen from where they face differently.
        free: Bool, may be a contour from everywhere (open or curved); the normals do not matter.
        contour, crease: Float, lengths that weigh the curve where it is a contour, or only bends.
        edge_on: Float, sine of the angle to the view below which a face is seen edge-on.
    """

    low: Any
    high: Any
    first: Any
    second: Any
    free: Any
    contour: Any
    crease: Any
    edge_on: Any


def join(parts: list[Any]) -> Any:
    """Concatenate arrays or 3-D points."""
    if len(parts) == 1:
        return parts[0]
    if dr.depth_v(parts[0]) == 1:
        return dr.concat(parts)
    return type(parts[0])(*(dr.concat([p[k] for p in parts]) for k in range(3)))
