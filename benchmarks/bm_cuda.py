"""The catalogue at small error bars, and the time of a step: for a GPU, where both are quick.

Bias: the derivative, averaged over [-h, h], projected on the central difference of step h, which is that
mean exactly, whatever happens between (as on meshes finer than h). Appends a line per case; run one
process per part side by side, since most of the time goes into tracing and compiling.

    PBDR_VARIANT=cuda_ad_rgb python benchmarks/bm_cuda.py steps
    PBDR_VARIANT=cuda_ad_rgb python benchmarks/bm_cuda.py bias prb_edge OUTPUT.jsonl [part/parts | case ...]

Effort is scaled by the variable EFFORT (default 1: 32768 spp of the differences at 16×16 pixels, 16 seeds).
benchmarks/results/cuda.json holds what was measured on 2026-11-26.
"""

import json
import os
import sys
import time

import pbdr

pbdr.set_variant()

import drjit as dr  # noqa: E402
import mitsuba as mi  # noqa: E402
import numpy as np  # noqa: E402

from pbdr.optimization.loop import differentiate  # noqa: E402
from pbdr.validation.cases import CASES  # noqa: E402
from pbdr.validation.compare import regions_of  # noqa: E402
from pbdr.validation.finite_difference import central_difference, forward_derivative  # noqa: E402
from pbdr.validation.perturbation import Perturbation  # noqa: E402

SEEDS = 16
EFFORT = float(os.environ.get("EFFORT", 1))


def bias(case, name):
    """Relative bias, standard error and z of the image and its quadrants."""
    scene, h = case.scene(), case.step / 2
    sensor = scene.sensors()[0]
    scale = EFFORT * 256 / np.prod(sensor.film().size())
    move = Perturbation(mi.traverse(scene), case.key, case.direction)
    reference, ours = (mi.load_dict({"type": n, "max_depth": case.max_depth}) for n in ("prb_edge", name))
    spp = max(64, int(32768 * scale)), max(16, int((8192 if name == "prb_edge" else 2048) * scale))
    truth = [central_difference(scene, move, reference, sensor, h, spp[0], 100 + k) for k in range(SEEDS)]
    at = h * (2 * (np.arange(SEEDS) + 0.5) / SEEDS - 1)
    found = [forward_derivative(scene, move, ours, sensor, spp[1], 7000 + k, at[k]) for k in range(SEEDS)]
    # The direction of projection must not know the samples that it is applied to.
    regions = regions_of(np.mean(truth[::2], 0))
    a, b = (np.array([[(x * r).sum() for r in regions] for x in images]) for images in (found, truth[1::2]))
    total = b.mean(0)[0]
    error = (a.mean(0) - b.mean(0)) / total
    deviation = np.sqrt(a.var(0, ddof=1) / len(a) + b.var(0, ddof=1) / len(b)) / abs(total)
    return {"bias": error.tolist(), "se": deviation.tolist(), "z": (error / deviation).tolist()}


def catalogue(name, output, *which):
    names = list(CASES)
    if len(which) == 1 and "/" in which[0]:
        part, parts = map(int, which[0].split("/"))
        names = names[part::parts]
    elif which:
        names = which
    for case in names:
        try:
            row = bias(CASES[case], name)
            text = f"{100 * row['bias'][0]:+.2f} ± {100 * row['se'][0]:.2f} %  z {max(row['z'], key=abs):.1f}"
        except pbdr.PbdrError as error:
            text = str(error).strip().splitlines()[-1]
            row = {"error": text}
        with open(output, "a") as f:
            f.write(json.dumps({"case": case, "integrator": name, **row}) + "\n")
        print(f"{case:28s} {text}", flush=True)


def clock(work, rounds):
    """Median wall time in milliseconds, the device included."""
    times = []
    for k in range(rounds + 3):
        dr.sync_thread()
        start = time.perf_counter()
        work(k)
        dr.sync_thread()
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times[3:]))


def steps(sizes=((64, 4), (256, 16), (512, 64)), rounds=9):
    """A frozen and an unfrozen step of scenes/vase; image and gradient of the Cornell box beside Mitsuba's."""
    from bm_step import gradient, problem_of

    for size, spp in sizes:
        problem, schedule = problem_of(f"views.width={size}", f"views.height={size}", f"schedule.spp={spp}")
        for key in problem.collection.items:
            problem.params[key] = dr.detach(problem.params[key])
            dr.enable_grad(problem.params[key])
        problem.params.update()
        row = {"vase": size, "spp": spp}
        for name, freeze in (("frozen_ms", True), ("plain_ms", False)):
            step = differentiate(problem, 0, schedule.model_copy(update={"freeze": freeze}))
            row[name] = clock(lambda k, step=step, problem=problem: gradient(problem, step, k), rounds)
        print(json.dumps(row), flush=True)
    size, spp = sizes[-1][0] // 2, 64
    box = mi.cornell_box()
    box["sensor"]["film"].update(width=size, height=size)
    scene = mi.load_dict(box)
    params, key = mi.traverse(scene), "red.reflectance.value"
    row = {"cornell": size, "spp": spp}
    for name in ("prb_edge", "path", "prb"):
        integrator = mi.load_dict({"type": name, "max_depth": 6})

        def image(k, integrator=integrator):
            dr.eval(mi.render(scene, integrator=integrator, spp=spp, seed=k))

        def backward(k, integrator=integrator):
            params[key] = dr.detach(params[key])
            dr.enable_grad(params[key])
            params.update()
            dr.backward(dr.mean(mi.render(scene, params, integrator=integrator, spp=spp, seed=k), axis=None))
            dr.eval(dr.grad(params[key]))

        row[f"image_{name}_ms"] = clock(image, rounds)
        if name != "path":
            row[f"gradient_{name}_ms"] = clock(backward, rounds)
    print(json.dumps(row), flush=True)


def main():
    mi.set_log_level(mi.LogLevel.Error)
    if sys.argv[1:2] == ["bias"] and len(sys.argv) > 3:
        catalogue(*sys.argv[2:])
    elif sys.argv[1:] == ["steps"]:
        steps()
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
