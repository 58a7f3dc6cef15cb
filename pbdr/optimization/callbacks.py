"""Observers of the loop: metrics, checkpoints, pictures, live progress. None changes parameters."""

from __future__ import annotations

import json
import math
import resource
import sys
from pathlib import Path
from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..report.figures import save_image
from . import checkpoint
from .loop import Problem


class Callback:
    def before_step(self, i: int) -> None: ...
    def after_step(self, i: int, record: dict[str, Any]) -> None: ...
    def after_run(self) -> None: ...


def memory_mib() -> float:
    """Peak resident memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def compilations() -> int:
    """How many kernels were compiled since the history was cleared last: those that no cache had. Clears it."""
    return sum(not x["cache_hit"] for x in dr.kernel_history() if x["type"] == dr.KernelType.JIT)


class Metrics(Callback):
    """One JSON line per step. Lines from after a checkpoint that is resumed are dropped.

    ``compilations`` is ``null`` in most steps: counting takes a tenth of a frozen step's time.

    Args:
        first: number of the first step.
        passes: steps that see all views once. Compilations are counted in two passes, and in every 16th step.
    """

    def __init__(self, folder: Path, first: int, passes: int):
        self.path = folder / "metrics.jsonl"
        self.early = first + 2 * passes
        kept = []
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                try:
                    if json.loads(line)["iteration"] < first:
                        kept.append(line)
                except (ValueError, KeyError):
                    continue  # cut off by a kill
        self.path.write_text("".join(k + "\n" for k in kept))

    def before_step(self, i: int) -> None:
        dr.kernel_history_clear()

    def after_step(self, i: int, record: dict[str, Any]) -> None:
        record["compilations"] = compilations() if i < self.early or i % 16 == 0 else None
        with open(self.path, "a") as f:
            f.write(json.dumps({**record, "memory_mib": round(memory_mib(), 1)}) + "\n")


class Checkpoints(Callback):
    def __init__(self, folder: Path, problem: Problem, every: int, last: int):
        self.folder, self.problem, self.every, self.last = folder / "checkpoints", problem, every, last

    def after_step(self, i: int, record: dict[str, Any]) -> None:
        if (i + 1) % self.every == 0 or i + 1 == self.last:
            checkpoint.save(self.folder, i + 1, self.problem.state(), {"loss": record["loss"]})


class Pictures(Callback):
    """Renders of the first view after the first step, and while the run goes on."""

    def __init__(self, folder: Path, problem: Problem, every: int):
        self.folder, self.problem, self.every = folder / "images", problem, every
        self.folder.mkdir(exist_ok=True)

    def after_step(self, i: int, record: dict[str, Any]) -> None:
        if i == 0 or (i + 1) % self.every == 0:
            p = self.problem
            p.light(0)
            image = mi.render(p.scene, sensor=p.sensors[0], integrator=p.integrator, spp=16, seed=1)
            save_image(self.folder / f"progress-{i + 1:06d}.png", np.array(image))


class Live(Callback):
    """A progress bar: iteration, loss, time left, memory. Plain lines where there is no terminal."""

    def __init__(self, first: int, last: int):
        self.first, self.last = first, last
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.5f}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[memory]:.0f} MiB"),
        )
        self.live = self.bar.console.is_terminal
        self.task = self.bar.add_task("optimizing", total=last, completed=first, loss=math.nan, memory=0)

    def before_step(self, i: int) -> None:
        if i == self.first and self.live:
            self.bar.start()

    def after_step(self, i: int, record: dict[str, Any]) -> None:
        if self.live:
            self.bar.update(self.task, completed=i + 1, loss=record["loss"], memory=memory_mib())
        elif (i + 1) % max(1, self.last // 10) == 0 or i + 1 == self.last:
            print(
                f"iteration {i + 1}/{self.last}  loss {record['loss']:.5f}  {record['seconds']:.2f} s/step", flush=True
            )

    def after_run(self) -> None:
        if self.live:
            self.bar.stop()
