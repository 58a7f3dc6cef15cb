"""Primary edge sampling: what the camera sees directly changes where outlines move.

For a film position s and an outline s(t) that moves with the parameter θ :cite:`li2018differentiable`

    dI/dθ ⊃ ∫ k(s) [L(s - εn) - L(s + εn)] (∂s/∂θ · n) |ds/dt| dt,    n |ds/dt| = perp(ds/dt)

with k the reconstruction filter. Outlines are chosen by their length on the film, samples are
stratified along them, and both sides are traced with the same random numbers.
"""

from __future__ import annotations

from functools import partial

import drjit as dr
import mitsuba as mi

from ..geometry.rounding import apart, nearer, past_a_slit, past_the_rim, transmits
from ..geometry.silhouettes import edge_sets
from ..sampling.discrete import DeviceDistribution
from ..sampling.lattice import EvenNumbers
from ..sampling.paired import paired_sampler
from ..scene.sensors import Camera, cameras, sensor_moves
from .bend_light import BendLight
from .boundary import EdgeRecord
from .sliding_film import first_point, outline_record

# Distance of the two rays from the outline, share of the film side: 6 ulp of float32. The
# intersection of a ray and a curved shape is less exact.
OFFSET, CURVED = 4e-7, 2e-6
OUTLINE = 8  # assumed length of the outlines, in units of film width + height
NEARER = 3e-5  # relative distance by which a surface in front must be nearer
PILOTS = 8192  # points that ask what is visible before the samples are distributed
HIDDEN = 0.1  # share of the sampling weight that an outline keeps which no pilot sees


def sample_count(camera: Camera, spp: float) -> int:
    """Edge samples for ``spp`` samples per pixel *of outline*, not of the film."""
    return max(64, int(spp * OUTLINE * (camera.size[0] + camera.size[1])))


def primary_records(integrator, scene, sensor, seed, spp, cache, forward=False):
    """Sample every set of moving edges through every camera of ``sensor``."""
    sliding = integrator.sliding_cameras(scene, sensor)
    # An outline at rest borders what slides behind it.
    sets = edge_sets(scene, cache, statics=sensor_moves(sensor) or bool(sliding))
    if forward:
        for edges in sets:
            edges.hold_tangents()
    for k, camera in enumerate(cameras(sensor)):
        for j, edges in enumerate(sets):
            # Opaque: a literal would be compiled into the kernel.
            stream = mi.sample_tea_32(mi.UInt32(seed) ^ 0xFFFFFFFF, mi.UInt32(2 * k + j))[0]
            dr.make_opaque(stream)
            record, slid = _trace_edges(integrator, scene, camera, sliding, edges, stream, sample_count(camera, spp))
            with dr.resume_grad():
                attached = dr.grad_enabled(record.speed)
            if attached:
                yield record
            del record  # nothing attached may be left in forward mode
            if slid is not None:
                yield slid


