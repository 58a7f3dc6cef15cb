"""Jumps inside surfaces that the sensor sees: checkerboards, nearest-neighbour bitmaps, normals that turn over.

Where g, a function of what is seen at film position s, passes an integer,

    dI/dθ ⊃ ∫ k(s) [L(s - εn) - L(s + εn)] v dl,    n = ∇_s g / |∇_s g|,    v = -(∂g/∂θ) / |∇_s g|,

with ∂g/∂θ at a held film position. The curves are found by random segments (`search`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import drjit as dr
import mitsuba as mi

from ...sampling.discrete import DeviceDistribution
from ...sampling.film_guide import FilmGuide, FilmSampler
from ...sampling.lattice import lattice
from ...sampling.paired import lane_sampler, paired_sampler
from ...scene.instances import cut, has_instances, interact, named, same_surface
from ...scene.sensors import sensor_moves
from ..boundary import EdgeRecord
from ..led_segments import CameraRay, Lead, longest
from ..path_state import SceneTraits
from ..specular_chain import explore, follow, links_of
from .levels import Levels
from .search import Crossing, apart_from_edges, choose, find_crossing, find_root, on_both_sides

LENGTH, RIM = 0.5, 0.2  # of a segment in pixels; where it looks for normals that turn over, often beside an outline
SEGMENTS = 3  # per sample of a pixel
FEWEST_SEGMENTS = 1 << 15  # on small films they cost little, and too few of them find a crossing
PILOTS, MOST_PILOTS = 16, 1 << 18  # per pixel: segments that only tell where there are jumps; in all
MOST_CELLS = 256  # along one axis of the film, for what they tell
UNIFORM = 0.25  # share of segments that ignore it
APART = 2e-5  # difference of g between a jump and each of its two sides, at least
OFFSET = 4e-7  # their distance, share of the film side, at least


@dataclass
class FilmSegment:
    """A segment on the film, with what a sensor needs to look through it.

    Attributes:
        start: Point2f, in pixels.
        direction: Vector2f, unit.
        aperture: Point2f. time, wavelength: Float.
    """

    start: Any
    direction: Any
    aperture: Any
    time: Any
    wavelength: Any


@dataclass
class ChainSegment(FilmSegment):
    """One that is looked at through the Dirac lobes of a `specular_chain.Chain` (its numbers), ``pdf`` its probability,
    ``null``: of null lobes alone."""

    lobes: Any
    length: Any
    signature: Any
    pdf: Any
    null: Any


class FilmView:
    """What is seen from the points of a segment."""

    def __init__(self, integrator: Any, scene: Any, camera: Any, segment: FilmSegment):
        self.integrator, self.scene, self.camera, self.segment = integrator, scene, camera, segment
        self.instances = has_instances(scene)

    def pos(self, t: Any, w: Any) -> Any:
        d = self.segment.direction
        return mi.Point2f(self.segment.start + d * t + mi.Vector2f(-d.y, d.x) * w)

    def ray(self, t: Any, w: Any, camera: Any = None) -> tuple[Any, Any]:
        s = self.segment
        return (camera or self.camera).ray(self.pos(t, w), s.time, s.wavelength, s.aperture)

    def hit(self, t: Any, w: Any, active: Any) -> Any:
        ray, _ = self.ray(t, w)
        return self.named(self.integrator.first_hit(self.scene, ray, active), ray, active)

    def named(self, hit: Any, ray: Any, active: Any) -> Any:
        return named(hit, ray, active) if self.instances else hit

    def surface(self, hit: Any, t: Any, w: Any, active: Any) -> Any:
        return hit.compute_surface_interaction(self.ray(t, w)[0], mi.RayFlags.All, active)

    def last(self, t: Any, w: Any, active: Any) -> tuple[Any, Any, Any]:
        """(the ray that meets what is seen, its weight, and that of alpha)."""
        return *self.ray(t, w), mi.Float(1)

    def segments(self, max_depth: int) -> Any:
        """Longest path that begins there, or ``None``."""
        return None

    def opaque(self) -> Any:
        """Bool, a lobe that is no null lobe came before, or ``None``."""
        return None

    def line(self, t: Any, w: Any, camera: Any, active: Any) -> Any:
        """That ray, attached where the sensor moves (``camera`` is the attached one)."""
        return self.ray(t, w, camera)[0]


class ChainView(FilmView):
    """What is seen behind mirrors, smooth glass and where masks are open."""

    def behind(self, t: Any, w: Any, active: Any) -> tuple[Any, Any, Any, Any]:
        """(ray behind the chain, value of sensor and chain, probability of its lobes, whether it passes the same surfaces);
        both over the probability with which the chain was drawn."""
        s = self.segment
        ray, weight = self.ray(t, w)
        hit = self.integrator.first_hit(self.scene, ray, active)
        moved = follow(self.scene, ray, hit, s.lobes, s.length, active)
        same = (moved.length == s.length) & (moved.signature == s.signature) & (s.length > 0)
        return moved.ray, moved.β * weight / s.pdf, moved.pdf / s.pdf, mi.Bool(active) & same

    def hit(self, t: Any, w: Any, active: Any) -> Any:
        ray, _, _, same = self.behind(t, w, active)
        hit = self.scene.ray_intersect_preliminary(ray, coherent=False, reorder=False, active=same)
        return self.named(hit, ray, same)

    def surface(self, hit: Any, t: Any, w: Any, active: Any) -> Any:
        return hit.compute_surface_interaction(self.behind(t, w, active)[0], mi.RayFlags.All, active)

    def last(self, t: Any, w: Any, active: Any) -> tuple[Any, Any, Any]:
        ray, weight, chance, same = self.behind(t, w, active)
        return ray, dr.select(same, weight, 0), dr.select(same & self.segment.null, chance, 0)

    def segments(self, max_depth: int) -> Any:
        return mi.UInt32(max_depth) - self.segment.length

    def opaque(self) -> Any:
        return ~mi.Bool(self.segment.null)

    def line(self, t: Any, w: Any, camera: Any, active: Any) -> Any:
        """Detached: `Leading` tells how it moves."""
        with dr.suspend_grad():
            return self.behind(t, w, active)[0]


class Leading:
    """What a jump behind a chain owes to all that leads the view there: mirrors, glass and a sensor that move."""

    def __init__(self, view: ChainView, root: Any, line: Any, traits: SceneTraits, active: Any):
        s = view.segment
        self.view, self.root, self.line, self.traits, self.active = view, root, line, traits, active
        with dr.suspend_grad():
            first, _ = view.ray(root.t, mi.Float(0))
            seen = view.integrator.first_hit(view.scene, first, active)
            length = dr.select(active, s.length, 0)
            self.links = links_of(view.scene, first, seen, s.lobes, length, longest(view.integrator.max_depth))

    def slide(self, speed_of: Callable[[Any], Any]) -> Any:
        """Attached: that part of ``speed_of``, a function of the ray to the jump, which is linear in its motion."""
        o, d = mi.Vector3f(self.line.o), mi.Vector3f(self.line.d)
        dr.enable_grad(o, d)
        with dr.suspend_grad(), dr.resume_grad(o, d):  # of nothing else
            ray = mi.Ray3f(self.line)
            ray.o, ray.d = mi.Point3f(o), mi.Vector3f(d)
            dr.backward_from(speed_of(ray))
            by_o, by_d = dr.grad(o), dr.grad(d)
            dr.eval(by_o, by_d)
        s, camera, sensor = self.view.segment, self.view.camera, None
        if sensor_moves(camera.sensor):
            sensor = CameraRay(camera.attached(), self.view.pos(self.root.t, mi.Float(0)), s.time, s.aperture)
        lead = Lead(sensor, mi.BSDFContext(), self.traits.frames)
        led = lead.segment(self.root.hit, self.line, s.length, self.links, self.active).ray
        return dr.select(self.active, dr.dot(mi.Vector3f(led.o), by_o) + dr.dot(led.d, by_d), 0)


def seen_record(
    integrator: Any,
    scene: Any,
    camera: Any,
    levels: Levels,
    seed: Any,
    spp: int,
    count: int,
    chains: bool = False,
    forward: bool = False,
) -> EdgeRecord:
    """Sample the jumps that one camera sees: two lanes per sample.

    Args:
        spp: segments per pixel.
        count: samples.
        chains: sample those behind Dirac lobes.
        forward: the mode.
    """
    View = ChainView if chains else FilmView
    traits = SceneTraits(scene, sensor_moves(camera.sensor), forward)
    zero = mi.Float(0)
    with dr.suspend_grad():
        find, length = partial(find_crossing, levels), _length(levels)
        segment, crossing, weight = search_film(integrator, scene, camera, find, length, seed, spp, chains)
        segment, c, worth, active = drawn(segment, crossing, weight, seed, count)
        view = View(integrator, scene, camera, segment)
        root = find_root(levels, view, c, mi.Float(length), active)
        slope = dr.hypot(root.along, root.across)
        worth *= 2 * dr.abs(root.along) / slope
        found = root.found & camera.inside(view.pos(root.t, zero)) & dr.isfinite(worth)
        if chains:
            # The segment that comes from the other side is as likely. Where it would begin beside the mirror it is never drawn, and
            # this one stands for both.
            worth *= dr.select(view.behind(2 * root.t, zero, found)[3], mi.Float(1), 2)
        dr.eval(root, view.segment, c, worth, slope, found)

        lane = dr.arange(mi.UInt32, 2 * count)
        i = lane >> 1
        sign = dr.select((lane & 1) == 0, mi.Float(1), mi.Float(-1))
        view.segment = dr.gather(type(segment), view.segment, i)
        c, root, worth, slope, found = (dr.gather(type(x), x, i) for x in (c, root, worth, slope, found))
        # One ray on each side.
        apart = dr.maximum(APART * (1 + dr.abs(c.level)) / slope, OFFSET * max(camera.size))
        side = -sign * apart / slope
        t, w = root.t + root.along * side, root.across * side
        hit = view.hit(t, w, found)
        ray, ray_weight, of_alpha = view.last(t, w, found)
        active = on_both_sides(found & same_surface(hit, root.hit), lane)
        active &= apart_from_edges(hit, ray, lane, active)
        L, valid, _, _ = integrator.sample(
            dr.ADMode.Primal,
            scene,
            paired_sampler(mi.sample_tea_32(seed, mi.UInt32(3))[1], count),
            ray,
            active,
            first_hit=hit,
            segments=view.segments(integrator.max_depth),
            opaque=view.opaque(),
        )
        factor = sign * worth
        value = dr.select(active, L * ray_weight * factor, 0)
        alpha = dr.select(active & valid, factor * of_alpha, 0)
        pos = view.pos(root.t, zero)
    moves = sensor_moves(camera.sensor)
    if moves:  # each of its numbers gets its sum by a kernel of its own
        dr.eval(root, view.segment, c, value, alpha, active, slope, ray.wavelengths)

    def speed_along(line: Any) -> Any:
        si = interact(traits.frames, root.hit, line, mi.RayFlags.All, active)
        return dr.select(active, -choose(levels.values(si, root.hit.shape), c.slot) / slope, 0)

    with dr.resume_grad():
        line = view.line(root.t, zero, camera.attached() if moves else None, active)
    slide, cuts = None, cut(traits.frames, forward)
    if chains and traits.chains_move:
        leading = Leading(view, root, line, traits, active)
        dr.eval(leading.line, leading.links)

        def slide():
            return leading.slide(speed_along)

    with dr.resume_grad():
        speed = speed_along(line)
    return EdgeRecord(pos, value, alpha, ray.wavelengths, active, speed, slide=slide, cuts=cuts)


def _length(levels: Levels) -> float:
    return RIM if levels.views() else LENGTH


def search_film(
    integrator: Any,
    scene: Any,
    camera: Any,
    find: Callable[..., Crossing],
    length: float,
    seed: Any,
    spp: int,
    chains: bool = False,
) -> tuple[FilmSegment, Crossing, Any]:
    """One segment per lane: (`FilmSegment`, `Crossing`, Float weight per length of curve).

    Args:
        find: chooses a crossing on each segment: function of (view, length, rng, active).
        length: of the segments, in pixels.
    """
    low, high = camera.window()
    low, high = low - LENGTH, high + LENGTH
    pixels = float(camera.size[0] + 2 * camera.border) * float(camera.size[1] + 2 * camera.border)
    guide = FilmGuide.over([float(n) + 2 * (camera.border + LENGTH) for n in camera.size], MOST_CELLS)
    even = dr.full(mi.Float, 1 / (guide.columns * guide.rows), guide.columns * guide.rows)
    film = FilmSampler(guide, even, low, high - low)
    # Where there are any.
    count = int(min(max(256, PILOTS * pixels), MOST_PILOTS))
    segment, crossing = _segments(
        integrator, scene, camera, find, mi.sample_tea_32(seed, mi.UInt32(4))[1], count, film, LENGTH, chains
    )
    here = dr.zeros(mi.Float, guide.columns * guide.rows)
    dr.scatter_reduce(dr.ReduceOp.Add, here, dr.minimum(crossing.times, 2), film.cell_of(segment.start))
    here = guide.blurred(here)
    total = dr.sum(here)
    known = total > 0
    film = FilmSampler(
        guide,
        dr.select(known, (1 - UNIFORM) * here / dr.select(known, total, 1) + UNIFORM * even, even),
        low,
        high - low,
    )
    count = max(FEWEST_SEGMENTS, int(SEGMENTS * spp * pixels))
    segment, crossing = _segments(integrator, scene, camera, find, seed, count, film, length, chains)
    weight = crossing.times / (film.pdf(segment.start) * (length * count))
    dr.eval(segment, crossing, weight)
    return segment, crossing, weight


def drawn(segment: FilmSegment, crossing: Crossing, weight: Any, seed: Any, count: int) -> tuple:
    """``count`` samples of what `search_film` found, in proportion to ``weight``: (segment, crossing, Float weight of each over its
    density, Bool)."""
    rng = lane_sampler(mi.sample_tea_32(seed, mi.UInt32(2))[1], count)
    index, pmf, _ = DeviceDistribution(weight).sample((dr.arange(mi.Float, count) + rng.next_1d()) / count)
    worth = dr.gather(mi.Float, weight, index) / (pmf * count)
    return dr.gather(type(segment), segment, index), dr.gather(Crossing, crossing, index), worth, pmf > 0


def _segments(integrator, scene, camera, find, seed, count, film, length, chains):
    """Segments whose beginnings ``film`` distributes: (`FilmSegment`, `Crossing`)."""
    rng = lane_sampler(seed, count)
    lane = dr.arange(mi.UInt32, count)
    u_x, u_y, u_turn = lattice(lane, 3, seed)
    sin, cos = dr.sincos(dr.two_pi * u_turn)
    zero = dr.zeros(mi.Float, count)
    time = mi.Float(camera.sensor.shutter_open()) + zero
    if camera.sensor.shutter_open_time() > 0:
        time += rng.next_1d() * camera.sensor.shutter_open_time()
    segment = FilmSegment(
        start=film.sample((mi.Float(lane) + rng.next_1d()) / count, mi.Vector2f(u_x, u_y)),
        direction=mi.Vector2f(cos, sin),
        aperture=rng.next_2d() if camera.kind == "thinlens" else mi.Point2f(0.5) + zero,
        time=time,
        wavelength=rng.next_1d() if mi.is_spectral else zero,
    )
    view = FilmView(integrator, scene, camera, segment)
    active = dr.full(mi.Bool, True, count)
    if chains:
        ray, _ = view.ray(zero, zero)
        limit = longest(integrator.max_depth)
        chain = explore(scene, rng, ray, integrator.first_hit(scene, ray, active), limit, active)
        segment = ChainSegment(
            **segment.__dict__,
            lobes=chain.lobes,
            length=chain.length,
            signature=chain.signature,
            pdf=chain.pdf,
            null=chain.null,
        )
        dr.eval(segment)
        view = ChainView(integrator, scene, camera, segment)
        active = segment.length > 0
    crossing = find(view, mi.Float(length), rng, active)
    dr.eval(segment, crossing)
    return segment, crossing
