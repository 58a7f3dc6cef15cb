"""Measurement of one row: finite differences once, then each integrator, with as many samples as a verdict needs."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Iterator
from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from ...core import errors
from ...scene.sensors import get_sensor
from ..finite_difference import central_difference
from ..perturbation import Perturbation
from .judge import SILENCE, Judgement, judge, judge_faintness, judge_numbers, judge_silence
from .rows import Row, is_plain, moves, natural_step
from .situations import Situation

# The number of samples is part of a kernel: it never changes, and more of them are more seeds.
SPP = 256
STAGES = (8, 32, 128, 512)  # seeds
STEP_CHANGE = 0.04  # change of the differences from h to h/2 at which the step is halved
HALVINGS = 5
MORE = 32  # most references per estimate, where they are noisier
HELD = 10_000  # the first of the seeds that are compared; those before give weights
MATCH = 1e-3  # relative difference of forward and backward mode with the same samples
INTEGRATORS: dict[str, dict] = {
    "prb_edge": {"type": "prb_edge"},
    "prb_reparam": {"type": "prb_reparam"},
    "prb": {"type": "prb"},
    "prb_projective": {"type": "prb_projective", "guiding": "none"},
}


def seed_of(k: int) -> int:
    return 1000 + 10 * k


class Bench:
    """A situation that is loaded, and what renders it. After an error it is loaded anew."""

    def __init__(self, situation: Situation):
        self.situation = situation
        self.load()

    def load(self) -> None:
        self.scene = self.params = self.sensor = None
        gc.collect()  # a scene that is alive takes part in calls
        self.scene = self.situation.scene()
        self.params = mi.traverse(self.scene)
        self.sensor = get_sensor(self.scene, 0)
        depth = {"max_depth": self.situation.max_depth}
        self.reference = mi.load_dict({"type": self.situation.reference, **depth})

    def integrator(self, name: str) -> Any:
        return mi.load_dict({**INTEGRATORS[name], "max_depth": self.situation.max_depth})

    def difference(self, move: Perturbation, step: float, seed: int) -> np.ndarray:
        return central_difference(self.scene, move, self.reference, self.sensor, step, SPP, seed)

    def image(self, move: Perturbation, integrator: Any, seed: int) -> tuple[Any, Any]:
        """(θ, image), as a user's script renders it."""
        θ = mi.Float(0)
        dr.enable_grad(θ)
        move.set(θ)
        image = mi.render(
            self.scene, params=move.params, sensor=self.sensor, integrator=integrator, spp=1, spp_grad=SPP, seed=seed + 1,
            seed_grad=seed,
        )  # fmt: skip
        return θ, image

    def forward(self, move: Perturbation, integrator: Any, seed: int) -> np.ndarray:
        θ, image = self.image(move, integrator, seed)
        dr.forward(θ)
        result = np.array(dr.grad(image), np.float64)
        move.reset()
        return result

    def backward(self, move: Perturbation, integrator: Any, seed: int, weights: np.ndarray) -> float:
        θ, image = self.image(move, integrator, seed)
        dr.backward(dr.sum(image * mi.TensorXf(weights.astype(np.float32)), axis=None))
        result = float(dr.grad(θ)[0])
        move.reset()
        return result


