"""What an integrator's derivatives include, and what of a scene they miss."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ..core.errors import UnsupportedError, warn_once
from ..scene.attached import Parameter, attached, parameter
from ..scene.keys import is_positions
from ..scene.shapes import has_rim
from .known import CAMERA, CONTINUOUS, CURVES, FIELD, GEOMETRY, Refusal, needs


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
        curves: control points of a ``bsplinecurve``, without what its ends uncover.
        instances: transforms of the instances of shape groups.
        rough_coats: roughness and index of refraction of a ``roughplastic``.
        rims: the border at which normals of vertices turn away, on meshes of few faces.
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
    curves: bool = False
    instances: bool = False
    rough_coats: bool = False
    rims: bool = False
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
    instances=True,
    rough_coats=True,
    rims=True,
    sensors=PROJECTIVE,
)
REPARAM = Capabilities(
    moving_geometry=True,
    primary_visibility=True,
    indirect_visibility=True,
    subsurface=True,
    subsurface_geometry=True,
    distance_fields=True,
    curves=True,
    rough_coats=True,
    sensors=PROJECTIVE,
)
NOTHING = Capabilities(continuous=False)
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
    # Those not named have the continuous part alone; these have not even that.
    **dict.fromkeys(("VolpathMisIntegratorImpl", "MomentIntegrator", "StokesIntegrator", "DepthIntegrator"), NOTHING),
}
NAMES = {
    "EdgeIntegrator": "prb_edge",
    "ReparamIntegrator": "prb_reparam",
    "PRBIntegrator": "prb",
    "BasicPRBIntegrator": "prb_basic",
    "PRBVolpathIntegrator": "prbvolpath",
    "PathProjectiveIntegrator": "prb_projective",
    "DirectProjectiveIntegrator": "direct_projective",
    "PathIntegrator": "path",
    "DirectIntegrator": "direct",
    "VolumetricPathIntegrator": "volpath",
    "VolpathMisIntegratorImpl": "volpathmis",
    "ParticleTracerIntegrator": "ptracer",
    "AOVIntegrator": "aov",
    "MomentIntegrator": "moment",
    "StokesIntegrator": "stokes",
    "DepthIntegrator": "depth",
}


def _class(integrator: Any) -> str:
    """Name of the class: of plugins written in C++ Python has only a base class."""
    python = type(integrator).__name__
    if python in NAMES or type(integrator).__module__ != "mitsuba" or not hasattr(integrator, "class_name"):
        return python
    return integrator.class_name()


def plugin_name(integrator: Any) -> str:
    """What a scene file calls the integrator; of an unknown one, its class."""
    return NAMES.get(_class(integrator), _class(integrator))


def is_of_pbdr(integrator: Any) -> bool:
    """Whether it is `prb_edge` or `prb_reparam`, whose derivatives are right or refused."""
    return getattr(integrator, "capabilities", None) in (EDGE, REPARAM)


def capabilities(integrator: Any) -> Capabilities:
    """The record of an integrator: its attribute ``capabilities``, else what is known of Mitsuba's.

    Of an unknown one the continuous part alone is expected to be right.
    """
    own = getattr(integrator, "capabilities", None)
    return own if own is not None else PEERS.get(_class(integrator), Capabilities())


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


def refusal(p: Parameter, integrator: Any) -> str | None:
    """One line that says why ``integrator`` cannot give the derivative of a parameter, or ``None`` if it can."""
    wanted = needs(p)
    if isinstance(wanted, Refusal):
        who = f"Parameter '{p.key}' of {p.plugin}: {plugin_name(integrator)} has no right derivative of it"
        return f"{who}, {wanted.reason}. {wanted.remedy}."
    return _lacking(p.key, integrator, wanted)


def _lacking(key: str, integrator: Any, wanted: tuple[str, ...]) -> str | None:
    lacking = capabilities(integrator).missing(*wanted)
    if not lacking:
        return None
    text = (
        f"Parameter '{key}': the gradient of {plugin_name(integrator)} would be biased, it lacks"
        f" {' and '.join(x.replace('_', ' ') for x in lacking)}. Use [integrator] type ="
        f' "{"prb_reparam" if wanted in (FIELD, CURVES) else "prb_edge"}", or detach the parameter.'
    )
    if getattr(integrator, "capabilities", None) is None and _class(integrator) not in NAMES:
        fields_ = ", ".join(f"{x}=True" for x in lacking)
        text += f" (A class of yours that has them says so by an attribute: capabilities = Capabilities({fields_}).)"
    return text


def require_known(integrator: Any, scene: Any, sensor: Any = None) -> list[Parameter]:
    """The attached parameters of scene and sensor, if ``integrator`` has right derivatives for all of them.

    Nothing is computed on the device, and nothing is attached.

    Raises:
        UnsupportedError: names the first parameter that is not known to be right, the reason and the remedy.
    """
    found = attached(scene, sensor)
    for p in found:
        said = refusal(p, integrator)
        if said is not None:
            raise UnsupportedError(said)
    return found


def require_unbiased(integrator: Any, key: str, params: Any = None) -> None:
    """Refuse a parameter whose gradient the integrator would return without its visibility terms.

    Args:
        params: what `mi.traverse(scene)` returned. Without it the name alone tells the kind of parameter.

    Raises:
        UnsupportedError: names parameter, integrator and what is missing.
    """
    if params is not None and key in params:
        said = refusal(parameter(params, key), integrator)
    else:
        said = _lacking(key, integrator, _needs_by_name(key))
    if said is not None:
        raise UnsupportedError(said)


def _needs_by_name(key: str) -> tuple[str, ...]:
    place = key.rsplit(".", 1)[-1]
    of_sensor = key.split(".")[0].startswith(("sensor", "PerspectiveCamera", "ThinLensCamera", "OrthographicCamera"))
    if of_sensor and ".film." not in key:
        return CAMERA
    if place == "grid":
        return FIELD
    return GEOMETRY if is_positions(key) or place in ("to_world", "position") else CONTINUOUS


def require_alone(integrator: Any, scene: Any) -> None:
    """Refuse to differentiate what moves where ``integrator`` is inside another one, such as ``aov`` or ``moment``.

    That one differentiates what it adds by itself, without visibility. Its primal image is right.

    Raises:
        UnsupportedError: names the parameter and the remedy.
    """
    for p in attached(scene, suspended=False):
        if needs(p) != CONTINUOUS:
            name = plugin_name(integrator)
            raise UnsupportedError(
                f"Parameter '{p.key}': inside another integrator (aov, moment, ...) {name} has no right derivative of it,"
                f" what surrounds it ignores visibility. Render with {name} itself, or detach the parameter."
            )


def check_lone_normals(integrator: Any, found: list[Parameter]) -> None:
    """Say once what is missing where shading normals move and the surface does not.

    Args:
        integrator: what differentiates.
        found: the attached parameters.

    Raises:
        UnsupportedError: they are those of a light.
    """
    moving = {id(p.node) for p in found if is_positions(p.key)}
    lone = [p for p in found if p.name == "vertex_normals" and id(p.node) not in moving]
    lamp = next((p for p in lone if p.node.is_emitter()), None)
    if lamp is not None:
        raise UnsupportedError(
            f"Parameter '{lamp.key}': {plugin_name(integrator)} has no right derivative of it, Mitsuba samples an area light by"
            " its shading normals, without their derivative. Move vertex_positions, use face_normals, or detach it."
        )
    lone = next((p for p in lone if not (integrator.capabilities.rims and has_rim(p.node))), None)
    if lone is not None:
        warn_once(
            f"Parameter '{lone.key}': where shading normals turn away from the viewer or from a light the surface is black, and"
            " the derivative by the motion of that border is missing. Move vertex_positions: their normals follow."
        )
