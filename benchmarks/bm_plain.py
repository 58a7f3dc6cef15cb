"""A user's own loop on a real mesh under a real light probe: CPU time and variance of one derivative, nothing frozen.

Spot and the Stanford bunny, smooth and flat, 128², 16 spp, diffuse, direct light: `mi.render`, `dr.backward` of a loss whose
derivative is ±1 (what an L1 loss gives), the gradient of all vertex positions. Methods take turns, each in a process of its own;
medians over the turns. With ``--against`` another checkout of pbdr takes part. Needs ../shared (meshes, light probe).

    python benchmarks/bm_plain.py [--turns 3] [--meshes spot,flat_spot,bunny] [--depth 2] [--against ../older]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared" / "data"
METHODS = {
    "prb_edge": {"type": "prb_edge"},
    "prb_projective": {"type": "prb_projective", "guiding": "none", "sppi": 0},
}
MESHES = {
    "spot": ("meshes/spot/spot_triangulated.obj", False, 1.0, (0, 0, 0)),
    "flat_spot": ("meshes/spot/spot_triangulated.obj", True, 1.0, (0, 0, 0)),
    "bunny": ("meshes/bunny/stanford-bunny.obj", False, 9.0, (0.017, -0.11, 0)),
}
WARM, SEEDS = 6, 16  # derivatives that only teach, and that are measured


def measure(mesh, method, depth):
    """One process: a dictionary of figures."""
    import pbdr

    pbdr.set_variant("llvm_ad_rgb")
    import drjit as dr
    import mitsuba as mi
    import numpy as np

    mi.set_log_level(mi.LogLevel.Error)
    T = mi.ScalarTransform4f
    file, flat, scale, shift = MESHES[mesh]
    film = {"type": "hdrfilm", "width": 128, "height": 128, "sample_border": True, "pixel_format": "rgb"}
    pose = T().rotate([0, 1, 0], 30).scale(scale).translate(list(shift))
    scene = mi.load_dict(
        {
            "type": "scene",
            "integrator": {**METHODS[method], "max_depth": depth},
            "mesh": {"type": "obj", "filename": str(SHARED / file), "face_normals": flat, "to_world": pose},
            "light": {"type": "envmap", "filename": str(SHARED / "envmaps/studio_1k.hdr"), "scale": 0.3},
            "sensor": {"type": "perspective", "fov": 35, "to_world": T().look_at([0, 0.5, 4], [0, 0, 0], [0, 1, 0]), "film": film},
        }
    )  # fmt: skip
    params = mi.traverse(scene)
    rest = dr.detach(params["mesh.vertex_positions"])
    y, x = np.mgrid[0:128, 0:128]
    signs = np.sign(np.sin(x / 7) * np.cos(y / 9))[:, :, None].repeat(3, 2)
    signs = mi.TensorXf((signs / signs.size).astype(np.float32))
    gradients, seconds = [], []
    for seed in range(WARM + SEEDS):
        began = time.process_time()
        v = mi.Float(rest)
        dr.enable_grad(v)
        params["mesh.vertex_positions"] = v
        params.update()
        dr.backward(dr.sum(signs * mi.render(scene, params, spp=16, seed=seed), axis=None))
        gradients.append(np.array(dr.grad(v), np.float64))
        seconds.append(time.process_time() - began)
    g = np.array(gradients[WARM:])
    variance = g.var(0, ddof=1)
    squares = np.sort(((g - g.mean(0)) ** 2).ravel())[::-1]
    return {
        "first": seconds[0],
        "cpu": statistics.median(seconds[WARM:]),
        "variance": variance.sum(),
        "norm2": (g.mean(0) ** 2).sum() - variance.sum() / SEEDS,
        "tail": squares[: len(squares) // 100].sum() / squares.sum(),
        "largest": squares[0] / squares.sum(),
    }


def in_process(checkout, mesh, method, depth):
    command = [sys.executable, __file__, "--one", mesh, method, str(depth)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(checkout)}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--turns", type=int, default=3)
    p.add_argument("--meshes", default=",".join(MESHES))
    p.add_argument("--depth", type=int, default=2)
    p.add_argument("--against", type=Path, help="another checkout of pbdr")
    p.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.one:
        print(json.dumps(measure(a.one[0], a.one[1], int(a.one[2]))))
        return
    if not SHARED.exists():
        print(f"skipped: needs {SHARED}")
        return
    runs = [("prb_edge", HERE.parent, "prb_edge"), ("prb_projective", HERE.parent, "prb_projective")]
    if a.against:
        runs.append((f"prb_edge of {a.against.name}", a.against.resolve(), "prb_edge"))
    results = []
    for mesh in a.meshes.split(","):
        found = {name: [] for name, _, _ in runs}
        for _ in range(a.turns):
            for name, checkout, method in runs:
                found[name].append(in_process(checkout, mesh, method, a.depth))
        for name, turns in found.items():
            row = {k: statistics.median(t[k] for t in turns) for k in turns[0]}
            results.append({"mesh": mesh, "depth": a.depth, "method": name, **row})
            print(
                f"{mesh:10s} depth {a.depth} {name:24s} first {row['first']:5.2f} s  later {row['cpu']:6.3f} s CPU  variance"
                f" {row['variance']:.3g}  ‖g‖² {row['norm2']:.3g}  variance × CPU {row['variance'] * row['cpu']:.3g}"
                f"  top 1 % {row['tail']:.2f}  largest {row['largest']:.3f}",
                flush=True,
            )
    out = HERE / "results" / "plain.json"
    out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
