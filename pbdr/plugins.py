"""The plugin table: which names pbdr adds to Mitsuba, and for which variant they are registered.

This is the only module that deals with variants: Mitsuba's base classes differ per variant, so a
plugin's module is loaded anew for each variant on first use.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import mitsuba as mi

from .core.errors import InputError, near_matches

# name -> (kind, "module:Class"). Modules are imported when a scene first asks for the name.
PLUGINS: dict[str, tuple[str, str]] = {
    "prb_edge": ("integrator", "pbdr.integrators.prb_edge:EdgeIntegrator"),
    "prb_reparam": ("integrator", "pbdr.integrators.prb_reparam:ReparamIntegrator"),
    "subsurface": ("bsdf", "pbdr.bssrdfs.subsurface:Subsurface"),
}

_registered: set[str] = set()  # variants done
_ours: set[str] = set()  # names that pbdr registered, for any variant
_classes: dict[tuple[str, str], Any] = {}  # (variant, target) -> class
_variant_of_module: dict[str, str] = {}


def _load(target: str) -> Any:
    variant = mi.variant()
    key = (variant, target)
    if key not in _classes:
        module_name, class_name = target.split(":")
        # The base class of an integrator is bound when its module runs.
        for name in ("pbdr.integrators.render", module_name):
            if name in sys.modules and _variant_of_module.get(name, variant) != variant:
                importlib.reload(sys.modules[name])
            module = importlib.import_module(name)
            _variant_of_module[name] = variant
        _classes[key] = getattr(module, class_name)
    return _classes[key]


def _is_native(name: str) -> bool:
    return mi.PluginManager.instance().plugin_type(name) != mi.ObjectType.Unknown


def register(_old: str | None = None, new: str | None = None) -> None:
    """Register every plugin for the current variant, once. Also the variant-change callback.

    Raises:
        InputError: another plugin already has one of the names (a native one would win silently).
    """
    variant = new or mi.variant()
    if variant is None or variant in _registered:
        return
    for name, (kind, target) in PLUGINS.items():
        if _is_native(name) and name not in _ours:
            raise InputError(
                f"Mitsuba {mi.__version__} ({variant}) already has a plugin named '{name}':"
                f" pbdr will not replace it silently. Remove the other plugin, or the import that registers it."
            )
        if "_ad_" not in variant:
            factory = _needs_ad(name, variant)
        else:
            factory = _factory(target)
        getattr(mi, f"register_{kind}")(name, factory)
        _ours.add(name)
    _registered.add(variant)


def _factory(target: str):
    return lambda props: _load(target)(props)


def _needs_ad(name: str, variant: str):
    def refuse(_props):
        raise InputError(
            f"'{name}' differentiates, so it needs an *_ad_* variant; the current one is '{variant}'."
            ' Call mi.set_variant("llvm_ad_rgb") or pbdr.set_variant().'
        )

    return refuse


def set_variant(*names: str) -> str:
    """Set the given Mitsuba variant and return its name.

    Without a name: the one in the environment variable ``PBDR_VARIANT``, else the best of this machine.

    Raises:
        InputError: Mitsuba has no variant of any of these names, or this machine has no device for it.
    """
    from .backend import best_variant

    names = names or (os.environ.get("PBDR_VARIANT") or best_variant(),)
    known = mi.variants()
    if not any(name in known for name in names):
        raise InputError(
            f"There is no variant '{names[0]}'." + (near_matches(names[0], known) or f" Known: {', '.join(known)}.")
        )
    try:
        mi.set_variant(*names)
    except ImportError as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else "its backend does not start"
        raise InputError(
            f"Variant '{names[0]}' does not run on this machine ({reason}). Use '{best_variant()}', or see `pbdr doctor`."
        ) from error
    return mi.variant()


def install() -> None:
    """Called once by ``import pbdr``, before or after ``mi.set_variant``."""
    mi.detail.add_variant_callback(register)
    if mi.variant() is not None:
        register(None, mi.variant())
