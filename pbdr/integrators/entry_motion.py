"""How a point where light entered a translucent object moves with its shape.

The integral over the object's surface is taken in material form: x_i follows the surface, and the area
around it changes. But the point x_o where light leaves is held on a ray, and slides over the surface by
s = ẋ_o - (motion of the material at x_o). As R ~ 1/r, a motion of x_o against its neighbourhood would have a
derivative ~ 1/r², of infinite variance. So points near x_o slide along,

    ẋ_i = (material) + w(r) Q s,    w = exp(-r²/ε²),    Q: the rotation of the normal at x_o to that at x_i,

and the area grows by w' r̂·Q s, too. Over the edge between two faces Q s goes on without a jump of what it carries
across. (∇·Q s, a curvature times s, is left out: ε is a small part of the mean free path.)
"""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi

from ..scene.shapes import follow

OPPOSITE = 0.05  # least 1 + n_o·n_i: there is no one way to turn a normal around


def entry_point(x: Any, held: Any, material: Any, near: Any) -> tuple[Any, Any]:
    """(x_i, what its slide adds to the area around it), attached.

    Args:
        x: SurfaceInteraction3f of x_i, attached by `follow`.
        held, material: of x_o, attached without (it stays on its ray) and by `follow`.
        near: Float, ε.
    """
    slide, grown = _slide(x, held.p - material.p, held.p, material.n, near)
    return x.p + slide, grown


def entry_slide(x: Any, material: Any, ray: Any, near: Any) -> Any:
    """The slide of x_i alone (its value is 0), from the material point x_o, attached, and the ray that it stays on."""
    cos = dr.dot(material.n, ray.d)
    cos = dr.select(dr.abs(cos) < 1e-3, dr.mulsign(mi.Float(1e-3), cos), cos)
    held = ray.o + ray.d * (dr.dot(material.n, material.p - ray.o) / cos)
    return _slide(x, dr.replace_grad(mi.Vector3f(0), held - material.p), material.p, material.n, near)[0]


def _slide(x: Any, slide: Any, origin: Any, normal: Any, near: Any) -> tuple[Any, Any]:
    n, m, d = mi.Vector3f(dr.detach(x.n)), mi.Vector3f(dr.detach(normal)), mi.Vector3f(dr.detach(x.p - origin))
    slide = slide - m * dr.dot(m, slide)
    slide -= (n + m) * (dr.dot(n, slide) / dr.maximum(1 + dr.dot(n, m), OPPOSITE))
    slide -= n * dr.dot(n, slide)
    ε2 = dr.square(dr.maximum(near, 1e-12))
    w = dr.exp(-dr.squared_norm(d) / ε2)
    return slide * w, dr.dot(d, slide) * (-2 / ε2 * w)


def area_of(pi: Any, ray: Any, active: Any) -> Any:
    """Area of a material element around a hit, attached, in any unit: only its relative change counts."""
    size = []
    corner = mi.PreliminaryIntersection3f(pi)
    for uv in ((0, 0), (1, 0), (0, 1)):
        corner.prim_uv = mi.Point2f(*uv)
        size.append(follow(corner, ray, active & _meshes(pi, active)).p)
    on_mesh = dr.norm(dr.cross(size[1] - size[0], size[2] - size[0]))
    si = pi.compute_surface_interaction(ray, mi.RayFlags.dPdUV | mi.RayFlags.FollowShape, active)
    elsewhere = dr.norm(dr.cross(si.dp_du, si.dp_dv))
    return dr.select(active, dr.select(_meshes(pi, active), on_mesh, elsewhere), 1)


def _meshes(pi: Any, active: Any) -> Any:
    return active & pi.shape.is_mesh()