class Reference:
    """Finite differences of a row: (4 D(h/2) - D(h)) / 3, of which the O(h²) error is gone (Richardson).

    Seeds that give the weights of the projection are not those that are projected: an error of the weights would
    correlate with what it is compared with. An integrator is compared seed by seed: where it draws its samples as `path` does,
    most of the noise is common to both.
    """

    def __init__(self, bench: Bench, move: Perturbation, step: float):
        self.bench, self.move, self.step = bench, move, step
        move.reset()
        image = mi.render(bench.scene, sensor=bench.sensor, integrator=bench.reference, spp=SPP, seed=99)
        self.scale = float(np.abs(np.array(image)).mean()) / step
        self.pilot = [self._pair(k) for k in range(4)]
        for _ in range(HALVINGS):
            if self.silent or not self._coarse():
                break
            self.step /= 2
            self.pilot = [self._pair(k) for k in range(4)]
        self.held: list[np.ndarray] = []

    def _pair(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        seed = seed_of(k)
        return tuple(self.bench.difference(self.move, h, seed) for h in (self.step, self.step / 2))

    def renew(self) -> None:
        """Load the scene anew: an error may leave something attached behind."""
        self.bench.load()
        self.move = Perturbation(self.bench.params, self.move.key, self.move.direction)

    @property
    def silent(self) -> bool:
        """Whether the parameter changes nothing but roundings."""
        mean = np.mean([half for _, half in self.pilot], 0)
        return not np.abs(mean).max() > SILENCE * self.scale

    def _coarse(self) -> bool:
        weights = np.mean([half for _, half in self.pilot], 0)
        total = (weights**2).sum()
        change = np.array([((half - whole) * weights).sum() / total for whole, half in self.pilot])
        return abs(change.mean()) > max(STEP_CHANGE, 3 * change.std(ddof=1) / 2)

    @staticmethod
    def _extrapolate(pair: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        return (4 * pair[1] - pair[0]) / 3

    def weights(self, seeds: int) -> np.ndarray:
        """A projection, from a quarter as many seeds as are projected; pixels that have more noise than signal count less."""
        while len(self.pilot) < seeds // 4:
            self.pilot.append(self._pair(len(self.pilot)))
        found = [(whole + half) / 2 for whole, half in self.pilot]
        mean, noise = np.mean(found, 0), np.var(found, 0, ddof=1) / len(found)
        return mean * mean**2 / np.maximum(mean**2 + noise, 1e-300)

    def images(self, seeds: int) -> list[np.ndarray]:
        while len(self.held) < seeds:
            self.held.append(self._extrapolate(self._pair(HELD + len(self.held))))
        return self.held[:seeds]

    def noisier(self, ours: list[np.ndarray], weights: np.ndarray) -> int:
        """How many finite differences there should be for each estimate, which costs a few times more."""
        f = np.array([(x * weights).sum() for x in self.images(len(ours))])
        g = np.array([(x * weights).sum() for x in ours])
        return round(2 * min(float(f.std() / max(g.std(), 1e-30)), MORE))


def measure(bench: Bench, row: Row, integrators: list[str], seconds: float = 20.0) -> Iterator[dict]:
    """The results of a row, one per integrator.

    Args:
        seconds: CPU time after which no more samples are taken, for each integrator.
    """
    plain = row.key in bench.params and is_plain(bench.params[row.key])
    base = {"row": row.name, "key": row.key, "direction": row.direction, "plain": plain}
    reference = problem = None
    try:
        reference = _reference(bench, row)
    except Exception as error:
        problem = failure(error)
        bench.load()
    for name in integrators:
        start = time.process_time()
        if problem is not None:
            word, line = problem
            if word == "error":
                word, line = _without_reference(bench, name, line)
            result = {"forward": word, "backward": word, "line": line}
        else:
            result = _compare(reference, name, seconds)
        yield {**base, "integrator": name, **result, "cpu": round(time.process_time() - start, 2)}


def _without_reference(bench: Bench, name: str, line: str) -> tuple[str, str]:
    """Verdict and line where finite differences raise: what Mitsuba cannot render, or what the row does."""
    try:
        mi.render(bench.scene, sensor=bench.sensor, integrator=bench.reference, spp=SPP, seed=99)
        return "error", line
    except Exception:
        bench.load()
    try:
        mi.render(bench.scene, sensor=bench.sensor, integrator=bench.integrator(name), spp=SPP, seed=99)
        return "undecided", f"Mitsuba's {bench.situation.reference} cannot render the scene."
    except Exception as error:
        bench.load()
        return "refused", f"Mitsuba itself cannot render the scene: {failure(error)[1]}"


def _reference(bench: Bench, row: Row) -> Reference:
    step = natural_step(row.key, bench.params[row.key], row.direction)
    for move in moves(bench.params, row):
        reference = Reference(bench, move, step)
        if not reference.silent:
            break
    return reference


def failure(error: BaseException) -> tuple[str, str]:
    """('refused', the line) for what pbdr refuses, ('error', the line) for any other exception."""
    line, chain, seen = str(error), error, []
    while chain is not None and chain not in seen:
        if isinstance(chain, errors.PbdrError):
            return "refused", " ".join(str(chain).split())
        seen.append(chain)
        line = str(chain) or line
        chain = chain.__cause__ or chain.__context__
    return "error", f"{type(error).__name__}: {' '.join(line.split())[:300]}"


def _compare(reference: Reference, name: str, seconds: float) -> dict:
    """Verdicts of both modes for one integrator."""
    errors._warned.clear()
    result: dict[str, Any] = {"step": reference.step, "line": ""}
    judgement = None
    try:
        judgement, seeds = _judge_forward(reference, name, seconds)
        result |= {"forward": judgement.verdict, "bias": judgement.bias, "error": judgement.error, "seeds": seeds}
        result["line"] = judgement.line
    except Exception as error:
        result["forward"], result["line"] = failure(error)
        reference.renew()
    try:
        result["backward"], result["bias_backward"], line = _judge_backward(reference, name, judgement, seconds)
    except Exception as error:
        result["backward"], line = failure(error)
        reference.renew()
    result["line"] = result["line"] or line
    if result["backward"] == "error" and result["forward"] == "refused":
        result["line"] = line
    if errors._warned:
        result["warning"] = " ".join(sorted(errors._warned))
        for mode in ("forward", "backward"):
            if result[mode] in ("wrong", "undecided") and np.isfinite(result.get("bias", 0.0)):
                result[mode] = "warned"
    return result


def _judge_forward(reference: Reference, name: str, seconds: float) -> tuple[Judgement, int]:
    """The judgement, and the number of seeds that it took."""
    integrator = reference.bench.integrator(name)
    start = time.process_time()
    ours: list[np.ndarray] = []
    judgement = None
    for seeds in STAGES[:1] if reference.silent else STAGES:
        while len(ours) < seeds and (len(ours) < STAGES[0] or time.process_time() - start < seconds):
            ours.append(reference.bench.forward(reference.move, integrator, seed_of(HELD + len(ours))))
        if reference.silent:
            judgement = judge_silence(ours, reference.scale)
        else:
            judgement = _judge_with_more(reference, ours)
        if judgement.settled or time.process_time() - start > seconds:
            break
    return judgement, len(ours)


def _judge_with_more(reference: Reference, ours: list[np.ndarray]) -> Judgement:
    """Seed by seed; if that does not settle it, against as many finite differences as their noise asks for."""
    count = len(ours)
    weights = reference.weights(count)
    judgement = judge(ours, reference.images(count), weights)
    if judgement.settled:
        return judgement
    more = min(reference.noisier(ours, weights), MORE) * count
    for seeds in (count, more) if more > count else (count,):
        found, weights = reference.images(seeds), reference.weights(seeds)
        judgement = judge_faintness(ours, found, weights, reference.scale) or judge(ours, found, weights)
        if judgement.settled:
            break
    return judgement


def _judge_backward(
    reference: Reference, name: str, forward: Judgement | None, seconds: float
) -> tuple[str, float | None, str]:
    """(verdict, bias, line). Where both modes agree with the same samples, the verdict is that of forward mode."""
    bench, move = reference.bench, reference.move
    integrator = bench.integrator(name)
    forget = getattr(integrator, "forget", lambda: None)
    weights = reference.weights(STAGES[0])
    total = float((weights**2).sum())
    if reference.silent:
        weights = np.ones_like(weights)
        total = reference.scale * weights.size
    second = bench.backward(move, integrator, seed_of(HELD), weights)
    if forward is not None:
        forget()
        first = float((bench.forward(move, integrator, seed_of(HELD)) * weights).sum())
        if abs(first - second) <= MATCH * max(abs(first), total):
            return forward.verdict, forward.bias, ""
    if not np.isfinite(second):
        return "wrong", math.nan, "The derivative is not finite."
    differs = "Backward mode differs from forward mode." if forward is not None else ""
    if reference.silent:
        return ("no effect", 0.0, "") if abs(second) <= SILENCE * total else ("wrong", math.nan, differs)
    start = time.process_time()
    values: list[float] = []
    judgement = None
    for seeds in STAGES:
        while len(values) < seeds and (len(values) < STAGES[0] or time.process_time() - start < seconds):
            values.append(bench.backward(move, integrator, seed_of(HELD + len(values)), weights))
        projected = np.array([[(x * weights).sum()] for x in reference.images(len(values))])
        judgement = judge_numbers(np.array(values)[:, None], projected)
        if judgement.settled or time.process_time() - start > seconds:
            break
    return judgement.verdict, judgement.bias, judgement.line or (differs if judgement.verdict == "wrong" else "")
