"""The film side of boundary terms: from values at film positions to a derivative image."""

from __future__ import annotations

import math
from typing import Any

import drjit as dr
import mitsuba as mi

from ..core.errors import UnsupportedError

QUADRATURE = 256  # points over the support of the reconstruction filter


def filter_mass(rfilter: Any, count: int, low: float, high: float) -> Any:
    """∫ f(x - (j + ½)) dx over [low, high] for pixels j = 0 … count - 1 (Float, in pixels).

    The primal image divides by Σ f over its samples, whose expectation is this integral: near a
    border without ``sample_border`` it is less than the mass of the whole filter.
    """
    if rfilter.is_box_filter():
        return dr.full(mi.Float, 1, count)
    radius = rfilter.radius()
    step = 2 * radius / QUADRATURE
    i = dr.arange(mi.UInt32, count * QUADRATURE)
    j, k = i // QUADRATURE, i % QUADRATURE
    offset = (mi.Float(k) + 0.5) * step - radius
    x = mi.Float(j) + 0.5 + offset
    value = dr.select((x >= low) & (x < high), rfilter.eval(offset), 0)
    return dr.block_sum(value, QUADRATURE) * step


class BoundaryFilm:
    """∫ k(s) v dℓ over curves on the film, and its adjoint.

    The film's own weight division and pixel format apply: the storage gets the expected weight of
    the primal image, so that `Film.develop` treats derivatives like radiance.
    """

    def __init__(self, sensor: Any):
        self.film = film = sensor.film()
        if mi.has_flag(film.flags(), mi.FilmFlags.Special):
            raise UnsupportedError(
                f"prb_edge cannot differentiate visibility on film '{film.class_name()}'; use an hdrfilm,"
                " or set sppp=0."
            )
        self.rfilter = film.rfilter()
        self.size = [int(n) for n in film.crop_size()]
        self.start = mi.ScalarPoint2i(film.crop_offset())
        self.channels = film.prepare([])
        self.has_alpha = mi.has_flag(film.flags(), mi.FilmFlags.Alpha)
        self.data = dr.zeros(mi.Float, self.size[0] * self.size[1] * self.channels)

    def put(self, pos: Any, value: Any, alpha: Any, wavelengths: Any, active: Any) -> None:
        """Add samples at positions ``pos`` (pixels), spread by the reconstruction filter."""
        values = self._to_channels(value, alpha, wavelengths)
        for pixel, k, inside in self._footprint(pos, active):
            for c, v in enumerate(values):
                dr.scatter_add(self.data, v * k, pixel * self.channels + c, inside)

    def develop(self) -> Any:
        """The derivative image of all samples put so far."""
        return self._develop(self.data)

    def adjoint(self, grad_in: Any) -> Any:
        """Gradient with respect to the storage (Float), for a gradient of the developed image."""
        with dr.resume_grad():
            data = dr.zeros(mi.Float, dr.width(self.data))
            dr.enable_grad(data)
            image = self._develop(data)
            dr.set_grad(image, grad_in)
            dr.enqueue(dr.ADMode.Backward, image)
            dr.traverse(dr.ADMode.Backward)
            return dr.grad(data)

    def read(self, adjoint: Any, pos: Any, value: Any, alpha: Any, wavelengths: Any, active: Any) -> Any:
        """Float per sample: ⟨adjoint, what `put` would add⟩."""
        values = self._to_channels(value, alpha, wavelengths)
        result = mi.Float(0)
        for pixel, k, inside in self._footprint(pos, active):
            for c, v in enumerate(values):
                result += dr.gather(mi.Float, adjoint, pixel * self.channels + c, inside) * k * v
        return result

    def _to_channels(self, value, alpha, wavelengths) -> list:
        if mi.is_spectral:
            rgb = mi.spectrum_to_srgb(value, wavelengths)
        elif mi.is_monochromatic:
            rgb = mi.Color3f(value.x)
        else:
            rgb = value
        return [rgb.x, rgb.y, rgb.z] + ([alpha] if self.has_alpha else [])

    def _footprint(self, pos, active):
        """Pixels reached from ``pos``: (flat index, filter value, mask) one after the other."""
        local = pos - mi.Vector2f(self.start)
        if self.rfilter.is_box_filter():
            reach, offsets = 0, [0]
        else:
            reach = math.ceil(self.rfilter.radius() - 0.5)
            offsets = list(range(-reach, reach + 1))
        base = mi.Point2i(dr.floor(local))
        along = []
        for axis in range(2):
            steps = []
            for k in offsets:
                j = base[axis] + k
                distance = mi.Float(j) + 0.5 - local[axis]
                weight = mi.Float(1) if self.rfilter.is_box_filter() else self.rfilter.eval(distance)
                if not self.rfilter.is_box_filter():
                    weight = dr.select(dr.abs(distance) < self.rfilter.radius(), weight, 0)
                steps.append((j, weight, (j >= 0) & (j < self.size[axis])))
            along.append(steps)
        for y, wy, in_y in along[1]:
            for x, wx, in_x in along[0]:
                yield mi.UInt32(y * self.size[0] + x), wx * wy, active & in_x & in_y

    def _develop(self, data: Any) -> Any:
        film, (w, h), n = self.film, self.size, self.channels
        with dr.suspend_grad():
            border = self.rfilter.border_size() if film.sample_border() else 0
            mass = [filter_mass(self.rfilter, m, -border, m + border) for m in (w, h)]
            i = dr.arange(mi.UInt32, w * h)
            weight = dr.gather(mi.Float, mass[0], i % w) * dr.gather(mi.Float, mass[1], i // w)
            weights = dr.zeros(mi.Float, w * h * n)
            dr.scatter(weights, weight, i * n + (n - 1))
        film.clear()
        film.put_block(mi.ImageBlock(mi.TensorXf(data + weights, (h, w, n)), self.start))
        return film.develop()
