#!/usr/bin/env bash
# Mitsuba 3.9.1, JIT variants: behind a hidden area light (hide_emitters), analytic shapes are shaded at the wrong place.
#
# Guess: hide_emitters only makes lamps invisible; what is behind one looks as it does from a camera whose near plane lies
# behind the lamp.
# Seen (`path`, max_depth 3, a grey ball under an even sky, a lamp between it and the camera): centre of the ball 0.50 in llvm_ad_rgb
# where it is 0.15; 0.14 in scalar_rgb. The distance of the hit is counted from the lamp, `compute_surface_interaction`
# counts from the camera: a sphere is met that much too early. A mesh is right in both.
# Needs LLVM >= 17 (older ones abort Mitsuba); the newest one found is used.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/v"; "$dir/v/bin/pip" -q install mitsuba==3.9.1 numpy
"$dir/v/bin/python" - <<'PY'
import glob, os, re
found = glob.glob("/usr/lib/*/libLLVM*.so*") + glob.glob("/usr/lib/llvm-*/lib/libLLVM*.so*") + glob.glob("/opt/homebrew/opt/llvm/lib/libLLVM*.dylib")
numbers = {int(m.group(1)): f for f in found if (m := re.search(r"libLLVM[-.so]*?(\d\d)\b", f))}
if "DRJIT_LIBLLVM_PATH" not in os.environ and numbers:
    os.environ["DRJIT_LIBLLVM_PATH"] = numbers[max(numbers)]
import mitsuba as mi, numpy as np
def centre(near, kind, variant="llvm_ad_rgb"):
    mi.set_variant(variant); T = mi.ScalarTransform4f
    ball = {"type": "sphere"} if kind == "sphere" else {"type": "cube", "to_world": T().scale(0.7)}
    s = mi.load_dict({"type": "scene", "sky": {"type": "constant"},
        "thing": {**ball, "bsdf": {"type": "diffuse", "reflectance": {"type": "rgb", "value": 0.5}}},
        "lamp": {"type": "rectangle", "to_world": T().translate([0, 0, 2]).scale(1.5), "emitter": {"type": "area", "radiance": 3.0}},
        "sensor": {"type": "perspective", "fov": 35, "near_clip": near, "to_world": T().look_at([0, 0, 5], [0, 0, 0], [0, 1, 0]),
                   "film": {"type": "hdrfilm", "width": 9, "height": 9, "pixel_format": "rgb"}}})
    image = np.array(mi.render(s, integrator=mi.load_dict({"type": "path", "max_depth": 3, "hide_emitters": True}), spp=1024))
    return float(image[4, 4, 0])
hidden, clipped = centre(0.01, "sphere"), centre(3.3, "sphere")
print(f"sphere: behind the hidden lamp {hidden:.3f}, near plane behind the lamp {clipped:.3f}")
mesh, mesh_clipped = centre(0.01, "cube"), centre(3.3, "cube")
print(f"cube (a mesh): {mesh:.3f} and {mesh_clipped:.3f}")
print(f"sphere, scalar_rgb: behind the hidden lamp {centre(0.01, 'sphere', 'scalar_rgb'):.3f}")
assert abs(mesh - mesh_clipped) < 0.02, "the mesh differs, too"
assert hidden > 2 * clipped, "mended: the sphere is right now"
PY
