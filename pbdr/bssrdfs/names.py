"""What the material and the integrators know one another by. No class of Mitsuba is bound here."""

from __future__ import annotations

from typing import Any

import mitsuba as mi

from .dipole import BetterDipole, Dipole
from .normalized_diffusion import NormalizedDiffusion
from .photon_beam import PhotonBeamDiffusion
from .random_walk import RandomWalk

PROFILES = {
    "normalized_diffusion": NormalizedDiffusion,
    "dipole": Dipole,
    "better_dipole": BetterDipole,
    "photon_beam_diffusion": PhotonBeamDiffusion,
    "random_walk": RandomWalk,
}
MARK = "subsurface"  # the attribute by which a pointer to a BSDF tells that it is translucent


def transport_flag() -> Any:
    """The bit in a context's mask that asks for the boundary alone. No other BSDF asks for it."""
    return mi.BSDFFlags.NonSymmetric
