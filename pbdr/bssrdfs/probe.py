"""Where light that leaves at one point has entered: exit-point sampling by probe rays.

:cite:`king2013bssrdf` A disk around x_o is perpendicular to one of three axes (normal, two tangents).
A radius from the profile of one channel and an angle make a point of it, and the probe through that
point along the axis meets the object wherever it does. Its density per unit of area is the mixture

    p(x) = Σ_axis Σ_c P_axis P_c pdf_c(r_axis) |n_x · axis|,   |x - x_o| < r_c,

with r_axis the distance of x seen along the axis. Each term is 0 beyond the sphere of radius r_c that
bounds the probes of its channel. Of all hits one is kept, with probability ∝ R / p.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

AXES = (0.5, 0.25, 0.25)  # probabilities: normal, tangent, bitangent
QUANTILE = 0.999  # of the radius that bounds the probes
MOST_HITS = 32


@dataclass
class EntryPoint:
    """A point of the object, one lane each.

    Attributes:
        ray, pi: the hit; ``pi.compute_surface_interaction(ray)`` gives the rest.
        weight: Spectrum, R(|x - x_o|) over the density of x: the mean of ``weight * f(x)`` is
            ∫ R f dA over the object (within the bound, 0.999 of what is sampled).
        found: Bool.
    """

    ray: Any
    pi: Any
    weight: Any
    found: Any


@dataclass
class _State:
    ray: Any
    left: Any  # Float: length of the probe ahead
    u: Any
    best_ray: Any
    best_pi: Any
    best: Any  # Spectrum: R / p of the hit kept
    chance: Any  # Float: its mean
    total: Any  # Float: sum of those of all hits
    hits: Any
    active: Any


@dr.syntax
def sample_entry(
    scene: Any, si: Any, profile: Any, u_axis: Any, u_disk: Any, u_keep: Any, active: Any = True, axes: Any = AXES
) -> EntryPoint:
    """Sample a point x_i for the light that leaves at ``si``.

    Args:
        scene: what the probes meet; only hits on ``si.shape`` count.
        si: surface interaction x_o; its shading frame gives the axes. The shape should be closed.
        profile: diffusion profile at x_o, one entry per channel.
        u_axis, u_keep: uniform numbers; u_disk: Point2f.
        axes: probabilities of normal, tangent and bitangent.

    Detached: derivatives come from evaluating R again at the point that was found.
    """
    with dr.suspend_grad():
        frame, origin = dr.detach(si.sh_frame), mi.Point3f(dr.detach(si.p))
        bound = getattr(profile, "bound", profile.sample)(mi.Float(QUANTILE))
        channels = len(mi.Spectrum(0))
        # One number for axis and channel.
        in_tangent, in_bitangent = u_axis >= axes[0], u_axis >= axes[0] + axes[1]
        axis = dr.select(in_bitangent, frame.t, dr.select(in_tangent, frame.s, frame.n))
        side = dr.select(in_tangent, frame.n, frame.s)
        start = dr.select(in_bitangent, axes[0] + axes[1], dr.select(in_tangent, axes[0], 0))
        share = dr.select(in_bitangent, axes[2], dr.select(in_tangent, axes[1], axes[0]))
        channel = mi.UInt32(dr.clip((u_axis - start) / share * channels, 0, channels - 1))
        r = mi.Float(_of_channel(profile, channel).sample(mi.Float(u_disk.x)))
        reach = entry_of(bound, channel)
        s, c = dr.sincos(2 * dr.pi * u_disk.y)
        offset = r * (c * side + s * dr.cross(axis, side))
        half = dr.safe_sqrt(dr.square(reach) - dr.square(r))
        probe = mi.Ray3f(origin + offset - axis * half, axis, si.time, si.wavelengths)

        state = _State(
            ray=probe,
            left=2 * half,
            u=mi.Float(u_keep),
            best_ray=mi.Ray3f(probe),
            best_pi=dr.zeros(mi.PreliminaryIntersection3f),
            best=mi.Spectrum(0),
            chance=mi.Float(0),
            total=mi.Float(0),
            hits=mi.UInt32(0),
            active=mi.Bool(active) & (r < reach),
        )
        own = mi.ShapePtr(si.shape)
        while dr.hint(state.active, max_iterations=MOST_HITS, label="pbdr probe"):
            probe = mi.Ray3f(state.ray)
            probe.maxt = state.left
            pi = scene.ray_intersect_preliminary(probe, coherent=False, reorder=False, active=state.active)
            x = pi.compute_surface_interaction(probe, mi.RayFlags.Minimal, state.active)
            hit = state.active & pi.is_valid()
            density = entry_density(x.p - origin, x.n, frame, profile, bound, axes)
            weight = profile.eval(mi.Float(dr.norm(x.p - origin))) / dr.maximum(density, 1e-30)
            weight = mi.Spectrum(dr.select(hit & (pi.shape == own) & (density > 0), weight, 0))
            chance = dr.mean(weight)
            # Weighted reservoir; the number that decides is used again.
            state.total += chance
            p = dr.select(state.total > 0, chance / state.total, 0)
            keep = state.u < p
            state.u = dr.clip(dr.select(keep, state.u / p, (state.u - p) / (1 - p)), 0, dr.one_minus_epsilon(mi.Float))
            state.best_ray[keep] = state.ray
            state.best_pi[keep] = pi
            state.best[keep] = weight
            state.chance[keep] = chance
            onward = x.spawn_ray(probe.d)
            state.left[hit] = state.left - dr.dot(onward.o - probe.o, probe.d)
            state.ray[hit] = mi.Ray3f(onward.o, probe.d, probe.time, probe.wavelengths)
            state.hits += 1
            state.active &= hit & (state.left > 0) & (state.hits < MOST_HITS)
        weight = dr.select(state.chance > 0, state.best * (state.total / state.chance), 0)
        return EntryPoint(state.best_ray, state.best_pi, weight, state.chance > 0)


def entry_density(d: Any, n: Any, frame: Any, profile: Any, bound: Any, axes: Any = AXES) -> Any:
    """Density per unit of area, summed over hits, of a point at ``d`` from x_o with normal ``n``; detached."""
    d, n = frame.to_local(mi.Vector3f(d)), frame.to_local(mi.Vector3f(n))
    squared, total = dr.square(d), mi.Float(0)
    within = mi.Spectrum(dr.select(dr.squared_norm(d) < dr.square(bound), mi.Spectrum(1), 0))
    seen = (squared.x + squared.y, squared.y + squared.z, squared.x + squared.z)
    for share, r2, cosine in zip(axes, seen, (n.z, n.x, n.y)):
        if share > 0:
            # The disk point is drawn with `pdf` per unit of its area.
            total += share * dr.mean(mi.Spectrum(profile.pdf(dr.sqrt(r2))) * within) * dr.abs(cosine)
    return total


def _of_channel(profile: Any, channel: Any) -> Any:
    """The profile of one channel in each lane: a third of the work."""
    one = copy.copy(profile)
    for name, value in vars(profile).items():
        if dr.is_array_v(value) and dr.depth_v(value) > 1:
            setattr(one, name, entry_of(dr.detach(value), channel))
    return one


def entry_of(values: Any, channel: Any) -> Any:
    """The value of one channel of a Spectrum (or the Float that stands for all of them)."""
    values = mi.Spectrum(values)
    chosen = mi.Float(values[0])
    for k in range(1, len(values)):
        chosen = dr.select(channel == k, values[k], chosen)
    return chosen
