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

from ...core.errors import warn_once

BITMAP = "BitmapTexture"
ROUND = {"Sphere": 0, "Cylinder": 0, "Disk": 1}  # shapes whose texture coordinate of that number is an angle


@dataclass
class Level:
    """One or more functions g, on some shapes.

    Attributes:
        values: SurfaceInteraction3f → list of Float, whose integer values mark jumps.
        count: their number.
        shapes: indices in `scene.shapes()`.
        sources: textures on whose values g depends (not only on texture coordinates).
        views: g depends on the direction of view.
        shines: emission jumps, not only reflection.
    """

    values: Callable[[Any], list]
    count: int
    shapes: list[int] = field(default_factory=list)
    sources: tuple = ()
    views: bool = False
    shines: bool = False
    slot: int = 0


def children(node: Any) -> list[tuple[str, Any]]:
    """(name, object) of the plugins right below ``node``."""
    found: list[tuple[str, Any]] = []

    class Children(mi.TraversalCallback):
        def put_object(self, name, value, flags):
            if isinstance(value, mi.Object):
                found.append((name, value))

        def put_value(self, name, value, flags):
            pass

        def put(self, name, value, *_):
            self.put_object(name, value, None)

    callback = Children()  # keeps the callback alive during the traversal
    node.traverse(callback)
    return found


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
    """Where an angle begins again: there, and opposite, where nothing jumps."""
    return lambda si: [0.5 * dr.sin(dr.two_pi * si.uv[axis])]


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


def rim(normal: Callable[[Any], Any], two_sided: bool) -> Callable[[Any], list]:
    """Half the cosine between a perturbed normal and the view."""

    def values(si: Any) -> list:
        wi = mi.Vector3f(si.wi)
        if two_sided:
            wi.z = dr.abs(wi.z)
        return [0.5 * dr.dot(wi, normal(si))]

    return values


class Levels:
    """All level functions of a scene.

    Args:
        scene: what is rendered.
        keep: function of a `Level` and the shapes it is on that tells whether it may move.
    """

    def __init__(self, scene: Any, keep: Callable[[Level, list], bool]):
        shapes = list(scene.shapes())
        found: dict[tuple, Level] = {}
        for index, shape in enumerate(shapes):
            for key, make in self._of_shape(shape):
                if key not in found:
                    found[key] = make()
                found[key].shapes.append(index)
        self.all: list[Level] = []
        for level in found.values():
            level.shapes = [i for i in level.shapes if keep(level, [shapes[i]])]
            if level.shapes:
                self.all.append(level)
        used: dict[int, int] = {}
        for level in self.all:
            level.slot = max(used.get(i, 0) for i in level.shapes)
            for i in level.shapes:
                used[i] = level.slot + level.count
        self.slots = max(used.values(), default=0)
        self.shapes = {i: shapes[i] for i in used}

    def __len__(self) -> int:
        return len(self.all)

    # ---------------------------------------------------------------- search

    def _of_shape(self, shape: Any) -> Iterator[tuple[tuple, Callable[[], Level]]]:
        wraps = False
        for node, light in ((shape.bsdf(), False), (shape.emitter(), True)):
            if node is None:
                continue
            for key, make in _of_node(node, False, light):
                wraps |= key[0] == "lattice"
                yield key, make
        axis = ROUND.get(shape.class_name())
        if wraps and axis is not None:
            shines = shape.emitter() is not None
            yield ("seam", axis, shines), lambda: Level(seam(axis), 1, shines=shines)

    # ---------------------------------------------------------------- values

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

    def values(self, si: Any, shape: Any) -> list:
        """One Float per slot: the functions of each lane's shape, 0 where there are fewer."""
        out = [mi.Float(0) for _ in range(self.slots)]
        for level in self.all:
            on = self.on(level, shape)
            for k, g in enumerate(level.values(si)):
                out[level.slot + k] = dr.select(on, g, out[level.slot + k])
        return out

    def views(self) -> bool:
        return any(level.views for level in self.all)

    def shines(self) -> bool:
        return any(level.shines for level in self.all)


def _of_node(node: Any, two_sided: bool, light: bool) -> Iterator[tuple[tuple, Callable[[], Level]]]:
    """(key, constructor) of the levels in the tree below a BSDF, an emitter or a texture."""
    kind = node.class_name()
    if kind == "Checkerboard":
        yield ("lattice", node.ptr, light), lambda: Level(lattice(node, (2, 2), 0), 2, shines=light)
        return
    if kind.startswith(BITMAP):
        if is_nearest(node):
            w, h = node.resolution()
            yield ("lattice", node.ptr, light), lambda: Level(lattice(node, (w, h), 0), 2, shines=light)
        return
    below = dict(children(node))
    if kind in ("BumpMap", "NormalMap"):
        texture = below["nested_texture" if kind == "BumpMap" else "normalmap"]
        if kind == "BumpMap":
            normal = bumped(texture, mi.traverse(node)["scale"])
            if texture.class_name().startswith(BITMAP) and not is_nearest(texture):
                w, h = texture.resolution()
                # The slope of a bilinear height jumps half-way between texels.
                yield (
                    ("lattice", texture.ptr, "slope"),
                    lambda: Level(lattice(texture, (w, h), -0.5), 2, sources=()),
                )
        else:
            normal = mapped(texture)
        yield (
            ("rim", node.ptr, two_sided),
            lambda: Level(rim(normal, two_sided), 1, sources=(texture,), views=True),
        )
    if kind == "GridVolume":
        with dr.resume_grad():
            it = dr.zeros(mi.Interaction3f, 2)
            dr.enable_grad(it.p)
            if not dr.grad_enabled(node.eval(it)):
                warn_once(
                    "prb_edge: a gridvolume with filter_type = nearest jumps inside surfaces: the derivative of what moves"
                    " across it is missing. Use trilinear."
                )
    for _, child in below.items():
        yield from _of_node(child, two_sided or kind == "TwoSidedBRDF", light)
