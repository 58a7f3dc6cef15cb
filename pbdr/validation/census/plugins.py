"""Which plugins the installed Mitsuba has, and which of them the census leaves out."""

from __future__ import annotations

from pathlib import Path

import mitsuba as mi

from ...plugins import PLUGINS

# Kinds of plugins that have parameters of a scene, in the order of the table.
KINDS = {
    "BSDF": "BSDFs",
    "Texture": "Textures",
    "Emitter": "Emitters",
    "Shape": "Shapes",
    "Sensor": "Sensors",
    "Film": "Films",
    "ReconstructionFilter": "Reconstruction filters",
    "Volume": "Volumes",
    "Medium": "Media",
    "PhaseFunction": "Phase functions",
}

# Plugin -> why it has no situation.
EXCLUDED = {
    "blender": "takes pointers into the memory of a running Blender; as a mesh it is `ply` with other input",
    "measured": "needs a file of measured data, and none is distributed with Mitsuba",
    "measured_polarized": "needs a file of measured data and a polarized variant; pbdr refuses polarized variants",
}


def installed() -> dict[str, list[str]]:
    """The plugins of the installed package by kind, pbdr's own included.

    Mitsuba has no list of its plugins: names come from the files of its folder ``plugins``, kinds from its plugin
    manager (of the current variant).
    """
    manager = mi.PluginManager.instance()
    names = {f.stem for f in (Path(mi.__file__).parent / "plugins").iterdir() if f.suffix in (".so", ".dylib", ".dll")}
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for name in sorted(names):
        kind = str(manager.plugin_type(name)).rpartition(".")[-1]
        if kind in found:
            found[kind].append(name)
    for name, (kind, _) in PLUGINS.items():
        if kind == "bsdf":
            found["BSDF"].append(name)
    return found