def _trace_edges(integrator, scene, camera, sliding, edges, seed, count):
    with dr.suspend_grad():
        weights = edges.weights(camera)
        if camera.kind != "thinlens":
            weights *= dr.lerp(HIDDEN, 1, _visible_share(integrator, scene, camera, edges))
        distribution = DeviceDistribution(weights)
        rng = paired_sampler(seed, count)
        lane = dr.arange(mi.UInt32, 2 * count)
        sign = dr.select((lane & 1) == 0, mi.Float(1), mi.Float(-1))

        # A point on an outline, and where it is on the film.
        number = dr.opaque(mi.Float, count)  # a literal would be compiled into the kernels
        u = (mi.Float(lane >> 1) + rng.next_1d()) / number
        aperture = rng.next_2d() if camera.kind == "thinlens" else mi.Point2f(0.5)
        lens = camera.lens_point(aperture)
        row, pmf, u = distribution.sample(u)
        edge = edges.sample(camera, row, u, lens, scene)
        pos, z = camera.project(edge.p, lens)
        ds = camera.project_tangent(edge.p, edge.tangent, lens)
        normal = mi.Vector2f(-ds.y, ds.x)
        length = dr.norm(normal)
        active = (pmf > 0) & (edge.dt > 0) & (length > 0) & camera.inside(pos)
        if camera.is_point:
            active &= z > camera.near

        # One ray on each side.
        across = dr.normalize(dr.cross(edge.tangent, camera.view(lens).toward(edge.p)))
        scale = dr.norm(camera.project_tangent(edge.p, across, lens))  # pixels per unit across the outline
        offset = (OFFSET if edge.faces else CURVED) * max(camera.size)
        offset = dr.maximum(offset, apart(edge, camera.origin) * scale)
        if edge.faces and transmits(scene):
            inward = dr.dot(camera.project_tangent(edge.p, edge.inside, lens), normal) * sign < 0
            offset = past_the_rim(edge, inward, offset / scale) * scale
        time = camera.sensor.shutter_open()
        if camera.sensor.shutter_open_time() > 0:
            time += rng.next_1d() * camera.sensor.shutter_open_time()
        wavelength = rng.next_1d() if mi.is_spectral else 0
        side = pos - normal * (sign * offset / length)
        if edge.faces:
            # Where a surface only bends, a face may be seen at grazing angle: the ray is aimed at it.
            across = edge.face_toward(lambda to: -sign * dr.dot(camera.project_tangent(edge.p, to, lens), normal))
            side = dr.select(edge.contour, side, camera.project(edge.p + across, lens)[0])
        ray, ray_weight = camera.ray(side, time, wavelength, aperture)
        hit = integrator.first_hit(scene, ray, active)
        # Past a slit that is none for rays.
        closed, reach = past_a_slit(edge, ray, hit, active)
        reach = dr.maximum(offset, reach * scale)
        past, _ = camera.ray(pos - normal * (sign * reach / length), time, wavelength, aperture)
        ray.o, ray.d = dr.select(closed, past.o, ray.o), dr.select(closed, past.d, ray.d)
        hit = dr.select(closed, integrator.first_hit(scene, ray, closed), hit)
        own, before = edge.beside(hit), nearer(edge, ray, hit, NEARER)
        # The two sides read each other's numbers: one kernel for all that.
        dr.eval(edge, pos, normal, length, scale, pmf, ray, ray_weight, hit, own, before, active, rng.rng)
        active = edge.in_view(partial(integrator.blocks, scene), ray, own, before, hit.t, lane, active)

        first = first_point(sliding, pos) if sliding else None
        L, valid, _, state = integrator.sample(
            dr.ADMode.Primal, scene, rng, ray, active, first_hit=hit, rim_shape=edge.shape, first=first,
            bend=BendLight.of(edge, camera.view(lens).toward(edge.p)),
            early=EvenNumbers(lane >> 1, seed),
        )  # fmt: skip
        factor = sign * edge.dt * edge.share / (pmf * number)
        value = dr.select(active, L * ray_weight * factor, 0)
        alpha = dr.select(active & valid, factor, 0)

    if sensor_moves(camera.sensor):  # each of its numbers gets its sum by a kernel of its own
        dr.eval(edge, pos, normal, value, alpha, active, aperture, ray.wavelengths)
    # Attached: the motion of the point, seen on the film, across the outline.
    with dr.resume_grad():
        moving = camera.attached()
        moved, _ = moving.project(edges.motion(edge), moving.lens_point(aperture))
        speed = dr.dot(moved, normal)
    slid = None
    if sliding:
        slid = outline_record(camera, pos, ray, hit, normal, state[2] * ray_weight * factor, active)
    return EdgeRecord(pos, value, alpha, ray.wavelengths, active, speed, lever=length * scale), slid


@dr.syntax
def _visible_share(integrator, scene, camera, edges):
    """Float per row: share of a few points on it that the pinhole camera sees."""
    count = max(1, min(16, PILOTS // len(edges)))
    row, seen = dr.arange(mi.UInt32, len(edges)), mi.Float(0)
    k = mi.UInt32(0)
    while k < count:
        edge = edges.sample(camera, row, (mi.Float(k) + 0.5) / count, mi.Vector2f(0), scene)
        pos, z = camera.project(edge.p, mi.Vector2f(0))
        active = (edge.dt > 0) & camera.inside(pos)
        if dr.hint(camera.is_point, mode="scalar"):
            active &= z > camera.near
        wavelength = 0.5 if mi.is_spectral else 0
        ray, _ = camera.ray(pos, camera.sensor.shutter_open(), wavelength, mi.Point2f(0.5))
        hit = integrator.first_hit(scene, ray, active)
        # A wide margin: a curved surface before its own outline must not count as hiding it.
        seen += dr.select(active & (edge.beside(hit) | ~nearer(edge, ray, hit, 1e-2)), 1 / count, 0)
        k += 1
    return seen
