"""All optimized parameters of a run: latents, their optimizers, and their state on disk."""

from __future__ import annotations

from typing import Any

import drjit as dr
import drjit.opt
import mitsuba as mi
import numpy as np

from ..core.errors import InputError, UnsupportedError, warn_once
from ..scene.keys import (
    bordered,
    find_keys,
    is_distance_grid,
    is_positions,
    is_sky,
    is_spectral_model,
    is_transform,
    numbers,
    parts,
    require_differentiable,
    unbordered,
)
from .representations import REPRESENTATIONS, require_visible

MEMORY = 0.1  # weight of the newest norm in the mean of gradient norms


class Collection:
    """Latents and one optimizer each.

    The map of an ``envmap`` is optimized without its border columns, which Mitsuba derives from the others.

    Args:
        params: what `mi.traverse(scene)` returned.
        specs: parsed ``[[parameters]]`` entries of an experiment.
    """

    def __init__(self, params: Any, specs: list[Any]):
        self.params = params
        self.items: dict[str, tuple[Any, Any]] = {}  # key -> (representation, optimizer)
        self.clip: dict[str, float] = {}
        self.skies: set[str] = set()  # keys whose scene value has a border
        self.usual: dict[str, float] = {}  # geometric mean of recent gradient norms; 0 before the first
        for spec in specs:
            for key in find_keys(params, spec.key):
                value = require_differentiable(params, key)
                if is_spectral_model(params, key):
                    _check_spectral(key, spec)
                if is_sky(params, key):
                    self.skies.add(key)
                    value = unbordered(value)
                if is_distance_grid(key, value):
                    require_visible(key, value)
                if not np.isfinite(numbers(value)).all():
                    raise InputError(
                        f"'{key}' starts with NaN or infinite values; repair the mesh or map it comes from."
                    )
                name = spec.representation
                if name == "auto":
                    name = "bounded" if spec.bounds else "direct"
                    name = "large_steps" if is_positions(key) else "pose" if is_transform(value) else name
                    name = "distance_field" if is_distance_grid(key, value) else name
                faces = params[key.rsplit(".", 1)[0] + ".faces"] if is_positions(key) else None
                shown = REPRESENTATIONS[name](
                    key,
                    value,
                    faces=faces,
                    bounds=spec.bounds,
                    smoothness=spec.smoothness,
                    unit=spec.unit,
                    periodic=key in self.skies,
                )
                if spec.initial is not None and not is_transform(value):
                    value = (
                        dr.full(type(value), spec.initial, dr.shape(value))
                        if dr.is_tensor_v(value)
                        else type(value)(spec.initial)
                    )
                optimizer = dr.opt.Adam(
                    lr=spec.learning_rate,
                    beta_1=spec.beta_1,
                    beta_2=spec.beta_2,
                    uniform=shown.uniform,
                    mask_updates=spec.mask_updates,
                )
                optimizer["x"] = shown.init(value)
                self.items[key] = (shown, optimizer)
                self.clip[key], self.usual[key] = spec.clip, 0.0

    def to_scene(self) -> None:
        """Write the current values, attached to the latents, and rebuild what depends on them."""
        for key, (shown, optimizer) in self.items.items():
            value = shown.to_scene(optimizer["x"])
            self.params[key] = bordered(value) if key in self.skies else value
        self.params.update()

    def detach(self) -> None:
        """Put attached copies of the scene values in their place: gradients end there."""
        self.ends = {}  # held: an update may put others in their place
        for key in self.items:
            value = dr.detach(self.params[key])
            value = type(value)(value)
            dr.make_opaque(value)  # a literal would be compiled into the kernels
            dr.enable_grad(value)
            self.params[key] = self.ends[key] = value

    def clear_grad(self) -> None:
        """Forget the gradients that the scene values hold."""
        for key in self.items:
            dr.clear_grad(self.params[key])

    def gradients(self) -> list[np.ndarray]:
        """Gradients with respect to the scene values, a flat array each."""
        return [numbers(dr.grad(self.params[key])).ravel().astype(np.float64) for key in self.items]

    def collect(self, params: Any) -> None:
        """Move gradients from the scene (also of derived values, such as normals) to the latents."""
        for key in params.keys():
            for value in parts(params[key]):
                if dr.is_array_v(value) and dr.grad_enabled(value):
                    dr.enqueue(dr.ADMode.Backward, value)
        dr.traverse(dr.ADMode.Backward)

    def step(self, rate: float) -> dict[str, float]:
        """One optimizer step at ``rate`` × the learning rates; returns gradient norms."""
        norms = {}
        for key, (shown, optimizer) in self.items.items():
            gradient = dr.grad(optimizer["x"])
            bad = dr.any(~dr.isfinite(gradient.array if dr.is_tensor_v(gradient) else gradient), axis=None)
            if dr.any(bad, axis=None):
                raise FloatingPointError(f"The gradient of '{key}' is not finite.")
            norms[key] = norm = float(np.linalg.norm(np.array(gradient)))
            limit = self._limit(key, norm)
            # Not a literal: each would compile the optimizer's kernels anew.
            factor = dr.opaque(dr.detached_t(dr.array_t(gradient)), limit / norm if norm > limit else 1.0, 1)
            clipped = gradient.array * factor if dr.is_tensor_v(gradient) else gradient * factor
            dr.set_grad(
                optimizer["x"], type(gradient)(clipped, gradient.shape) if dr.is_tensor_v(gradient) else clipped
            )
            base = optimizer.lr
            optimizer.lr = base * rate
            optimizer.step()
            optimizer.lr = base
            optimizer["x"] = shown.project(optimizer["x"])
        return norms

    def _limit(self, key: str, norm: float) -> float:
        """Largest norm that a step may have: one outlier would slow Adam's steps for 1 / (1 - beta_2) iterations."""
        usual = self.usual[key]
        limit = self.clip[key] * usual if self.clip[key] and usual else np.inf
        if norm > 0:
            self.usual[key] = usual ** (1 - MEMORY) * min(norm, limit) ** MEMORY if usual else norm
        return limit

    def values(self) -> dict[str, np.ndarray]:
        """Scene values, detached; skies without their border."""
        return {k: numbers(dr.detach(shown.to_scene(dr.detach(o["x"])))) for k, (shown, o) in self.items.items()}

    def state(self) -> dict[str, np.ndarray]:
        """Everything a resumed run needs, as plain arrays."""
        arrays = {}
        for key, (_, optimizer) in self.items.items():
            value, _, _, (t, m, v, _) = optimizer.state["x"]
            for name, x in (("x", value), ("t", t), ("m", m), ("v", v)):
                arrays[f"{key}/{name}"] = np.array(dr.detach(x)) if dr.is_array_v(x) else np.array(x)
            arrays[f"{key}/usual"] = np.array(self.usual[key])
        return arrays

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Inverse of `state`, bit for bit.

        Raises:
            InputError: the checkpoint belongs to other parameters or sizes.
        """
        for key, (_, optimizer) in self.items.items():
            value, promoted, lr, (t, m, v, top) = optimizer.state["x"]
            try:
                saved = {n: arrays[f"{key}/{n}"] for n in "xtmv"}
            except KeyError as missing:
                raise InputError(f"The checkpoint has no state for '{key}' ({missing}).") from None
            if saved["x"].size != dr.prod(dr.shape(value)):
                raise InputError(
                    f"The checkpoint has {saved['x'].size} numbers for '{key}', the scene {dr.shape(value)}."
                )
            self.usual[key] = float(arrays.get(f"{key}/usual", 0.0))
            new = _like(value, saved["x"])
            dr.enable_grad(new)
            state = (type(t)(int(saved["t"].ravel()[0])), _like(m, saved["m"]), _like(v, saved["v"]), top)
            optimizer.state["x"] = (new, promoted, lr, state)


def _check_spectral(key: str, spec: Any) -> None:
    """Refuse what is said of a colour where the scene holds the coefficients of a spectrum (spectral variants)."""
    said = f"'{key}' holds the coefficients of a spectrum in variant {mi.variant()}, not a colour"
    if spec.bounds or spec.initial is not None or spec.representation not in ("auto", "direct"):
        raise UnsupportedError(
            f"{said}: bounds, initial values and representations of colours mean nothing there. Optimize it in an RGB or"
            f" mono variant, such as {mi.variant().replace('spectral', 'rgb')}."
        )
    warn_once(
        f"{said}: they differ by five orders of magnitude, which one learning rate does not suit, and scene.xml cannot hold"
        " them (values.npz does). An RGB variant has no such limits."
    )


def _like(sample: Any, data: np.ndarray) -> Any:
    kind = type(dr.detach(sample)) if not dr.is_diff_v(sample) else type(sample)
    if dr.is_tensor_v(kind):
        return kind(data.astype(np.float32))
    if dr.depth_v(kind) > 1:
        return kind(data.astype(np.float32))
    return mi.Float(data.astype(np.float32).ravel()) if dr.is_diff_v(kind) else kind(data.astype(np.float32).ravel())
