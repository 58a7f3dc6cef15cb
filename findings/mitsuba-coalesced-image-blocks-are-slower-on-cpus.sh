#!/usr/bin/env bash
# Mitsuba 3.9.1, LLVM variants: an `ImageBlock` that coalesces takes more than twice as long as one that does not, for the same image.
#
# Guess: `coalesce` is there to save time. Mitsuba's AD integrators (`prb`, `prb_projective`, ...) switch it on from 4 samples per pixel
# on, in all variants: neighbouring samples of a pixel are added up before memory is touched.
# Seen: 128², Gaussian filter, 4 to 256 samples per pixel: 2.2 to 3 times the time of a block without it. (It is made for GPUs, where atomic
# additions are expensive. On a CPU the loop over groups of samples costs more than it saves.) `block.set_coalesce(False)` in an integrator
# of one's own is enough.
# Needs LLVM >= 17 (older ones abort Mitsuba); the newest one found is used.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/v"; "$dir/v/bin/pip" -q install mitsuba==3.9.1 drjit==1.5.0 numpy
"$dir/v/bin/python" - <<'PY'
import glob, os, re, statistics, time
found = glob.glob("/usr/lib/*/libLLVM*.so*") + glob.glob("/usr/lib/llvm-*/lib/libLLVM*.so*") + glob.glob("/opt/homebrew/opt/llvm/lib/libLLVM*.dylib")
numbers = {int(m.group(1)): f for f in found if (m := re.search(r"libLLVM[-.so]*?(\d\d)\b", f))}
if "DRJIT_LIBLLVM_PATH" not in os.environ and numbers:
    os.environ["DRJIT_LIBLLVM_PATH"] = numbers[max(numbers)]
import drjit as dr
import mitsuba as mi
import numpy as np

mi.set_variant("llvm_ad_rgb")
mi.set_log_level(mi.LogLevel.Error)
SIZE = 128
film = mi.load_dict({"type": "hdrfilm", "width": SIZE, "height": SIZE, "rfilter": {"type": "gaussian"}})


def image(spp, coalesce):
    """(CPU seconds of adding the samples, image)."""
    n = SIZE * SIZE * spp
    rng, pixel = mi.PCG32(size=n), dr.arange(mi.UInt32, n) // spp
    pos = mi.Vector2f(mi.Float(pixel % SIZE) + rng.next_float32(), mi.Float(pixel // SIZE) + rng.next_float32())
    value = rng.next_float32()
    dr.eval(pos, value)
    film.prepare([])
    block = film.create_block()
    block.set_coalesce(coalesce)
    dr.sync_thread()
    start = time.process_time()
    block.put(pos, [value, value, value, mi.Float(1)])
    dr.eval(block.tensor())
    dr.sync_thread()
    return time.process_time() - start, np.array(block.tensor())


ratios = []
for spp in (4, 16, 64):
    for coalesce in (True, False):
        image(spp, coalesce)  # compiles
    turns = [(image(spp, True), image(spp, False)) for _ in range(7)]
    assert all(np.allclose(a[1], b[1], rtol=1e-3) for a, b in turns)
    ratios.append(statistics.median(a[0] / b[0] for a, b in turns))
    print(f"{spp} samples per pixel: {1e3 * statistics.median(a[0] for a, _ in turns):.1f} ms with coalescing, "
          f"{1e3 * statistics.median(b[0] for _, b in turns):.1f} ms without: {ratios[-1]:.1f} times")
assert all(r > 1.3 for r in ratios), "changed"
PY
