"""How do time, variance and memory of the indirect boundary grow with edges and with path depth?

Edges: the shadow of a knobbly ball of 10² to 10⁶ edges under an area light; CPU time per boundary
sample (tables included, and without them), and the variance of the projected derivative beside a
choice of edges by length alone. Depth: a Cornell-like box at max_depth 2 to 64; CPU time and peak
memory of a backward pass, each in a process of its own. Also the peer's headline case: one step
(render and backward, all terms) in the box at 32×32, 4 spp.

    python benchmarks/bm_scaling.py [edges|depth|step]
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pbdr

pbdr.set_variant(os.environ.get("PBDR_VARIANT", "llvm_ad_rgb"))  # CPU time is compared

import drjit as dr  # noqa: E402
import mitsuba as mi  # noqa: E402
import numpy as np  # noqa: E402

from pbdr.geometry.edge_tree import EdgeTree  # noqa: E402
from pbdr.geometry.scene_edges import SceneEdges  # noqa: E402
from pbdr.validation.cases import camera, diffuse  # noqa: E402
from pbdr.validation.finite_difference import forward_derivative  # noqa: E402
from pbdr.validation.indirect_cases import LIGHTS, floor  # noqa: E402
from pbdr.validation.meshes import as_file, knobbly_ball  # noqa: E402
from pbdr.validation.perturbation import Perturbation  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "scaling.json"
ROWS = (4, 8, 16, 32, 64, 128, 256, 410)  # about 6 rows² edges


def shadow_scene(rows):
    ball = {**as_file(knobbly_ball(rows), True), "bsdf": diffuse()}
    sensor = camera(origin=(0, 4, 5))
    return mi.load_dict({"type": "scene", "sensor": sensor, "light": LIGHTS["area"](), "floor": floor(), "ball": ball})


class ByLength(EdgeTree):
    """The same tree, blind: every curve in proportion to its length."""

    def _importance(self, query, first, local, leaf):
        w = dr.gather(mi.Vector4f, self.weight, first + local)
        value = dr.fma(query.statics, w.y + w.w, w.x + w.z)
        return value, value


def measure(scene, spp, rounds=10):
    """Derivative images of the shadow, and median CPU seconds of one."""
    move = Perturbation(mi.traverse(scene), "ball.vertex_positions", "translate_x")
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 2, "sppc": 0, "sppp": 0})
    images, seconds = [], []
    for k in range(-2, rounds):
        dr.sync_thread()
        start = time.process_time()
        image = forward_derivative(scene, move, integrator, scene.sensors()[0], spp, 50 + k)
        spent = time.process_time() - start
        if k >= 0:
            images.append(image)
            seconds.append(spent)
    return np.array(images), float(np.median(seconds))


def deviation(images, weights):
    """Of the derivative projected on ``weights``, relative."""
    return float(((images * weights).sum((1, 2, 3)) / (weights**2).sum()).std(ddof=1))


def tables(scene):
    """Median CPU seconds of building the tables of all edges, the mesh's own update not counted."""
    cache, seconds = {}, []
    for _ in range(6):
        start = time.process_time()
        dr.eval(SceneEdges(scene, cache, True).tree.low)
        dr.sync_thread()
        seconds.append(time.process_time() - start)
    return float(np.median(seconds[1:]))


def edges():
    table = []
    for rows in ROWS:
        scene = shadow_scene(rows)
        (images, many), (_, few) = measure(scene, 256), measure(scene, 64)
        try:
            own, EdgeTree._importance = EdgeTree._importance, ByLength._importance
            blind, _ = measure(scene, 64)
        finally:
            EdgeTree._importance = own
        mean = images.mean(0)
        table.append(
            {
                "edges": len(SceneEdges(scene, {}, True)),
                "us_per_sample": 1e6 * (many - few) / (192 * 22 * 22),
                "ms_tables": 1e3 * tables(scene),
                "deviation": deviation(images, mean),
                "deviation_by_length": deviation(blind, mean) / 2,  # a quarter of the samples
            }
        )
        print({k: round(v, 4) for k, v in table[-1].items()}, flush=True)
    return table


def box(depth, size, integrator="prb_edge", **more):
    scene = mi.cornell_box()
    scene["integrator"] = {"type": integrator, "max_depth": depth, "rr_depth": 1000, **more}
    scene["sensor"]["film"].update(width=size, height=size, rfilter={"type": "gaussian"}, sample_border=True)
    return mi.load_dict(scene, optimize=False)  # else the boxes are merged into one shape


def one_step(scene, spp, rounds):
    """Median CPU seconds of render and backward with all terms for the small box of the scene."""
    params = mi.traverse(scene)
    key = "small-box.vertex_positions"
    start, seconds = mi.Float(params[key]), []
    for k in range(rounds + 1):
        x = mi.Float(start)
        dr.make_opaque(x)
        dr.enable_grad(x)
        params[key] = x
        params.update()
        seed = mi.UInt32(k)
        dr.make_opaque(seed)
        dr.sync_thread()
        begin = time.process_time()
        dr.backward(dr.mean(dr.square(mi.render(scene, params, spp=spp, seed=seed)), axis=None))
        dr.eval(dr.grad(x))
        dr.sync_thread()
        seconds.append(time.process_time() - begin)
    return float(np.median(seconds[1:]))


def depth_part(depth):
    seconds = one_step(box(depth, 64), 64, 4)
    return {"depth": depth, "cpu": seconds, "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def depth():
    table = []
    for d in (2, 4, 8, 16, 32, 64):
        run = subprocess.run([sys.executable, __file__, "depth", str(d)], capture_output=True, text=True)
        table.append(json.loads(run.stdout.splitlines()[-1]))
        print(table[-1], flush=True)
    return table


def step():
    result = {"prb_edge": one_step(box(6, 32), 4, 20)}
    print(result, flush=True)
    peer = box(6, 32, "prb_projective")
    result["prb_projective, its default guiding"] = one_step(peer, 4, 1)
    print(result, flush=True)
    return result


if __name__ == "__main__":
    mi.set_log_level(mi.LogLevel.Error)
    if len(sys.argv) > 2:
        print(json.dumps(depth_part(int(sys.argv[2]))))
    else:
        done = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        for name in sys.argv[1:] or ("edges", "depth", "step"):
            done[name] = globals()[name]()
            RESULTS.write_text(json.dumps(done, indent=1))
