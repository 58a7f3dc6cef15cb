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

from ..core.errors import InputError
from ..integrators.capabilities import is_of_pbdr, plugin_name, require_unbiased
from ..scene.sensors import get_sensor, taken
from .arguments import check_arguments
from .finite_difference import backward_derivative, central_difference, forward_derivative
from .kinks import means_over_the_step
from .perturbation import Perturbation
from .statistics import SIGNIFICANT, Projection, Reference, difference, regions_of, tail_share

Z_LIMIT = 3.3  # two-sided p = 0.001, for each of five regions
STEP_LIMIT = 3e-3  # change of the reference, relative, at which its step is halved
HALVINGS = 6
CHANGE = 0.3  # of the reference in the last halving, relative, beyond which it is none
HEAVY = 0.5  # share of the squared deviations in the tail, from which on it is named


@dataclass
class GradcheckReport:
    """Result of `gradcheck`. Relative numbers are in units of the projected reference.

    Attributes:
        bias, standard_error: (estimate - reference) / reference and its standard error, for the
            derivative image projected on a held-out reference (a matched filter). The O(h²) error of the reference
            is extrapolated away where it is significant, and what that adds to the uncertainty is included.
        z: the same as z-scores: whole image, then its four quadrants.
        outliers: share of pixels whose own z-score exceeds 4.
        mismatch: |⟨forward, w⟩ - ⟨v, backward⟩| / |⟨forward, w⟩|, same seed.
        step: half width h of the central differences, after halving.
        step_bias, step_error: change of the reference from step h to h/2, and its standard error.
        variance_time: variance of the projected estimate × CPU seconds of a forward derivative.
        tail_share: share of the squared deviations of single pixels and seeds that the largest 1 % hold.
        kinked: the derivative changes within the step; means over the step were compared (see `kinks`).
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
    tail_share: float = 0.0
    kinked: bool = False
    images: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def significant(self) -> bool:
        """The bias cannot be chance."""
        return (self.converged and any(abs(z) > Z_LIMIT for z in self.z)) or not math.isfinite(self.bias)

    @property
    def converged(self) -> bool:
        """The last halving of the step did not change the reference as a whole."""
        return not abs(self.step_bias) > max(CHANGE, SIGNIFICANT * self.step_error)

    @property
    def conclusive(self) -> bool:
        """The error bar is small enough, and the reference good enough, for the test to mean something."""
        return self.converged and self.standard_error <= self.required_error

    @property
    def passed(self) -> bool:
        return self.conclusive and not self.significant and self.mismatch < 1e-3

    def verdict(self) -> str:
        if self.significant:
            return "biased"
        if not self.conclusive:
            return "inconclusive"
        return "pass" if self.passed else "forward and backward differ"

    def notes(self) -> list[str]:
        """What the numbers alone do not say, a line each."""
        notes = []
        if "reference" in self.images and not self.images["reference"].any():
            notes.append(
                "The reference is 0 everywhere: the parameter does not change this image, which tells nothing of others."
            )
        if not self.converged:
            notes.append(
                f"The reference has not converged: from the step {self.step:g} to its half it changes by"
                f" {100 * abs(self.step_bias):.0f} %. Take a smaller step."
            )
        if self.tail_share > HEAVY:
            notes.append(
                f"Heavy tails: 1 % of the entries (pixels of single seeds) hold {100 * self.tail_share:.0f} % of the squared"
                " deviations, so that error bars may be too small. Take more samples or seeds."
            )
        if self.kinked:
            notes.append(
                f"The derivative changes within the step of ± {self.step:g} (a kink, or strong curvature): its mean over the"
                " step was compared."
            )
        return notes

    def save(self, folder: str | Path) -> None:
        """Write ``gradcheck.json`` and PNG maps of derivative, reference and z-score."""
        from ..report.figures import save_signed_map

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        data = {k: v for k, v in asdict(self).items() if k != "images"}
        data |= {"verdict": self.verdict(), "notes": self.notes()}
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
        InputError: unknown key or direction, fewer than 4 seeds, or what `arguments.check_arguments` refuses.
        UnsupportedError: an integrator of pbdr has no right derivative of the parameter.
    """
    counts = {"spp": spp, "fd_spp": fd_spp, "seeds": seeds}
    check_arguments(
        scene, key, direction, {"integrator": integrator, "reference": reference}, step, counts, required_error
    )
    integrator = integrator or scene.integrator()
    sensor = get_sensor(scene, sensor)
    params = mi.traverse(scene)
    move = Perturbation(params, key, direction)
    if integrator is None:
        raise InputError("gradcheck: the scene has no integrator; pass one, mi.load_dict({'type': 'prb_edge'}).")
    reference = reference or integrator
    if is_of_pbdr(integrator):  # of others the bias is what is asked for
        require_unbiased(integrator, move.key, params)
    # Rounded once: each render would say so again.
    spp, fd_spp = taken(sensor, spp), taken(sensor, fd_spp)
    try:
        fd = _converged_differences(scene, move, reference, sensor, fd_spp, step, seeds)
        ours, cpu = _derivatives(scene, move, integrator, sensor, spp, seeds)
        mismatch = _mismatch(scene, move, integrator, sensor, spp, np.mean(fd.images, 0))
        masks = regions_of(np.ones_like(fd.images[0]))
        total = Projection(ours, fd, masks[0]).total or 1.0
        found, kinked = [difference(ours, fd, mask, total) for mask in masks], False
        if any(abs(d.z) > Z_LIMIT for d in found):

            def derivative(θ: float, k: int) -> np.ndarray:
                return forward_derivative(scene, move, integrator, sensor, spp, 5000 + k, θ)

            means = means_over_the_step(derivative, ours, fd, masks, found)
            # Means that agree, however noisy, leave no bias to speak of: the verdict is then that nothing can be said.
            kinked = means is not None and all(abs(d.z) <= Z_LIMIT for d in means)
            found = means if kinked else found
    finally:
        move.reset()  # nothing stays attached, whatever happened
    whole = found[0]
    pixel_error = np.sqrt((np.var(fd.images, 0, ddof=1) + np.var(ours, 0, ddof=1)) / seeds)
    mean = np.mean(fd.images, 0)
    pixel_z = (np.mean(ours, 0) - mean) / np.maximum(pixel_error, 1e-4 * np.abs(mean).max() + 1e-12)
    step_bias, step_error = fd.change()
    return GradcheckReport(
        integrator=plugin_name(integrator),
        key=move.key,
        direction=direction if isinstance(direction, str) else "array",
        step=fd.step,
        seeds=seeds,
        bias=whole.value,
        standard_error=whole.error,
        z=[d.z for d in found],
        outliers=float((np.abs(pixel_z) > 4).mean()),
        mismatch=mismatch,
        step_bias=step_bias,
        step_error=step_error,
        variance_time=float(whole.variance * np.median(cpu)),
        cpu_seconds=float(np.median(cpu)),
        required_error=required_error,
        tail_share=tail_share(ours),
        kinked=kinked,
        images={"derivative": np.mean(ours, 0), "reference": mean, "z": pixel_z},
    )


