"""Functions on surfaces whose integer values mark jumps inside a shape.

A checkerboard changes colour where twice its transformed texture coordinate passes an integer, a nearest-neighbour
bitmap where the coordinate times the resolution does, and a bump or normal map turns its normal over where that is
perpendicular to the view. So each kind is a smooth function g of the surface interaction, and a jump is where its
integer part changes while the shape stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import drjit as dr
import mitsuba as mi

from ...scene.contents import contents
from ...scene.instances import all_shapes, groups, is_instance
from ...scene.shapes import has_rim
from .cones import cone, is_hard
from .seams import ROUND, jumps_at_seam

BITMAP = "BitmapTexture"
PERTURBING = ("BumpMap", "NormalMap")
CONVEX = ("Sphere", "Disk", "Rectangle")  # shapes of which two visible points are joined by visible points
GRID = (
    "prb_edge: a gridvolume with filter_type = nearest jumps inside surfaces, and the derivative of what moves across such"
    " a jump is missing. Use filter_type = trilinear."
)
NESTED = (
    "prb_edge: where a bump or normal map inside of another one turns its normal over, shading jumps, and the derivative of"
    " what moves there is missing. Use one map."
)
INSIDE = (
    "prb_edge: textures of a subsurface material that jump (checkerboard, nearest-neighbour bitmaps) are not followed"
    " where the object moves. Use bilinear bitmaps."
)


@dataclass
class Level:
    """One or more functions g, on some shapes.

    Attributes:
        values: SurfaceInteraction3f → list of Float, whose integer values mark jumps.
        count: their number.
        shapes: indices in `all_shapes(scene)`.
        sources: textures on whose values g depends (not only on texture coordinates).
        views: g depends on the direction of view.
        shines: emission jumps, not only reflection.
        guard: like ``values``; where one of those passes an integer, g jumps itself.
        refused: why this jump cannot be sampled, a warning; or empty.
        rank: functions are searched together with those of the same rank, which jump nowhere or at the same places.
    """

    values: Callable[[Any], list]
    count: int
    shapes: list[int] = field(default_factory=list)
    sources: tuple = ()
    views: bool = False
    shines: bool = False
    guard: Callable[[Any], list] | None = None
    refused: str = ""
    rank: int = 0
    slot: int = 0


def is_nearest(texture: Any) -> bool:
    """Does a bitmap use the nearest-neighbour filter? Its gradient is then the literal 0; nothing is evaluated."""
    si = dr.zeros(mi.SurfaceInteraction3f, 2)
    with dr.suspend_grad():
        try:
            return texture.eval_1_grad(si).x.state == dr.VarState.Literal
        except RuntimeError:  # colour spectra have no such gradient
            pass
    with dr.resume_grad():
        dr.enable_grad(si.uv)
        return not dr.grad_enabled(texture.eval(si))


def lattice(texture: Any, scale: tuple[float, float], shift: float) -> Callable[[Any], list]:
    """(u, v) of the transformed texture coordinates times ``scale``, plus ``shift``."""
    to_uv = mi.traverse(texture)["to_uv"]
    m = [[float(to_uv.matrix[i, j]) for j in (0, 1, 2)] for i in (0, 1)]
    rows = [[mi.Float(x * scale[i]) for x in m[i]] for i in (0, 1)]
    for i in (0, 1):
        rows[i][2] += shift
    dr.make_opaque(rows)  # no literals, they may change

    def values(si: Any) -> list:
        return [dr.fma(a, si.uv.x, dr.fma(b, si.uv.y, c)) for a, b, c in rows]

    return values


def seam(axis: int) -> Callable[[Any], list]:
    """Where an angle begins again, measured from there in both directions."""
    return lambda si: [si.uv[axis] - dr.select(dr.detach(si.uv[axis]) > 0.5, 1, mi.Float(0))]


def bumped(texture: Any, scale: Any) -> Callable[[Any], Any]:
    """Normal of a bump map in the shading frame (not normalized), as Mitsuba's `bumpmap` makes it."""

    def normal(si: Any) -> Any:
        slope = mi.Vector2f(texture.eval_1_grad(si)) * scale
        n = mi.Vector3f(si.sh_frame.n)
        u = si.dp_du + n * (slope.x - dr.dot(n, si.dp_du))
        v = si.dp_dv + n * (slope.y - dr.dot(n, si.dp_dv))
        c = dr.normalize(dr.cross(u, v))
        return si.to_local(dr.select(dr.dot(si.n, c) < 0, -c, c))

    return normal


