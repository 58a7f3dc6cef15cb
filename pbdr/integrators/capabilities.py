"""What an integrator's derivatives include, and what of a scene they miss."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import drjit as dr
import mitsuba as mi

from ..core.errors import UnsupportedError, warn_once
from ..geometry.segments import has_face_attributes
from ..scene.attached import Parameter, attached, parameter
from ..scene.instances import all_shapes, parts
from ..scene.keys import is_positions
from ..scene.shapes import distance_grids, has_rim, jumps_between_faces, shapes_move
from .jumps.levels import Levels
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


def warn_of_coarse_mirrors(found: list[Parameter]) -> None:
    """Say once that a border is missing which mirrors and smooth glass have on meshes of few faces that move.

    Args:
        found: the attached parameters.
    """
    for p in found:
        if not (is_positions(p.key) or p.name == "vertex_normals") or not isinstance(p.node, mi.Shape):
            continue
        bsdf = p.node.bsdf()
        if bsdf is not None and mi.has_flag(bsdf.flags(), mi.BSDFFlags.Delta) and has_rim(p.node):
            warn_once(
                f"Parameter '{p.key}': of a mirror or smooth glass with few faces, shading normals send light below the plane of"
                " a face; the derivative by the motion of that border is missing. Use a finer mesh, or face_normals = true."
            )


def warn_of_media(integrator: Any, scene: Any) -> None:
    """Say once that participating media are left out, where a scene has some."""
    shape = next((s for s in scene.shapes() if s.is_medium_transition()), None)
    if shape is not None:
        warn_once(
            f"{plugin_name(integrator)} leaves out participating media, as Mitsuba's path does: shape '{shape.id()}' has"
            " one, of which only its surface is rendered. Use volpath or prbvolpath."
        )


def warn_of_missing_terms(scene: Any, max_depth: int, sensor_moves: bool, lights_move: bool) -> None:
    """Name, once each, the boundary terms that `prb_edge` cannot sample and this scene may have."""
    delta, rough = [], False
    for shape in all_shapes(scene):
        flags = shape.bsdf().flags() if shape.bsdf() is not None else 0
        if mi.has_flag(flags, mi.BSDFFlags.DeltaReflection) or mi.has_flag(flags, mi.BSDFFlags.DeltaTransmission):
            delta.append(shape)
        rough |= mi.has_flag(flags, mi.BSDFFlags.Smooth)
    moves = sensor_moves or any(p.moves for p in parts(scene) if p.shape in delta)
    if delta and moves and any(mi.has_flag(e.flags(), mi.EmitterFlags.Delta) for e in scene.emitters()):
        warn_once(
            "prb_edge: mirrors or smooth glass move against the camera. The shadows of point-like lights that are seen by way"
            " of them have no derivative: use small area lights."
        )
    if delta and rough and max_depth >= 3 and shapes_move(scene):
        warn_once(
            "prb_edge: outlines that rough surfaces see in mirrors or through smooth glass (caustics, and shadows"
            " cast through glass) are not sampled; those that the camera sees there are."
        )
    if any(e.class_name() == "Projector" for e in scene.emitters()) and lights_move:
        warn_once("prb_edge: the border of a moving projector's image is a discontinuity that is not sampled.")


def warn_of_unfollowed_terms(scene: Any) -> None:
    """Name, once each, the discontinuities that `prb_reparam` does not follow and this scene has."""
    if any(mi.has_flag(e.flags(), mi.EmitterFlags.Delta) for e in scene.emitters()):
        warn_once(
            "prb_reparam: the shadows of point, spot, directional and projector lights have borders that no field of"
            " directions follows: their motion is missing from the derivative. prb_edge samples them."
        )
    if any(s.bsdf() is not None and mi.has_flag(s.bsdf().flags(), mi.BSDFFlags.Delta) for s in all_shapes(scene)):
        warn_once(
            "prb_reparam: outlines seen in mirrors or through smooth glass are missing from the derivative. prb_edge"
            " samples them."
        )
    with dr.resume_grad():
        grids = any(dr.grad_enabled(g) for g in distance_grids(scene))
    if grids:
        warn_once(
            "prb_reparam: the shading normals of an sdfgrid do not follow its grid in Mitsuba 3.9.1: outlines and positions are"
            " differentiated, how the surface is shaded is not. A grid that moves as a whole loses little, single values a third."
        )
    curve = next((s for s in scene.shapes() if s.class_name() in ("LinearCurve", "BSplineCurve")), None)
    if curve is not None:
        warn_once(
            f"prb_reparam: no field of directions follows the ends of curves (shape '{curve.id()}'): the derivative of what"
            " moves there or behind them is missing, that of radii has been found up to 4 % too small. Let curves end where"
            " nobody sees it."
        )
    if len(Levels(scene, lambda level, shapes: True)) or any(
        s.is_mesh() and (has_face_attributes(s) or jumps_between_faces(s)) for s in scene.shapes()
    ):
        warn_once(
            "prb_reparam: jumps inside surfaces (checkerboard, nearest-neighbour bitmaps, colours of faces, meshes without texture coordinates that need some, bump and normal"
            " maps that turn normals over, normals of vertices that do on meshes of few faces) are followed only where all"
            " around moves alike: the derivative may be wrong. prb_edge samples them."
        )
