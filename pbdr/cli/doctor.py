"""What `pbdr doctor` prints; works without Mitsuba and without a backend."""

from __future__ import annotations

import os
import subprocess
import sys

from ..core.errors import BackendError

_RENDER = """
import pbdr, mitsuba as mi, numpy as np
variant = pbdr.set_variant()
scene = mi.load_dict({"type": "scene", "integrator": {"type": "prb_edge"},
    "sensor": {"type": "perspective", "film": {"type": "hdrfilm", "width": 16, "height": 16},
               "to_world": mi.ScalarTransform4f().look_at([0, 0, 4], [0, 0, 0], [0, 1, 0])},
    "light": {"type": "constant"}, "ball": {"type": "sphere"}})
mean = float(np.array(mi.render(scene, spp=4)).mean())
print(f"{variant} mean {mean:.3f}")
assert 0.1 < mean < 2
"""


def test_render() -> tuple[bool, str]:
    """Render a small image in a subprocess: an abort there is reported, not suffered."""
    try:
        child = subprocess.run(
            [sys.executable, "-c", _RENDER], capture_output=True, text=True, timeout=300, check=False
        )
    except subprocess.TimeoutExpired:
        return False, "no image after 300 s"
    if child.returncode == 0:
        return True, child.stdout.strip()
    lines = (child.stderr.strip() or "no message").splitlines()
    return False, f"exit status {child.returncode}: {lines[-1]}"


def report_backend_fault(error: BackendError) -> int:
    """Explain why no backend could be set up; returns the exit status."""
    from .. import backend

    print("pbdr doctor")
    print(f"  Python        {sys.version.split()[0]}")
    print(f"  {backend.ENVIRONMENT}  {os.environ.get(backend.ENVIRONMENT, '(not set)')}")
    print(f"  CUDA device   {'yes' if backend.has_cuda() else 'no'}")
    _, seen = backend.find_llvm()
    for library in seen:
        version = ".".join(map(str, library.version or ())) or library.fault
        print(f"  libLLVM       {library.path}: {version}{'' if library.usable else '  (not usable)'}")
    print(f"\nFAULT: {error}")
    return 2
