"""Entry points of light: probes along three axes beside probes along the normal alone.

Points x_o all over an object; figure: variance × CPU time of ∫ R dA, normal alone / three axes, the mean
over channels and objects' points. Weights along the normal alone are not bounded, so its variance grows with the
number of samples. Results go to benchmarks/results/probe.json.

    python benchmarks/bm_probe.py
"""

import json
import os
import time
from pathlib import Path

import pbdr

pbdr.set_variant(os.environ.get("PBDR_VARIANT", "llvm_ad_rgb"))  # CPU time is compared

import drjit as dr  # noqa: E402
import mitsuba as mi  # noqa: E402
import numpy as np  # noqa: E402

from pbdr.bssrdfs.normalized_diffusion import NormalizedDiffusion  # noqa: E402
from pbdr.bssrdfs.probe import AXES, sample_entry  # noqa: E402
from pbdr.validation.meshes import as_file, knobbly_ball  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "probe.json"
COUNT, ROUNDS = 2_000_000, 5
OBJECTS = {
    "ball": {"type": "sphere", "radius": 0.5},
    "cube": {"type": "cube", "to_world": mi.ScalarTransform4f().scale(0.5)},
    "knobbly ball": as_file(knobbly_ball(60), True),
}


def estimate(scene, radius, seed, axes):
    """Weights (channels, samples) for points drawn uniformly on the object, and CPU seconds."""
    rng = mi.PCG32(COUNT, seed)
    u = [rng.next_float32() for _ in range(6)]
    ps = scene.shapes()[0].sample_position(0, mi.Point2f(u[4], u[5]))
    si = scene.ray_intersect(mi.Ray3f(ps.p + 0.01 * ps.n, -ps.n))
    dr.eval(si, u)
    profile = NormalizedDiffusion(mi.Color3f(0.9, 0.8, 0.5), radius * mi.Color3f(1, 0.5, 0.25))
    dr.sync_thread()
    start = time.process_time()
    e = sample_entry(scene, si, profile, u[0], mi.Point2f(u[1], u[2]), u[3], si.is_valid(), axes)
    dr.eval(e.weight)
    dr.sync_thread()
    return np.asarray(e.weight, np.float64), time.process_time() - start


def main():
    done = {}
    for name, shape in OBJECTS.items():
        scene = mi.load_dict({"type": "scene", "s": shape})
        for radius in (0.05, 0.2, 1.0):
            figures = {axes: [] for axes in (AXES, (1.0, 0.0, 0.0))}
            means = {axes: [] for axes in figures}
            for k in range(-1, ROUNDS):
                for axes, rows in figures.items():
                    weight, cpu = estimate(scene, radius, 7 + k, axes)
                    if k >= 0:
                        rows.append(weight.var(1).mean() * cpu)
                        means[axes].append(weight.mean())
            three, one = (float(np.median(rows)) for rows in figures.values())
            done[f"{name}, mean free path {radius}"] = {
                "ratio": one / three,
                "means": [float(np.mean(m)) for m in means.values()],
            }
            print(
                f"{name:14s} {radius:5.2f}  {one / three:6.2f}  means {[round(float(np.mean(m)), 4) for m in means.values()]}"
            )
    RESULTS.write_text(json.dumps(done, indent=1))
    print(f"geometric mean {np.exp(np.mean(np.log([e['ratio'] for e in done.values()]))):.2f}")


if __name__ == "__main__":
    main()
