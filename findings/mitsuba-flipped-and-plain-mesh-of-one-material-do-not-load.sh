#!/usr/bin/env bash
# Mitsuba 3.9.1: a scene with two meshes of one material, of which one has flip_normals, cannot be loaded.
#
# Guess: `flip_normals` is a property of each shape, and both load.
# Seen: load_dict (and load_file) merge meshes that share a material, by default. Mesh::merge() raises "the two meshes are
# incompatible" and prints both meshes, between whose texts there is no difference: the flag is not among them. With
# optimize=False both load, under their names; without flip_normals they become one nameless mesh.
# Needs no LLVM.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/v"; "$dir/v/bin/pip" -q install mitsuba==3.9.1
"$dir/v/bin/python" - <<'PY'
import mitsuba as mi
mi.set_variant("scalar_rgb")
def shapes(flip, **more):
    cube = {"type": "cube", "bsdf": {"type": "ref", "id": "paint"}}
    scene = {"type": "scene", "paint": {"type": "diffuse"}, "a": cube, "b": {**cube, "flip_normals": flip}}
    return [s.id() for s in mi.load_dict(scene, **more).shapes()]
print("not flipped:", shapes(False), " not merged:", shapes(True, optimize=False))
assert len(shapes(False)) == 1 and shapes(True, optimize=False) == ["a", "b"], "changed"
try:
    shapes(True)
except RuntimeError as error:
    print("flipped:", str(error)[:150], "...")
    assert "incompatible" in str(error) and "flip" not in str(error), "changed"
else:
    raise SystemExit("mended: meshes that differ in flip_normals load")
PY
