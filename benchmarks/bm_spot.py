"""Spot the cow from a sphere: how long until a distance that Mitsuba's shape recipe reaches?

12 views of 128×128 under a studio light probe, diffuse, direct light. The peer is the recipe of
Mitsuba's "Shape optimization" tutorial (Large Steps λ = 25, uniform Adam 0.1, L1, one view a step,
16 spp, `direct_projective` without indirect boundary), ours an experiment of `pbdr optimize`. Both
get the same views, targets, start mesh and seconds; clocks stop while distances are measured.
Needs ../shared (mesh, light probe, metrics).

    python benchmarks/bm_spot.py [seconds] [ours|peer] [key=value ...]
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import pbdr

pbdr.set_variant(os.environ.get("PBDR_VARIANT", "llvm_ad_rgb"))  # CPU time is compared

import drjit as dr  # noqa: E402
import matplotlib.image  # noqa: E402
import mitsuba as mi  # noqa: E402
import numpy as np  # noqa: E402

from pbdr.optimization.experiment import load_experiment  # noqa: E402
from pbdr.optimization.loop import run  # noqa: E402
from pbdr.optimization.run import build, thread_count  # noqa: E402
from pbdr.scene.load import orbit  # noqa: E402

HERE = Path(__file__).parent
SHARED = HERE.parent.parent / "shared"
RESULTS = HERE / "results"
KEY = "mesh.vertex_positions"

SCENE = """<scene version="3.0.0"><integrator type="path"><integer name="max_depth" value="2"/></integrator>
<emitter type="envmap"><string name="filename" value="{probe}"/></emitter>
<shape type="ply" id="mesh"><string name="filename" value="{mesh}"/><bsdf type="diffuse"/></shape></scene>"""

OURS = """scene = "start.xml"
loss = "l1"
[integrator]
type = "prb_edge"
max_depth = 2
[views]
count = 12
held_out = 4
width = 128
height = 128
distance = 5.0
fov = 30.0
elevations = [10.0, 50.0, -25.0]
[targets]
scene = "target.xml"
spp = 512
[[parameters]]
key = "mesh.vertex_positions"
learning_rate = 0.1
smoothness = 25.0
[schedule]
iterations = 100000
spp = 16
final_rate = 1.0
threads = 0
"""


def spot():
    """Spot, centred and scaled to a bounding radius of 1."""
    import trimesh

    mesh = trimesh.load(SHARED / "data/meshes/spot/spot_triangulated.obj", process=False, maintain_order=True)
    v = np.array(mesh.vertices, np.float32)
    v -= 0.5 * (v.max(0) + v.min(0))
    return v / np.linalg.norm(v, axis=1).max(), np.array(mesh.faces)


def write_inputs(folder, assets):
    from pbdr.validation.meshes import make_mesh

    probe = SHARED / "data/envmaps/studio_1k.hdr"
    meshes = {"target": spot(), "start": assets.icosphere(4)}
    for name, (v, f) in meshes.items():
        make_mesh(v, f, None, True).write_ply(str(folder / f"{name}.ply"))
        (folder / f"{name}.xml").write_text(SCENE.format(probe=probe, mesh=f"{name}.ply"))
    (folder / "optimize.toml").write_text(OURS)
    return meshes


class Judge:
    """Learning curve of one system: seconds, distance to the target surface, held-out PSNR."""

    def __init__(self, assets, meshes, experiment, seconds):
        self.assets, self.budget, self.curve = assets, seconds, []
        self.target, self.faces = meshes["target"], meshes["start"][1]
        self.sensors = orbit(experiment.views, held_out=True)
        self.truth = mi.load_file(str(Path(experiment.folder) / "target.xml"))
        self.truth = [np.array(mi.render(self.truth, sensor=s, spp=512, seed=5)) for s in self.sensors]
        self.clock = assets.BudgetClock()

    def start(self):
        self.clock.start()

    def look(self, step, scene, values):
        """Record a point when due; True when the time is over."""
        wall = self.clock.wall
        due = (self.curve[-1]["seconds"] * 1.15 + 1) if self.curve else 0
        if wall < due and wall < self.budget:
            return False
        dr.sync_thread()
        self.clock.pause()
        v = np.array(values()).reshape(-1, 3)
        images = [np.array(mi.render(scene, sensor=s, integrator=PATH(), spp=64, seed=9)) for s in self.sensors]
        psnr = [self.assets.psnr(np.clip(a, 0, 1), np.clip(b, 0, 1)) for a, b in zip(images, self.truth)]
        distance = self.assets.chamfer(v, self.faces, *self.target)
        self.curve.append({"step": step, "seconds": wall, "distance": distance, "psnr": float(np.mean(psnr))})
        print(f"  {wall:7.1f} s  step {step:5d}  distance {distance:.4f}  {np.mean(psnr):.1f} dB", flush=True)
        self.images, self.vertices = images, v
        self.clock.start()
        return wall >= self.budget


def PATH():
    return mi.load_dict({"type": "path", "max_depth": 2})


class Stop(Exception):
    pass


def ours(experiment, judge):
    class Watch:
        def before_step(self, i):
            pass

        def after_step(self, i, record):
            if judge.look(i + 1, problem.scene, lambda: dr.detach(problem.params[KEY])):
                raise Stop

        def after_run(self):
            judge.look(experiment.schedule.iterations, problem.scene, lambda: dr.detach(problem.params[KEY]))

    problem, _ = build(experiment, Path(experiment.folder) / "cache")
    judge.start()
    try:
        with thread_count(experiment.schedule.threads):
            run(problem, experiment.schedule, 0, [Watch()])
    except Stop:
        pass


def peer(experiment, judge):
    """The tutorial's loop."""
    scene = mi.load_file(str(Path(experiment.folder) / "start.xml"))
    integrator = mi.load_dict({"type": "direct_projective", "sppi": 0})
    problem, _ = build(experiment, Path(experiment.folder) / "cache")
    sensors, references = problem.sensors, problem.targets
    del problem
    params = mi.traverse(scene)
    judge.start()
    steps = mi.ad.LargeSteps(params[KEY], params["mesh.faces"], 25)
    opt = mi.ad.Adam(lr=0.1, uniform=True)
    opt["u"] = steps.to_differential(params[KEY])
    for i in range(10**9):
        k = i % len(sensors)
        params[KEY] = steps.from_differential(opt["u"])
        params.update()
        image = mi.render(scene, params, sensor=sensors[k], integrator=integrator, spp=16, seed=i)
        loss = dr.mean(dr.abs((image - references[k]).array))
        dr.backward(loss)
        opt.step()
        if judge.look(i + 1, scene, lambda: dr.detach(params[KEY])):
            break


