"""Choose a point on a boundary curve seen from somewhere: where it is near, or near a direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi


@dataclass
class CurveProposal:
    """An even mixture of two Cauchy densities, cut off at the ends of the parameter range.

    The first is centred at the foot of the viewpoint, with its distance as width: equal angles, the
    solid angle of a line. The second is centred where the curve passes closest to a direction of
    interest, as wide as that passes by.
    """

    start: Any
    length: Any
    foot: Any
    height: Any
    close: Any
    width: Any

    def sample(self, u: Any, near: Any) -> Any:
        """Parameter t for a uniform number; ``near`` (Bool) chooses the second density."""
        centre, width = dr.select(near, self.close, self.foot), dr.select(near, self.width, self.height)
        a, b = self._ends(centre, width)
        t = centre + width * dr.tan(dr.lerp(a, b, u))
        return dr.clip(t, self.start, self.start + self.length)

    def pdf(self, t: Any) -> Any:
        """Density of t per unit of the parameter."""
        total = mi.Float(0)
        for centre, width in ((self.foot, self.height), (self.close, self.width)):
            a, b = self._ends(centre, width)
            total += width / ((dr.square(t - centre) + dr.square(width)) * (b - a))
        return 0.5 * total

    def _ends(self, centre: Any, width: Any) -> tuple[Any, Any]:
        return dr.atan((self.start - centre) / width), dr.atan((self.start + self.length - centre) / width)


def curve_proposal(edges: Any, view: Any, leaf: Any, lobe: Any, width2: Any) -> CurveProposal:
    """The proposal for curve ``leaf`` of a `SceneEdges`, seen from finite viewpoints.

    Args:
        lobe, width2: direction of interest and its squared angular width.
    """
    start, length = edges.span(leaf, view, lobe)
    # The curve as a straight line through its middle.
    middle = edges.at(view, leaf, start + 0.5 * length)
    tangent, to = middle.tangent, view.toward(middle.p)
    t2 = dr.maximum(dr.squared_norm(tangent), 1e-20)
    foot = -dr.dot(to, tangent) / t2
    height = dr.norm(to + tangent * foot) * dr.rsqrt(t2)
    along = dr.dot(lobe, tangent)
    across = t2 - dr.square(along)
    close = (along * dr.dot(lobe, to) - dr.dot(tangent, to)) / dr.maximum(across, 1e-6 * t2)
    close = dr.clip(close, -0.5 * length, 0.5 * length)
    whole = edges.closed(leaf)
    # A closed outline is centred on its closest point and everywhere equally far.
    close, foot = dr.select(whole, 0, close), dr.select(whole, 0, foot)
    nearest = view.toward(edges.at(view, leaf, start + 0.5 * length + close).p)
    distance = dr.norm(nearest)
    miss2 = dr.maximum(2 - 2 * dr.dot(lobe, nearest) / dr.maximum(distance, 1e-12), 0)
    width = distance * dr.sqrt(miss2 + width2) * dr.rsqrt(t2)
    centre = start + 0.5 * length
    least = 1e-5 * length
    return CurveProposal(
        start=start,
        length=length,
        foot=foot + centre,
        height=dr.maximum(dr.select(whole, 1e3, height), least),
        close=close + centre,
        width=dr.maximum(width, least),
    )
