"""How much variance does the primary boundary have for its CPU time, beside `prb_projective`?

For each silhouette case the boundary term alone (sppc = 0), both integrators in turn in one
process. Figures are peer / ours of variance × CPU seconds: of the derivative image summed over
pixels, and of its projection on the mean derivative (what a loss sees). The peer's estimates are
first divided by their mean along ours, so that its known bias counts neither for nor against it;
`sample_border` is off, because the peer normalizes by the film without its border.

    python benchmarks/bm_boundary.py [case ...]
"""

import json
import os
import sys
import time
from pathlib import Path

import pbdr

pbdr.set_variant(os.environ.get("PBDR_VARIANT", "llvm_ad_rgb"))  # CPU time is compared

import drjit as dr  # noqa: E402
import mitsuba as mi  # noqa: E402
import numpy as np  # noqa: E402

from pbdr.validation.cases import CASES  # noqa: E402
from pbdr.validation.finite_difference import forward_derivative  # noqa: E402
from pbdr.validation.perturbation import Perturbation  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "boundary.json"
PEER = {"type": "prb_projective", "guiding": "none", "sppi": 0}
ROUNDS, SPP = 16, 64


def with_film(description, **settings):
    for value in description.values():
        if isinstance(value, dict):
            if value.get("type") == "hdrfilm":
                value.update(settings)
            with_film(value, **settings)
    return description


def measure(case, peer=PEER, ours=None, spp=SPP, rounds=ROUNDS, **film):
    scene = mi.load_dict(with_film(case.build(), sample_border=False, **film))
    sensor = scene.sensors()[0]
    move = Perturbation(mi.traverse(scene), case.key, case.direction)
    more = {"sppc": 0, "max_depth": case.max_depth}
    contestants = [mi.load_dict({**d, **more}) for d in (ours or {"type": "prb_edge", "sppi": 0}, peer)]
    images, seconds = ([], []), ([], [])
    for k in range(-2, rounds):  # two rounds to compile
        for i, integrator in enumerate(contestants):
            dr.sync_thread()
            start = time.process_time()
            image = forward_derivative(scene, move, integrator, sensor, spp, 100 + k)
            spent = time.process_time() - start
            if k >= 0:
                images[i].append(image)
                seconds[i].append(spent)
    ours, theirs = (np.array(x) for x in images)
    mean = ours.mean(0)
    scale = float((theirs.mean(0) * mean).sum() / (mean * mean).sum())
    theirs = theirs / scale
    cpu = [float(np.median(s)) for s in seconds]
    pixels = [float(x.var(0, ddof=1).sum()) for x in (ours, theirs)]
    projected = [float((x * mean).sum((1, 2, 3)).var(ddof=1)) for x in (ours, theirs)]
    return {
        "pixels": pixels[1] * cpu[1] / (pixels[0] * cpu[0]),
        "projected": projected[1] * cpu[1] / (projected[0] * cpu[0]),
        "cpu_ours": cpu[0],
        "cpu_peer": cpu[1],
        "peer_scale": scale,
    }


def main():
    mi.set_log_level(mi.LogLevel.Error)
    done = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    silhouettes = [n for n, c in CASES.items() if c.group == "silhouette"]
    for name in sys.argv[1:] or [n for n in silhouettes if n not in done]:
        try:
            done[name] = measure(CASES[name])
            text = " ".join(f"{k} {v:.3g}" for k, v in done[name].items())
        except Exception as error:
            done[name] = {"refused": str(error).strip().splitlines()[-1][:160]}
            text = str(done[name])
        print(f"{name:26s} {text}", flush=True)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(done, indent=1))
    for figure in ("pixels", "projected"):
        ratios = [e[figure] for e in done.values() if figure in e]
        print(f"{figure}: geometric mean {np.exp(np.mean(np.log(ratios))):.1f}, least {min(ratios):.2f}")


if __name__ == "__main__":
    main()
