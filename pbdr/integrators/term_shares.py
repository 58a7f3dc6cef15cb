"""How many boundary samples a plain render takes: what earlier derivatives of the same sensor found them to be worth.

Terms are sampled independently of each other. With s_t times the samples the variance of the gradient's boundary part is
Σ V_t / s_t, at the cost Σ c_t s_t. The shares are those of the least cost at which it is no more than with s_t = 1,

    s_t = √(V_t / c_t) · Σ √(V_u c_u) / Σ V_u,

and, where that costs less than a part ``SPARE`` of the interior, more in proportion up to it. V_t is estimated from the
samples themselves: the second moment of what each adds to the loss where its outline moves by one unit of length. Counts
depend on earlier renders only, so that every render is unbiased.

What it cannot do: it does not know the variance of the interior, nor which parameters are read. `pbdr.optimize` measures
both (`optimization.allocation`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import drjit as dr
import mitsuba as mi

from ..core.recording import recording
from ..sampling.paired import both_sides
from ..scene.sensors import cameras
from .boundary import EdgeRecord
from .primary_edges import OUTLINE

# CPU time of one boundary sample, in that of one interior sample with its primal image (measured on Spot, depth 2, 128²).
PRIMARY_COST, INDIRECT_COST = 1.5, 2.8
SPARE = 0.6  # of the interior's cost, spent on boundaries in any case
FIRST = (1.0, 0.25)  # shares before anything is known
MOST = 4.0
FEWEST = 4096  # samples by which something new is found
FIRST_FEW, EVERY = 4, 4  # derivatives that are asked, at first and later
MEMORY = 0.7  # part of what was learned that is kept from render to render


@dataclass
class TermWorth:
    """Variance of one sample per pixel, of the primary and of the indirect boundary: Float[1], decaying means.

    ``known`` counts derivatives. Of the later ones only some are asked: the answer changes slowly.
    """

    primary: Any
    indirect: Any
    known: Any
    learned: ClassVar[tuple[str, ...]] = ("primary", "indirect", "known")

    @classmethod
    def nothing(cls) -> TermWorth:
        arrays = [dr.zeros(mi.Float, 1) for _ in range(3)]
        dr.make_opaque(arrays)
        return cls(*arrays)

    def learn(self, primary: Any, indirect: Any) -> None:
        """Take in what one derivative found: sums of squares times shares, Float[1]."""
        old = dr.select(self.known > 0, MEMORY, 0)
        self.primary = dr.lerp(primary, self.primary, old)
        self.indirect = dr.lerp(indirect, self.indirect, old)

    def read(self) -> tuple[int, tuple[float, float]]:
        """(derivatives so far, variances) on the host. Not inside of what `dr.freeze` records."""
        return int(self.known[0]), (float(self.primary[0]), float(self.indirect[0]))


def best_shares(worth: tuple[float, float], cost: tuple[float, float], least: float) -> tuple[float, float]:
    """(primary, indirect): factors on the samples of each term, rounded to steps of √2.

    Args:
        worth: variances V_t of one sample per pixel.
        cost: c_t, of all samples of a term at share 1, relative to the interior.
        least: smallest share of the indirect boundary.
    """
    total = sum(worth)
    if not math.isfinite(total) or total <= 0:
        return FIRST
    both = sum(math.sqrt(v * c) for v, c in zip(worth, cost))
    share = [math.sqrt(v / c) * both / total for v, c in zip(worth, cost)]
    more = SPARE / sum(s * c for s, c in zip(share, cost))
    share = [min(max(s * max(1.0, more), low), MOST) for s, low in zip(share, (0.25, least))]
    primary, indirect = (2 ** (round(2 * math.log2(s)) / 2) for s in share)
    return primary, indirect


class Terms:
    """Samples per pixel of both boundary terms in one derivative, and what they were worth.

    Attributes:
        primary, indirect: samples per pixel, 0 where a term is switched off; need not be integers.
    """

    def __init__(self, integrator: Any, sensor: Any, spp: int, mode: str):
        """Args:
        mode: forward or backward, whose samples are worth different things.
        """
        usual = integrator.usual_shares
        counts = [integrator.samples(own, spp, sensor, k) for k, own in enumerate(integrator.own_counts())]
        auto = [own is None for own in integrator.own_counts()[1:]]
        self.sums: list[Any] = [mi.Float(0), mi.Float(0)]
        self.worth: TermWorth | None = None
        self.due = False
        shares = (1.0, 1.0)
        if integrator.shares is None and any(auto):
            shares = usual.get(mode, FIRST)
            if not recording():  # what is recorded keeps its counts
                known = integrator.guides_of(sensor, "terms")
                self.worth = known.setdefault(mode, TermWorth.nothing())
                count, found = self.worth.read()
                self.due = count < FIRST_FEW or count % EVERY == 0
                if count:
                    shares = usual[mode] = best_shares(found, *_costs(sensor, counts))
            shares = tuple(s if free else 1.0 for s, free in zip(shares, auto))
        self.shares = shares
        self.primary, self.indirect = (n * s for n, s in zip(counts[1:], shares))

    def watch(self, records: Iterable[EdgeRecord], term: int) -> Iterator[EdgeRecord]:
        """The records, whose worth is added to ``term``: 0 or 1."""
        for r in records:
            if self.worth is None or r.lever is None:
                yield r
            else:
                yield replace(r, tally=lambda w, n=r.pairs: self._add(term, w, n))

    def _add(self, term: int, worth: Any, pairs: bool) -> None:
        if not self.due:
            return
        if pairs:  # the two sides of a sample
            dr.eval(worth)
            worth = both_sides(worth)
        square = dr.select(dr.isfinite(worth), dr.square(worth), 0)
        self.sums[term] += dr.sum(square) * dr.opaque(mi.Float, self.shares[term])

    def learn(self) -> None:
        """Keep what was watched for the next derivative."""
        if self.worth is not None:
            with dr.suspend_grad():
                if self.due:
                    self.worth.learn(*self.sums)
                self.worth.known = self.worth.known + 1
                dr.eval(self.worth)


def _costs(sensor: Any, counts: list[int]) -> tuple[tuple[float, float], float]:
    """(costs of primary and indirect boundary relative to the interior, smallest share of the latter)."""
    sizes = [(float(c.size[0]), float(c.size[1]), 2.0 * c.border) for c in cameras(sensor)]
    pixels = sum((w + b) * (h + b) for w, h, b in sizes)
    outline = sum(OUTLINE * (w + h) for w, h, _ in sizes)
    interior = pixels * (counts[0] or max(counts))
    cost = PRIMARY_COST * outline * max(counts[1], 1) / interior, INDIRECT_COST * pixels * max(counts[2], 1) / interior
    return cost, min(1.0, FEWEST / (pixels * max(counts[2], 1)))
