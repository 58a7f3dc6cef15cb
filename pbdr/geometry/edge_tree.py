"""Choose an outline seen from a point without looking at all edges: a tree with bounds.

Each node has a sphere around its curves, a cone around the normals n of the faces beside them, and
a bulge: how far the planes of those faces pass by its centre. An edge is a contour seen from p if p
lies on different sides of its two planes. A node none of whose planes can pass p has no contour and
is left out exactly (zero density only where the integrand is zero). The rest is chosen in proportion
to the expected length of contour / distance², and to a kernel around a direction of interest, such
as a sample of the BSDF: a heavy-tailed one whose width is that of the lobe. The tree is a complete
4-ary heap over curves in Morton order; it is refitted on the device, one kernel per level.
After :cite:`li2018differentiable`; its bounds of planes in Hough space are replaced by cone and bulge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from .edge_sample import EdgeBounds

FAN = 4
SLACK = 1e-3  # radians that widen every cone, against rounding
# Product of the cosines of both faces, up to which an edge may be a contour, in units of `EdgeBounds.edge_on`.
FLAT = 2.0


@dataclass
class Query:
    """What is asked from a viewpoint.

    Attributes:
        view: Viewpoint.
        statics: Float, weight of curves that do not move (0 where only moving ones matter).
        lobe: Vector3f or ``None``, direction of interest.
        width2: Float, squared angular width of the kernel around it.
        normal: Vector3f or ``None``: curves below its plane are left out where ``opaque`` holds.
        opaque: Bool.
        creases: bool or Bool, whether curves that only bend, and the borders of lights, count.
        broad: share of the samples that ignore the kernel, which bounds their weights.
    """

    view: Any
    statics: Any
    lobe: Any = None
    width2: Any = None
    normal: Any = None
    opaque: Any = True
    creases: Any = True
    broad: float = 0.5


class EdgeTree:
    """A hierarchy over boundary curves.

    Args:
        bounds: of all curves, near ones near each other.
        moving: Bool, whether a curve belongs to a shape that is attached to the AD graph.
        shines: Bool, whether it belongs to a light.
        boost: sampling weight of the border of a light, relative to that of other shapes. It counts
            among the creases: light points must not choose the near borders of their own light.
        bends: whether curves that only bend count where they do not belong to lights.
    """

    def __init__(self, bounds: EdgeBounds, moving: Any, shines: Any, boost: float, bends: bool = True):
        self.count = dr.width(bounds.contour)
        self.depth = 0
        while FAN**self.depth < self.count:
            self.depth += 1
        first = self._first(self.depth)
        nodes = first + FAN**self.depth
        # Sphere; axis and sine of the cone; weights. For refitting: box, angle, share that is a contour.
        self.sphere, self.cone, self.weight, self.low, self.high = (dr.zeros(mi.Float, 4 * nodes) for _ in range(5))
        self.bulge = dr.zeros(mi.Float, nodes)
        axis = bounds.first + bounds.second
        folded = bounds.free | (dr.squared_norm(axis) < 1e-6)
        axis = dr.select(folded, mi.Vector3f(0, 0, 1), dr.normalize(axis))
        angle = 0.5 * dr.safe_acos(dr.dot(bounds.first, bounds.second))
        angle = dr.select(folded, 0.5 * dr.pi, angle + dr.maximum(SLACK, bounds.edge_on))
        contour = dr.select(shines, 0, bounds.contour)
        crease = dr.select(shines, boost * dr.maximum(bounds.contour, bounds.crease), bounds.crease if bends else 0)
        move, rest = dr.select(moving, mi.Float(1), 0), dr.select(moving, mi.Float(0), 1)
        weights = (contour * move, contour * rest, crease * move, crease * rest)
        # Above the leaves, the length that is a contour on average over directions.
        mean = dr.minimum(angle * (4 / dr.pi), 1) + 1e-3
        # Moving curves fill the leaves from the front, resting ones from the back: few nodes hold both.
        size = FAN**self.depth
        ones = dr.select(moving, mi.UInt32(1), 0) + dr.zeros(mi.UInt32, self.count)
        self.leaf = dr.select(moving, dr.cumsum(ones) - 1, size - dr.cumsum(1 - ones))
        self.curve = dr.zeros(mi.UInt32, size)
        dr.scatter(self.curve, dr.arange(mi.UInt32, self.count), self.leaf)
        leaf = self.leaf
        self._store(first + leaf, bounds.low, bounds.high, axis, angle, weights, 0, mean)
        # Leaves are tested exactly.
        self.normals = dr.zeros(mi.Float, 8 * FAN**self.depth)
        a, b = bounds.first, bounds.second
        dr.scatter(self.normals, mi.Vector4f(a.x, a.y, a.z, dr.select(bounds.free, 1.0, 0.0)), 2 * leaf)
        dr.scatter(self.normals, mi.Vector4f(b.x, b.y, b.z, FLAT * bounds.edge_on), 2 * leaf + 1)
        dr.eval(self.sphere, self.cone, self.weight, self.low, self.high, self.normals, self.leaf, self.curve)
        for level in reversed(range(self.depth)):
            self._refit(level)

    def box(self) -> Any:
        """Float[6], bounding box of all curves: low corner, high corner."""
        i = dr.arange(mi.UInt32, 6)
        low = dr.gather(mi.Float, self.low, dr.select(i < 3, i, 0))
        return dr.select(i < 3, low, dr.gather(mi.Float, self.high, dr.select(i < 3, 0, i - 3)))

    @staticmethod
    def _first(level: int) -> int:
        return (FAN**level - 1) // (FAN - 1)

    def _store(self, node, low, high, axis, angle, weights, bulge, mean=1.0):
        centre = 0.5 * (low + high)
        radius = 0.5 * dr.norm(high - low)
        slope = dr.select(angle >= 0.5 * dr.pi, 2, dr.sin(angle))
        # Packets of four: one kernel writes them all.
        dr.scatter(self.sphere, mi.Vector4f(centre.x, centre.y, centre.z, radius), node)
        dr.scatter(self.cone, mi.Vector4f(axis.x, axis.y, axis.z, slope), node)
        dr.scatter(self.weight, mi.Vector4f(*weights), node)
        dr.scatter(self.low, mi.Vector4f(low.x, low.y, low.z, angle), node)
        dr.scatter(self.high, mi.Vector4f(high.x, high.y, high.z, mean), node)
        dr.scatter(self.bulge, mi.Float(bulge), node)

    def _refit(self, level: int) -> None:
        node = dr.arange(mi.UInt32, FAN**level) + self._first(level)
        low, high = mi.Point3f(dr.inf), mi.Point3f(-dr.inf)
        total = [mi.Float(0)] * 4
        children = []
        for k in range(FAN):
            child = node * FAN + 1 + k
            weights = dr.gather(mi.Vector4f, self.weight, child)
            a, b = dr.gather(mi.Vector4f, self.low, child), dr.gather(mi.Vector4f, self.high, child)
            some = dr.max(weights) > 0
            low = dr.select(some, dr.minimum(low, mi.Point3f(a.x, a.y, a.z)), low)
            high = dr.select(some, dr.maximum(high, mi.Point3f(b.x, b.y, b.z)), high)
            mean = (b.w, b.w, 1, 1)
            total = [t + w * m for t, w, m in zip(total, weights, mean)]
            cone = dr.gather(mi.Vector4f, self.cone, child)
            sphere = dr.gather(mi.Vector4f, self.sphere, child)
            children.append(
                (some, mi.Vector3f(cone.x, cone.y, cone.z), a.w, mi.Point3f(sphere.x, sphere.y, sphere.z), cone.w,
                 dr.gather(mi.Float, self.bulge, child))
            )  # fmt: skip
        # Normals count up to their sign: turn all axes to the side of the first.
        axis = mi.Vector3f(0)
        for some, n, *_ in children:
            axis += dr.select(some, dr.select(dr.dot(axis, n) < 0, -n, n), 0)
        long = dr.norm(axis)
        axis = dr.select(long > 1e-3, axis / long, mi.Vector3f(0, 0, 1))
        angle = dr.select(long > 1e-3, mi.Float(0), 0.5 * dr.pi)
        for some, n, own, *_ in children:
            apart = dr.safe_acos(dr.abs(dr.dot(axis, n)))
            angle = dr.select(some, dr.maximum(angle, apart + own), angle)
        empty = dr.max(mi.Vector4f(*total)) <= 0
        low, high = (dr.select(empty, mi.Point3f(0), x) for x in (low, high))
        # Planes of the faces, seen from the new centre: n · (x - c) = n · (x - c') + n · (c' - c).
        bulge, centre = mi.Float(0), 0.5 * (low + high)
        for some, n, _, own_centre, slope, own in children:
            off = own_centre - centre
            own += dr.abs(dr.dot(n, off)) + dr.minimum(slope, 1) * dr.norm(off)
            bulge = dr.select(some, dr.maximum(bulge, own), bulge)
        bulge = bulge * (1 + SLACK) + 1e-5 * dr.norm(high - low)
        self._store(node, low, high, axis, dr.minimum(angle, 0.5 * dr.pi), total, bulge)
        dr.eval(self.sphere, self.cone, self.weight, self.low, self.high, self.bulge)

    # ---------------------------------------------------------------- importance

    def _importance(self, query: Query, node: Any, leaf: bool) -> tuple[Any, Any]:
        """Float twice: without and with the kernel around the lobe."""
        sphere = dr.gather(mi.Vector4f, self.sphere, node)
        w = dr.gather(mi.Vector4f, self.weight, node)
        centre, radius = mi.Point3f(sphere.x, sphere.y, sphere.z), sphere.w
        to = query.view.toward(centre)
        finite = query.view.finite
        d2, r2 = dr.squared_norm(to), dr.square(radius)
        inside = mi.Bool(finite) & (d2 <= r2)
        inv = dr.rsqrt(dr.maximum(d2, 1e-20))
        sin_r = dr.select(finite, dr.minimum(radius * inv, 1), 0)
        if leaf:
            row = 2 * (node - self._first(self.depth))
            a, b = (dr.gather(mi.Vector4f, self.normals, row + k) for k in range(2))
            edge_on = a.w > 0
            facing = dr.dot(to, mi.Vector3f(a.x, a.y, a.z)) * dr.dot(to, mi.Vector3f(b.x, b.y, b.z))
            edge_on |= facing <= b.w * d2  # with faces that are seen edge-on
            share = 1
        else:
            # The viewpoint p lies in the plane of some face: n · (p - c) = n · (x - c), at most the
            # bulge. Of normals spread over a cone of angle a, those that do lie on a chord: √(1 - x²) / a.
            cone = dr.gather(mi.Vector4f, self.cone, node)
            sin_b = dr.select(finite, dr.minimum(dr.gather(mi.Float, self.bulge, node) * inv, 1), 0)
            cos_b, cos_a = dr.safe_sqrt(1 - sin_b * sin_b), dr.safe_sqrt(1 - cone.w * cone.w)
            slope = dr.abs(dr.dot(mi.Vector3f(cone.x, cone.y, cone.z), to)) * inv
            wide = (cone.w > 1) | (cos_a * cos_b <= cone.w * sin_b)
            limit = cone.w * cos_b + cos_a * sin_b
            edge_on = wide | (slope <= limit)
            chord = dr.sqrt(dr.maximum(1 - dr.square(slope / limit), 0.25)) / limit
            share = dr.select(wide, 1, chord)
        value = dr.select(edge_on, dr.fma(query.statics, w.y, w.x) * share, 0)
        if query.creases is not False:
            value += dr.select(query.creases, dr.fma(query.statics, w.w, w.z), 0)
        value /= dr.select(finite, dr.maximum(d2, dr.maximum(r2, 1e-20)), 1)
        if query.normal is not None:
            value = dr.select(mi.Bool(query.opaque) & (dr.dot(query.normal, to) < -radius), 0, value)
        if query.lobe is None:
            return value, value
        cos = dr.dot(query.lobe, to) * inv
        spread = dr.select(inside, 1, 2 - 2 * cos) + sin_r * sin_r
        return value, value / (spread + query.width2)

    def _children(self, query: Query, node: Any, leaf: bool) -> tuple[list, list]:
        plain, kernel = [], []
        for k in range(FAN):
            a, b = self._importance(query, node * FAN + 1 + k, leaf)
            plain.append(a)
            kernel.append(b)
        return plain, kernel

    # ---------------------------------------------------------------- sampling

    @dr.syntax
    def sample(self, query: Query, u: Any, narrow: Any) -> tuple[Any, Any]:
        """A curve and its probability; 0 where nothing was found.

        Args:
            u: Float in [0, 1); stratified numbers give stratified curves.
            narrow: Bool, choose by the kernel around the lobe: in a share ``1 - query.broad`` of the
                samples. The probability returned is that of the mixture.
        """
        node, level = mi.UInt32(0), mi.UInt32(0)
        plain, kernel, u = mi.Float(1), mi.Float(1), mi.Float(u)
        if dr.hint(self.depth > 0, mode="scalar"):
            while level < self.depth - 1:
                node, u, plain, kernel = self._step(query, node, u, narrow, plain, kernel, False)
                level += 1
            node, u, plain, kernel = self._step(query, node, u, narrow, plain, kernel, True)
        curve = dr.gather(mi.UInt32, self.curve, node - self._first(self.depth))
        return curve, dr.lerp(kernel, plain, query.broad)

    def _step(self, query, node, u, narrow, plain, kernel, leaf):
        """Choose one of the children of ``node``."""
        a, b = self._children(query, node, leaf)
        total_a, total_b = a[0] + a[1] + a[2] + a[3], b[0] + b[1] + b[2] + b[3]
        x = u * dr.select(narrow, total_b, total_a)
        chosen, below = mi.UInt32(0), mi.Float(0)
        weight_a, weight_b = mi.Float(a[0]), mi.Float(b[0])
        running = dr.select(narrow, b[0], a[0])
        for k in range(1, FAN):
            w = dr.select(narrow, b[k], a[k])
            later = (x >= running) & (w > 0)
            chosen = dr.select(later, k, chosen)
            below = dr.select(later, running, below)
            weight_a, weight_b = dr.select(later, a[k], weight_a), dr.select(later, b[k], weight_b)
            running += w
        own = dr.select(narrow, weight_b, weight_a)
        u = dr.clip((x - below) / dr.select(own > 0, own, 1), 0, 0.99999994)
        plain = plain * dr.select(total_a > 0, weight_a / total_a, 0)
        kernel = kernel * dr.select(total_b > 0, weight_b / total_b, 0)
        return node * FAN + 1 + chosen, u, plain, kernel

    @dr.syntax
    def pdf(self, query: Query, curve: Any, active: Any = True) -> Any:
        """Probability with which `sample` returns ``curve``."""
        leaf = dr.gather(mi.UInt32, self.leaf, curve, active)
        level, node = mi.UInt32(0), mi.UInt32(0)
        plain, kernel = mi.Float(1), mi.Float(1)
        going = mi.Bool(active)
        if dr.hint(self.depth > 0, mode="scalar"):
            while going & (level < self.depth - 1):
                node, plain, kernel = self._follow(query, node, leaf, level, plain, kernel, False)
                going &= (plain > 0) | (kernel > 0)
                level += 1
            node = dr.maximum(node, self._first(self.depth - 1))  # where the way down ended early
            node, plain, kernel = self._follow(query, node, leaf, level, plain, kernel, True)
        return dr.select(mi.Bool(active) & going, dr.lerp(kernel, plain, query.broad), 0)

    def _follow(self, query, node, target, level, plain, kernel, leaf):
        """The step toward ``target`` and the probability of choosing it."""
        a, b = self._children(query, node, leaf)
        chosen = (target >> (2 * (self.depth - 1 - level))) & (FAN - 1)
        weight_a, weight_b = mi.Float(a[0]), mi.Float(b[0])
        for k in range(1, FAN):
            weight_a = dr.select(chosen == k, a[k], weight_a)
            weight_b = dr.select(chosen == k, b[k], weight_b)
        total_a, total_b = a[0] + a[1] + a[2] + a[3], b[0] + b[1] + b[2] + b[3]
        plain = plain * dr.select(total_a > 0, weight_a / total_a, 0)
        kernel = kernel * dr.select(total_b > 0, weight_b / total_b, 0)
        return node * FAN + 1 + chosen, plain, kernel
