"""What does the noise of the loss do to what is recovered: dual against single buffer.

Albedo and mean free path of a translucent plate with a narrow light, from grey and twice the length,
at 4 spp per step and equal cost; all losses take the same number of samples. Writes
benchmarks/results/dual.json and docs/figures/dual_buffer.png.

    python benchmarks/bm_dual.py [iterations]
"""

import json
import os
import sys
from pathlib import Path

import pbdr

pbdr.set_variant(os.environ.get("PBDR_VARIANT", "llvm_ad_rgb"))

import matplotlib  # noqa: E402
import mitsuba as mi  # noqa: E402
import numpy as np  # noqa: E402

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from pbdr.optimization.experiment import ParameterSpec, Schedule  # noqa: E402
from pbdr.optimization.loop import Problem, prepare, run  # noqa: E402
from pbdr.parameters.collection import Collection  # noqa: E402

HERE = Path(__file__).parent
RESULTS, FIGURE = HERE / "results" / "dual.json", HERE.parent / "docs" / "figures" / "dual_buffer.png"
TRUTH = {"slab.bsdf.albedo.value": 0.8, "slab.bsdf.radius.value": 0.15}
START = {"slab.bsdf.albedo.value": 0.5, "slab.bsdf.radius.value": 0.3}
LOSSES = ("dual_l2", "single_l2", "l2")


def scene():
    T = mi.ScalarTransform4f
    return mi.load_dict(
        {
            "type": "scene",
            "sensor": {
                "type": "perspective",
                "fov": 35,
                "to_world": T().look_at([0, 0.3, 4], [0, 0, 0], [0, 1, 0]),
                "film": {"type": "hdrfilm", "width": 48, "height": 48, "rfilter": {"type": "box"}},
            },
            "light": {
                "type": "spot",
                "to_world": T().look_at([0.5, 1.5, 4], [0, 0, 0.2], [0, 1, 0]),
                "cutoff_angle": 8,
                "beam_width": 7.5,
                "intensity": {"type": "rgb", "value": [60, 60, 60]},
            },
            "slab": {
                "type": "cube",
                "to_world": T().scale([1, 1, 0.2]),
                "bsdf": {
                    "type": "subsurface",
                    "albedo": {"type": "uniform", "value": TRUTH["slab.bsdf.albedo.value"]},
                    "radius": {"type": "uniform", "value": TRUTH["slab.bsdf.radius.value"]},
                    "alpha": 0.2,
                },
            },
        }
    )


class Track:
    """Callback: the values after each step."""

    def __init__(self, collection):
        self.collection, self.rows = collection, []

    def before_step(self, i):
        pass

    def after_step(self, i, record):
        self.rows.append([float(np.mean(v)) for v in self.collection.values().values()])

    def after_run(self):
        pass


def recover(s, target, loss, iterations, seed):
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 4})
    params = mi.traverse(s)
    specs = [
        ParameterSpec(key=k, representation="bounded" if "albedo" in k else "log", initial=v, learning_rate=0.04)
        for k, v in START.items()
    ]
    problem = Problem(s, params, integrator, [s.sensors()[0]], [target[..., :3]], Collection(params, specs), loss)
    prepare(problem)
    track = Track(problem.collection)
    run(problem, Schedule(iterations=iterations, spp=4, seed=seed, final_rate=0.02, threads=0), 0, [track])
    return np.array(track.rows)


def main():
    iterations = int(sys.argv[1]) if len(sys.argv) > 1 else 1500
    mi.set_log_level(mi.LogLevel.Error)
    s = scene()
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 4})
    target = sum(mi.render(s, integrator=integrator, spp=4096, seed=100 + k) for k in range(8)) / 8
    curves = {loss: [recover(s, target, loss, iterations, seed) for seed in range(3)] for loss in LOSSES}
    truth = np.array(list(TRUTH.values()))
    result = {}
    for loss, runs in curves.items():
        ends = np.array([r[-iterations // 10 :].mean(0) / truth - 1 for r in runs])
        result[loss] = {"albedo": ends[:, 0].tolist(), "radius": ends[:, 1].tolist()}
        print(loss, "albedo", np.round(100 * ends[:, 0], 2), "% radius", np.round(100 * ends[:, 1], 2), "%", flush=True)
    RESULTS.write_text(json.dumps({"spp": 4, "iterations": iterations, "relative_error": result}, indent=1))
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for axis, name, j in zip(axes, ("albedo", "mean free path"), range(2)):
        for k, (loss, runs) in enumerate(curves.items()):
            for r in runs:
                axis.plot(r[:, j], color=f"C{k}", lw=1, label=loss if r is runs[0] else None)
        axis.axhline(truth[j], color="k", ls="--", lw=1, label="truth")
        axis.set(xlabel="iteration", title=name)
    axes[0].legend(frameon=False)
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE, dpi=110)


if __name__ == "__main__":
    main()
