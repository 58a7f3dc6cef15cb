#!/usr/bin/env bash
# Dr.Jit 1.5.0: arrays of a few components have an attribute for nearly every word that ends in x, y or z.
#
# Guess: `v.xzy` is a swizzle, and other names raise AttributeError, so that hasattr(v, "matrix") tells a transform from a vector.
# Seen: only the last letter is looked at. Letters that name no component are read as x: of Array3f(7, 8, 9), `matrix` is
# [7, 7, 7, 7, 7, 7], `proxy` [7, 7, 7, 7, 8], `max` [7, 7, 7] (no maximum), `jazz` [7, 7, 9, 9]. `min` and `foo` do raise.
# Assigning to `box` writes the first component.
# The same of the JIT types; the scalar ones need no LLVM.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/v"; "$dir/v/bin/pip" -q install drjit==1.5.0
"$dir/v/bin/python" - <<'PY'
from drjit.scalar import Array3f
v = Array3f(7, 8, 9)
words = {w: [float(x) for x in getattr(v, w)] if hasattr(v, w) else None for w in ("zyx", "matrix", "max", "proxy", "jazz", "min", "foo")}
v.box = 1
print(words, v)
assert words["matrix"] == [7] * 6 and words["max"] == [7] * 3 and words["proxy"] == [7] * 4 + [8] and words["jazz"] == [7, 7, 9, 9], "changed"
assert words["min"] is None and words["foo"] is None and words["zyx"] == [9, 8, 7] and float(v.x) == 1, "changed"
PY
