"""The optimization loop, on one screen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from ..core.recording import freeze
from ..losses.dual_buffer import PAIRED, SINGLE, dual_l2
from ..losses.image import LOSSES, l2
from ..parameters.collection import Collection
from ..scene.lighting import Lighting
from ..scene.sensors import can_be_recorded
from ..scene.shapes import distance_grids
from .experiment import Schedule


@dataclass
class Problem:
    """What an experiment optimizes: scene, images with targets, parameters, loss.

    Image k is what ``sensors[k]`` sees of the scene in illumination ``lit[k]`` of ``lighting``.
    """

    scene: Any
    params: Any
    integrator: Any
    sensors: list[Any]
    targets: list[Any]  # TensorXf [height, width, 3] each
    collection: Collection
    loss: str
    lighting: Lighting | None = None  # None: all images show the scene as it is
    lit: list[str | None] | None = None

    def light(self, image: int) -> None:
        """Switch the scene to the illumination of an image."""
        if self.lighting is not None and self.lit is not None:
            self.lighting.turn_on(self.lit[image])

    @property
    def views(self) -> list[int]:
        """The first image of each sensor: several illuminations share what is recorded and learned of it."""
        first: dict[int, int] = {}
        for image, sensor in enumerate(self.sensors):
            first.setdefault(id(sensor), image)
        return list(first.values())

    def state(self) -> dict[str, np.ndarray]:
        """Everything that a resumed run needs: parameters, optimizers, what the integrator learned."""
        sensors = [self.sensors[k] for k in self.views]
        learned = self.integrator.state(sensors) if hasattr(self.integrator, "state") else {}
        return {**self.collection.state(), **learned}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Inverse of `state`, bit for bit."""
        self.collection.restore(arrays)
        if hasattr(self.integrator, "restore"):
            self.integrator.restore([self.sensors[k] for k in self.views], arrays)


def run(problem: Problem, schedule: Schedule, first: int, callbacks: list[Any]) -> None:
    """Iterations ``first`` … ``schedule.iterations`` - 1.

    All random choices derive from ``schedule.seed`` and the iteration, so a resumed run continues
    as if it had not stopped. Callbacks may read, not change: `before_step(i)`,
    `after_step(i, record)`, `after_run()`.
    """
    # By sensor: an illumination is an input of a recording.
    step = {id(problem.sensors[k]): differentiate(problem, k, schedule) for k in problem.views}
    for i in range(first, schedule.iterations):
        start, cpu = time.perf_counter(), time.process_time()
        for callback in callbacks:
            callback.before_step(i)
        total = 0.0
        problem.collection.to_scene()
        for k, view in enumerate(views_of(i, len(problem.sensors), schedule)):
            seed = mi.UInt32(seed_of(schedule.seed, i, k))
            dr.make_opaque(seed)  # a literal would be compiled into the kernels
            problem.light(view)
            total += float(step[id(problem.sensors[view])](problem.params, problem.targets[view], seed)[0])
        problem.collection.collect(problem.params)
        rate = schedule.final_rate ** (i / max(1, schedule.iterations - 1))
        norms = problem.collection.step(rate)
        record = {
            "iteration": i,
            "loss": total,
            "rate": rate,
            "gradient": norms,
            "shares": list(getattr(problem.integrator, "shares", None) or ()),
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - cpu,
        }
        for callback in callbacks:
            callback.after_step(i, record)
    for callback in callbacks:
        callback.after_run()


def differentiate(problem: Problem, view: int, schedule: Schedule) -> Callable[[Any, Any, Any], Any]:
    """A function (params, target, seed) → loss that adds the gradient to the attached ``params``.

    With ``schedule.freeze`` its kernels are recorded once and replayed: nothing is traced again.
    """
    # What a closure holds is an input of its recording, too. A target that were there twice would be mistaken for the
    # one of the first call; the latents must be there.
    problem = replace(problem, targets=[])
    scene, sensor, integrator = problem.scene, problem.sensors[view], problem.integrator
    halves = 2 if problem.loss == PAIRED else 1
    spp = -(-schedule.spp // halves)
    spp_grad = -(-(schedule.spp_grad or schedule.spp) // halves)

    def render(params: Any, seed: Any) -> Any:
        image = mi.render(scene, params, sensor=sensor, integrator=integrator, seed=seed, spp=spp, spp_grad=spp_grad)
        return image[..., :3]

    def step(params: Any, target: Any, seed: Any) -> Any:
        if problem.loss == SINGLE:
            return same_samples(params, target, seed)
        if problem.loss == PAIRED:
            images = [render(params, mi.sample_tea_32(seed, mi.UInt32(2 + k))[0]) for k in range(2)]
            loss = dual_l2(*images, target)
        else:
            loss = LOSSES[problem.loss](render(params, seed), target)
        loss /= schedule.views_per_step
        dr.backward(loss, flags=dr.ADFlag.ClearInterior)
        return dr.detach(loss).array

    def same_samples(params: Any, target: Any, seed: Any) -> Any:
        image = mi.TensorXf(integrator.render(scene, sensor, seed, spp))
        dr.enable_grad(image)
        loss = l2(image[..., :3], target) / schedule.views_per_step
        dr.backward(loss)
        integrator.render_backward(scene, params, dr.grad(image), sensor, seed, spp)
        return dr.detach(loss).array

    def isolated(params: Any, target: Any, seed: Any) -> Any:
        with dr.isolate_grad():  # stop at the scene parameters, as a frozen function does
            return step(params, target, seed)

    # A new distance field has other voxels near its surface: a recording would read the old ones.
    recorded = schedule.freeze and not distance_grids(scene) and can_be_recorded(sensor)
    return freeze(step) if recorded else isolated


def prepare(problem: Problem) -> None:
    """Let the integrator build what it keeps between renders (edge tables, guides), from the start values.

    A recording may not create it, and a resumed run must have the tables of the uninterrupted one.
    Gradients end in copies of the scene values, which the first step replaces.
    """
    problem.collection.detach()
    problem.params.update()
    for view in problem.views:
        problem.light(view)
        sensor = problem.sensors[view]
        image = mi.render(problem.scene, problem.params, sensor=sensor, integrator=problem.integrator, spp=1)
        dr.backward(dr.sum(image, axis=None))


def views_of(iteration: int, count: int, schedule: Schedule) -> list[int]:
    """Images of one step: a fresh permutation per pass over all images."""
    chosen = []
    for j in range(schedule.views_per_step):
        n = iteration * schedule.views_per_step + j
        order = np.random.default_rng([schedule.seed, n // count]).permutation(count)
        chosen.append(int(order[n % count]))
    return chosen


def seed_of(seed: int, iteration: int, k: int) -> int:
    """Seed of one render; `mi.render` derives an independent one for the gradient."""
    return int(np.random.default_rng([seed, iteration, k]).integers(0, 1 << 32))
