"""Circles of directions on which the radiance of a sky jumps: the sun's rim, and the horizon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from ..core.errors import UnsupportedError

# Parameters on which the place of the sun depends.
PLACES = ("latitude", "longitude", "timezone", "hour", "minute", "second", "sun_direction")
# How far beside a circle its two sides are looked at, as a share of the radius; more where the dot product by which
# Mitsuba tells that a direction meets the sun cannot resolve that in float32.
BESIDE, RESOLUTION = 0.02, 4e-7
# Radians, the same beside the horizon, from where radiance rises with the square root of the height.
ABOVE = 1e-5
# Radiance of a sun with limb darkening is a polynomial of degree 5 in the cosine between the sun's surface and the ray,
# which is 0 on the rim: extrapolated from these.
LIMB = (0.35, 0.48, 0.61, 0.74, 0.87, 1.0)


_limbs: dict[int, bool] = {}


def turns(emitter: Any, *places: str) -> bool:
    """Whether one of these parameters of an emitter is attached to the AD graph."""
    if emitter is None:
        return False
    with dr.resume_grad():
        params = mi.traverse(emitter)
        return any(p in params and dr.grad_enabled(params[p]) for p in places)


def has_borders(scene: Any) -> bool:
    """Whether the scene's environment jumps somewhere."""
    sky = scene.environment()
    return sky is not None and sky.class_name() == "SunskyEmitter"


def require_renderable(scene: Any) -> None:
    """Refuse what Mitsuba 3.9.1 has, but cannot render.

    Raises:
        UnsupportedError: names the remedy.
    """
    sky = scene.environment()
    if sky is not None and sky.class_name() == "TimedSunskyEmitter":
        raise UnsupportedError(
            f"Emitter '{sky.id()}' (timed_sunsky) evaluates arrays while a loop is recorded, so that no integrator of"
            " Mitsuba 3.9.1 can render it on LLVM or CUDA: use sunsky, once for each time."
        )
    for emitter in scene.emitters():
        if emitter.class_name() == "DirectionalArea":
            raise UnsupportedError(
                f"Emitter '{emitter.id()}' (directionalarea) cannot be evaluated in the directions that a derivative asks for,"
                " and gives a path tracer no light: take it out of the scene."
            )


def require_no_borders(scene: Any) -> None:
    """Refuse moving shapes under a sky that jumps, for methods that move directions.

    Raises:
        UnsupportedError: names the remedy.
    """
    if sky_circles(scene):
        raise UnsupportedError(
            f"prb_reparam: a shape moves under the sunsky '{scene.environment().id()}'. The directions of its samples would"
            " cross the border of the sun and the horizon, which no field of directions knows. Use prb_edge, or an envmap."
        )


@dataclass(frozen=True)
class SkyCircle:
    """A circle of directions where a ``sunsky`` jumps.

    Attributes:
        sky: the emitter.
        sun: the sun's rim; else the horizon, below which the sky is black.
        moves: it depends on attached parameters.
    """

    sky: Any
    sun: bool
    moves: bool

    def place(self) -> tuple[Any, Any, Any]:
        """(axis, cosine, sine of the angular radius); the axis, a unit Vector3f, is attached inside `dr.resume_grad`."""
        if not self.sun:
            with dr.resume_grad():
                up = mi.traverse(self.sky)["to_world"] @ mi.Vector3f(0, 0, 1)
            return dr.normalize(up), mi.Float(0), mi.Float(1)
        # Samples (1, v) of the emitter lie on the rim, at the angles (2v - 1) π/4. (Its parameter ``sun_direction``
        # does not tell where the sun is after ``to_world`` has changed.)
        it = dr.zeros(mi.Interaction3f)
        a, b, c = (mi.Vector3f(self.sky.sample_direction(it, mi.Point2f(1, v))[0].d) for v in (0.0, 0.5, 1.0))
        root = dr.sqrt(2.0)
        axis = (a + c - b * root) / (2 - root)
        cos = dr.detach(dr.norm(axis))
        return dr.normalize(axis), cos, dr.norm(dr.detach(b) - dr.detach(axis))

    @property
    def has_limb(self) -> bool:
        """Whether the sun darkens toward its rim (``complex_sun``; only its text tells)."""
        try:
            _limbs[id(self.sky)] = "Complex sun model = true" in str(self.sky)
        except RuntimeError:  # the text reads values, which `dr.freeze` cannot record: as it was before
            return _limbs.get(id(self.sky), True)  # what is extrapolated is right for an even sun, too
        return _limbs[id(self.sky)]

    def jump(self, axis: Any, cos: Any, sin: Any, t: Any, ray: Any, active: Any) -> Any:
        """Radiance just inside the circle minus that just outside, where it lies in direction ``t`` from its axis.

        Args:
            ray: gives time and wavelengths.
        """
        rim = dr.atan2(sin, cos)

        def at(angle: Any) -> Any:
            s, c = dr.sincos(angle)
            si = dr.zeros(mi.SurfaceInteraction3f)
            si.time, si.wavelengths = ray.time, ray.wavelengths
            si.wi = -(axis * c + t * s)
            return self.sky.eval(si, active)

        if not self.sun:
            return 2 * at(rim - ABOVE) - at(rim - 4 * ABOVE) - at(rim + ABOVE)
        beside = BESIDE * rim + RESOLUTION / sin
        outside = at(rim + beside)
        if not self.has_limb:
            return at(rim - beside) - outside
        inside = mi.Spectrum(0)
        for j, μ in enumerate(LIMB):
            weight = 1.0
            for k, other in enumerate(LIMB):
                weight *= other / (other - μ) if k != j else 1
            inside += at(dr.asin(sin * (1 - μ * μ) ** 0.5)) * weight
        return inside - outside


def sky_circles(scene: Any) -> list[SkyCircle]:
    """Where the scene's environment jumps."""
    if not has_borders(scene):
        return []
    sky = scene.environment()
    horizon = turns(sky, "to_world")
    circles = [SkyCircle(sky, False, horizon)] if mi.traverse(sky)["sky_scale"] > 0 else []
    if mi.traverse(sky)["sun_scale"] > 0:
        circles.append(SkyCircle(sky, True, horizon or turns(sky, *PLACES)))
    return circles
