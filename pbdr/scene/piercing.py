"""Which shapes pass through others.

Lines on a surface (edges of a mesh, a net over a sphere) are followed with rays, a little inside of it: one that meets
another shape shows that both intersect. What only touches (a box that stands on a floor) does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from ..core.recording import recording
from .instances import Part, is_instance, moves, parts, registry_number

# How far a line is moved into the surface, and shortened at both ends, in units of its length: to find what passes through,
# and by how much.
SHALLOW, DEEP = 1e-5, 2e-3
NET = 64  # lines across a shape that is no mesh
MOST_LINES = 1 << 18  # of one shape; of more, evenly spread ones are followed
HITS, STEP = 4, 1e-3  # of a line with its own shape, and how far past one it goes on
TOUCHING = 1e-5  # of the smaller of two boxes: what overlaps by less does not


@dataclass(frozen=True)
class Pair:
    """Two shapes that pass through one another.

    Attributes:
        names: of both.
        shines: one of them is a light.
        deep: by more than `DEEP` of their edges.
    """

    names: tuple[str, str]
    shines: bool
    deep: bool


@dataclass(frozen=True)
class _Known:
    """What was found in a scene.

    Attributes:
        state: of the shapes whose boxes overlap, empty if none do.
        pairs: those that pass through one another.
    """

    state: tuple
    pairs: list[Pair]


_known: dict[tuple[int, bool], _Known] = {}  # by address of the scene, and whether pairs that rest were asked for


def piercing(scene: Any, all_pairs: bool = False) -> list[Pair]:
    """Shapes that pass through one another.

    Args:
        scene: what is rendered. Inside of what `dr.freeze` records nothing is asked: what was found before counts.
        all_pairs: also pairs that both rest.
    """
    key = scene.ptr, bool(all_pairs)
    if recording():
        return _known[key].pairs if key in _known else []
    with dr.suspend_grad():
        shapes = scene.shapes()
        pairs = _overlapping(shapes, all_pairs)
        state = tuple((int(i), int(j), _state(shapes[i]), _state(shapes[j])) for i, j in pairs)
        if key not in _known or _known[key].state != state:
            _known[key] = _Known(state, _followed(scene, pairs) if state else [])
        return _known[key].pairs


def may_pierce(scene: Any, all_pairs: bool = False) -> bool:
    """Whether there are such pairs; in what is being recorded, which is used again after shapes have moved, whether boxes overlapped."""
    if recording():
        key = scene.ptr, bool(all_pairs)
        return key in _known and bool(_known[key].state)
    return bool(piercing(scene, all_pairs))


def _overlapping(shapes: list[Any], all_pairs: bool) -> np.ndarray:
    """(N, 2) numbers of shapes whose boxes overlap."""
    if not shapes:
        return np.empty((0, 2), int)
    boxes = [s.bbox() for s in shapes]
    low, high = (np.array([np.array(b, float).ravel() for b in side]) for side in zip(*((b.min, b.max) for b in boxes)))
    size = np.linalg.norm(np.where(np.isfinite(high - low), high - low, 1e30), axis=1)
    moving = np.array([all_pairs or moves(s) for s in shapes])
    found = []
    for i in np.nonzero(moving)[0]:
        room = TOUCHING * np.minimum(size[i], size)[:, None]
        over = ((high[i] > low + room) & (high > low[i] + room)).all(1)
        over[i] = is_instance(shapes[i])  # of a group of shapes
        found += [(i, j) for j in np.nonzero(over)[0] if j >= i or not moving[j]]
    return np.array(found, int).reshape(-1, 2)


def _state(shape: Any) -> tuple:
    box = shape.bbox()
    values = tuple(np.array([box.min, box.max], float).ravel())
    return values if not shape.is_mesh() else (*values, shape.vertex_positions_buffer().index)


def _followed(scene: Any, pairs: np.ndarray) -> list[Pair]:
    """Those of the pairs that lines on either shape show to intersect."""
    shapes, every = scene.shapes(), parts(scene)
    partners: dict[int, set[int]] = {}
    for i, j in pairs:
        partners.setdefault(int(i), set()).add(int(j))
        partners.setdefault(int(j), set()).add(int(i))
    met: dict[tuple[int, int], bool] = {}
    for part in every:
        i = part.index
        others = {j for j in partners.get(i, ()) if not met.get(_sorted(i, j), False)}
        for inside in (SHALLOW, DEEP):
            reached = _reached(scene, part, inside) if others else set()
            others = {j for j in others if registry_number(shapes[j]) in reached}
            met |= {_sorted(i, j): inside == DEEP for j in others}
    found = []
    for (i, j), deep in sorted(met.items()):
        found.append(Pair((shapes[i].id(), shapes[j].id()), shapes[i].is_emitter() or shapes[j].is_emitter(), deep))
    return found


def _sorted(i: int, j: int) -> tuple[int, int]:
    return (i, j) if i <= j else (j, i)


def _lines(part: Part, deep: float) -> Iterator[tuple[Any, Any]]:
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
        inside = n * (deep * dr.norm(b - a))
        yield _shorter(dr.lerp(a, centre, deep) - inside, dr.lerp(b, centre, deep) - inside, deep)
        return
    try:
        lane = dr.arange(mi.UInt32, (NET + 1) * (NET + 1))
        row, column = lane // (NET + 1), lane % (NET + 1)
        uv = mi.Point2f(column, row) * ((1 - 2 * deep) / NET) + deep
        p = place(shape.eval_parameterization(uv, mi.RayFlags.Minimal).p)
        dr.eval(p)
    except RuntimeError:
        return  # a shape without coordinates: lines of the other one may still meet it
    for ahead, inner in ((1, column < NET), (NET + 1, row < NET)):
        first = dr.compress(inner)
        yield _shorter(dr.gather(mi.Point3f, p, first), dr.gather(mi.Point3f, p, first + ahead), deep)


def _shorter(a: Any, b: Any, by: float) -> tuple[Any, Any]:
    return dr.lerp(a, b, by), dr.lerp(b, a, by)


@dr.syntax
def _first_other(scene: Any, instance: Any, own: Any, a: Any, b: Any) -> Any:
    """Preliminary intersection of the lines with what is not the shape ``own`` of ``instance`` (ShapePtr, may be null)."""
    length = dr.norm(b - a)
    d = (b - a) / length
    ray = mi.Ray3f(a, d)
    ray.maxt = mi.Float(length)
    going, k = length > 0, mi.UInt32(0)
    hit = dr.zeros(mi.PreliminaryIntersection3f, dr.width(length))
    while going:
        hit = scene.ray_intersect_preliminary(ray, coherent=False, reorder=False, active=going)
        # Embree names the shape of a group by its number.
        shape = hit.compute_surface_interaction(ray, mi.RayFlags.Minimal, going).shape
        itself = (shape == own) & (hit.instance == instance)
        going = hit.is_valid() & itself & (k < HITS)
        ahead = hit.t + STEP * length
        ray.o = dr.select(going, ray.o + d * ahead, ray.o)
        ray.maxt = dr.select(going, ray.maxt - ahead, ray.maxt)
        hit.valid &= ~itself
        k += 1
    return hit


def _reached(scene: Any, part: Part, inside: float) -> set[int]:
    """Registry numbers of the shapes, or instances, that lines on a shape meet."""
    own, null = mi.ShapePtr(part.shape), dr.zeros(mi.ShapePtr)
    instance = null if part.instance is None else mi.ShapePtr(part.instance)
    dr.make_opaque(own, instance)  # one kernel for all
    found: set[int] = set()
    for a, b in _lines(part, inside):
        hit = _first_other(scene, instance, own, a, b)
        numbers = (dr.reinterpret_array(mi.UInt32, x) for x in (hit.instance, hit.shape))
        number = dr.select(hit.is_valid(), dr.select(hit.instance != null, *numbers), 0)
        seen = dr.zeros(mi.UInt32, dr.max(number)[0] + 1)
        dr.scatter(seen, mi.UInt32(1), number)
        found |= set(np.nonzero(seen.numpy())[0].tolist())
    return found - {0}
