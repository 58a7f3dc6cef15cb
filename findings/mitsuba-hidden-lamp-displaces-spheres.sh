#!/usr/bin/env bash
# Mitsuba 3.9.1: behind a hidden area light (hide_emitters), analytic shapes are shaded at the wrong place.
#
# Guess: hide_emitters only makes lamps invisible; what is behind one looks as it does from a camera whose near plane lies
# behind the lamp.
# Seen (scalar_rgb, `path`, max_depth 3, a grey ball under an even sky, a lamp between it and the camera that shines away from the
# ball): centre of the ball 0.499 where it is 0.140. `skip_area_emitters` counts the distance of the hit from the lamp,
# `compute_surface_interaction` from the camera: a sphere is met that much too early. As a mesh the ball is right.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/v"; "$dir/v/bin/pip" -q install mitsuba==3.9.1 numpy
"$dir/v/bin/python" - <<'PY'
import mitsuba as mi, numpy as np
mi.set_variant("scalar_rgb"); T = mi.ScalarTransform4f
def centre(near, kind):
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
assert abs(mesh - mesh_clipped) < 0.02, "the mesh differs, too"
assert hidden > 2 * clipped, "mended: the sphere is right now"
PY
