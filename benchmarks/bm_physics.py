"""How far is each diffusion profile, and the random walk, from the physics: total reflectance and a lit ball.

Three materials of Jensen et al. 2001 (read from ../shared/data/bssrdf), the same coefficients and a smooth
boundary. "slab": reflectance of a thick slab seen along its normal under a white sky, without the mirror reflection
of the boundary, beside the exact one (`pbdr.bssrdfs.semi_infinite`). "ball": radiance of a ball of 10 mean free
paths (green) lit by a large panel from one side, beside Mitsuba's `volpath`: mean over its image and root mean square
difference over the mean.

    python benchmarks/bm_physics.py [spp] [material ...]
"""

import json
import os
import sys
from pathlib import Path

import pbdr

pbdr.set_variant(os.environ.get("PBDR_VARIANT", "llvm_ad_rgb"))

import mitsuba as mi  # noqa: E402
import numpy as np  # noqa: E402

from pbdr.bssrdfs.semi_infinite import reflectance  # noqa: E402

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "physics.json"
TABLE = HERE.parents[1] / "shared/data/bssrdf/jensen2001.json"
PROFILES = ("normalized_diffusion", "dipole", "better_dipole", "photon_beam_diffusion", "random_walk")
MATERIALS = ("marble", "skin1", "skim_milk")


def rgb(value):
    return {"type": "rgb", "value": [float(v) for v in value]}


def inside(material, profile):
    """Entries of a shape: a medium within glass, or the BSDF."""
    a, s, index = material["sigma_a"], material["sigma_s_prime"], material["eta"]
    if profile == "volpath":
        a, s = np.array(a), np.array(s)
        medium = {
            "type": "homogeneous",
            "albedo": rgb(s / (a + s)),
            "sigma_t": rgb((a + s) / (a + s).max()),
            "scale": float((a + s).max()),
            "sample_emitters": False,
            "has_spectral_extinction": True,
        }
        return {"bsdf": {"type": "dielectric", "int_ior": index, "ext_ior": 1.0}, "interior": medium}
    most = max(*a, *s)
    bsdf = {"type": "subsurface", "profile": profile, "sigma_a": rgb(np.array(a) / most), "scale": float(most)}
    return {"bsdf": {**bsdf, "sigma_s": rgb(np.array(s) / most), "int_ior": index, "ext_ior": 1.0, "alpha": 0.0}}


def slab(material, profile):
    T = mi.ScalarTransform4f
    return {
        "type": "scene",
        "sky": {"type": "constant", "radiance": rgb([1, 1, 1])},
        "sensor": sensor("orthographic", T().look_at([0, 0, 250], [0, 0, 0], [0, 1, 0]).scale(0.5), 4),
        "slab": {"type": "cube", "to_world": T().translate([0, 0, -200]).scale(200), **inside(material, profile)},
    }


def ball(material, profile):
    T = mi.ScalarTransform4f
    radius = 5 / material["sigma_s_prime"][1]
    to = T().look_at([0, 0, 10 * radius], [0, 0, 0], [0, 1, 0])
    return {
        "type": "scene",
        "panel": {
            "type": "rectangle",
            "to_world": T().translate([-3 * radius, 0, 0]).rotate([0, 1, 0], 90).scale(3 * radius),
            "emitter": {"type": "area", "radiance": rgb([1, 1, 1])},
        },
        "sensor": sensor("orthographic", to.scale(1.05 * radius), 16),
        "ball": {"type": "sphere", "radius": radius, **inside(material, profile)},
    }


def sensor(kind, to_world, size):
    film = {"type": "hdrfilm", "width": size, "height": size, "rfilter": {"type": "box"}}
    return {"type": kind, "to_world": to_world, "film": film}


def image(scene, profile, spp, depth):
    name = "volpath" if profile == "volpath" else "prb_edge"
    integrator = mi.load_dict({"type": name, "max_depth": -1 if name == "volpath" else depth, "rr_depth": 1 << 20})
    scene = mi.load_dict(scene)
    parts = [np.array(mi.render(scene, integrator=integrator, spp=spp, seed=k))[..., :3] for k in range(8)]
    return np.array(parts)


def main():
    if not TABLE.exists():
        sys.exit(f"{TABLE.name} is not beside this checkout: nothing to compare.")
    materials = json.loads(TABLE.read_text())["materials"]
    spp = int(sys.argv[1]) if len(sys.argv) > 1 else 512
    done = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in sys.argv[2:] or MATERIALS:
        m = materials[name]
        mirror = ((m["eta"] - 1) / (m["eta"] + 1)) ** 2
        s, a = np.array(m["sigma_s_prime"]), np.array(m["sigma_a"])
        exact = (1 - mirror) * reflectance(s / (s + a), m["eta"], 1.0)
        truth = image(ball(m, "volpath"), "volpath", spp, -1)
        print(name, "slab, exact", np.round(exact, 4), flush=True)
        done[name] = {"slab": exact.tolist(), "profiles": {}}
        for profile in PROFILES:
            ours = image(slab(m, profile), profile, spp, 3).mean((1, 2)) - mirror
            error, noise = ours.mean(0) / exact - 1, ours.std(0, ddof=1) / np.sqrt(8) / exact
            b = image(ball(m, profile), profile, spp, 6)
            flux, flux_noise = relative(b.mean((1, 2, 3)), truth.mean((1, 2, 3)))
            rms = float(np.sqrt(np.mean((b.mean(0) - truth.mean(0)) ** 2)) / truth.mean())
            done[name]["profiles"][profile] = {
                "slab": error.tolist(), "slab_noise": noise.tolist(), "ball_mean": flux, "ball_noise": flux_noise,
                "ball_rms": rms,
            }  # fmt: skip
            print(f"  {profile:22s} slab", np.round(100 * error, 1), "% ±", np.round(100 * noise.max(), 1), end="")
            print(f"   ball mean {100 * flux:+.1f} ± {100 * flux_noise:.1f} %, rms {100 * rms:.1f} %", flush=True)
            RESULTS.write_text(json.dumps(done, indent=1))


def relative(ours, truth):
    """Relative difference of two means, and its standard error."""
    error = np.hypot(ours.std(ddof=1), truth.std(ddof=1)) / np.sqrt(len(ours))
    return float(ours.mean() / truth.mean() - 1), float(error / truth.mean())


if __name__ == "__main__":
    main()
