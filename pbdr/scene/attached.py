"""Parameters of a scene as objects, which of them are attached to the AD graph, and what else is alive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

# The kinds of objects whose methods Dr.Jit calls for arrays of pointers.
POINTERS = ("ShapePtr", "EmitterPtr", "BSDFPtr", "SensorPtr", "MediumPtr", "PhaseFunctionPtr")


@dataclass(frozen=True)
class Parameter:
    """One entry of `mi.traverse`.

    Attributes:
        key: its name in the scene.
        name: its name in the plugin that owns it.
        node: that plugin (mi.Object).
        above: what contains the plugin, from the next upwards.
        marked: Mitsuba marks it as differentiable.
    """

    key: str
    name: str
    node: Any
    above: tuple[Any, ...]
    marked: bool

    @property
    def plugin(self) -> str:
        """Class name of the plugin."""
        return self.node.class_name()


def parameter(params: Any, key: str) -> Parameter:
    """The entry ``key`` of ``params``, a `mi.SceneParameters`."""
    _, _, node, flags = params.properties[key]
    above, parent = [], params.hierarchy[node][0]
    while parent is not None:
        above.append(parent)
        parent = params.hierarchy[parent][0]
    marked = not int(flags) & int(mi.ParamFlags.NonDifferentiable)
    return Parameter(key, key.rsplit(".", 1)[-1], node, tuple(above), marked)


def values(params: Any) -> Iterator[tuple[str, Any]]:
    """(key, value) of all entries; unlike ``params[key]`` it remembers nothing, and takes a third of the time."""
    for key, (value, kind, node, _) in params.properties.items():
        yield key, value if kind is None else mi.get_property(value, kind, node)


def attached(scene: Any, sensor: Any = None, suspended: bool = True) -> list[Parameter]:
    """The parameters of a scene, and of a sensor that is not part of it, that are attached to the AD graph.

    About 4 µs per parameter of the scene, nothing is computed on the device.

    Args:
        suspended: also where derivatives are suspended.
    """
    found = []
    with dr.resume_grad(when=suspended):
        params = mi.traverse(scene)
        found += [parameter(params, key) for key, value in values(params) if dr.grad_enabled(value)]
        if sensor is not None and sensor not in params.hierarchy:
            params = mi.traverse(sensor)
            found += [parameter(params, key) for key, value in values(params) if dr.grad_enabled(value)]
    return found


def alive() -> Iterator[Any]:
    """Every plugin that a call of a method may reach, of whatever scene: those that Dr.Jit's registry knows."""
    for name in POINTERS:
        found: list[Any] = []

        def see(plugin: Any, found: list[Any] = found) -> Any:
            found.append(plugin)
            return mi.UInt32(0)

        # A call is recorded once for each instance. Its result is not used, so that nothing is ever compiled.
        dr.dispatch(dr.reinterpret_array(getattr(mi, name), dr.opaque(mi.UInt32, 0, 1)), see)
        yield from (plugin for plugin in found if plugin is not None)


@contextmanager
def others_at_rest(scene: Any, sensor: Any = None) -> Iterator[None]:
    """Within: parameters of whatever is alive besides this scene (and sensor) are detached from the AD graph.

    Calls of methods reach the plugins of all scenes alive. In forward mode Dr.Jit 1.5 follows the edges behind *their*
    parameters, too, finds that these lie outside of the traversal that it is in the middle of, and raises an exception
    that leaves marks in both graphs: the next derivative may end the process.
    """
    kept = []
    with dr.resume_grad():
        own = set(mi.traverse(scene).hierarchy)
        if sensor is not None:
            own |= set(mi.traverse(sensor).hierarchy)
        for plugin in alive():
            if plugin in own:
                continue
            params = mi.traverse(plugin)
            own |= set(params.hierarchy)
            found = {key: type(value)(value) for key, value in values(params) if dr.grad_enabled(value)}
            if found:
                kept.append((params, found))
    try:
        with dr.resume_grad():
            for params, found in kept:
                _put(params, {key: dr.detach(value) for key, value in found.items()})
        yield
    finally:
        with dr.resume_grad():
            for params, found in kept:
                _put(params, found)


def _put(params: Any, found: dict[str, Any]) -> None:
    """Set the values. Normals of a mesh, which come with its positions, stay as they are if they are not among these."""
    for key in [k for k in found if k.endswith("vertex_positions")]:
        normals = key.removesuffix("vertex_positions") + "vertex_normals"
        if normals in params and normals not in found:
            found = {**found, normals: params[normals]}
            params.set_dirty(normals)
    for key, value in found.items():
        params[key] = value
    params.update()
