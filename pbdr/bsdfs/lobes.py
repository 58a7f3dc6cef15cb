"""Dirac and null lobes of BSDFs, with the probability of the choices that a sample of them stands for.

A Dirac lobe has no density: its weight is value / probability. Held sampling differentiates

    w P / P₀,

with P the probability that the same random number chooses the same lobe, and P₀ its value. Where one BSDF decides alone, P is the
"density" of its sample. A ``blendbsdf`` adds the density of its other part to that, and a ``mask`` has divided by P₀ already, so
that P is put together from their parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import drjit as dr
import mitsuba as mi

from ..core.errors import UnsupportedError, warn_once
from ..core.recording import recording
from ..scene.contents import contents

LAST = 1 - 2**-20  # random number that chooses the last lobe
PERTURBING = ("NormalMap", "BumpMap")
MIXTURES = ("BlendBSDF", "MaskBSDF")
DECIDING = (
    "SmoothDielectric",
    "ThinDielectric",
    "SmoothPlastic",
)  # leaves with several lobes, of which one is a Dirac lobe


def children(thing: Any) -> dict[str, Any]:
    """The plugins that ``thing`` contains, by name."""
    return dict(contents(thing))


def contains(bsdf: Any, kinds: tuple[str, ...]) -> bool:
    """Whether a BSDF, or one in it, is of a class in ``kinds``."""
    return bsdf.class_name() in kinds or any(
        contains(part, kinds) for part in children(bsdf).values() if isinstance(part, mi.BSDF)
    )


class Lobes:
    """Questions about the lobes of the BSDFs of a scene.

    A plain class: Dr.Jit would treat a dataclass as part of the loop state. Parts are asked through pointers, one material
    after the other: `dr.dispatch` would be shorter, but in forward mode it raises beside other calls (Dr.Jit 1.5).

    Args:
        materials: BSDFs of shapes.
    """

    def __init__(self, materials: list[Any]):
        unique = self.materials = list({id(b): b for b in materials}.values())
        self.blends = [b for b in unique if _has(b, mi.BSDFFlags.Delta) and contains(b, MIXTURES)]
        self.transparent = [b for b in unique if _has(b, mi.BSDFFlags.Null)]

    @cached_property
    def perturbing(self) -> list[Any]:
        """Materials with a normal or bump map."""
        return [b for b in self.materials if contains(b, PERTURBING)]

    def sample_dirac(self, bsdf: Any, context: Any, si: Any, u1: Any, u2: Any, active: Any) -> tuple[Any, Any]:
        """A Dirac sample again, attached: ``(w P / P₀, local direction)``, Spectrum and Vector3f.

        Args:
            bsdf: BSDFPtr.
            u1, u2: random numbers of the sample.
        """
        bs, weight = bsdf.sample(context, si, u1, u2, active)
        p = bs.pdf
        for blend in self.blends:
            mine = active & (bsdf == mi.BSDFPtr(blend))
            p = dr.select(mine, _chosen(blend, context, si, mi.Float(u1), u2, mine), p)
        p = dr.select(active & (dr.detach(p) > 0), p, 1)
        return mi.Spectrum(weight * (p / dr.detach(p))), bs.wo

    def null_probability(self, bsdf: Any, context: Any, si: Any, active: Any) -> Any:
        """Float, attached: probability with which a sample of ``bsdf`` (BSDFPtr) is a null lobe."""
        p = mi.Float(0)
        for b in self.transparent:
            mine = active & (bsdf == mi.BSDFPtr(b))
            p = dr.select(mine, _null(b, context, si, mine), p)
        return p


def _has(bsdf: Any, flag: Any) -> bool:
    return mi.has_flag(bsdf.flags(), flag)


def require_separable(bsdf: Any, keys: Sequence[str] = ()) -> None:
    """Refuse a mixture whose Dirac lobes `Lobes` cannot tell apart.

    Args:
        keys: names of the parameters of ``bsdf`` that are attached, for the message.

    Raises:
        UnsupportedError: names the plugins, and how to nest them instead.
    """
    kind, parts = bsdf.class_name(), [p for p in children(bsdf).values() if isinstance(p, mi.BSDF)]
    of = f"Parameter '{keys[0]}': " if keys else ""
    if kind in PERTURBING and any(contains(p, ("BlendBSDF",)) and contains(p, DECIDING) for p in parts):
        raise UnsupportedError(
            f"{of}a blendbsdf with a smooth dielectric or plastic inside a {kind.lower()} has no derivative: put the"
            f" {kind.lower()} inside the blendbsdf instead, around each part."
        )
    if kind == "BlendBSDF" and any(contains(p, ("MaskBSDF",)) and _attached(p) for p in parts):
        raise UnsupportedError(
            f"{of}the parameters of a mask inside a blendbsdf have no right derivative, Mitsuba divides by its opacity twice: put"
            " the mask around the blendbsdf, or detach them."
        )
    for part in parts:
        require_separable(part, keys)


def warn_of_absent_lobes(bsdf: Any) -> None:
    """Say once where a share that has a derivative is exactly 0 or 1 somewhere, beside a Dirac or null lobe.

    Samples never choose the lobe that is not there, and its light is missing from the derivative.
    """
    kind, parts = bsdf.class_name(), children(bsdf)
    name = {"BlendBSDF": "weight", "MaskBSDF": "opacity"}.get(kind)
    if name is not None and _has(bsdf, mi.BSDFFlags.Delta) and not recording():
        with dr.resume_grad():
            found = [v for _, v in mi.traverse(parts[name]) if dr.is_array_v(v) and dr.grad_enabled(v)]
        if any(not bool(dr.all((v > 0) & (v < 1), axis=None)) for v in map(dr.detach, found)):
            warn_once(
                f"The {name} of a {'mask' if name == 'opacity' else 'blendbsdf'} is exactly 0 or 1 (or beyond) somewhere: no sample"
                " meets the part that is not there, and what that would show is missing from the derivative. Keep it in"
                " [0.001, 0.999]."
            )
    for part in parts.values():
        if isinstance(part, mi.BSDF):
            warn_of_absent_lobes(part)


def _attached(bsdf: Any) -> bool:
    with dr.resume_grad():
        return any(dr.grad_enabled(value) for _, value in mi.traverse(bsdf))


def _chosen(bsdf: Any, context: Any, si: Any, u1: Any, u2: Any, active: Any) -> Any:
    """P of the lobe that ``u1`` chooses."""
    kind, parts = bsdf.class_name(), children(bsdf)
    if kind == "BlendBSDF":
        w, held = _share(parts["weight"], si, active)
        second = u1 <= held
        a = _chosen(parts["bsdf_0"], context, si, (u1 - held) / (1 - held), u2, active & ~second)
        b = _chosen(parts["bsdf_1"], context, si, u1 / held, u2, active & second)
        return dr.select(second, w * b, (1 - w) * a)
    if kind == "MaskBSDF":
        _, held = _share(parts["opacity"], si, active)  # its own weight is attached, and divided by a held probability
        inside = active & (u1 < held)
        return dr.select(inside, _chosen(parts["nested_bsdf"], context, si, u1 / held, u2, inside), 1)
    if kind == "TwoSidedBRDF":
        return _of_side(parts, si, lambda part, si, on: _chosen(part, context, si, u1, u2, on), active)
    if kind in PERTURBING:
        (nested,) = (p for p in parts.values() if isinstance(p, mi.BSDF))
        if contains(nested, ("BlendBSDF",)):  # without the parts that `require_separable` refuses
            return _chosen(nested, context, si, u1, u2, active)
    return mi.BSDFPtr(bsdf).sample(context, si, u1, u2, active)[0].pdf


def _null(bsdf: Any, context: Any, si: Any, active: Any) -> Any:
    """Probability of a null lobe."""
    kind, parts = bsdf.class_name(), children(bsdf)
    if not _has(bsdf, mi.BSDFFlags.Null):
        return mi.Float(0)
    if kind == "Null":
        return mi.Float(1)
    if kind == "MaskBSDF":
        w, _ = _share(parts["opacity"], si, active)
        return 1 - w * (1 - _null(parts["nested_bsdf"], context, si, active))
    if kind == "BlendBSDF":
        w, _ = _share(parts["weight"], si, active)
        a, b = (_null(parts[k], context, si, active) for k in ("bsdf_0", "bsdf_1"))
        return (1 - w) * a + w * b
    if kind == "TwoSidedBRDF":
        return _of_side(parts, si, lambda part, si, on: _null(part, context, si, on), active)
    bs, _ = mi.BSDFPtr(bsdf).sample(context, si, mi.Float(LAST), mi.Point2f(0.5), active)
    return dr.select(mi.has_flag(bs.sampled_type, mi.BSDFFlags.Null), bs.pdf, 0)


def _share(texture: Any, si: Any, active: Any) -> tuple[Any, Any]:
    """(value in [0, 1], attached; the same, held)."""
    # Not through a pointer: that asks all textures alive, of which some refuse in spectral variants.
    w = dr.clip(texture.eval_1(si, active), 0, 1)
    return w, dr.detach(w)


def _of_side(parts: dict[str, Any], si: Any, ask: Any, active: Any) -> Any:
    """What ``ask(part, si, active)`` says of the part that a ``twosided`` shows."""
    front = mi.Frame3f.cos_theta(si.wi) > 0
    turned = mi.SurfaceInteraction3f(si)
    turned.wi = mi.Vector3f(si.wi.x, si.wi.y, -si.wi.z)
    back = parts.get("brdf_1", parts["brdf_0"])
    return dr.select(front, ask(parts["brdf_0"], si, active & front), ask(back, turned, active & ~front))
