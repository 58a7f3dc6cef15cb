"""What does one frozen optimization step cost beside the same step traced anew?

The vase of the demo (positions, base colour and roughness attached, boundary term included), and the
same object with a diffuse material of one unknown colour: 64×64, 4 spp, one view. Prints CPU time of both (interleaved, medians), the difference of their gradients,
launches of a frozen step by kind, and what a run of 100 steps compiles after its second step. The
indirect boundary is off except where said.

    python benchmarks/bm_step.py
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pbdr

pbdr.set_variant(os.environ.get("PBDR_VARIANT", "llvm_ad_rgb"))  # CPU time is compared

import drjit as dr  # noqa: E402
import mitsuba as mi  # noqa: E402
import numpy as np  # noqa: E402

from pbdr.optimization.experiment import load_experiment  # noqa: E402
from pbdr.optimization.loop import differentiate, run  # noqa: E402
from pbdr.optimization.run import build  # noqa: E402

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "step.json"
SMALL = ["views.count=2", "views.held_out=0", "views.width=64", "views.height=64", "targets.spp=16"]


def problem_of(*more, folder=HERE.parent / "scenes/vase"):
    e = load_experiment(folder, [*SMALL, "schedule.spp=4", "schedule.views_per_step=1", *more])
    return build(e, Path("/nonexistent"))[0], e.schedule


def diffuse_vase(folder):
    """The vase with a diffuse material of one unknown colour, in ``folder``."""
    shutil.copytree(HERE.parent / "scenes/vase", folder, dirs_exist_ok=True)
    bsdf = '<bsdf type="diffuse"><rgb name="reflectance" value="0.5"/></bsdf>'
    for name in ("scene.xml", "reference.xml"):
        text = (folder / name).read_text()
        (folder / name).write_text(re.sub(r'<bsdf type="principled".*?</bsdf>', bsdf, text, flags=re.S))
    head, *tables = (folder / "optimize.toml").read_text().split("[[parameters]]")
    last = tables[-1][tables[-1].index("[schedule]") :]
    colour = '\nkey = "vase.bsdf.reflectance.value"\nrepresentation = "bounded"\n\n'
    (folder / "optimize.toml").write_text(
        head.replace("max_depth = 3", "max_depth = 2") + "[[parameters]]".join(["", tables[0], colour + last])
    )
    return folder


def gradient(problem, step, seed):
    """Gradients of one step (flat array each) and its CPU seconds, latents excluded."""
    for key in problem.collection.items:
        dr.clear_grad(problem.params[key])
    seed = mi.UInt32(seed)
    dr.make_opaque(seed)
    dr.eval()  # what an earlier call left behind
    dr.sync_thread()
    start = time.process_time()
    step(problem.params, problem.targets[0], seed)
    dr.eval([dr.grad(problem.params[key]) for key in problem.collection.items])
    dr.sync_thread()
    spent = time.process_time() - start
    return [np.array(dr.grad(problem.params[key])).ravel() for key in problem.collection.items], spent


def frozen_against_plain(problem, schedule, rounds=30):
    for key in problem.collection.items:
        value = dr.detach(problem.params[key])
        problem.params[key] = value
        dr.enable_grad(problem.params[key])
    problem.params.update()
    frozen = differentiate(problem, 0, schedule)
    plain = differentiate(problem, 0, schedule.model_copy(update={"freeze": False}))
    seconds, worst = ([], []), 0.0
    for k in range(rounds + 3):
        (a, ta), (b, tb) = gradient(problem, frozen, k), gradient(problem, plain, k)
        if k >= 3:
            seconds[0].append(ta)
            seconds[1].append(tb)
            worst = max(worst, *(float(np.abs(x - y).max() / np.abs(y).max()) for x, y in zip(a, b)))
    with dr.scoped_set_flag(dr.JitFlag.KernelHistory):
        gradient(problem, frozen, 1000)
        dr.kernel_history_clear()
        gradient(problem, frozen, 1001)
        launches = Counter(str(h["type"]).split(".")[-1] for h in dr.kernel_history())
    cpu = [float(np.median(s)) for s in seconds]
    return {
        "cpu_frozen": cpu[0],
        "cpu_plain": cpu[1],
        "gain": cpu[1] / cpu[0],
        "difference": worst,
        "launches": dict(launches),
        "total": sum(launches.values()),
    }


class Compilations:
    """Callback: kernels that were not in the cache, by step."""

    def __init__(self):
        self.steps = []

    def before_step(self, i):
        dr.kernel_history_clear()

    def after_step(self, i, record):
        history = dr.kernel_history()  # reading empties it
        jit = [h for h in history if h["type"] == dr.KernelType.JIT]
        self.steps.append({"launches": len(history), "compiled": sum(not h["cache_hit"] for h in jit)})

    def after_run(self):
        pass


def hundred_steps():
    problem, schedule = problem_of("schedule.iterations=100")
    counter = Compilations()
    with dr.scoped_set_flag(dr.JitFlag.KernelHistory):
        run(problem, schedule, 0, [counter])
    views = len(problem.sensors)
    return {
        "compiled_by_step": [s["compiled"] for s in counter.steps[:8]],
        "compiled_later": sum(s["compiled"] for s in counter.steps[2 * views :]),
        "launches_per_step": counter.steps[-1]["launches"],
    }


def part(name):
    """One measurement; each has a process of its own."""
    primary = "integrator.sppi=0"  # interior and primary boundary
    if name == "vase":
        return frozen_against_plain(*problem_of(primary))
    if name == "run_of_100":
        return hundred_steps()
    if name == "with_indirect":
        return frozen_against_plain(*problem_of())
    with tempfile.TemporaryDirectory() as folder:
        return frozen_against_plain(*problem_of(primary, folder=diffuse_vase(Path(folder))))


if __name__ == "__main__":
    mi.set_log_level(mi.LogLevel.Error)
    if len(sys.argv) > 1:
        print(json.dumps(part(sys.argv[1])))
    else:
        names = ("vase", "run_of_100", "diffuse", "with_indirect")
        runs = {n: subprocess.run([sys.executable, __file__, n], capture_output=True, text=True) for n in names}
        result = {n: json.loads(r.stdout.splitlines()[-1]) for n, r in runs.items()}
        print(json.dumps(result, indent=1))
        RESULTS.write_text(json.dumps(result, indent=1))
