"""The quick catalogue in other variants and with other pixel formats, each in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from test_gradients import CONTINUOUS, DIRAC, INDIRECT, OUTLINES

CODE = """
import json, sys
variant, format, integrator, size, *names = sys.argv[1:]
import pbdr
pbdr.set_variant(variant)
import mitsuba as mi
mi.set_log_level(mi.LogLevel.Error)
from pbdr.validation.cases import CASES
from pbdr.validation.compare import gradcheck

def formatted(d):
    for key, value in d.items():
        if isinstance(value, dict):
            if value.get("type") in ("hdrfilm", "specfilm"):
                value["pixel_format"] = format
                if format == "specfilm":
                    value.pop("pixel_format")
                    value["type"] = format
                    for k, low in enumerate((400, 500)):
                        bands = [(low, 0.0), (low + 100, 1.0), (low + 200, 0.0)]
                        value[f"band{k}"] = {"type": "spectrum", "value": bands}
            formatted(value)
    return d

for name in names:
    c = CASES[name]
    scene = mi.load_dict(formatted(c.build()))
    reports = []
    r = gradcheck(
        scene, c.key, c.direction, integrator=mi.load_dict({"type": integrator, "max_depth": c.max_depth, **c.integrator}),
        step=c.step, spp=int(size), fd_spp=4 * int(size), seeds=8, required_error=0.06,
    )
    row = {"name": name, "significant": bool(r.significant), "conclusive": bool(r.conclusive), "mismatch": r.mismatch}
    print(json.dumps({**row, "bias": r.bias, "error": r.standard_error}), flush=True)
"""
FEW = ["blend_with_mirror", "sphere_scale", "shadow_spot"]
# In spectral variants Mitsuba holds coefficients of polynomials where others hold colours, and refuses raw maps of colours.
COLOURS = {"albedo_zero", "mirror_tint", "plastic_colour", "textured_emitter", "environment_map"}
RAW = {"plane_under_projector", "shadow_projector", "rotating_plane", "beckmann_coat_eta", "camera_rotate"}
SPECTRAL = [n for n in CONTINUOUS + DIRAC if n not in COLOURS | RAW]


def run(variant, pixel_format, integrator, names, size):
    done = subprocess.run(
        [sys.executable, "-c", CODE, variant, pixel_format, integrator, str(size), *names],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [r["name"] for r in rows] == names
    for r in rows:
        assert not r["significant"], r
        assert r["conclusive"], r
        assert r["mismatch"] < 1e-3, r


@pytest.mark.parametrize(
    ("variant", "pixel_format"),
    [("llvm_ad_mono", "luminance"), ("llvm_ad_spectral", "rgb"), ("llvm_ad_spectral", "specfilm"), ("llvm_ad_rgb", "xyza"),
     ("llvm_ad_rgb", "luminance_alpha")],
)  # fmt: skip
def test_a_few_rows(variant, pixel_format):
    names = FEW[:1] if pixel_format == "specfilm" else FEW  # its channels have no outlines
    if "alpha" in pixel_format:
        names = [*names, "box_behind_veil_under_hidden_sky"]
    run(variant, pixel_format, "prb_edge", names, 256)


@pytest.mark.parametrize("variant", ["llvm_ad_mono", "llvm_ad_spectral"])
def test_reparam(variant):
    run(variant, "luminance" if "mono" in variant else "rgb", "prb_reparam", ["sphere_scale"], 256)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "pixel_format"),
    [("llvm_ad_mono", "luminance"), ("llvm_ad_mono", "luminance_alpha"), ("llvm_ad_spectral", "rgb"),
     ("llvm_ad_spectral", "xyz"), ("llvm_ad_rgb", "rgba"), ("llvm_ad_rgb", "xyz"), ("llvm_ad_rgb", "luminance")],
)  # fmt: skip
def test_the_quick_catalogue(variant, pixel_format):
    materials = SPECTRAL if "spectral" in variant else CONTINUOUS + DIRAC
    run(variant, pixel_format, "prb_edge", [*materials, *OUTLINES, *(n for n in INDIRECT if n not in RAW)], 256)
