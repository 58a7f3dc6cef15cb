"""Projection of world points through Mitsuba's sensors, and the sensors inside a ``batch``."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import drjit as dr
import mitsuba as mi

from ..core.errors import InputError, UnsupportedError
from ..core.memo import asked_once
from ..core.recording import recording
from .contents import contents
from .viewpoint import Viewpoint

KINDS = {"PerspectiveCamera": "perspective", "ThinLensCamera": "thinlens", "OrthographicCamera": "orthographic"}


class Camera:
    """One projective sensor and the part of the film that it fills.

    The film coordinate is affine in the slope (x/z, y/z) of a camera-space ray (orthographic: in
    its origin), so two sampled rays tell the whole mapping, principal point and crop included.

    Attributes:
        kind: 'perspective', 'thinlens' or 'orthographic'.
        offset, size: the window on the film in pixels, Vector2f each.
        radius, focus: aperture radius and focus distance in scene units (0 and 1 for no lens).
    """

    def __init__(self, sensor: Any, film: Any, slot: int = 0, slots: int = 1, attached: bool = False):
        self.sensor = sensor
        self._place = (film, slot, slots)
        self.kind = KINDS[sensor.class_name()]
        crop, start = film.crop_size(), film.crop_offset()
        width = crop[0] / slots
        self.offset = mi.ScalarVector2f(start[0] + slot * width, start[1])
        self.size = mi.ScalarVector2f(width, crop[1])
        self.near = float(mi.traverse(sensor)["near_clip"])
        keep = (lambda x: x) if attached else dr.detach
        self.to_world = keep(sensor.world_transform())
        self.to_camera = self.to_world.inverse()
        self.origin = self.to_world @ mi.Point3f(0)
        # A batch takes one ray per film column: its children have no border of their own.
        border = film.rfilter().border_size() if film.sample_border() and slots == 1 else 0
        self.border = float(border)
        self.radius, self.focus = 0.0, 1.0
        if self.kind == "thinlens":
            lens = mi.traverse(sensor)
            self.radius = keep(lens["aperture_radius"])
            self.focus = keep(lens["focus_distance"])
        first, last = keep(self._slope(0.0)), keep(self._slope(1.0))
        self.scale = dr.rcp(last - first)
        self.shift = -first * self.scale

    def _slope(self, uv: float) -> Any:
        ray, _ = self.sensor.sample_ray(0.0, 0.5, mi.Point2f(uv), mi.Point2f(0.5))
        if self.kind == "orthographic":
            o = self.to_camera @ ray.o
            return mi.Vector2f(o.x, o.y)
        d = self.to_camera @ ray.d
        return mi.Vector2f(d.x / d.z, d.y / d.z)

    def attached(self) -> Camera:
        """The same camera with parameters attached to the AD graph, inside `dr.resume_grad`."""
        return Camera(self.sensor, *self._place, attached=True)

    @property
    def is_point(self) -> bool:
        """Whether rays meet in a viewpoint (else they share a direction)."""
        return self.kind != "orthographic"

    def lens_point(self, sample: Any) -> Any:
        """Camera-space lens point (Vector2f) that ``sample_ray`` uses for an aperture sample."""
        if self.kind != "thinlens":
            return mi.Vector2f(0)
        return mi.Vector2f(mi.warp.square_to_uniform_disk_concentric(sample) * self.radius)

    def view(self, lens: Any) -> Viewpoint:
        """The lens point in the world; the viewing direction for orthographic sensors."""
        if self.is_point:
            return Viewpoint(self.to_world @ mi.Point3f(lens.x, lens.y, 0))
        return Viewpoint(mi.Point3f(dr.normalize(self.to_world @ mi.Vector3f(0, 0, 1))), False)

    def project(self, p: Any, lens: Any) -> tuple[Any, Any]:
        """Film position in pixels (Point2f) and depth of a world point ``p`` (may be attached)."""
        # The difference first: far from the world's origin, nothing is lost.
        c = self.to_camera @ mi.Vector3f(p - self.origin)
        flat = mi.Vector2f(c.x, c.y)
        if self.kind == "perspective":
            slope = flat / c.z
        elif self.kind == "thinlens":
            # Where the ray from the lens point through p meets the plane in focus.
            slope = (lens + (flat - lens) * (self.focus / c.z)) / self.focus
        else:
            slope = flat
        uv = slope * self.scale + self.shift
        return mi.Point2f(uv * self.size + self.offset), c.z

    def project_tangent(self, p: Any, v: Any, lens: Any) -> Any:
        """Velocity on the film (pixels) of a point that moves with ``v`` at ``p``."""
        c, d = self.to_camera @ mi.Vector3f(p - self.origin), self.to_camera @ v
        flat, dflat = mi.Vector2f(c.x, c.y), mi.Vector2f(d.x, d.y)
        if self.is_point:
            dflat = (dflat - (flat - lens) * (d.z / c.z)) / c.z
        return dflat * self.scale * self.size

    def project_direction(self, d: Any, lens: Any) -> tuple[Any, Any]:
        """Film position in pixels of what lies at infinity in direction ``d`` (may be attached), and the z component of ``d``."""
        c = self.to_camera @ d
        slope = mi.Vector2f(c.x, c.y) / c.z
        if self.kind == "thinlens":
            slope += lens / self.focus
        uv = slope * self.scale + self.shift
        return mi.Point2f(uv * self.size + self.offset), c.z

    def turn_on_film(self, d: Any, v: Any) -> Any:
        """Velocity on the film (pixels) of what lies at infinity in direction ``d``, when that turns with ``v``."""
        c, e = self.to_camera @ d, self.to_camera @ v
        flat, dflat = mi.Vector2f(c.x, c.y), mi.Vector2f(e.x, e.y)
        return (dflat - flat * (e.z / c.z)) / c.z * self.scale * self.size

    def pixels_per_area(self, p: Any, n: Any, lens: Any) -> Any:
        """|∂s/∂A|: film area (pixels²) per area of a surface with normal ``n`` at ``p``."""
        frame = mi.Frame3f(n)
        a, b = self.project_tangent(p, frame.s, lens), self.project_tangent(p, frame.t, lens)
        return dr.abs(a.x * b.y - a.y * b.x)

    def blur(self, z: Any) -> Any:
        """Radius of the circle of confusion at depth ``z``, in pixels (the larger axis)."""
        if self.kind != "thinlens":
            return mi.Float(0)
        pixels = dr.max(dr.abs(self.scale * self.size))
        return dr.abs(self.radius * (1 / z - 1 / self.focus)) * pixels

    def inside(self, pos: Any) -> Any:
        """Whether primal samples can fall on the film position ``pos`` (pixels)."""
        low, high = self.window()
        return dr.all((pos >= low) & (pos < high))

    def window(self) -> tuple[Any, Any]:
        low = mi.Point2f(self.offset - self.border)
        return low, mi.Point2f(self.offset + self.size + self.border)

    def ray(self, pos: Any, time: Any, wavelength: Any, aperture: Any) -> tuple[Any, Any]:
        """Ray and weight for a film position in pixels."""
        uv = (mi.Vector2f(pos) - self.offset) / self.size
        return self.sensor.sample_ray_differential(time, wavelength, mi.Point2f(uv), aperture)


@asked_once
def sensor_moves(sensor: Any) -> bool:
    """Whether a parameter of the sensor (pose, field of view, lens, ...) is attached to the AD graph."""
    with dr.resume_grad():
        params = mi.traverse(sensor)
        return any(dr.grad_enabled(params[k]) for k in params.keys() if not k.startswith("film."))


def sensor_children(sensor: Any) -> list[Any]:
    """The sensors of a ``batch`` in film order; ``[sensor]`` for any other."""
    if sensor.class_name() != "BatchSensor":
        return [sensor]
    return [child for _, child in contents(sensor, mi.Sensor)]


def cameras(sensor: Any) -> list[Camera]:
    """One `Camera` per projective sensor; raises what `require_projection` does."""
    children = require_projection(sensor)
    return [Camera(c, sensor.film(), k, len(children)) for k, c in enumerate(children)]


UNRECORDED = ("OrthographicCamera", "ThinLensCamera")  # Mitsuba 3.9.1 shows `dr.freeze` not all of their numbers


def can_be_recorded(sensor: Any) -> bool:
    """Can `dr.freeze` record what is rendered through a sensor?"""
    return all(child.class_name() not in UNRECORDED for child in sensor_children(sensor))


def require_projection(sensor: Any, name: str = "prb_edge") -> list[Any]:
    """The sensors of a ``batch``, or the one.

    Args:
        name: of the integrator.

    Raises:
        UnsupportedError: one has no projection that outlines could be seen through.
    """
    children = sensor_children(sensor)
    for child in children:
        if child.class_name() not in KINDS:
            raise UnsupportedError(
                f"{name} cannot sample silhouettes through sensor '{sensor.id()}' ({child.class_name()}):"
                " it handles perspective, thinlens, orthographic and a batch of them. "
                + (
                    "Set sppp=0 and sppi=0 to render the interior derivative alone (geometry gradients are then biased)."
                    if name == "prb_edge"
                    else "Use one of these, or detach what moves."
                )
            )
    return children


def get_sensor(scene: Any, sensor: Any, spp: int = 0) -> Any:
    """The sensor itself, or number ``sensor`` of the scene.

    Raises:
        InputError: there is none, its film has no pixels, or there cannot be ``spp`` samples in one.
        UnsupportedError: `dr.freeze` is recording, and cannot record that sensor.
    """
    if isinstance(sensor, int):
        sensors = scene.sensors()
        if not 0 <= sensor < len(sensors):
            raise InputError(f"The scene has {len(sensors)} sensor(s); there is no sensor {sensor}.")
        sensor = sensors[sensor]
    width, height = sensor.film().crop_size()
    if width == 0 or height == 0:
        raise InputError(
            f"The film of sensor '{sensor.id()}' is {width} x {height} pixels: give it a width and a height >= 1."
        )
    if recording() and not can_be_recorded(sensor):
        raise UnsupportedError(
            f"dr.freeze: Mitsuba 3.9.1 cannot record sensor '{sensor.id()}' ({sensor.class_name()}). Do not freeze the step, or use"
            " a perspective camera."
        )
    if not isinstance(spp, Integral) or spp < 0:
        raise InputError(f"'spp' must be a whole number >= 0 (0: that of the sampler), got {spp!r}.")
    return sensor


def taken(sensor: Any, spp: int) -> int:
    """Samples per pixel that the sampler of ``sensor`` makes of ``spp``: some want squares."""
    sampler = sensor.sampler().fork()
    sampler.set_sample_count(spp)
    return sampler.sample_count()
