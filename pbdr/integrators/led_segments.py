"""Vertices of a path attached to all that leads a path to them: moving sensors, and Dirac lobes on the way.

A rough vertex holds the next one in place (in area measure); a Dirac lobe cannot: it decides where the path goes on. So the
segment behind a Dirac lobe is attached to the vertex of that lobe, and through it to those before, back to a rough vertex or to
the sensor. What turns the lobe (a normal map, a moving mirror, a moving sensor that looks into one) thus moves what is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from ..scene.instances import interact
from .path_terms import attach_incident_direction

LONGEST = 6  # Dirac lobes in a row whose directions are followed


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


def led_segment(
    ray: Any, depth: Any, links: list[Link], sensor: Any, context: Any, active: Any, frames: Any
) -> tuple[Any, Any, Any]:
    """(segment ``ray``, point before, Bool), attached; Bool: a Dirac lobe leads it.

    Args:
        depth: UInt32, number of the vertex that it leads to.
        links: vertices before that one, the last one first; one where no Dirac lobe can turn: only its point is looked at.
        sensor: `SensorRay` or `CameraRay` if the sensor moves, or ``None``.
        frames: `InstanceFrames` if instances move, or ``None``.
    """
    segment = ray if sensor is None else sensor.attach(ray, depth == 0)
    if not links:
        return segment, mi.Point3f(ray.o), mi.Bool(False)
    link, more = links[0], links[1:]
    later = active & (depth >= 1)
    if not more:
        start = link.ray if sensor is None else sensor.attach(link.ray, depth == 1)
        before = interact(frames, link.pi, start, mi.RayFlags.Minimal, later)
        return segment, before.p, mi.Bool(False)
    before, _ = led_vertex(link.pi, link.ray, depth - 1, more, sensor, context, later, frames)
    turned = later & link.delta
    bs, _ = before.bsdf().sample(context, before, link.u1, link.u2, turned)
    o, d = dr.replace_grad(ray.o, before.p), dr.replace_grad(ray.d, before.to_world(bs.wo))
    segment = mi.Ray3f(segment)
    segment.o, segment.d = dr.select(turned, o, segment.o), dr.select(turned, d, segment.d)
    return segment, before.p, turned


def led_vertex(
    pi: Any, ray: Any, depth: Any, links: list[Link], sensor: Any, context: Any, active: Any, frames: Any
) -> tuple[Any, Any]:
    """(SurfaceInteraction3f of the hit ``pi`` of ``ray``, point before), attached; arguments as of `led_segment`."""
    segment, before, turned = led_segment(ray, depth, links, sensor, context, active, frames)
    si = interact(frames, pi, segment, mi.RayFlags.All, active)
    if links:
        attach_incident_direction(si, before, active & (depth >= 1) & ~turned)
    return si, before
