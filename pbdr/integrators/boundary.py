"""Boundary terms: what every sampler of discontinuities yields, and how it reaches image or parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import drjit as dr

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
    speed: Any  # attached; only its derivative has a meaning


def boundary_forward(sensor: Any, records: Iterable[EdgeRecord]) -> Any:
    """Derivative image of boundary samples for the tangents set on the scene's parameters."""
    with dr.suspend_grad():
        film = BoundaryFilm(sensor)
        for r in records:
            with dr.resume_grad():
                v = dr.forward_to(r.speed, flags=dr.ADFlag.ClearInterior)
            film.put(r.pos, r.value * v, r.alpha * v, r.wavelengths, r.active)
        return film.image()


def boundary_backward(sensor: Any, records: Iterable[EdgeRecord], grad_in: Any) -> None:
    """Add the gradient of boundary samples to the parameters of moving shapes."""
    with dr.suspend_grad():
        film = BoundaryFilm(sensor)
        adjoint = film.adjoint(grad_in, film.expected_weight)
        for r in records:
            weight = film.read(adjoint, r.pos, r.value, r.alpha, r.wavelengths, r.active)
            with dr.resume_grad():
                dr.backward_from(r.speed * weight, flags=dr.ADFlag.ClearInterior)
        dr.eval()
