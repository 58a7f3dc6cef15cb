"""CPU time of the primal image beside Mitsuba's C++ `path`, and of the interior gradient beside `prb`.

Interleaved in one process, medians of the ratio of neighbours in time. The gradient is that of the
mean pixel; albedos, textures or vertex positions are attached as named. `prb` computes fewer terms
for moving geometry (it ignores that incident directions and areas move), so those rows compare
unequal work.

    python benchmarks/bm_speed.py
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

from pbdr.validation.cases import CASES  # noqa: E402

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "speed.json"
ROUNDS = 15


def cornell(size):
    d = mi.cornell_box()
    d["sensor"]["film"].update(width=size, height=size)
    return mi.load_dict(d)


def vase(size):
    d = mi.load_file(str(HERE.parent / "scenes/vase/scene.xml"))
    return d, mi.load_dict(
        {
            "type": "perspective",
            "fov": 32,
            "to_world": mi.ScalarTransform4f().look_at([0, 1.2, 4.2], [0, 0, 0], [0, 1, 0]),
            "film": {"type": "hdrfilm", "width": size, "height": size, "sample_border": True},
        }
    )


def clock(work, seed):
    dr.sync_thread()
    start = time.process_time()
    work(seed)
    dr.sync_thread()
    return time.process_time() - start


def compare(ours, theirs, rounds=ROUNDS):
    """Median over rounds of CPU(ours) / CPU(theirs), and both medians in seconds."""
    a, b = [], []
    for k in range(-2, rounds):
        first, second = (ours, theirs) if k % 2 else (theirs, ours)
        t = {work: clock(work, k + 10) for work in (first, second)}
        if k >= 0:
            a.append(t[ours])
            b.append(t[theirs])
    return {"ratio": float(np.median(np.array(a) / b)), "ours": float(np.median(a)), "peer": float(np.median(b))}


def primal(scene, sensor, depth, spp):
    def task(kind):
        integrator = mi.load_dict({"type": kind, "max_depth": depth})

        def work(seed):
            seed = mi.UInt32(seed)
            dr.make_opaque(seed)
            dr.eval(integrator.render(scene, sensor, seed, spp, True, False))

        return work

    return compare(task("prb_edge"), task("path"))


def interior(scene, sensor, depth, spp, key):
    params = mi.traverse(scene)
    params.keep([key])
    dr.enable_grad(params[key])
    params.update()
    size = sensor.film().crop_size()
    grad = dr.full(mi.TensorXf, 1e-3, (size[1], size[0], 3))

    def task(kind, **more):
        integrator = mi.load_dict({"type": kind, "max_depth": depth, **more})

        def work(seed):
            dr.clear_grad(params[key])
            seed = mi.UInt32(seed)
            dr.make_opaque(seed)
            integrator.render_backward(scene, params, grad, sensor, seed, spp)
            dr.eval(dr.grad(params[key]))

        return work

    return compare(task("prb_edge", sppp=0, sppi=0), task("prb"))


def main():
    mi.set_log_level(mi.LogLevel.Error)
    result = {}

    def report(name, value):
        result[name] = value
        print(
            f"{name:44s} {value['ratio']:.3f}   {1e3 * value['ours']:8.1f} ms  {1e3 * value['peer']:8.1f} ms",
            flush=True,
        )
        RESULTS.write_text(json.dumps(result, indent=1))

    for size, spp in ((32, 4), (128, 64)):
        scene = cornell(size)
        report(f"primal cornell {size}²×{spp} depth 6", primal(scene, scene.sensors()[0], 6, spp))
        scene, sensor = vase(size)
        report(f"primal vase {size}²×{spp} depth 3", primal(scene, sensor, 3, spp))
        scene = CASES["lit_smooth_mesh"].scene()
        report(f"primal plastic mesh {size}²×{spp} depth 3", primal(scene, _resized(scene, size), 3, spp))
    for size, spp in ((32, 4), (128, 64)):
        scene = cornell(size)
        report(
            f"interior cornell albedo {size}²×{spp} depth 6",
            interior(scene, scene.sensors()[0], 6, spp, "red.reflectance.value"),
        )
        scene, sensor = vase(size)
        report(
            f"interior vase colour {size}²×{spp} depth 3", interior(scene, sensor, 3, spp, "vase.bsdf.base_color.data")
        )
        scene, sensor = vase(size)
        report(
            f"interior vase positions {size}²×{spp} depth 3", interior(scene, sensor, 3, spp, "vase.vertex_positions")
        )


def _resized(scene, size):
    del scene
    return mi.load_dict(
        {
            "type": "perspective",
            "fov": 40,
            "to_world": mi.ScalarTransform4f().look_at([0, 0, 5], [0, 0, 0], [0, 1, 0]),
            "film": {"type": "hdrfilm", "width": size, "height": size},
        }
    )


if __name__ == "__main__":
    main()
