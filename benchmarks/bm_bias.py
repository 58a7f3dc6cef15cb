"""Is any derivative of prb_edge biased, and what do Mitsuba's integrators give on the same cases?

Every case of the catalogue against central differences (16 seeds). Results go to
benchmarks/results/bias.json after each case, and a second start continues there.

    pbdr benchmark bias        (or: python benchmarks/bm_bias.py [--ours] [case ...])

--ours keeps the peer's stored figures.
"""

import json
import os
import sys
from pathlib import Path

import pbdr

pbdr.set_variant(os.environ.get("PBDR_VARIANT", "llvm_ad_rgb"))

import mitsuba as mi  # noqa: E402

from pbdr.validation.cases import CASES  # noqa: E402
from pbdr.validation.compare import gradcheck  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "bias.json"
PEERS = {
    "silhouette": {"type": "prb_projective", "guiding": "none", "sppi": 0},
    "camera": {"type": "prb_projective", "guiding": "none"},
    "specular": {"type": "prb_projective", "guiding": "none"},
    "indirect": {"type": "prb_projective", "guiding": "none"},
}


def measure(case, integrator, seeds=16, efforts=(1, 4, 16, 64)):
    """Check one case, with more samples until its error bar is below 1 % (2 % behind mirrors and glossy)."""
    required = 0.02 if case.group == "specular" or case.name == "glossy_floor" else 0.01
    for effort in efforts:
        try:
            report = gradcheck(
                case.scene(),
                case.key,
                case.direction,
                integrator=mi.load_dict({**integrator, "max_depth": case.max_depth}),
                reference=mi.load_dict({"type": "prb_edge", "max_depth": case.max_depth}),
                step=case.step,
                spp=64 * effort,
                fd_spp=1024 * effort,
                seeds=seeds,
                required_error=required,
            )
        except Exception as error:
            return {"verdict": "refused", "message": str(error).strip().splitlines()[-1][:160]}
        if report.conclusive:
            break
    fields = ("bias", "standard_error", "z", "outliers", "mismatch", "step_bias", "variance_time", "cpu_seconds")
    return {"verdict": report.verdict(), **{f: getattr(report, f) for f in fields}}


def show(entry):
    if entry["verdict"] == "refused":
        return f"refused ({entry['message'][:40]})"
    return f"{entry['verdict']:12s} {100 * entry['bias']:+7.2f} ± {100 * entry['standard_error']:.2f} %"


def main():
    done = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    only_ours = "--ours" in sys.argv
    wanted = [a for a in sys.argv[1:] if a != "--ours"] or [c for c in CASES if c not in done]
    mi.set_log_level(mi.LogLevel.Error)
    for name in wanted:
        case = CASES[name]
        ours = measure(case, {"type": "prb_edge"})
        theirs = (
            done[name]["peer"]
            if only_ours and name in done
            else measure(case, PEERS.get(case.group, {"type": "prb"}), 8, (1,))
        )
        done[name] = {"group": case.group, "prb_edge": ours, "peer": theirs}
        print(f"{name:26s} prb_edge {show(ours)}   peer {show(theirs)}", flush=True)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(done, indent=1))


if __name__ == "__main__":
    main()
