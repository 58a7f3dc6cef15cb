"""`optimize` and `resume`: from an experiment file to a run folder."""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from ..core import memory
from ..core.errors import InputError
from ..core.files import require_folder
from ..integrators.capabilities import require_unbiased
from ..parameters.collection import Collection
from ..plugins import set_variant
from ..report.page import write_report
from ..report.results import write_results
from ..scene.load import load_file, load_integrator, orbit
from ..scene.targets import content_key, read_image, render_targets
from . import checkpoint
from .allocation import allocate
from .callbacks import Checkpoints, Live, Metrics, Pictures
from .experiment import Experiment, load_experiment
from .loop import Problem, prepare, run


@dataclass
class Result:
    """A finished run: its folder, report page, and recovered values by parameter key."""

    folder: Path
    report: Path
    values: dict[str, np.ndarray]


def optimize(
    source: Any, *, folder: str | Path | None = None, overrides: list[str] | None = None, quiet: bool = False
) -> Result:
    """Run an experiment.

    Args:
        source: path of an ``optimize.toml`` (or its folder), or an `Experiment`.
        folder: run folder to create; default ``runs/<name>/<timestamp>``.
        overrides: ``section.key=value`` strings.

    What the experiment does not say of ``max_depth``, ``rr_depth`` and ``hide_emitters`` is taken from the integrator of
    the scene file; one line says what is used.

    Raises:
        InputError: anything wrong with the experiment, found before the first iteration.
    """
    experiment = load_experiment(source, overrides)
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    target = Path(folder) if folder else Path("runs") / experiment.name / stamp
    if (target / "checkpoints").exists():
        raise InputError(f"{target}: already holds a run; continue it with: pbdr resume {target}")
    require_folder(target, "Run folder")
    _set_variant(experiment)
    experiment, origin = experiment.with_light_paths()
    experiment = _with_memory(experiment)
    problem, held_out = build(experiment, target)
    if not quiet:
        print(_light_paths(problem.integrator, experiment, origin), flush=True)
    with thread_count(experiment.schedule.threads):
        experiment = allocate(experiment, problem)
    target.mkdir(parents=True, exist_ok=True)
    experiment.save(target / "experiment.toml")
    (target / "versions.json").write_text(json.dumps(versions(), indent=1))
    checkpoint.save(target / "checkpoints", 0, problem.state(), {"loss": None})
    return _go(experiment, problem, held_out, target, 0, quiet)


def resume(folder: str | Path, *, quiet: bool = False) -> Result:
    """Continue a run from its newest checkpoint; the result is that of an uninterrupted run.

    Raises:
        InputError: not a run folder, or no readable checkpoint.
    """
    folder = Path(folder)
    if not (folder / "experiment.toml").exists():
        raise InputError(f"{folder}: not a run folder (no experiment.toml).")
    experiment = load_experiment(folder / "experiment.toml")
    experiment = _with_memory(experiment)
    step, arrays, _ = checkpoint.latest(folder / "checkpoints")
    problem, held_out = build(experiment, folder)
    experiment = allocate(experiment, problem)
    problem.restore(arrays)
    return _go(experiment, problem, held_out, folder, step, quiet)


def _set_variant(experiment: Experiment) -> None:
    if mi.variant() is None or (experiment.variant and mi.variant() != experiment.variant):
        set_variant(*([experiment.variant] if experiment.variant else []))


def _light_paths(integrator: Any, experiment: Experiment, origin: dict[str, str]) -> str:
    """Which light is simulated, and who says so."""
    used = []
    for name, where in origin.items():
        value = experiment.integrator.get(name, getattr(integrator, name, None))
        if value is not None:
            used.append(f"{name} = {value} ({where})")
    return f"integrator {experiment.integrator['type']}: {', '.join(used) or 'no parameters of light paths'}"


def _with_memory(experiment: Experiment) -> Experiment:
    """Set the memory budget; the experiment names it, since a resumed run must be split the same way."""
    memory.set_budget(experiment.schedule.memory or None)
    text = f"{memory.budget() >> 20}MiB"
    memory.set_budget(text)  # as rounded as a resumed run will read it
    schedule = experiment.schedule.model_copy(update={"memory": text})
    return experiment.model_copy(update={"schedule": schedule})


