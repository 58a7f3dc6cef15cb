"""Outlines seen in perfect mirrors and through smooth glass: boundaries behind a chain of Dirac lobes.

The chain maps a film position s to a ray (o, d)(s). A point x(t) of an outline is seen where that ray
meets it. With n the direction across outline and ray,

    dI/dθ ⊃ ∫ k(s) T [L(s - εν) - L(s + εν)] ((ẋ - ȯ - r ḋ) · n / |b|) |ds/dt| dt,    b = ∇_s (o + r d) · n,    ν = b / |b|,

with (ȯ, ḋ) the motion of the ray at a held film position, where mirrors or the sensor move.

Where x(t) is seen is found by a root search from a random film position s₀ near it, so that its
density must be known: the search counts if it starts within a box around its result s, and then
1 / density is the area of the box times the share of it from which the search ends at s. That share
is less than one where a mirror ends, or where several images of a point are near each other; its
inverse is the mean number of random starts until one succeeds :cite:`zeltner2020specular`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from ..geometry.curve_sampling import curve_proposal
from ..geometry.edge_tree import Query
from ..geometry.rounding import spawn_height
from ..sampling.lattice import lattice
from ..sampling.paired import lane_sampler, paired_sampler
from ..scene.viewpoint import Viewpoint
from .bend_light import BendLight
from .boundary import EdgeRecord
from .indirect import Indirect
from .led_segments import longest
from .secondary_edges import beside_outline
from .specular_chain import Chain, explore, follow, links_of

BOX = 1 / 32  # half the side of the box around a result, share of the film side
DELTA = 0.02  # pixels, step of differences on the film
STEPS = 9  # of the root search
PRECISION = 1e-3  # of a result, pixels
SAME = 0.02  # pixels within which two searches have found the same
TRIALS = 64
OWN = 8  # heights of spawned rays, within which an outline is one of the surface that they leave


@dataclass
class Sight:
    """A point of an outline seen behind a chain, before its sides are traced."""

    start: Any  # film position from which it was searched
    pos: Any
    ray: Any  # Ray3f from the last vertex of the chain
    length: Any
    lobes: Any
    null: Any  # Bool: no lobe of the chain is another
    aperture: Any
    β: Any  # Spectrum: value of the chain, measure of the curve, over the density
    α: Any  # Float: the same with the probability of the chain, if its lobes are null lobes, else 0
    leaf: Any
    t: Any
    n: Any  # Vector3f across outline and ray
    r: Any
    found: Any


def specular_record(ctx: Indirect, seed: Any) -> EdgeRecord:
    """Sample outlines behind chains and trace both sides: two lanes per sample."""
    with dr.suspend_grad():
        sight = _search(ctx, lane_sampler(seed, ctx.count), seed)
        dr.eval(sight)
        lane = dr.arange(mi.UInt32, 2 * ctx.count)
        c = dr.gather(Sight, sight, lane >> 1)
        rng = paired_sampler(mi.sample_tea_32(seed, mi.UInt32(1))[1], ctx.count)
        sign = dr.select((lane & 1) == 0, mi.Float(1), mi.Float(-1))
        edge = ctx.edges.at(Viewpoint(c.ray.o), c.leaf, c.t)
        ray, hit, _, active = beside_outline(ctx.scene, edge, c.ray, c.n, c.r, sign, lane, mi.Bool(c.found))
        L, valid, _, _ = ctx.integrator.sample(
            dr.ADMode.Primal,
            ctx.scene,
            rng,
            ray,
            active,
            first_hit=hit,
            rim_shape=edge.shape,
            segments=mi.UInt32(ctx.integrator.max_depth) - c.length,
            opaque=~c.null,
            bend=BendLight.of(edge, edge.p - c.ray.o),
        )
        value = L * c.β * sign * edge.share
        active &= dr.all(dr.isfinite(mi.unpolarized_spectrum(value)))
        links: list = []
        if ctx.chains_move:
            first, _ = ctx.camera.ray(c.pos, c.ray.time, 0.5 if mi.is_spectral else 0, c.aperture)
            seen = ctx.integrator.first_hit(ctx.scene, first, active)
            links = links_of(
                ctx.scene, first, seen, c.lobes, dr.select(active, c.length, 0), longest(ctx.integrator.max_depth)
            )
            if ctx.sensor_moves:  # each number of the sensor gets its sum by a kernel of its own
                dr.eval(edge, c, links, value, active)
    with dr.resume_grad():
        speed = dr.dot(c.n, ctx.edges.motion(edge))

    def slide():
        led = ctx.led(hit, c.ray, c.length, links, c.pos, c.aperture)
        return -dr.dot(c.n, led.o + c.r * led.d)

    return EdgeRecord(
        pos=c.pos,
        value=dr.select(active, value, 0),
        alpha=dr.select(active & valid, c.α * sign * edge.share, 0),
        wavelengths=c.ray.wavelengths,
        active=active,
        speed=speed,
        slide=slide if ctx.chains_move else None,
        learn=ctx.learner("chain", c.start),
        lever=mi.Float(1),
        cuts=ctx.cuts,
    )


@dataclass
class Local:
    """The map from the film to rays near one film position, per pixel."""

    ray: Any
    β: Any  # Spectrum: of chain and sensor
    p: Any  # Float: probability of the chain's lobes
    ox: Any
    oy: Any
    dx: Any
    dy: Any
    exists: Any


class _Film:
    """The map from film positions to rays behind the chains of all lanes."""

    def __init__(self, ctx: Indirect, chain: Chain, aperture: Any, time: Any, wavelength: Any):
        self.ctx, self.chain = ctx, chain
        self.more = time, wavelength, aperture

    def at(self, pos: Any, active: Any) -> tuple[Any, Any, Any, Any]:
        """(ray behind the chain, value of sensor and chain, probability of its lobes, whether it passes the same surfaces)."""
        ray, weight = self.ctx.camera.ray(pos, *self.more)
        hit = self.ctx.integrator.first_hit(self.ctx.scene, ray, active)
        moved = follow(self.ctx.scene, ray, hit, self.chain.lobes, self.chain.length, active)
        same = (moved.length == self.chain.length) & (moved.signature == self.chain.signature)
        return moved.ray, moved.β * weight, moved.pdf, mi.Bool(active) & same

    @dr.syntax
    def local(self, pos: Any, active: Any) -> Local:
        """Ray and its derivatives; one-sided where a neighbour lies beside the mirror."""
        m = Local(
            mi.Ray3f(self.chain.ray), mi.Spectrum(0), mi.Float(0), *(mi.Vector3f(0) for _ in range(4)), mi.Bool(active)
        )
        sides_x, sides_y = mi.Float(0), mi.Float(0)
        k = mi.UInt32(0)
        while k < 5:
            in_x = k < 3
            step = dr.select(k == 0, 0, dr.select((k & 1) == 0, mi.Float(DELTA), -DELTA))
            ray, β, p, same = self.at(pos + dr.select(in_x, mi.Vector2f(step, 0), mi.Vector2f(0, step)), m.exists)
            first = k == 0
            m.ray, m.β, m.p = dr.select(first, ray, m.ray), dr.select(first, β, m.β), dr.select(first, p, m.p)
            m.exists = dr.select(first, same, m.exists)
            x, y = dr.select(same & in_x & ~first, 1 / step, 0), dr.select(same & ~in_x, 1 / step, 0)
            Δo, Δd = ray.o - m.ray.o, ray.d - m.ray.d
            m.ox, m.oy = dr.fma(Δo, x, m.ox), dr.fma(Δo, y, m.oy)
            m.dx, m.dy = dr.fma(Δd, x, m.dx), dr.fma(Δd, y, m.dy)
            sides_x += dr.select(x != 0, 1, 0)
            sides_y += dr.select(y != 0, 1, 0)
            k += 1
        x, y = dr.rcp(dr.maximum(sides_x, 1)), dr.rcp(dr.maximum(sides_y, 1))
        m.ox, m.oy, m.dx, m.dy = m.ox * x, m.oy * y, m.dx * x, m.dy * y
        m.exists &= (sides_x > 0) & (sides_y > 0)
        return m


@dr.syntax
def _solve(film: _Film, edges: Any, m: Local, leaf: Any, t: Any, pos: Any, most: Any, active: Any):
    """Film position at which the chain shows the point ``t`` of ``leaf``: ``(pos, found)``.

    Newton's method with the derivatives ``m`` of the start, corrected by Broyden's rule.
    """
    # A frame across the ray; the residual is the angle by which it misses the point.
    frame = mi.Frame3f(m.ray.d)
    at = mi.Point2f(pos)
    x = edges.at(Viewpoint(m.ray.o), leaf, t).p
    inv_r = dr.rcp(dr.norm(x - m.ray.o))
    jx, jy = frame.to_local(dr.fma(m.ox, inv_r, m.dx)), frame.to_local(dr.fma(m.oy, inv_r, m.dy))
    J = mi.Matrix2f(jx.x, jy.x, jx.y, jy.y)
    step, before = mi.Vector2f(0), mi.Vector2f(0)
    going, found = mi.Bool(active), mi.Bool(False)
    k = mi.UInt32(0)
    while going & (k < STEPS):
        ray, _, _, same = film.at(at, going)
        to = edges.at(Viewpoint(ray.o), leaf, t).p - ray.o
        miss = frame.to_local(ray.d - dr.normalize(to))
        f = mi.Vector2f(miss.x, miss.y)
        # J += (Δf - J Δs) Δsᵀ / |Δs|²
        long = dr.squared_norm(step)
        wrong = dr.select(long > 0, f - before - mi.Vector2f(J @ step), 0) / dr.select(long > 0, long, 1)
        J += mi.Matrix2f(wrong.x * step.x, wrong.x * step.y, wrong.y * step.x, wrong.y * step.y)
        step = mi.Vector2f(-dr.rcp(J) @ f)
        far = dr.max(dr.abs(at + step - mi.Vector2f(pos)))
        going &= same & dr.isfinite(far)
        found |= going & (dr.squared_norm(step) < PRECISION * PRECISION)
        going &= ~found & (far < 2 * most)
        before = f
        at = dr.select(going, at + step, at)
        k += 1
    return at, found & (dr.max(dr.abs(at - pos)) <= most)


@dr.syntax
def _trials(film: _Film, edges: Any, leaf: Any, t: Any, at: Any, low: Any, high: Any, most: Any, rng: Any, active: Any):
    """Random starts in the box until one leads to ``at``: their number is 1 / share of the box, on average."""
    k = mi.UInt32(0)
    going = mi.Bool(active)
    while going & (k < TRIALS):
        u = rng.next_2d()
        pos = mi.Point2f(dr.lerp(low.x, high.x, u.x), dr.lerp(low.y, high.y, u.y))
        m = film.local(pos, going)
        end, found = _solve(film, edges, m, leaf, t, pos, most, going & m.exists)
        going &= ~(found & (dr.max(dr.abs(end - at)) < SAME))
        k += 1
    return mi.Float(dr.maximum(k, 1))


def _search(ctx: Indirect, rng: Any, seed: Any) -> Sight:
    camera, count, edges = ctx.camera, ctx.count, ctx.edges
    low, high = camera.window()
    lane = dr.arange(mi.UInt32, count)
    u_film, u_x, u_y, u_narrow, u_edge, u_near, u_along = lattice(lane, 7, seed)
    pos = ctx.film["chain"].sample((mi.Float(lane) + u_film) / ctx.number, mi.Vector2f(u_x, u_y))
    aperture = rng.next_2d() if camera.kind == "thinlens" else mi.Point2f(0.5)
    time = camera.sensor.shutter_open()
    if camera.sensor.shutter_open_time() > 0:
        time += rng.next_1d() * camera.sensor.shutter_open_time()
    wavelength = rng.next_1d() if mi.is_spectral else 0
    ray, _ = camera.ray(pos, time, wavelength, aperture)
    hit = ctx.integrator.first_hit(ctx.scene, ray, True)
    chain = explore(ctx.scene, rng, ray, hit, longest(ctx.integrator.max_depth), True)
    film = _Film(ctx, chain, aperture, time, wavelength)
    m = film.local(pos, chain.length > 0)

    # A point of an outline near the ray that leaves the chain.
    most = BOX * max(camera.size)
    far = dr.opaque(
        mi.Float, 0.25 * float(dr.norm(ctx.scene.bbox().extents()))
    )  # no literal: it changes when shapes move
    width = most / far * dr.maximum(dr.norm(m.ox + m.dx * far), dr.norm(m.oy + m.dy * far))
    width2 = dr.clip(0.25 * dr.square(width), 1e-8, 1)
    view = Viewpoint(m.ray.o)
    statics = mi.Float(1 if ctx.chains_move else 0)
    query = Query(view=view, statics=statics, lobe=m.ray.d, width2=width2, broad=0.1)
    leaf, pmf = edges.tree.sample(query, u_edge, u_narrow >= query.broad)
    proposal = curve_proposal(edges, view, leaf, m.ray.d, width2)
    t = proposal.sample(u_along, u_near < 0.5)
    pdf = pmf * proposal.pdf(t)
    active = m.exists & (pdf > 0) & dr.isfinite(pdf)

    # Where on the film it is seen, and from where the search could have started.
    at, active = _solve(film, edges, m, leaf, t, pos, most, active)
    active &= camera.inside(at)
    a, b = dr.maximum(at - most, low), dr.minimum(at + most, high)
    trials = _trials(film, edges, leaf, t, at, a, b, most, rng, active)
    end = film.local(at, active)
    density = ctx.number * ctx.film["chain"].pdf(pos) * (b.x - a.x) * (b.y - a.y) / trials * pdf * chain.pdf

    # The outline as it is seen from there. |ds/dt| from the direction along it, across the ray.
    o = end.ray.o
    edge = edges.at(Viewpoint(o), leaf, t)
    r = dr.norm(edge.p - o)
    # A border of the last surface itself, which null lobes pass, is one that the sensor sees directly.
    active &= end.exists & (edge.dt > 0) & (r > OWN * spawn_height(o))
    n = dr.normalize(dr.cross(edge.tangent, end.ray.d))
    along = dr.cross(end.ray.d, n)
    slope = [end.ox + end.dx * r, end.oy + end.dy * r]
    b = mi.Vector2f(*(dr.dot(s, n) for s in slope))
    # Outlines of curved shapes slide when the viewpoint moves.
    slide = [(edges.at(Viewpoint(o + v * DELTA), leaf, t).p - edge.p) / DELTA for v in (end.ox, end.oy)]
    c = mi.Vector2f(*(dr.dot(s - x, along) for s, x in zip(slope, slide)))
    determinant = b.x * c.y - b.y * c.x
    measure = dr.abs(dr.dot(edge.tangent, along) / determinant)  # |ds/dt| / |b|
    # The search may have stopped where it only believed to be near.
    miss = edge.p - o - end.ray.d * r
    u, v = dr.dot(miss, n), dr.dot(miss, along)
    off = mi.Vector2f(u * c.y - v * b.y, v * b.x - u * c.x) / determinant
    active &= dr.squared_norm(off) < 0.25 * SAME * SAME
    return Sight(
        start=pos,
        pos=at,
        ray=end.ray,
        length=chain.length,
        lobes=chain.lobes,
        null=chain.null,
        aperture=aperture,
        β=end.β * (measure / density),
        α=dr.select(chain.null, end.p * (measure / density), 0),
        leaf=leaf,
        t=t,
        n=n,
        r=r,
        found=active & dr.isfinite(measure),
    )
