"""Which shapes move, as far as the AD graph tells."""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi


def distance_grids(scene: Any) -> list[Any]:
    """Values of every ``sdfgrid`` (TensorXf [depth, height, width, 1]).

    Mitsuba does not list them as differentiable, although its intersections depend on them.
    """
    grids = []
    for shape in scene.shapes():
        if shape.class_name() == "SDFGrid":
            grids.append(mi.traverse(shape)["grid"])
    return grids


def shapes_move(scene: Any) -> bool:
    """Whether a shape depends on attached parameters."""
    with dr.resume_grad():
        return bool(scene.shapes_grad_enabled()) or any(dr.grad_enabled(g) for g in distance_grids(scene))


def materials(scene: Any) -> list[Any]:
    """The BSDF of each shape, of those in instances, too."""
    shapes = scene.shapes()
    if any(s.class_name() == "Instance" for s in shapes):  # which do not give away what they show
        shapes = [node for node in mi.traverse(scene).hierarchy if isinstance(node, mi.Shape)]
    return [s.bsdf() for s in shapes if s.bsdf() is not None]


def translucent_shapes(scene: Any) -> list[Any]:
    """Shapes with the `subsurface` material."""
    return [s for s in scene.shapes() if type(s.bsdf()).__name__ == "Subsurface" and hasattr(s.bsdf(), "profile_at")]


def follow(pi: Any, ray: Any, active: Any = True) -> Any:
    """SurfaceInteraction3f of the material point that ``ray`` has hit, attached to the motion of its shape."""
    return pi.compute_surface_interaction(ray, mi.RayFlags.Minimal | mi.RayFlags.FollowShape, active)
