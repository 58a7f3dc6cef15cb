"""Situations of participating media and phase functions: a cube of smoke.

pbdr's integrators have no volumes. The rows tell what somebody gets who asks for one all the same; the finite differences
are those of `volpath`.
"""

from __future__ import annotations

from typing import Any

import mitsuba as mi
import numpy as np

from .situations import T, add, rgb, stage

MEDIUM = "thing.interior_medium.*"


def smoke(name: str, kind: str, medium: Any, plugins: str = "", own: str = MEDIUM, **more: Any) -> None:
    def build() -> dict:
        place = T().rotate([0.4364, 0.8729, 0.2182], 35).scale(0.6)
        return stage(
            thing={"type": "cube", "to_world": place, "bsdf": {"type": "null"}, "interior": {"type": "ref", "id": "m"}},
            m=medium(),
        )

    def ordered() -> dict:
        scene = build()
        return {"type": scene.pop("type"), "m": scene.pop("m"), **scene}

    add(name, kind, plugins or name.split()[0], ordered, own, reference="volpath", max_depth=4, **more)


def _homogeneous(**more: Any) -> dict:
    return {"type": "homogeneous", "sigma_t": 1.5, "albedo": rgb(0.8, 0.6, 0.4), **more}


def _heterogeneous() -> dict:
    density = np.random.default_rng(1).uniform(0.2, 1, (4, 4, 4, 1)).astype(np.float32)
    place = T().translate([-1, -1, -1]).scale(2)
    return {"type": "heterogeneous", "sigma_t": {"type": "gridvolume", "grid": mi.VolumeGrid(density), "to_world": place},
            "albedo": {"type": "constvolume", "value": rgb(0.8, 0.6, 0.4)}, "scale": 1.5}  # fmt: skip


def register() -> None:
    own = f"{MEDIUM} m.*"
    smoke("homogeneous", "Medium", _homogeneous, own=own, core=True)
    smoke("heterogeneous", "Medium", _heterogeneous, own=own)
    phases = {
        "isotropic": {"type": "isotropic"},
        "hg": {"type": "hg", "g": 0.4},
        "rayleigh": {"type": "rayleigh"},
        "blendphase": {"type": "blendphase", "weight": 0.4, "a": {"type": "isotropic"}, "b": {"type": "hg", "g": 0.5}},
        "tabphase": {"type": "tabphase", "values": "0.4, 0.5, 0.7, 1.1, 1.6"},
    }
    for name, phase in phases.items():
        smoke(name, "PhaseFunction", lambda p=phase: _homogeneous(phase=p), own="*phase_function.*")
    smoke("sggx", "PhaseFunction", lambda: _homogeneous(phase=_flakes()), own="*phase_function.*")


def _flakes() -> dict:
    """A matrix of six numbers at each point, (xx, yy, zz, xy, xz, yz)."""
    s = np.tile(np.array([0.3, 0.6, 0.9, 0.05, 0.02, 0.04], np.float32), (2, 2, 2, 1))
    return {"type": "sggx", "S": {"type": "gridvolume", "grid": mi.VolumeGrid(s), "raw": True}}
