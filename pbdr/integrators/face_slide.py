"""How the slide of a walk's first point is shared by the surface around it.

x_o is held on a ray, and slides over the material by s. A field that is to carry points of a walk must not jump there, so
the material around x_o slides along, as far as that leaves the surface what it is:

    V'(y) = V(y) + φ(y) K(y),    K(y) = s + ω × (y - x_o),    ω = κ n_o × s.

On a sphere K turns all of it about its centre (κ = 1 / radius, φ = 1). On a mesh K is a shift within the face of x_o
(κ = 0), and φ = Π min(1, λ_k(y) / λ_k(x_o)) falls to 0 at the edges: nothing flows over a crease.

Near a sharp crease the first flight often ends on the face beyond it, at a distance as short as that of x_o from the crease.
What is hit there slides as a homothety about x_o lets it, which keeps directions (n, H: of the plane of that face),

    V'(y) = V(y) + φ₂(y) (s - (y - x_o) (n·s) / H),    H = n·(y - x_o),

with φ₂ = f(-n_o·ω) f(n·ω) times ramps to its other two edges, ω the direction to y, and f(cos) a step that is 0 along a
face.
"""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi

SMALL = 1e-6  # least barycentric coordinate of x_o
STEEP = 0.05, 0.35  # cosines between which f rises, by the normal at x_o
BEYOND = 0.02, 0.12  # ... and by that beyond a crease
RAMP = 4.0  # to the other edges of a face beyond a crease


def can_slide(shape: Any) -> bool:
    """Is there a K for this kind of shape?"""
    return shape.is_mesh() or shape.class_name() == "Sphere"


class FaceSlide:
    """φ and K of one x_o per lane; detached. A plain class: Dr.Jit would take a dataclass for loop state.

    Args:
        pi, ray: hit of x_o.
    """

    def __init__(self, pi: Any, ray: Any, active: Any):
        with dr.suspend_grad():
            x = pi.compute_surface_interaction(ray, mi.RayFlags.dPdUV | mi.RayFlags.dNSdUV, active)
            self.shape, self.face, self.mesh = pi.shape, pi.prim_index, active & pi.shape.is_mesh()
            self.p, self.n = mi.Vector3f(x.p), mi.Vector3f(x.n)
            self.si = x
            bend = dr.dot(x.dn_dv, x.dp_dv) / dr.maximum(dr.squared_norm(x.dp_dv), 1e-20)
            self.κ = dr.select(active & ~self.mesh, bend, 0)
            self.corners = corners_of(pi, self.mesh)
            λs, self.gradients = barycentric(self.corners, self.p)
            self.barycentric = [dr.maximum(λ, SMALL) for λ in λs]

    def spawn_ray(self, d: Any) -> Any:
        return self.si.spawn_ray(d)

    def at(self, pi: Any, y: Any, n: Any, active: Any) -> Slid:
        """What slides along at a point of a surface with the outward normal n."""
        same = active & (pi.shape == self.shape)
        on_face = same & self.mesh & (pi.prim_index == self.face)
        φ, slope = mi.Float(1), mi.Vector3f(0)
        for λ, g in zip(self.barycentric, self.gradients):
            ratio = 1 + dr.dot(g, y - self.p) / λ
            m = dr.clip(ratio, 0, 1)
            slope = slope * m + dr.select(ratio < 1, g * (φ / λ), 0)
            φ = φ * m
        on_face &= φ > 0
        share = dr.select(self.mesh, dr.select(on_face, φ, 0), dr.select(same, mi.Float(1), 0))
        beyond = same & self.mesh & (pi.prim_index != self.face)
        φ2, slope2, H = self._beyond(pi, y, n, beyond)
        share, slope = dr.select(beyond, φ2, share), dr.select(beyond, slope2, dr.select(on_face, slope, 0))
        return Slid(self, y, n, share, slope, dr.select(beyond & (φ2 > 0), dr.rcp(H), 0))

    def _beyond(self, pi: Any, y: Any, n: Any, active: Any) -> tuple[Any, Any, Any]:
        """(φ₂, its gradient, H) on a face that shares an edge with that of x_o."""
        corners = corners_of(pi, active)
        common = [self._has(c) for c in corners]
        count = sum(dr.select(c, mi.UInt32(1), 0) for c in common)
        to = y - self.p
        r = dr.maximum(dr.norm(to), 1e-9)
        ω = to / r
        H = dr.dot(n, to)
        φ, slope = mi.Float(1), mi.Vector3f(0)
        for m, sign, limits in ((self.n, -1, STEEP), (n, 1, BEYOND)):
            f, df = step(dr.dot(m, ω) * sign, limits)
            slope = slope * f + (m - ω * dr.dot(m, ω)) * (φ * df * sign / r)
            φ = φ * f
        for λ, g, c in zip(*barycentric(corners, y), common):
            f = dr.select(c, dr.clip(RAMP * λ, 0, 1), 1)
            slope = slope * f + dr.select(c & (RAMP * λ < 1), g * (φ * RAMP), 0)
            φ = φ * f
        active &= (count == 2) & (H > 0) & (φ > 0)
        return dr.select(active, φ, 0), dr.select(active, slope, 0), dr.select(active, H, 1)

    def _has(self, corner: Any) -> Any:
        same = mi.Bool(False)
        for c in self.corners:
            same |= dr.all(c == corner)
        return same


