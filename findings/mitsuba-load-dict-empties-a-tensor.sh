#!/usr/bin/env bash
# Mitsuba 3.9.1: `mi.load_dict` takes the numbers out of a TensorXf that is given as `data`: the caller's tensor is empty afterwards.
#
# Guess: loading a dictionary does not change what is in it, so that the same dictionary can be loaded twice.
# Seen (llvm_ad_rgb): after {"type": "bitmap", "data": t, "raw": True} has been loaded, t has shape () and no entries; loading the same
# dictionary again raises "Bitmap raw tensor has dimension 0, expected 3". A copy, `mi.TensorXf(t)`, is enough.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/v"; "$dir/v/bin/pip" -q install mitsuba==3.9.1 numpy
"$dir/v/bin/python" - <<'PY'
import drjit as dr
import mitsuba as mi
import numpy as np

mi.set_variant("llvm_ad_rgb")
t = mi.TensorXf(np.ones((4, 4, 3), np.float32))
mi.load_dict({"type": "bitmap", "data": mi.TensorXf(t), "raw": True})
print("after a copy was loaded:", t.shape)
assert t.shape == (4, 4, 3)
texture = {"type": "bitmap", "data": t, "raw": True}
mi.load_dict(texture)
print("after it was loaded itself:", t.shape, dr.width(t.array))
assert t.shape == () and dr.width(t.array) == 0, "mended: the tensor is left alone"
try:
    mi.load_dict(texture)
except RuntimeError as error:
    print("loaded again:", str(error).split("[BitmapTexture]")[-1].strip())
PY
