#!/usr/bin/env bash
# Mitsuba 3.9.1: an emitter of `timed_sunsky` can be evaluated in a JIT variant, but no scene that it lights can be rendered.
#
# Guess: what `sunsky` can, its animated sister can in the same variants.
# Seen (llvm_ad_rgb): `emitter.eval(si)` gives a radiance, and `mi.render` with `path` raises a RuntimeError ("not permitted: ...
# tried to evaluate a symbolic variable"), for the emitter evaluates its tables within the call that the integrator records. The same
# scene renders in scalar_rgb.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/v"; "$dir/v/bin/pip" -q install mitsuba==3.9.1 numpy
"$dir/v/bin/python" - <<'PY'
import drjit as dr
import mitsuba as mi
import numpy as np


def scene(sky):
    view = mi.ScalarTransform4f().look_at([0, -4, 1], [0, 0, 0], [0, 0, 1])
    film = {"type": "hdrfilm", "width": 8, "height": 8}
    return mi.load_dict(
        {
            "type": "scene", "integrator": {"type": "path", "max_depth": 2}, "sky": {"type": sky}, "ball": {"type": "sphere"},
            "sensor": {"type": "perspective", "to_world": view, "film": film},
        }
    )


mi.set_variant("scalar_rgb")
print("scalar_rgb", np.array(mi.render(scene("timed_sunsky"), spp=16)).mean())
mi.set_variant("llvm_ad_rgb")
print("llvm_ad_rgb, sunsky", np.array(mi.render(scene("sunsky"), spp=4)).mean())
lit = scene("timed_sunsky")
si = dr.zeros(mi.SurfaceInteraction3f, 1)
si.wi = mi.Vector3f(0, 0, -1)
print("llvm_ad_rgb, timed_sunsky, eval:", lit.emitters()[0].eval(si))
try:
    mi.render(lit, spp=4)
except RuntimeError as error:
    while error.__cause__ is not None:
        error = error.__cause__
    print("llvm_ad_rgb, timed_sunsky, render:", str(error).splitlines()[0])
    assert "not permitted" in str(error)
else:
    raise SystemExit("mended: it renders")
PY
