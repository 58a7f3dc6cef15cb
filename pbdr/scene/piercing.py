"""Which shapes pass through others.

Lines on a surface (edges of a mesh, a net over a sphere) are followed with rays, a little inside of it: one that meets
another shape shows that both intersect. What only touches (a box that stands on a floor) does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from ..core.recording import recording
from .instances import Part, moves, parts, registry_number

INSIDE = 1e-3  # of its length: how far a line is moved into the surface, and shortened at both ends
NET = 64  # lines across a shape that is no mesh
MOST_LINES = 1 << 18  # of one shape; of more, evenly spread ones are followed
HITS = 4  # of a line with its own shape
TOUCHING = 1e-4  # of the smaller of two boxes: what overlaps by less does not
_known: dict[int, tuple] = {}  # by address of the scene: (state of its shapes, what was found)


def piercing(scene: Any, all_pairs: bool = False) -> list[tuple[str, str]]:
    """Names of shapes that pass through one another, for each shape at most one other.

    Args:
        scene: what is rendered; inside of what `dr.freeze` records, what was found before counts.
        all_pairs: also pairs that both rest.
    """
    key = 2 * scene.ptr + all_pairs
    if recording():
        return _known.get(key, (None, []))[1]
    with dr.suspend_grad():
        shapes = scene.shapes()
        pairs = _overlapping(shapes, all_pairs)
        if len(pairs) == 0:
            _known[key] = None, []
            return []
        asked = sorted({int(i) for pair in pairs for i in pair})
        state = tuple(map(tuple, pairs)), *(_state(shapes[i]) for i in asked)
        if key not in _known or _known[key][0] != state:
            _known[key] = state, _followed(scene, pairs)
        return _known[key][1]


def _overlapping(shapes: list[Any], all_pairs: bool) -> np.ndarray:
    """(N, 2) numbers of shapes whose boxes overlap."""
    if len(shapes) < 2:
        return np.empty((0, 2), int)
    boxes = [s.bbox() for s in shapes]
    low, high = (np.array([np.array(b, float).ravel() for b in side]) for side in zip(*((b.min, b.max) for b in boxes)))
    size = np.linalg.norm(np.where(np.isfinite(high - low), high - low, 1e30), axis=1)
    moving = np.array([all_pairs or moves(s) for s in shapes])
    found = []
    for i in np.nonzero(moving)[0]:
        room = TOUCHING * np.minimum(size[i], size)[:, None]
        over = ((high[i] > low + room) & (high > low[i] + room)).all(1)
        over[i] = False
        found += [(i, j) for j in np.nonzero(over)[0] if j > i or not moving[j]]
    return np.array(found, int).reshape(-1, 2)


def _state(shape: Any) -> tuple:
    box = shape.bbox()
    values = tuple(np.array([box.min, box.max], float).ravel())
    return values if not shape.is_mesh() else (*values, shape.vertex_positions_buffer().index)


def _followed(scene: Any, pairs: np.ndarray) -> list[tuple[str, str]]:
    """Those of the pairs that lines on either shape show to intersect."""
    shapes, every = scene.shapes(), parts(scene)
    partners: dict[int, set[int]] = {}
    for i, j in pairs:
        partners.setdefault(int(i), set()).add(int(j))
        partners.setdefault(int(j), set()).add(int(i))
    met = set()
    for i, others in sorted(partners.items()):
        others = {j for j in others if (min(i, j), max(i, j)) not in met}
        for part in every if others else ():
            if part.index == i:
                own = mi.ShapePtr(shapes[i])
                dr.make_opaque(own)  # one kernel for all
                reached = _reached(scene, own, _lines(part))
                met |= {(min(i, j), max(i, j)) for j in others if registry_number(shapes[j]) in reached}
    return [(shapes[i].id(), shapes[j].id()) for i, j in sorted(met)]


def _lines(part: Part) -> Iterator[tuple[Any, Any]]:
    """(beginnings, ends) of lines on a shape, as Point3f."""
    shape, to_world = part.shape, part.to_world()
    place = (lambda p: p) if to_world is None else (lambda p: dr.detach(to_world) @ p)
    if shape.is_mesh():
        step = max(1, shape.face_count() * 3 // MOST_LINES)
        lane = dr.arange(mi.UInt32, 3 * (shape.face_count() // step))
        face, side = lane // 3 * step, lane % 3
        corners = shape.face_indices(face)
        v = [place(mi.Point3f(shape.vertex_position(corners[k]))) for k in range(3)]
        a, b = (dr.select(side == 0, v[k], dr.select(side == 1, v[(k + 1) % 3], v[(k + 2) % 3])) for k in range(2))
        centre, n = (v[0] + v[1] + v[2]) / 3, dr.normalize(dr.cross(v[1] - v[0], v[2] - v[0]))
        inside = n * (INSIDE * dr.norm(b - a))
        yield _shorter(dr.lerp(a, centre, INSIDE) - inside, dr.lerp(b, centre, INSIDE) - inside)
        return
    try:
        lane = dr.arange(mi.UInt32, (NET + 1) * (NET + 1))
        row, column = lane // (NET + 1), lane % (NET + 1)
        uv = mi.Point2f(column, row) * ((1 - 2 * INSIDE) / NET) + INSIDE
        p = place(shape.eval_parameterization(uv, mi.RayFlags.Minimal).p)
        dr.eval(p)
    except RuntimeError:
        return  # a shape without coordinates: lines of the other one may still meet it
    for ahead, inner in ((1, column < NET), (NET + 1, row < NET)):
        first = dr.compress(inner)
        yield _shorter(dr.gather(mi.Point3f, p, first), dr.gather(mi.Point3f, p, first + ahead))


def _shorter(a: Any, b: Any) -> tuple[Any, Any]:
    return dr.lerp(a, b, INSIDE), dr.lerp(b, a, INSIDE)


@dr.syntax
def _first_other(scene: Any, own: Any, a: Any, b: Any) -> Any:
    """Preliminary intersection of the lines with what is not ``own`` (ShapePtr)."""
    length = dr.norm(b - a)
    d = (b - a) / length
    ray = mi.Ray3f(a, d)
    ray.maxt = mi.Float(length)
    going, k = length > 0, mi.UInt32(0)
    hit = dr.zeros(mi.PreliminaryIntersection3f, dr.width(length))
    while going:
        hit = scene.ray_intersect_preliminary(ray, coherent=False, reorder=False, active=going)
        itself = (hit.shape == own) | ((hit.instance == own) & (hit.instance != dr.zeros(mi.ShapePtr)))
        going = hit.is_valid() & itself & (k < HITS)
        ahead = hit.t + INSIDE * length
        ray.o = dr.select(going, ray.o + d * ahead, ray.o)
        ray.maxt = dr.select(going, ray.maxt - ahead, ray.maxt)
        hit.t = dr.select(itself, dr.inf, hit.t)
        k += 1
    return hit


def _reached(scene: Any, own: Any, lines: Iterable[tuple[Any, Any]]) -> set[int]:
    """Registry numbers of the shapes, or instances, that lines on ``own`` meet."""
    found: set[int] = set()
    for a, b in lines:
        hit = _first_other(scene, own, a, b)
        number = dr.select(
            hit.instance != dr.zeros(mi.ShapePtr),
            *(dr.reinterpret_array(mi.UInt32, x) for x in (hit.instance, hit.shape)),
        )
        number = dr.select(hit.is_valid(), number, 0)
        seen = dr.zeros(mi.UInt32, dr.max(number)[0] + 1)
        dr.scatter(seen, mi.UInt32(1), number)
        found |= set(np.nonzero(seen.numpy())[0].tolist())
    return found - {0}