def mapped(texture: Any) -> Callable[[Any], Any]:
    """Normal of a normal map in the shading frame."""
    return lambda si: dr.normalize(mi.Vector3f(texture.eval_3(si)) * 2 - 1)


def rim(normal: Callable[[Any], Any], two_sided: bool, inward: bool = False) -> Callable[[Any], list]:
    """Half the cosine between a normal in the shading frame and the view.

    Args:
        inward: the normal may point into the surface. Mitsuba turns one that looks away from the view around the surface's own,
            and one that points inward may then still look away: the other value.
    """

    def values(si: Any) -> list:
        wi = mi.Vector3f(si.wi)
        if two_sided:
            wi.z = dr.abs(wi.z)
        n = normal(si)
        found = [0.5 * dr.dot(wi, n)]
        if inward:
            turned = 0.5 * dr.dot(wi, mi.Vector3f(-n.x, -n.y, n.z))
            found.append(dr.select(n.z < 0, turned, 0.25))
        return found

    return values


def also(guard: Callable[[Any], list] | None, more: Callable[[Any], list]) -> Callable[[Any], list]:
    """Both lists."""
    return more if guard is None else lambda si: [*guard(si), *more(si)]


class Levels:
    """All level functions of a scene.

    Args:
        scene: what is rendered.
        keep: function of a `Level` and the shapes it is on that tells whether it may move.
        coordinates: function of a shape that tells whether its texture coordinates may; others are not looked at.
    """

    def __init__(
        self, scene: Any, keep: Callable[[Level, list], bool], coordinates: Callable[[Any], bool] = lambda shape: True
    ):
        shapes = all_shapes(scene)
        self.own = len([s for s in scene.shapes() if not is_instance(s)])
        found: dict[tuple, Level] = {}
        for index, shape in enumerate(shapes):
            for key, make in _of_shape(shape, coordinates(shape)):
                if key not in found:
                    found[key] = make()
                found[key].shapes.append(index)
        spots = [e for e in scene.emitters() if is_hard(e)]
        lit = [i for i, s in enumerate(shapes) if spots and s.bsdf() is not None]
        for spot in spots:
            found["cone", spot.ptr] = Level(cone(spot), 1, sources=(spot,), shapes=list(lit))
        for level in found.values():
            level.shapes = [i for i in level.shapes if keep(level, [shapes[i]])]
        self._set([level for level in found.values() if level.shapes], shapes)

    def _set(self, levels: list[Level], shapes: Any) -> None:
        self.all = levels
        used: dict[int, int] = {}
        for level in levels:
            level.slot = max(used.get(i, 0) for i in level.shapes)
            for i in level.shapes:
                used[i] = level.slot + level.count
        self.slots = max(used.values(), default=0)
        self.shapes = {i: shapes[i] for i in used}

    def ranks(self) -> list[Levels]:
        """The functions of each rank, to be searched one rank after the other."""
        parts = []
        for rank in sorted({level.rank for level in self.all}):
            part = Levels.__new__(Levels)
            part.own = self.own
            part._set([level for level in self.all if level.rank == rank], self.shapes)
            parts.append(part)
        return parts

    def __len__(self) -> int:
        return len(self.all)

    def on(self, level: Level, shape: Any) -> Any:
        """Bool: ``shape`` is one of the level's."""
        mask = mi.Bool(False)
        for i in level.shapes:
            mask |= shape == mi.ShapePtr(self.shapes[i])
        return mask

    def any(self, shape: Any) -> Any:
        """Bool: something may jump on ``shape``."""
        mask = mi.Bool(False)
        for s in self.shapes.values():
            mask |= shape == mi.ShapePtr(s)
        return mask

    def convex(self, shape: Any) -> Any:
        """Bool: of ``shape`` all that lies between two visible points is visible, unless another shape hides it."""
        mask = mi.Bool(False)
        for s in self.shapes.values():
            if s.class_name() in CONVEX:
                mask |= shape == mi.ShapePtr(s)
        return mask

    def values(self, si: Any, shape: Any) -> list:
        """One Float per slot: the functions of each lane's shape, 0 where there are fewer."""
        out = [mi.Float(0) for _ in range(self.slots)]
        for level in self.all:
            on = self.on(level, shape)
            for k, g in enumerate(level.values(si)):
                out[level.slot + k] = dr.select(on, g, out[level.slot + k])
        return out

    def guards(self, si: Any, shape: Any) -> list:
        """Floats whose integer parts change where one of ``values`` jumps."""
        out = []
        for level in self.all:
            if level.guard is not None:
                on = self.on(level, shape)
                out += [dr.select(on, g, 0) for g in level.guard(si)]
        return out

    def aims(self) -> list:
        """The shapes that a receiver may aim at: none of a group, of which each instance shows another place."""
        return [s for i, s in self.shapes.items() if i < self.own]

    def views(self) -> bool:
        return any(level.views for level in self.all)

    def shines(self) -> bool:
        return any(level.shines for level in self.all)


