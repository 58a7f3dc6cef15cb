"""The image plane of reparameterized rendering: film positions follow a warp field, too.

A pixel is ∫ k(s) L(s) ds / ∫ k(s) ds over film positions s. With s following the field F,

    d pixel = [∫ k dL + (L - c) (∇k·F + k ∇·F) ds - ∮ k (L - c) F·n dl] / ∫ k ds,

for any c that does not depend on s. c is the pixel's mean over all *other* samples: what is the
same everywhere then adds no noise. The line integral is what the field carries over the border of a
film that is not sampled beyond its pixels (`sample_border`); else k is 0 there.
"""

from __future__ import annotations

import math
from typing import Any

import drjit as dr
import mitsuba as mi

from ..core.errors import UnsupportedError
from .film import BoundaryFilm

LEAST = 0.05  # filter weight of the other samples below which they give no mean


def require_sloped_filter(sensor: Any) -> None:
    """Refuse a box filter.

    Raises:
        UnsupportedError: its border is a discontinuity that no field follows.
    """
    if sensor.film().rfilter().is_box_filter():
        raise UnsupportedError(
            "prb_reparam needs a continuous reconstruction filter, and the film has a box filter, whose border is"
            ' itself a discontinuity. Use <rfilter type="tent"/> or "gaussian" (the default).'
        )


class WarpedFilm(BoundaryFilm):
    """Film of samples that follow a field (its filter has a slope, see `require_sloped_filter`)."""

    def sloped(self, pos: Any):
        """`footprint` with the filter's slope: (flat index, k, ∂k/∂pos, mask) one after the other."""
        local = pos - mi.Vector2f(self.start)
        reach = math.ceil(self.rfilter.radius() - 0.5)
        base = mi.Point2i(dr.floor(local))
        along: list[list] = []
        for axis in range(2):
            steps = []
            for j in range(-reach, reach + 1):
                i = base[axis] + j
                x = mi.Float(i) + 0.5 - local[axis]
                near = dr.abs(x) < self.rfilter.radius()
                with dr.resume_grad():
                    x = mi.Float(x)
                    dr.enable_grad(x)
                    dr.set_grad(x, -1)
                    k = self.rfilter.eval(x)
                    slope = dr.forward_to(k)
                k = dr.select(near, dr.detach(k), 0)
                steps.append((i, k, dr.select(near, slope, 0), (i >= 0) & (i < self.size[axis])))
            along.append(steps)
        for y, ky, sy, in_y in along[1]:
            for x, kx, sx, in_x in along[0]:
                pixel = mi.UInt32(y * self.size[0] + x)
                yield pixel, kx * ky, mi.Vector2f(sx * ky, kx * sy), in_x & in_y

    def sum_up(self, pos: Any, values: list) -> None:
        """Take all samples of a render, for the means of pixels."""
        self.total = dr.zeros(mi.Float, self.size[0] * self.size[1] * self.channels)
        for pixel, k, inside in self.footprint(pos):
            for c, v in enumerate([*values, mi.Float(1)]):
                dr.scatter_add(self.total, v * k, pixel * self.channels + c, inside)

    def mean(self, pixel: Any, c: int, inside: Any, k: Any = 0, value: Any = 0) -> Any:
        """Mean of channel ``c``, without a sample ``value`` of weight ``k``."""
        first = pixel * self.channels
        weight = dr.gather(mi.Float, self.total, first + self.channels - 1, inside) - k
        total = dr.gather(mi.Float, self.total, first + c, inside) - k * value
        return dr.select(weight > LEAST, total / weight, 0)

    def put_warped(self, pos, values, tangents, F, div) -> None:
        """Add samples: channels ``values`` with derivatives ``tangents``, at positions moving with F."""
        for pixel, k, slope, inside in self.sloped(pos):
            factor = dr.dot(slope, F) + k * div
            for c, (v, dv) in enumerate(zip(values, tangents)):
                change = k * dv + (v - self.mean(pixel, c, inside, k, v)) * factor
                dr.scatter_add(self.data, change, pixel * self.channels + c, inside)

    def read_warped(self, adjoint, pos, values) -> tuple[Any, Any]:
        """Adjoints of F and of its divergence."""
        δF, δdiv = mi.Vector2f(0), mi.Float(0)
        for pixel, k, slope, inside in self.sloped(pos):
            received = adjoint(pixel, inside)
            for c, v in enumerate(values):
                g = (v - self.mean(pixel, c, inside, k, v)) * received[c]
                g = dr.select(inside, g, 0)
                δF += slope * g
                δdiv += k * g
        return δF, δdiv

    def put_outflow(self, pos, values, outflow) -> None:
        """Subtract what leaves through the border: F·n = ``outflow`` at positions on it."""
        for pixel, k, inside in self.footprint(pos):
            for c, v in enumerate(values):
                change = (self.mean(pixel, c, inside) - v) * k * outflow
                dr.scatter_add(self.data, change, pixel * self.channels + c, inside)

    def read_outflow(self, adjoint, pos, values) -> Any:
        """Adjoint of F·n."""
        δ = mi.Float(0)
        for pixel, k, inside in self.footprint(pos):
            received = adjoint(pixel, inside)
            for c, v in enumerate(values):
                change = (self.mean(pixel, c, inside) - v) * k
                δ += dr.select(inside, change * received[c], 0)
        return δ

    def read_radiance(self, adjoint, pos, factor, wavelengths, active) -> Any:
        """Adjoint of a Spectrum L that is stored as ``factor * L``."""
        return self.to_radiance(self._received(adjoint, pos, active), factor, wavelengths)
