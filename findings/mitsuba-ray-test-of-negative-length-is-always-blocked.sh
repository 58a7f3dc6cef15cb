#!/usr/bin/env bash
# Mitsuba 3.9.1: `scene.ray_test` of a ray whose `maxt` is negative says that something is in its way, in empty space and for lanes
# that are masked.
#
# Guess: a segment of no length meets nothing, and a lane whose `active` is False is False, as `ray_intersect_preliminary` has it.
# Seen: True for both, in `llvm_ad_rgb` and in `scalar_rgb` alike; with `maxt` 0 it is False. (Embree marks a ray that is blocked by a
# negative far end, and that is what is asked afterwards; the mask of the call is not applied to the answer.) A shadow ray shortened by a
# margin, near the light, is in shadow by this; a masked lane takes part in whatever follows.
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
import mitsuba as mi

seen = {}
for variant in ("llvm_ad_rgb", "scalar_rgb"):
    mi.set_variant(variant)
    mi.set_log_level(mi.LogLevel.Error)
    scene = mi.load_dict({"type": "scene", "ball": {"type": "sphere"}})
    for length in (5.0, 0.0, -1.0):
        for active in (True, False):
            ray = mi.Ray3f(mi.Point3f(0, 9, 3), mi.Vector3f(0, 1, 0))  # away from the ball
            ray.maxt = length
            blocked, hit = scene.ray_test(ray, active=active), scene.ray_intersect_preliminary(ray, active=active).is_valid()
            first = [bool(x if isinstance(x, bool) else x[0]) for x in (blocked, hit)]
            seen[variant, length, active] = first
            print(f"{variant}, maxt {length:4.1f}, active {active!s:5}: ray_test {first[0]}, ray_intersect_preliminary {first[1]}")
for (variant, length, active), (blocked, hit) in seen.items():
    assert not hit and blocked == (length < 0), "changed"
PY
