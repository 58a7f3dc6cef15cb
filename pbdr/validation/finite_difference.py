"""Finite-difference references with common random numbers."""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from .perturbation import Perturbation


def central_difference(
    scene: Any, move: Perturbation, integrator: Any, sensor: Any, step: float, spp: int, seed: int
) -> np.ndarray:
    """(I(θ + h) - I(θ - h)) / 2h, both with the same seed; shape [height, width, channels].

    Common random numbers make the error fall with 1/√h instead of 1/h, also across moving
    discontinuities; the step must be large enough for many samples to change sides.
    """
    images = []
    for θ in (step, -step):
        move.set(θ)
        images.append(np.array(mi.render(scene, sensor=sensor, integrator=integrator, spp=spp, seed=seed), np.float64))
    return (images[0] - images[1]) / (2 * step)


def forward_derivative(
    scene: Any, move: Perturbation, integrator: Any, sensor: Any, spp: int, seed: int, at: float = 0.0
) -> np.ndarray:
    """The integrator's own derivative image at θ = ``at``. Its mean over [-h, h] is the central difference of step h."""
    θ = mi.Float(at)
    dr.enable_grad(θ)
    try:
        move.set(θ)
        dr.forward(θ, flags=dr.ADFlag.ClearEdges)
        image = integrator.render_forward(scene, params=move.params, sensor=sensor, spp=spp, seed=seed)
        return np.array(image, np.float64)
    finally:
        move.reset()  # also after a refusal: what stays attached takes part in later derivatives


def backward_derivative(
    scene: Any, move: Perturbation, integrator: Any, sensor: Any, spp: int, seed: int, weights: np.ndarray
) -> float:
    """⟨v, backward(w)⟩ for the direction v of ``move`` and the adjoint image w = ``weights``."""
    θ = mi.Float(0)
    dr.enable_grad(θ)
    adjoint = mi.TensorXf(weights.astype(np.float32))
    try:
        move.set(θ)
        integrator.render_backward(scene, params=move.params, grad_in=adjoint, sensor=sensor, spp=spp, seed=seed)
        dr.enqueue(dr.ADMode.Backward, move.params[move.key])
        dr.traverse(dr.ADMode.Backward)
        return float(dr.grad(θ)[0])
    finally:
        move.reset()
