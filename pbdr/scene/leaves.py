"""Where the gradient of a parameter can be read: at a leaf of the AD graph that somebody holds."""

from __future__ import annotations

import re
from typing import Any

import drjit as dr
import mitsuba as mi

from ..core.errors import InputError, warn_once
from .keys import find_keys, is_transform, require_differentiable

NODE = re.compile(r"^\s*(\d+) \[label=.*\|Refs: (\d+)\}", re.MULTILINE)
EDGE = re.compile(r"^\s*(\d+) -> (\d+)", re.MULTILINE)


def attach(params: Any, key: str) -> Any:
    """Attach one scene parameter to the AD graph; returns the variable that receives its gradient.

    >>> leaf = pbdr.attach(params, "sky.data")
    >>> dr.backward(loss(mi.render(scene, params)))
    >>> dr.grad(leaf)

    The pattern ``dr.enable_grad(params[key]); params.update()``, with ``dr.grad(params[key])`` at the end, reads 0 where an
    object derives a new value from what it was given: ``envmap`` its border, ``principled`` its ``specular`` and ``eta``.
    The gradient of the map of an ``envmap`` is that of the columns between its border, where it is 0.

    Args:
        params: what `mi.traverse(scene)` returned; it is updated.
        key: name of the parameter.

    Raises:
        InputError: there is no such parameter, or it is not differentiable, or a transform.
    """
    if key not in params:
        find_keys(params, key)  # says what there is
        raise InputError(f"attach takes the name of one parameter, not a pattern: '{key}'.")
    value = require_differentiable(params, key)
    if is_transform(value):
        raise InputError(
            f"'{key}' is a transform, not sixteen free numbers: attach what it is made of, as in params['{key}'] ="
            " mi.Transform4f().translate(x) @ start with dr.enable_grad(x), then params.update()."
        )
    leaf = dr.detach(value)
    leaf = type(leaf)(leaf.array, leaf.shape) if dr.is_tensor_v(leaf) else type(leaf)(leaf)
    dr.enable_grad(leaf)
    params[key] = leaf
    params.update()
    return leaf


def warn_of_unreadable(params: Any, known: set[tuple[str, ...]]) -> None:
    """Warn, once each, of attached parameters whose gradient nobody will be able to read.

    Those are the ones that depend on a leaf which only the AD graph itself refers to any more: Mitsuba has replaced the
    attached value by one that it derived from it, and no variable of the user holds the old one.

    Args:
        params: the scene's parameters, as `mi.render` got them.
        known: groups of attached keys that have been looked at; filled here.
    """
    if not isinstance(params, mi.SceneParameters):
        return
    with dr.resume_grad():
        attached = {}
        for key, (value, kind, node, _) in params.properties.items():
            value = value if kind is None else params.get_property(value, kind, node)
            if dr.is_array_v(value) and dr.is_diff_v(value) and dr.grad_enabled(value):
                attached[key] = [index >> 32 for index in dr.detail.collect_indices(value)]
        group = tuple(attached)
        if not attached or group in known:
            return
        known.add(group)
        text = dr.graphviz_ad(as_string=True)
    references = {int(i): int(n) for i, n in NODE.findall(text)}
    sources: dict[int, list[int]] = {}
    for target, source in EDGE.findall(text):
        sources.setdefault(int(target), []).append(int(source))
        references[int(source)] = references.get(int(source), 0) - 1  # what is left is held from outside
    for key, indices in attached.items():
        if key.endswith("vertex_normals") and key.replace("vertex_normals", "vertex_positions") in attached:
            continue  # Mitsuba makes them anew from the positions; what is lost is of an earlier update
        if _lost(indices, sources, references):
            warn_once(
                f"The gradient of '{key}' cannot be read: params.update() has replaced the attached value by one that it"
                f" derived from it, so that dr.grad(params['{key}']) is 0. Use leaf = pbdr.attach(params, '{key}') before"
                " rendering, and dr.grad(leaf)."
            )


def _lost(indices: list[int], sources: dict[int, list[int]], references: dict[int, int]) -> bool:
    """Whether a leaf above the nodes ``indices`` is held by nobody."""
    todo, seen = [i for i in indices if i in sources], set()
    while todo:
        i = todo.pop()
        for source in sources.get(i, ()):
            if source in seen:
                continue
            seen.add(source)
            todo.append(source)
            if source not in sources and references.get(source, 1) <= 0:
                return True
    return False
