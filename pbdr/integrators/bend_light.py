"""The light that one side of a bend sees and the other does not: a sampling technique for its two paths.

At an edge where two faces of a mesh meet at the angle β, and both are seen, incident light differs between the sides where one
plane hides it alone: two lunes of directions around the edge, of 2β steradians each. With flat normals the cosine differs
everywhere. Emitters and BSDFs rarely send a sample into narrow lunes; those that do weigh much. The first vertex of either
path therefore draws its direction from a mixture, with the same numbers and the same direction in the world on both sides:

    p(ω) = q_f p_f(ω) + q_c ⟨h·ω⟩ / π + q_l [ω in a lune] / 4β,

with p_f the density of the BSDF's own samples and h the mean normal of the faces. It takes part in multiple importance
sampling with the emitters' samples :cite:`veach1995optimally` like the BSDF's density elsewhere, so nothing changes but the variance.
"""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi

# q_f, q_c, q_l with interpolated normals, whose cosines are those of one normal, and with flat ones.
DIFFUSE = (0.5, 0.0, 0.5), (0.1, 0.7, 0.2)  # flat: the BSDF's own samples are turned by β between the sides
GLOSSY = (0.8, 0.0, 0.2), (0.75, 0.1, 0.15)  # nothing else finds its lobes
DIRAC = (0.95, 0.0, 0.05), (0.95, 0.025, 0.025)


