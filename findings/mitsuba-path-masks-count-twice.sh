#!/usr/bin/env bash
# Mitsuba 3.9.1: `path` multiplies direct light on a `mask` with its opacity twice where no environment is seen.
#
# Guess: a plate with opacity a before black, lit by a point light, has a times the radiance of an opaque one, in every
# path tracer.
# Seen (scalar_rgb): opaque 0.475; opacity 0.6: `path` 0.172 = 0.475 * 0.36, `volpath` 0.285 = 0.475 * 0.6; opacity 0.3: 0.043 and
# 0.142. `path` returns 0 for paths that only met null lobes ("not valid"), also what they had got from emitter
# sampling. With a visible environment of radiance 1e-9 it is 0.285, too. The alpha channel (0.6) is right in both.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/v"; "$dir/v/bin/pip" -q install mitsuba==3.9.1 numpy
"$dir/v/bin/python" - <<'PY'
import mitsuba as mi, numpy as np
mi.set_variant("scalar_rgb"); T = mi.ScalarTransform4f
def radiance(opacity, integrator, sky=False):
    d = {"type": "scene", "lamp": {"type": "point", "position": [0, 0, 4], "intensity": 50.0},
         "plate": {"type": "rectangle", "to_world": T().scale(5), "bsdf": {"type": "mask", "opacity": opacity, "inner": {"type": "diffuse"}}},
         "sensor": {"type": "perspective", "fov": 20, "to_world": T().look_at([0, 0, 5], [0, 0, 0], [0, 1, 0]),
                    "film": {"type": "hdrfilm", "width": 8, "height": 8, "pixel_format": "rgb"}}}
    if sky: d["sky"] = {"type": "constant", "radiance": 1e-9}
    return float(np.array(mi.render(mi.load_dict(d), integrator=mi.load_dict({"type": integrator, "max_depth": 4}), spp=1024)).mean())
for a in (1.0, 0.6, 0.3):
    print(f"opacity {a}: path {radiance(a, 'path'):.3f}, path under a sky of 1e-9 {radiance(a, 'path', True):.3f}, volpath {radiance(a, 'volpath'):.3f}")
full = radiance(1.0, "path")
assert abs(radiance(0.6, "volpath") / full - 0.6) < 0.02, "volpath has changed"
assert abs(radiance(0.6, "path") / full - 0.36) < 0.02, "mended: path counts the opacity once"
PY
