"""Names for the objects of a scene that its file leaves without one.

Mitsuba lists the parameters of such an object under its address in memory (``object_94783043021664.radiance.value``), which
is another one in each run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import mitsuba as mi

ADDRESS = re.compile(r"object_\d+\.")  # how the key of an object without a name begins
MERGED = "merged"  # name of the meshes that Mitsuba makes of several
KINDS = {
    "Integrator": "integrator",
    "Sensor": "sensor",
    "Emitter": "emitter",
    "Shape": "shape",
    "BSDF": "bsdf",
    "Medium": "medium",
    "Texture": "texture",
    "Volume": "volume",
}


def names_of(objects: Iterable[tuple[str, str, str]]) -> list[str]:
    """Names of a scene's objects, in the order of its file.

    Args:
        objects: (kind, id, name) each: the tag, and the two attributes, empty where there are none.

    Returns:
        The ``id``; else the ``name``; else the kind, with a number from the second one on: ``shape``, ``shape_1``, ...
        Names that others have are passed over.
    """
    objects = list(objects)
    taken = {own for _, own, _ in objects if own}
    found = []
    for kind, own, name in objects:
        if not own:
            base, count = name or kind, 0
            own = base
            while own in taken:
                count += 1
                own = f"{base}_{count}"
            taken.add(own)
        found.append(own)
    return found


def name_objects(state: Any) -> None:
    """Give every object in the top level of a parsed scene (`mi.parser.ParserState`) that has no ``id`` one."""
    if state.root.type != mi.ObjectType.Scene:
        return
    props = state.root.props
    slots = [(slot, props[slot]) for slot in props.keys()]
    nodes = [
        ("" if slot.startswith("_arg_") else slot, state.nodes[reference.index()])
        for slot, reference in slots
        if isinstance(reference, mi.Properties.ResolvedReference)
    ]
    given = [(KINDS.get(node.type.name, "object"), node.props.id(), slot) for slot, node in nodes]
    for (_, node), name in zip(nodes, names_of(given)):
        if not node.props.id():
            node.props.set_id(name)


def name_merged(scene: Any) -> None:
    """Name the meshes that were made of several."""
    if not isinstance(scene, mi.Scene):
        return
    shapes = list(scene.shapes())
    nameless = [shape for shape in shapes if not shape.id()]
    named = [("", shape.id(), "") for shape in shapes if shape.id()]
    names = names_of([*named, *((MERGED, "", "") for _ in nameless)])[len(named) :]
    for shape, name in zip(nameless, names):
        shape.set_id(name)
