"""Film, seeds and passes around the path loop: what `mi.render` calls.

`PathIntegrator` turns `path.trace` into an image, a derivative image (forward) or parameter
gradients (backward). Subclasses add boundary terms.
"""

from __future__ import annotations

import math
from typing import Any

import drjit as dr
import mitsuba as mi

from ..bsdfs.lobes import Lobes, require_separable, warn_of_absent_lobes
from ..bsdfs.rough_plastic import require_reached
from ..core import memory
from ..core.errors import InputError, UnsupportedError, near_matches
from ..core.memo import remembered
from ..core.recording import recording
from ..scene.attached import attached, not_finite, others_at_rest, require_finite, require_updated
from ..scene.instances import all_shapes, cut
from ..scene.leaves import warn_of_unreadable
from ..scene.sensors import get_sensor, sensor_moves
from ..scene.sky import require_renderable
from ..scene.tangents import ray_tangent, settled
from .capabilities import check_lone_normals, plugin_name, require_alone, require_known
from .film import FilmSide, splat
from .missing import warn_of_coarse_mirrors, warn_of_media, warn_of_what_moves
from .path import trace
from .path_state import SceneTraits
from .sliding_film import SlidingFilm, first_point
from .subsurface_step import require_followed
from .visibility import blocks, first_opaque

# Most lanes of one pass, whatever the memory: larger wavefronts are not faster.
MAX_WAVEFRONT = 1 << 23
LANE = 500  # bytes that a lane takes at most


