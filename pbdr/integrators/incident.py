"""Usual radiance that arrives at the vertices of paths, as a control variate.

The field V of directions at a vertex has ∫ ∇·(f V) dω = 0: it is continuous, and f vanishes at the horizon.
So any constant c may be subtracted from what arrives along a BSDF sample before it meets f ∇·V + ∇f·V, as
`reparam_film` does with the mean of a pixel. Without it, where surroundings are nearly even, the lobe of a glossy
surface alone gives most of the variance. c is the squared mean of √L over a few independent paths through nearby
pixels: a plain mean would carry what is rare and bright to all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

CELL = 2  # pixels along each side of a cell
MOST_DEPTH = 4  # vertices of a path; later ones have c = 0


@dataclass
class IncidentRadiance:
    """c of each cell of the film, for the first vertices of paths."""

    width: int  # cells
    depth: int  # vertices
    total: Any  # Float[cells * depth * channels], sums of √L
    count: Any  # Float[cells * depth]

    @classmethod
    def of(cls, size: list[int], depth: int) -> IncidentRadiance:
        """For a film of ``size`` pixels and paths of ``depth`` vertices."""
        depth = min(depth, MOST_DEPTH)
        width, height = (-(-n // CELL) for n in size)
        rows = width * height * depth
        return cls(width, depth, dr.zeros(mi.Float, rows * _channels()), dr.zeros(mi.Float, rows))

    def add(self, pos: Any, k: Any, L: Any) -> None:
        """Take what arrives at vertex ``k`` of a path through film position ``pos`` (pixels)."""
        row, active = self._row(pos, k)
        L = mi.unpolarized_spectrum(L)
        for c in range(_channels()):
            dr.scatter_add(self.total, dr.sqrt(dr.abs(L[c])), row * _channels() + c, active)
        dr.scatter_add(self.count, mi.Float(1), row, active)

    def at(self, pos: Any, k: Any, active: Any) -> Any:
        """Spectrum; 0 where no path has come."""
        row, known = self._row(pos, k)
        active = known & active
        count = dr.gather(mi.Float, self.count, row, active)
        L = dr.zeros(mi.UnpolarizedSpectrum)
        for c in range(_channels()):
            L[c] = dr.gather(mi.Float, self.total, row * _channels() + c, active)
        return mi.Spectrum(dr.select(count > 0, dr.square(L / count), 0))

    def _row(self, pos: Any, k: Any) -> tuple[Any, Any]:
        x, y = (mi.UInt32(dr.maximum(v, 0)) // CELL for v in (pos.x, pos.y))
        cell = y * self.width + dr.minimum(x, self.width - 1)
        return cell * self.depth + dr.minimum(k, self.depth - 1), k < self.depth


def _channels() -> int:
    return len(mi.unpolarized_spectrum(mi.Spectrum(0)))
