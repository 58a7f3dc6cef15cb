"""The horizon of a facet with interpolated normals.

Where the shading normal n_s still sees a light, the plane of the facet, with normal n, ends it: incident
radiance jumps on the great circle n·ω = 0. Seen from a receiver p that moves by ṗ, with φ along the circle,

    dL_o/dθ ⊃ ∫ f(ω_o, ω) [L(ω - εn) - L(ω + εn)] v dφ,    v = n·ṗ / r_y - ṅ·ω,

like an outline (`secondary_edges`) that turns with the facet. f is small of the order of the angle
between the normals, and zero where they are equal. Point-like lights see a facet whole or not at all:
such a flip has no derivative, and is left out.
"""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi

from ..scene.instances import all_shapes
from ..scene.shapes import interpolates_normals

MOST = 0.25  # of the samples of a receiver
SLOPE = 4  # share per angle between the normals
APART = 1e-5  # angle between the plane and each of the two rays


def has_smooth_meshes(scene: Any) -> bool:
    return any(map(interpolates_normals, all_shapes(scene)))


def steepest(scene: Any) -> Any:
    """How far a facet turns if one of its vertices moves by one unit of length: 1 / its height, of the mean facet."""
    meshes = [s for s in all_shapes(scene) if interpolates_normals(s)]
    faces, area = sum(s.face_count() for s in meshes), sum((s.surface_area() for s in meshes), mi.Float(0))
    return dr.sqrt(faces / dr.maximum(dr.detach(area), 1e-20))


def share(si: Any) -> Any:
    """Probability of looking at the receiver's own horizon instead of at an outline."""
    return dr.minimum(SLOPE * dr.norm(dr.cross(si.n, si.sh_frame.n)), MOST)


def direction(si: Any, bsdf: Any, u: Any) -> tuple[Any, Any]:
    """(ω, density over φ): proportional to the cosine to the shading normal, where the viewer is.

    Through a receiver that transmits, both halves of the circle are seen.
    """
    normal = dr.mulsign(si.sh_frame.n, dr.dot(si.sh_frame.n, si.to_world(si.wi)))
    s = dr.normalize(normal - si.n * dr.dot(si.n, normal))
    t = dr.cross(si.n, s)
    both = mi.has_flag(bsdf.flags(), mi.BSDFFlags.Transmission)
    far = both & (u > 0.5)
    u = dr.select(both, dr.select(far, 2 * u - 1, 2 * u), u)
    sin = 2 * u - 1
    cos = dr.safe_sqrt(1 - dr.square(sin))
    return dr.select(far, -s, s) * cos + t * sin, cos * dr.select(both, 0.25, 0.5)


def beside(si: Any, ω: Any, sign: Any) -> Any:
    """The ray of one side. Its origin is on that side, too."""
    return si.spawn_ray(dr.normalize(ω - si.n * (sign * APART)))
