"""The recovered scene as a Mitsuba file."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any


def write_scene(experiment: Any, problem: Any, meshes: dict[str, str], folder: Path) -> None:
    """``scene.xml``: the input scene with recovered meshes, maps, colours, numbers and poses; plain Mitsuba loads it.

    Args:
        meshes: shape id -> file of its recovered mesh, relative to ``folder``.
    """
    source = experiment.path(experiment.scene)
    tree = ET.parse(source)
    values = problem.collection.values()
    for shape in tree.iter("shape"):
        if shape.get("id") in meshes:
            shape.set("type", "ply")
            _set_string(shape, "filename", meshes[shape.get("id")])
            for node in shape.findall("transform"):
                shape.remove(node)
    for key, value in values.items():
        if value.shape == (4, 4) and key.endswith(".to_world"):
            for holder in (e for e in tree.iter() if e.get("id") == key.split(".")[0]):
                for node in holder.findall("transform"):
                    holder.remove(node)
                node = ET.SubElement(holder, "transform", name="to_world")
                ET.SubElement(node, "matrix", value=" ".join(f"{x:.9g}" for x in value.ravel()))
            continue
        if key.endswith(".grid"):
            for shape in (e for e in tree.iter("shape") if e.get("id") == key.rsplit(".", 1)[0]):
                _set_string(shape, "filename", f"volumes/{key.replace('.', '-')}.vol")
            continue
        owner, *_, slot, last = f"{key}".split(".") if key.count(".") >= 2 else (key, "", "")
        for holder in (e for e in tree.iter() if e.get("id") == owner):
            for texture in holder.iter("texture"):
                if texture.get("name") == slot and last == "data":
                    _set_string(texture, "filename", f"textures/{key.replace('.', '-')}.exr")
            if value.size in (1, 3):
                texture = last == "value"  # named as the material's own parameter
                _set_number(holder, slot if texture else last, value.ravel(), texture)
    if not any(node.get("type") == "subsurface" for node in tree.iter("bsdf")):  # which `path` carries no light through
        for node in tree.iter("integrator"):
            node.set("type", "path")
    for node in tree.iter("string"):
        value = node.get("value", "")
        if node.get("name") == "filename" and not (folder / value).exists():
            original = Path(source).parent / value
            if original.is_file():
                (folder / "assets").mkdir(exist_ok=True)
                shutil.copy(original, folder / "assets" / original.name)
                node.set("value", f"assets/{original.name}")
    tree.write(folder / "scene.xml")


def _set_string(node, name: str, value: str) -> None:
    for child in node.findall("string"):
        if child.get("name") == name:
            child.set("value", value)
            return
    raise AssertionError(f"<{node.tag} id={node.get('id')}> has no string '{name}'")


def _set_number(holder, name: str, value, texture: bool) -> None:
    """A colour or number that the file gives; a texture that it leaves to its default is added to the material."""
    text = ", ".join(f"{x:.9g}" for x in value)
    for node in holder.iter():
        if node.tag in ("rgb", "spectrum", "float") and node.get("name") == name:
            node.tag = "rgb" if value.size == 3 else "float"
            node.set("value", text)
            return
    place = next(holder.iter("bsdf"), None)
    if texture and place is not None:
        ET.SubElement(place, "rgb" if value.size == 3 else "float", name=name, value=text)
