"""Runs the census in a process of its own, which may die: what it was at is recorded, and the rest goes on."""

from __future__ import annotations

import fcntl
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pbdr

from .plugins import KINDS
from .rows import matches
from .situations import load_all
from .worker import MARK

SILENCE = 900.0  # seconds without a word after which the worker is ended
FRESH = 12  # situations after which a worker is replaced
BAD = ("wrong", "error", "abort", "undecided")


@dataclass
class Results:
    """Rows on disk, one file per variant and integrator: JSON, one row a line, written after each row.

    Several processes may write into one folder.
    """

    folder: Path
    variant: str

    def path(self, integrator: str) -> Path:
        return self.folder / f"census_{self.variant.rpartition('_')[-1]}_{integrator}.json"

    def read(self, integrator: str) -> dict[str, dict]:
        """Results by the name of the row."""
        path = self.path(integrator)
        return {r["row"]: r for r in json.loads(path.read_text())} if path.exists() else {}

    def add(self, result: dict) -> None:
        with self._locked(result["integrator"]):
            rows = self.read(result["integrator"])
            rows[result["row"]] = result
            text = "[\n" + ",\n".join(json.dumps(_finite(r)) for r in rows.values()) + "\n]\n"
            path = self.path(result["integrator"])
            part = path.with_suffix(".part")
            part.write_text(text)
            os.replace(part, path)

    @contextmanager
    def _locked(self, integrator: str):
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self.path(integrator).with_suffix(".lock")
        with lock.open("w") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            yield


def _finite(result: dict) -> dict:
    """JSON has no NaN."""
    return {k: None if isinstance(v, float) and v != v else v for k, v in result.items()}


@dataclass
class Plan:
    """What is to be measured.

    Attributes:
        only: globs on names of rows, ``situation/key/direction``; the last parts may be missing.
        kinds: kinds of plugins, keys of `KINDS`.
        core: only the situations of the smaller census.
        again: verdicts of rows that are measured though they are there.
        minutes: wall-clock time after which no further row begins; 0: no limit.
        seconds: CPU time of one row and integrator.
    """

    variant: str
    integrators: list[str]
    only: str = "*"
    kinds: tuple[str, ...] = tuple(KINDS)
    core: bool = False
    again: tuple[str, ...] = ()
    minutes: float = 0.0
    seconds: float = 20.0
    started: float = field(default_factory=time.monotonic)
    started_at: float = field(default_factory=time.time)

    def situations(self) -> list[str]:
        found = load_all().values()
        wanted = (s for s in found if s.exists_in(self.variant) and (s.core or not self.core))
        return [s.name for s in wanted if s.kind in self.kinds and matches(s.name, self.only)]

    @property
    def late(self) -> bool:
        return self.minutes > 0 and time.monotonic() - self.started > 60 * self.minutes


def run(plan: Plan, results: Results, report: Callable[[dict], None] = print) -> None:
    """Measure every row of ``plan`` that ``results`` does not have."""
    worker: Worker | None = None
    used = 0
    try:
        for name in plan.situations():
            if plan.late:
                return
            if worker is None or used >= FRESH:
                if worker is not None:
                    worker.close()
                worker, used = Worker(plan.variant), 0
            used += 1
            worker = _run_situation(plan, results, worker, name, report)
    finally:
        if worker is not None:
            worker.close()


def _run_situation(plan: Plan, results: Results, worker: Worker, name: str, report: Callable) -> Worker:
    """Measure the rows of one situation, with as many workers as that takes; returns the one that lives."""
    died: dict[tuple[str, str], int] = {}
    while not plan.late:
        done = {i: _done(results.read(i), plan.again, plan.started_at) for i in plan.integrators}
        skip = [[i, row] for i, rows in done.items() for row in rows]
        skip += [list(k) for k, count in died.items() if count > 1]
        job = {"situation": name, "only": plan.only, "integrators": plan.integrators, "skip": skip}
        current = None
        for kind, message in worker.ask({**job, "seconds": plan.seconds}):
            if kind == "start":
                current = (message["integrator"], message["row"])
            elif kind == "problem":
                report({"row": name, "integrator": "-", "forward": "error", "backward": "error", "line": message})
            elif kind == "result":
                result = {**message, "time": time.time()}
                results.add(result)
                report(result)
            if plan.late:
                worker.close()
                return worker
            if kind == "done":
                return worker
        worker.close()
        reason = worker.reason
        worker = Worker(plan.variant)
        if current is None:
            report({"row": name, "integrator": "-", "forward": "error", "backward": "error", "line": reason})
            return worker
        died[current] = died.get(current, 0) + 1
        if died[current] > 1:  # once more, alone, before it is blamed
            row = current[1].split("/")
            result = {"row": current[1], "key": row[1], "direction": row[2], "plain": False, "integrator": current[0]}
            result |= {"forward": "abort", "backward": "abort", "line": reason, "time": time.time()}
            results.add(result)
            report(result)
    return worker


def _done(rows: dict[str, dict], again: Iterable[str], since: float) -> list[str]:
    """Names of the rows that need not be measured."""
    return [
        name for name, r in rows.items() if r.get("time", 0) >= since or not {r["forward"], r["backward"]} & set(again)
    ]


class Worker:
    """A process that measures rows: `pbdr.validation.census.worker`."""

    def __init__(self, variant: str):
        environment = {**os.environ, "PYTHONPATH": _path()}
        # The catalogue needs a variant when it is imported.
        start = f"import pbdr; pbdr.set_variant({variant!r}); from pbdr.validation.census.worker import main; main()"
        command = [sys.executable, "-c", start]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        self.lines: queue.Queue = queue.Queue()
        self.tail: list[str] = []
        self.reason = ""
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._read_errors, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            if line.startswith(MARK):
                self.lines.put(json.loads(line[len(MARK) :]))
        self.lines.put(None)

    def _read_errors(self) -> None:
        for line in self.process.stderr:
            self.tail = [*self.tail[-20:], line.strip()]

    def ask(self, job: dict) -> Iterable[tuple[str, Any]]:
        """The worker's messages about a job, until it is done, dead or silent for too long."""
        try:
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
        except OSError:
            pass
        while True:
            try:
                message = self.lines.get(timeout=SILENCE)
            except queue.Empty:
                self.reason = f"No result within {SILENCE:.0f} s."
                return
            if message is None:
                code = self.process.wait()
                said = [x for x in self.tail if "ritical" in x or "rror" in x or "assert" in x.lower()]
                self.reason = f"The process ended with status {code}. {' '.join(said[-1:])}"[:300].strip()
                return
            yield message["kind"], message["content"]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def _path() -> str:
    """The import path of the worker: that of this package first."""
    own = str(Path(pbdr.__file__).resolve().parents[1])
    return os.pathsep.join([own, *filter(None, [os.environ.get("PYTHONPATH")])])


__all__ = ["BAD", "Plan", "Results", "Worker", "run"]
