"""Where surfaces pass through each other: a jump without an edge, seen by the sensor.

Along the curve in which surfaces A and B meet, the nearer of the two changes. With g = t_A - t_B, the distances along a ray to
both (A is seen where g < 0), a film position s crosses the curve where g = 0, and

    dI/dθ ⊃ ∫ k(s) [L_A - L_B] v dl,    v = -(∂t_A/∂θ - ∂t_B/∂θ) / |∇_s g|,

the ray held. The curves are found by random segments (`search`). At the end of such a search A and B are planes; both must go on
behind one another, for what ends there has an edge of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from ...geometry.rounding import UNIT
from ...sampling.paired import paired_sampler
from ...scene.instances import cut, same_surface
from ...scene.sensors import Camera, sensor_moves
from ...scene.shapes import moved_across
from ..boundary import EdgeRecord
from ..path_state import SceneTraits
from ..sliding_film import first_point, outline_record
from .search import QUIET, Crossing, Piece, keep, on_both_sides, whole
from .seen import LENGTH, FilmSegment, FilmView, drawn, search_film

HALVINGS, MOST = 10, 17  # of a segment; the same where a surface is seen at grazing angle
ULPS = 4.0  # of film coordinates: shorter parts are not halved
BLIND = 2  # of those, how many look into a part whose ends lie on one shape
GAP = 1e-4  # between A and B, relative to their distance, where each is looked for behind the other; at most
FARTHEST = 1.0  # pixels from the curve
CLEAR = 3.0  # the same, at least, in units of the part that the curve is known to be in
ROUNDING = 4e-6  # of distances
SLOPES = 0.25  # pixels over which rays are compared
APART = 1e-3  # pixels between the curve and each of the two rays, at least


@dataclass
class Meeting:
    """Where a curve is crossed.

    Attributes:
        t: Float, distance from the beginning of the segment.
        along, across: Float, slopes of g in the direction of the segment, and at right angles, per pixel.
        found: Bool.
    """

    t: Any
    along: Any
    across: Any
    found: Any


class Plane:
    """The tangent plane of what is seen from a point of a segment."""

    def __init__(self, view: FilmView, hit: Any, t: Any, active: Any):
        si = hit.compute_surface_interaction(view.ray(t, mi.Float(0))[0], mi.RayFlags.Minimal, active)
        self.p, self.n = mi.Point3f(si.p), mi.Normal3f(si.n)

    def distance(self, ray: Any) -> Any:
        return dr.dot(self.n, self.p - ray.o) / dr.dot(self.n, ray.d)

    def slope(self, ray: Any, δo: Any, δd: Any) -> Any:
        """Derivative of the distance where origin and direction change so."""
        return -dr.dot(self.n, δo + δd * self.distance(ray)) / dr.dot(self.n, ray.d)


@dr.syntax
def find_meeting(view: FilmView, δ: Any, rng: Any, active: Any) -> Crossing:
    """Choose one curve on each segment, and a short part on which it is met."""
    s = whole(view, δ, active)
    while s.going:
        m = 0.5 * (s.a + s.b)
        hit = view.hit(m, mi.Float(0), s.going)
        left, right = (dr.select(~same_surface(*x), 1, mi.Float(QUIET)) for x in ((s.hit_a, hit), (hit, s.hit_b)))
        share = left / (left + right)
        first = rng.next_1d() < share
        s.worth /= dr.select(first, share, 1 - share)
        keep(s, m, hit, first, ~first)
        s.halved += 1
        s.going = (s.halved < HALVINGS) & (~same_surface(s.hit_a, s.hit_b) | (s.halved < BLIND))

    met = active & s.hit_a.is_valid() & s.hit_b.is_valid() & ~same_surface(s.hit_a, s.hit_b)
    s = _narrowed(view, s, met)
    met = find_root(view, s.a, s.b, s.hit_a, s.hit_b, met).found
    return Crossing(s.a, s.b, mi.UInt32(0), mi.Float(0), dr.select(met, s.worth, 0))


@dr.syntax
def _narrowed(view: FilmView, s: Piece, active: Any) -> Piece:
    """A part over which the distances of A and B do not differ by much, for a curved surface to be a plane there."""
    size = float(max(view.camera.size)) + 1
    most = dr.opaque(mi.UInt32, min(MOST, int(math.log2(LENGTH / (ULPS * UNIT * size)))))
    s.going = mi.Bool(active)
    while s.going:
        A, B = Plane(view, s.hit_a, s.a, s.going), Plane(view, s.hit_b, s.b, s.going)
        ray_a, ray_b = view.ray(s.a, mi.Float(0))[0], view.ray(s.b, mi.Float(0))[0]
        ga, gb = A.distance(ray_a) - B.distance(ray_a), A.distance(ray_b) - B.distance(ray_b)
        s.going &= (dr.maximum(dr.abs(ga), dr.abs(gb)) > GAP * s.hit_a.t) & (s.halved < most)
        m = 0.5 * (s.a + s.b)
        hit = view.hit(m, mi.Float(0), s.going)
        first, second = s.going & same_surface(hit, s.hit_b), s.going & same_surface(hit, s.hit_a)
        keep(s, m, hit, first, second)
        s.halved += 1
        s.going &= first | second
    return s


def find_root(view: FilmView, a: Any, b: Any, hit_a: Any, hit_b: Any, active: Any) -> Meeting:
    """Where the planes of both ends of a part meet, if the surfaces do."""
    A, B = Plane(view, hit_a, a, active), Plane(view, hit_b, b, active)

    def g(t: Any, w: Any) -> Any:
        ray, _ = view.ray(t, w)
        return A.distance(ray) - B.distance(ray)

    zero, h = mi.Float(0), mi.Float(SLOPES)
    ga, gb = g(a, zero), g(b, zero)

    def slope(ray: Any, t: Any, w: Any) -> Any:
        (up, _), (down, _) = view.ray(root + t, w), view.ray(root - t, -w)
        δo, δd = (up.o - down.o) / (2 * h), (up.d - down.d) / (2 * h)
        return A.slope(ray, δo, δd) - B.slope(ray, δo, δd)

    # Of an outline, or a convex edge, the nearer side stays in front.
    rounding = ROUNDING * hit_a.t
    found = active & (ga < rounding) & (gb > -rounding)
    root = dr.clip(a - ga * (b - a) / dr.select(gb > ga, gb - ga, 1), a, b)
    ray, _ = view.ray(root, zero)
    along, across = slope(ray, h, zero), slope(ray, zero, h)
    found &= (along > 0) & dr.isfinite(along) & dr.isfinite(across)
    step = dr.maximum(GAP * B.distance(ray) / dr.select(found, along, 1), CLEAR * (b - a))
    found &= step < FARTHEST
    found &= _goes_on(view, root + step, B, A, hit_b, hit_a, found)
    found &= _goes_on(view, root - step, A, B, hit_a, hit_b, found)
    return Meeting(root, along, across, found)


def _goes_on(view: FilmView, t: Any, front: Plane, back: Plane, seen: Any, behind: Any, active: Any) -> Any:
    """Bool: at ``t`` the shape of ``seen`` is in front, and next behind it that of ``behind``."""
    ray, _ = view.ray(t, mi.Float(0))
    hit = view.hit(t, mi.Float(0), active)
    near, far = front.distance(ray), back.distance(ray)
    gap = far - near
    fine = active & same_surface(hit, seen) & (gap > 0) & (dr.abs(hit.t - near) < 0.25 * gap)
    past = hit.t + 0.25 * gap
    ray.o = ray.o + ray.d * past
    next_hit = view.scene.ray_intersect_preliminary(ray, coherent=False, reorder=False, active=fine)
    next_hit = view.named(next_hit, ray, fine)
    return fine & same_surface(next_hit, behind) & (dr.abs(next_hit.t + past - far) < 0.5 * gap)


def meeting_records(
    integrator: Any,
    scene: Any,
    camera: Camera,
    sliding: list[Camera],
    seed: Any,
    spp: int,
    count: int,
    forward: bool,
) -> Iterator[EdgeRecord]:
    """Sample the curves that one camera sees: two lanes per sample, one on each surface.

    Args:
        sliding: cameras whose film slides (see `sliding_film`).
        spp: segments per pixel.
        count: samples.
    """
    zero = mi.Float(0)
    traits = SceneTraits(scene, sensor_moves(camera.sensor), forward)
    with dr.suspend_grad():
        segment, crossing, weight = search_film(integrator, scene, camera, find_meeting, LENGTH, seed, spp)
        segment, c, worth, active = drawn(segment, crossing, weight, seed, count)
        view = FilmView(integrator, scene, camera, segment)
        root = find_root(view, c.a, c.b, view.hit(c.a, zero, active), view.hit(c.b, zero, active), active)
        slope = dr.hypot(root.along, root.across)
        worth *= 2 * dr.abs(root.along) / slope
        found = root.found & camera.inside(view.pos(root.t, zero)) & dr.isfinite(worth)
        dr.eval(root, view.segment, c, worth, slope, found)

        lane = dr.arange(mi.UInt32, 2 * count)
        i, nearer = lane >> 1, (lane & 1) == 0
        sign = dr.select(nearer, mi.Float(1), mi.Float(-1))
        view.segment = dr.gather(FilmSegment, view.segment, i)
        c, root, worth, slope, found = (dr.gather(type(x), x, i) for x in (c, root, worth, slope, found))
        normal = mi.Vector2f(root.along, root.across) / slope  # in the frame of the segment
        apart = dr.maximum(APART, c.b - c.a)
        t, w = root.t - sign * apart * normal.x, -sign * apart * normal.y
        end = dr.select(nearer, c.a, c.b)  # of the part: nearer to the curve, where a surface may bend away
        hit, own, own_ray = view.hit(t, w, found), view.hit(end, zero, found), view.ray(end, zero)[0]
        ray, ray_weight = view.ray(t, w)
        active = on_both_sides(found & same_surface(hit, own), lane)
        pos = view.pos(root.t, zero)
        L, valid, _, state = integrator.sample(
            dr.ADMode.Primal,
            scene,
            paired_sampler(mi.sample_tea_32(seed, mi.UInt32(3))[1], count),
            ray,
            active,
            first_hit=hit,
            first=first_point(sliding, pos) if sliding else None,
        )
        factor = sign * worth
        # Each lane has the motion of its own surface, and what both show.
        value, alpha = dr.select(active, L * ray_weight * factor, 0), dr.select(active & valid, factor, 0)
        dr.eval(value, alpha, active, root, view.segment, slope, normal, hit, ray, own, own_ray, pos)
        value, alpha = (x + dr.gather(type(x), x, lane ^ 1) for x in (value, alpha))
        dr.eval(value, alpha)

    frames = cut(traits.frames, forward)
    with dr.resume_grad():
        moves = sensor_moves(camera.sensor)
        line = view.line(root.t, zero, camera.attached() if moves else None, active)
        x = moved_across(own, own_ray, active, traits.frames)
        n = dr.detach(x.n)
        distance = dr.dot(n, x.p - line.o) / dr.dot(n, line.d)
        speed = dr.select(active, -sign * distance / slope, 0)
        attached = dr.grad_enabled(speed)
    if attached:
        yield EdgeRecord(pos, value, alpha, ray.wavelengths, active, speed, cuts=frames)
    del x, distance, speed  # nothing attached may be left in forward mode
    if sliding:
        d = view.segment.direction
        across = d * normal.x + mi.Vector2f(-d.y, d.x) * normal.y
        yield outline_record(camera, pos, ray, hit, across, state[2] * ray_weight * factor, active)
