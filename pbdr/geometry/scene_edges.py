"""All outlines of a scene, searched from arbitrary viewpoints: the edge sets behind one tree."""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi

from ..scene.instances import moves
from .arcs import ArcSet
from .edge_sample import EdgeBounds, EdgeSample, join
from .edge_tree import EdgeTree
from .segments import SegmentSet
from .silhouettes import edge_sets

LIGHT = 4.0  # sampling weight of the border of a light, relative to that of other shapes


def flag_of(flags: list[bool], index: Any) -> Any:
    """``flags[index]`` from literals: an array made from a list cannot be recorded by `dr.freeze`."""
    found = mi.Bool(False)
    for k in range(0, len(flags), 32):
        word = sum(1 << j for j, flag in enumerate(flags[k : k + 32]) if flag)
        if word:
            found |= (index >> 5 == k // 32) & ((mi.UInt32(word) >> (index & 31)) & 1 != 0)
    return found


class SceneEdges:
    """Straight and curved outlines under common leaf numbers.

    Args:
        scene: what is rendered.
        cache: mesh adjacency, kept from render to render.
        statics: list the outlines of shapes that do not move, too: their shadows change on
            receivers that do.
        bends: whether edges that only bend are sampled, but for those of lights: not where all that counts is what is emitted
            behind an edge.
    """

    def __init__(self, scene: Any, cache: dict[str, Any], statics: bool, bends: bool = True):
        self.scene = scene
        self.segments: SegmentSet | None = None
        self.arcs: ArcSet | None = None
        self.straight = 0
        parts: list[EdgeBounds] = []
        shapes: list[Any] = []
        counts: list[tuple[int, int]] = []
        for edges in edge_sets(scene, cache, statics):
            counts += edges.counts
            if isinstance(edges, SegmentSet):
                self.segments, self.straight = edges, len(edges)
                parts.append(edges.bounds())
                shapes.append(edges.shape)
            else:
                self.arcs = edges
                self.row, self.start, self.length = edges.whole()
                parts.append(edges.bounds(self.row, self.start, self.length))
                shapes.append(edges.shape(self.row))
        self.count = 0
        if not parts:
            return
        fields = EdgeBounds.__dataclass_fields__
        bounds = EdgeBounds(**{k: join([getattr(b, k) for b in parts]) for k in fields})
        moving = [moves(s) for s in scene.shapes()]
        shines = [s.is_emitter() for s in scene.shapes()]
        shape = join(shapes)
        self.count = dr.width(shape)
        leading = sum(count for index, count in counts if moving[index])
        self.tree = EdgeTree(bounds, flag_of(moving, shape), leading, flag_of(shines, shape), LIGHT, bends)

    def __len__(self) -> int:
        return self.count

    def span(self, leaf: Any, view: Any = None, toward: Any = None) -> tuple[Any, Any]:
        """(start, length) of the curve parameter; closed outlines begin opposite ``toward``."""
        if self.arcs is None:
            return mi.Float(0), mi.Float(1)
        curved, k = self._arc(leaf)
        start, length = dr.gather(mi.Float, self.start, k), dr.gather(mi.Float, self.length, k)
        if toward is not None:
            row = dr.gather(mi.UInt32, self.row, k)
            angle = self.arcs.angle(view, row, toward)
            start = dr.select(self.arcs.closed(row), angle - dr.pi, start)
        return dr.select(curved, start, 0), dr.select(curved, length, 1)

    def closed(self, leaf: Any) -> Any:
        """Bool: an outline without ends."""
        if self.arcs is None:
            return mi.Bool(False)
        curved, k = self._arc(leaf)
        return curved & self.arcs.closed(dr.gather(mi.UInt32, self.row, k))

    def parameter(self, view: Any, leaf: Any, edge: EdgeSample, start: Any) -> Any:
        """Curve parameter at which the outline seen from ``view`` passes ``edge``, from ``start`` up."""
        if self.arcs is None:
            return edge.local.x
        curved, k = self._arc(leaf)
        t = self.arcs.parameter(view, dr.gather(mi.UInt32, self.row, k), edge, start)
        return dr.select(curved, t, edge.local.x)

    def _arc(self, leaf: Any) -> tuple[Any, Any]:
        curved = self._curved(leaf)
        return curved, dr.select(curved, leaf - self.straight, 0)

    def _curved(self, leaf: Any) -> Any:
        return mi.Bool(leaf >= self.straight)

    def at(self, view: Any, leaf: Any, t: Any) -> EdgeSample:
        """The point with curve parameter ``t`` on curve ``leaf``, as it is seen from ``view``."""
        if self.arcs is None:
            return self.segments.at(view, leaf, t, self.scene)
        curved, k = self._arc(leaf)
        row = dr.gather(mi.UInt32, self.row, k)
        arc = self.arcs.at(view, row, t, self.scene)
        if self.segments is None:
            return arc
        line = self.segments.at(view, dr.select(curved, 0, leaf), t, self.scene)

        def pick(a: Any, b: Any) -> Any:
            return dr.select(curved, a, b)

        return EdgeSample(
            p=pick(arc.p, line.p),
            tangent=pick(arc.tangent, line.tangent),
            dt=pick(arc.dt, line.dt),
            shape=pick(arc.shape, line.shape),
            row=pick(arc.row, line.row),
            local=pick(arc.local, line.local),
            inside=pick(arc.inside, line.inside),
            contour=curved | line.contour,
            faces=line.faces,
            onto=line.onto,
            curved=curved,
            vague=pick(arc.vague, 0),
            share=pick(arc.share, line.share),
            flat=line.flat,
            normal=line.normal,
            **_shown(curved, arc, line),
        )

    def hold_tangents(self) -> None:
        """Of both sets."""
        for edges in (self.arcs, self.segments):
            if edges is not None:
                edges.hold_tangents()

    def motion(self, edge: EdgeSample) -> Any:
        """World position of a sample, attached; its value is ``edge.p``."""
        if self.arcs is None:
            return self.segments.motion(edge)
        if self.segments is None:
            return self.arcs.motion(edge)
        curved = edge.curved
        line = self.segments.motion(EdgeSample(**{**edge.__dict__, "row": dr.select(curved, 0, edge.row)}))
        arc = self.arcs.motion(EdgeSample(**{**edge.__dict__, "row": dr.select(curved, edge.row, 0)}))
        return dr.select(curved, arc, line)


def _shown(curved: Any, arc: EdgeSample, line: EdgeSample) -> dict[str, Any]:
    """`EdgeSample.instance` and ``number`` of one of two samples."""
    if arc.instance is None and line.instance is None:
        return {}
    none = dr.zeros(mi.ShapePtr), mi.UInt32(0)
    a, b = (none if edge.instance is None else (edge.instance, edge.number) for edge in (arc, line))
    return {"instance": dr.select(curved, a[0], b[0]), "number": dr.select(curved, a[1], b[1])}
