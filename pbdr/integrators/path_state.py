"""Records of the path loop, and the facts about a scene that decide which terms are traced."""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from ..bsdfs.lobes import PERTURBING, Lobes, contains
from ..bsdfs.rough_plastic import RoughPlastics
from ..scene.instances import InstanceFrames, all_shapes, parts
from ..scene.shapes import interpolates_normals, shapes_move, translucent_shapes
from ..scene.sky import turns
from .led_segments import Link, longest
from .near_motion import NearMotion
from .subsurface_step import SubsurfaceStep


@dataclass
class PathState:
    """State of one path (one SIMD lane): the loop variables of `path.PathCore.sample`.

    ``β`` is the throughput. ``γ`` is the throughput with its one exactly-zero factor left out, and
    0 unless exactly one factor was zero: a black albedo has a derivative although nothing is seen.
    """

    ray: Any = None  # Ray3f: the segment that leads to the current vertex
    pi: Any = None  # PreliminaryIntersection3f: the current vertex
    depth: Any = None  # UInt32: index of the current vertex (0: seen by the sensor)
    L: Any = None  # Spectrum: radiance so far (primal) or still to come (replay)
    Z: Any = None  # Spectrum: what arrives behind the one black factor of the path
    δL: Any = None  # Spectrum: adjoint radiance (backward) or derivative so far (forward)
    δo: Any = None  # Vector3f: adjoint of the sensor ray's origin, where the sensor moves
    δd: Any = None  # Vector3f: and of its direction
    β: Any = None  # Spectrum
    γ: Any = None  # Spectrum
    η: Any = None  # Float: product of relative indices of refraction
    ray_prev: Any = None  # Ray3f: the segment before
    pi_prev: Any = None  # PreliminaryIntersection3f: the vertex before
    it_prev: Any = None  # Interaction3f: the vertex before, as emitters see it (detached)
    pdf_prev: Any = None  # Float: solid-angle density of the BSDF sample that led here
    delta_prev: Any = None  # Bool: that sample was a Dirac one
    entered: Any = None  # Bool: the current vertex is where light entered a translucent object
    near: Any = None  # Vector2f: there, how it moves along with the vertex before (see `entry_motion`)
    entered_prev: Any = None  # Bool: the vertex before is one; its ``near``, and the vertex before that:
    near_prev: Any = None
    ray_before: Any = None
    pi_before: Any = None
    own: Any = None  # Spectrum: radiance that has not come from inside an object at the first vertex
    inner: Any = None  # Bool: some has
    links: Any = None  # list[Link]: vertices before the current one, where Dirac lobes may turn
    opaque: Any = None  # Bool: a lobe that is no null lobe was met
    δA: Any = None  # Float: adjoint of ``opaque`` (backward) or derivative so far (forward)
    active: Any = None  # Bool


# Dr.Jit asks for the fields of what it traverses many times in a render; those of a dataclass it looks up anew each time.
PathState.DRJIT_STRUCT = dict.fromkeys(PathState.__dataclass_fields__, object)  # type: ignore[attr-defined]


def initial_state(
    ray: Any, pi: Any, L: Any, Z: Any, δL: Any, entered: Any, active: Any, links: int, δA: Any
) -> PathState:
    """The state before the first vertex."""
    return PathState(
        ray=ray,
        pi=pi,
        depth=mi.UInt32(0),
        L=mi.Spectrum(L),
        Z=mi.Spectrum(Z),
        δL=mi.Spectrum(δL),
        δo=mi.Vector3f(0),
        δd=mi.Vector3f(0),
        β=mi.Spectrum(1),
        γ=mi.Spectrum(0),
        η=mi.Float(1),
        ray_prev=mi.Ray3f(ray),
        pi_prev=dr.zeros(mi.PreliminaryIntersection3f),
        it_prev=dr.zeros(mi.Interaction3f),
        pdf_prev=mi.Float(1),
        delta_prev=mi.Bool(True),
        entered=mi.Bool(entered),
        near=mi.Vector2f(0),
        entered_prev=mi.Bool(False),
        near_prev=mi.Vector2f(0),
        ray_before=mi.Ray3f(ray),
        pi_before=dr.zeros(mi.PreliminaryIntersection3f),
        own=mi.Spectrum(0),
        inner=mi.Bool(False),
        links=[Link.none(ray) for _ in range(links if links > 1 else 0)],
        opaque=mi.Bool(False),
        δA=mi.Float(0 if δA is None else δA),
        active=mi.Bool(active),
    )


