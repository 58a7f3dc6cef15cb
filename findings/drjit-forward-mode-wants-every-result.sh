#!/usr/bin/env bash
# Dr.Jit 1.5.0, Mitsuba 3.9.1: forward mode raises where a method call has an attached result that nothing uses.
#
# Guess: a result that is not used changes nothing; `dr.forward_to(y)` follows what y depends on.
# Seen: eval_pdf of a `plastic`, whose density depends on the attached specular reflectance and whose value does not, beside a sample
# that does: "ad_traverse(): tried to forward-propagate derivatives across edge a.. -> a.., which lies outside of the current
# dr.isolate_grad() scope". With 0 * pdf added to y (0 not a literal) it works, and so does backward mode without.
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
import drjit as dr, mitsuba as mi
mi.set_variant("llvm_ad_rgb")
plastic = mi.load_dict({"type": "plastic", "specular_reflectance": {"type": "rgb", "value": [0.9, 0.8, 0.7]}})
params, key = mi.traverse(plastic), "specular_reflectance.value"
si = dr.zeros(mi.SurfaceInteraction3f, 4)
si.wi, si.n, si.sh_frame, si.t = mi.Vector3f(0, 0, 1), mi.Normal3f(0, 0, 1), mi.Frame3f(mi.Normal3f(0, 0, 1)), mi.Float(1)
def derivative(use):
    leaf = mi.Color3f(0.9, 0.8, 0.7)
    dr.enable_grad(leaf); dr.set_grad(leaf, 1)
    params[key] = leaf; params.update()
    dr.enqueue(dr.ADMode.Forward, leaf); dr.traverse(dr.ADMode.Forward, dr.ADFlag.ClearEdges)
    zero, context, bsdf = dr.opaque(mi.Float, 0), mi.BSDFContext(), mi.BSDFPtr(plastic)
    with dr.isolate_grad():
        value, pdf = bsdf.eval_pdf(context, si, mi.Vector3f(0, 0, 1), True)
        _, weight = bsdf.sample(context, si, mi.Float(0.01), mi.Point2f(0.3), True)
        return dr.forward_to(value + weight + (zero * pdf if use else 0))
print("density used:", derivative(True)[0][0])
try:
    print("density not used:", derivative(False)[0][0])
except RuntimeError as error:
    print("density not used:", str(error)[:150])
else:
    raise SystemExit("mended: a result that is not used does no harm")
PY
