"""The recovered scene as a Mitsuba file."""

from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import mitsuba as mi
import numpy as np

from ..core.errors import InputError, warn_once
from ..plugins import PLUGINS
from ..scene.keys import picture
from ..scene.load import LIGHT_PATHS, load_file
from ..scene.names import KINDS, names_of

OBJECTS = {*KINDS.values(), "film", "sampler", "rfilter", "phase", "field"}


def write_scene(experiment: Any, problem: Any, meshes: dict[str, str], folder: Path) -> list[str]:
    """``scene.xml``: the input scene with recovered meshes, maps, skies, colours, numbers and poses; plain Mitsuba loads it.

    The file is loaded again, and each recovered value compared with what it has there. Values that it cannot hold are
    left as they were in the input, and named in a warning.

    Args:
        meshes: shape id -> file of its recovered mesh, relative to ``folder``.

    Returns:
        The keys whose recovered value the file does not hold.
    """
    source = Path(experiment.path(experiment.scene))
    values = problem.collection.values()

    def attempt(keys: list[str]) -> tuple[set[str] | None, list[str]]:
        """Write ``keys``; those that the file holds (``None``: it cannot be loaded), and what was added to the input."""
        tree = _whole(source)
        places = {key: _Place(tree, key) for key in keys}
        put = {key: place.put(values[key], meshes) for key, place in places.items()}
        _plain_integrators(tree)
        _copy_assets(tree, source.parent, folder)
        tree.write(folder / "scene.xml")
        return _held(folder / "scene.xml", values), [key for key in keys if put[key] and places[key].added]

    keys = list(values)
    held, added = attempt(keys)
    if held is None:  # Mitsuba refuses something that the input did not have
        rest = [key for key in keys if key not in added]
        keys = rest + [key for key in added if attempt([*rest, key])[0] is not None]
        held, _ = attempt(keys)
    if not set(keys) <= (held or set()):
        held, _ = attempt([key for key in keys if key in (held or set())])
    lost = set(values) - (held or set())
    names = [key for key in values if key in lost]
    if names:
        warn_once(
            f"{folder / 'scene.xml'} does not hold the recovered values of {', '.join(names)}, but those of the input:"
            " values.npz holds them."
        )
    return names


def _held(file: Path, values: dict[str, np.ndarray]) -> set[str] | None:
    """Keys that have their value in a scene file; ``None`` if it cannot be loaded."""
    try:
        params = mi.traverse(load_file(file))
    except InputError:
        return None
    held = set()
    for key, value in values.items():
        found = picture(params, key).ravel() if key in params else np.empty(0)
        if found.size == value.size and np.allclose(found, value.ravel(), rtol=1e-4, atol=1e-5):
            held.add(key)
    return held


def _whole(source: Path) -> ET.ElementTree:
    """A scene file with included files in their place, ``$parameters`` replaced, and a name for every object."""
    tree = ET.parse(source)
    root = tree.getroot()
    _include(root, source.parent)
    known: dict[str, str] = {}
    for node in list(root.iter("default")):
        known.setdefault(node.get("name", ""), node.get("value", ""))
    for node in root.iter():
        for name, text in node.attrib.items():
            if "$" in text:
                node.set(name, re.sub(r"\$(\w+)", lambda m: known.get(m[1], m[0]), text))
    objects = [node for node in root if node.tag in OBJECTS]
    for node, name in zip(objects, names_of([(n.tag, n.get("id", ""), n.get("name", "")) for n in objects])):
        node.set("id", name)
    return tree


def _include(node: ET.Element, folder: Path) -> None:
    for k, child in reversed(list(enumerate(node))):
        if child.tag == "include":
            file = folder / child.get("filename", "")
            inner = ET.parse(file).getroot()
            _include(inner, file.parent)
            node.remove(child)
            for new in reversed(list(inner) if inner.tag == "scene" else [inner]):
                node.insert(k, new)
        else:
            _include(child, folder)


