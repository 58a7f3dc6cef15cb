"""How the faces beside an edge are seen: from which side, or edge-on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr

from .rounding import UNIT

# Sine of the angle between a face and the view, below which the face is seen edge-on: the least and the most of what
# `edge_on` finds.
EDGE_ON, EDGE_ON_MOST = 1e-6, 1e-2


@dataclass
class Side:
    """One of the faces beside an edge, as it is seen.

    Attributes:
        n: Vector3f, edge × corner: normal to the face.
        height: Float, of the viewpoint over its plane, times |n| (of the direction, where the viewpoint is at infinity).
        sine: Float, `edge_on`.
        flat: Bool, the face is seen edge-on.
    """

    n: Any
    height: Any
    sine: Any
    flat: Any

    @classmethod
    def of(cls, to: Any, edge: Any, corner: Any, extent: Any) -> Side:
        n = dr.cross(edge, corner)
        height, sine = dr.dot(to, n), edge_on(edge, corner, extent)
        flat = dr.square(height) <= dr.square(sine) * dr.squared_norm(to) * dr.squared_norm(n)
        return cls(n, height, sine, flat)


def edge_on(edge: Any, corner: Any, extent: Any) -> Any:
    """Float, sine of the angle to the view below which a triangle is seen edge-on: what rounding of its corners does to it.

    The least of its heights is known to about 2 u · `extent` (u is the unit roundoff). All triangles of a finely divided
    plane must be edge-on together: the signs of some would be chance, and each pair that differs another contour.

    Args:
        edge, corner: Vector3f, two of its sides.
        extent: Float, of its corners.
    """
    area = dr.squared_norm(dr.cross(edge, corner))
    longest = dr.maximum(dr.maximum(dr.squared_norm(edge), dr.squared_norm(corner)), dr.squared_norm(corner - edge))
    noise = (3 * UNIT) * extent * dr.sqrt(longest / dr.maximum(area, 1e-30))
    return dr.clip(noise, EDGE_ON, EDGE_ON_MOST)


def coplanar(na: Any, nb: Any, sine: Any) -> Any:
    """Bool, do two triangles beside an edge, one on each side, lie in one plane as far as their corners are known?

    Args:
        na, nb: Vector3f, edge × corner of both.
        sine: Float, of the angle between the planes (`edge_on`).
    """
    limit = dr.square(sine) * dr.squared_norm(na) * dr.squared_norm(nb)
    return (dr.dot(na, nb) < 0) & (dr.squared_norm(dr.cross(na, nb)) <= limit)
