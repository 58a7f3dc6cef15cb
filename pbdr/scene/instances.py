"""Instances of shape groups: what they show, and how it follows their transforms.

Mitsuba attaches the position of a point on an instance to ``to_world``, but neither normals nor texture coordinates, and
an instance does not say that it is attached. So points on instances that are attached are found once more here: in the
space of the group, where its shapes rest, for a ray that is transformed by the attached inverse; then all of it is
transformed back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from ..core.errors import UnsupportedError
from .contents import contents
from .frames import columns, held_columns, tangents, with_tangents


@dataclass(frozen=True)
class Part:
    """A shape as the scene shows it: one of its own shapes, or one of a group in an instance.

    Attributes:
        index: of the shape, or instance, in ``scene.shapes()``.
        shape: the shape itself.
        instance: the instance, or ``None``.
        number: of the shape in its group.
    """

    index: int
    shape: Any
    instance: Any = None
    number: int = 0

    @property
    def name(self) -> str:
        return self.shape.id() if self.instance is None else f"{self.instance.id()}/{self.shape.id()}"

    @property
    def moves(self) -> bool:
        """Whether it is attached to the AD graph."""
        return self.shape.parameters_grad_enabled() or (self.instance is not None and is_attached(self.instance))

    def to_world(self) -> Any:
        """Transform from the space of a group, attached inside `dr.resume_grad`; ``None`` for a shape of the scene."""
        return None if self.instance is None else mi.traverse(self.instance)["to_world"]


def is_instance(shape: Any) -> bool:
    return shape.class_name() == "Instance"


def is_attached(instance: Any) -> bool:
    """Whether the transform of an instance is attached to the AD graph."""
    with dr.resume_grad():
        return dr.grad_enabled(mi.traverse(instance)["to_world"])


def registry_number(shape: Any) -> int:
    """What a `ShapePtr` to the shape holds."""
    return int(dr.reinterpret_array(mi.UInt32, mi.ShapePtr(shape))[0])


def moves(shape: Any) -> bool:
    """Whether a shape of the scene, or an instance, is attached to the AD graph."""
    return shape.parameters_grad_enabled() or (is_instance(shape) and is_attached(shape))


def groups(scene: Any) -> dict[str, list[Any]]:
    """The shapes of each group, by its name; ``{}`` without instances."""
    if not any(is_instance(s) for s in scene.shapes()):
        return {}
    shapes = (s for _, s in contents(scene, mi.Shape))
    return {
        s.id(): [child for _, child in contents(s, mi.Shape)] for s in shapes if s.class_name() == "ShapeGroupPlugin"
    }


def parts(scene: Any) -> list[Part]:
    """All that the scene shows."""
    known = groups(scene)
    found = []
    for index, shape in enumerate(scene.shapes()):
        if is_instance(shape):
            # The only place where an instance names its group.
            name = re.search(r'name = "(.*)"', str(shape))
            children = known[name.group(1) if name else ""]
            found += [Part(index, child, shape, number) for number, child in enumerate(children)]
        else:
            found.append(Part(index, shape))
    return found


def all_shapes(scene: Any) -> list[Any]:
    """Shapes with a surface of their own: those of the scene, and those of groups."""
    own = [s for s in scene.shapes() if not is_instance(s)]
    return own + [s for children in groups(scene).values() for s in children]


def has_instances(scene: Any) -> bool:
    return any(is_instance(s) for s in scene.shapes())


def moved_by_instances(scene: Any) -> set[int]:
    """Addresses of the shapes in groups that an attached instance shows."""
    return {p.shape.ptr for p in parts(scene) if p.instance is not None and is_attached(p.instance)}


def named(hit: Any, ray: Any, active: Any = True) -> Any:
    """A preliminary intersection on an instance names the shape of the group that was hit (Embree's gives its number alone)."""
    with dr.suspend_grad():
        member = hit.compute_surface_interaction(ray, mi.RayFlags.Minimal, active).shape
    hit.shape = dr.select(hit.instance != dr.zeros(mi.ShapePtr), member, hit.shape)
    return hit


def same_surface(a: Any, b: Any) -> Any:
    """Bool: two hits, `named` where there are instances, lie on one surface."""
    return (a.shape == b.shape) & (a.instance == b.instance)


def require_no_instances(scene: Any) -> None:
    """Refuse moving shapes in a scene with instances, for methods that do not know their outlines.

    Raises:
        UnsupportedError: names parameter and remedy.
    """
    for shape in scene.shapes():
        if is_instance(shape):
            what = f"Parameter '{shape.id()}.to_world'" if is_attached(shape) else f"Instance '{shape.id()}'"
            raise UnsupportedError(
                f"{what}: prb_reparam does not know the outlines of instances, beside which the motion of shapes is shared"
                " out. Use prb_edge, or load the shape without instancing."
            )


class InstanceFrames:
    """Transforms of the instances that are attached, for use inside loops. A plain class: no loop state.

    Args:
        forward: keep tangents alone (see `frames.tangents`).
    """

    def __init__(self, instances: list[Any], forward: bool):
        self.instances = instances
        with dr.resume_grad():
            found = [mi.traverse(s)["to_world"] for s in instances]
            self.columns = list(with_tangents(held_columns(found), tangents(found)) if forward else columns(found))

    @staticmethod
    def of(scene: Any, forward: bool = False) -> InstanceFrames | None:
        """``None`` if all instances rest."""
        attached = [s for s in scene.shapes() if is_instance(s) and is_attached(s)]
        return InstanceFrames(attached, forward) if attached else None

    def cut(self) -> None:
        """In backward mode: adjoints stop at copies of the transforms, until `flush`.

        Left to Dr.Jit (1.5.0), those of several transforms are lost by chance, in up to one call out of three: never with a
        single thread, nor where they are evaluated before they go on.
        """
        self.whole = self.columns
        with dr.resume_grad():
            self.columns = list(with_tangents(self.whole, [dr.zeros(mi.Vector3f) for _ in self.whole]))

    def flush(self) -> None:
        """Hand on to the parameters what has arrived."""
        with dr.resume_grad():
            adjoints = [dr.grad(v) for v in self.columns]
            dr.eval(adjoints)
            for v in self.columns:
                dr.clear_grad(v)
            received = sum(dr.dot(v, δ) for v, δ in zip(self.whole, adjoints))
            dr.backward_from(received, flags=dr.ADFlag.ClearInterior | dr.ADFlag.AllowNoGrad)

    def interaction(self, pi: Any, ray: Any, flags: Any, active: Any = True) -> Any:
        """``pi.compute_surface_interaction``, attached to the transforms."""
        # One attached call for all lanes: Dr.Jit carries no tangents through one while another hangs on the same parameters.
        with dr.suspend_grad():
            held = pi.compute_surface_interaction(dr.detach(ray), flags, active)
        on, to_world = self._lanes(pi, mi.Bool(active) & held.is_valid())
        to_object = to_world.inverse()
        local, inner = mi.Ray3f(ray), mi.PreliminaryIntersection3f(pi)
        local.o, local.d = dr.select(on, to_object @ ray.o, ray.o), dr.select(on, to_object @ ray.d, ray.d)
        # Embree names the shape of a group by its number.
        inner.shape = dr.select(on, held.shape, pi.shape)
        inner.instance = dr.select(on, dr.zeros(mi.ShapePtr), pi.instance)
        si = inner.compute_surface_interaction(local, flags, active)
        si.instance = held.instance

        def take(name: str, moved: Any) -> None:
            value = getattr(si, name)
            setattr(si, name, dr.select(on, dr.replace_grad(getattr(held, name), type(value)(moved)), value))

        take("p", to_world @ si.p)
        take("n", dr.normalize(to_world @ si.n))
        take("dp_du", to_world @ si.dp_du)
        take("dp_dv", to_world @ si.dp_dv)
        if (int(flags) & int(mi.RayFlags.ShadingFrame)) != 0:
            n = mi.Vector3f(dr.normalize(to_world @ si.sh_frame.n))
            u = mi.Vector3f(si.dp_du)
            s = dr.normalize(u - n * dr.dot(n, u))
            frame = mi.Frame3f(si.sh_frame)
            for name, moved in (("n", n), ("s", s), ("t", dr.cross(n, s))):
                v = getattr(frame, name)
                moved = dr.replace_grad(getattr(held.sh_frame, name), type(v)(moved))
                setattr(frame, name, dr.select(on, moved, v))
            si.sh_frame = frame
            take("wi", si.to_local(-ray.d))
        return si

    def _lanes(self, pi: Any, active: Any) -> tuple[Any, Any]:
        """(Bool: on an instance that is attached, its transform)."""
        on, row = mi.Bool(False), mi.UInt32(0)
        for k, instance in enumerate(self.instances):
            here = pi.instance == mi.ShapePtr(instance)
            on |= here
            row = dr.select(here, k, row)
        on &= active
        m = [list(line) for line in zip(*(dr.gather(mi.Vector3f, v, row, on) for v in self.columns))]
        for i in range(3):  # the identity where there is nothing to transform
            m[i] = [dr.select(on, x, 1.0 if i == j else 0.0) for j, x in enumerate(m[i])]
        return on, mi.Transform4f(mi.Matrix4f(*m[0], *m[1], *m[2], 0, 0, 0, 1))


def cut(frames: InstanceFrames | None, forward: bool) -> InstanceFrames | None:
    """``frames``, cut where they are to be flushed: in backward mode, if instances move."""
    if frames is None or forward:
        return None
    frames.cut()
    return frames


def interact(frames: InstanceFrames | None, pi: Any, ray: Any, flags: Any, active: Any = True) -> Any:
    """The surface that was hit, attached to all that moves."""
    if frames is None:
        return pi.compute_surface_interaction(ray, flags, active)
    return frames.interaction(pi, ray, flags, active)
