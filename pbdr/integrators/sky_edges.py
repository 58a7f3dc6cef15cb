r"""The border of the sun, and the horizon: jumps of what comes from infinity, which move with the sky.

The directions within the angle r from an axis c (the sun's disc; r = π/2: the sky above the horizon) have a border
ω(φ) = c cos r + t(φ) sin r, with t ⊥ c, which moves with the speed v = -∂∠(ω, c)/∂θ = ċ·t. At a vertex of a path,

    dL_o/dθ ⊃ ∫ f(ω_o, ω) V(ω) [L_inside - L_outside] v sin r dφ,

with V the visibility of the sky. Nothing else of it moves: what hides the sun is at rest, or has outlines of its own.
The points φ and φ + π of a circle have opposite speeds, and are taken together: what is left is how much more
light one of them gives, which is all that counts outside of penumbrae. On the film of a sensor that sees the sky,

    dI/dθ ⊃ ∫ k(s) V [L_inside - L_outside] (∂s/∂θ · n) |ds/dφ| dφ.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import drjit as dr
import mitsuba as mi

from ..core.errors import warn_once
from ..sampling.film_guide import FilmGuide
from ..sampling.lattice import lattice
from ..sampling.paired import lane_sampler
from ..scene.sensors import cameras, sensor_moves
from ..scene.sky import SkyCircle, sky_circles
from .boundary import EdgeRecord, scaled
from .camera_walk import walk
from .indirect import Indirect
from .path_state import SceneTraits
from .primary_edges import OUTLINE, sample_count
from .sliding_film import first_point


def sky_records(integrator: Any, scene: Any, sensor: Any, seed: Any, spp: int) -> Iterable[Iterable[EdgeRecord]]:
    """Samplers of the borders of a sky that move, in the scene or on the film; nothing if there are none."""
    turning = sensor_moves(sensor)
    circles = sky_circles(scene)
    moving = [c for c in circles if c.moves]
    traits = SceneTraits(scene)
    if circles and traits.dirac and (moving or turning or traits.moving):
        warn_once(
            "The border of the sun and the horizon of a sunsky are not sampled where they are seen in mirrors, through"
            " smooth glass or behind a mask: give those a small roughness, or use an envmap."
        )
    if not circles or not (moving or turning):
        return
    if any(c.sun and c.has_limb for c in moving):
        warn_once(
            "The derivative by the place of a sunsky's sun with complex_sun = true has a very large variance, for its"
            " radiance falls infinitely steep to the rim: set complex_sun = false, which has the same power."
        )
    primary = integrator.samples(getattr(integrator, "sppp", None), spp, sensor, 1)
    if primary > 0 and not integrator.hide_emitters:
        lanes = OUTLINE * 2 / min(sensor.film().crop_size())
        for seed_k, spp_k, share in integrator.passes(sensor, seed, primary, lanes):
            yield scaled(_seen_records(integrator, scene, sensor, circles if turning else moving, seed_k, spp_k), share)
    indirect = integrator.samples(getattr(integrator, "sppi", None), spp, sensor, 2)
    if moving and indirect > 0 and integrator.max_depth != 1:
        films: dict = {}
        for seed_k, spp_k, share in integrator.passes(sensor, seed, indirect, 1):
            yield scaled(_met_records(integrator, scene, sensor, moving, seed_k, spp_k, films), share)


def _stream(seed: Any, index: int) -> Any:
    stream = mi.sample_tea_32(mi.UInt32(seed) ^ 0x5C4D3E2F, mi.UInt32(index))[0]
    dr.make_opaque(stream)
    return stream


# ---------------------------------------------------------------- on the film


def _seen_records(integrator, scene, sensor, circles, seed, spp):
    for k, camera in enumerate(cameras(sensor)):
        if not camera.is_point:  # all pixels look in one direction
            continue
        for j, circle in enumerate(circles):
            record = _seen(integrator, scene, camera, circle, _stream(seed, 2 * k + j), sample_count(camera, spp))
            with dr.resume_grad():
                attached = dr.grad_enabled(record.speed)
            if attached:
                yield record


def _seen(integrator: Any, scene: Any, camera: Any, circle: SkyCircle, seed: Any, count: int) -> EdgeRecord:
    """The border as the sensor sees it: one lane per sample."""
    with dr.suspend_grad():
        rng = lane_sampler(seed, count)
        aperture = rng.next_2d() if camera.kind == "thinlens" else mi.Point2f(0.5)
        lens, time = camera.lens_point(aperture), _time(camera, rng)
        axis, cos, sin = circle.place()
        axis, frame = dr.detach(axis), mi.Frame3f(dr.detach(axis))
        s, c = dr.sincos((dr.arange(mi.Float, count) + rng.next_1d()) * (dr.two_pi / count))
        t, along = frame.to_world(mi.Vector3f(c, s, 0)), frame.to_world(mi.Vector3f(-s, c, 0))
        ω, outward = axis * cos + t * sin, t * cos - axis * sin
        pos, z = camera.project_direction(ω, lens)
        ds = camera.turn_on_film(ω, along * sin)
        normal = mi.Vector2f(-ds.y, ds.x)
        normal *= dr.sign(dr.dot(normal, camera.turn_on_film(ω, outward)))
        active = (z > 1e-6) & camera.inside(pos)
        ray, weight = camera.ray(pos, time, rng.next_1d() if mi.is_spectral else 0, aperture)
        hit = integrator.first_hit(scene, ray, active)
        active &= ~hit.is_valid()
        jump = circle.jump(axis, cos, sin, t, ray, active)
        value = dr.select(active, jump * weight * (dr.two_pi / count), 0)
    if sensor_moves(camera.sensor):  # each of its numbers gets its sum by a kernel of its own
        dr.eval(ω, outward, t, normal, pos, value, active, aperture, ray.wavelengths)
    with dr.resume_grad():
        now, _, _ = circle.place()
        moving = camera.attached()
        moved, _ = moving.project_direction(
            dr.replace_grad(ω, ω + outward * dr.dot(now, t)), moving.lens_point(aperture)
        )
        speed = dr.dot(moved, normal)
    return EdgeRecord(pos, value, mi.Float(0), ray.wavelengths, active, speed)


# ---------------------------------------------------------------- from the vertices of paths


def _met_records(integrator, scene, sensor, circles, seed, spp, films):
    moves, sliding = sensor_moves(sensor), integrator.sliding_cameras(scene, sensor)
    for k, camera in enumerate(cameras(sensor)):
        guides = integrator.guides_of(sensor, k)
        ctx = Indirect(integrator, scene, camera, None, spp, moves, guides, {}, sliding)
        for j, circle in enumerate(circles):
            name = "sun" if circle.sun else "horizon"
            if (k, j) not in films:
                films[k, j] = _film(camera, guides, name)
            record = _met(ctx, circle, films[k, j], _stream(seed, 1000 + 2 * k + j))
            with dr.resume_grad():
                attached = dr.grad_enabled(record.speed)
            if attached:
                yield record


def _film(camera: Any, guides: dict, name: str) -> Any:
    """Where samples start; what matters most are penumbrae, which move little from render to render."""
    if name not in guides:
        guides[name] = FilmGuide.over([n + 2 * camera.border for n in camera.size])
    low, high = camera.window()
    with dr.suspend_grad():
        return guides[name].begin(dr.zeros(mi.Float, 6), low, high - low)


def _met(ctx: Indirect, circle: SkyCircle, film: Any, seed: Any) -> EdgeRecord:
    """The border seen from a vertex of a path, at two opposite points: one lane per sample."""
    camera, scene, count = ctx.camera, ctx.scene, ctx.count
    with dr.suspend_grad():
        rng, lane = lane_sampler(seed, count), dr.arange(mi.UInt32, count)
        u_film, u_x, u_y, u_stop, u_around = lattice(lane, 5, seed)
        pos = film.sample((lane + u_film) / count, mi.Vector2f(u_x, u_y))
        aperture = rng.next_2d() if camera.kind == "thinlens" else mi.Point2f(0.5)
        ray, weight = camera.ray(pos, _time(camera, rng), rng.next_1d() if mi.is_spectral else 0, aperture)
        skip, share = ctx.rough_vertex(u_stop)
        hit = ctx.integrator.first_hit(scene, ray, True)
        held = first_point(ctx.sliding, pos).held if ctx.sliding else None
        end = walk(scene, ctx.subsurface, rng, ray, hit, skip, ctx.deepest, True, held)
        active = mi.Bool(end.found)
        si = end.pi.compute_surface_interaction(end.ray, mi.RayFlags.All, active)
        bsdf = si.bsdf(end.ray)
        si.wi = dr.select(end.entered, mi.Vector3f(0, 0, 1), si.wi)  # a probe has come from any side
        visit = None
        if ctx.subsurface is not None:
            visit = ctx.subsurface.visit(si, bsdf, end.entered, mi.Float(0), active)

        axis, cos, sin = circle.place()
        axis = dr.detach(axis)
        s, c = dr.sincos(dr.two_pi * u_around)
        t = mi.Frame3f(axis).to_world(mi.Vector3f(c, s, 0))
        total = mi.Spectrum(0)
        for side in (1, -1):
            ω = axis * cos + t * (side * sin)
            wo = si.to_local(ω)
            f = bsdf.eval(ctx.context, si, wo, active)
            if visit is not None:
                f, _ = visit.evaluate(wo, f, mi.Float(1))
            on = active & (dr.max(mi.unpolarized_spectrum(f)) > 0)
            on &= ~scene.ray_test(si.spawn_ray(ω), coherent=False, active=on)
            total += dr.select(on, f * circle.jump(axis, cos, sin, t * side, ray, on), 0) * side
        value = total * end.β * weight * (dr.pi * sin / (count * share * film.pdf(pos)))
        active &= dr.all(dr.isfinite(mi.unpolarized_spectrum(value)))
        value = dr.select(active, value, 0)

    # The adjoint takes several kernels: none of them must trace the paths again.
    dr.eval(pos, value, t, ray.wavelengths, active)
    with dr.resume_grad():
        now, _, _ = circle.place()
        speed = dr.dot(now, t)

    def learn(worth: Any) -> None:
        film.learn(pos, worth, count)

    return EdgeRecord(pos, value, mi.Float(0), ray.wavelengths, active, speed, learn=learn)


def _time(camera: Any, rng: Any) -> Any:
    time = mi.Float(camera.sensor.shutter_open())
    if camera.sensor.shutter_open_time() > 0:
        time += rng.next_1d() * camera.sensor.shutter_open_time()
    return time