class _Place:
    """Where a scene file has the value of a parameter."""

    def __init__(self, tree: ET.ElementTree, key: str):
        self.key, self.root = key, tree.getroot()
        self.ids = {node.get("id"): node for node in self.root.iter() if node.get("id") and node.tag in OBJECTS}
        owners = [name for name in self.ids if key.startswith(name + ".")]
        self.owner = max(owners, key=len, default="")
        self.node = self.ids.get(self.owner)
        self.rest = key[len(self.owner) + 1 :].split(".")
        self.added = False  # whether `put` has added what the file did not have

    def put(self, value: np.ndarray, meshes: dict[str, str]) -> bool:
        """Write ``value``; whether there is a place for it."""
        if self.node is None:
            return False
        node, rest, last = self.node, self.rest, self.rest[-1]
        stem = self.key.replace(".", "-")
        while len(rest) > 1 and (inner := self._inside(node, rest[0])) is not None:
            node, rest = inner, rest[1:]
        if self.owner in meshes and rest == [last] and last.startswith(("vertex_", "face_")):
            node.set("type", "ply")
            # What tells how to read the old file does not hold for the new one.
            _drop(node, "to_world", "filename", "flip_tex_coords", "shape_index")
            return _set(node, "string", "filename", meshes[self.owner])
        if last == "to_world" and value.shape == (4, 4):
            _drop(node, "to_world")
            place = ET.SubElement(node, "transform", name="to_world")
            ET.SubElement(place, "matrix", value=" ".join(f"{x:.9g}" for x in value.ravel()))
            return True
        if last == "grid":
            return _set(node, "string", "filename", f"volumes/{stem}.vol")
        if last == "data" and rest == ["data"] and node.get("type") in ("bitmap", "envmap"):
            return _set(node, "string", "filename", f"textures/{stem}.exr")
        if last == "value" and rest == ["value"] and node is not self.node:  # a texture of one colour, as an object
            slot = node.get("name") or self.rest[-2]
            parent = next(p for p in self.root.iter() if node in list(p))
            parent.remove(node)
            return self._number(parent, slot, value)
        if value.size not in (1, 3) or len(rest) > 2 or (len(rest) == 2 and last != "value"):
            return False
        return self._number(node, rest[0], value)

    def _number(self, node: ET.Element, name: str, value: np.ndarray) -> bool:
        """A colour or number; one that the file leaves to its default is added."""
        numbers = [f"{x:.9g}" for x in value.ravel()]
        self.added = not any(x.get("name") == name for x in node)
        if name == "x_fov":
            _drop(node, "fov", "focal_length")
            _set(node, "string", "fov_axis", "x")
            name = "fov"
        elif name == "eta" and node.get("type", "").endswith(("dielectric", "plastic", "subsurface")):
            _drop(node, "int_ior")
            _set(node, "float", "ext_ior", "1")
            name = "int_ior"
        elif name == "specular":
            _drop(node, "eta")
        elif name == "position":
            _drop(node, "position", "to_world")
            ET.SubElement(node, "point", {"name": name, **dict(zip("xyz", numbers))})
            return True
        _drop(node, name)
        return _set(node, "rgb" if value.size == 3 else "float", name, ", ".join(numbers))

    def _inside(self, node: ET.Element, name: str) -> ET.Element | None:
        """The object inside ``node`` that Mitsuba lists as ``name``: so named, or the only one, or the k-th of its kind."""
        inner = [(x.get("name", ""), self.ids.get(x.get("id", "")) if x.tag == "ref" else x) for x in node]
        inner = [(own, x) for own, x in inner if x is not None and x.tag in OBJECTS]
        for own, x in inner:
            if own == name:
                return x
        stem, _, number = name.rpartition("_")
        kind = {"brdf": "bsdf", "nested": "bsdf"}.get(stem, stem) if number.isdigit() else name.removeprefix("nested_")
        nameless = [x for own, x in inner if x.tag == kind and not own]
        index = int(number) if number.isdigit() else 0
        return nameless[index] if index < len(nameless) else None


def _drop(node: ET.Element, *names: str) -> None:
    for child in [x for x in node if x.get("name") in names]:
        node.remove(child)


def _set(node: ET.Element, tag: str, name: str, text: str) -> bool:
    for child in node:
        if child.get("name") == name:
            child.tag = tag
            child.set("value", text)
            return True
    ET.SubElement(node, tag, name=name, value=text)
    return True


def _plain_integrators(tree: ET.ElementTree) -> None:
    """What only pbdr has becomes ``path``: but not where it carries light through translucent objects."""
    if any(node.get("type") == "subsurface" for node in tree.iter("bsdf")):
        return
    for node in tree.iter("integrator"):
        if node.get("type") in PLUGINS:
            node.set("type", "path")
            for child in [x for x in node if x.get("name") not in LIGHT_PATHS]:
                node.remove(child)


def _copy_assets(tree: ET.ElementTree, home: Path, folder: Path) -> None:
    """Copy the files that a scene reads to ``assets/``, and name them there."""
    root = tree.getroot()
    places = [home / node.get("value", "") for node in root.findall("path")] + [home]
    for node in root.findall("path"):
        root.remove(node)
    named = [(x, "value") for x in root.iter("string") if x.get("name") == "filename"]
    copied: dict[Path, str] = {}
    for node, attribute in named + [(x, "filename") for x in root.iter("spectrum") if x.get("filename")]:
        text = node.get(attribute, "")
        original = next((p / text for p in places if (p / text).is_file()), None)
        if original is None or text in _written(folder):
            continue
        if original not in copied:
            (folder / "assets").mkdir(exist_ok=True)
            name, count = original.name, 0
            while name in copied.values():  # of another folder
                count += 1
                name = f"{original.stem}-{count}{original.suffix}"
            shutil.copy(original, folder / "assets" / name)
            copied[original] = name
        node.set(attribute, f"assets/{copied[original]}")


def _written(folder: Path) -> set[str]:
    """Names of the files that the run has written."""
    return {f"{part}/{file.name}" for part in ("meshes", "textures", "volumes") for file in (folder / part).glob("*")}
