"""Jumps inside surfaces that light passes on its way to a receiver: reflections, interreflection, textured lights.

At a receiver p, where a function g of what is hit in direction ω passes an integer,

    dL_o/dθ ⊃ ∫ f(ω_o, ω) [L(ω - εn) - L(ω + εn)] v dl,    n = ∇_ω g / |∇_ω g|,    v = -(∂g/∂θ) / |∇_ω g|,

over curves on the sphere of directions. The interior derivative holds the next vertex in place while p moves, and p in
place while that surface moves: so ∂g/∂θ is taken along the ray of the receiver as it is, and p moves in it only where g
depends on the direction of view. Curves are found by random arcs (`search`), which start near BSDF samples or toward
points on the shapes that have jumps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from ...bssrdfs.names import MARK
from ...sampling.discrete import DeviceDistribution
from ...sampling.film_guide import FilmSampler
from ...sampling.lattice import lattice
from ...sampling.paired import both_sides, lane_sampler, paired_sampler
from ...scene.instances import cut, has_instances, interact, named, same_surface
from ..boundary import EdgeRecord
from ..camera_walk import walk
from ..led_segments import CameraRay, Lead
from ..path_state import SceneTraits
from .levels import Levels
from .search import Crossing, apart_from_edges, choose, find_crossing, find_root, on_both_sides

ARC, RIM = 0.15, 0.05  # length of an arc in radians; where it looks for normals that turn over
APART = 2e-5  # difference of g between a jump and each of its two sides, at least
OFFSET = 1e-5  # their angle, at least
TOWARD = 0.5  # share of arcs that start toward points on shapes with jumps
DECAY = 0.5  # share of samples that stop at each further rough vertex
SHARE = 0.5  # samples per arc


@dataclass
class Receiver:
    """Where an arc is seen from, and how the sensor sees that.

    Attributes:
        pos, aperture: on film and lens. ray, pi: lead to the receiver, vertex number ``depth``.
        β: Spectrum, throughput over the density of receiver and film position.
        start, turn: unit Vector3f at right angles; an arc leads from the first toward the second.
        density: Float, of ``start`` over solid angle.
        links: vertices before the receiver, see `led_segments`.
    """

    pos: Any
    aperture: Any
    ray: Any
    pi: Any
    depth: Any
    β: Any
    start: Any
    turn: Any
    density: Any
    links: list


class ArcView:
    """What a receiver sees from the points of an arc."""

    def __init__(self, scene: Any, si: Any, start: Any, turn: Any):
        self.scene, self.si, self.start, self.turn = scene, si, start, turn
        self.instances = has_instances(scene)

    def direction(self, t: Any, w: Any) -> Any:
        (s, c), (sw, cw) = dr.sincos(t), dr.sincos(w)
        return dr.normalize((self.start * c + self.turn * s) * cw + dr.cross(self.start, self.turn) * sw)

    def ray(self, t: Any, w: Any) -> Any:
        return self.si.spawn_ray(self.direction(t, w))

    def hit(self, t: Any, w: Any, active: Any) -> Any:
        ray = self.ray(t, w)
        hit = self.scene.ray_intersect_preliminary(ray, coherent=False, reorder=False, active=active)
        return named(hit, ray, active) if self.instances else hit

    def surface(self, hit: Any, t: Any, w: Any, active: Any) -> Any:
        return hit.compute_surface_interaction(self.ray(t, w), mi.RayFlags.All, active)


def reflected_record(
    integrator: Any, scene: Any, camera: Any, levels: Levels, film: FilmSampler, moves: bool, seed: Any, spp: int,
    forward: bool = False,
) -> EdgeRecord:  # fmt: skip
    """Sample receivers and jumps: two lanes per sample.

    Args:
        film: distributes film positions.
        moves: the sensor does.
        spp: arcs per pixel.
        forward: the mode.
    """
    with dr.suspend_grad():
        arcs = max(64, int(spp * float(camera.size[0] + 2 * camera.border) * float(camera.size[1] + 2 * camera.border)))
        receiver, crossing, weight = _search(integrator, scene, camera, levels, film, moves, seed, arcs)
        count = max(64, int(arcs * SHARE))
        rng = lane_sampler(mi.sample_tea_32(seed, mi.UInt32(2))[1], count)
        index, pmf, _ = DeviceDistribution(weight).sample((dr.arange(mi.Float, count) + rng.next_1d()) / count)
        r, c = dr.gather(Receiver, receiver, index), dr.gather(Crossing, crossing, index)
        active = pmf > 0
        si = r.pi.compute_surface_interaction(r.ray, mi.RayFlags.All, active)
        view = ArcView(scene, si, r.start, r.turn)
        δ = mi.Float(_length(levels))
        zero = mi.Float(0)
        root = find_root(levels, view, c, δ, active)
        slope = dr.hypot(root.along, root.across)
        worth = c.times / (r.density * δ) * 2 * dr.abs(root.along) / (slope * pmf * count)
        found = root.found & dr.isfinite(worth)
        dr.eval(root, r, c, worth, slope, found)

        lane = dr.arange(mi.UInt32, 2 * count)
        i = lane >> 1
        sign = dr.select((lane & 1) == 0, mi.Float(1), mi.Float(-1))
        r, c, root = (dr.gather(type(x), x, i) for x in (r, c, root))
        worth, slope, found = (dr.gather(type(x), x, i) for x in (worth, slope, found))
        si = r.pi.compute_surface_interaction(r.ray, mi.RayFlags.All, found)
        view = ArcView(scene, si, r.start, r.turn)
        context = mi.BSDFContext()
        f = si.bsdf().eval(context, si, si.to_local(view.direction(root.t, zero)), found)
        found &= dr.max(mi.unpolarized_spectrum(f)) > 0
        ray, hit, active = _side(view, root, c, slope, sign, lane, found)
        rng = paired_sampler(mi.sample_tea_32(seed, mi.UInt32(3))[1], count)
        segments = mi.UInt32(integrator.max_depth) - r.depth - 1
        L, *_ = integrator.sample(dr.ADMode.Primal, scene, rng, ray, active, first_hit=hit, segments=segments)
        value = L * f * r.β * (sign * worth)
        active &= dr.all(dr.isfinite(mi.unpolarized_spectrum(value)))
        line = view.ray(root.t, zero)
    dr.eval(root, r, c, value, active, slope, line)
    leading = _Leading(integrator, scene, camera, moves, forward)
    cuts = cut(leading.frames, forward)
    with dr.resume_grad():
        y = interact(leading.frames, root.hit, line, mi.RayFlags.All, active)
        speed = dr.select(active, -choose(levels.values(y, root.hit.shape), c.slot) / slope, 0)
        attached = dr.grad_enabled(speed)

    def slide() -> Any:
        """The part of the speed that comes from the motion of the receiver."""
        with dr.suspend_grad():
            y = root.hit.compute_surface_interaction(line, mi.RayFlags.All, active)
            still = mi.SurfaceInteraction3f(y)
        p = leading.receiver(r, active)
        y.wi = dr.replace_grad(y.wi, y.to_local(dr.normalize(p - y.p)))
        # The difference: a normal that is attached itself counts in ``speed``.
        g, g_still = (choose(levels.values(x, root.hit.shape), c.slot) for x in (y, still))
        return dr.select(active, (g_still - g) / slope, 0)

    def learn(amount: Any) -> None:
        first = 2 * dr.arange(mi.UInt32, count)
        film.learn(dr.gather(mi.Point2f, r.pos, first), both_sides(amount), arcs)

    return EdgeRecord(
        pos=r.pos,
        value=dr.select(active, value, 0),
        alpha=mi.Float(0),
        wavelengths=r.ray.wavelengths,
        active=active,
        speed=speed if attached else None,
        slide=slide if levels.views() else None,
        learn=learn,
        cuts=cuts,
    )


def _side(view: ArcView, root: Any, c: Crossing, slope: Any, sign: Any, lane: Any, found: Any) -> tuple[Any, Any, Any]:
    """(ray, hit, whether both sides meet the shape): one side of a jump in each lane."""
    side = -sign * dr.maximum(APART * (1 + dr.abs(c.level)) / slope, OFFSET) / slope
    t, w = root.t + root.along * side, root.across * side
    ray, hit = view.ray(t, w), view.hit(t, w, found)
    active = on_both_sides(found & same_surface(hit, root.hit), lane)
    return ray, hit, active & apart_from_edges(hit, ray, lane, active)


class _Leading:
    """How receivers move."""

    def __init__(self, integrator: Any, scene: Any, camera: Any, moves: bool, forward: bool = False):
        traits = SceneTraits(scene, moves, forward)
        self.near = traits.near_motion(integrator.max_depth)
        self.links = 0 if self.near is None else traits.links(integrator.max_depth)
        self.frames, self.camera = traits.frames, camera if moves else None

    def receiver(self, r: Receiver, active: Any) -> Any:
        """It, attached; nothing that jumps follows it (see `near_motion`)."""
        sensor = None if self.camera is None else CameraRay(self.camera.attached(), r.pos, r.ray.time, r.aperture)
        lead = Lead(sensor, mi.BSDFContext(), self.frames, self.near)
        return lead.vertex(r.pi, r.ray, r.depth, r.links, active)[0].p


def _length(levels: Levels) -> float:
    return RIM if levels.views() else ARC


def _search(integrator, scene, camera, levels, film, moves, seed, count):
    """One arc per lane: (`Receiver`, `Crossing`, Float weight)."""
    rng = lane_sampler(seed, count)
    lane = dr.arange(mi.UInt32, count)
    u_film, u_x, u_y, u_stop, u_turn, u_a, u_b, u_toward = lattice(lane, 8, seed)
    pos = film.sample((mi.Float(lane) + u_film) / count, mi.Vector2f(u_x, u_y))
    aperture = rng.next_2d() if camera.kind == "thinlens" else mi.Point2f(0.5) + dr.zeros(mi.Float, count)
    time = mi.Float(camera.sensor.shutter_open())
    if camera.sensor.shutter_open_time() > 0:
        time += rng.next_1d() * camera.sensor.shutter_open_time()
    ray, weight = camera.ray(pos, time, rng.next_1d() if mi.is_spectral else 0, aperture)
    deepest = min(integrator.max_depth, 1 << 16) - 2 if integrator.max_depth >= 0 else 1 << 16
    skip, share = _rough_vertex(u_stop, deepest)
    hit = integrator.first_hit(scene, ray, True)
    # Those inside translucent objects see nothing from outside.
    step = SceneTraits(scene).subsurface
    end = walk(scene, step, rng, ray, hit, skip, deepest, True, links=_Leading(integrator, scene, camera, moves).links)
    if step is not None:
        end.found &= ~end.entered & ~end.pi.compute_surface_interaction(
            end.ray, mi.RayFlags.Minimal, end.found
        ).bsdf().has_attribute(MARK, end.found)

    si = end.pi.compute_surface_interaction(end.ray, mi.RayFlags.All, end.found)
    bsdf = si.bsdf(end.ray)
    context = mi.BSDFContext()
    bs, _ = bsdf.sample(context, si, rng.next_1d(), mi.Point2f(u_a, u_b), end.found)
    aim, goal = _aim(levels, si, rng, mi.Point2f(u_a, u_b), end.found)
    toward = TOWARD if levels.aims() else 0.0
    ω = dr.select(u_toward < toward, aim, si.to_world(bs.wo))
    found = end.found & ((u_toward < toward) | ~mi.has_flag(bs.sampled_type, mi.BSDFFlags.Delta))
    found &= dr.squared_norm(ω) > 0.5
    f, pdf = bsdf.eval_pdf(context, si, si.to_local(ω), found)
    frame = mi.Frame3f(ω)
    sin, cos = dr.sincos(dr.two_pi * u_turn)
    turn = frame.s * cos + frame.t * sin
    view = ArcView(scene, si, mi.Vector3f(ω), mi.Vector3f(turn))
    start = view.hit(mi.Float(0), mi.Float(0), found)
    at = view.surface(start, mi.Float(0), mi.Float(0), found)
    # What hides the point that was aimed at has a density of its own.
    found &= (u_toward >= toward) | (dr.norm(at.p - goal) < 1e-3 * dr.norm(goal - si.p))
    density = (1 - toward) * pdf + toward * _aim_density(levels, si, at, start)
    found &= density > 0
    crossing = find_crossing(levels, view, mi.Float(_length(levels)), rng, found)
    β = end.β * weight / (count * share * film.pdf(pos))
    receiver = Receiver(
        pos=pos, aperture=aperture, ray=end.ray, pi=end.pi, depth=end.depth, β=β, start=view.start, turn=view.turn,
        density=density, links=end.links,
    )  # fmt: skip
    # Where f is 0 it may not be so on the curve.
    bright = dr.max(mi.unpolarized_spectrum(β)) * (dr.max(mi.unpolarized_spectrum(f)) + 0.03 * density)
    w = dr.select(found, crossing.times * bright / density, 0)
    w = dr.select(dr.isfinite(w), w, 0)
    dr.eval(receiver, crossing, w)
    return receiver, crossing, w


def _rough_vertex(u: Any, deepest: int) -> tuple[Any, Any]:
    """(number of rough vertices to pass, its probability): geometric."""
    if deepest == 0:
        return dr.zeros(mi.UInt32, dr.width(u)), mi.Float(1)
    k = dr.minimum(mi.UInt32(dr.floor(dr.log(1 - u) / dr.log(DECAY))), deepest)
    p = (1 - DECAY) * dr.power(DECAY, mi.Float(k))
    return k, dr.select(k == deepest, p / (1 - DECAY), p)


def _aim(levels: Levels, si: Any, rng: Any, u: Any, active: Any) -> tuple[Any, Any]:
    """(unit direction, point): to an even point on one of `Levels.aims`, each equally likely."""
    shapes = levels.aims()
    if not shapes:
        return mi.Vector3f(0), mi.Point3f(0)
    k = dr.minimum(mi.UInt32(rng.next_1d() * len(shapes)), len(shapes) - 1)
    target = dr.zeros(mi.ShapePtr, dr.width(u))
    for j, s in enumerate(shapes):
        target = dr.select(k == j, mi.ShapePtr(s), target)
    ps = target.sample_position(si.time, u, active)
    d = ps.p - si.p
    return dr.select(dr.squared_norm(d) > 0, dr.normalize(d), 0), ps.p


def _aim_density(levels: Levels, si: Any, at: Any, hit: Any) -> Any:
    """Density of `_aim` over solid angle, of directions that meet what they aim at first."""
    if not levels.aims():
        return mi.Float(0)
    on = at.is_valid() & levels.any(hit.shape) & (hit.instance == dr.zeros(mi.ShapePtr))
    pdf = hit.shape.pdf_position(mi.PositionSample3f(at), on)
    pdf *= dr.squared_norm(at.p - si.p) / dr.maximum(dr.abs_dot(at.n, dr.normalize(at.p - si.p)), 1e-8)
    return dr.select(on, pdf, 0) / len(levels.aims())
