"""A discrete distribution that is built and sampled on the device, so that it can be frozen."""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi


class DeviceDistribution:
    """Choose an index with probability proportional to ``weights``.

    Args:
        weights: Float array, non-negative. All zero is allowed: then every ``pmf`` is 0.

    Nothing is read back to the host: the total stays on the device.
    """

    def __init__(self, weights: Any):
        self.size = dr.width(weights)
        self.cdf = dr.cumsum(weights)
        dr.eval(self.cdf)
        self.total = dr.gather(mi.Float, self.cdf, self.size - 1)

    def sample(self, u: Any) -> tuple[Any, Any, Any]:
        """Map ``u`` in [0, 1) to ``(index, pmf, u')`` with ``u'`` uniform in [0, 1) again.

        Monotone in ``u``: stratified numbers give stratified indices.
        """
        x = u * self.total
        index = mi.UInt32(dr.binary_search(0, self.size - 1, lambda i: dr.gather(mi.Float, self.cdf, i) <= x))
        upper = dr.gather(mi.Float, self.cdf, index)
        lower = dr.gather(mi.Float, self.cdf, index - 1, active=index > 0)
        width = upper - lower
        good = width > 0
        rest = dr.select(good, dr.clip((x - lower) / width, 0, 0.99999994), 0)
        return index, dr.select(good, width / self.total, 0), rest
