"""What comes from inside the objects that the sensor looks at: x_o follows the surface, and the film is what slides.

The point x_o that a pixel sees would slide over the surface when that moves. Seen over the whole film, the same derivative
is that of radiance that moves along with x_o over the film, with v the motion of its image,

    dI = ∫ k dL + L ∇·(k v) ds + ∮ k L (v_b - v)·n dl,

dL with x_o following the surface, and v_b the motion of an outline: where it is the object's own, nothing is left of the
last term. So no derivative by the slide of x_o is needed, whose variance has no bound: a curved surface slides infinitely
fast at its silhouette, and near creases a walk's short flights see that x_o moves against what is around it. A share χ of
the slide is taken up so; it falls to 0 at the border of the film, where radiance would move out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from ..scene.sensors import Camera, cameras, sensor_children, sensor_moves
from ..scene.shapes import follow
from ..scene.tangents import ONCE
from .boundary import EdgeRecord
from .entry_motion import area_of
from .face_slide import step
from .reparam_film import WarpedFilm

MARGIN = 0.1  # share of the film's side over which χ rises from its border


@dataclass
class FirstPoint:
    """How x_o moves where the sensor sees it, as light inside the object sees it.

    Attributes:
        held: Float, share of the slide over the surface that is left to it, 1 - χ.
        eye: where they are seen from (Point3f), or ``None`` along parallel rays.
    """

    held: Any
    eye: Any


def sliding_cameras(sensor: Any, traits: Any) -> list[Camera]:
    """The cameras whose film can slide, if translucent objects move; else none of them."""
    film = sensor.film()
    if not traits.translucent_moves or sensor_moves(sensor) or mi.has_flag(film.flags(), mi.FilmFlags.Special):
        return []
    kinds = {s.class_name() for s in sensor_children(sensor)}
    if len(kinds) > 1 or kinds - {"PerspectiveCamera", "OrthographicCamera"} or film.rfilter().is_box_filter():
        return []
    return cameras(sensor)


def first_point(sliding: list[Camera], pos: Any) -> FirstPoint:
    """For film positions in pixels."""
    held, eye = mi.Float(1), mi.Point3f(0)
    for camera in sliding:
        χ = _share(camera, pos)[0]
        held -= χ
        eye = dr.select(χ > 0, mi.Point3f(camera.view(mi.Vector2f(0)).at), eye) if camera.is_point else None
    return FirstPoint(held, eye)


def _share(camera: Camera, pos: Any) -> tuple[Any, Any]:
    """(χ, its gradient) at film positions; 0 outside of the camera's part of the film."""
    low, high = camera.window()
    value, slope = [], []
    for axis in range(2):
        width = (high[axis] - low[axis]) * MARGIN
        a, b = (pos[axis] - low[axis]) / width, (high[axis] - pos[axis]) / width
        χ, dχ = step(dr.minimum(a, b), (0, 1))
        value.append(χ)
        slope.append(dr.select(a < b, 1, -1) * dχ / width)
    return value[0] * value[1], mi.Vector2f(slope[0] * value[1], value[0] * slope[1])


class SlidingFilm(WarpedFilm):
    """∫ L ∇·(k χ v) ds for what comes from inside, and its adjoint.

    Args:
        camera: one of `sliding_cameras`.
        pos, ray, pi: film positions in pixels, what the sensor sees there.
        inner: Spectrum, what has come from inside there.
        weight, spp: of the samples.
    """

    def __init__(self, sensor: Any, camera: Camera, pos: Any, ray: Any, pi: Any, inner: Any, weight: Any, spp: int):
        super().__init__(sensor)
        self.camera, self.pos, self.ray, self.pi = camera, mi.Point2f(pos), ray, pi
        self.χ, self.slope = _share(camera, self.pos)
        self.on = dr.any(inner != 0) & pi.is_valid() & (self.χ > 0)
        self.values = self.to_channels(dr.select(self.on, inner * weight / spp, 0), mi.Float(0), ray.wavelengths)
        dr.eval(self.values, self.pos, self.ray, self.pi, self.χ, self.slope)

    def _motion(self) -> tuple[Any, Any]:
        """Attached: (image of the material point, logarithm of the film area of a piece of it)."""
        x = follow(self.pi, self.ray, self.on)
        lens = mi.Vector2f(0)
        p, _ = self.camera.project(x.p, lens)
        area = self.camera.pixels_per_area(x.p, x.n, lens) * area_of(self.pi, self.ray, self.on)
        fine = self.on & (dr.detach(area) > 0)
        return dr.select(fine, mi.Vector2f(p), 0), dr.log(dr.select(fine, area, 1))

    def forward(self) -> Any:
        """Derivative image."""
        with dr.resume_grad():
            p, area = self._motion()
            if not dr.grad_enabled(p):
                return 0
            v, grown = dr.forward_to(p, area, flags=ONCE)
        for pixel, k, slope, inside in self.sloped(self.pos):
            factor = dr.dot(slope, v) * self.χ + k * (self.χ * grown + dr.dot(self.slope, v))
            for c, value in enumerate(self.values):
                dr.scatter_add(self.data, value * factor, pixel * self.channels + c, inside)
        return self.image()

    def backward(self, grad_in: Any) -> None:
        """Add to the parameters of moving shapes."""
        adjoint = self.adjoint(grad_in, self.expected_weight)
        δv, δgrown = mi.Vector2f(0), mi.Float(0)
        for pixel, k, slope, inside in self.sloped(self.pos):
            received = adjoint(pixel, inside)
            for c, value in enumerate(self.values):
                g = dr.select(inside, value * received[c], 0)
                δv += (slope * self.χ + self.slope * k) * g
                δgrown += k * self.χ * g
        dr.eval(δv, δgrown)
        with dr.resume_grad():
            p, area = self._motion()
            if dr.grad_enabled(p):
                dr.backward_from(dr.dot(p, δv) + area * δgrown, flags=dr.ADFlag.ClearInterior)


def outline_record(camera: Camera, pos: Any, ray: Any, pi: Any, normal: Any, inner: Any, active: Any) -> EdgeRecord:
    """- k χ L v·n for what comes from inside beside an outline.

    Args:
        normal: of the outline (pixels), scaled as the speed of other samples.
        inner: Spectrum, scaled as their value.
    """
    with dr.suspend_grad():
        active = active & dr.any(inner != 0) & pi.is_valid()
        value = dr.select(active, -inner * _share(camera, pos)[0], 0)
        dr.eval(value, active, ray, pi, normal, pos)

    def speed() -> Any:
        moved, _ = camera.project(follow(pi, ray, active).p, mi.Vector2f(0))
        return dr.dot(mi.Vector2f(moved), normal)

    return EdgeRecord(pos, value, mi.Float(0), ray.wavelengths, active, None, speed)
