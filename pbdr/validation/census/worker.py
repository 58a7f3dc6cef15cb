"""The process that measures: jobs come in as lines of JSON, results go out as such."""

from __future__ import annotations

import json
import sys
from typing import Any

import drjit as dr
import mitsuba as mi

from .measure import Bench, failure, measure
from .rows import list_rows, matches
from .situations import load_all

MARK = "@census "  # lines that are meant for whom we work for


def say(kind: str, content: Any) -> None:
    print(MARK + json.dumps({"kind": kind, "content": content}), flush=True)


def work(job: dict) -> None:
    """Measure the rows of one situation."""
    situation = load_all()[job["situation"]]
    skip = {tuple(x) for x in job["skip"]}
    try:
        bench = Bench(situation)
        rows = list_rows(situation, bench.params)
    except Exception as error:
        say("problem", failure(error)[1])
        return
    for row in rows:
        wanted = [i for i in job["integrators"] if (i, row.name) not in skip]
        if not wanted or not matches(row.name, job["only"]):
            continue
        say("start", {"row": row.name, "integrator": wanted[0]})
        for result in measure(bench, row, wanted, job["seconds"]):
            say("result", {**result, "kind": situation.kind, "plugins": list(situation.plugins)})
            later = wanted[wanted.index(result["integrator"]) + 1 :]
            if later:
                say("start", {"row": row.name, "integrator": later[0]})


def main() -> None:
    """Work until there are no more jobs; the variant has been set before this module was imported."""
    mi.set_log_level(mi.LogLevel.Error)
    dr.set_thread_count(1)  # most of the time is tracing and compiling; several workers share a machine better
    for line in sys.stdin:
        work(json.loads(line))
        say("done", None)
