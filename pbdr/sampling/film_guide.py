"""Where on the film boundary samples are worth their cost, learned from render to render."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import drjit as dr
import mitsuba as mi

from .discrete import DeviceDistribution

SIDE = 32  # most cells along one axis of the film
UNIFORM = 0.2  # share of the samples that ignore what was learned: weights grow at most fivefold
MEMORY = 0.8  # share of what was learned that is kept from render to render
FAR = 0.1  # of the diagonal of the scene's outlines: motion after which everything is forgotten


@dataclass
class FilmGuide:
    """Sample counts per cell of a film, in proportion to √E[w²] of the samples w that fell there.

    That distribution has the least variance. All updates are device operations on arrays of fixed
    size, so that they may be part of a frozen step; a dataclass, so that `dr.freeze` finds them.

    Attributes:
        moment, visits: Float per cell, decaying sums of w² and of samples.
        box: Float[6], the outlines' bounding box when learning began.
        columns, rows: number of cells.
    """

    moment: Any
    visits: Any
    box: Any
    columns: int
    rows: int
    learned: ClassVar[tuple[str, ...]] = ("moment", "visits", "box")

    @classmethod
    def over(cls, size: Any, most: int = SIDE) -> FilmGuide:
        """A guide that knows nothing, for a film window of ``size`` pixels, of at most ``most`` cells along a side."""
        columns, rows = (min(most, max(1, round(float(s)))) for s in (size[0], size[1]))
        arrays = [dr.zeros(mi.Float, n) for n in (columns * rows, columns * rows, 6)]
        dr.make_opaque(arrays)
        return cls(*arrays, columns, rows)

    def begin(self, box: Any, low: Any, size: Any) -> FilmSampler:
        """The sampler of one render; forgets what it knows if the outlines have moved far.

        Args:
            box: Float[6], bounding box of the outlines.
            low, size: the film window in pixels.
        """
        i = dr.arange(mi.UInt32, 6)
        shift = dr.max(dr.abs(box - self.box))
        extent = dr.max(dr.select(i >= 3, box - dr.gather(mi.Float, box, dr.select(i >= 3, i - 3, 0)), 0))
        stays = shift <= FAR * extent
        self.moment = dr.select(stays, MEMORY * self.moment, 0)
        self.visits = dr.select(stays, MEMORY * self.visits, 0)
        self.box = dr.select(stays, self.box, box)
        dr.eval(self.moment, self.visits, self.box)
        # Neighbours share what they know: rare samples beside a learned cell must not weigh much.
        learned = dr.sqrt(self.blurred(self.moment) / dr.maximum(self.blurred(self.visits), 1))
        total = dr.sum(learned)
        cells = self.columns * self.rows
        known = total > 0
        weights = dr.select(known, (1 - UNIFORM) * learned / dr.select(known, total, 1) + UNIFORM / cells, 1 / cells)
        return FilmSampler(self, weights, low, size)

    def blurred(self, x: Any) -> Any:
        """Sum over the 3×3 cells around each."""
        i, total = dr.arange(mi.UInt32, self.columns * self.rows), mi.Float(0)
        column, row = mi.Int32(i % self.columns), mi.Int32(i // self.columns)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                a, b = column + dx, row + dy
                inside = (a >= 0) & (a < self.columns) & (b >= 0) & (b < self.rows)
                total += dr.gather(mi.Float, x, mi.UInt32(b * self.columns + a), inside)
        return total


class FilmSampler:
    """Film positions with the density that a `FilmGuide` has learned."""

    def __init__(self, guide: FilmGuide, weights: Any, low: Any, size: Any):
        dr.eval(weights)
        self.guide, self.weights, self.low = guide, weights, low
        self.distribution = DeviceDistribution(weights)
        self.cell = mi.Vector2f(size.x / guide.columns, size.y / guide.rows)

    def sample(self, u: Any, within: Any) -> Any:
        """Film position (pixels) for a number in [0, 1) and two more; stratified where ``u`` is."""
        index, _, _ = self.distribution.sample(u)
        columns = self.guide.columns
        corner = mi.Vector2f(mi.Float(index % columns), mi.Float(index // columns))
        return mi.Point2f(self.low + (corner + within) * self.cell)

    def pdf(self, pos: Any) -> Any:
        """Density of `sample` per square pixel."""
        return dr.gather(mi.Float, self.weights, self.cell_of(pos)) / (self.cell.x * self.cell.y)

    def learn(self, pos: Any, value: Any, samples: Any) -> None:
        """Remember the samples ``value`` (their sum is the estimate) that were started at ``pos``.

        Later renders are told, this one goes on as it began: its forward and its adjoint derivative
        use the same samples.

        Args:
            samples: Float, their number, lanes of wasted ones included.
        """
        index, guide = self.cell_of(pos), self.guide
        # What the sample would weigh if all cells were equally likely.
        w = value * (dr.gather(mi.Float, self.weights, index) * samples)
        w = dr.select(dr.isfinite(w), w, 0)
        new = dr.zeros(mi.Float, dr.width(guide.moment))
        dr.scatter_reduce(dr.ReduceOp.Add, new, dr.square(w), index)
        guide.moment += new
        guide.visits += self.weights * samples
        dr.eval(guide.moment, guide.visits)

    def cell_of(self, pos: Any) -> Any:
        """UInt32, the number of a position's cell."""
        cell = mi.Vector2i((mi.Point2f(pos) - self.low) / self.cell)
        columns, rows = self.guide.columns, self.guide.rows
        return mi.UInt32(dr.clip(cell.y, 0, rows - 1) * columns + dr.clip(cell.x, 0, columns - 1))
