"""`prb_edge`: path tracer with path-replay interior and edge-sampled boundary derivatives."""

from __future__ import annotations

from typing import Any

from ..core.errors import UnsupportedError
from ..scene.sensors import get_sensor
from .primary_edges import primary_backward, primary_forward
from .render import PathIntegrator


class EdgeIntegrator(PathIntegrator):
    """Path tracer whose derivatives include moving visibility, by edge sampling.

    Args (plugin parameters):
        max_depth, rr_depth, hide_emitters: as in `prb`.
        sppc: samples per pixel of the continuous (interior) derivative.
        sppp: samples per pixel of outline for the primary boundary. Their number grows with the
            side of the film, not with its area.
        sppi: indirect boundary; not available yet, must be 0 or absent.

    ``spp`` given to `mi.render` overrides each of them, except that 0 switches a term off.

    Example:
        >>> integrator = mi.load_dict({"type": "prb_edge", "max_depth": 4})   # doctest: +SKIP

    What it cannot do: shadows and reflections of moving shapes change only through the interior
    term (no secondary edges yet), so a moving occluder's shadow carries no derivative; outlines
    seen through mirrors and glass; intersections of interpenetrating surfaces; nearest-neighbour
    textures; outlines of instances, curves and `sdfgrid`. Sources: :cite:`li2018differentiable`,
    :cite:`vicini2021path`.
    """

    parameters = (*PathIntegrator.parameters, "sppp", "sppi")

    def __init__(self, props: Any):
        super().__init__(props)
        self.sppp = props.get("sppp", None)
        self.sppi = props.get("sppi", None)
        if self.sppi:
            raise UnsupportedError(
                f"prb_edge: sppi={self.sppi} asks for the indirect boundary, which is not available yet;"
                " remove it or set it to 0. Shadows and reflections of moving shapes are then"
                " differentiated by the interior term alone."
            )
        self.topologies: dict = {}  # mesh adjacency, kept from render to render

    def render_forward(self, scene, params, sensor=0, seed=0, spp=0):
        sensor = get_sensor(scene, sensor)
        result = super().render_forward(scene, params, sensor, seed, spp)
        spp_p = self._boundary_samples(scene, sensor, spp)
        if spp_p > 0:
            result += primary_forward(self, scene, sensor, seed, spp_p, self.topologies)
        return result

    def render_backward(self, scene, params, grad_in, sensor=0, seed=0, spp=0):
        sensor = get_sensor(scene, sensor)
        super().render_backward(scene, params, grad_in, sensor, seed, spp)
        spp_p = self._boundary_samples(scene, sensor, spp)
        if spp_p > 0:
            primary_backward(self, scene, sensor, seed, spp_p, self.topologies, grad_in)

    def _boundary_samples(self, scene, sensor, spp):
        return self.samples(self.sppp, spp, sensor) if scene.shapes_grad_enabled() else 0
