"""pbdr: recover shapes and materials from images with a physics-based differentiable path tracer.

Importing the package finds LLVM >= 17 or CUDA first, then registers the plugins with Mitsuba::

    import mitsuba as mi
    import pbdr
    pbdr.set_variant()                       # or mi.set_variant("llvm_ad_rgb")
    scene = pbdr.load_file("scene.xml")      # <integrator type="prb_edge"/>
"""

from __future__ import annotations

__version__ = "0.1.0"

from . import backend as _backend
from .core.errors import BackendError, InputError, PbdrError, UnsupportedError

try:
    library = _backend.setup()
except BackendError:
    # `python -m pbdr doctor` explains the fault instead of stopping at it.
    import sys

    if "doctor" not in sys.argv:
        raise
    from .cli.doctor import report_backend_fault

    sys.exit(report_backend_fault(sys.exc_info()[1]))  # type: ignore[arg-type]

from . import plugins as _plugins
from .plugins import set_variant

_plugins.install()

__all__ = [
    "BackendError",
    "Experiment",
    "InputError",
    "PbdrError",
    "UnsupportedError",
    "attach",
    "gradcheck",
    "load_file",
    "optimize",
    "resume",
    "set_variant",
]

# Public names that need a variant or heavy imports are resolved on first use.
_LAZY = {
    "Experiment": ("pbdr.optimization.experiment", "Experiment"),
    "attach": ("pbdr.scene.leaves", "attach"),
    "gradcheck": ("pbdr.validation.compare", "gradcheck"),
    "load_file": ("pbdr.scene.load", "load_file"),
    "optimize": ("pbdr.optimization.run", "optimize"),
    "resume": ("pbdr.optimization.run", "resume"),
}


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f"module 'pbdr' has no attribute {name!r}")
    import importlib

    module, attribute = _LAZY[name]
    return getattr(importlib.import_module(module), attribute)
