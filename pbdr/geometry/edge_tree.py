"""Choose an outline seen from a point without looking at all edges: a tree with bounds.

Each node has a sphere around its curves, a cone around the normals n of the faces beside them, and
a bulge: how far the planes of those faces pass by its centre. An edge is a contour seen from p if p
lies on different sides of its two planes. A node none of whose planes can pass p has no contour and
is left out exactly (zero density only where the integrand is zero). The rest is chosen in proportion
to the expected length of contour / distance², and to a kernel around a direction of interest, such
as a sample of the BSDF: a heavy-tailed one whose width is that of the lobe. The tree is a 4-ary
heap over curves in Morton order; it is refitted on the device, one kernel per level.
After :cite:`li2018differentiable`; its bounds of planes in Hough space are replaced by cone and bulge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from .edge_sample import EdgeBounds

FAN = 4
# Least importance of a node beside the sum of its own and its neighbours, within so many radii of it.
LEAST, NEAR = 0.03, 1.25
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


@dataclass(frozen=True)
class _Level:
    """Nodes of one depth, numbered as in a complete tree; moving curves lie below the first ones, resting ones from ``split`` on.

    ``first``: where they are stored; ``gap``: how many numbers before ``split`` have no place; ``size``: number of places.
    """

    first: int
    split: int
    gap: int
    size: int

    def row(self) -> tuple[int, ...]:
        return self.first, self.split, self.gap, self.size


def _levels(moving: int, resting: int) -> list[_Level]:
    """From the root to the leaves, for so many curves; families are stored whole."""
    fans = (FAN, 0) if not resting else (0, FAN) if not moving else (FAN // 2, FAN // 2)  # of the root
    depth = 1
    while moving > fans[0] * FAN ** (depth - 1) or resting > fans[1] * FAN ** (depth - 1):
        depth += 1
    levels = [_Level(0, 0, 0, FAN)]  # the root is alone, but one kernel refits all levels
    for level in range(1, depth + 1):
        split = fans[0] * FAN ** (level - 1)
        # Places for the children of the nodes above that are in use.
        a, b = (
            fan if level == 1 else FAN * -(-n // FAN ** (depth - level + 1)) for fan, n in zip(fans, (moving, resting))
        )
        levels.append(_Level(levels[-1].first + levels[-1].size, split, split - a, a + b))
    return levels


@dataclass
class _Nodes:
    """The nodes of one level, packets of four numbers each.

    ``sphere``: centre, radius; ``cone``: axis, sine of its angle; ``weight``; ``bulge``, one number. For the level above: ``low``,
    ``high``: box, with the angle of the cone and the share of the curves that is a contour.
    """

    sphere: Any
    cone: Any
    weight: Any
    bulge: Any
    low: Any
    high: Any


class EdgeTree:
    """A hierarchy over boundary curves.

    Args:
        bounds: of all curves, near ones near each other.
        moving: Bool, whether a curve belongs to a shape that is attached to the AD graph.
        leading: number of those.
        shines: Bool, whether it belongs to a light.
        boost: sampling weight of the border of a light, relative to that of other shapes. It counts
            among the creases: light points must not choose the near borders of their own light.
        bends: whether curves that only bend count where they do not belong to lights.
    """

    def __init__(self, bounds: EdgeBounds, moving: Any, leading: int, shines: Any, boost: float, bends: bool = True):
        self.count = dr.width(bounds.contour)
        levels = _levels(leading, self.count - leading)
        self.depth = len(levels) - 1
        self.sizes = [level.size for level in levels]
        self.levels = dr.concat([dr.opaque(mi.UInt32, x) for level in levels for x in level.row()])
        leaves = levels[-1].size
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
        # Moving curves have subtrees of their own: resting ones, which matter to receivers that move alone, may be large.
        ones = dr.select(moving, mi.UInt32(1), 0) + dr.zeros(mi.UInt32, self.count)
        before, index = dr.cumsum(ones), dr.arange(mi.UInt32, self.count)
        self.leaf = dr.select(moving, before - 1, index - before + levels[-1].split)
        leaf = self._slot(self.depth, self.leaf)
        self.curve = dr.zeros(mi.UInt32, leaves)
        dr.scatter(self.curve, index, leaf)
        size = levels[-1].first + leaves
        self.sphere, self.cone, self.weight, self.bulge = (dr.zeros(mi.Float, n * size) for n in (4, 4, 4, 1))
        first = dr.opaque(mi.UInt32, levels[-1].first)
        nodes = self._store(first, leaves, leaf, bounds.low, bounds.high, axis, angle, weights, mi.Float(0), mean)
        dr.make_opaque(nodes.bulge)  # zeros that are known would take a kernel of their own
        # Leaves are tested exactly.
        self.normals = dr.zeros(mi.Float, 8 * leaves)
        a, b = bounds.first, bounds.second
        dr.scatter(self.normals, mi.Vector4f(a.x, a.y, a.z, dr.select(bounds.free, 1.0, 0.0)), 2 * leaf)
        dr.scatter(self.normals, mi.Vector4f(b.x, b.y, b.z, FLAT * bounds.edge_on), 2 * leaf + 1)
        dr.eval(self.normals, self.leaf, self.curve)
        for level in reversed(range(self.depth)):
            nodes = self._parents(dr.opaque(mi.UInt32, level), levels[level].size, nodes)
        k = dr.arange(mi.UInt32, 3)
        # Of all curves: low corner, high corner.
        self.box = dr.concat([dr.gather(mi.Float, x, k) for x in (nodes.low, nodes.high)])

    def _node(self, level: Any, slot: Any) -> Any:
        """Inverse of `_slot`."""
        row = dr.gather(mi.Vector4u, self.levels, level)
        return dr.select(slot >= row.y - row.z, slot + row.z, slot)

    def _store(self, first, size, slot, low, high, axis, angle, weights, bulge, mean=1.0) -> _Nodes:
        """Keep the nodes of a level that begins at ``first``. What is returned is read for the next one: writing to arrays that
        are read at the same time would copy them."""
        centre = 0.5 * (low + high)
        radius = 0.5 * dr.norm(high - low)
        slope = dr.select(angle >= 0.5 * dr.pi, 2, dr.sin(angle))
        values = {
            "sphere": mi.Vector4f(centre.x, centre.y, centre.z, radius),
            "cone": mi.Vector4f(axis.x, axis.y, axis.z, slope),
            "weight": mi.Vector4f(*weights),
            "bulge": bulge,
            "low": mi.Vector4f(low.x, low.y, low.z, angle),
            "high": mi.Vector4f(high.x, high.y, high.z, mean),
        }
        nodes = _Nodes(**{k: dr.zeros(mi.Float, (1 if k == "bulge" else 4) * size) for k in values})
        for name, value in values.items():
            dr.scatter(getattr(nodes, name), value, slot)
            if name not in ("low", "high"):
                dr.scatter(getattr(self, name), value, first + slot)
        dr.eval(nodes, self.sphere, self.cone, self.weight, self.bulge)  # by one kernel
        return nodes

    def _slot(self, level: Any, node: Any) -> Any:
        """Where a node of ``level`` is stored, from the first of that level on."""
        row = dr.gather(mi.Vector4u, self.levels, level)
        return dr.select(node >= row.y, node - row.z, node)

    def _parents(self, level: Any, size: int, nodes: _Nodes) -> _Nodes:
        """Bounds of the nodes of a level, ``size`` in number, from those of their children ``nodes``."""
        here, below = (dr.gather(mi.Vector4u, self.levels, level + k) for k in range(2))
        slot = dr.arange(mi.UInt32, size)
        resting = slot >= here.y - here.z
        node = dr.select(resting, slot + here.z, slot)
        children = self._slot(level + 1, FAN * node)
        end = dr.select(resting, below.w, below.y - below.z)
        low, high = mi.Point3f(dr.inf), mi.Point3f(-dr.inf)
        total = [mi.Float(0)] * 4
        families = []
        for k in range(FAN):
            there = children + k < end
            child = dr.select(there, children + k, 0)
            weights = dr.select(there, dr.gather(mi.Vector4f, nodes.weight, child), 0)
            a, b = dr.gather(mi.Vector4f, nodes.low, child), dr.gather(mi.Vector4f, nodes.high, child)
            some = dr.max(weights) > 0
            low = dr.select(some, dr.minimum(low, mi.Point3f(a.x, a.y, a.z)), low)
            high = dr.select(some, dr.maximum(high, mi.Point3f(b.x, b.y, b.z)), high)
            mean = (b.w, b.w, 1, 1)
            total = [t + w * m for t, w, m in zip(total, weights, mean)]
            cone = dr.gather(mi.Vector4f, nodes.cone, child)
            sphere = dr.gather(mi.Vector4f, nodes.sphere, child)
            families.append(
                (some, mi.Vector3f(cone.x, cone.y, cone.z), a.w, mi.Point3f(sphere.x, sphere.y, sphere.z), cone.w,
                 dr.gather(mi.Float, nodes.bulge, child))
            )  # fmt: skip
        # Normals count up to their sign: turn all axes to the side of the first.
        axis = mi.Vector3f(0)
        for some, n, *_ in families:
            axis += dr.select(some, dr.select(dr.dot(axis, n) < 0, -n, n), 0)
        long = dr.norm(axis)
        axis = dr.select(long > 1e-3, axis / long, mi.Vector3f(0, 0, 1))
        angle = dr.select(long > 1e-3, mi.Float(0), 0.5 * dr.pi)
        for some, n, own, *_ in families:
            apart = dr.safe_acos(dr.abs(dr.dot(axis, n)))
            angle = dr.select(some, dr.maximum(angle, apart + own), angle)
        empty = dr.max(mi.Vector4f(*total)) <= 0
        low, high = (dr.select(empty, mi.Point3f(0), x) for x in (low, high))
        # Planes of the faces, seen from the new centre: n · (x - c) = n · (x - c') + n · (c' - c).
        bulge, centre = mi.Float(0), 0.5 * (low + high)
        for some, n, _, own_centre, slope, own in families:
            off = own_centre - centre
            own += dr.abs(dr.dot(n, off)) + dr.minimum(slope, 1) * dr.norm(off)
            bulge = dr.select(some, dr.maximum(bulge, own), bulge)
        bulge = bulge * (1 + SLACK) + 1e-5 * dr.norm(high - low)
        return self._store(here.x, size, slot, low, high, axis, dr.minimum(angle, 0.5 * dr.pi), total, bulge)

    # ---------------------------------------------------------------- importance

    def _importance(self, query: Query, first: Any, slot: Any, leaf: bool) -> tuple[Any, Any, Any]:
        """Of a node of the level that begins at ``first``: Float without, and with the kernel around the lobe; Bool, whether
        its curves may be much nearer to the viewpoint than its centre."""
        node = first + slot
        sphere = dr.gather(mi.Vector4f, self.sphere, node)
        w = dr.gather(mi.Vector4f, self.weight, node)
        centre, radius = mi.Point3f(sphere.x, sphere.y, sphere.z), sphere.w
        to = query.view.toward(centre)
        finite = query.view.finite
        d2, r2 = dr.squared_norm(to), dr.square(radius)
        inside, close = mi.Bool(finite) & (d2 <= r2), mi.Bool(finite) & (d2 <= NEAR * NEAR * r2)
        inv = dr.rsqrt(dr.maximum(d2, 1e-20))
        sin_r = dr.select(finite, dr.minimum(radius * inv, 1), 0)
        if leaf:
            a, b = (dr.gather(mi.Vector4f, self.normals, 2 * slot + k) for k in range(2))
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
            return value, value, close
        cos = dr.dot(query.lobe, to) * inv
        spread = dr.select(inside, 1, 2 - 2 * cos) + sin_r * sin_r
        return value, value / (spread + query.width2), close

    def _children(self, query: Query, node: Any, level: Any) -> tuple[list, list]:
        """Importances of the children of node ``node`` of ``level``; ``None`` for the last but one level."""
        leaf = level is None
        below = self.depth if leaf else level + 1
        first, slot = dr.gather(mi.UInt32, self.levels, 4 * below), self._slot(below, FAN * node)
        plain, kernel, near = map(list, zip(*(self._importance(query, first, slot + k, leaf) for k in range(FAN))))
        if not leaf:
            # Its curves may be as near as those of its neighbours.
            least = LEAST * (plain[0] + plain[1] + plain[2] + plain[3])
            plain = [dr.select(close & (x > 0), dr.maximum(x, least), x) for x, close in zip(plain, near)]
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
        while level < self.depth - 1:
            node, u, plain, kernel = self._step(query, node, level, u, narrow, plain, kernel)
            level += 1
        node, u, plain, kernel = self._step(query, node, None, u, narrow, plain, kernel)
        curve = dr.gather(mi.UInt32, self.curve, self._slot(self.depth, node))
        return curve, dr.lerp(kernel, plain, query.broad)

    def groups(self, most: int) -> tuple[int, int]:
        """(level, number of nodes) of the finest grouping of the curves into at most so many nodes above the leaves; level 0: none."""
        level = max(k for k in range(self.depth) if k == 0 or self.sizes[k] <= most)
        return level, self.sizes[level]

    def in_use(self, level: int) -> Any:
        """Bool per node of a level: there are curves below it."""
        slot = dr.arange(mi.UInt32, self.sizes[level])
        first = dr.gather(mi.UInt32, self.levels, dr.opaque(mi.UInt32, 4 * level))
        return dr.max(dr.gather(mi.Vector4f, self.weight, first + slot)) > 0

    @dr.syntax
    def sample_guided(self, query: Query, u: Any, choice: Any) -> tuple[Any, Any, Any, Any]:
        """`sample` without a kernel, whose first part follows an `EdgeChoice`: (curve, its probability, group, its probability)."""
        aimed = u < choice.aimed
        slot, _, rest = choice.distribution.sample(u / dr.maximum(choice.aimed, 1e-6))
        u = dr.select(aimed, 0, (u - choice.aimed) / (1 - choice.aimed))
        wide = mi.Bool(False)
        # The group, and with which probability the tree alone would choose it.
        node, level, known, kernel = mi.UInt32(0), mi.UInt32(0), mi.Float(1), mi.Float(1)
        going, target = mi.Bool(aimed), self._node(choice.level, slot)
        while going & (level < choice.level):
            node, known, kernel = self._follow(query, node, level, target, known, kernel, choice.level)
            level += 1
        node, level, plain, kernel, going = mi.UInt32(0), mi.UInt32(0), mi.Float(1), mi.Float(1), ~aimed
        while going & (level < choice.level):
            node, u, plain, kernel = self._step(query, node, level, u, wide, plain, kernel)
            level += 1
        node, u = dr.select(aimed, target, node), dr.select(aimed, rest, u)
        group, known = self._slot(choice.level, node), dr.select(aimed, known, plain)
        chosen = self._mixed(known, group, choice)
        level, plain, kernel = mi.UInt32(choice.level), mi.Float(1), mi.Float(1)
        while level < self.depth - 1:
            node, u, plain, kernel = self._step(query, node, level, u, wide, plain, kernel)
            level += 1
        node, u, plain, kernel = self._step(query, node, None, u, wide, plain, kernel)
        curve = dr.gather(mi.UInt32, self.curve, self._slot(self.depth, node))
        return curve, plain * chosen, group, chosen

    @staticmethod
    def _mixed(known: Any, group: Any, choice: Any) -> Any:
        """Probability of a group that the tree chooses with the probability ``known``."""
        return dr.lerp(known, dr.gather(mi.Float, choice.weights, group), choice.aimed)

    @dr.syntax
    def pdf_guided(self, query: Query, curve: Any, choice: Any, active: Any = True) -> Any:
        """Probability with which `sample_guided` returns ``curve``."""
        leaf = dr.gather(mi.UInt32, self.leaf, curve, active)
        level, node = mi.UInt32(0), mi.UInt32(0)
        plain, kernel, chosen = mi.Float(1), mi.Float(1), mi.Float(0)
        going = mi.Bool(active)
        while going & (level < self.depth - 1):
            node, plain, kernel = self._follow(query, node, level, leaf, plain, kernel, self.depth)
            going &= plain > 0
            level += 1
            if level == choice.level:
                chosen = self._mixed(plain, self._slot(choice.level, node), choice)
                plain = mi.Float(1)
        node, plain, kernel = self._follow(query, node, None, leaf, plain, kernel, self.depth)
        return dr.select(mi.Bool(active) & going, plain * chosen, 0)

    def _step(self, query, node, level, u, narrow, plain, kernel):
        """Choose one of the children of ``node``."""
        a, b = self._children(query, node, level)
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
        return node * FAN + chosen, u, plain, kernel

    @dr.syntax
    def pdf(self, query: Query, curve: Any, active: Any = True) -> Any:
        """Probability with which `sample` returns ``curve``."""
        leaf = dr.gather(mi.UInt32, self.leaf, curve, active)
        level, node = mi.UInt32(0), mi.UInt32(0)
        plain, kernel = mi.Float(1), mi.Float(1)
        going = mi.Bool(active)
        while going & (level < self.depth - 1):
            node, plain, kernel = self._follow(query, node, level, leaf, plain, kernel, self.depth)
            going &= (plain > 0) | (kernel > 0)
            level += 1
        node, plain, kernel = self._follow(query, node, None, leaf, plain, kernel, self.depth)
        return dr.select(mi.Bool(active) & going, dr.lerp(kernel, plain, query.broad), 0)

    def _follow(self, query, node, level, target, plain, kernel, depth):
        """The step toward the node ``target`` of the level ``depth``, and the probability of choosing it."""
        a, b = self._children(query, node, level)
        chosen = (target if level is None else target >> (2 * (depth - 1 - level))) & (FAN - 1)
        weight_a, weight_b = mi.Float(a[0]), mi.Float(b[0])
        for k in range(1, FAN):
            weight_a = dr.select(chosen == k, a[k], weight_a)
            weight_b = dr.select(chosen == k, b[k], weight_b)
        total_a, total_b = a[0] + a[1] + a[2] + a[3], b[0] + b[1] + b[2] + b[3]
        plain = plain * dr.select(total_a > 0, weight_a / total_a, 0)
        kernel = kernel * dr.select(total_b > 0, weight_b / total_b, 0)
        return node * FAN + chosen, plain, kernel
