"""What lies on a ray, with and without area lights."""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi


def blocks(scene: Any, ray: Any, active: Any) -> Any:
    """Whether something lies on ``ray``."""
    return scene.ray_test(ray, coherent=False, active=active)


@dr.syntax
def first_opaque(scene: Any, ray: Any, active: Any) -> Any:
    """First hit of ``ray`` (unit direction) that is no area light.

    Its distance counts from the origin of ``ray``; `skip_area_emitters` of Mitsuba 3.9.1 counts it from the last light, which
    displaces analytic shapes.
    """
    hit = scene.ray_intersect_preliminary(ray, coherent=True, reorder=False, active=active)
    lit = active & hit.is_valid() & (hit.shape.emitter() != None)  # noqa: E711 (traced)
    while lit:
        si = hit.compute_surface_interaction(ray, mi.RayFlags.Minimal, lit)
        # As far as Mitsuba spawns rays, but on the line: beside an outline, a step aside would see the wrong side of it.
        skipped = hit.t + dr.dot(si.spawn_ray(ray.d).o - si.p, si.n) / dr.dot(ray.d, si.n)
        beyond = mi.Ray3f(ray)
        beyond.o = ray(skipped)
        further = scene.ray_intersect_preliminary(beyond, coherent=True, reorder=False, active=lit)
        further.t += skipped
        hit[lit] = further
        lit &= hit.is_valid() & (hit.shape.emitter() != None)  # noqa: E711 (traced)
    return hit
