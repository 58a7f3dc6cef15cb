#!/usr/bin/env bash
# Mitsuba 3.9.1, Dr.Jit 1.5.0: a function that renders through an `orthographic` or a `thinlens` sensor cannot be frozen.
#
# Guess: `dr.freeze` records a step that calls `mi.render` whatever the camera, as it does for `perspective`.
# Seen: recording raises "Variable r… was created before recording was started, but it was not specified as an input variable!", with
# `prb` and a single material parameter: these two sensors do not show all of their numbers to a traversal. Nothing that a script passes
# to the function helps; the step must stay unfrozen, or the camera be a `perspective` (one far away for an orthographic view).
# Needs LLVM >= 17 (older ones abort Mitsuba); the newest one found is used.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/v"; "$dir/v/bin/pip" -q install mitsuba==3.9.1 drjit==1.5.0 numpy
"$dir/v/bin/python" - <<'PY'
import gc, glob, os, re
found = glob.glob("/usr/lib/*/libLLVM*.so*") + glob.glob("/usr/lib/llvm-*/lib/libLLVM*.so*") + glob.glob("/opt/homebrew/opt/llvm/lib/libLLVM*.dylib")
numbers = {int(m.group(1)): f for f in found if (m := re.search(r"libLLVM[-.so]*?(\d\d)\b", f))}
if "DRJIT_LIBLLVM_PATH" not in os.environ and numbers:
    os.environ["DRJIT_LIBLLVM_PATH"] = numbers[max(numbers)]
import drjit as dr
import mitsuba as mi

mi.set_variant("llvm_ad_rgb")
mi.set_log_level(mi.LogLevel.Error)
gc.disable()
VIEW = mi.ScalarTransform4f().look_at([0, 0, 4], [0, 0, 0], [0, 1, 0])
KEY = "ball.bsdf.reflectance.value"
said = {}
for kind, more in (("perspective", {}), ("orthographic", {}), ("thinlens", {"aperture_radius": 0.1, "focus_distance": 4.0})):
    sensor = {"type": kind, "to_world": VIEW, "film": {"type": "hdrfilm", "width": 8, "height": 8}, **more}
    scene = mi.load_dict({"type": "scene", "sky": {"type": "constant"}, "ball": {"type": "sphere"}, "sensor": sensor})
    params, integrator = mi.traverse(scene), mi.load_dict({"type": "prb", "max_depth": 2})

    def step(value, seed):
        dr.enable_grad(value)
        params[KEY] = value
        params.update()
        dr.backward(dr.mean(mi.render(scene, params, integrator=integrator, spp=4, seed=seed), axis=None))
        return dr.grad(value)

    value = params[KEY]
    step(type(value)(value), mi.UInt32(0))
    try:
        dr.freeze(step)(type(value)(dr.detach(value)), mi.UInt32(1))
        said[kind] = "recorded"
    except RuntimeError as error:
        said[kind] = str(error.__cause__ or error)[:110]
    print(f"{kind}: {said[kind]}")
assert said["perspective"] == "recorded"
for kind in ("orthographic", "thinlens"):
    assert "created before recording was started" in said[kind], "changed"
PY
