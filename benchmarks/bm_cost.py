"""What does a translucent material cost beside a diffuse one?

The same scene (a ball on a floor under an area light and a sky, depth 4, 64 spp), rendered in turn with each material: medians of the
CPU time over that of the diffuse one. Writes benchmarks/results/cost.json.

    pbdr benchmark cost        (or: python benchmarks/bm_cost.py)
"""

import json
import os
import time
from pathlib import Path

import pbdr

pbdr.set_variant(os.environ.get("PBDR_VARIANT", "llvm_ad_rgb"))

import drjit as dr  # noqa: E402
import mitsuba as mi  # noqa: E402
import numpy as np  # noqa: E402

from pbdr.validation.cases import T, camera, diffuse, film, glow, rgb, world  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "cost.json"
PROFILES = ("normalized_diffusion", "dipole", "better_dipole", "photon_beam_diffusion", "random_walk")
BY_ALBEDO = {"albedo": rgb(0.8, 0.5, 0.3), "radius": 0.1}
BY_COEFFICIENT = {"sigma_a": rgb(0.2, 1, 2), "sigma_s": 10.0}
ROUNDS = 15


def scene(material):
    lamp = {"type": "rectangle", "to_world": T().translate([1, 3, 1]).rotate([1, 0, 0], 90).scale(0.5)}
    ground = {"type": "rectangle", "to_world": T().translate([0, -1, 0]).rotate([1, 0, 0], -90).scale(4)}
    return mi.load_dict(
        world(
            sensor=camera(film=film(128)),
            object={"type": "sphere", "radius": 0.9, "bsdf": material},
            ground={**ground, "bsdf": diffuse()},
            lamp={**lamp, "emitter": glow(9, 8, 6)},
        )
        | {"integrator": {"type": "prb_edge", "max_depth": 4}}
    )


def seconds(scene, seed):
    start = time.process_time()
    dr.eval(mi.render(scene, spp=64, seed=seed))
    dr.sync_thread()
    return time.process_time() - start


def main():
    mi.set_log_level(mi.LogLevel.Error)
    scenes = {"diffuse": scene({"type": "diffuse", "reflectance": rgb(0.8, 0.5, 0.3)})}
    for profile in PROFILES:
        for name, values in (("albedo", BY_ALBEDO), ("coefficients", BY_COEFFICIENT)):
            scenes[f"{profile}, by {name}"] = scene({"type": "subsurface", "profile": profile, "alpha": 0.1, **values})
    for s in scenes.values():
        seconds(s, 0)  # compile
    times = {name: [] for name in scenes}
    for k in range(ROUNDS):
        for name, s in scenes.items():
            times[name].append(seconds(s, k + 1))
    base = np.median(times["diffuse"])
    ratios = {name: round(float(np.median(t) / base), 2) for name, t in times.items()}
    for name, ratio in ratios.items():
        print(f"{name:40s} {ratio:6.2f}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(ratios, indent=1) + "\n")


if __name__ == "__main__":
    main()
