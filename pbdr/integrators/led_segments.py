"""Vertices of a path attached to all that leads a path to them: moving sensors, and Dirac lobes on the way.

A rough vertex holds the next one in place (in area measure, but for what is near, see `near_motion`); a Dirac lobe cannot: it
decides where the path goes on. So the
segment behind a Dirac lobe is attached to the vertex of that lobe, and through it to those before, back to a rough vertex or to
the sensor. What turns the lobe (a normal map, a moving mirror, a moving sensor that looks into one) thus moves what is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from ..scene.instances import interact
from .near_motion import change, slide
from .path_terms import attach_incident_direction

LONGEST = 6  # Dirac lobes in a row whose directions are followed


def longest(max_depth: int) -> int:
    """How many of them, at most, a path of ``max_depth`` segments has before it sees something."""
    return LONGEST if max_depth < 0 else max(0, min(LONGEST, max_depth - 1))


@dataclass
class Link:
    """A vertex that a path has left."""

    ray: Any  # Ray3f: the segment that led to it
    pi: Any  # PreliminaryIntersection3f
    u1: Any  # random numbers of its BSDF sample
    u2: Any
    delta: Any  # Bool: that was a Dirac lobe

    @staticmethod
    def none(ray: Any) -> Link:
        """Before the first vertex."""
        pi = dr.zeros(mi.PreliminaryIntersection3f)
        return Link(mi.Ray3f(ray), pi, mi.Float(0), mi.Point2f(0), mi.Bool(False))


class SensorRay:
    """Leaves of the AD graph for the sensor's ray.

    A loop cannot reach AD variables outside it: their derivatives are carried in (``tangent``), and out as adjoints.
    """

    def __init__(self, ray: Any, tangent: tuple[Any, Any]):
        self.o, self.d = mi.Vector3f(ray.o), mi.Vector3f(ray.d)  # only their derivatives are used
        dr.enable_grad(self.o, self.d)
        dr.set_grad(self.o, mi.Vector3f(tangent[0]))
        dr.set_grad(self.d, tangent[1])

    def attach(self, ray: Any, first: Any) -> Any:
        """``ray``, attached where it is the sensor's."""
        attached = mi.Ray3f(ray)
        attached.o = dr.select(first, dr.replace_grad(ray.o, mi.Point3f(self.o)), ray.o)
        attached.d = dr.select(first, dr.replace_grad(ray.d, self.d), ray.d)
        return attached


class CameraRay:
    """`SensorRay` outside of loops: the ray of a `Camera` through film positions, attached."""

    def __init__(self, camera: Any, pos: Any, time: Any, aperture: Any):
        self.ray, _ = camera.ray(pos, time, 0.5, aperture)

    def attach(self, ray: Any, first: Any) -> Any:
        """``ray``, attached where it is the camera's."""
        attached = mi.Ray3f(ray)
        attached.o = dr.select(first, dr.replace_grad(ray.o, self.ray.o), ray.o)
        attached.d = dr.select(first, dr.replace_grad(ray.d, self.ray.d), ray.d)
        return attached


def shifted(links: list[Link], new: Link, active: Any = True) -> list[Link]:
    """``links`` with the vertex ``new`` before the others, where ``active``."""
    return [dr.select(active, a, b) for a, b in zip([new, *links[:-1]], links)]


class Lead:
    """What vertices are attached to.

    Args:
        sensor: `SensorRay` or `CameraRay` if the sensor moves, or ``None``.
        context: of the BSDFs.
        frames: `InstanceFrames` if instances move, or ``None``.
        near: `NearMotion`, or ``None``.
    """

    def __init__(self, sensor: Any, context: Any, frames: Any, near: Any = None):
        self.sensor, self.context, self.frames, self.near = sensor, context, frames, near

    def segment(self, pi: Any, ray: Any, depth: Any, links: list[Link], active: Any) -> Segment:
        """The segment ``ray`` that leads to the hit ``pi``, vertex number ``depth`` (UInt32).

        Args:
            links: vertices before that one, the last one first. Of the last in the list, only its point is looked at.
        """
        led = mi.Ray3f(ray) if self.sensor is None else self.sensor.attach(ray, depth == 0)
        if not links:
            return Segment(led, mi.Point3f(ray.o), mi.Bool(False), None)
        link, more = links[0], links[1:]
        later = active & (depth >= 1)
        if more:
            before, base = self.vertex(link.pi, link.ray, depth - 1, more, later)
            p = before.p
        else:
            start = link.ray if self.sensor is None else self.sensor.attach(link.ray, depth == 1)
            p = base = interact(self.frames, link.pi, start, mi.RayFlags.Minimal, later).p
        turned = later & link.delta if more and link.delta is not None else mi.Bool(False)
        shift = None
        if self.near is not None:
            follows = later if link.delta is None else later & ~link.delta
            shift = dr.select(follows, change(base) * self.near.share(pi), 0)
            led.o += shift
            p = p - shift
        if more and link.delta is not None:
            bs, _ = before.bsdf().sample(self.context, before, link.u1, link.u2, turned)
            o, d = dr.replace_grad(ray.o, before.p), dr.replace_grad(ray.d, before.to_world(bs.wo))
            led.o, led.d = dr.select(turned, o, led.o), dr.select(turned, d, led.d)
        return Segment(led, p, turned, shift)

    def vertex(self, pi: Any, ray: Any, depth: Any, links: list[Link], active: Any) -> tuple[Any, Any]:
        """(SurfaceInteraction3f, Point3f): the hit ``pi``, attached, and as it moves where it does not follow the vertex
        before; arguments as of `segment`."""
        s = self.segment(pi, ray, depth, links, active)
        si = interact(self.frames, pi, s.ray, mi.RayFlags.All, active)
        if links:
            attach_incident_direction(si, s.before, active & (depth >= 1) & ~s.turned)
        if s.shift is None:
            return si, si.p
        return si, si.p - dr.select(si.is_valid(), slide(s.shift, dr.detach(si.n), ray.d), 0)


@dataclass
class Segment:
    """A segment of a path, attached.

    Attributes:
        ray: Ray3f.
        before: Point3f, where it comes from; the vertex that it leads to has to see that at its own place.
        turned: Bool, a Dirac lobe leads it.
        shift: Vector3f or ``None``, how it follows the vertex before (see `near_motion`).
    """

    ray: Any
    before: Any
    turned: Any
    shift: Any
