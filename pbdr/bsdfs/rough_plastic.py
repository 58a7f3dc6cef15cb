"""What Mitsuba's ``roughplastic`` leaves out of its derivatives with respect to ``alpha`` and ``eta``.

Light that is reflected diffusely has passed the rough boundary twice:

    f_d = ρ / (1 - ρⁿ R) · T(cos θ_i) T(cos θ_o) cos θ_o / (π η²),      n = 1 if ``nonlinear``, else 0.

T(μ) is the share of light that the boundary lets in, R the share of diffuse light that it throws back inside. Mitsuba 3.9.1
makes both (T at 64 cosines, interpolated between these) when ``alpha`` or ``eta`` is set, as plain numbers. All else it attaches.
Here both are made again, by the same quadrature over visible normals m,

    T(μ) = E_m[(1 - F(ω·m, η)) G₁(ω_t, m)],      R = 2 / 64 Σ_μ μ E_m[F(ω·m, 1/η) G₁(ω_r, m)],

with ω at the cosine μ, refracted to ω_t or reflected to ω_r. Source: Mitsuba's plugin.

From outside (where η > 1) nothing is totally reflected, and T is differentiated as it stands. Elsewhere F has an infinite slope at the
critical angle, which no quadrature gets right. There normals are held with respect to α and their density D moves: E_m[X] is
∫ X D dm / ∫ D dm up to a factor that α leaves alone, and X is smooth in α. With respect to η, F itself has that slope: differences of
the integral are taken, over a step that is long against what a node at that angle is worth; they are ten times closer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import drjit as dr
import mitsuba as mi

from ..core.errors import UnsupportedError
from .lobes import children
from .names import COAT, REASON, REMEDY

COSINES = 64  # entries of Mitsuba's table
SMOOTH, KINKED = 32, 128  # nodes per axis where Fresnel's term is smooth (as in Mitsuba), and where it has a kink
INSIDE = 64  # nodes per axis of R: a mean over all cosines, of which each kink is a small part


class RoughPlastics:
    """The rough plastics of a scene whose roughness or index of refraction is attached to the AD graph.

    A plain class: Dr.Jit would treat a dataclass as part of the loop state. `prepare` belongs before a loop, `missing` into it.
    """

    def __init__(self, places: list[tuple[Any, _Coat, bool, bool]]):
        self.places = places
        self.coats = list({id(coat): coat for _, coat, _, _ in places}.values())

    @classmethod
    def of(cls, materials: list[Any]) -> RoughPlastics | None:
        """Of the BSDFs of shapes; ``None`` if there is nothing to add. See `require_reached`."""
        coats: dict[int, Any] = {}
        places = []
        for material in _coated(materials):
            for plastic, front, back in _sides(material):
                if id(plastic) not in coats:
                    coats[id(plastic)] = _Coat(plastic)
                coat = coats[id(plastic)]
                if coat.attached:
                    places.append((material, coat, front, back))
        return cls(places) if places else None

    def prepare(self) -> None:
        """Make the tables, on the device: some milliseconds for each material."""
        for coat in self.coats:
            coat.prepare()

    def missing(self, bsdf: Any, si: Any, wo: Any, active: Any) -> Any:
        """Spectrum: 0, with the derivative that ``bsdf.eval(context, si, wo)`` lacks.

        Args:
            bsdf: BSDFPtr.
            si, wo: where and to where it is evaluated, in local coordinates.
        """
        total = mi.Spectrum(0)
        for material, coat, front, back in self.places:
            # A twosided turns both directions.
            side = dr.sign(si.wi.z) if front and back else mi.Float(1 if front else -1)
            cos_i, cos_o = dr.detach(si.wi.z * side), dr.detach(wo.z * side)
            mine = active & (bsdf == mi.BSDFPtr(material)) & (cos_i > 0) & (cos_o > 0)
            total += coat.missing(si, cos_i, cos_o, mine)
        return total


class _Coat:
    """T, R and their derivatives of one plastic."""

    def __init__(self, plastic: Any):
        self.plastic = plastic  # alive: its id is its name in `RoughPlastics.of`
        with dr.resume_grad():
            params = mi.traverse(plastic)
            self.values = [mi.Float(params[name]) for name in COAT]
            self.attached = [k for k, v in enumerate(self.values) if dr.grad_enabled(v)]
        if self.attached:
            self.texture = children(plastic)["diffuse_reflectance"]
            # Mitsuba tells these by words alone. They do not change, so a recording of `dr.freeze` need not know of the question.
            with dr.scoped_set_flag(dr.JitFlag.FreezingScope, False):
                said = dict(re.findall(r"^  (\w+) = (.*?),?$", str(plastic), re.MULTILINE))
            self.nonlinear = said["nonlinear"] in ("1", "true")
            self.denser = float(said["eta"].strip("[]")) > 1
            beckmann = said["distribution"] == "beckmann"
            self.kind = mi.MicrofacetType.Beckmann if beckmann else mi.MicrofacetType.GGX

    def prepare(self) -> None:
        held = [dr.detach(v) for v in self.values]
        nodes = SMOOTH if self.denser else KINKED
        T = [transmittance(self.kind, *held, nodes), mi.Float(0), mi.Float(0)]
        R = [internal_reflectance(self.kind, *held, INSIDE), mi.Float(0), mi.Float(0)]
        for k in self.attached:
            along = _difference if k == 1 else _slope
            inside = INSIDE if k == 1 else KINKED
            R[1 + k] = along(lambda *x, n=inside: internal_reflectance(self.kind, *x, n), held, k)
            along = _slope if self.denser else along
            T[1 + k] = along(lambda *x: transmittance(self.kind, *x, nodes, self.denser), held, k)
        self.T, self.R = dr.ravel(mi.Vector3f(T)), mi.Vector3f(R)
        dr.eval(self.T, self.R)

    def missing(self, si: Any, cos_i: Any, cos_o: Any, active: Any) -> Any:
        with dr.suspend_grad():
            rho = mi.TexturePtr(self.texture).eval(si, active)
            again = dr.rcp(1 - (rho if self.nonlinear else 1) * self.R.x)
            factor = rho * again * (dr.inv_pi * cos_o * dr.rcp(dr.square(dr.detach(self.values[1]))))
            a, b = self._at(cos_i, active), self._at(cos_o, active)
            slopes = []
            for k in self.attached:
                inside = again * (rho if self.nonlinear else 1) * self.R[1 + k]
                slopes.append(factor * (a[1 + k] * b.x + a.x * b[1 + k] + a.x * b.x * inside))
        zero = mi.Spectrum(0)
        for k, slope in zip(self.attached, slopes, strict=True):
            value = dr.gather(mi.Float, self.values[k], mi.UInt32(0), active)
            zero += dr.replace_grad(mi.Spectrum(0), mi.Spectrum(dr.select(active, slope, 0)) * value)
        return zero

    def _at(self, cosine: Any, active: Any) -> Any:
        """(T, ∂T/∂α, ∂T/∂η) at a cosine, interpolated as Mitsuba does."""
        x = cosine * (COSINES - 1)
        index = dr.minimum(mi.UInt32(x), COSINES - 2)
        low, high = (dr.gather(mi.Vector3f, self.T, index + k, active) for k in range(2))
        return dr.lerp(low, high, x - index)


def transmittance(kind: Any, alpha: Any, eta: Any, nodes: int, follows: bool = True) -> Any:
    """Float of width 64: T at the cosines k / 63 (the first is 10⁻⁶).

    Args:
        kind: mi.MicrofacetType.
        alpha, eta: Float of width 1, roughness and relative index of refraction.
        nodes: Gauss-Legendre nodes along each axis of the unit square.
        follows: derivatives move normals with ``alpha``; else they are held, and their density moves.
    """
    wi, m, mean, distribution = _normals(kind, alpha, nodes, follows)
    F, cos_t, _, eta_ti = mi.fresnel(dr.dot(wi, m), eta)
    wo = mi.refract(wi, m, cos_t, eta_ti)
    return mean(dr.select(wo.z < 0, distribution.smith_g1(wo, m) * (1 - F), 0))


def internal_reflectance(kind: Any, alpha: Any, eta: Any, nodes: int) -> Any:
    """Float of width 1: R, see `transmittance`."""
    wi, m, mean, distribution = _normals(kind, alpha, nodes, follows=False)
    wo = mi.reflect(wi, m)
    F = mi.fresnel(dr.dot(wi, m), dr.rcp(eta))[0]
    thrown = mean(dr.select(wo.z > 0, distribution.smith_g1(wo, m) * F, 0))
    return dr.sum(thrown * _cosines(dr.arange(mi.UInt32, COSINES))) * (2 / COSINES)


def _cosines(k: Any) -> Any:
    return dr.maximum(mi.Float(k) / (COSINES - 1), 1e-6)


def _normals(kind: Any, alpha: Any, nodes: int, follows: bool) -> tuple[Any, Any, Any, Any]:
    """(directions, visible normals m there, function that returns E_m of its argument at each cosine, distribution)."""
    x, w = gauss_legendre(nodes)
    lane = dr.arange(mi.UInt32, COSINES * nodes * nodes)
    i, j = lane % nodes, (lane // nodes) % nodes
    mu = _cosines(lane // (nodes * nodes))
    wi = mi.Vector3f(dr.sqrt(1 - mu * mu), 0, mu)
    distribution = mi.MicrofacetDistribution(kind, alpha, True)
    m, _ = mi.MicrofacetDistribution(kind, alpha if follows else dr.detach(alpha), True).sample(
        wi, mi.Point2f(dr.gather(mi.Float, x, i), dr.gather(mi.Float, x, j))
    )
    weight = dr.gather(mi.Float, w, i) * dr.gather(mi.Float, w, j)
    if not follows:
        D = distribution.eval(m)
        weight *= dr.relative_grad(dr.select(D > 0, D, 1))

    def mean(value: Any) -> Any:
        return dr.block_sum(weight * value, nodes * nodes) / dr.block_sum(weight, nodes * nodes)

    return wi, m, mean, distribution


@dr.syntax
def gauss_legendre(count: int):
    """Nodes and weights of the Gauss-Legendre rule on (0, 1): Float of width ``count`` each.

    Newton's method on the Legendre polynomial, on the device: arrays from host memory cannot be part of a frozen step.
    """
    k = dr.arange(mi.UInt32, count)
    x = dr.cos(dr.pi * (mi.Float64(k) + 0.75) / (count + 0.5))
    slope = mi.Float64(1)
    step = mi.UInt32(0)
    while step < 4:
        p, before = mi.Float64(x), mi.Float64(1)
        n = mi.UInt32(2)
        while n <= count:
            order = mi.Float64(n)
            p, before = ((2 * order - 1) * x * p - (order - 1) * before) / order, mi.Float64(p)
            n += 1
        slope = count * (x * p - before) / (x * x - 1)
        x -= p / slope
        step += 1
    # The slope is of one step before, when x was as good as exact.
    weight = 1 / ((1 - x * x) * slope * slope)
    return mi.Float(0.5 * (x + 1)), mi.Float(weight)


def _slope(f: Any, at: list[Any], k: int) -> Any:
    """∂f/∂x_k, exactly."""
    with dr.resume_grad():
        x = [mi.Float(v) for v in at]
        dr.enable_grad(x[k])
        dr.set_grad(x[k], 1)
        return dr.forward_to(f(*x))


def _difference(f: Any, at: list[Any], k: int) -> Any:
    """∂f/∂x_k by a central difference, good to 0.3 % for R."""
    h = 0.05 * dr.abs(at[1] - 1)
    with dr.suspend_grad():
        high, low = (f(*(v + s * h if j == k else v for j, v in enumerate(at))) for s in (1, -1))
        return (high - low) / (2 * h)


def require_reached(materials: list[Any]) -> None:
    """Refuse attached rough plastics to which nothing can be added: those nested in anything but a ``twosided``.

    A plastic may have several parents, of which `mi.traverse` names one: all materials are looked through.

    Raises:
        UnsupportedError: names plugin, parameter, reason and remedy.
    """
    for material in _coated(materials):
        reached = [plastic for plastic, _, _ in _sides(material)]
        for part in _nested(material):
            if part.class_name() == "RoughPlastic" and not any(part is plastic for plastic in reached):
                coat = _Coat(part)
                if coat.attached:
                    name = COAT[coat.attached[0]]
                    raise UnsupportedError(
                        f"Parameter '{name}' of RoughPlastic '{part.id()}': it has no right derivative, {REASON}. {REMEDY}."
                    )


def _coated(materials: list[Any]) -> list[Any]:
    """The materials, each once, that may be a rough plastic or have one in them."""
    lobes = mi.BSDFFlags.GlossyReflection, mi.BSDFFlags.DiffuseReflection
    unique = {id(b): b for b in materials}.values()
    return [b for b in unique if all(mi.has_flag(b.flags(), lobe) for lobe in lobes)]


def _sides(material: Any) -> list[tuple[Any, bool, bool]]:
    """The rough plastics that a material shows by itself: (plastic, on the front, on the back)."""
    if material.class_name() == "TwoSidedBRDF":
        parts = children(material)
        front, back = parts["brdf_0"], parts.get("brdf_1", parts["brdf_0"])
        shown = [(front, True, True)] if front is back else [(front, True, False), (back, False, True)]
    else:
        shown = [(material, True, False)]
    return [row for row in shown if row[0].class_name() == "RoughPlastic"]


def _nested(bsdf: Any) -> Iterator[Any]:
    """A BSDF and all in it."""
    yield bsdf
    for part in children(bsdf).values():
        if isinstance(part, mi.BSDF):
            yield from _nested(part)
