"""Bias and variance × CPU time of the reparameterized estimators, beside prb_edge and Mitsuba 3.4.

    python benchmarks/bm_reparam.py [table | bias | trend] [case ...]

``table``: prb_reparam (debiased), with a kernel of 4 degrees ("wide": less variance, more
bias), its consistent mode, the rotation method, prb_edge and, if
PBDR_MITSUBA34 names the Python of an environment with mitsuba==3.4.1, its prb_reparam, interleaved;
that also with 64 rays, which brings its bias nearer to ours.
``bias``: the debiased method alone with 1024 spp, also on cases beyond those of the table; nothing is stored.
``trend``: consistent and debiased mode over N, κ and α on a sphere.
Bias is relative to prb_edge's mean derivative image, projected on it; prb_edge's own bias against finite
differences is in bias.json. Results go to benchmarks/results/reparam.json after each case.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import pbdr

pbdr.set_variant(os.environ.get("PBDR_VARIANT", "llvm_ad_rgb"))  # CPU time is compared

import drjit as dr  # noqa: E402
import mitsuba as mi  # noqa: E402

from pbdr.validation.cases import CASES  # noqa: E402
from pbdr.validation.finite_difference import forward_derivative  # noqa: E402
from pbdr.validation.perturbation import Perturbation  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "reparam.json"
OLD = os.environ.get("PBDR_MITSUBA34")
METHODS = {
    "prb_edge": {"type": "prb_edge"},
    "debiased": {"type": "prb_reparam"},
    "wide": {"type": "prb_reparam", "reparam_kappa": 2e2},
    "consistent": {"type": "prb_reparam", "reparam_debiased": False},
    "rotation": {"type": "prb_reparam", "method": "rotation"},
}
TABLE = (
    "sphere_translate_x", "cube_translate_x", "smooth_mesh_scale", "flat_mesh_translate_x", "lit_sphere",
    "receiver_area", "shadow_area", "shadow_constant", "round_shadow_area", "glossy_floor", "interreflected_shadow",
)  # fmt: skip
MORE = (
    "round_shadow_constant", "shadow_disk", "shadow_cylinder", "self_shadow_area", "self_shadow_constant", "cylinder_scale",
    "fine_flat_mesh", "fine_mesh",
)  # fmt: skip
PEERS = {"mitsuba 3.4": {}, "3.4, 64 rays": {"reparam_rays": 64}}
SEEDS, ROUNDS = 4, 6  # seeds of a chunk, chunks: methods take turns
SAMPLES = {"prb_edge": 64, "debiased": 256, "wide": 256, "consistent": 256, "rotation": 256} | dict.fromkeys(PEERS, 256)


def xml(node, name=None):
    """A scene dictionary as XML (what the catalogue uses of it)."""
    label = f' name="{name}"' if name else ""
    if isinstance(node, dict):
        kind = node["type"]
        if kind == "scene":
            body = "".join(xml(v, k) for k, v in node.items() if k != "type")
            return f'<scene version="3.0.0">{body}</scene>'
        if kind == "rgb":
            return f'<rgb{label} value="{" ".join(map(str, node["value"]))}"/>'
        plugin = mi.PluginManager.instance().plugin_type(kind)
        tag = {mi.ObjectType.ReconstructionFilter: "rfilter"}.get(plugin, plugin.name.lower())
        body = "".join(xml(v, k) for k, v in node.items() if k != "type")
        place = f' id="{name}"' if tag in ("shape", "emitter", "sensor") and name else label
        return f'<{tag} type="{kind}"{place}>{body}</{tag}>'
    if isinstance(node, bool):
        return f'<boolean{label} value="{str(node).lower()}"/>'
    if isinstance(node, int):
        return f'<integer{label} value="{node}"/>'
    if isinstance(node, float):
        return f'<float{label} value="{node}"/>'
    if isinstance(node, str):
        return f'<string{label} value="{node}"/>'
    if hasattr(node, "matrix"):
        rows = " ".join(str(float(x)) for x in np.array(node.matrix).ravel())
        return f'<transform{label}><matrix value="{rows}"/></transform>'
    if isinstance(node, mi.Bitmap) or dr.is_tensor_v(node):
        raise RuntimeError("the exporter has no images")
    x, y, z = np.array(node, float).ravel()
    return f'<point{label} x="{x}" y="{y}" z="{z}"/>'


class Ours:
    def __init__(self, case, options, spp):
        self.scene, self.spp = case.scene(), spp
        self.integrator = mi.load_dict({**options, "max_depth": case.max_depth})
        self.move = Perturbation(mi.traverse(self.scene), case.key, case.direction)

    def __call__(self, seeds):
        images, cpu = [], []
        for seed in seeds:
            start = time.process_time()
            images.append(
                forward_derivative(self.scene, self.move, self.integrator, self.scene.sensors()[0], self.spp, seed)
            )
            cpu.append(time.process_time() - start)
        return np.array(images), np.array(cpu)


class Mitsuba34:
    """The same case in the other environment. Raises RuntimeError if that fails."""

    def __init__(self, case, options, spp):
        self.folder = Path(tempfile.mkdtemp())
        (self.folder / "scene.xml").write_text(xml(case.build()))
        move = Perturbation(mi.traverse(case.scene()), case.key, case.direction)
        if move.transform:
            h = 1e-3
            start = np.array(move.start.matrix).reshape(4, 4)
            low, high = (
                np.array((move._motion(mi.Float(s)) @ mi.Transform4f(move.start)).matrix).reshape(4, 4) for s in (-h, h)
            )
            kind, tangent = "transform", (high - low) / (2 * h)
        else:
            kind, start, tangent = "positions", np.array(move.start), np.array(move.tangent)
        self.job = {
            "xml": str(self.folder / "scene.xml"), "key": case.key, "kind": kind, "start": start, "tangent": tangent,
            "spp": spp, "max_depth": case.max_depth, "options": json.dumps(options),
        }  # fmt: skip

    def __call__(self, seeds):
        job, result = self.folder / "job.npz", self.folder / "result.npz"
        np.savez(job, seeds=np.array(seeds), **self.job)
        script = Path(__file__).with_name("peer_mitsuba34.py")
        done = subprocess.run([OLD, str(script), str(job), str(result)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError((done.stderr.strip().splitlines() or ["aborted"])[-1])
        data = np.load(result)
        return data["images"], data["cpu"]


def compare(case, methods, peers, samples):
    makers = {n: (lambda n=n, o=o: Ours(case, o, samples[n])) for n, o in methods.items()}
    makers |= {n: (lambda n=n, o=o: Mitsuba34(case, o, samples[n])) for n, o in peers.items()}
    runs, images, cpu, failed = {}, {}, {}, {}
    for name, make in makers.items():
        try:
            runs[name] = make()
        except RuntimeError as error:
            failed[name] = str(error)
            continue
        images[name], cpu[name] = [], []
        if name not in PEERS:
            runs[name]([1])  # compile
    for k in range(ROUNDS):
        for name, run in runs.items():
            if name in failed:
                continue
            try:
                seeds = list(range(100 + SEEDS * k, 100 + SEEDS * (k + 1)))
                # A fresh process compiles in its first render.
                extra = [1] if name in PEERS else []
                new, times = run(extra + seeds)
            except RuntimeError as error:
                failed[name] = str(error)[:200]
                continue
            images[name].extend(new[len(extra) :])
            cpu[name].extend(times[len(extra) :])
    reference = np.mean(images["prb_edge"], 0)
    # Which half of the seeds gives the weights does not give the number for prb_edge.
    weights = np.mean(images["prb_edge"][::2], 0)
    exact = np.array([(x * weights).sum() for x in images["prb_edge"][1::2]])
    total = exact.mean()
    table = {}
    for name in makers:
        if name in failed:
            table[name] = {"failed": failed[name]}
            continue
        g = np.array([(x * weights).sum() for x in images[name]]) / total
        if name == "prb_edge":
            g = exact / total
        error = np.sqrt(g.var(ddof=1) / len(g) + exact.var(ddof=1) / len(exact) / total**2)
        pixels = np.array(images[name])
        variance = float(pixels.var(0, ddof=1).mean() / np.mean(reference**2))
        seconds = float(np.median(cpu[name]))
        table[name] = {
            "bias": float(g.mean() - 1), "standard_error": float(error), "cpu": seconds,
            "variance_time": variance * seconds, "projected_variance_time": float(g.var(ddof=1) * seconds),
        }  # fmt: skip
    return table


def show(name, table):
    print(name)
    base = table.get("mitsuba 3.4", {}).get("variance_time")
    for method, row in table.items():
        if "failed" in row:
            print(f"   {method:12s} failed: {row['failed']}")
            continue
        ratio = f"  {base / row['variance_time']:8.2f}x of 3.4's" if base else ""
        print(
            f"   {method:12s} bias {100 * row['bias']:+7.2f} ± {100 * row['standard_error']:.2f} %"
            f"  variance x CPU {row['variance_time']:.3e}{ratio}",
            flush=True,
        )


def trend(spp=512, seeds=12):
    case = CASES["sphere_translate_x"]
    exact = Ours(case, METHODS["prb_edge"], 256)(range(4))[0].mean(0)
    rows = []
    for debiased in (False, True):
        for n, kappa, alpha, anti in (
            (2, 1e4, 3, 0), (8, 1e4, 3, 0), (32, 1e4, 3, 0), (16, 1e3, 3, 0), (16, 1e5, 3, 0), (16, 1e4, 1, 0), (16, 1e4, 3, 1),
        ):  # fmt: skip
            if anti and debiased:
                continue
            options = {"type": "prb_reparam", "reparam_rays": n, "reparam_kappa": kappa, "reparam_exp": float(alpha)}
            options |= {"reparam_antithetic": bool(anti), "reparam_debiased": debiased}
            images, cpu = Ours(case, options, spp)(range(100, 100 + seeds))
            g = (images * exact).sum((1, 2, 3)) / (exact**2).sum()
            row = {"debiased": debiased, "N": n, "kappa": kappa, "alpha": alpha, "antithetic": bool(anti)}
            row |= {
                "ratio": float(g.mean()),
                "error": float(g.std(ddof=1) / np.sqrt(seeds)),
                "cpu": float(np.median(cpu)),
            }
            row["std_per_sample"] = float(g.std(ddof=1) * np.sqrt(spp * 20 * 20))
            print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
            rows.append(row)
    return rows


def main():
    mi.set_log_level(mi.LogLevel.Error)
    done = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    wanted = sys.argv[1:] or ["trend", "table"]
    commands = [w for w in wanted if w in ("table", "bias", "trend")] or ["table"]
    names = [w for w in wanted if w not in commands]
    if unknown := [n for n in names if n not in CASES]:
        sys.exit(f"unknown: {', '.join(unknown)}; give table, bias or trend, and names of cases.")
    if "bias" in commands:
        methods = {n: METHODS[n] for n in ("prb_edge", "debiased")}
        for name in names or TABLE + MORE:
            show(name, compare(CASES[name], methods, {}, {"prb_edge": 256, "debiased": 1024}))
    for name in [c for c in commands if c == "trend"] + (list(names or TABLE) if "table" in commands else []):
        done[name] = trend() if name == "trend" else compare(CASES[name], METHODS, PEERS if OLD else {}, SAMPLES)
        if name != "trend":
            show(name, done[name])
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(done, indent=1))


if __name__ == "__main__":
    main()
