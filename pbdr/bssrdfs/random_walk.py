"""A walk through the inside of a translucent object, instead of a diffusion profile.

Light that leaves at x_o has been scattered N times on a way of length T and has entered at x_i. Traced against
its flow, the walk begins with the refracted view, scatters and absorbs in free flights, and ends where it leaves
through the boundary, which reflects it back with the probability F of its own angle. Nothing is assumed about the
shape: there is no plane model to fail on thin and curved parts. What enters at x_i is taken to be as diffuse as
with a profile (S_w), so that lamps can be sampled there :cite:`chiang2016practical`.

The contribution depends on the coefficients by σs^N exp(-σt T) Π phase(cosθ), so N, T and the slope of the phase
function are all that a derivative needs, at constant memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from .medium import Medium
from .probe import entry_of
from .semi_infinite import ReflectanceTable

MOST_EVENTS = 1 << 14  # of a walk; what is trapped longer (clear matter, total reflection) is lost
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
    """

    ray: Any
    pi: Any
    weight: Any
    found: Any
    N: Any
    T: Any
    slope: Any


@dataclass
class _State:
    ray: Any
    pi: Any
    β: Any
    events: Any
    N: Any
    T: Any
    slope: Any
    rng: Any
    found: Any
    active: Any


@dr.syntax
def walk(scene: Any, si: Any, medium: Medium, eta: Any, rng: Any, active: Any = True) -> Walk:
    """Follow the light that leaves at ``si`` to where it has entered. Detached.

    Args:
        si: surface interaction x_o, seen from outside. Only hits on ``si.shape`` end flights; other shapes inside
            the object are passed.
        medium: coefficients, a Spectrum each, the same all over the object.
        eta: Float, index of refraction of the boundary.
        rng: with ``next_1d``, ``next_2d``; a generator of the walk's own.
    """
    with dr.suspend_grad():
        shape = si.shape
        σ_s, g = mi.Spectrum(dr.detach(medium.sigma_s)), mi.Spectrum(dr.detach(medium.g))
        σ_t = dr.maximum(mi.Spectrum(dr.detach(medium.sigma_a)) + σ_s, THINNEST)
        cos_i = dr.maximum(mi.Frame3f.cos_theta(si.wi), 0)
        _, cos_t, _, eta_ti = mi.fresnel(cos_i, eta)
        d = si.to_world(mi.refract(si.wi, cos_t, eta_ti))
        d = dr.normalize(d - si.n * (2 * dr.maximum(dr.dot(d, si.n), 0)))  # where a smooth normal would lead out
        s = _State(
            ray=si.spawn_ray(d),
            pi=dr.zeros(mi.PreliminaryIntersection3f),
            β=mi.Spectrum(1),
            events=mi.UInt32(0),
            N=mi.UInt32(0),
            T=mi.Float(0),
            slope=mi.Spectrum(0),
            rng=rng,
            found=mi.Bool(False),
            active=mi.Bool(active),
        )
        while dr.hint(s.active, label="pbdr walk"):
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
            phase = _henyey_greenstein(g, cos)
            passed *= dr.select(hit, 1, phase)
            s.β *= dr.select(hit, passed, σ_s * passed) / dr.sum(share * dr.select(hit, passed, σ_t * passed))
            s.slope += dr.select(hit, 0, _henyey_greenstein_slope(g, cos))
            s.N += dr.select(hit, 0, 1)

            # At the boundary: through it, or back. Shapes inside the object are passed.
            x = pi.compute_surface_interaction(s.ray, mi.RayFlags.Minimal, s.active & hit)
            boundary = hit & (pi.shape == shape)
            outward = dr.dot(s.ray.d, x.n)
            F = mi.fresnel(-dr.maximum(outward, 0), eta)[0]
            through = boundary & (s.rng.next_1d() >= F)
            back = s.ray.d - x.n * (2 * outward)
            at_boundary = x.spawn_ray(dr.select(boundary, back, s.ray.d))
            inside = mi.Ray3f(s.ray.o + s.ray.d * t, turned, s.ray.time, s.ray.wavelengths)

            kept = dr.minimum(dr.max(s.β) / ROULETTE, 1)
            lost = s.rng.next_1d() >= kept
            s.events += 1
            lost |= (boundary & (outward <= 0)) | (s.events >= MOST_EVENTS)
            s.found = through & ~lost & (outward > 0)
            s.β /= kept
            s.pi = pi
            s.active &= ~lost & ~through
            s.ray = dr.select(s.active, dr.select(hit, at_boundary, inside), s.ray)
        return Walk(s.ray, s.pi, s.β, s.found, s.N, s.T, s.slope)


def log_weight(medium: Medium, path: Walk) -> Any:
    """Logarithm of what a walk carries, up to a constant; attached to the coefficients."""
    σ_s = mi.Spectrum(medium.sigma_s)
    value = dr.log(dr.maximum(σ_s, 1e-20)) * mi.Float(path.N) - (mi.Spectrum(medium.sigma_a) + σ_s) * path.T
    return value + mi.Spectrum(medium.g) * path.slope


def _henyey_greenstein(g: Any, cos: Any) -> Any:
    """Density over the cosine, times 2."""
    return (1 - dr.square(g)) / dr.power(1 + dr.square(g) - 2 * g * cos, 1.5)


def _henyey_greenstein_slope(g: Any, cos: Any) -> Any:
    """∂/∂g of its logarithm."""
    return -2 * g / (1 - dr.square(g)) - 3 * (g - cos) / (1 + dr.square(g) - 2 * g * cos)


def _henyey_greenstein_sample(g: Any, u: Any) -> Any:
    """Cosine of the angle of deflection."""
    flat = dr.abs(g) < 1e-3
    safe = dr.select(flat, 1, g)
    ratio = (1 - dr.square(safe)) / (1 - safe + 2 * safe * u)
    return dr.clip(dr.select(flat, 2 * u - 1, (1 + dr.square(safe) - dr.square(ratio)) / (2 * safe)), -1, 1)