def jumps_in_groups(scene: Any) -> bool:
    """Whether something may jump on what instances show."""
    return any(jumps(s) for children in groups(scene).values() for s in children)


def jumps(shape: Any) -> bool:
    """Whether something may jump on a shape, where its texture coordinates or what it is seen from move."""
    return any(True for _ in _of_shape(shape, True))


def _of_shape(shape: Any, coordinates: bool) -> Iterator[tuple[tuple, Callable[[], Level]]]:
    """(key, constructor) of the levels on a shape."""
    axis = ROUND.get(shape.class_name())
    around = axis is not None
    if has_rim(shape):
        shines = shape.emitter() is not None
        yield (
            ("normals", shines),
            lambda: Level(rim(lambda si: mi.Vector3f(0, 0, 1), False), 1, views=True, shines=shines),
        )
    wraps = False
    for node, light in ((shape.bsdf(), False), (shape.emitter(), True)):
        if node is None:
            continue
        for key, make in _of_node(node, False, light, around, coordinates):
            wraps |= key[0] == "lattice"
            yield key, make
    if around and (wraps or (coordinates and jumps_at_seam(shape))):
        shines = shape.emitter() is not None
        yield ("seam", axis, shines), lambda: Level(seam(axis), 1, shines=shines)


def _of_node(
    node: Any, two_sided: bool, light: bool, around: bool, coordinates: bool, nested: bool = False
) -> Iterator[tuple[tuple, Callable[[], Level]]]:
    """(key, constructor) of the levels in the tree below a BSDF, an emitter or a texture."""
    kind = node.class_name()
    if not coordinates and isinstance(node, (mi.Texture, mi.Volume)):
        return
    rank = 1 if around else 0  # where an angle begins again coordinates jump
    size = (2, 2)
    if kind.startswith(BITMAP):
        size = node.resolution() if is_nearest(node) else None
    if kind == "Checkerboard" or kind.startswith(BITMAP):
        if size is not None:
            yield ("lattice", node.ptr, light, rank), lambda: Level(lattice(node, size, 0), 2, shines=light, rank=rank)
        return
    below = dict(contents(node))
    if kind in PERTURBING:
        if nested:
            yield ("nested", node.ptr), lambda: Level(lambda si: [], 0, refused=NESTED)
        else:
            yield from _of_normals(node, below, two_sided, rank)
    if kind == "GridVolume" and _is_nearest_grid(node):
        yield ("grid", node.ptr), lambda: Level(lambda si: [], 0, refused=GRID)
    if type(node).__name__ == "Subsurface":
        for key, _ in (x for child in below.values() for x in _of_node(child, False, False, around, coordinates)):
            yield ("inside", *key), lambda: Level(lambda si: [], 0, refused=INSIDE)
        return
    for child in below.values():
        within = nested or kind in PERTURBING
        yield from _of_node(child, two_sided or kind == "TwoSidedBRDF", light, around, coordinates, within)


def _of_normals(node: Any, below: dict, two_sided: bool, rank: int) -> Iterator[tuple[tuple, Callable[[], Level]]]:
    """Of a bump or a normal map."""
    bump = node.class_name() == "BumpMap"
    texture = below["nested_texture" if bump else "normalmap"]
    guard = None
    if texture.class_name().startswith(BITMAP):
        nearest, size = is_nearest(texture), texture.resolution()
        if bump and not nearest:
            # The slope of a bilinear height jumps half-way between texels.
            guard = lattice(texture, size, -0.5)
            yield ("slope", texture.ptr, rank), lambda: Level(guard, 2, rank=rank)
        elif nearest and not bump:
            guard = lattice(texture, size, 0)
    normal = bumped(texture, mi.traverse(node)["scale"]) if bump else mapped(texture)
    rank = rank if guard is None else 2
    if bump:
        count = 1
    else:
        count, guard = 2, also(guard, lambda si: [0.5 * normal(si).z])
    yield (
        ("rim", node.ptr, two_sided, rank),
        lambda: Level(rim(normal, two_sided, not bump), count, sources=(texture,), views=True, guard=guard, rank=rank),
    )


def _is_nearest_grid(volume: Any) -> bool:
    with dr.resume_grad():
        it = dr.zeros(mi.Interaction3f, 2)
        dr.enable_grad(it.p)
        return not dr.grad_enabled(volume.eval(it))
