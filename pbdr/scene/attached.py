"""Parameters of a scene as objects, which of them are attached to the AD graph, and what else is alive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import drjit as dr
import mitsuba as mi

from ..core.errors import InputError, warn_once
from ..core.recording import recording

# The kinds of objects whose methods Dr.Jit calls for arrays of pointers. Sensors only for a batch: Python sees a sensor that it
# meets here first as a plain `mi.Sensor` ever after, without the methods of its class.
POINTERS = ("ShapePtr", "EmitterPtr", "BSDFPtr", "MediumPtr", "PhaseFunctionPtr")


AS_THEY_ARE = ("value", "position", "to_world")  # parameters from which their owners derive nothing, but for shapes


@dataclass(frozen=True)
class Parameter:
    """One entry of `mi.traverse`.

    Attributes:
        key: its name in the scene.
        name: its name in the plugin that owns it.
        node: that plugin (mi.Object).
        above: what contains the plugin, from the next upwards.
        marked: Mitsuba marks it as differentiable.
        value: what it holds, where that was asked for.
    """

    key: str
    name: str
    node: Any
    above: tuple[Any, ...]
    marked: bool
    value: Any = field(default=None, compare=False, repr=False)

    @property
    def plugin(self) -> str:
        """Class name of the plugin."""
        return self.node.class_name()


def parameter(params: Any, key: str, value: Any = None) -> Parameter:
    """The entry ``key`` of ``params``, a `mi.SceneParameters`."""
    _, _, node, flags = params.properties[key]
    above, parent = [], params.hierarchy[node][0]
    while parent is not None:
        above.append(parent)
        parent = params.hierarchy[parent][0]
    marked = not int(flags) & int(mi.ParamFlags.NonDifferentiable)
    return Parameter(key, key.rsplit(".", 1)[-1], node, tuple(above), marked, value)


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
        found += [parameter(params, key, value) for key, value in values(params) if dr.grad_enabled(value)]
        if sensor is not None and sensor not in params.hierarchy:
            params = mi.traverse(sensor)
            found += [parameter(params, key, value) for key, value in values(params) if dr.grad_enabled(value)]
    return found


def not_finite(found: list[Parameter]) -> Parameter | None:
    """The first of some parameters, with values, that holds NaN or infinity. Nothing is read while `dr.freeze` records."""
    if recording() or not found:
        return None
    with dr.suspend_grad():
        # All are asked at once.
        if sum((_unusable(p.value) for p in found), mi.UInt32(0))[0] == 0:
            return None
        return next(p for p in found if _unusable(p.value)[0])


def require_finite(bad: Parameter | None) -> None:
    """Refuse what `not_finite` has found: faces with such vertices would be left out without a word.

    Raises:
        InputError: names the parameter and the remedy.
    """
    if bad is not None:
        raise InputError(
            f"Parameter '{bad.key}': some of its numbers are NaN or infinite, so that it has no derivative. Go back to its"
            " last finite values and take smaller steps."
        )


def require_updated(scene: Any, params: Any, found: list[Parameter]) -> None:
    """Refuse shapes that were attached without a word to the scene: what they derive from their parameters is not attached.

    The gradient would lack outlines and normals. Of what else waits for ``params.update()`` it may be 0; that is warned of.

    Args:
        params: what `mi.render` got.
        found: the attached parameters.

    Raises:
        InputError: names the parameter and the remedy.
    """
    advice = "Call params.update() after dr.enable_grad(...)"
    with dr.resume_grad():
        behind = [p for p in found if isinstance(p.node, mi.Shape) and p.node.parameters_grad_enabled()]
        if behind and not scene.shapes_grad_enabled():
            raise InputError(
                f"Parameter '{behind[0].key}' is attached, and its shape does not know: most of the gradient would be missing."
                f" {advice}."
            )
        for key, most in _waiting(params, found):
            if most:
                raise InputError(
                    f"Parameter '{key}' was attached or replaced after the last params.update(): its shape follows an older one,"
                    f" and most of the gradient would be missing. {advice}."
                )
            warn_once(
                f"Parameter '{key}' was attached or replaced after the last params.update(): its gradient may be 0. {advice}."
            )


def _waiting(params: Any, found: list[Parameter]) -> list[tuple[str, bool]]:
    """Attached parameters whose owners ``params`` has still to tell, and that these do not read as they are.

    Returns:
        For each its key, and whether most of its gradient would be missing.
    """
    if recording() or not isinstance(params, mi.SceneParameters):  # what is recorded has other variables in their place
        return []
    own = {(p.node, p.name) for p in found if p.name not in AS_THEY_ARE or _derives(p.node)}
    dirty = {(node, name) for (_, node), names in params.nodes_to_update.items() for name in names}
    waiting = []
    for key, (value, kind, node, _) in params.properties.items():
        place = (node, key.rsplit(".", 1)[-1])
        if place in own:
            value = value if kind is None else mi.get_property(value, kind, node)
            # What rests while other scenes are differentiated is another variable afterwards: only assignments are certain.
            assigned = place in dirty
            other = key in params.update_candidates and params.update_candidates[key] != _identity(value)
            if assigned or (other and place[1] not in AS_THEY_ARE):
                waiting.append((key, assigned and _derives(node)))
    return waiting


def _derives(node: Any) -> bool:
    """Is it a shape that keeps more than its parameters?"""
    return isinstance(node, mi.Shape) and node.class_name() != "Instance"


def _identity(value: Any) -> int:
    """As `mi.SceneParameters` tells whether a value is still the one that it was."""
    return hash(tuple(dr.detail.collect_indices(value)))


def _unusable(value: Any) -> Any:
    """UInt32, how many numbers of ``value`` are NaN or infinite."""
    value = dr.detach(value)
    if not dr.is_array_v(value):
        value = value.matrix  # a transform
    numbers = value.array if dr.is_tensor_v(value) else dr.ravel(value)
    return dr.sum(dr.select(dr.isfinite(numbers), mi.UInt32(0), 1))


def alive(sensors: bool = True) -> Iterator[Any]:
    """Every plugin that a call of a method may reach, of whatever scene: those that Dr.Jit's registry knows.

    Args:
        sensors: list them, too.
    """
    for name in (*POINTERS, *(("SensorPtr",) if sensors else ())):
        found: list[Any] = []

        def see(plugin: Any, found: list[Any] = found) -> Any:
            found.append(plugin)
            return mi.UInt32(0)

        # A call is recorded once for each instance. Its result is not used, so that nothing is ever compiled.
        dr.dispatch(dr.reinterpret_array(getattr(mi, name), dr.opaque(mi.UInt32, 0, 1)), see)
        yield from (plugin for plugin in found if plugin is not None)


def _number(plugin: Any) -> tuple[str, int]:
    """What tells plugins apart. Python may know one by two objects: that of its class, and one that a call has shown first."""
    for name in (*POINTERS, "SensorPtr"):
        if isinstance(plugin, getattr(mi, name.removesuffix("Ptr"))):
            return name, int(dr.reinterpret_array(mi.UInt32, getattr(mi, name)(plugin))[0])
    return "", id(plugin)


@contextmanager
def others_at_rest(scene: Any, sensor: Any = None) -> Iterator[None]:
    """Within: parameters of whatever is alive besides this scene (and sensor) are detached from the AD graph.

    Calls of methods reach the plugins of all scenes alive. In forward mode Dr.Jit 1.5 follows the edges behind *their*
    parameters, too, finds that these lie outside of the traversal that it is in the middle of, and raises an exception
    that leaves marks in both graphs: the next derivative may end the process.
    """
    kept = []
    with dr.resume_grad():
        own = set(map(_number, mi.traverse(scene).hierarchy))
        if sensor is not None:
            own |= set(map(_number, mi.traverse(sensor).hierarchy))
        for plugin in alive(sensor is not None and sensor.class_name() == "BatchSensor"):
            if _number(plugin) in own:
                continue
            params = mi.traverse(plugin)
            own |= set(map(_number, params.hierarchy))
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
