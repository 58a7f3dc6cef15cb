"""Derivative images of Mitsuba 3.4's `prb_reparam`; run by bm_reparam.py in an environment of its own.

    python peer_mitsuba34.py JOB.npz RESULT.npz

JOB holds: xml (scene file), key ("shape.parameter", the shape by its id), kind and tangent (an array for
mesh positions, or 4x4 matrices at -h and +h for a transform), spp, seeds, max_depth, and the plugin's
parameters as JSON.
"""

import json
import sys
import time

import mitsuba as mi
import numpy as np

mi.set_variant("llvm_ad_rgb")
import drjit as dr  # noqa: E402


def main():
    job = dict(np.load(sys.argv[1], allow_pickle=False))
    mi.set_log_level(mi.LogLevel.Error)
    scene = mi.load_file(str(job["xml"]))
    integrator = mi.load_dict(
        {"type": "prb_reparam", "max_depth": int(job["max_depth"]), **json.loads(str(job["options"]))}
    )
    params = mi.traverse(scene)
    name = str(job["key"])
    (key,) = [k for k in params.keys() if k == name] or [k for k in params.keys() if k.endswith(name.split(".")[-1])][
        :1
    ]
    images, cpu = [], []
    for seed in job["seeds"]:
        theta = mi.Float(0)
        dr.enable_grad(theta)
        if str(job["kind"]) == "positions":
            start = mi.Float(np.array(job["start"], np.float32))
            params[key] = start + mi.Float(np.array(job["tangent"], np.float32)) * theta
        else:
            m = np.array(job["tangent"], np.float64)  # derivative of the matrix
            start = np.array(job["start"], np.float64)
            rows = [[mi.Float(float(start[i, j])) + float(m[i, j]) * theta for j in range(4)] for i in range(4)]
            params[key] = mi.Transform4f(mi.Matrix4f(*[x for row in rows for x in row]))
        params.update()
        dr.forward(theta, dr.ADFlag.ClearEdges)
        dr.sync_thread()
        begin = time.process_time()
        image = integrator.render_forward(scene, params=params, sensor=0, seed=int(seed), spp=int(job["spp"]))
        images.append(np.array(image, np.float64))
        cpu.append(time.process_time() - begin)
    np.savez(sys.argv[2], images=np.array(images), cpu=np.array(cpu))


main()
