"""Signed distance fields on a grid: made from any level set, without moving its zero."""

from __future__ import annotations

import numpy as np


def redistance(field: np.ndarray, band: int | None = None) -> np.ndarray:
    """The signed distance to the zero level set of ``field``.

    Relaxes φ_τ = S(φ₀)(1 - |∇φ|) with Godunov's upwind differences to its steady state
    :cite:`sussman1994level`; cells that the surface crosses keep their distance φ₀ / |∇φ₀| to it
    :cite:`russo2000remark`, so that it does not move (error O(h²)).

    Args:
        field: (depth, height, width), values on the corners of a grid over the unit cube.
        band: cells from the surface up to which distances are wanted (default: everywhere).

    Returns:
        float32 array of the same shape. A field without a zero is returned as it is.

    Raises:
        ValueError: a value is not finite, or an axis has fewer than 3 cells.
    """
    φ0 = np.asarray(field, np.float64)
    if not np.isfinite(φ0).all():
        raise ValueError("redistance: the field has NaN or infinite values.")
    if min(φ0.shape) < 4:
        raise ValueError(f"redistance: every axis needs at least 4 values, got {φ0.shape}.")
    if (φ0 > 0).all() or (φ0 < 0).all():
        return φ0.astype(np.float32)
    h = [1 / (n - 1) for n in φ0.shape]
    sign = np.sign(φ0)
    near = np.zeros(φ0.shape, bool)
    for axis in range(3):
        change = np.diff(sign, axis=axis) != 0
        low, high = [slice(None)] * 3, [slice(None)] * 3
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        near[tuple(low)] |= change
        near[tuple(high)] |= change
    φ = sign * max(np.sqrt(3.0), np.abs(φ0).max())
    φ[near] = (φ0 / np.maximum(_steepest(φ0, h), 1e-12))[near]
    fixed = φ[near]
    step = 0.45 * min(h)
    for _ in range(int((band or max(φ0.shape) * 1.8) / 0.45) + 4):
        φ -= step * sign * (_upwind(φ, sign, h) - 1)
        φ[near] = fixed
    return φ.astype(np.float32)


def _differences(φ: np.ndarray, h: list[float]):
    """Backward and forward differences along each axis, one-sided at the border."""
    for axis in range(3):
        d = np.diff(φ, axis=axis) / h[axis]
        first, last = np.take(d, [0], axis), np.take(d, [-1], axis)
        yield np.concatenate([first, d], axis), np.concatenate([d, last], axis)


def _steepest(φ: np.ndarray, h: list[float]) -> np.ndarray:
    """|∇φ| from the largest of central and one-sided differences: safe where the level set is kinked."""
    total = np.zeros_like(φ)
    for back, ahead in _differences(φ, h):
        total += np.maximum.reduce([np.abs(0.5 * (back + ahead)), np.abs(back), np.abs(ahead)]) ** 2
    return np.sqrt(total)


def _upwind(φ: np.ndarray, sign: np.ndarray, h: list[float]) -> np.ndarray:
    """Godunov's |∇φ| for information that travels away from the surface."""
    total = np.zeros_like(φ)
    for back, ahead in _differences(φ, h):
        out = np.maximum(np.maximum(back, 0) ** 2, np.minimum(ahead, 0) ** 2)
        into = np.maximum(np.minimum(back, 0) ** 2, np.maximum(ahead, 0) ** 2)
        total += np.where(sign > 0, out, into)
    return np.sqrt(total)


def zero_crossings(field: np.ndarray) -> np.ndarray:
    """Points (P, 3), x first, where grid edges cross the surface: a sample of it, denser than the grid."""
    points = []
    h = [1 / (n - 1) for n in field.shape]
    for axis in range(3):
        a = np.take(field, range(field.shape[axis] - 1), axis)
        b = np.take(field, range(1, field.shape[axis]), axis)
        index = np.argwhere((a > 0) != (b > 0)).astype(np.float64)
        low, high = (x[(a > 0) != (b > 0)] for x in (a, b))
        index[:, axis] += low / (low - high)
        points.append(index * h)
    return np.concatenate(points)[:, ::-1]
