#!/usr/bin/env bash
# Mitsuba 3.9.1: a ray that meets a `sphere` near its outline may have a derivative thousands of times the exact one.
#
# Guess: the distance at which a ray meets a sphere that moves has the derivative (n·ẋ) / (n·d), up to rounding: for two million rays
# aimed up to a thousandth inside the outline at most about 10⁴.
# Seen: up to 10⁷ and more. The distance is computed again, attached, from a discriminant in single precision that is close to 0, and
# the derivative of its square root has no bound. `prb` inherits it: a point-lit ball of 32 x 32 pixels at 2048 samples has one such
# sample in about thirty renders, which then decides the sum (-88 ± 0.7 in the others, 532 and 617 there).
# Needs LLVM >= 17 (older ones abort Mitsuba); the newest one found is used.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/v"; "$dir/v/bin/pip" -q install mitsuba==3.9.1 drjit==1.5.0 numpy
"$dir/v/bin/python" - <<'PY'
import glob, os, re
found = glob.glob("/usr/lib/*/libLLVM*.so*") + glob.glob("/usr/lib/llvm-*/lib/libLLVM*.so*") + glob.glob("/opt/homebrew/opt/llvm/lib/libLLVM*.dylib")
numbers = {int(m.group(1)): f for f in found if (m := re.search(r"libLLVM[-.so]*?(\d\d)\b", f))}
if "DRJIT_LIBLLVM_PATH" not in os.environ and numbers:
    os.environ["DRJIT_LIBLLVM_PATH"] = numbers[max(numbers)]
import drjit as dr, mitsuba as mi, numpy as np
mi.set_variant("llvm_ad_rgb"); mi.set_log_level(mi.LogLevel.Error)
n, radius, rng = 1 << 21, 0.6, np.random.default_rng(0)
o, far = rng.normal(size=(3, n)), rng.uniform(2, 6, n)
o *= far / np.linalg.norm(o, axis=0)
side = np.cross(o, rng.normal(size=(3, n)), axis=0)
side /= np.linalg.norm(side, axis=0)
sin = radius / far * (1 - 1e-3 * rng.uniform(size=n))
o, d = o.astype(np.float32), (side * sin - o / far * np.sqrt(1 - sin**2)).astype(np.float32)
scene = mi.load_dict({"type": "scene", "ball": {"type": "sphere", "radius": radius}})
params, x = mi.traverse(scene), mi.Float(0)
dr.enable_grad(x)
params["ball.to_world"] = mi.Transform4f().translate(mi.Vector3f(x, 0, 0)) @ params["ball.to_world"]
params.update()
si = scene.ray_intersect(mi.Ray3f(mi.Point3f(o), mi.Vector3f(d)))
dr.forward(x)
seen = np.abs(np.array(dr.grad(si.t)))[np.array(si.is_valid())]
# The same rays in double precision.
o, d = o.astype(float), d.astype(float)
dd, od = (d * d).sum(0), (o * d).sum(0)
disc = (od / dd) ** 2 - ((o * o).sum(0) - radius**2) / dd
meets = disc > 0
t = -od / dd - np.sqrt(np.where(meets, disc, 1))
normal = (o + t * d) / radius
exact = np.abs(normal[0] / (normal * d).sum(0))[meets]
print(f"largest derivative of the distance: {seen.max():.3g}, exactly {exact.max():.3g}; medians {np.median(seen):.4g}, {np.median(exact):.4g}")
assert abs(np.median(seen) / np.median(exact) - 1) < 1e-3 and seen.max() > 100 * exact.max(), "changed"
PY
