"""The film side of derivatives: from values at film positions to pixels, and the adjoint of that.

A pixel is Σ k(s) v / W: values v at positions s, filter k, weight W. For radiance W = Σ k over the
same samples; for boundary terms, which are integrals and not averages, W is its expectation, so
that `Film.develop` treats derivatives like radiance.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from ..core.errors import UnsupportedError

QUADRATURE = 512  # points over half the support of the reconstruction filter


_MASSES: dict[tuple, tuple[float, list[float]]] = {}


def filter_mass(rfilter: Any) -> tuple[float, list[float]]:
    """∫ k along one axis over the support, and beyond j + ½ pixels from the centre, j = 0, 1, …

    Literals only, which Dr.Jit folds while tracing: no kernel runs, so it may be called anywhere.
    """
    key = (mi.variant(), str(rfilter))
    if key not in _MASSES:
        radius = rfilter.radius()
        x = (np.arange(QUADRATURE) + 0.5) * (radius / QUADRATURE)
        values = np.array([rfilter.eval(mi.Float(float(v)))[0] for v in x]) * (radius / QUADRATURE)
        tails = [float(values[x > j + 0.5].sum()) for j in range(math.ceil(radius - 0.5))]
        _MASSES[key] = 2 * float(values.sum()), tails
    return _MASSES[key]


def coalesces(film: Any, spp: int, least: int = 4) -> bool:
    """Whether blocks add up neighbouring samples before they touch memory: on GPUs; CPUs need 2.4 times as long for it.

    On films narrower than the filter in any case: without it Mitsuba 3.9.1 writes beyond their memory.
    """
    if min(film.crop_size()) < math.ceil(2 * film.rfilter().radius()):
        return True
    return spp >= least and dr.backend_v(mi.Float) == dr.JitBackend.CUDA


def splat(film: Any, pos: Any, value: Any, alpha: Any, wavelengths: Any, spp: int) -> None:
    """Add samples of radiance (Spectrum) and alpha to a film, ``spp`` per pixel, one pixel after the other."""
    block = film.create_block()
    block.set_coalesce(coalesces(film, spp))
    mi.ad.integrators.common.ADIntegrator._splat_to_block(
        block, film, pos, value=value, weight=1.0, alpha=alpha, aovs=[], wavelengths=wavelengths
    )
    film.put_block(block)


class Adjoint:
    """Adjoints of what a film stores: Vector4f per pixel, channels that it has not are 0.

    Args:
        pixel: UInt32, number of each.
        values: up to four Float.
    """

    def __init__(self, pixel: Any, values: list[Any]):
        self.table = dr.zeros(mi.Float, 4 * dr.width(pixel))
        dr.scatter(self.table, mi.Vector4f(*values, *[0] * (4 - len(values))), pixel)

    def __call__(self, pixel: Any, active: Any = True) -> Any:
        return dr.gather(mi.Vector4f, self.table, pixel, active)


def require_colours(sensor: Any, name: str) -> None:
    """Raises:
    UnsupportedError: the film of ``sensor`` does not store RGB (``specfilm``); ``name``: of the integrator.
    """
    film = sensor.film()
    if mi.has_flag(film.flags(), mi.FilmFlags.Special):
        remedy = "Use an hdrfilm, or detach what moves" + (
            ", or set sppp=0 and sppi=0 (the gradient then lacks visibility)." if name == "prb_edge" else "."
        )
        raise UnsupportedError(
            f"Film of sensor '{sensor.id()}': {name} cannot differentiate visibility on a film of type {film.class_name()}, whose"
            f" channels it does not know. {remedy}"
        )


class FilmSide:
    """Filter footprint, weights and channels of one sensor's film, which stores RGB (`require_colours`)."""

    def __init__(self, sensor: Any):
        self.film = film = sensor.film()
        self.rfilter = film.rfilter()
        self.size = [int(n) for n in film.crop_size()]
        self.start = mi.ScalarPoint2i(film.crop_offset())
        self.channels = film.prepare([])
        self.has_alpha = mi.has_flag(film.flags(), mi.FilmFlags.Alpha)

    # ---------------------------------------------------------------- values and pixels

    def to_channels(self, value: Any, alpha: Any, wavelengths: Any) -> list:
        """What is stored for a sample: RGB, and alpha if the film has it."""
        if mi.is_spectral:
            rgb = mi.spectrum_to_srgb(value, wavelengths)
        elif mi.is_monochromatic:
            rgb = mi.Color3f(value.x)
        else:
            rgb = value
        return [rgb.x, rgb.y, rgb.z] + ([alpha] if self.has_alpha else [])

    def footprint(self, pos: Any, active: Any = True):
        """Pixels reached from ``pos``: (flat index, filter value, mask) one after the other."""
        local = pos - mi.Vector2f(self.start)
        box = self.rfilter.is_box_filter()
        reach = 0 if box else math.ceil(self.rfilter.radius() - 0.5)
        base = mi.Point2i(dr.floor(local))
        along = []
        for axis in range(2):
            steps = []
            for k in range(-reach, reach + 1):
                j = base[axis] + k
                distance = mi.Float(j) + 0.5 - local[axis]
                weight = mi.Float(1)
                if not box:
                    weight = dr.select(dr.abs(distance) < self.rfilter.radius(), self.rfilter.eval(distance), 0)
                steps.append((j, weight, (j >= 0) & (j < self.size[axis])))
            along.append(steps)
        for y, wy, in_y in along[1]:
            for x, wx, in_x in along[0]:
                yield mi.UInt32(y * self.size[0] + x), wx * wy, active & in_x & in_y

    # ---------------------------------------------------------------- weights

    def expected_weight(self, pixel: Any, active: Any = True) -> Any:
        """∫ k over the film, per sample density 1: the whole mass except near an unsampled border."""
        if self.rfilter.is_box_filter():
            return mi.Float(1)
        mass, tails = filter_mass(self.rfilter)
        weight = mi.Float(1)
        for j, n in ((pixel % self.size[0], self.size[0]), (pixel // self.size[0], self.size[1])):
            along = mi.Float(mass)
            if not self.film.sample_border():
                for k, tail in enumerate(tails[:n]):
                    along -= dr.select(j == k, tail, 0) + dr.select(j == n - 1 - k, tail, 0)
            weight *= along
        return weight

    def sampled_weight(self, pos: Any, spp: int) -> Any:
        """Σ k over the samples at ``pos``, four times per pixel: packets of four are added twice as fast."""
        block = mi.ImageBlock(
            self.size, self.start, 4, self.rfilter, border=False, coalesce=coalesces(self.film, spp, 16)
        )
        block.put(pos, [mi.Float(1)] * 4)
        return block.tensor().array

    # ---------------------------------------------------------------- images and their adjoint

    def develop(self, data: Any, weight: Callable) -> Any:
        """Image of a storage without weights (Float, channel fastest) and a weight per pixel."""
        (w, h), n = self.size, self.channels
        with dr.suspend_grad():
            i = dr.arange(mi.UInt32, w * h * n)
            weights = dr.select(i % n == n - 1, weight(i // n), 0)
        self.film.clear()
        self.film.put_block(mi.ImageBlock(mi.TensorXf(data + weights, (h, w, n)), self.start))
        return self.film.develop()

    def adjoint(self, grad_in: Any, weight: Callable) -> Adjoint:
        """∂⟨grad_in, image⟩ / ∂ stored values."""
        pixel = dr.arange(mi.UInt32, self.size[0] * self.size[1])
        if re.search(r"pixel_format = rgba?,", str(self.film)):
            flat, n = grad_in.array, self.film.base_channels_count()
            w = weight(pixel)
            factor = dr.select(w != 0, dr.rcp(w), 1)
        else:  # other formats mix channels when they develop
            with dr.resume_grad():
                data = dr.zeros(mi.Float, self.size[0] * self.size[1] * self.channels)
                dr.enable_grad(data)
                image = self.develop(data, weight)
                dr.set_grad(image, grad_in)
                dr.enqueue(dr.ADMode.Backward, image)
                dr.traverse(dr.ADMode.Backward)
                flat, n, factor = dr.grad(data), self.channels, 1
        return Adjoint(pixel, [dr.gather(mi.Float, flat, pixel * n + c) * factor for c in range(3 + self.has_alpha)])

    def radiance_adjoint(self, grad_in: Any, pos: Any, wavelengths: Any, spp: int) -> tuple[Any, Any]:
        """∂⟨grad_in, image⟩ / ∂(L, alpha) for samples at ``pos``, ``spp`` per pixel: Spectrum and Float."""
        table = self.sampled_weight(pos, spp)
        adjoint = self.adjoint(grad_in, lambda pixel: dr.gather(mi.Float, table, 4 * pixel))
        received = self._received(adjoint, pos)
        return self.to_radiance(received, 1, wavelengths), received[3] if self.has_alpha else mi.Float(0)

    def _received(self, adjoint: Adjoint, pos: Any, active: Any = True) -> list[Any]:
        """Adjoints of the stored channels of samples at ``pos``."""
        received = mi.Vector4f(0)
        for pixel, k, inside in self.footprint(pos, active):
            received += k * adjoint(pixel, inside)
        return [received[c] for c in range(3 + self.has_alpha)]

    def to_radiance(self, received: list, factor: Any, wavelengths: Any) -> Any:
        """Adjoint of a Spectrum L of which ``factor * L`` is stored, from those of the stored channels."""
        if not (mi.is_spectral or mi.is_monochromatic):
            return mi.Color3f(*received[:3]) * factor
        with dr.resume_grad():
            L = dr.full(mi.Spectrum, 1, dr.width(received[0]))
            dr.enable_grad(L)
            stored = self.to_channels(L * factor, 0, wavelengths)
            dr.backward(sum(g * v for g, v in zip(received, stored[:3])))
            return dr.grad(L)


class BoundaryFilm(FilmSide):
    """∫ k(s) v dℓ over curves on the film, and its adjoint."""

    def __init__(self, sensor: Any):
        super().__init__(sensor)
        self.data = dr.zeros(mi.Float, self.size[0] * self.size[1] * self.channels)

    def put(self, pos: Any, value: Any, alpha: Any, wavelengths: Any, active: Any) -> None:
        """Add samples at positions ``pos`` (pixels), spread by the reconstruction filter."""
        values = self.to_channels(value, alpha, wavelengths)
        for pixel, k, inside in self.footprint(pos, active):
            for c, v in enumerate(values):
                dr.scatter_add(self.data, v * k, pixel * self.channels + c, inside)

    def image(self) -> Any:
        """The derivative image of all samples put so far."""
        return self.develop(self.data, self.expected_weight)

    def read(self, adjoint: Adjoint, pos: Any, value: Any, alpha: Any, wavelengths: Any, active: Any) -> Any:
        """Float per sample: ⟨adjoint, what `put` would add⟩."""
        values = self.to_channels(value, alpha, wavelengths)
        result = mi.Float(0)
        for pixel, k, inside in self.footprint(pos, active):
            g = adjoint(pixel, inside)
            result += k * sum(g[c] * v for c, v in enumerate(values))
        return result