class Slid:
    """φ K at a point y, as linear functions of s."""

    def __init__(self, around: FaceSlide, y: Any, n: Any, φ: Any, slope: Any, inverse: Any):
        self.o, self.κ, self.to = around.n, around.κ, y - around.p
        self.n, self.φ, self.slope, self.inverse = n, φ, slope, inverse

    def _carries(self, a: Any) -> Any:
        """The vector c with a·K = c·s."""
        c = a + dr.cross(dr.cross(self.to, a), self.o) * self.κ
        return c - self.n * (dr.dot(a, self.to) * self.inverse)

    def by(self, pull: Any, stretch: Any, turn: Any) -> Any:
        """∂/∂s of pull·φK + stretch · (divergence of φK on the surface) + turn·(turn of the normal)."""
        value = self._carries(pull * self.φ + self.slope * stretch) - self.n * (2 * self.φ * stretch * self.inverse)
        return value + dr.cross(dr.cross(self.n, turn), self.o) * (self.κ * self.φ)

    def along(self, e: Any, pull: Any, stretch: Any) -> Any:
        """The same, with the divergence along lines in direction e: of the turn about the centre some is left."""
        turn = dr.cross(dr.cross(e, self.n), self.o) * (self.κ * self.φ * stretch / dr.dot(e, self.n))
        return self.by(pull, stretch, mi.Vector3f(0)) - dr.select(dr.isfinite(turn), turn, 0)

    def of(self, s: Any) -> tuple[Any, Any]:
        """(φK, its divergence on the surface) of a slide that is attached."""
        K = s + dr.cross(dr.cross(self.o, s), self.to) * self.κ - self.to * (dr.dot(self.n, s) * self.inverse)
        return K * self.φ, dr.dot(self.slope, K) - 2 * self.φ * self.inverse * dr.dot(self.n, s)


def step(cos: Any, limits: tuple) -> tuple[Any, Any]:
    """f, from 0 along a surface to 1 on steeper ways, and its slope."""
    low, high = limits
    x = dr.clip((cos - low) / (high - low), 0, 1)
    return dr.square(x) * (3 - 2 * x), 6 * x * (1 - x) / (high - low)


def corners_of(pi: Any, active: Any) -> list[Any]:
    """Of the triangle of a hit or an interaction, detached."""
    corner, corners = dr.zeros(mi.PreliminaryIntersection3f), []
    corner.valid, corner.t = mi.Bool(True), mi.Float(0)
    corner.shape, corner.prim_index = pi.shape, pi.prim_index
    ray = dr.zeros(mi.Ray3f)
    for uv in ((0, 0), (1, 0), (0, 1)):
        corner.prim_uv = mi.Point2f(*uv)
        p = corner.compute_surface_interaction(ray, mi.RayFlags.Minimal | mi.RayFlags.FollowShape, active).p
        corners.append(mi.Vector3f(dr.detach(p)))
    return corners


def barycentric(corners: list[Any], y: Any) -> tuple[list[Any], list[Any]]:
    """Coordinates of a point in the plane of a triangle, and their gradients."""
    a, b = corners[1] - corners[0], corners[2] - corners[0]
    normal = dr.cross(a, b)
    area2 = dr.maximum(dr.squared_norm(normal), 1e-30)
    ga, gb = dr.cross(b, normal) / area2, dr.cross(normal, a) / area2
    λa, λb = dr.dot(ga, y - corners[0]), dr.dot(gb, y - corners[0])
    return [1 - λa - λb, λa, λb], [-ga - gb, ga, gb]
