"""What a large scene costs before its first gradient is there, and afterwards: CPU seconds and memory beside `prb`.

192 spheres that all move; 240 shapes of five kinds, one of which is a mesh that moves; a mesh of a million triangles that moves.
64², 4 spp, depth 3, `mi.render` and `dr.backward` in a plain loop. Every measurement is a process of its own with an empty cache
of kernels; methods take turns, medians over the turns. With ``--against`` another checkout of pbdr takes part.

    python benchmarks/bm_first.py [--turns 5] [--scenes spheres,shapes,million] [--against ../older]
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCENES = ("spheres", "shapes", "million")
STEPS = 6


def scene_of(name, integrator):
    """The scene, and the keys of what moves."""
    import mitsuba as mi
    import numpy as np

    from pbdr.validation.meshes import as_file, knobbly_ball

    T = mi.ScalarTransform4f
    film = {"type": "hdrfilm", "width": 64, "height": 64, "sample_border": True, "pixel_format": "rgb"}
    scene = {
        "type": "scene",
        "integrator": {"type": integrator, "max_depth": 3},
        "sensor": {"type": "perspective", "fov": 40, "to_world": T().look_at([0, 4, 9], [0, 0, 0], [0, 1, 0]), "film": film},
        "lamp": {"type": "rectangle", "to_world": T().translate([0, 6, 0]).rotate([1, 0, 0], 90).scale(2),
                 "emitter": {"type": "area", "radiance": {"type": "rgb", "value": 8.0}}},
        "sky": {"type": "constant", "radiance": {"type": "rgb", "value": 0.3}},
        "floor": {"type": "rectangle", "to_world": T().translate([0, -2, 0]).rotate([1, 0, 0], -90).scale(8)},
    }  # fmt: skip
    rng = np.random.default_rng(1)
    if name == "million":
        scene["thing"] = as_file(knobbly_ball(500, 1.5), True)
        return mi.load_dict(scene), ["thing.vertex_positions"]
    kinds = ["sphere"] if name == "spheres" else ["sphere", "cube", "cylinder", "disk", "rectangle"]
    count = 192 if name == "spheres" else 239
    for k in range(count):
        to_world = T().translate([float(x) for x in rng.uniform((-3, -2, -3), (3, 2, 3))]).scale(0.15)
        bsdf = {
            "type": "diffuse",
            "reflectance": {"type": "rgb", "value": [float(x) for x in rng.uniform(0.2, 0.8, 3)]},
        }
        scene[f"s{k}"] = {"type": kinds[k % len(kinds)], "to_world": to_world, "bsdf": bsdf}
    if name == "spheres":
        return mi.load_dict(scene), [f"s{k}.to_world" for k in range(count)]
    scene["thing"] = as_file(knobbly_ball(16, 0.5), True)
    return mi.load_dict(scene), ["thing.vertex_positions"]


def measure(name, integrator):
    """One process: a dictionary of figures."""
    import pbdr

    pbdr.set_variant("llvm_ad_rgb")
    import drjit as dr
    import mitsuba as mi

    mi.set_log_level(mi.LogLevel.Error)
    scene, keys = scene_of(name, integrator)
    params = mi.traverse(scene)
    rest = {key: dr.detach(params[key]) for key in keys}
    seconds = []
    for seed in range(STEPS):
        began = time.process_time()
        for key, value in rest.items():
            value = type(value)(value)
            dr.enable_grad(value)
            params[key] = value
        params.update()
        dr.backward(dr.mean(mi.render(scene, params, spp=4, seed=seed), axis=None))
        dr.eval([dr.grad(params[key]) for key in keys])
        dr.sync_thread()
        seconds.append(time.process_time() - began)
    scale = 2**20 if sys.platform == "linux" else 2**30
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
    return {"first": seconds[0], "later": statistics.median(seconds[2:]), "memory": memory}


def in_process(checkout, name, integrator):
    with tempfile.TemporaryDirectory() as home:  # where Dr.Jit keeps its kernels
        environment = {**os.environ, "PYTHONPATH": str(checkout), "HOME": home}
        command = [sys.executable, __file__, "--one", name, integrator]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--turns", type=int, default=5)
    p.add_argument("--scenes", default=",".join(SCENES))
    p.add_argument("--against", type=Path, help="another checkout of pbdr")
    p.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.one:
        print(json.dumps(measure(*a.one)))
        return
    runs = [("prb_edge", HERE.parent, "prb_edge"), ("prb", HERE.parent, "prb")]
    if a.against:
        runs.append((f"prb_edge of {a.against.name}", a.against.resolve(), "prb_edge"))
    results = []
    for scene in a.scenes.split(","):
        found = {name: [] for name, _, _ in runs}
        for _ in range(a.turns):
            for name, checkout, integrator in runs:
                found[name].append(in_process(checkout, scene, integrator))
        rows = {name: {k: statistics.median(t[k] for t in turns) for k in turns[0]} for name, turns in found.items()}
        for name, row in rows.items():
            results.append({"scene": scene, "method": name, **row})
            ratios = ", ".join(f"{row[k] / rows['prb'][k]:.2f}" for k in ("first", "later", "memory"))
            print(
                f"{scene:8s} {name:24s} first {row['first']:6.2f} s, later {row['later']:6.3f} s CPU, {row['memory']:.2f} GiB"
                f"  (of prb: {ratios})",
                flush=True,
            )
    out = HERE / "results" / "first.json"
    out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
