#!/usr/bin/env bash
# Mitsuba 3.9.1: a `rectangle` that moves gets a new index buffer each time, other meshes keep theirs.
#
# Guess: `to_world` moves vertices; which vertices form a face is fixed, and so is the array that says it.
# Seen: after params.update() with another to_world the buffer `faces` of a rectangle is another array with the
# same numbers. What is kept by the identity of that array (adjacency, edge tables) is built anew in every step of a loop.
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
import drjit as dr, mitsuba as mi, numpy as np
mi.set_variant("llvm_ad_rgb")
seen = {}
for kind in ("rectangle", "cube"):
    scene = mi.load_dict({"type": "scene", "shape": {"type": kind}})
    shape, params = scene.shapes()[0], mi.traverse(scene)
    before = dr.detach(shape.faces_buffer())
    if kind == "cube":
        params["shape.vertex_positions"] = params["shape.vertex_positions"] + 0.1
    else:
        params["shape.to_world"] = mi.Transform4f().translate([0.1, 0, 0])
    params.update()
    after = dr.detach(shape.faces_buffer())
    seen[kind] = (before.index == after.index, bool(np.array_equal(before, after)))
    print(f"{kind}: same array {seen[kind][0]}, same numbers {seen[kind][1]}")
if seen != {"rectangle": (False, True), "cube": (True, True)}:
    raise SystemExit("changed")
PY