class PathIntegrator(mi.ad.integrators.common.ADIntegrator):
    """Path tracer with path-replay interior derivatives, the base of pbdr's integrators.

    Args (plugin parameters):
        max_depth: longest path in segments, -1 for no limit (default 6).
        rr_depth: depth at which Russian roulette begins (default 5).
        hide_emitters: directly visible emitters are not rendered (default false).
        sppc: samples per pixel of the continuous (interior) derivative; 0 switches it off.

    What it cannot do: no polarization, no participating media.
    """

    parameters = ("max_depth", "rr_depth", "hide_emitters", "sppc")

    def __init__(self, props: Any):
        for name in props.keys():
            if name not in self.parameters:
                raise InputError(
                    f"{props.plugin_name()}: unknown parameter '{name}'."
                    + (near_matches(name, self.parameters) or f" Known: {', '.join(self.parameters)}.")
                )
        for name, least in (("max_depth", -1), ("rr_depth", 1), ("sppc", 0), ("sppp", 0), ("sppi", 0)):
            value = props.get(name, None)
            if value is not None and (not isinstance(value, int) or value < least):
                raise InputError(f"{props.plugin_name()}: '{name}' must be an integer >= {least}, got {value!r}.")
        if mi.is_polarized:
            raise UnsupportedError(
                f"{props.plugin_name()} does not track polarization; use an unpolarized variant"
                f" instead of '{mi.variant()}', for instance '{mi.variant().replace('_polarized', '')}'."
            )
        super().__init__(props)
        self.sppc = props.get("sppc", None)
        self.seen_scenes: set[int] = set()  # those that gave a derivative
        self.looked_at: tuple = (0, None)  # by the primal image: the scene, and which of its parameters is not finite
        self.known: set = set()  # groups of attached parameters whose gradients can be read
        # Factors on the samples of each term, see `optimization.allocation`; ``None``: left to the integrator.
        self.shares: tuple[float, float, float] | None = None

    # ---------------------------------------------------------------- one wavefront

    def sample(
        self,
        mode,
        scene,
        sampler,
        ray,
        active=True,
        δL=None,
        state_in=None,
        first_hit=None,
        rim_shape=None,
        replay=None,
        first_emission=None,
        segments=None,
        ray_tangent=None,
        record=None,
        first=None,
        δA=None,
        opaque=None,
        bend=None,
        early=None,
        keyword=None,
        **_,
    ):
        """Trace one path per ray; the interface of Mitsuba's AD integrators.

        Returns ``(L or δL, valid, [], state)``; ``state`` goes into ``state_in`` of the pass that
        differentiates what this pass traced; that one's is the adjoint of ``ray`` (and the derivative of ``valid``).

        As in Mitsuba's `path` and `volpath`, all is valid where an environment is seen; elsewhere only paths that met a
        lobe that is no null lobe. Radiance is that of `volpath`: `path` 3.9.1 drops direct light on what is not valid.
        """
        primal = mode == dr.ADMode.Primal
        if keyword is not None:  # only integrators written in C++ pass it, to the one that they contain
            require_alone(self, scene)
        L, Z = (0, 0) if state_in is None else state_in[:2]
        hit = self.first_hit(scene, ray, active) if first_hit is None else first_hit
        traits = SceneTraits(scene, ray_tangent is not None, mode == dr.ADMode.Forward)
        frames = cut(traits.frames, mode != dr.ADMode.Backward)
        value, valid, L, Z, δray, inner, δA = trace(
            mode,
            scene,
            sampler,
            ray,
            hit,
            mi.Bool(active),
            max_depth=self.max_depth,
            rr_depth=self.rr_depth,
            # What the sensor sees, through null lobes at most.
            hide_emitters=self.hide_emitters and (segments is None or (opaque is not None and traits.null_bsdfs)),
            opaque=opaque,
            traits=traits,
            replay=(not primal) if replay is None else replay,
            L=L,
            Z=Z,
            δL=0 if δL is None else δL,
            rim_shape=rim_shape,
            first_emission=first_emission,
            segments=segments,
            ray_tangent=ray_tangent,
            record=record,
            entered=False,
            first=first,
            δA=δA,
            bend=None if traits.subsurface else bend,
            early=early,
        )
        if frames is not None:
            frames.flush()
        if segments is None and self.shows_environment(scene):
            valid = mi.Bool(active)
        return value, valid, [], ((L, Z, inner) if primal else (*δray, δA))

    def shows_environment(self, scene: Any) -> bool:
        """Whether the sensor sees an environment: alpha is 1 everywhere then."""
        return not self.hide_emitters and scene.environment() is not None

    def first_hit(self, scene, ray, active):
        """What the sensor sees along ``ray``; area lights are looked through if hidden."""
        ray = dr.detach(ray)
        if self.hide_emitters:
            return first_opaque(scene, ray, mi.Bool(active))
        return scene.ray_intersect_preliminary(ray, coherent=True, reorder=False, active=active)

    def blocks(self, scene, ray, active):
        """Whether something that the sensor sees lies on ``ray`` (its direction need not be a unit vector)."""
        if not self.hide_emitters:
            return blocks(scene, ray, active)
        length = dr.norm(ray.d)
        hit = first_opaque(scene, mi.Ray3f(ray.o, ray.d / length, ray.time, ray.wavelengths), mi.Bool(active))
        return active & (hit.t < ray.maxt * length)

    # ---------------------------------------------------------------- images

    def render(self, scene, sensor=0, seed=0, spp=0, develop=True, evaluate=True):
        """The primal image, a tensor [height, width, channels]."""
        require_renderable(scene)
        if not develop:
            raise InputError("pbdr integrators need develop=True.")
        sensor = get_sensor(scene, sensor, spp)
        warn_of_media(self, scene)
        # A derivative may follow. What reads numbers waits for all that was launched: here that is little.
        self.looked_at = (0, None) if evaluate else (id(scene), not_finite(attached(scene, sensor)))
        image = None
        with dr.suspend_grad():
            for seed_k, spp_k, share in self.passes(sensor, seed, spp):
                part = self._image(scene, sensor, seed_k, spp_k)
                image = part * share if image is None else image + part * share
        return image

    def _image(self, scene, sensor, seed, spp):
        film = sensor.film()
        sampler, spp = self.prepare(sensor, seed, spp, self.aov_names())
        ray, weight, pos = self.sample_rays(scene, sensor, sampler)
        L, valid, _, _ = self.sample(dr.ADMode.Primal, scene, sampler, ray)
        splat(film, pos, L * weight, dr.select(valid, mi.Float(1), 0), ray.wavelengths, spp)
        return film.develop()

    def render_forward(self, scene, params, sensor=0, seed=0, spp=0):
        """Derivative image for the tangents set on the scene's parameters."""
        sensor = get_sensor(scene, sensor, spp)
        with remembered(**self.facts(scene)):
            self._require(scene, sensor, params)
            with others_at_rest(scene, sensor), settled(scene):
                result = self._forward(scene, sensor, seed, spp)
        self.seen_scenes.add(id(scene))
        return result

    def sample_rays(self, scene, sensor, sampler, *more, **named):
        """As Mitsuba's, one lane each: some sensors have one ray, and adjoints of what is the same in all lanes are sums."""
        ray, weight, pos = super().sample_rays(scene, sensor, sampler, *more, **named)
        if dr.width(ray) == 1:
            zero = dr.zeros(mi.Float, sampler.wavefront_size())
            dr.make_opaque(zero)
            ray.o, ray.d = ray.o + zero, ray.d + zero
        return ray, weight, pos

    def facts(self, scene):
        """What functions that do not know the scene may ask for in a derivative (`core.memo.told`)."""
        return {}

    def _require(self, scene, sensor, params=None):
        """Refuse derivatives that would be wrong, by exceptions that leave nothing attached or half done."""
        found = require_known(self, scene, sensor)
        if found:
            known, bad = self.looked_at
            require_finite(bad if known == id(scene) else not_finite(found))
            self.looked_at = 0, None
            require_updated(scene, params, found)
            check_lone_normals(self, found)
            warn_of_coarse_mirrors(found)
            warn_of_what_moves(self, scene, sensor)
            materials = [s.bsdf() for s in all_shapes(scene) if s.bsdf() is not None]
            require_reached(materials)
            for bsdf in Lobes(materials).blends:
                require_separable(bsdf, [p.key for p in found if bsdf is p.node or bsdf in p.above])
                warn_of_absent_lobes(bsdf)
        require_renderable(scene)
        require_followed(scene, sensor)

    def _forward(self, scene, sensor, seed, spp):
        result = dr.zeros(mi.TensorXf, image_shape(sensor, self))
        spp_c = self.samples(self.sppc, spp, sensor, 0)
        if spp_c > 0:
            for seed_k, spp_k, share in self.passes(sensor, seed, spp_c):
                result += share * self._interior_forward(scene, sensor, seed_k, spp_k)
        return result

    def render_backward(self, scene, params, grad_in, sensor=0, seed=0, spp=0):
        """Accumulate the gradients of all attached parameters for the adjoint image ``grad_in``."""
        sensor = get_sensor(scene, sensor, spp)
        with remembered(**self.facts(scene)):
            self._require(scene, sensor, params)
            warn_of_unreadable(params, self.known)
            with others_at_rest(scene, sensor):
                self._backward(scene, sensor, seed, spp, grad_in)
        self.seen_scenes.add(id(scene))

    def require_warm(self, scene):
        """Refuse to record what has to be learned of meshes first.

        Raises:
            UnsupportedError: a function is being frozen, and the scene has given no derivative yet.
        """
        if recording() and id(scene) not in self.seen_scenes:
            raise UnsupportedError(
                f"dr.freeze: {plugin_name(self)} has not seen the scene yet, and what it has to learn of meshes cannot be"
                " recorded: call the step once as it is, before the frozen one."
            )

    def _backward(self, scene, sensor, seed, spp, grad_in):
        spp_c = self.samples(self.sppc, spp, sensor, 0)
        if spp_c > 0:
            for seed_k, spp_k, share in self.passes(sensor, seed, spp_c):
                self._interior_backward(scene, sensor, seed_k, spp_k, grad_in * share)

    def _interior_forward(self, scene, sensor, seed, spp):
        film = sensor.film()
        with dr.suspend_grad():
            sampler, spp = self.prepare(sensor, seed, spp, self.aov_names())
            attached = self._attached_rays(scene, sensor, sampler)
            ray, weight, pos = self.sample_rays(scene, sensor, sampler)
            tangent = None
            if attached is not None:
                tangent = ray_tangent(attached, sensor)
            sliding, start = self._first_point(scene, sensor, ray, pos)
            more = {"ray_tangent": tangent, **start}
            _, _, _, state = self.sample(dr.ADMode.Primal, scene, sampler.clone(), ray, replay=True, **more)
            δA = mi.Float(0) if self._alpha_varies(scene, film) else None
            δL, _, _, (_, _, δA) = self.sample(dr.ADMode.Forward, scene, sampler, ray, state_in=state, δA=δA, **more)
            splat(film, pos, δL * weight, δA, ray.wavelengths, spp)
            image = film.develop()
            for camera in sliding:
                image += SlidingFilm(sensor, camera, pos, ray, start["first_hit"], state[2], weight, spp).forward()
            return image

    def _interior_backward(self, scene, sensor, seed, spp, grad_in):
        film = sensor.film()
        with dr.suspend_grad():
            sampler, spp = self.prepare(sensor, seed, spp, self.aov_names())
            attached = self._attached_rays(scene, sensor, sampler)
            ray, weight, pos = self.sample_rays(scene, sensor, sampler)
            δL, δA = self._radiance_adjoint(sensor, grad_in, pos, weight, ray, spp)
            film.clear()
            zero = None if attached is None else (mi.Vector3f(0), mi.Vector3f(0))
            sliding, start = self._first_point(scene, sensor, ray, pos)
            more = {"ray_tangent": zero, **start}
            _, valid, _, state = self.sample(dr.ADMode.Primal, scene, sampler.clone(), ray, replay=True, **more)
            more["δA"] = dr.select(valid, δA, 0) if self._alpha_varies(scene, film) else None
            _, _, _, (δo, δd, _) = self.sample(dr.ADMode.Backward, scene, sampler, ray, δL=δL, state_in=state, **more)
            for camera in sliding:
                SlidingFilm(sensor, camera, pos, ray, start["first_hit"], state[2], weight, spp).backward(grad_in)
            if attached is not None:
                # Each number of the sensor gets its sum by a kernel of its own: it must not trace the paths again.
                dr.eval(δo, δd, ray, pos)
                with dr.resume_grad():
                    along = dr.dot(mi.Vector3f(attached.o), δo) + dr.dot(attached.d, δd)
                    # Of a scene without shapes nothing depends on the rays.
                    dr.backward_from(along, flags=dr.ADFlag.ClearInterior | dr.ADFlag.AllowNoGrad)
            del state, δL, ray, weight, pos, sampler
            dr.eval()

    def _alpha_varies(self, scene, film):
        """Whether null lobes decide what the film's alpha channel gets."""
        alpha = mi.has_flag(film.flags(), mi.FilmFlags.Alpha)
        return alpha and SceneTraits(scene).null_bsdfs and not self.shows_environment(scene)

    def _first_point(self, scene, sensor, ray, pos):
        """(cameras, arguments of `sample`): how light inside what the sensor sees follows what moves."""
        # Both passes begin with the same hit.
        sliding, start = self.sliding_cameras(scene, sensor), {"first_hit": self.first_hit(scene, ray, True)}
        return sliding, start | ({"first": first_point(sliding, pos)} if sliding else {})

    def sliding_cameras(self, scene, sensor):
        """The cameras whose film slides, see `sliding_film`: of others what they see is held."""
        return []

    def guides_of(self, sensor, k):
        """What is known from earlier renders about where samples through camera ``k`` of ``sensor`` are worth their cost."""
        return {}

    def _attached_rays(self, scene, sensor, sampler):
        """The rays that the sampler is about to give, attached; ``None`` if the sensor rests."""
        if not sensor_moves(sensor):
            return None
        with dr.resume_grad():
            ray, _, _ = self.sample_rays(scene, sensor, sampler.clone())
        return ray

    def _radiance_adjoint(self, sensor, grad_in, pos, weight, ray, spp):
        """(δL, δA) for an adjoint image. The film is linear in L and alpha: they do not depend on these."""
        film = sensor.film()
        if not mi.has_flag(film.flags(), mi.FilmFlags.Special):
            δL, δA = FilmSide(sensor).radiance_adjoint(grad_in, pos, ray.wavelengths, spp)
            return δL * weight, δA
        with dr.resume_grad():
            L = dr.full(mi.Spectrum, 1, dr.width(pos))
            dr.enable_grad(L)
            splat(film, pos, L * weight, 1, ray.wavelengths, spp)
            image = film.develop()
            dr.set_grad(image, grad_in)
            dr.enqueue(dr.ADMode.Backward, image)
            dr.traverse(dr.ADMode.Backward)
            return dr.grad(L), mi.Float(0)

    # ---------------------------------------------------------------- bookkeeping

    def passes(self, sensor, seed, spp, lanes=1.0):
        """Split ``spp`` so that no wavefront exceeds the memory budget: (seed, spp, share) each.

        Args:
            lanes: lanes per pixel and sample.
        """
        spp = spp or sensor.sampler().sample_count()
        film = sensor.film()
        border = 2 * film.rfilter().border_size() if film.sample_border() else 0
        pixels = (film.crop_size()[0] + border) * (film.crop_size()[1] + border)
        most = min(MAX_WAVEFRONT, memory.budget() // LANE)
        count = min(math.ceil(spp), math.ceil(pixels * spp * lanes / most))
        if count <= 1:
            yield seed, spp, 1.0
            return
        spp = math.ceil(spp)
        for k in range(count):
            part = spp * (k + 1) // count - spp * k // count
            yield mi.sample_tea_32(mi.UInt32(seed), mi.UInt32(k + 1))[0], part, part / spp

    def samples(self, own: int | None, requested: int, sensor: Any, term: int) -> int:
        """Samples per pixel of one term: 0 switches off, else the call's, the plugin's, the sampler's."""
        share = 1.0 if self.shares is None else self.shares[term]
        if own == 0 or share == 0:
            return 0
        count = requested or own or sensor.sampler().sample_count()
        return max(1, round(count * share))

    def to_string(self) -> str:
        return f"{type(self).__name__}[max_depth={self.max_depth}, rr_depth={self.rr_depth}]"


def image_shape(sensor: Any, integrator: Any) -> tuple[int, int, int]:
    """Shape of the developed image: (height, width, channels)."""
    film = sensor.film()
    size = film.crop_size()
    return int(size[1]), int(size[0]), film.base_channels_count() + len(integrator.aov_names())
