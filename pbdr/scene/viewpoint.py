"""From where an outline is seen: a point, or a direction for what lies at infinity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi


@dataclass
class Viewpoint:
    """One viewpoint per lane.

    Attributes:
        at: Point3f; where ``finite`` is false, the common direction of all view rays.
        finite: bool or Bool.
        grazes: a face that is seen exactly edge-on counts as seen, not as hidden.
    """

    at: Any
    finite: Any = True
    grazes: bool = False

    def toward(self, p: Any) -> Any:
        """Vector from the viewpoint to ``p`` (not normalized), or the view direction."""
        return mi.Vector3f(dr.select(self.finite, p - self.at, mi.Vector3f(self.at)))