def build(experiment: Experiment, folder: Path) -> tuple[Problem, list[Any]]:
    """Load everything an experiment names; every input error is raised here."""
    _set_variant(experiment)
    scene = load_file(experiment.path(experiment.scene))
    sensors = orbit(experiment.views) if experiment.views.count else list(scene.sensors())
    held_out = orbit(experiment.views, held_out=True)
    if not sensors:
        raise InputError(f"{experiment.scene}: the scene has no sensor; add one, or [views] count = 8.")
    params = mi.traverse(scene)
    lighting = experiment.lighting(params)
    sensors, lit = sensors * len(experiment.lit), [name for name in experiment.lit for _ in sensors]
    if experiment.schedule.views_per_step > len(sensors):
        raise InputError(
            f"schedule.views_per_step is {experiment.schedule.views_per_step}, but there are {_count(experiment, sensors)}."
        )
    targets = load_targets(experiment, sensors, folder)
    collection = Collection(params, experiment.parameters)
    integrator = load_integrator(experiment.integrator, "[integrator]")
    for key in collection.items:
        require_unbiased(integrator, key, params)
    tensors = [mi.TensorXf(t) for t in targets]
    problem = Problem(scene, params, integrator, sensors, tensors, collection, experiment.loss, lighting, lit)
    with thread_count(experiment.schedule.threads):
        prepare(problem)
    return problem, held_out


def load_targets(experiment: Experiment, sensors: list[Any], folder: Path) -> list[np.ndarray]:
    """One image per view and illumination, illumination by illumination, from files or from the target scene."""
    source = experiment.targets
    if bool(source.images) == bool(source.scene):
        raise InputError('[targets] needs exactly one of: images = [...], scene = "reference.xml".')
    if source.images:
        if len(source.images) != len(sensors):
            raise InputError(f"[targets] names {len(source.images)} images for {_count(experiment, sensors)}.")
        shapes = [(int(s.film().crop_size()[1]), int(s.film().crop_size()[0]), 3) for s in sensors]
        files = [experiment.path(name) for name in source.images]
        return [read_image(file, shape, source.background) for file, shape in zip(files, shapes)]
    file = experiment.path(source.scene)
    settings = experiment.light_paths
    facts = (
        experiment.views.model_dump(),
        source.spp,
        sorted(settings.items()),
        mi.variant(),
        experiment.schedule.threads,
        mi.__version__,
    )
    scene = load_file(file)
    lighting = experiment.lighting(mi.traverse(scene))
    views = sensors[: len(sensors) // len(experiment.lit)]
    if not experiment.views.count and len(scene.sensors()) == len(views):
        views = list(scene.sensors())  # the true cameras, where they are what is looked for
    images = []
    with thread_count(experiment.schedule.threads):  # reproducible as the run itself
        for name in experiment.lit:
            lighting.turn_on(name)
            lamps = [light.set for light in experiment.lights if light.name == name]
            cache = folder.parent / ".targets" / f"{content_key(file, *facts, *lamps)}.npz"
            images += render_targets(scene, views, source.spp, settings, cache)
    return images


def _count(experiment: Experiment, sensors: list[Any]) -> str:
    lights = len(experiment.lit)
    return f"{len(sensors) // lights} views" + (f" in {lights} illuminations each" if lights > 1 else "")


def _go(experiment: Experiment, problem: Problem, held_out: list[Any], folder: Path, first: int, quiet: bool) -> Result:
    schedule = experiment.schedule
    callbacks: list[Any] = [
        Metrics(folder, first, math.ceil(len(problem.sensors) / schedule.views_per_step)),
        Checkpoints(folder, problem, schedule.checkpoint_every, schedule.iterations),
        Pictures(folder, problem, schedule.image_every),
    ]
    if not quiet:
        callbacks.append(Live(first, schedule.iterations))
    # One flag for all steps: a recorded step would be recorded anew when it changes.
    with thread_count(schedule.threads), dr.scoped_set_flag(dr.JitFlag.KernelHistory):
        run(problem, schedule, first, callbacks)
        dr.kernel_history_clear()
    problem.collection.to_scene()
    write_results(experiment, problem, held_out, folder)
    return Result(folder, write_report(folder), problem.collection.values())


@contextlib.contextmanager
def thread_count(count: int):
    """Use ``count`` CPU threads inside the block (0: leave as it is).

    Not while scenes are loaded: Mitsuba's parallel loader waits for worker threads.
    """
    before = dr.thread_count()
    if not count or "llvm" not in mi.variant():
        yield
        return
    _change_threads(count)
    try:
        yield
    finally:
        _change_threads(before)


def _change_threads(count: int) -> None:
    """Sums that were recorded for one number of threads and run on another would land beside their arrays."""
    dr.eval()
    dr.sync_thread()
    dr.set_thread_count(count)


def versions() -> dict[str, Any]:
    """What the numbers of a run depend on."""
    from .. import __version__, library

    return {
        "pbdr": __version__,
        "mitsuba": mi.__version__,
        "drjit": dr.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "variant": mi.variant(),
        "llvm": ".".join(map(str, library.version)) if library and library.version else None,
    }
