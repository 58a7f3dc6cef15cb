"""How much variance does the indirect boundary have for its CPU time, beside `prb_projective`?

As `bm_boundary`, for the indirect boundary alone (sppc = sppp = 0) of the cases of indirect
visibility. The peer builds its guiding table in every render; that is part of its cost. Its best
guiding mode counts ('octree' takes a minute a render at its defaults: give --octree to include it).
``peer_scale`` is its mean along ours: 1 where it is right. The film has a box filter, the only one
with which it is.

    python benchmarks/bm_indirect.py [--octree] [case ...]
"""

import json
import sys
from pathlib import Path

import bm_boundary
import mitsuba as mi
import numpy as np

from pbdr.validation.cases import CASES

RESULTS = Path(__file__).parent / "results" / "indirect.json"
OURS = {"type": "prb_edge", "sppp": 0}


def main():
    mi.set_log_level(mi.LogLevel.Error)
    arguments = [a for a in sys.argv[1:] if a != "--octree"]
    modes = ("none", "grid", "octree") if "--octree" in sys.argv else ("none", "grid")
    done = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in arguments or [n for n, c in CASES.items() if c.group == "indirect" and n not in done]:
        entry = done.setdefault(name, {})
        for mode in modes:
            peer = {"type": "prb_projective", "guiding": mode, "sppp": 0}
            try:
                entry[mode] = bm_boundary.measure(CASES[name], peer, OURS, spp=32, rounds=8, rfilter={"type": "box"})
                text = " ".join(f"{k} {v:.3g}" for k, v in entry[mode].items())
            except Exception as error:
                entry[mode] = {"refused": str(error).strip().splitlines()[-1][:160]}
                text = entry[mode]["refused"]
            print(f"{name:26s} {mode:7s} {text}", flush=True)
            RESULTS.write_text(json.dumps(done, indent=1))
    for figure in ("pixels", "projected"):
        best = []
        for entry in done.values():
            right = [m for m in entry.values() if figure in m and abs(m["peer_scale"] - 1) < 0.1]
            if right:
                best.append(min(m[figure] for m in right))
        if best:
            print(
                f"{figure}: {len(best)} cases within 10 %, geometric mean {np.exp(np.mean(np.log(best))):.1f}, ",
                f"least {min(best):.2f}",
            )


if __name__ == "__main__":
    main()
