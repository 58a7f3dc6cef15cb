"""What a derivative with respect to each parameter of Mitsuba needs, and which ones cannot be had.

The rules go by plugin and parameter. A parameter that no rule names is right if Mitsuba marks it as differentiable and it
belongs to a material, texture, volume or light; everything else is refused: what is not known to be right is not returned.
"""

from __future__ import annotations

from dataclasses import dataclass

import mitsuba as mi

from ..scene.attached import Parameter
from ..scene.sensors import KINDS

CONTINUOUS = ("continuous",)
GEOMETRY = ("moving_geometry", "primary_visibility")
CAMERA = ("camera",)
FIELD = ("distance_fields",)


@dataclass(frozen=True)
class Refusal:
    """Why a parameter has no right derivative, and what to do instead."""

    reason: str
    remedy: str


TO_MESH = "Convert the shape to a mesh and take its vertex_positions, or detach the parameter"
CURVE = Refusal("the outlines and ends of curves are not listed", TO_MESH)
OPAQUE = Refusal("ellipsoids are rendered as opaque surfaces", "Use Mitsuba's volprim_rf_basic, or detach it")
ELLIPSOIDS = Refusal("the outlines of ellipsoids are not listed, nor does Mitsuba attach how they turn", TO_MESH)
MEDIUM = Refusal("participating media are left out of the image", "Use Mitsuba's prbvolpath, or detach it")
GROUP = Refusal(
    "Mitsuba's derivative through a shapegroup, a call within a call, is wrong",
    "Take to_world of its instances, put the shape into the scene itself, or detach the parameter",
)
TABLES = Refusal(
    "Mitsuba holds what its tables of transmitted light depend on fixed",
    "Use a principled BSDF, whose roughness and eta have derivatives, or detach it",
)
UNMARKED = Refusal("Mitsuba does not mark it as differentiable", "Detach it")
UNKNOWN = Refusal("it is not among the parameters whose derivative is known to be right", "Detach it")

SUN = ("to_world", "sun_direction", "latitude", "longitude", "timezone", "hour", "minute", "second")
SUN += ("window_start_time", "window_end_time")
# Class name of the plugin -> parameter -> needs, or `Refusal`. Unmarked parameters are here because pbdr differentiates them.
RULES: dict[str, dict[str, tuple[str, ...] | Refusal]] = {
    **{shape: {"to_world": GEOMETRY} for shape in ("Rectangle", "Sphere", "Disk", "Cylinder", "Instance")},
    "SDFGrid": {
        "grid": FIELD,
        "to_world": Refusal(
            "rays meet the field at rest, whatever it moves with", "Move the values of its grid, or detach it"
        ),
    },
    "LinearCurve": {"control_points": CURVE},
    "BSplineCurve": {"control_points": CURVE},
    "Ellipsoids": {"data": ELLIPSOIDS, "opacities": OPAQUE},
    "EllipsoidsMesh": {"data": ELLIPSOIDS, "opacities": OPAQUE},
    "RoughPlastic": {"alpha": TABLES, "eta": TABLES},
    "PointLight": {"position": GEOMETRY},
    **{
        light: {"to_world": GEOMETRY}
        for light in ("SpotLight", "Projector", "DirectionalEmitter", "EnvironmentMapEmitter")
    },
    **{
        sky: dict.fromkeys(SUN, GEOMETRY) | dict.fromkeys(("turbidity", "albedo"), CONTINUOUS)
        for sky in ("SunskyEmitter", "TimedSunskyEmitter")
    },
}
OF_SENSORS = (
    "to_world", "x_fov", "principal_point_offset_x", "principal_point_offset_y", "aperture_radius", "focus_distance",
)  # fmt: skip


def needs(p: Parameter) -> tuple[str, ...] | Refusal:
    """Fields of `Capabilities` that the derivative needs, or why it cannot be had."""
    chain = (p.node, *p.above)
    if any(isinstance(node, mi.Medium | mi.PhaseFunction) for node in chain):
        return MEDIUM
    rule = _rule(p)
    in_group = any(node.class_name().startswith("ShapeGroup") for node in p.above)
    if in_group and (rule == GEOMETRY or isinstance(p.node, mi.Shape)):
        return GROUP
    return rule


def _rule(p: Parameter) -> tuple[str, ...] | Refusal:
    known = RULES.get(p.plugin, {}).get(p.name)
    if known is None and isinstance(p.node, mi.Texture) and p.above:  # what is said of a texture is said of its numbers
        known = RULES.get(p.above[0].class_name(), {}).get(p.key.split(".")[-2])
    if known is not None:
        return known
    if isinstance(p.node, mi.Sensor):
        if p.name in OF_SENSORS:
            return CAMERA if p.plugin in KINDS else UNKNOWN
        return UNMARKED
    if isinstance(p.node, mi.Mesh) and p.name == "vertex_positions":
        return GEOMETRY
    if p.above and p.above[0].class_name() == "SunskyEmitter":  # albedo
        return CONTINUOUS
    if not p.marked:
        return UNMARKED
    surface = isinstance(p.node, mi.BSDF | mi.Texture | mi.Volume | mi.Emitter | mi.Mesh)
    return CONTINUOUS if surface or _is_attribute(p) else UNKNOWN


def _is_attribute(p: Parameter) -> bool:
    return isinstance(p.node, mi.Shape) and p.name.startswith(("vertex_", "face_"))
