"""`gradcheck`: an integrator's derivative against finite differences, with error bars."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np
from scipy import stats

from ..core.errors import InputError
from ..scene.sensors import get_sensor
from .finite_difference import backward_derivative, central_difference, forward_derivative
from .perturbation import Perturbation

FLOOR = 3e-4  # least error bar, relative
Z_LIMIT = 3.3  # two-sided p = 0.001, for each of five regions
STEP_LIMIT = 3e-3  # change of the reference, relative, at which its step is halved
HALVINGS = 6


@dataclass
class GradcheckReport:
    """Result of `gradcheck`. Relative numbers are in units of the projected reference.

    Attributes:
        bias, standard_error: (estimate - reference) / reference and its standard error, for the
            derivative image projected on a held-out reference (a matched filter).
        z: the same as z-scores: whole image, then its four quadrants.
        outliers: share of pixels whose own z-score exceeds 4.
        mismatch: |⟨forward, w⟩ - ⟨v, backward⟩| / |⟨forward, w⟩|, same seed.
        step: half width h of the central differences, after halving.
        step_bias, step_error: change of the reference from step h to h/2, and its standard error.
        variance_time: variance of the projected estimate × CPU seconds of a forward derivative.
    """

    integrator: str
    key: str
    direction: str
    step: float
    seeds: int
    bias: float
    standard_error: float
    z: list[float]
    outliers: float
    mismatch: float
    step_bias: float
    step_error: float
    variance_time: float
    cpu_seconds: float
    required_error: float
    images: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def significant(self) -> bool:
        """The bias cannot be chance."""
        return any(abs(z) > Z_LIMIT for z in self.z) or not math.isfinite(self.bias)

    @property
    def conclusive(self) -> bool:
        """The error bar is small enough for the test to mean something."""
        return self.standard_error <= self.required_error

    @property
    def passed(self) -> bool:
        return self.conclusive and not self.significant and self.mismatch < 1e-3

    def verdict(self) -> str:
        if self.significant:
            return "biased"
        if not self.conclusive:
            return "inconclusive"
        return "pass" if self.passed else "forward and backward differ"

    def save(self, folder: str | Path) -> None:
        """Write ``gradcheck.json`` and PNG maps of derivative, reference and z-score."""
        from ..report.figures import save_signed_map

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        data = {k: v for k, v in asdict(self).items() if k != "images"}
        data["verdict"] = self.verdict()
        (folder / "gradcheck.json").write_text(json.dumps(data, indent=1))
        scale = float(np.abs(self.images["reference"]).max()) or 1.0
        for name, image in self.images.items():
            save_signed_map(folder / f"{name}.png", image, 4.0 if name == "z" else scale, name)


def gradcheck(
    scene: Any,
    key: str,
    direction: Any = "uniform",
    *,
    integrator: Any = None,
    reference: Any = None,
    sensor: Any = 0,
    step: float = 0.02,
    spp: int = 256,
    fd_spp: int = 4096,
    seeds: int = 16,
    required_error: float = 0.01,
) -> GradcheckReport:
    """Compare an integrator's derivative with central differences.

    Args:
        scene: loaded scene.
        key: parameter, see `mi.traverse(scene)`.
        direction: see `Perturbation`.
        integrator: plugin under test, Mitsuba's included (default: the scene's).
        reference: integrator that renders the finite differences (default: the one under test).
        step: largest half width h of the central difference, in units of the direction. It is
            halved until halving it once more changes the reference insignificantly or by less
            than 0.3 %. Silhouettes should move by 0.05 to 0.2 pixels.
        spp, fd_spp: samples per pixel of derivative and reference renders.
        seeds: independent repetitions of each, at least 4.
        required_error: largest standard error (relative) for which a verdict is given.

    Give the sensor a ``multijitter`` sampler: finite differences across a silhouette are then
    several times less noisy than with ``independent``.

    Raises:
        InputError: unknown key or direction, or fewer than 4 seeds.
    """
    if seeds < 4:
        raise InputError(f"gradcheck needs at least 4 seeds for error bars, got {seeds}.")
    integrator = integrator or scene.integrator()
    reference = reference or integrator
    sensor = get_sensor(scene, sensor)
    params = mi.traverse(scene)
    move = Perturbation(params, key, direction)

    def difference(h: float, k: int) -> np.ndarray:
        return central_difference(scene, move, reference, sensor, h, fd_spp, 1000 + k)

    fd, step, step_bias, step_error = _converged_differences(difference, step, seeds)
    move.reset()
    forward_derivative(scene, move, integrator, sensor, spp, 1)  # compile
    ours, cpu = [], []
    for k in range(seeds):
        dr.sync_thread()
        start = time.process_time()
        ours.append(forward_derivative(scene, move, integrator, sensor, spp, 5000 + k))
        cpu.append(time.process_time() - start)
    weights = np.mean(fd[::2], axis=0)
    # The same samples in both modes: an integrator that learns from render to render must forget.
    forget = getattr(integrator, "forget", lambda: None)
    forget()
    first = float((forward_derivative(scene, move, integrator, sensor, spp, 5000) * weights).sum())
    forget()
    back = backward_derivative(scene, move, integrator, sensor, spp, 5000, weights)

    regions = regions_of(weights)
    held = fd[1::2]
    z, total = [], float((np.mean(held, 0) * weights).sum()) or 1.0
    for w in regions:
        f = np.array([(x * w).sum() for x in held]) / total
        g = np.array([(x * w).sum() for x in ours]) / total
        error = math.sqrt(f.var(ddof=1) / len(f) + g.var(ddof=1) / len(g))
        z.append(_z_score(g, f))
        if w is regions[0]:
            bias, standard_error, variance = g.mean() - f.mean(), error, g.var(ddof=1)
    pixel_error = np.sqrt((np.var(fd, 0, ddof=1) + np.var(ours, 0, ddof=1)) / seeds)
    difference = np.mean(ours, 0) - np.mean(fd, 0)
    pixel_z = difference / np.maximum(pixel_error, 1e-4 * np.abs(weights).max() + 1e-12)
    return GradcheckReport(
        integrator=_name(integrator),
        key=move.key,
        direction=direction if isinstance(direction, str) else "array",
        step=step,
        seeds=seeds,
        bias=float(bias),
        standard_error=float(standard_error),
        z=z,
        outliers=float((np.abs(pixel_z) > 4).mean()),
        mismatch=abs(first - back) / max(abs(first), 1e-12),
        step_bias=step_bias,
        step_error=step_error,
        variance_time=float(variance * np.median(cpu)),
        cpu_seconds=float(np.median(cpu)),
        required_error=required_error,
        images={"derivative": np.mean(ours, 0), "reference": np.mean(fd, 0), "z": pixel_z},
    )


def _converged_differences(difference: Any, step: float, seeds: int) -> tuple[list[np.ndarray], float, float, float]:
    """Central differences for all seeds, at a step whose O(h²) error is small.

    Returns ``(images, h, change from h to h/2, its standard error)``, the last two relative and
    measured on seeds that did not choose the weights of the projection.
    """
    pairs = range(1, min(seeds, 16), 2)
    images = {k: difference(step, k) for k in range(seeds)}
    for halving in range(HALVINGS + 1):
        half = {k: difference(step / 2, k) for k in pairs}
        weights = np.mean([images[k] for k in range(0, seeds, 2)], axis=0)
        total = np.mean([(images[k] * weights).sum() for k in pairs]) or 1.0
        change = np.array([((images[k] - half[k]) * weights).sum() for k in pairs]) / total
        bias, error = float(change.mean()), float(change.std(ddof=1) / math.sqrt(len(change)))
        if abs(bias) < max(STEP_LIMIT, 2 * error) or halving == HALVINGS:
            break
        step /= 2
        images = {k: half[k] if k in half else difference(step, k) for k in range(seeds)}
    return [images[k] for k in range(seeds)], step, bias, error


def _z_score(a: np.ndarray, b: np.ndarray) -> float:
    """Welch's t-test as the normal quantile of the same probability (few seeds have fat tails)."""
    va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    # Below 0.1 % of the projected derivative, step error and float sums decide.
    error = max(math.sqrt(va + vb), FLOOR)
    t = (a.mean() - b.mean()) / error
    freedom = (va + vb) ** 2 / max(va**2 / (len(a) - 1) + vb**2 / (len(b) - 1), 1e-300)
    p = stats.t.sf(abs(t), max(freedom, 1.0))
    return float(np.sign(t) * min(stats.norm.isf(max(p, 1e-300)), 99.0))


def regions_of(weights: np.ndarray) -> list[np.ndarray]:
    """The weights, and the weights restricted to each quadrant of the image."""
    h, w = weights.shape[:2]
    regions = [weights]
    for rows in (slice(0, h // 2), slice(h // 2, h)):
        for columns in (slice(0, w // 2), slice(w // 2, w)):
            part = np.zeros_like(weights)
            part[rows, columns] = weights[rows, columns]
            regions.append(part)
    return regions


def _name(integrator: Any) -> str:
    names = {
        "EdgeIntegrator": "prb_edge",
        "ReparamIntegrator": "prb_reparam",
        "PRBIntegrator": "prb",
        "PathProjectiveIntegrator": "prb_projective",
    }
    kind = type(integrator).__name__
    return names.get(kind, kind)
