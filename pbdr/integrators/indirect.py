"""What the two samplers of indirect visibility share: the scene's outlines, and both densities.

A boundary path passes receiver p, touches an outline at e and goes on to y. Camera-side samples
choose p by a camera path, then e as it is seen from p (`secondary_edges`). Emitter-side samples
choose y on a light, then e as it is seen from y; p follows (`shadow_edges`). Where both can make a
path they share it by the balance heuristic, in the common measure dω ds: solid angle of the
direction ω around e, and length ds of the outline across ω,

    dA(p) dφ_p cos θ_p / r_pe = dω ds = dA(y) dφ_y cos θ_y / r_ye,

with φ the angular arc length of the outline seen from either end. It follows from the étendue
between two neighbouring outlines and holds for edges and for outlines that slide over a surface.
"""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi

from ..geometry.edge_tree import Query
from ..geometry.scene_edges import SceneEdges
from ..sampling.edge_guide import CELLS, EdgeGuide
from ..sampling.film_guide import FilmGuide, FilmSampler
from ..sampling.paired import both_sides
from ..scene.instances import cut, is_instance, moves
from ..scene.lights import lights_move
from ..scene.sensors import Camera
from ..scene.viewpoint import Viewpoint
from .led_segments import LONGEST, CameraRay, Lead
from .own_horizon import has_smooth_meshes, steepest
from .path_state import SceneTraits

DECAY = 0.5  # share of camera-side samples that stop at each further rough vertex
PLAIN = ("Disk", "Sphere", "Cylinder")
STATIC = 0.25  # weight of resting outlines in emitter-side samples


