#!/usr/bin/env bash
# Dr.Jit 1.5.0 (LLVM): the same code on the same numbers is compiled twice, depending on where NumPy put them.
#
# Guess: kernels depend on the program, types and literals; another array of the same size reuses the kernel.
# Seen: an array made from a NumPy array shares its memory. Kernels that read it elementwise, and packet gathers from it (`dr.gather`
# of a vector from a flat array), are compiled for aligned memory or for memory that is not. NumPy's own arrays begin at multiples of
# 16 bytes, of 64 by chance: a loop that makes such an array anew in each step compiles now and then, apparently at random.
# Needs LLVM >= 17 (older ones abort Mitsuba); the newest one found is used.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/v"; "$dir/v/bin/pip" -q install mitsuba==3.9.1 drjit==1.5.0 numpy
HOME=$dir "$dir/v/bin/python" - <<'PY'
import glob, os, re
found = glob.glob("/usr/lib/*/libLLVM*.so*") + glob.glob("/usr/lib/llvm-*/lib/libLLVM*.so*") + glob.glob("/opt/homebrew/opt/llvm/lib/libLLVM*.dylib")
numbers = {int(m.group(1)): f for f in found if (m := re.search(r"libLLVM[-.so]*?(\d\d)\b", f))}
if "DRJIT_LIBLLVM_PATH" not in os.environ and numbers:
    os.environ["DRJIT_LIBLLVM_PATH"] = numbers[max(numbers)]
import drjit as dr, numpy as np
from drjit.llvm.ad import Array2f, Float, UInt32
dr.set_flag(dr.JitFlag.KernelHistory, True)
memory = np.zeros(8192, np.float32)
first = -memory.ctypes.data % 64 // 4
def compiled(offset, use):
    array = Float(memory[first + offset : first + offset + 4096])
    dr.kernel_history_clear()
    dr.eval(use(array))
    return sum(not k["cache_hit"] for k in dr.kernel_history())
lanes = dr.arange(UInt32, 2048); dr.eval(lanes)
uses = {"elementwise": lambda x: x * 3 + 1, "packet gather": lambda x: dr.gather(Array2f, x, lanes).x * 3}
for name, use in uses.items():
    seen = [compiled(offset, use) for offset in (0, 0, 4, 4, 0)]
    print(f"{name}: kernels compiled for memory that begins at 64 k, 64 k, 64 k + 16, 64 k + 16, 64 k bytes: {seen}")
    if seen != [1, 0, 1, 0, 0]:
        raise SystemExit("changed")
PY
