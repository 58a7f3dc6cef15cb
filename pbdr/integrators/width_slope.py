"""What an image gains where translucent matter gets wider: light from the outer lobe instead of from the inner one.

The derivative of the width d of a profile, ∂/∂d ∫ R L dA, by one entry point from each lobe of ∂R/∂d
(`bssrdfs.width_lobes`) and one path from each, with the same random numbers. Path replay alone would weight what the
one point of the replayed path sees by ∂ log R, whose sign changes at x₀ even where the light is even.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import drjit as dr
import mitsuba as mi

from ..bssrdfs.probe import sample_entry
from ..bssrdfs.width_lobes import WidthLobe
from ..sampling.paired import continued


@dr.syntax
def width_slope(step: Any, scene: Any, si: Any, bsdf: Any, us: tuple, radiance: Callable, active: Any) -> Any:
    """∫ ∂R/∂d L dA, a Spectrum; 0 where the profile at ``si`` is another one. Detached.

    Args:
        step: `SubsurfaceStep`.
        us: uniform numbers of the vertex (Float, Point2f, Float).
        radiance: (rng, ray, hit, active) → (what leaves an entry point, a Spectrum; …).
    """
    with dr.suspend_grad():
        total = mi.Spectrum(0)
        k = mi.UInt32(0)
        while dr.hint(k < 2, max_iterations=2, label="pbdr width lobes"):
            outer = k == 1
            rng = continued(us[2], us[1], us[0])  # both lobes the same; another order than that of a walk
            for profile, mask in step.normalized(si, bsdf, active):
                lobe = WidthLobe(profile, outer)
                e = sample_entry(scene, si, lobe, rng.next_1d(), rng.next_2d(), rng.next_1d(), mask)
                found = mask & e.found
                L = radiance(rng, e.ray, e.pi, found)[0]
                total += dr.select(found, e.weight * L * dr.select(outer, mi.Float(1), -1), 0)
            k += 1
        return total