def link_of(s: PathState, u1: Any, u2: Any, delta: Any) -> Link:
    """The current vertex, as the next one remembers it."""
    return Link(mi.Ray3f(s.ray), mi.PreliminaryIntersection3f(s.pi), mi.Float(u1), mi.Point2f(u2), mi.Bool(delta))


def last_links(s: PathState, count: int) -> list[Link]:
    """The one or two vertices before the current one, where there are no Dirac lobes."""
    both = (s.ray_prev, s.pi_prev), (s.ray_before, s.pi_before)
    return [Link(ray, pi, None, None, None) for ray, pi in both[:count]]


def normals_attached(shape: Any) -> bool:
    """Does a mesh have vertex normals that hang on the AD graph? (Ask with gradients resumed.)"""
    return interpolates_normals(shape) and dr.grad_enabled(shape.vertex_normals_buffer())


class SceneTraits:
    """Facts known while tracing: a term that cannot occur in the scene is not compiled.

    A plain class on purpose: Dr.Jit would treat a dataclass as part of the loop state.
    """

    def __init__(self, scene: Any, sensor_moves: bool = False, forward: bool = False):
        self.scene = scene
        surface = int(mi.EmitterFlags.Surface)
        varying = int(mi.EmitterFlags.SpatiallyVarying)
        lights = [int(e.flags()) for e in scene.emitters()]
        self.frames = InstanceFrames.of(scene, forward)
        shapes = [s for s in all_shapes(scene) if s.bsdf() is not None]
        materials = [s.bsdf() for s in shapes]
        self.lobes = Lobes(materials)
        self.plastics = RoughPlastics.of(materials)
        dirac = [s for s in shapes if int(s.bsdf().flags()) & int(mi.BSDFFlags.Delta)]
        with dr.resume_grad():
            perturbed = [s.bsdf() for s in dirac if contains(s.bsdf(), PERTURBING)]
            turned = any(dr.grad_enabled(v) for b in perturbed for _, v in mi.traverse(b))
            turned |= any(normals_attached(s) for s in dirac)
        # Some vertex moves: its shape, or the sensor, is attached to the AD graph, or what turns a Dirac lobe.
        self.moving = shapes_move(scene) or sensor_moves or turned
        # What the sensor sees by way of Dirac lobes moves even where it rests.
        self.chains_move = bool(dirac) and (
            turned or sensor_moves or any(p.moves for p in parts(scene) if p.shape in dirac)
        )
        self.textured_area_lights = any(f & surface and f & varying for f in lights)
        self.delta_lights = any(f & int(mi.EmitterFlags.Delta) for f in lights)
        bsdfs = [int(b.flags()) for b in materials]
        self.delta_bsdfs = any(f & int(mi.BSDFFlags.Delta) for f in bsdfs)
        self.turning_sky = turns(scene.environment(), "to_world")
        translucent = translucent_shapes(scene)
        self.subsurface = SubsurfaceStep(translucent) if translucent else None
        self.translucent_moves = any(s.parameters_grad_enabled() for s in translucent)
        self.null_bsdfs = any(f & int(mi.BSDFFlags.Null) for f in bsdfs)
        self.dirac = self.delta_bsdfs or self.null_bsdfs

    def near_motion(self, max_depth: int) -> NearMotion | None:
        """How vertices follow one another, if any can: the light at the second one comes from further on."""
        if not self.moving or self.subsurface is not None or 0 <= max_depth < 3:
            return None
        return NearMotion(self.scene)

    def links(self, max_depth: int) -> int:
        """Number of vertices before the current one that decide how it moves, if something moves."""
        if not self.delta_bsdfs:
            return 2 if max_depth < 0 or max_depth >= 3 else 1
        return 1 + longest(max_depth)

    def most_vertices(self, max_depth: int) -> int:
        """Of a path of ``max_depth`` segments: points where light enters an object have no segment of their own."""
        return max_depth if self.subsurface is None or max_depth < 0 else 2 * max_depth


