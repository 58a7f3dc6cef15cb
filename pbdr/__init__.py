"""pbdr: recover shapes and materials from images with a physics-based differentiable path tracer.

Importing the package finds LLVM >= 17 or CUDA first, then registers the plugins with Mitsuba::

    import mitsuba as mi
    import pbdr
    pbdr.set_variant()                       # or mi.set_variant("llvm_ad_rgb")
    scene = mi.load_file("scene.xml")        # <integrator type="prb_edge"/>
"""

from __future__ import annotations

__version__ = "0.1.0"

from . import backend as _backend

library = _backend.setup()

from . import plugins as _plugins  # noqa: E402  (Mitsuba may load only now)
from .core.errors import BackendError, InputError, PbdrError, UnsupportedError  # noqa: E402
from .plugins import set_variant  # noqa: E402

_plugins.install()

__all__ = [
    "BackendError",
    "Experiment",
    "InputError",
    "PbdrError",
    "UnsupportedError",
    "gradcheck",
    "load_file",
    "optimize",
    "resume",
    "set_variant",
]

# Public names that need a variant or heavy imports are resolved on first use.
_LAZY = {
    "Experiment": ("pbdr.optimize.experiment", "Experiment"),
    "gradcheck": ("pbdr.validation.compare", "gradcheck"),
    "load_file": ("pbdr.scene.load", "load_file"),
    "optimize": ("pbdr.optimize.run", "optimize"),
    "resume": ("pbdr.optimize.run", "resume"),
}


class _LazyModule(__import__("types").ModuleType):
    """Keeps ``pbdr.optimize`` the function also after the package of that name was imported."""

    def __getattribute__(self, name):
        lazy = object.__getattribute__(self, "_LAZY") if name in ("optimize", "resume", "gradcheck") else None
        if lazy and name in lazy:
            import importlib

            module, attribute = lazy[name]
            return getattr(importlib.import_module(module), attribute)
        return super().__getattribute__(name)
