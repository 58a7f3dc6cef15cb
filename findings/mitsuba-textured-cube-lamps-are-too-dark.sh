#!/usr/bin/env bash
# Mitsuba 3.9.1: a `cube` that shines with a texture lights its surroundings with a sixth of its power.
#
# Guess: `path` and `direct` agree on the light of a lamp, whether they meet it by sampling lamps or by sampling materials.
# Seen: light of a textured area light on a mesh is sampled by texture coordinates, as if these belonged to one point each. All
# six sides of Mitsuba's own `cube` have the same ones, and only one of them is sampled, with a density that the weights take
# for that of all. A floor below such a cube: `path` finds 0.16 of what `direct` does from BSDF samples alone. With a uniform
# radiance both agree.
# Needs no LLVM.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/v"; "$dir/v/bin/pip" -q install mitsuba==3.9.1 numpy
"$dir/v/bin/python" - <<'PY'
import mitsuba as mi, numpy as np
mi.set_variant("scalar_rgb"); mi.set_log_level(mi.LogLevel.Error)
T = mi.ScalarTransform4f
data = np.random.default_rng(3).uniform(0.1, 4, (4, 4, 3)).astype(np.float32)
def floor(radiance, integrator):
    film = {"type": "hdrfilm", "width": 16, "height": 16, "pixel_format": "rgb"}
    pose = T().rotate([0, 1, 0], 30).rotate([1, 0, 0], 20).scale(0.4)
    scene = mi.load_dict({"type": "scene", "integrator": {"max_depth": 2, **integrator} if integrator["type"] == "path" else integrator,
        "sensor": {"type": "perspective", "fov": 25, "to_world": T().look_at([0, -0.5, 4], [0, -1.6, 0], [0, 1, 0]), "film": film},
        "floor": {"type": "rectangle", "to_world": T().translate([0, -1, 0]).rotate([1, 0, 0], -90).scale(3)},
        "lamp": {"type": "cube", "to_world": pose, "emitter": {"type": "area", "radiance": radiance}}})
    return float(np.array(mi.render(scene, spp=512, seed=1)).mean())
by_material = {"type": "direct", "emitter_samples": 0, "bsdf_samples": 2}
texture = {"type": "bitmap", "bitmap": mi.Bitmap(data), "raw": True}
plain = floor({"type": "rgb", "value": [2, 2, 2]}, {"type": "path"}) / floor({"type": "rgb", "value": [2, 2, 2]}, by_material)
textured = floor(texture, {"type": "path"}) / floor(texture, by_material)
print(f"path / direct from BSDF samples: uniform {plain:.2f}, textured {textured:.2f}")
assert 0.9 < plain < 1.1 and textured < 0.3, "changed"
PY