def _converged_differences(
    scene: Any, move: Perturbation, integrator: Any, sensor: Any, spp: int, step: float, seeds: int
) -> Reference:
    """Central differences for all seeds, at a step whose O(h²) error is small or lost in the noise."""

    def render(h: float, k: int) -> np.ndarray:
        return central_difference(scene, move, integrator, sensor, h, spp, 1000 + k)

    images = [render(step, k) for k in range(seeds)]
    for halving in range(HALVINGS + 1):
        half = {k: render(step / 2, k) for k in range(1, min(seeds, 16), 2)}
        found = Reference(step, images, half)
        bias, error = found.change()
        if abs(bias) < max(STEP_LIMIT, SIGNIFICANT * error) or halving == HALVINGS:
            break
        step /= 2
        images = [half[k] if k in half else render(step, k) for k in range(seeds)]
    return found


def _derivatives(
    scene: Any, move: Perturbation, integrator: Any, sensor: Any, spp: int, seeds: int
) -> tuple[list[np.ndarray], list[float]]:
    """Derivative image of each seed, and the CPU seconds that it took."""
    move.reset()
    forward_derivative(scene, move, integrator, sensor, spp, 1)  # compile
    ours, cpu = [], []
    for k in range(seeds):
        dr.sync_thread()
        start = time.process_time()
        ours.append(forward_derivative(scene, move, integrator, sensor, spp, 5000 + k))
        cpu.append(time.process_time() - start)
    return ours, cpu


def _mismatch(scene: Any, move: Perturbation, integrator: Any, sensor: Any, spp: int, weights: np.ndarray) -> float:
    """|⟨forward, w⟩ - ⟨v, backward(w)⟩| / |⟨forward, w⟩|, with the same samples in both modes."""
    forget = getattr(integrator, "forget", lambda: None)  # an integrator that learns from render to render must
    forget()
    first = float((forward_derivative(scene, move, integrator, sensor, spp, 5000) * weights).sum())
    forget()
    back = backward_derivative(scene, move, integrator, sensor, spp, 5000, weights)
    return abs(first - back) / max(abs(first), 1e-12)
