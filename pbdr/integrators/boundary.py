"""Boundary terms: what every sampler of discontinuities yields, and how it reaches image or parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import drjit as dr
import mitsuba as mi

from ..scene.sensors import sensor_moves
from .film import BoundaryFilm


@dataclass
class EdgeRecord:
    """Samples of a discontinuity, one lane each.

    ``value * v`` and ``alpha * v`` are what a sample adds at ``pos`` (pixels) when the discontinuity
    moves with normal speed ``v``, in the unit that the sampler measures with.
    """

    pos: Any
    value: Any
    alpha: Any
    wavelengths: Any
    active: Any
    speed: Any  # attached; only its derivative has a meaning. Or None: ``slide`` gives it all
    slide: Callable[[], Any] | None = None  # gives an attached number that belongs to ``speed``, too
    learn: Callable[[Any], None] | None = None  # is told what each lane was worth (signed Float)
    lever: Any = None  # Float: largest speed if the discontinuity moves by one unit of length, where that is known
    pairs: bool = True  # lanes 2i and 2i + 1 are the two sides of one sample
    tally: Callable[[Any], None] | None = None  # is told what each lane was worth for a motion of one unit
    cuts: Any = None  # `scene.instances.InstanceFrames` to be flushed after it, in backward mode


def scaled(records: Iterable[EdgeRecord], share: float) -> Iterable[EdgeRecord]:
    """The records of one pass, of which ``share`` of all samples belong to."""
    for r in records:
        yield r if share == 1 else replace(r, value=r.value * share, alpha=r.alpha * share)


def boundary_forward(sensor: Any, records: Iterable[EdgeRecord]) -> Any:
    """Derivative image of boundary samples for the tangents set on the scene's parameters."""
    with dr.suspend_grad():
        film = BoundaryFilm(sensor)
        for r in records:
            with dr.resume_grad():
                v = _speed(r)
            # Of two surfaces that all but touch, both as dark, the speed may be infinite.
            v = dr.select(dr.any(mi.unpolarized_spectrum(r.value) != 0) | (r.alpha != 0), v, 0)
            film.put(r.pos, r.value * v, r.alpha * v, r.wavelengths, r.active)
            if r.learn is not None or r.tally is not None:
                worth = dr.select(r.active, dr.mean(mi.unpolarized_spectrum(r.value)) * v, 0)
                for tell in (r.learn, r.tally):
                    if tell is not None:
                        tell(worth)
        return film.image()


def _speed(r: EdgeRecord) -> Any:
    """Tangent of the speed. Dr.Jit carries none through a call of shapes while another hangs on their parameters."""
    if r.slide is None:
        return dr.forward_to(r.speed, flags=dr.ADFlag.ClearInterior)
    once = dr.ADFlag.ClearInterior | dr.ADFlag.ClearEdges
    v = dr.forward_to(r.speed, flags=once) if r.speed is not None and dr.grad_enabled(r.speed) else 0
    more = r.slide()
    return v + dr.forward_to(more, flags=once) if dr.grad_enabled(more) else v


def boundary_backward(sensor: Any, records: Iterable[EdgeRecord], grad_in: Any) -> None:
    """Add the gradient of boundary samples to the parameters of moving shapes."""
    with dr.suspend_grad():
        film = BoundaryFilm(sensor)
        moves = sensor_moves(sensor)
        adjoint = film.adjoint(grad_in, film.expected_weight)
        for r in records:
            weight = film.read(adjoint, r.pos, r.value, r.alpha, r.wavelengths, r.active)
            if r.learn is not None or r.tally is not None or moves:  # it is needed more than once
                dr.eval(weight)
            with dr.resume_grad():
                speed = sum(part for part in (r.speed, r.slide and r.slide()) if part is not None)
                # Nothing may have been found at all: the product is a literal 0 then.
                dr.backward_from(speed * weight, flags=dr.ADFlag.ClearInterior | dr.ADFlag.AllowNoGrad)
            if r.cuts is not None:
                r.cuts.flush()
            if r.learn is not None:
                r.learn(weight)
            if r.tally is not None:
                r.tally(weight * r.lever)
        dr.eval()
