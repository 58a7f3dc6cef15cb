"""The optimization loop, on one screen."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from ..losses.image import LOSSES
from ..parameters.collection import Collection
from .experiment import Schedule


@dataclass
class Problem:
    """What an experiment optimizes: scene, views with targets, parameters, loss."""

    scene: Any
    params: Any
    integrator: Any
    sensors: list[Any]
    targets: list[Any]  # TensorXf [height, width, 3] each
    collection: Collection
    loss: str


def run(problem: Problem, schedule: Schedule, first: int, callbacks: list[Any]) -> None:
    """Iterations ``first`` … ``schedule.iterations`` - 1.

    All random choices derive from ``schedule.seed`` and the iteration, so a resumed run continues
    as if it had not stopped. Callbacks may read, not change: `before_step(i)`,
    `after_step(i, record)`, `after_run()`.
    """
    loss_of = LOSSES[problem.loss]
    for i in range(first, schedule.iterations):
        start, cpu = time.perf_counter(), time.process_time()
        for callback in callbacks:
            callback.before_step(i)
        total = 0.0
        problem.collection.to_scene()
        for k, view in enumerate(views_of(i, len(problem.sensors), schedule)):
            seed = seed_of(schedule.seed, i, k)
            image = mi.render(
                problem.scene,
                problem.params,
                sensor=problem.sensors[view],
                integrator=problem.integrator,
                seed=seed,
                seed_grad=seed + 1,
                spp=schedule.spp,
                spp_grad=schedule.spp_grad or schedule.spp,
            )
            loss = loss_of(image[..., :3], problem.targets[view]) / schedule.views_per_step
            dr.backward(loss, flags=dr.ADFlag.ClearInterior)
            total += float(dr.detach(loss).array[0])
        rate = schedule.final_rate ** (i / max(1, schedule.iterations - 1))
        norms = problem.collection.step(rate)
        record = {
            "iteration": i,
            "loss": total,
            "rate": rate,
            "gradient": norms,
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - cpu,
        }
        for callback in callbacks:
            callback.after_step(i, record)
    for callback in callbacks:
        callback.after_run()


def views_of(iteration: int, count: int, schedule: Schedule) -> list[int]:
    """Views of one step: a fresh permutation per pass over all views."""
    chosen = []
    for j in range(schedule.views_per_step):
        n = iteration * schedule.views_per_step + j
        order = np.random.default_rng([schedule.seed, n // count]).permutation(count)
        chosen.append(int(order[n % count]))
    return chosen


def seed_of(seed: int, iteration: int, k: int) -> int:
    """An even seed below 2³¹; the odd one after it belongs to the gradient."""
    value = np.random.default_rng([seed, iteration, k]).integers(0, 1 << 30)
    return int(value) * 2
