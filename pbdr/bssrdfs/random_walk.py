"""A walk through the inside of a translucent object, instead of a diffusion profile.

Light that leaves at x_o has been scattered N times on a way of length T and has entered at x_i. Traced against
its flow, the walk begins with the refracted view, scatters and absorbs in free flights, and ends where it leaves
through the boundary, which reflects it back with the probability F of its own angle (to a facet, where the boundary is
rough). Nothing is assumed about the shape: there is no plane model to fail on thin and curved parts. What enters at x_i
is taken to be as diffuse as with a profile (S_w), so that lamps can be sampled there :cite:`chiang2016practical`.

The contribution depends on the coefficients by σs^N exp(-σt T) Π phase(cosθ), so N, T and the slope of the phase
function are all that a derivative needs, at constant memory (that of the shape: `integrators.walk_motion`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from .medium import Medium
from .probe import entry_of
from .rough_boundary import SMOOTH, facet_slope, sample_facet
from .semi_infinite import ReflectanceTable

MOST_EVENTS = 1 << 14  # of a walk; what is trapped longer (clear matter, total reflection) is lost
BESIDE = 3e-6  # distance from the surface, relative to coordinates, at which a ray starts there
ROULETTE = 0.25  # throughput below which a walk may end
THINNEST = 1e-8  # least extinction


class RandomWalk:
    """The matter of a walk. Stands where a profile stands, without a radius to sample.

    Args:
        medium: `Medium`, at the point where the light leaves.
        table: `ReflectanceTable` of the boundary.
    """

    def __init__(self, medium: Medium, table: ReflectanceTable | None = None):
        self.medium, self.table = medium, table

    @classmethod
    def of_albedo(cls, albedo: Any, radius: Any, eta: Any, table: ReflectanceTable) -> RandomWalk:
        """Isotropic scattering of mean free path ``radius``; a half-space of it reflects ``albedo``."""
        alpha, extinction = table.scattering(albedo), dr.rcp(radius)
        return cls(Medium((1 - alpha) * extinction, alpha * extinction, albedo * 0, albedo * 0 + eta), table)

    def effective_albedo(self) -> Any:
        """A of a half-space (of the isotropic matter with the same σs', where g is not 0)."""
        return self.table.albedo(self.medium.reduced_albedo)


@dataclass
class Walk:
    """Where a walk has ended, one lane each.

    Attributes:
        ray, pi: the hit from inside through which the light has entered.
        weight: Spectrum.
        found: Bool.
        N: UInt32, scattering events.
        T: Float, length.
        slope: Spectrum, ∂/∂g of Σ log phase(cosθ).
        roughness: Float, ∂/∂α of the logarithm of the density of all facets that were met.
    """

    ray: Any
    pi: Any
    weight: Any
    found: Any
    N: Any
    T: Any
    slope: Any
    roughness: Any


class Matter:
    """What a walk is in, one entry per lane, detached. A plain class: Dr.Jit would take a dataclass for loop state.

    Args:
        shape: only hits on this one end flights; other shapes inside the object are passed.
        medium: coefficients, a Spectrum each, the same all over the object.
        eta, alpha: Floats, index of refraction and roughness of the boundary.
    """

    def __init__(self, shape: Any, medium: Medium, eta: Any, alpha: Any):
        self.shape = shape
        self.σ_s, self.g = mi.Spectrum(dr.detach(medium.sigma_s)), mi.Spectrum(dr.detach(medium.g))
        self.σ_t = dr.maximum(mi.Spectrum(dr.detach(medium.sigma_a)) + self.σ_s, THINNEST)
        self.eta, self.alpha = dr.detach(eta), dr.detach(alpha)


@dataclass
class WalkState:
    """A walk under way."""

    ray: Any
    pi: Any
    β: Any
    events: Any
    N: Any
    T: Any
    slope: Any
    roughness: Any
    rng: Any
    found: Any
    active: Any


class Event:
    """What has ended a flight.

    Attributes:
        p: where.
        scattered, reflected, through: Bool, in free flight or at the boundary; none of them where another shape was passed
            or the walk was lost.
        n, m: outward normal of the boundary, and of the facet (toward the inside).
        folded: Bool, what the facet reflected was turned back into the matter.
    """

    def __init__(self, **fields: Any):
        self.__dict__.update(fields)


def begin(si: Any, matter: Matter, rng: Any, active: Any) -> tuple[WalkState, Any]:
    """The refracted view at ``si``, and the facet that refracts it."""
    view, n = si.to_world(si.wi), mi.Vector3f(si.n)
    m = sample_facet(mi.Vector3f(si.sh_frame.n), view, matter.alpha, rng.next_2d())
    cos = dr.maximum(dr.dot(view, m), 0)
    _, cos_t, _, eta_ti = mi.fresnel(cos, matter.eta)
    d = m * (cos * eta_ti + cos_t) - view * eta_ti
    outward = dr.dot(d, n)
    rough = matter.alpha >= SMOOTH
    d = dr.normalize(d - n * (2 * dr.maximum(outward, 0)))  # where a smooth normal would lead out
    state = WalkState(
        ray=_from_surface(si, d),
        pi=dr.zeros(mi.PreliminaryIntersection3f),
        β=mi.Spectrum(1),
        events=mi.UInt32(0),
        N=mi.UInt32(0),
        T=mi.Float(0),
        slope=mi.Spectrum(0),
        roughness=facet_slope(mi.Vector3f(si.sh_frame.n), view, m, matter.alpha),
        rng=rng,
        found=mi.Bool(False),
        active=mi.Bool(active) & (~rough | (outward < 0)),
    )
    return state, m


def _from_surface(x: Any, d: Any) -> Any:
    """A ray that starts so little beside a surface that even short flights keep their direction. Where it meets the same
    surface again, it passes it from the side of the normal."""
    ray = x.spawn_ray(d)
    off = BESIDE * dr.maximum(dr.max(dr.abs(x.p)), 1e-6)
    ray.o = x.p + mi.Vector3f(x.n) * dr.mulsign(off, dr.dot(x.n, d))
    return ray


def advance(scene: Any, matter: Matter, s: WalkState) -> Event:
    """One flight, in place."""
    σ_s, σ_t, g = matter.σ_s, matter.σ_t, matter.g
    # The colour that chooses: in proportion to what it still carries.
    share = s.β / dr.maximum(dr.sum(s.β), 1e-30)
    u = s.rng.next_1d()
    hero = mi.UInt32(0)
    below = mi.Float(0)
    for c in range(len(share) - 1):
        below += share[c]
        hero = dr.select(u >= below, c + 1, hero)
    t = -dr.log(1 - s.rng.next_1d()) / entry_of(σ_t, hero)
    flight = mi.Ray3f(s.ray)
    flight.maxt = t
    pi = scene.ray_intersect_preliminary(flight, coherent=False, reorder=False, active=s.active)
    hit = pi.is_valid()
    t = dr.select(hit, pi.t, t)
    s.T += t
    passed = dr.exp(-σ_t * t)

    # In free flight: a new direction, with the mean cosine of the colour that chose.
    uv = s.rng.next_2d()
    cos = _henyey_greenstein_sample(entry_of(g, hero), uv.x)
    frame = mi.Frame3f(s.ray.d)
    sin_phi, cos_phi = dr.sincos(2 * dr.pi * uv.y)
    sin = dr.safe_sqrt(1 - dr.square(cos))
    turned = frame.s * (sin * cos_phi) + frame.t * (sin * sin_phi) + frame.n * cos
    phase = henyey_greenstein(g, cos)
    passed *= dr.select(hit, 1, phase)
    s.β *= dr.select(hit, passed, σ_s * passed) / dr.sum(share * dr.select(hit, passed, σ_t * passed))
    s.slope += dr.select(hit, 0, _henyey_greenstein_slope(g, cos))
    s.N += dr.select(hit, 0, 1)

    # At the boundary: through a facet of it, or back. Shapes inside the object are passed.
    x = pi.compute_surface_interaction(s.ray, mi.RayFlags.Minimal, s.active & hit)
    boundary = hit & (pi.shape == matter.shape)
    n = mi.Vector3f(x.n)
    outward = dr.dot(s.ray.d, n)
    inside = boundary & (outward > 0)
    m = sample_facet(-n, -s.ray.d, matter.alpha, uv)
    facing = dr.dot(s.ray.d, m)  # negative
    F = mi.fresnel(dr.minimum(facing, 0), matter.eta)[0]
    through = inside & (s.rng.next_1d() >= F)
    s.roughness += dr.select(inside, facet_slope(-n, -s.ray.d, m, matter.alpha), 0)
    back = s.ray.d - m * (2 * facing)
    leads_out = dr.dot(back, n)
    folded = leads_out > 0
    back = dr.select(folded, back - n * (2 * leads_out), back)
    at_boundary = _from_surface(x, dr.select(inside, back, s.ray.d))
    free = mi.Ray3f(s.ray.o + s.ray.d * t, turned, s.ray.time, s.ray.wavelengths)

    kept = dr.minimum(dr.max(s.β) / ROULETTE, 1)
    lost = s.rng.next_1d() >= kept
    s.events += 1
    lost |= s.events >= MOST_EVENTS
    s.found = through & ~lost
    s.β /= kept
    s.pi = pi
    s.active &= ~lost & ~through
    p = dr.select(hit, x.p, free.o)
    event = Event(
        p=p,
        scattered=~hit & ~lost,
        reflected=inside & ~through & ~lost,
        through=through & ~lost,
        n=n,
        m=m,
        folded=folded,
    )
    s.ray = dr.select(s.active, dr.select(hit, at_boundary, free), s.ray)
    return event


@dr.syntax
def walk(scene: Any, si: Any, matter: Matter, rng: Any, active: Any = True) -> Walk:
    """Follow the light that leaves at ``si`` (seen from outside) to where it has entered. Detached.

    Args:
        rng: with ``next_1d``, ``next_2d``; a generator of the walk's own.
    """
    with dr.suspend_grad():
        s, _ = begin(si, matter, rng, active)
        while dr.hint(s.active, label="pbdr walk"):
            advance(scene, matter, s)
        return Walk(s.ray, s.pi, s.β, s.found, s.N, s.T, s.slope, s.roughness)


def log_weight(medium: Medium, alpha: Any, path: Walk) -> Any:
    """Logarithm of what a walk carries, up to a constant; attached to the coefficients and the roughness."""
    σ_s = mi.Spectrum(medium.sigma_s)
    value = dr.log(dr.maximum(σ_s, 1e-20)) * mi.Float(path.N) - (mi.Spectrum(medium.sigma_a) + σ_s) * path.T
    return value + mi.Spectrum(medium.g) * path.slope + alpha * path.roughness


def henyey_greenstein(g: Any, cos: Any) -> Any:
    """Density over the cosine, times 2."""
    x = 1 + dr.square(g) - 2 * g * cos
    return (1 - dr.square(g)) / (x * dr.sqrt(x))


def _henyey_greenstein_slope(g: Any, cos: Any) -> Any:
    """∂/∂g of its logarithm."""
    return -2 * g / (1 - dr.square(g)) - 3 * (g - cos) / (1 + dr.square(g) - 2 * g * cos)


def _henyey_greenstein_sample(g: Any, u: Any) -> Any:
    """Cosine of the angle of deflection."""
    flat = dr.abs(g) < 1e-3
    safe = dr.select(flat, 1, g)
    ratio = (1 - dr.square(safe)) / (1 - safe + 2 * safe * u)
    return dr.clip(dr.select(flat, 2 * u - 1, (1 + dr.square(safe) - dr.square(ratio)) / (2 * safe)), -1, 1)