class Indirect:
    """Outlines, lights and sample counts of one render through one camera."""

    def __init__(
        self,
        integrator: Any,
        scene: Any,
        camera: Any,
        edges: SceneEdges,
        spp: float,
        sensor_moves: bool,
        guides: dict[str, FilmGuide],
        film: dict[str, FilmSampler] | None = None,
        sliding: list[Camera] | None = None,
        forward: bool = False,
    ):
        self.integrator, self.scene, self.camera, self.edges = integrator, scene, camera, edges
        self.sensor_moves = sensor_moves
        border = 2 * camera.border
        self.count = max(64, int(spp * float((camera.size[0] + border) * (camera.size[1] + border))))
        self.number = dr.opaque(mi.Float, self.count)  # a literal would be compiled into the kernels
        # A receiver needs one more segment behind it.
        depth = integrator.max_depth
        self.deepest = min(depth, 1 << 16) - 2
        self.first_share = 1.0 if self.deepest == 0 else 1 - DECAY
        self.lights = len(scene.emitters())
        self.framed = any(e.class_name() == "Projector" for e in scene.emitters())
        self.moving = [s for s in scene.shapes() if moves(s)]
        self.lights_move = lights_move(scene)
        self.plain_shapes = all(s.is_mesh() or s.class_name() in PLAIN for s in scene.shapes())
        self.smooth = has_smooth_meshes(scene)
        self.finest = steepest(scene) if self.smooth else mi.Float(0)
        traits = SceneTraits(scene, sensor_moves, forward)
        self.frames = traits.frames
        self.cuts, self.forward = cut(traits.frames, forward), forward
        self.near = traits.near_motion(depth)
        self.chains_move = traits.chains_move and traits.subsurface is None
        self.chains = traits.delta_bsdfs and (bool(self.moving) or self.chains_move)
        self.subsurface = traits.subsurface
        self.null_lobes = traits.null_bsdfs
        self.sliding = sliding
        self.context = mi.BSDFContext() if self.subsurface is None else self.subsurface.context
        self.film = film if film is not None else self._film(guides)
        self.choice = self.film.get("shadows")

    def _film(self, guides: dict[str, FilmGuide]) -> dict[str, FilmSampler]:
        """Where camera-side samples start in this render, by what ``guides`` (filled on demand) know."""
        camera, border = self.camera, 2 * self.camera.border
        low, high = camera.window()
        names = ("rough", "chain") if self.chains else ("rough",)
        for name in names:
            if name not in guides:
                guides[name] = FilmGuide.over([n + border for n in camera.size])
        with dr.suspend_grad():
            samplers = {n: guides[n].begin(self.edges.tree.box, low, high - low) for n in names}
            level, groups = self.edges.tree.groups(CELLS)
            known = EdgeGuide.kept(guides, "shadows", groups) if level > 0 else None
            return {**samplers, "shadows": None if known is None else known.begin(level, self.edges.tree.in_use(level))}

    # ---------------------------------------------------------------- receivers

    def camera_density(self, pos: Any) -> Any:
        """Number of camera-side samples per square pixel at ``pos`` whose receiver the sensor sees."""
        return self.number * self.first_share * self.film["rough"].pdf(pos)

    def learner(self, name: str, pos: Any) -> Any:
        """Function that takes the worth of two lanes per sample started at ``pos`` (each twice)."""

        def learn(worth: Any) -> None:
            first = 2 * dr.arange(mi.UInt32, self.count)
            self.film[name].learn(dr.gather(mi.Point2f, pos, first), both_sides(worth), self.number)

        return learn

    def rough_vertex(self, u: Any) -> tuple[Any, Any]:
        """(number of rough vertices to pass, its probability): geometric."""
        if self.deepest == 0:
            return dr.zeros(mi.UInt32, dr.width(u)), mi.Float(1)
        k = mi.UInt32(dr.floor(dr.log(1 - u) / dr.log(DECAY)))
        k = dr.minimum(k, self.deepest)
        p = (1 - DECAY) * dr.power(DECAY, mi.Float(k))
        return k, dr.select(k == self.deepest, p / (1 - DECAY), p)

    def moves(self, si: Any) -> Any:
        """Bool: the shape, or instance, is attached to the AD graph."""
        found = mi.Bool(False)
        for s in self.moving:
            found |= (si.instance if is_instance(s) else si.shape) == mi.ShapePtr(s)
        return found

    def may_lead(self, end: Any) -> Any:
        """Bool: the vertex before a receiver (of a `camera_walk.Walk`) may move it: a Dirac lobe, or one that it is close to."""
        before = end.links[0]
        if self.near is None:
            return before.delta & self.chains_move
        moved = self.moves(before.pi) | (self.sensor_moves & (end.depth == 1))
        if self.chains_move:
            moved |= end.links[1].delta
        return (before.delta & self.chains_move) | ((self.near.share(end.pi) > 0) & moved)

    def receiver_query(self, si: Any, led: Any, lobe: Any, pdf: Any, bsdf: Any) -> Query:
        """How outlines are chosen from a receiver (``led``: what leads the path to it may move)."""
        normal = dr.select(dr.dot(si.n, si.to_world(si.wi)) < 0, -si.n, si.n)
        return Query(
            view=Viewpoint(si.p),
            statics=dr.select(self.moves(si) | led, 1.0, 0.0),
            lobe=lobe,
            # A lobe of solid angle 1 / pdf.
            width2=dr.clip(dr.inv_pi / dr.maximum(pdf, 1e-6), 1e-6, 4),
            normal=mi.Vector3f(normal),
            opaque=~mi.has_flag(bsdf.flags(), mi.BSDFFlags.Transmission),
        )

    def camera_ray(self, pos: Any, time: Any, aperture: Any) -> CameraRay | None:
        """The sensor's ray, attached, if it moves."""
        return CameraRay(self.camera, pos, time, aperture) if self.sensor_moves else None

    def receiver_motion(self, material: Any, si: Any, line: Any) -> Any:
        """The receiver, attached. Its surface moves; the point stays on ``line``, through the vertex before.

        Args:
            material: a point of the receiver that stays on its surface, attached (`scene.shapes.moved_across`).
            line: Ray3f, attached where it moves itself, see `led_segments`.
        """
        o, d = mi.Point3f(line.o), mi.Vector3f(line.d)
        cos = dr.dot(si.n, d)
        cos = dr.select(dr.abs(cos) < 1e-3, dr.mulsign(mi.Float(1e-3), cos), cos)
        return dr.replace_grad(si.p, o + d * (dr.dot(si.n, material.p - o) / cos))

    def led(self, pi: Any, line: Any, depth: Any, links: list, pos: Any, aperture: Any) -> Any:
        """``line``, attached to the sensor and to the vertices that lead it to the hit ``pi``, vertex ``depth``."""
        sensor = self.camera_ray(pos, line.time, aperture)
        return Lead(sensor, self.context, self.frames, self.near).segment(pi, line, depth, links, mi.Bool(True)).ray

    @property
    def links(self) -> int:
        """How many vertices before a receiver decide how it moves."""
        if self.chains_move:
            return 1 + min(LONGEST, self.deepest)
        return 2 if self.near is not None else 0

    # ---------------------------------------------------------------- lights

    def light_query(self, view: Viewpoint, point_like: Any = False) -> Query:
        """How outlines are chosen from a light; those of lights only for point-like ones."""
        few = self.moving and not self.sensor_moves and not self.lights_move
        statics = STATIC if few else 1.0
        return Query(view=view, statics=mi.Float(statics), creases=point_like)

    def outline_from_light(self, view: Viewpoint, point_like: Any, u: Any) -> tuple[Any, Any, Any, Any]:
        """An outline seen from a light: (curve, its probability, its group, the probability of that)."""
        query = self.light_query(view, point_like)
        if self.choice is None:
            return (*self.edges.tree.sample(query, u, False), mi.UInt32(0), mi.Float(1))
        return self.edges.tree.sample_guided(query, u, self.choice)

    def light_density(self, leaf: Any, edge: Any, si_y: Any, ω: Any, active: Any) -> Any:
        """Density of emitter-side samples, times their number, per dω ds; 0 if they cannot."""
        emitter = si_y.emitter(self.scene)
        infinite = ~si_y.is_valid()
        active &= (emitter != None) & edge.contour  # noqa: E711 (traced)
        finite = active & ~infinite
        view = Viewpoint(dr.select(infinite, mi.Point3f(-ω), si_y.p), ~infinite)
        # Of y: area density on lights, seen from e; solid angle for environments.
        d2 = dr.squared_norm(si_y.p - edge.p)
        pdf_y = dr.select(finite, self.area_density(si_y.shape), 0)
        pdf_y *= d2 / dr.maximum(dr.abs_dot(si_y.n, ω), 1e-8)
        ds = dr.zeros(mi.DirectionSample3f)
        ds.d, ds.emitter = ω, emitter
        it = dr.zeros(mi.Interaction3f)
        it.p = edge.p
        pdf = dr.select(infinite, emitter.pdf_direction(it, ds, active & infinite), pdf_y)
        pdf *= self.light_share(emitter, active)
        # Of e, seen from y.
        query, asked = self.light_query(view), active & (pdf > 0)
        tree = self.edges.tree
        pdf *= tree.pdf(query, leaf, asked) if self.choice is None else tree.pdf_guided(query, leaf, self.choice, asked)
        _, length = self.edges.span(leaf)
        t = self.edges.parameter(view, leaf, edge, mi.Float(0))
        across = dr.norm(dr.cross(self.edges.at(view, leaf, t).tangent, ω))
        density = self.number * pdf / (length * dr.maximum(across, 1e-12))
        return dr.select(active & dr.isfinite(density), density, 0)

    def area_density(self, shape: Any) -> Any:
        """1 / area of a light's surface, 0 elsewhere: what it samples its points with.

        ``pdf_position`` would call every shape alive, and some (curves, fields, instances) do not have it.
        """
        density = mi.Float(0)
        for s in self.scene.shapes():
            if s.is_emitter():
                density = dr.select(shape == mi.ShapePtr(s), dr.rcp(s.surface_area()), density)
        return density

    def light_share(self, emitter: Any, active: Any) -> Any:
        """Probability of choosing an emitter."""
        total = sum(float(e.sampling_weight()) for e in self.scene.emitters())
        return dr.select(active, emitter.sampling_weight(), 0) / max(total, 1e-20)