def main():
    if not SHARED.exists():
        raise SystemExit(f"{SHARED} is missing: this benchmark needs its mesh, light probe and metrics.")
    sys.path.insert(0, str(SHARED / "peers"))
    import assets

    mi.set_log_level(mi.LogLevel.Error)
    arguments = sys.argv[1:]
    overrides = [a for a in arguments if "=" in a]
    seconds = next((float(a) for a in arguments if a.replace(".", "").isdigit()), 120.0)
    which = [a for a in arguments if a in ("ours", "peer")] or ["peer", "ours"]
    folder = Path(tempfile.mkdtemp())
    meshes = write_inputs(folder, assets)
    experiment = load_experiment(folder, overrides)
    curves = {}
    for name in which:
        print(name)
        judge = Judge(assets, meshes, experiment, seconds)
        {"ours": ours, "peer": peer}[name](experiment, judge)
        curves[name] = judge.curve
        matplotlib.image.imsave(RESULTS / f"spot_{name}.png", sheet(judge.images, judge.truth))
    if len(curves) == 2:
        best = min(p["distance"] for p in curves["peer"])
        when = [next((p["seconds"] for p in c if p["distance"] <= best), None) for c in curves.values()]
        print(f"distance {best:.4f}: peer {when[0]:.1f} s, ours {when[1]} s")
        date = time.strftime("%Y-%m-%d")
        (RESULTS / "spot.json").write_text(json.dumps({"date": date, "budget": seconds, **curves}, indent=1))


def sheet(images, truth):
    """Recovered above true, held-out views side by side, for the screen."""
    rows = [np.concatenate(list(x), axis=1)[..., :3] for x in (images, truth)]
    return np.clip(np.concatenate(rows), 0, 1) ** (1 / 2.2)


if __name__ == "__main__":
    main()
