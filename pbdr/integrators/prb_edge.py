"""`prb_edge`: path tracer with path-replay interior and edge-sampled boundary derivatives."""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi

from ..geometry.scene_edges import SceneEdges
from ..scene.sensors import cameras, get_sensor, sensor_moves
from .boundary import boundary_backward, boundary_forward
from .indirect import Indirect
from .primary_edges import primary_records
from .render import PathIntegrator
from .secondary_edges import secondary_record
from .shadow_edges import shadow_record


class EdgeIntegrator(PathIntegrator):
    """Path tracer whose derivatives include moving visibility, by edge sampling.

    Args (plugin parameters):
        max_depth, rr_depth, hide_emitters: as in `prb`.
        sppc: samples per pixel of the continuous (interior) derivative.
        sppp: samples per pixel of outline for the primary boundary. Their number grows with the
            side of the film, not with its area.
        sppi: samples per pixel of the indirect boundary (shadows, interreflection, reflection).

    ``spp`` given to `mi.render` overrides each of them, except that 0 switches a term off.

    Example:
        >>> integrator = mi.load_dict({"type": "prb_edge", "max_depth": 4})   # doctest: +SKIP

    What it cannot do: outlines seen in mirrors and through smooth glass; shadows of point-like lights
    beyond the first bounce; intersections of interpenetrating surfaces; nearest-neighbour textures;
    outlines of instances, curves and `sdfgrid`. Sources: :cite:`li2018differentiable`,
    :cite:`vicini2021path`.
    """

    parameters = (*PathIntegrator.parameters, "sppp", "sppi")

    def __init__(self, props: Any):
        super().__init__(props)
        self.sppp = props.get("sppp", None)
        self.sppi = props.get("sppi", None)
        self.topologies: dict = {}  # mesh adjacency, kept from render to render

    def render_forward(self, scene, params, sensor=0, seed=0, spp=0):
        sensor = get_sensor(scene, sensor)
        result = super().render_forward(scene, params, sensor, seed, spp)
        for records in self._boundaries(scene, sensor, seed, spp):
            result += boundary_forward(sensor, records)
        return result

    def render_backward(self, scene, params, grad_in, sensor=0, seed=0, spp=0):
        sensor = get_sensor(scene, sensor)
        super().render_backward(scene, params, grad_in, sensor, seed, spp)
        for records in self._boundaries(scene, sensor, seed, spp):
            boundary_backward(sensor, records, grad_in)

    def _boundaries(self, scene, sensor, seed, spp):
        """Samplers of discontinuities, one after the other."""
        if not scene.shapes_grad_enabled() and not sensor_moves(sensor):
            return
        primary = self.samples(self.sppp, spp, sensor, 1)
        if primary > 0:
            yield primary_records(self, scene, sensor, seed, primary, self.topologies)
        indirect = self.samples(self.sppi, spp, sensor, 2)
        if indirect > 0 and self.max_depth != 1:
            yield self._indirect_records(scene, sensor, seed, indirect)

    def _indirect_records(self, scene, sensor, seed, spp):
        edges = SceneEdges(scene, self.topologies, statics=True)
        if not len(edges):
            return
        for k, camera in enumerate(cameras(sensor)):
            context = Indirect(self, scene, camera, edges, spp, sensor_moves(sensor))
            for j, sampler in enumerate((secondary_record, shadow_record)):
                if sampler is shadow_record and not context.lights:
                    continue
                stream = mi.sample_tea_32(mi.UInt32(seed) ^ 0xA511E9B3, mi.UInt32(2 * k + j))[0]
                dr.make_opaque(stream)
                record = sampler(context, stream)
                with dr.resume_grad():
                    attached = dr.grad_enabled(record.speed)
                if attached:
                    yield record