def hit_fields() -> dict[str, Any]:
    """Fields of a hit in thread-local memory (which cannot hold the Bool of an intersection record)."""
    index = mi.UInt32
    return {
        "t": mi.Float,
        "uv": mi.Point2f,
        "prim": index,
        "part": index,
        "shape": mi.ShapePtr,
        "instance": mi.ShapePtr,
    }


def hit_values(pi: Any) -> tuple:
    """Values of `hit_fields`."""
    return pi.t, pi.prim_uv, pi.prim_index, pi.shape_index, pi.shape, pi.instance


def hit_of(row: Any) -> Any:
    """The PreliminaryIntersection3f of a record with `hit_fields`."""
    pi = dr.zeros(mi.PreliminaryIntersection3f)
    pi.t, pi.prim_uv, pi.prim_index, pi.shape_index = row.t, row.uv, row.prim, row.part
    pi.shape, pi.instance, pi.valid = row.shape, row.instance, row.t < dr.inf
    return pi


def vertex_type(traits: SceneTraits) -> Any:
    """A vertex of a `PathRecord`: all that is needed to evaluate it again, with derivatives.

    o, d: the segment that led to it. β: throughput. own: emission and direct light.
    weight: of the BSDF sample, with ``boost`` of Russian roulette. u_em, u1, u2: random numbers.
    pdf, delta, p, n: of the vertex before. visible: the emitter sample is not hidden. depth: of the path.
    opaque: a lobe that is no null lobe came before (where there are null lobes).

    In scenes with translucent objects: entered, near: as in `PathState`. entering: the next vertex is where light has
    entered. Of walks to there: us1, us2, us3: their random numbers; N, T, slope, roughness: as in `Walk`.
    """
    f, f2, f3, spectrum, flag = mi.Float, mi.Point2f, mi.Vector3f, mi.Spectrum, mi.UInt32
    fields = hit_fields() | {"o": f3, "d": f3, "β": spectrum, "own": spectrum, "weight": spectrum}
    fields |= {"boost": f, "u_em": f2, "u1": f, "u2": f2, "pdf": f, "delta": flag, "p": f3, "n": f3, "visible": flag}
    fields["depth"] = flag
    step = traits.subsurface
    if traits.null_bsdfs:
        fields["opaque"] = flag
    if step is not None:
        fields |= {"entered": flag, "near": mi.Vector2f, "entering": flag}
        if step.walks:
            fields |= {"us1": f, "us2": f2, "us3": f, "N": flag, "T": f, "slope": spectrum, "roughness": f}
    return make_dataclass("Vertex", list(fields.items()))


def as_flag(x: Any) -> Any:
    """A Bool for thread-local memory."""
    return dr.select(x, mi.UInt32(1), 0)


@dataclass
class PathRecord:
    """The vertices of a path in thread-local memory, which does not grow with the wavefront."""

    rows: Any  # dr.Local of `vertex_type`
    count: Any  # UInt32
    Vertex: Any

    @staticmethod
    def of(traits: SceneTraits, max_depth: int) -> PathRecord:
        """For paths of ``max_depth`` segments."""
        Vertex = vertex_type(traits)
        return PathRecord(
            dr.alloc_local(Vertex, traits.most_vertices(max_depth), value=dr.zeros(Vertex)), mi.UInt32(0), Vertex
        )

    def put(
        self, s: PathState, β: Any, own: Any, weight: Any, boost: Any, visible: Any, u: tuple, jump: tuple | None
    ) -> None:
        """Keep the current vertex; ``s`` still knows the one before. ``jump``: (`Entry`, whether it is next, ``us``)."""
        more = (as_flag(s.opaque),) if "opaque" in self.Vertex.__annotations__ else ()
        if jump is not None:
            entry, entering, us = jump
            more += as_flag(s.entered), s.near, as_flag(entering)
            if entry.path is not None:
                more += *us, entry.path.N, entry.path.T, entry.path.slope, entry.path.roughness
        self.rows[self.count] = self.Vertex(
            *hit_values(s.pi), mi.Vector3f(s.ray.o), s.ray.d, β, own, weight, boost, *u, s.pdf_prev,
            as_flag(s.delta_prev), mi.Vector3f(s.it_prev.p), mi.Vector3f(s.it_prev.n),
            as_flag(visible), s.depth, *more,
        )  # fmt: skip
        self.count += 1
