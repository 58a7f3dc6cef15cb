"""Which shapes move, as far as the AD graph tells."""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi

from ..core.memo import asked_once, told
from .instances import all_shapes, interact, is_attached, is_instance

FEW = 512  # faces of a mesh up to which the black rim of its normals counts
SHARED = 1.5  # most vertices per face of a mesh whose faces share them: two of a square each would have 2


def distance_grids(scene: Any) -> list[Any]:
    """Values of every ``sdfgrid`` (TensorXf [depth, height, width, 1]).

    Mitsuba does not list them as differentiable, although its intersections depend on them.
    """
    grids = []
    for shape in all_shapes(scene):
        if shape.class_name() == "SDFGrid":
            grids.append(mi.traverse(shape)["grid"])
    return grids


@asked_once
def shapes_move(scene: Any) -> bool:
    """Whether a shape depends on attached parameters."""
    with dr.resume_grad():
        if scene.shapes_grad_enabled() or any(dr.grad_enabled(g) for g in distance_grids(scene)):
            return True
        return any(is_instance(s) and is_attached(s) for s in scene.shapes())


def varying_textures(plugin: Any) -> list[Any]:
    """Textures in the tree below a plugin that are not the same everywhere."""
    return [x for x in mi.traverse(plugin).hierarchy if isinstance(x, mi.Texture) and x.is_spatially_varying()]


def textures_of(shape: Any) -> list[Any]:
    """Textures of a shape's material and light that vary over it by its texture coordinates."""
    found = [x for part in (shape.bsdf(), shape.emitter()) if part is not None for x in varying_textures(part)]
    return [x for x in found if x.class_name() not in ("MeshAttribute", "VolumeAdapter")]


def jumps_between_faces(mesh: Any) -> bool:
    """Do all faces of a mesh look different? Without texture coordinates each has its own, and its own tangents."""
    if mesh.has_vertex_texcoords():
        return False
    bsdf = mesh.bsdf()
    anisotropic = bsdf is not None and mi.has_flag(bsdf.flags(), mi.BSDFFlags.Anisotropic)
    return anisotropic or len(textures_of(mesh)) > 0


def interpolates_normals(shape: Any) -> bool:
    """Is it a mesh that is shaded with the normals of its vertices?"""
    return shape.is_mesh() and shape.has_vertex_normals() and not shape.has_face_normals()


def has_rim(shape: Any) -> bool:
    """Is it a mesh of so few faces that the normals of its vertices turn away from the viewer well before its outline?

    If its triangles or squares have vertices of their own (``cube``, ``rectangle``), normals are those of the faces.
    On finer ones the black rim is narrower than the steps by which a mesh is moved: the smoother derivative, its two borders
    as one, then agrees with finite differences, and the exact one with none that is feasible.
    """
    if not interpolates_normals(shape) or shape.face_count() > FEW:
        return False
    return shape.vertex_count() <= SHARED * shape.face_count()


def translucent_shapes(scene: Any) -> list[Any]:
    """Shapes with the `subsurface` material."""
    return [s for s in scene.shapes() if type(s.bsdf()).__name__ == "Subsurface" and hasattr(s.bsdf(), "profile_at")]


def follow(pi: Any, ray: Any, active: Any = True, frames: Any = None) -> Any:
    """SurfaceInteraction3f of the material point that ``ray`` has hit, attached to the motion of its shape.

    Args:
        frames: `instances.InstanceFrames`, of instances that may move.
    """
    si = interact(frames, pi, ray, mi.RayFlags.Minimal | mi.RayFlags.FollowShape, active)
    if told("spheres_move"):
        # Mitsuba moves the points of a sphere with all of ``to_world``, but the sphere remains one.
        ball = mi.Bool(active) & (si.shape.shape_type() == mi.UInt32(int(mi.ShapeType.Sphere)))
        n, met = dr.detach(si.n), moved_across(pi, ray, ball, frames)
        si.p = dr.replace_grad(si.p, dr.select(ball, si.p + n * dr.dot(n, met.p - si.p), si.p))
    return si


def moved_across(pi: Any, ray: Any, active: Any = True, frames: Any = None) -> Any:
    """The same for a point that moves with its surface across that alone: where a ray along the normal meets it."""
    with dr.suspend_grad():
        held = interact(frames, pi, ray, mi.RayFlags.Minimal, active)
    n = dr.detach(held.n)
    down = mi.Ray3f(dr.detach(held.p) + n * pi.t, -n, ray.time)
    return interact(frames, pi, down, mi.RayFlags.Minimal, active)


def spheres_move(scene: Any) -> bool:
    """Is a sphere attached to the AD graph?"""
    return any(s.class_name() == "Sphere" and s.parameters_grad_enabled() for s in all_shapes(scene))
