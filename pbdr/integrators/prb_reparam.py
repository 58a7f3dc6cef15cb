"""`prb_reparam`: path tracer whose integrals follow the discontinuities that move in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from ..core.errors import InputError, UnsupportedError
from ..geometry.boundary_measure import BoundaryMeasure
from ..sampling.paired import lane_sampler, seeded
from ..scene.instances import require_no_instances
from ..scene.lights import lights_move
from ..scene.sensors import cameras, get_sensor, require_projection
from ..scene.shapes import shapes_move, spheres_move, translucent_shapes
from ..scene.sky import require_no_borders
from .boundary import boundary_backward, boundary_forward
from .capabilities import REPARAM
from .charts import FilmChart
from .film import require_colours
from .film_field import FilmField
from .incident import IncidentRadiance
from .missing import warn_of_alpha, warn_of_unfollowed_terms
from .path_state import PathRecord, SceneTraits
from .render import PathIntegrator
from .reparam_film import WarpedFilm, require_sloped_filter
from .reparam_path import ReparameterizedPath
from .rotation import RotationField
from .sky_edges import sky_records
from .subsurface_step import unfollowed
from .warp import WarpField, WarpSettings

MOST_VERTICES = 64  # of a path: they are kept in thread-local memory
CONTRAST = 1.0  # λ of the debiased field
EIGHTH = 8  # share of further paths that only tell what radiance arrives
KERNEL = 0.5  # width of the film's kernel in pixels, unless ``reparam_kappa`` gives an angle


@dataclass
class Wave:
    """Samples of a film, one lane each."""

    pos: Any
    normal: Any  # Vector2f: out of the film, for samples of its border
    rng: Any
    ray: Any
    weight: Any
    chart: FilmChart
    stream: Any  # UInt32: seed of the auxiliary rays
    shared: Any = None  # FilmField, or None
    group: Any = None  # UInt32: which of its points


class ReparamIntegrator(PathIntegrator):
    """Path tracer whose derivatives include moving visibility, by reparameterization.

    Args (plugin parameters):
        max_depth, rr_depth, hide_emitters: as in `prb`.
        sppc: samples per pixel of the derivative.
        reparam_max_depth: number of segments, the camera's included, whose directions are
            reparameterized (default ``max_depth``); 0 for none.
        reparam_rays: auxiliary rays N of each direction (default 12; 16 if not debiased, 4 with ``rotation``).
        reparam_kappa: concentration κ of the auxiliary rays, 1 / √κ is about their angle (default: 1e5; if
            debiased, half a pixel around film positions and 500 around directions).
        reparam_exp: exponent α of the weights (default 3).
        reparam_antithetic: auxiliary rays in mirrored pairs (default false). It halves N in effect.
        reparam_unroll: accepted from old scenes, without effect.
        reparam_debiased: exact divergence of the field (default true); false for the
            consistent estimator of Mitsuba 3.0 to 3.4.
        method: ``warp`` (default) or ``rotation``.

    What it cannot do: discontinuities seen in perfect mirrors or through smooth glass; shadows of
    point, spot and directional lights; box filters; interpenetrating surfaces; moving sensors; what shading normals owe to
    the grid of an ``sdfgrid``. Outlines of two objects closer than 1/50 of a pixel are one to it.
    Sources: :cite:`bangaru2020unbiased`, :cite:`loubet2019reparameterizing`, :cite:`vicini2021path`.
    """

    capabilities = REPARAM
    parameters = (
        *PathIntegrator.parameters, "reparam_max_depth", "reparam_rays", "reparam_kappa", "reparam_exp",
        "reparam_antithetic", "reparam_unroll", "reparam_debiased", "method",
    )  # fmt: skip

    def __init__(self, props: Any):
        super().__init__(props)
        self.method = method = props.get("method", "warp")
        if method not in ("warp", "rotation"):
            raise InputError(f"prb_reparam: 'method' must be 'warp' or 'rotation', got '{method}'.")
        for name, kind, least in (
            ("reparam_max_depth", int, 0),
            ("reparam_rays", int, 2),
            ("reparam_kappa", float, 1.0),
        ):
            value = props.get(name, None)
            if value is not None and not (isinstance(value, (int, kind)) and value >= least):
                raise InputError(f"prb_reparam: '{name}' must be {kind.__name__} >= {least}, got {value!r}.")
        debiased = bool(props.get("reparam_debiased", True)) and method == "warp"
        self.warp_depth = int(props.get("reparam_max_depth", self.max_depth))
        self.settings = WarpSettings(
            rays=int(props.get("reparam_rays", 4 if method == "rotation" else 12 if debiased else 16)),
            kappa=float(props.get("reparam_kappa", 5e2 if debiased else 1e5)),
            exponent=float(props.get("reparam_exp", 3.0)),
            antithetic=bool(props.get("reparam_antithetic", False)),
            debiased=debiased,
            contrast=CONTRAST,
        )
        self.pixels = debiased and "reparam_kappa" not in props  # the film's kernel is measured in pixels
        props.get("reparam_unroll", False)
        self._means = debiased and min(self.warp_depth, self.max_depth) > 1
        self.tables: dict = {}

    # ---------------------------------------------------------------- derivatives

    def facts(self, scene):
        return {"spheres_move": spheres_move(scene)}

    def _require(self, scene, sensor, params=None):
        super()._require(scene, sensor, params)
        if SceneTraits(scene).chains_move or lights_move(scene):
            warn_of_unfollowed_terms(scene, self.hide_emitters)
        if not shapes_move(scene):
            return
        self.require_warm(scene)
        warn_of_alpha(scene, sensor)
        require_no_borders(scene)
        require_no_instances(scene)
        require_projection(sensor, "prb_reparam")
        require_colours(sensor, "prb_reparam")
        require_sloped_filter(sensor)
        traits = SceneTraits(scene)
        if traits.subsurface is not None and traits.subsurface.walks and not traits.subsurface.follows_walks:
            raise UnsupportedError(
                "prb_reparam: a shape moves in a scene with the subsurface profile 'random_walk', and "
                + " and ".join(unfollowed(translucent_shapes(scene)))
                + ". The field moves the points where walks begin, also on objects at rest; walks follow on meshes and spheres"
                " with a rough boundary. Use alpha >= 0.1, prb_edge, or better_dipole."
            )
        most = MOST_VERTICES // traits.most_vertices(1)
        if not 0 < self.max_depth <= most:
            raise UnsupportedError(
                f"prb_reparam: geometry derivatives need 1 <= max_depth <= {most} (a path is kept as a whole); set max_depth"
                " in the scene."
            )

    def _forward(self, scene, sensor, seed, spp):
        result = super()._forward(scene, sensor, seed, spp)
        for records in sky_records(self, scene, sensor, seed, spp):
            result += boundary_forward(sensor, records)
        return result

    def render_backward(self, scene, params, grad_in, sensor=0, seed=0, spp=0):
        sensor = get_sensor(scene, sensor)
        super().render_backward(scene, params, grad_in, sensor, seed, spp)
        for records in sky_records(self, scene, sensor, seed, spp):
            boundary_backward(sensor, records, grad_in)

    def _interior_forward(self, scene, sensor, seed, spp):
        if not shapes_move(scene):
            return super()._interior_forward(scene, sensor, seed, spp)
        with dr.suspend_grad():
            film = WarpedFilm(sensor)
            for camera, field, sweep, wave, rim in self._waves(scene, sensor, seed, spp):
                if wave.shared is not None:
                    wave.shared.follow()
                F, div = self._film_forward(field, wave)
                with dr.resume_grad():
                    o, d = self._follow(camera, wave, F)
                record = PathRecord.of(sweep.traits, self.max_depth)
                L, valid = self._radiance(scene, wave, record)
                δL = sweep.forward(wave.ray, record, o, d)
                dr.eval(L, δL, F, div, valid)
                values = self._stored(film, wave, L, valid, spp)
                tangents = film.to_channels(δL * wave.weight / spp, mi.Float(0), wave.ray.wavelengths)
                film.sum_up(wave.pos, values)
                film.put_warped(wave.pos, values, tangents, F, div)
                if rim is not None:
                    F, _ = self._film_forward(field, rim)
                    values = self._stored(film, rim, *self._radiance(scene, rim), spp)
                    film.put_outflow(rim.pos, values, dr.dot(F, rim.normal))
            return film.image()

    def _interior_backward(self, scene, sensor, seed, spp, grad_in):
        if not shapes_move(scene):
            super()._interior_backward(scene, sensor, seed, spp, grad_in)
            return
        with dr.suspend_grad():
            film = WarpedFilm(sensor)
            adjoint = film.adjoint(grad_in, film.expected_weight)
            for camera, field, sweep, wave, rim in self._waves(scene, sensor, seed, spp):
                δL = film.read_radiance(adjoint, wave.pos, wave.weight / spp, wave.ray.wavelengths, mi.Bool(True))
                record = PathRecord.of(sweep.traits, self.max_depth)
                L, valid = self._radiance(scene, wave, record)
                δo, δd = sweep.backward(wave.ray, record, δL)
                dr.eval(L, valid, δo, δd)
                values = self._stored(film, wave, L, valid, spp)
                film.sum_up(wave.pos, values)
                δF, δdiv = film.read_warped(adjoint, wave.pos, values)
                with dr.resume_grad():
                    δF += self._follow_adjoint(camera, wave, δo, δd)
                self._film_backward(field, wave, δF, δdiv)
                if rim is not None:
                    values = self._stored(film, rim, *self._radiance(scene, rim), spp)
                    δF = rim.normal * film.read_outflow(adjoint, rim.pos, values)
                    self._film_backward(field, rim, δF, mi.Float(0))
                if wave.shared is not None:
                    wave.shared.finish()
                dr.eval()

    @staticmethod
    def _film_forward(field, wave):
        if wave.shared is None:
            return field.forward(wave.chart, seeded(wave.stream, mi.UInt32(0)), mi.Bool(True))
        return wave.shared.forward(wave.pos, wave.group)

    @staticmethod
    def _film_backward(field, wave, δF, δdiv):
        if wave.shared is None:
            field.backward(wave.chart, seeded(wave.stream, mi.UInt32(0)), mi.Bool(True), δF, δdiv)
        else:
            wave.shared.backward(wave.pos, wave.group, δF, δdiv)

    def _radiance(self, scene, wave, record=None):
        more = {} if record is None else {"record": record, "replay": True}
        L, valid, _, _ = self.sample(dr.ADMode.Primal, scene, wave.rng, wave.ray, **more)
        return L, valid

    @staticmethod
    def _stored(film, wave, L, valid, spp):
        return film.to_channels(L * wave.weight / spp, dr.select(valid, mi.Float(1 / spp), 0), wave.ray.wavelengths)

    def _waves(self, scene, sensor, seed, spp):
        """Per camera: the field, the paths that follow it, samples of the film and of its border (or ``None``)."""
        warn_of_unfollowed_terms(scene, self.hide_emitters)
        traits = SceneTraits(scene)
        measure = BoundaryMeasure(scene, self.tables)
        field = (RotationField if self.method == "rotation" else WarpField)(scene, measure, self.settings)
        for number, camera in enumerate(cameras(sensor)):
            stream = mi.sample_tea_32(mi.UInt32(seed) ^ 0x5BD1E995, mi.UInt32(number))[0]
            dr.make_opaque(stream)
            low, high = camera.window()
            size = [round(float((high[i] - low[i])[0])) for i in range(2)]
            pos, rng = _all_over(low, size, stream, spp)
            wave = self._wave(camera, pos, mi.Vector2f(0), rng, stream)
            if self.pixels and FilmField.serves(measure, camera):
                wave.shared = FilmField(scene, measure, self.settings, camera, low, size, stream, spp)
                wave.group = wave.shared.groups(pos)
            incident = IncidentRadiance.of(size, self.warp_depth) if self._means else None
            sweep = ReparameterizedPath(
                scene,
                traits,
                field,
                self.settings.kappa,
                self.max_depth,
                self.warp_depth,
                self.hide_emitters,
                wave.stream ^ 1,
                incident,
                wave.pos - low,
            )
            if incident is not None:
                self._learn(scene, camera, sweep, low, size, stream, max(1, spp // EIGHTH))
            rim = None
            if not sensor.film().sample_border():
                stream = stream ^ 0x2545F491
                rng = lane_sampler(stream, 2 * (size[0] + size[1]) * spp)
                pos, normal = _around(low, size, rng, spp)
                rim = self._wave(camera, pos, normal, rng, stream)
                if wave.shared is not None:
                    rim.shared, rim.group = wave.shared, wave.shared.groups(pos)
            yield camera, field, sweep, wave, rim

    def _learn(self, scene, camera, sweep, low, size, stream, count):
        """Fill the means that ``sweep`` subtracts, from ``count`` independent paths per pixel."""
        stream = stream ^ 0x3C6EF372
        pos, rng = _all_over(low, size, stream, count)
        record = PathRecord.of(sweep.traits, self.max_depth)
        wave = self._wave(camera, pos, mi.Vector2f(0), rng, stream)
        self._radiance(scene, wave, record)
        sweep.learn(record, pos - low)
        dr.eval(sweep.incident)

    def _wave(self, camera, pos, normal, rng, stream):
        """Rays through film positions; ``stream`` numbers the generators of their auxiliary rays."""
        aperture = rng.next_2d() if camera.kind == "thinlens" else mi.Point2f(0.5)
        time = mi.Float(camera.sensor.shutter_open())
        if camera.sensor.shutter_open_time() > 0:
            time += rng.next_1d() * camera.sensor.shutter_open_time()
        wavelength = rng.next_1d() if mi.is_spectral else 0
        ray, weight = camera.ray(pos, time, wavelength, aperture)
        kappa = mi.Float(KERNEL**-2)
        if camera.is_point and not self.pixels:  # by pixels per radian; parallel rays have no angle between them
            kappa = self.settings.kappa / dr.square(dr.max(dr.abs(camera.scale * camera.size)))
        chart = FilmChart(camera, pos, time, wavelength, aperture, camera.lens_point(aperture), kappa)
        own = mi.sample_tea_32(stream ^ 0x27D4EB2F, dr.arange(mi.UInt32, dr.width(pos)))[0]
        return Wave(pos, normal, rng, ray, weight, chart, own)

    @staticmethod
    def _follow(camera, wave, F):
        """Tangents of the ray through a position that moves with F."""
        pos = mi.Point2f(wave.pos)
        dr.enable_grad(pos)
        dr.set_grad(pos, F)
        ray, _ = camera.ray(pos, *wave.chart.more)
        flags = dr.ADFlag.ClearInterior | dr.ADFlag.AllowNoGrad
        d = dr.forward_to(ray.d, flags=flags)
        dr.clear_grad(ray.d)
        return mi.Vector3f(dr.forward_to(ray.o, flags=flags)), d

    @staticmethod
    def _follow_adjoint(camera, wave, δo, δd):
        pos = mi.Point2f(wave.pos)
        dr.enable_grad(pos)
        ray, _ = camera.ray(pos, *wave.chart.more)
        dr.backward_from(dr.dot(mi.Vector3f(ray.o), δo) + dr.dot(ray.d, δd))
        return mi.Vector2f(dr.grad(pos))


def _all_over(low: Any, size: list[int], stream: Any, spp: int) -> tuple[Any, Any]:
    """``spp`` positions in each pixel, and the sampler of their lanes."""
    count = size[0] * size[1] * spp
    rng = lane_sampler(stream, count)
    cell = dr.arange(mi.UInt32, count) // spp
    return low + mi.Vector2f(mi.Float(cell % size[0]), mi.Float(cell // size[0])) + rng.next_2d(), rng


def _around(low: Any, size: list[int], rng: Any, spp: int) -> tuple[Any, Any]:
    """``spp`` positions per pixel along the border of a film, and normals out of it."""
    w, h = size
    along = (mi.Float(dr.arange(mi.UInt32, 2 * (w + h) * spp) // spp)) + rng.next_1d()
    across = along < 2 * w  # the lower and the upper side, then left and right
    t = dr.select(across, along, along - 2 * w)
    length = dr.select(across, mi.Float(w), mi.Float(h))
    far = t >= length
    t = dr.select(far, t - length, t)
    sign = dr.select(far, mi.Float(1), -1)
    x = dr.select(across, t, dr.select(far, mi.Float(w), 0))
    y = dr.select(across, dr.select(far, mi.Float(h), 0), t)
    return low + mi.Vector2f(x, y), dr.select(across, mi.Vector2f(0, sign), mi.Vector2f(sign, 0))
