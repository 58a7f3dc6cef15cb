"""`prb_edge`: path tracer with path-replay interior and edge-sampled boundary derivatives."""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from ..core.arrays import on_device
from ..geometry.scene_edges import SceneEdges
from ..scene.lights import lights_move
from ..scene.piercing import may_pierce, piercing
from ..scene.sensors import cameras, require_projection, sensor_moves
from ..scene.shapes import shapes_move
from .boundary import boundary_backward, boundary_forward, scaled
from .capabilities import EDGE
from .film import require_colours
from .indirect import Indirect
from .jumps.samplers import jump_records, reflected_levels, reflected_records, seen_meetings, sees_jumps
from .missing import warn_of_meetings, warn_of_missing_terms
from .path_state import SceneTraits
from .primary_edges import OUTLINE, primary_records
from .render import PathIntegrator
from .secondary_edges import secondary_record
from .shadow_edges import shadow_record
from .sky_edges import sky_records
from .sliding_film import sliding_cameras
from .specular_edges import specular_record
from .term_shares import Terms

SENSORS = 1024  # most sensors that an integrator remembers something about


class EdgeIntegrator(PathIntegrator):
    """Path tracer whose derivatives include moving visibility, by edge sampling.

    Args (plugin parameters):
        max_depth, rr_depth, hide_emitters: as in `prb`.
        sppc: samples per pixel of the continuous (interior) derivative.
        sppp: samples per pixel of outline for the primary boundary. Their number grows with the
            side of the film, not with its area.
        sppi: samples per pixel of the indirect boundary (shadows, interreflection, reflection).

    ``spp`` given to `mi.render` overrides each of them, except that 0 switches a term off. Where neither ``sppp`` nor
    ``sppi`` is given, ``spp`` is the number of interior samples, and those of a boundary follow from what samples of
    earlier derivatives through the same sensor were worth, between 1/64 and 4 times ``spp`` (`term_shares`).

    Example:
        >>> integrator = mi.load_dict({"type": "prb_edge", "max_depth": 4})   # doctest: +SKIP

    What it cannot do: outlines that rough surfaces see by way of mirrors and smooth glass (caustics); the border between
    surfaces that pass through each other, but as the camera sees it; jumps of nearest-neighbour volumes; the border of a
    projector's image; the sun and the horizon of a `sunsky` seen in mirrors; shapes inside of groups; outlines of curves
    and `sdfgrid`; see `known` for what is refused.
    Sources: :cite:`li2018differentiable`, :cite:`vicini2021path`, :cite:`zeltner2020specular`.
    """

    capabilities = EDGE
    parameters = (*PathIntegrator.parameters, "sppp", "sppi")

    def __init__(self, props: Any):
        super().__init__(props)
        self.sppp = props.get("sppp", None)
        self.sppi = props.get("sppi", None)
        # Kept from render to render: mesh adjacency, and where samples were worth their cost.
        self.topologies: dict = {}
        self.guides: dict = {}
        self.usual_shares: dict = {}  # see `term_shares`
        self.seen: list = []  # the sensors that ``guides`` knows: alive, so that each has its own id

    def own_counts(self) -> tuple[int | None, int | None, int | None]:
        """The numbers of samples that the user gave: of interior, primary and indirect boundary."""
        return self.sppc, self.sppp, self.sppi

    def _require(self, scene, sensor, params=None):
        super()._require(scene, sensor, params)
        seen, lights = shapes_move(scene) or sensor_moves(sensor), lights_move(scene)
        primary, indirect = (self.samples(own, 1, sensor, k) > 0 for k, own in ((1, self.sppp), (2, self.sppi)))
        if (seen and primary) or ((seen or lights) and indirect and self.max_depth != 1):
            require_projection(sensor)
            require_colours(sensor, "prb_edge")

    def _forward(self, scene, sensor, seed, spp):
        terms = self._terms(scene, sensor, spp, "forward")
        result = super()._forward(scene, sensor, seed, spp)
        for records in self._boundaries(scene, sensor, seed, spp, terms, forward=True):
            result += boundary_forward(sensor, records)
        return result

    def _backward(self, scene, sensor, seed, spp, grad_in):
        terms = self._terms(scene, sensor, spp, "backward")
        super()._backward(scene, sensor, seed, spp, grad_in)
        for records in self._boundaries(scene, sensor, seed, spp, terms):
            boundary_backward(sensor, records, grad_in)

    def _terms(self, scene, sensor, spp, mode):
        """Sample counts, before anything is launched: what is read would be waited for. ``None`` if nothing moves."""
        if shapes_move(scene) or sensor_moves(sensor) or lights_move(scene) or SceneTraits(scene).chains_move:
            return Terms(self, sensor, spp, mode)
        return None

    # ---------------------------------------------------------------- what is learned

    def forget(self) -> None:
        """Drop what earlier renders taught: the next one is that of a new integrator."""
        self.guides.clear()
        self.usual_shares.clear()

    def state(self, sensors: list[Any]) -> dict[str, np.ndarray]:
        """What was learned about each of ``sensors``, as plain arrays: part of a checkpoint."""
        return {name: np.array(getattr(guide, field)) for name, guide, field in self._memory(sensors)}

    def restore(self, sensors: list[Any], arrays: dict[str, np.ndarray]) -> None:
        """Inverse of `state`, for sensors that were rendered before."""
        for name, guide, field in self._memory(sensors):
            if name in arrays:
                setattr(guide, field, on_device(mi.Float, arrays[name]))

    def _remember(self, sensor):
        """Keep ``sensor`` alive while there are guides for it; the oldest one goes when there are many."""
        if any(s is sensor for s in self.seen):
            return
        self.seen.append(sensor)
        if len(self.seen) > SENSORS:
            owner = f"{id(self.seen.pop(0))} "
            self.guides = {k: g for k, g in self.guides.items() if not k.startswith(owner)}

    def _memory(self, sensors):
        for v, sensor in enumerate(sensors):
            for key, guides in self.guides.items():
                owner, _, child = key.partition(" ")
                if owner == str(id(sensor)):
                    for name, guide in guides.items():
                        for field in guide.learned:
                            yield f"guide/{v}/{child}/{name}/{field}", guide, field

    # ---------------------------------------------------------------- boundaries

    def sliding_cameras(self, scene, sensor):
        # Outlines have a part of what slides.
        if self.samples(self.sppp, 1, sensor, 1) == 0:
            return []
        return sliding_cameras(sensor, SceneTraits(scene))

    def _boundaries(self, scene, sensor, seed, spp, terms, forward=False):
        """Samplers of discontinuities, one after the other."""
        yield from sky_records(self, scene, sensor, seed, spp)
        seen, lights = shapes_move(scene) or sensor_moves(sensor), lights_move(scene)
        turned = SceneTraits(scene).chains_move
        inner, reflected = sees_jumps(self, scene, sensor), len(reflected_levels(scene, sensor)) > 0
        meeting = seen and may_pierce(scene, sensor_moves(sensor))
        if not (seen or lights or turned or inner or reflected):
            return
        self.require_warm(scene)
        warn_of_missing_terms(scene, self.max_depth, sensor_moves(sensor))
        if meeting:
            warn_of_meetings(scene, piercing(scene, sensor_moves(sensor)), self.max_depth, self.hide_emitters)
        # Samples per pixel of outline: their number follows the side of the film.
        lanes = 2 * OUTLINE * 2 / min(sensor.film().crop_size())
        if seen and terms.primary > 0:
            for seed_k, spp_k, share in self.passes(sensor, seed, terms.primary, lanes):
                records = primary_records(self, scene, sensor, seed_k, spp_k, self.topologies, forward)
                yield terms.watch(scaled(records, share), 0)
        primary = self.samples(self.sppp, spp, sensor, 1)
        if inner and primary > 0:
            for seed_k, spp_k, share in self.passes(sensor, seed, primary, lanes):
                yield scaled(jump_records(self, scene, sensor, seed_k, spp_k, forward), share)
        if meeting and primary > 0:
            for seed_k, spp_k, share in self.passes(sensor, seed, primary, lanes):
                yield scaled(seen_meetings(self, scene, sensor, seed_k, spp_k, forward), share)
        indirect = self.samples(self.sppi, spp, sensor, 2)
        if indirect > 0 and self.max_depth not in (0, 1):
            films: dict = {}  # of each camera, the same in all passes
            if seen or lights or turned:
                for seed_k, spp_k, share in self.passes(sensor, seed, terms.indirect, 2):
                    records = self._indirect_records(scene, sensor, seed_k, spp_k, films, forward)
                    yield terms.watch(scaled(records, share), 1)
            if reflected:
                for seed_k, spp_k, share in self.passes(sensor, seed, indirect, 2):
                    yield scaled(reflected_records(self, scene, sensor, seed_k, spp_k, forward), share)
        if terms is not None:
            terms.learn()

    def guides_of(self, sensor, k):
        self._remember(sensor)
        return self.guides.setdefault(f"{id(sensor)} {k}", {})

    def _indirect_records(self, scene, sensor, seed, spp, films, forward):
        # Behind an outline two segments are needed for light that a bend hides.
        edges = SceneEdges(scene, self.topologies, statics=True, bends=not 0 <= self.max_depth <= 2)
        if not len(edges):
            return
        if forward:
            edges.hold_tangents()
        moves, sliding = sensor_moves(sensor), self.sliding_cameras(scene, sensor)
        for k, camera in enumerate(cameras(sensor)):
            guides = self.guides_of(sensor, k)
            context = Indirect(self, scene, camera, edges, spp, moves, guides, films.get(k), sliding, forward)
            films[k] = context.film
            samplers = (
                (secondary_record, context.moving or context.sensor_moves or context.chains_move),
                (shadow_record, context.lights),
                (specular_record, context.chains),
            )
            for j, (sampler, possible) in enumerate(samplers):
                if not possible:
                    continue
                stream = mi.sample_tea_32(mi.UInt32(seed) ^ 0xA511E9B3, mi.UInt32(3 * k + j))[0]
                dr.make_opaque(stream)
                record = sampler(context, stream)
                with dr.resume_grad():
                    attached = dr.grad_enabled(record.speed)
                if attached or record.slide is not None:
                    yield record
