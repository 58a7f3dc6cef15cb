"""What an integrator's derivatives include, and what of a scene they miss."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import drjit as dr
import mitsuba as mi

from ..core.errors import UnsupportedError, warn_once
from ..geometry.segments import has_face_attributes
from ..scene.keys import is_positions
from ..scene.shapes import distance_grids
from .jumps.levels import Levels


@dataclass(frozen=True)
class Capabilities:
    """Which parts of a derivative an integrator has.

    Attributes:
        continuous: materials, textures, radiances.
        moving_geometry: the continuous part for moving shapes.
        primary_visibility, indirect_visibility: outlines seen by the sensor; from the path's vertices.
        delta_lights: shadows of point-like lights.
        specular_chains: outlines seen in perfect mirrors and through smooth glass.
        subsurface: transport inside objects; derivatives of materials and radiances.
        subsurface_geometry: the derivatives of shapes seen through it.
        volumes: participating media.
        camera: derivatives with respect to the sensor.
        distance_fields: shapes given by the grid of an ``sdfgrid``.
        sensors: class names of the sensors that moving geometry may be seen through.
    """

    continuous: bool = True
    moving_geometry: bool = False
    primary_visibility: bool = False
    indirect_visibility: bool = False
    delta_lights: bool = False
    specular_chains: bool = False
    subsurface: bool = False
    subsurface_geometry: bool = False
    volumes: bool = False
    camera: bool = False
    distance_fields: bool = False
    sensors: tuple[str, ...] = ()

    def missing(self, *needed: str) -> list[str]:
        """Those of ``needed`` that are not there."""
        known = {f.name for f in fields(self)}
        assert known.issuperset(needed)
        return [n for n in needed if not getattr(self, n)]


PROJECTIVE = ("PerspectiveCamera", "ThinLensCamera", "OrthographicCamera", "BatchSensor")
EDGE = Capabilities(
    moving_geometry=True,
    primary_visibility=True,
    indirect_visibility=True,
    delta_lights=True,
    specular_chains=True,
    subsurface=True,
    subsurface_geometry=True,
    camera=True,
    sensors=PROJECTIVE,
)
REPARAM = Capabilities(
    moving_geometry=True,
    primary_visibility=True,
    indirect_visibility=True,
    subsurface=True,
    subsurface_geometry=True,
    distance_fields=True,
    sensors=PROJECTIVE,
)
# Mitsuba's integrators, by class name.
PEERS = {
    "PRBIntegrator": Capabilities(moving_geometry=True),
    "BasicPRBIntegrator": Capabilities(moving_geometry=True),
    "PRBVolpathIntegrator": Capabilities(volumes=True),
    "DirectProjectiveIntegrator": Capabilities(
        moving_geometry=True, primary_visibility=True, indirect_visibility=True, sensors=("PerspectiveCamera",)
    ),
    "PathProjectiveIntegrator": Capabilities(
        moving_geometry=True, primary_visibility=True, indirect_visibility=True, sensors=("PerspectiveCamera",)
    ),
}


def capabilities(integrator: Any) -> Capabilities:
    """The record of an integrator; of an unknown one: everything, it is taken at its word."""
    own = getattr(integrator, "capabilities", None)
    if own is not None:
        return own
    everything = {f.name: True for f in fields(Capabilities) if f.name != "sensors"}
    return PEERS.get(type(integrator).__name__, Capabilities(**everything, sensors=PROJECTIVE))


def table() -> str:
    """The records as a Markdown table, for `docs/guides/choose.md`."""
    shown = {
        "prb_edge": EDGE,
        "prb_reparam": REPARAM,
        "prb": PEERS["PRBIntegrator"],
        "prb_projective": PEERS["PathProjectiveIntegrator"],
        "prbvolpath": PEERS["PRBVolpathIntegrator"],
    }
    rows = ["| | " + " | ".join(f"`{n}`" for n in shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for field in fields(Capabilities):
        values = (getattr(c, field.name) for c in shown.values())
        if field.name == "sensors":
            cells = [", ".join(v.replace("Camera", "").replace("Sensor", "").lower() for v in x) or "–" for x in values]
        else:
            cells = ["yes" if x else "–" for x in values]
        rows.append(f"| {field.name.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def require_unbiased(integrator: Any, key: str) -> None:
    """Refuse a parameter whose gradient the integrator would return without its visibility terms.

    Raises:
        UnsupportedError: names parameter, integrator and what is missing.
    """
    place = key.rsplit(".", 1)[-1]
    of_sensor = key.split(".")[0].startswith(("sensor", "PerspectiveCamera", "ThinLensCamera", "OrthographicCamera"))
    if of_sensor and ".film." not in key:
        needed = ("camera",)
    elif place == "grid":
        needed = ("distance_fields",)
    elif is_positions(key) or place in ("to_world", "position"):
        needed = ("moving_geometry", "primary_visibility")
    else:
        needed = ("continuous",)
    lacking = capabilities(integrator).missing(*needed)
    if lacking:
        raise UnsupportedError(
            f"Parameter '{key}': the gradient of {type(integrator).__name__} would be biased, it lacks"
            f" {' and '.join(x.replace('_', ' ') for x in lacking)}. Use [integrator] type ="
            f' "{"prb_reparam" if needed == ("distance_fields",) else "prb_edge"}".'
        )


def require_listed_edges(scene: Any) -> None:
    """Refuse a distance field that is attached to the AD graph: `prb_edge` would be blind to its outline.

    Raises:
        UnsupportedError: names the remedy.
    """
    if any(dr.grad_enabled(g) for g in distance_grids(scene)):
        raise UnsupportedError(
            "prb_edge cannot list the edges of an sdfgrid, whose grid is attached to the AD graph: use prb_reparam, or"
            " detach the grid."
        )


def warn_of_missing_terms(scene: Any, max_depth: int, sensor_moves: bool, lights_move: bool) -> None:
    """Name, once each, the boundary terms that `prb_edge` cannot sample and this scene may have."""
    delta, rough = [], False
    for shape in scene.shapes():
        flags = shape.bsdf().flags() if shape.bsdf() is not None else 0
        if mi.has_flag(flags, mi.BSDFFlags.DeltaReflection) or mi.has_flag(flags, mi.BSDFFlags.DeltaTransmission):
            delta.append(shape)
        rough |= mi.has_flag(flags, mi.BSDFFlags.Smooth)
    if delta and (sensor_moves or any(s.parameters_grad_enabled() for s in delta)):
        warn_once(
            "prb_edge: mirrors or smooth glass move against the camera. The derivative of what is seen by way of"
            " them is missing: give them a small roughness (alpha = 0.01) instead."
        )
    if delta and rough and max_depth > 3 and scene.shapes_grad_enabled():
        warn_once(
            "prb_edge: outlines that rough surfaces see in mirrors or through smooth glass (caustics, and shadows"
            " cast through glass) are not sampled; those that the camera sees there are."
        )
    if sensor_moves and any(_is_open(s) for s in scene.shapes()):
        warn_once(
            "prb_edge: the sensor moves, and it looks through masks or null boundaries: the derivative of what is seen behind"
            " them is missing."
        )
    if any(e.class_name() == "Projector" for e in scene.emitters()) and lights_move:
        warn_once("prb_edge: the border of a moving projector's image is a discontinuity that is not sampled.")


def _is_open(shape: Any) -> bool:
    return shape.bsdf() is not None and mi.has_flag(shape.bsdf().flags(), mi.BSDFFlags.Null)


def warn_of_unfollowed_terms(scene: Any) -> None:
    """Name, once each, the discontinuities that `prb_reparam` does not follow and this scene has."""
    if any(mi.has_flag(e.flags(), mi.EmitterFlags.Delta) for e in scene.emitters()):
        warn_once(
            "prb_reparam: the shadows of point, spot, directional and projector lights have borders that no field of"
            " directions follows: their motion is missing from the derivative. prb_edge samples them."
        )
    if any(s.bsdf() is not None and mi.has_flag(s.bsdf().flags(), mi.BSDFFlags.Delta) for s in scene.shapes()):
        warn_once(
            "prb_reparam: outlines seen in mirrors or through smooth glass are missing from the derivative. prb_edge"
            " samples them."
        )
    if len(Levels(scene, lambda level, shapes: True)) or any(
        s.is_mesh() and has_face_attributes(s) for s in scene.shapes()
    ):
        warn_once(
            "prb_reparam: jumps inside surfaces (checkerboard, nearest-neighbour bitmaps, colours of faces, bump and normal"
            " maps that turn normals over) are followed only where all around moves alike: the derivative may be wrong."
            " prb_edge samples them."
        )
