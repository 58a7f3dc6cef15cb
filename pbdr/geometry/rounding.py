"""How exactly float32 places points and rays: distances below which the sides of an outline cannot be told apart.

With u = 2⁻²⁴, the unit roundoff, a stored point is off by up to u |p| along each axis. A ray past it adds the rounding
of its origin, u |o|, and of its direction, u r over a distance r ≤ |p| + |o|; interpolation along an edge, transforms and
intersection are a few such operations each. All of it is a small multiple of u times the largest coordinate of both ends,
wherever the world's origin is.
"""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi

from ..scene.instances import all_shapes

UNIT = 2.0**-24
CURVED = 1e-5  # angle between an outline that slides over a surface and the ray beside it
NEAR_SLIT = 16  # heights of spawned rays, within which what is behind an outline is looked at
# Least distance between an outline and the rays beside it, in units of u times the largest coordinate: from 2 on most
# rays find their side, from 4 on all but one of 300, from 8 on all (cubes and spheres up to 10⁴ from the origin,
# or from the sensor, or both).
APART = 8
# The ray that asks what hides an outline leaves it by this much, since other surfaces may touch it there.
LEAVE = 16
PAST = 2.0  # heights of a slit, past which a ray is beside it
STRIP = 2.0  # heights of spawned rays: enough for angles of 27° and more between the faces of a transmitting object


def extent(*points: Any) -> Any:
    """Largest absolute coordinate of ``points``: what rounding errors of lines between them are relative to."""
    largest = dr.max(dr.abs(points[0]))
    for p in points[1:]:
        largest = dr.maximum(largest, dr.max(dr.abs(p)))
    return largest


def is_coarse(shape: Any) -> bool:
    """Are numbers as large as a shape's coordinates further apart than 1 % of its size? A question to the host alone."""
    box = shape.bbox()
    size, far = max(box.extents()), max(max(abs(x) for x in corner) for corner in (box.min, box.max))
    return 2 * UNIT * far > 0.01 * size > 0


def apart(edge: Any, viewer: Any) -> Any:
    """Least distance from an `EdgeSample` at which rays from ``viewer`` find the side that is meant."""
    return dr.maximum((APART * UNIT) * extent(edge.p, viewer), edge.vague)


def nearer(edge: Any, ray: Any, hit: Any, margin: float) -> Any:
    """Does ``hit`` lie before an `EdgeSample`, by the share ``margin`` of its distance and by more than rounding?"""
    distance = dr.dot(edge.p - ray.o, ray.d)
    return hit.t < distance - dr.maximum(margin * distance, (LEAVE * UNIT) * extent(edge.p, ray.o))


def spawn_height(p: Any) -> Any:
    """Height above, or depth below, a surface at which Mitsuba's spawned rays start."""
    return mi.math.RayEpsilon * (1 + extent(p))


def above_horizon(si: Any, edge: Any, r: Any) -> Any:
    """Is an outline above the plane in which rays leave a receiver, by more than the two sides are apart?

    Args:
        r: distance between both.
    """
    beside = dr.maximum(dr.maximum(CURVED * r, 2e-6 * extent(edge.p)), edge.vague)
    return dr.abs_dot(si.n, edge.p - si.p) > spawn_height(si.p) + 2 * beside


def past_a_slit(edge: Any, ray: Any, hit: Any, active: Any) -> tuple[Any, Any]:
    """(Bool, Float): has the ray beside a contour met a surface so close behind it that rays which leave that surface begin
    beyond the outline? And how far from the outline a ray does not.

    To such rays both surfaces touch. There is no shadow in the slit, so it must be dark for no one.
    """
    far = dr.norm(edge.p - ray(hit.t))
    close = active & hit.is_valid() & ~edge.beside(hit) & (mi.Bool(edge.contour) | edge.curved)
    close &= far < NEAR_SLIT * spawn_height(edge.p)
    si = hit.compute_surface_interaction(ray, mi.RayFlags.Minimal, close)
    height = dr.abs_dot(si.n, edge.p - si.p)
    close &= ~above_horizon(si, edge, far) & (height > apart(edge, ray.o))
    return close, PAST * height


def transmits(scene: Any) -> bool:
    """Is there a material through which rays go on inside an object?"""
    return any(
        s.bsdf() is not None and mi.has_flag(s.bsdf().flags(), mi.BSDFFlags.Transmission) for s in all_shapes(scene)
    )


def past_the_rim(edge: Any, inward: Any, distance: Any) -> Any:
    """``distance`` from a contour, larger on its own surface if rays go on below that.

    They start a little below, and next to a sharp edge of the object that is outside again. The strip in which this
    happens is nothing to an image, but all that an outline would see.

    Args:
        inward: Bool, the ray beside ``edge`` is on the side of its surface.
    """
    through = mi.has_flag(edge.shape.bsdf().flags(), mi.BSDFFlags.Transmission)
    return dr.select(inward & through, dr.maximum(distance, STRIP * spawn_height(edge.p)), distance)
