"""Which outlines cast shadows that are worth their samples, learned from render to render."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import drjit as dr
import mitsuba as mi

from .discrete import DeviceDistribution

CELLS = 512  # most groups of curves
AIMED = 0.7  # share of the samples that follow what was learned: the weights of others grow at most by 1 / (1 - AIMED)
MEMORY = 0.9  # part of what was learned that is kept from render to render


@dataclass
class EdgeGuide:
    """Probabilities of groups of curves, in proportion to √E[w²] of what samples w within them are worth.

    Most outlines seen from a light are hidden from it, or their shadow falls where the sensor does not see it: a hierarchy of
    bounds cannot know. All updates are device operations on arrays of fixed size, so that they may be part of a frozen step; a
    dataclass, so that `dr.freeze` finds them.

    Attributes:
        moment, visits: Float per group, decaying sums of w² and of samples.
    """

    moment: Any
    visits: Any
    learned: ClassVar[tuple[str, ...]] = ("moment", "visits")

    @classmethod
    def kept(cls, guides: dict[str, Any], name: str, groups: int) -> EdgeGuide:
        """The guide ``name`` among those of a sensor, a new one where the number of groups has changed."""
        known = guides.get(name)
        if known is None or dr.width(known.moment) != groups:
            known = guides[name] = cls.of(groups)
        return known

    @classmethod
    def of(cls, groups: int) -> EdgeGuide:
        """A guide that knows nothing."""
        arrays = [dr.zeros(mi.Float, groups) for _ in range(2)]
        dr.make_opaque(arrays)
        return cls(*arrays)

    def begin(self, level: int, in_use: Any) -> EdgeChoice:
        """What one render chooses by.

        Args:
            level: of the tree, whose nodes are the groups.
            in_use: Bool per group, whether it has any curves.
        """
        self.moment, self.visits = MEMORY * self.moment, MEMORY * self.visits
        dr.eval(self.moment, self.visits)
        worth = dr.sqrt(_with_neighbours(self.moment) / dr.maximum(_with_neighbours(self.visits), 1))
        worth = dr.select(in_use, worth, 0)
        total = dr.sum(worth)
        known = total > 0
        return EdgeChoice(self, level, worth * dr.select(known, dr.rcp(total), 0), dr.select(known, AIMED, 0))


class EdgeChoice:
    """Groups of curves with the probabilities ``weights``, by which a share ``aimed`` of the samples is chosen.

    It stays the same through one render: its forward and its adjoint derivative use the same samples.
    """

    def __init__(self, guide: EdgeGuide, level: int, weights: Any, aimed: Any):
        self.guide, self.level, self.weights, self.aimed = guide, level, weights, aimed
        dr.eval(self.weights, self.aimed)
        self.distribution = DeviceDistribution(self.weights)

    def learn(self, group: Any, value: Any, probability: Any, samples: Any) -> None:
        """Remember the samples ``value`` (their sum is the estimate), for later renders.

        Args:
            probability: with which the group was chosen.
            samples: Float, their number.
        """
        w = value * probability * samples
        w = dr.select(dr.isfinite(w), w, 0)
        moment, visits = (dr.zeros(mi.Float, dr.width(self.weights)) for _ in range(2))
        dr.scatter_reduce(dr.ReduceOp.Add, moment, dr.square(w), group)
        dr.scatter_reduce(dr.ReduceOp.Add, visits, mi.Float(1), group)
        self.guide.moment += moment
        self.guide.visits += visits
        dr.eval(self.guide.moment, self.guide.visits)


def _with_neighbours(x: Any) -> Any:
    """The sum over each group and the two beside it, which lie near: rare samples beside a learned group must not weigh much."""
    i, last = dr.arange(mi.UInt32, dr.width(x)), dr.width(x) - 1
    total = mi.Float(x)
    total += dr.gather(mi.Float, x, i - 1, i > 0) + dr.gather(mi.Float, x, i + 1, i < last)
    return total
