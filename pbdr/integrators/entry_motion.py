"""How a point where light entered a translucent object moves with its shape.

The integral over the object's surface is taken in material form: x_i follows the surface, and the area
around it changes. But the point x_o where light leaves is held on a ray, and slides over the surface by
s = ẋ_o - (motion of the material at x_o). As R ~ 1/r, a motion of x_o against its neighbourhood would have a
derivative ~ 1/r², of infinite variance. So points near x_o slide along,

    ẋ_i = (material) + w(r) Q s,    w = exp(-r²/ε²),    Q: the rotation of the normal at x_o to that at x_i,

and the area grows by w' r̂·Q s, too. Over the edge between two faces Q s goes on without a jump of what it carries
across. (∇·Q s, a curvature times s, is left out: ε is a small part of the mean free path. After a
walk the slide is shared as `face_slide` says.)
"""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi

from ..scene.shapes import follow
from .face_slide import FaceSlide

WALKED = -1.0  # in place of ε
OPPOSITE = 0.05  # least 1 + n_o·n_i: there is no one way to turn a normal around


def entry_point(x: Any, held: Any, material: Any, near: Any, around: FaceSlide | None = None) -> tuple[Any, Any]:
    """(x_i, what its slide adds to the area around it), attached.

    Args:
        x: SurfaceInteraction3f of x_i, attached by `follow`.
        held, material: of x_o, attached without (it stays on its ray) and by `follow`.
        near: Vector2f, (ε, share of the slide that x_o keeps, see `sliding_film`); (WALKED, share) after a walk.
        around: x_o, where scenes have walks.
    """
    slide, grown = _slide(x, held.p - material.p, held.p, material.n, near, around)
    return x.p + slide, grown


def entry_slide(x: Any, material: Any, ray: Any, near: Any, around: FaceSlide | None = None) -> Any:
    """The slide of x_i alone (its value is 0), from the material point x_o, attached, and the ray that it stays on."""
    cos = dr.dot(material.n, ray.d)
    cos = dr.select(dr.abs(cos) < 1e-3, dr.mulsign(mi.Float(1e-3), cos), cos)
    held = ray.o + ray.d * (dr.dot(material.n, material.p - ray.o) / cos)
    return _slide(x, dr.replace_grad(mi.Vector3f(0), held - material.p), material.p, material.n, near, around)[0]


def _slide(x: Any, slide: Any, origin: Any, normal: Any, near: Any, around: FaceSlide | None) -> tuple[Any, Any]:
    """(w Q s, w' r̂·Q s) at ``x`` for the slide s at ``origin``; after a walk as `face_slide` says."""
    slide, walked = slide * near.y, None
    if around is not None:
        on = near.x < 0
        walked = around.at(x, mi.Vector3f(dr.detach(x.p)), mi.Vector3f(dr.detach(x.n)), on).of(slide)
    n, m, d = mi.Vector3f(dr.detach(x.n)), mi.Vector3f(dr.detach(normal)), mi.Vector3f(dr.detach(x.p - origin))
    slide = slide - m * dr.dot(m, slide)
    slide -= (n + m) * (dr.dot(n, slide) / dr.maximum(1 + dr.dot(n, m), OPPOSITE))
    slide -= n * dr.dot(n, slide)
    ε2 = dr.square(dr.maximum(near.x, 1e-12))
    w = dr.exp(-dr.squared_norm(d) / ε2)
    slide, grown = slide * w, dr.dot(d, slide) * (-2 / ε2 * w)
    if walked is None:
        return slide, grown
    return dr.select(on, walked[0], slide), dr.select(on, walked[1], grown)


def area_of(pi: Any, ray: Any, active: Any) -> Any:
    """Area of a material element around a hit, attached, in any unit: only its relative change counts."""
    return dr.select(active, dr.norm(dr.cross(*spans_of(pi, ray, active))), 1)


def spans_of(pi: Any, ray: Any, active: Any) -> tuple[Any, Any]:
    """Two vectors of the material in the surface at a hit, attached: edges of a triangle, or ∂p/∂u and ∂p/∂v."""
    on_mesh, size = active & pi.shape.is_mesh(), []
    corner = mi.PreliminaryIntersection3f(pi)
    for uv in ((0, 0), (1, 0), (0, 1)):
        corner.prim_uv = mi.Point2f(*uv)
        size.append(follow(corner, ray, on_mesh).p)
    si = pi.compute_surface_interaction(ray, mi.RayFlags.dPdUV | mi.RayFlags.FollowShape, active)
    pairs = (size[1] - size[0], si.dp_du), (size[2] - size[0], si.dp_dv)
    return tuple(dr.select(on_mesh, mi.Vector3f(x), mi.Vector3f(y)) for x, y in pairs)