class BendLight:
    """Directions at bends, for the first vertex of `path.trace`.

    A plain class on purpose: Dr.Jit would treat a dataclass as part of the loop state.

    Args:
        edge: the samples (`EdgeSample`); lanes at contours and at curved outlines keep the BSDF's own samples.
        to: Vector3f, from where it is seen to the edge.
        active: Bool.
    """

    def __init__(self, edge: Any, to: Any, active: Any = True):
        t = dr.normalize(edge.tangent)
        a, b = (dr.normalize(to - t * dr.dot(to, t)) for to in edge.onto)
        self.t, self.a, self.b = t, a, b
        na, nb = dr.cross(t, a), -dr.cross(t, b)  # on one side of the surface
        cos = dr.clip(dr.dot(na, nb), -1, 1)
        self.angle = dr.atan2(dr.norm(dr.cross(na, nb)), cos)
        h = dr.normalize(na + nb)
        self.na, self.nb = na, nb
        self.h = dr.mulsign(h, -dr.dot(h, to))
        self.on = mi.Bool(active) & ~mi.Bool(edge.contour) & ~mi.Bool(edge.curved) & (self.angle > 0) & (cos > -1)
        self.normal = edge.normal
        self.flat = mi.Bool(edge.flat)

    @classmethod
    def of(cls, edge: Any, to: Any, active: Any = True) -> BendLight | None:
        """``None`` where there are no meshes."""
        return cls(edge, to, active) if edge.faces else None

    def _shares(self, bsdf: Any) -> tuple[Any, ...]:
        """q_f, q_c, q_l."""
        flags = bsdf.flags()
        glossy, dirac = mi.has_flag(flags, mi.BSDFFlags.Glossy), mi.has_flag(flags, mi.BSDFFlags.Delta)
        shares = []
        for k in range(3):
            smooth, flat = (
                dr.select(dirac, DIRAC[n][k], dr.select(glossy, GLOSSY[n][k], mi.Float(DIFFUSE[n][k]))) for n in (0, 1)
            )
            shares.append(dr.select(self.flat, flat, smooth))
        return tuple(shares)

    def _mixed(self, bsdf: Any, first: Any) -> Any:
        """Not through null lobes: whether one is drawn decides over alpha."""
        return self.on & first & ~mi.has_flag(bsdf.flags(), mi.BSDFFlags.Null)

    def density(self, ω: Any, pdf: Any, bsdf: Any, first: Any) -> Any:
        """The mixture's density, with ``pdf`` that of the BSDF; ``first``: Bool, at the first vertex."""
        q_f, q_c, q_l = self._shares(bsdf)
        inside = dr.dot(self.na, ω) * dr.dot(self.nb, ω) < 0
        lune = dr.select(inside, dr.rcp(4 * self.angle), 0)
        mixed = q_f * pdf + q_c * dr.maximum(dr.dot(self.h, ω), 0) * dr.inv_pi + q_l * lune
        return dr.select(self._mixed(bsdf, first), mixed, pdf)

    def turn(self, si: Any, bsdf: Any, perturbing: list[Any], first: Any) -> None:
        """Give both sides the shading normal of the edge itself, and tangents along it where these do not matter.

        Samples of the BSDF then go in directions that differ as little as the faces do. Anisotropic materials and
        ``perturbing`` ones (of normal and bump maps) look at the tangents.
        """
        own, wi = si.sh_frame, si.to_world(si.wi)
        n = dr.select(dr.squared_norm(self.normal) > 0, dr.mulsign(self.normal, dr.dot(self.normal, own.n)), own.n)
        tangents = mi.has_flag(bsdf.flags(), mi.BSDFFlags.Anisotropic)
        for material in perturbing:
            tangents |= bsdf == mi.BSDFPtr(material)
        s = dr.select(tangents, own.s, self.t)
        s -= n * dr.dot(n, s)
        turned = self.on & first & (dr.squared_norm(s) > 1e-6)
        s = dr.normalize(s)
        si.sh_frame.n = mi.Normal3f(dr.select(turned, n, own.n))
        si.sh_frame.s = dr.select(turned, s, own.s)
        si.sh_frame.t = dr.select(turned, dr.cross(n, s), own.t)
        si.wi = dr.select(turned, si.to_local(wi), si.wi)

    def _direction(self, common: Any, u: Any) -> Any:
        """Around the mean normal (``common``), or in one of the lunes; ``u``: Point2f."""
        near = dr.select(u.x < 0.5, mi.Float(1), mi.Float(-1))  # from b to -a, or from a to -b
        φ = dr.abs(2 * u.x - 1) * self.angle
        start = dr.select(near > 0, self.b, self.a)
        other = dr.select(near > 0, self.a, self.b)
        # Orthogonal to the start, on the side of the lune's other end.
        side = -(other - start * dr.dot(other, start))
        side = side * dr.rcp(dr.maximum(dr.norm(side), 1e-20))
        z = 2 * u.y - 1
        sin, cos = dr.sincos(φ)
        lune = (start * cos + side * sin) * dr.safe_sqrt(1 - dr.square(z)) + self.t * z
        return dr.select(common, mi.Frame3f(self.h).to_world(mi.warp.square_to_cosine_hemisphere(u)), lune)

    def choose(
        self, context: Any, si: Any, bsdf: Any, bs: Any, weight: Any, sampler: Any, first: Any, early: Any = None
    ) -> tuple[Any, Any]:
        """``(bs, weight)`` of the mixture, given those of the BSDF."""
        u, v = sampler.next_1d(), sampler.next_2d()
        if early is not None:
            u, v = early.one(5, u, first), early.pair(6, v, first)
        q_f, q_c, _ = self._shares(bsdf)
        mixed = self._mixed(bsdf, first)
        drawn = mixed & (u >= q_f)
        ω = self._direction(u < q_f + q_c, v)
        wo = si.to_local(ω)
        f, pdf = bsdf.eval_pdf(context, si, wo, drawn)
        delta = ~drawn & mi.has_flag(bs.sampled_type, mi.BSDFFlags.Delta)
        pdf = dr.select(drawn, pdf, bs.pdf)
        total = self.density(dr.select(drawn, ω, si.to_world(bs.wo)), pdf, bsdf, first)
        total = dr.select(delta, dr.select(mixed, q_f * pdf, pdf), total)
        scale = dr.select(total > 0, dr.rcp(total), 0)
        value = dr.select(drawn, f * scale, weight * (pdf * scale))
        bs.wo = dr.select(drawn, wo, bs.wo)
        bs.eta = dr.select(drawn, 1, bs.eta)
        bs.sampled_type = dr.select(drawn, mi.UInt32(+mi.BSDFFlags.DiffuseReflection), bs.sampled_type)
        bs.pdf = dr.select(mixed, total, bs.pdf)
        return bs, dr.select(mixed, value, weight)
