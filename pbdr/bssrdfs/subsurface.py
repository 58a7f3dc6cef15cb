"""`subsurface`: a translucent material under a rough dielectric boundary.

A separable BSSRDF :cite:`jensen2001practical`

    S(x_o, ω_o, x_i, ω_i) = (1 - F(ω_o)) R(|x_o - x_i|) S_w(ω_i),   S_w = (1 - F(ω_i)) / (π - 2π C₁(1/η))

beside the reflection of a microfacet boundary. This module holds what belongs to one point: the
parameters, the boundary, and the *local* form of the material, its limit for a mean free path of 0,
in which R is a Dirac function of mass A. Integrators without transport through the object see that.
"""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi

from ..core.errors import InputError, UnsupportedError, near_matches, warn_once
from .dipole import BetterDipole
from .fresnel import first_moment
from .medium import Medium, from_albedo
from .names import MARK, PROFILES, transport_flag
from .normalized_diffusion import NormalizedDiffusion
from .photon_beam import BeamTable, PhotonBeamDiffusion
from .random_walk import RandomWalk
from .semi_infinite import ReflectanceTable

SMOOTH = 1e-3  # least roughness of a rough boundary; a constant alpha of 0 is a smooth one
TABULATED = {"photon_beam_diffusion": ("g", "eta"), "random_walk": ("eta",)}  # what tables are made for
BY_ALBEDO, BY_COEFFICIENT = ("albedo", "radius"), ("sigma_a", "sigma_s")


class Subsurface(mi.BSDF):
    """Translucent material.

    Args (plugin parameters; colours and floats may be textures or mesh attributes):
        profile: ``normalized_diffusion`` (default), ``dipole``, ``better_dipole``, ``photon_beam_diffusion``, or
            ``random_walk``: no profile, but a walk through the object.
        albedo, radius: total diffuse reflectance and mean free path (scene units), or
        sigma_a, sigma_s, g: coefficients per scene unit and mean cosine (default 0); what the other
            pair gives then follows from the profile.
        int_ior, ext_ior: indices of refraction (default 1.3 and 1).
        alpha: roughness of the boundary (GGX, default 0.1; 0 is smooth).
        scale: factor on the coefficients, or divisor of the radius (default 1).

    `prb_edge` and `prb_reparam` carry light through the object, and differentiate all parameters (of
    photon_beam_diffusion: not g and eta; of random_walk: not eta), and those of shapes under lights that are not
    point-like, where the sensor rests (objects with a random_walk: `prb_edge` alone, meshes and spheres with
    alpha > 0); others are refused. Other integrators, and a
    material inside another BSDF (``twosided``, ``mask``, ...), see the local form; one warning says so.
    Profiles are those of a plane: on thin or strongly curved parts they lose light. Objects must be
    closed, each a shape of its own.
    """

    def __init__(self, props: Any):
        mi.BSDF.__init__(self, props)
        name = props.get("profile", "normalized_diffusion")
        if name not in PROFILES:
            raise InputError(
                f"subsurface: unknown profile '{name}'.{near_matches(name, PROFILES)} Known: {list(PROFILES)}."
            )
        self.profile = name
        physical = [k for k in BY_COEFFICIENT if k in props]
        direct = [k for k in BY_ALBEDO if k in props]
        if physical and direct:
            raise InputError(
                f"subsurface: give either {' and '.join(BY_ALBEDO)}, or {' and '.join(BY_COEFFICIENT)} (and g), not"
                f" {' with '.join(direct + physical)}."
            )
        if len(physical) == 1:
            raise InputError(f"subsurface: '{physical[0]}' is given without the other of {BY_COEFFICIENT}.")
        self.physical = bool(physical)
        if not self.physical and name != "normalized_diffusion" and "g" in props:
            raise InputError("subsurface: 'g' needs sigma_a and sigma_s; radius is the transport mean free path.")
        textures = {"alpha": props.get_texture("alpha", 0.1)}
        if self.physical:
            textures |= {k: props.get_unbounded_texture(k) for k in BY_COEFFICIENT}
            textures["g"] = props.get_unbounded_texture("g", 0.0)
        else:
            textures["albedo"] = props.get_texture("albedo", 0.5)
            textures["radius"] = props.get_unbounded_texture("radius", 1.0)
        self.textures = textures
        interior, exterior = float(props.get("int_ior", 1.3)), float(props.get("ext_ior", 1.0))
        if not (exterior > 0 and 0.5 <= interior / exterior <= 3):
            raise InputError(f"subsurface: int_ior / ext_ior must lie in [0.5, 3], got {interior} / {exterior}.")
        self.index = interior / exterior  # for what is tabulated
        self.eta = mi.Float(self.index)
        self.scale = mi.Float(float(props.get("scale", 1.0)))
        self.asymmetry = 0.0
        self._tabulate()
        alpha = textures["alpha"]
        self.smooth = not alpha.is_spatially_varying() and float(dr.detach(mi.Float(alpha.max()))[0]) == 0
        self.coat = coat = mi.BSDFFlags.DeltaReflection if self.smooth else mi.BSDFFlags.GlossyReflection
        varies = mi.BSDFFlags.SpatiallyVarying if any(t.is_spatially_varying() for t in textures.values()) else 0
        self.m_components = [
            coat | mi.BSDFFlags.FrontSide,
            mi.BSDFFlags.DiffuseReflection | mi.BSDFFlags.FrontSide | varies,
        ]
        self.m_flags = self.m_components[0] | self.m_components[1]

    # ---------------------------------------------------------------- parameters

    def traverse(self, callback: Any) -> None:
        for name, texture in self.textures.items():
            callback.put(name, texture, mi.ParamFlags.Differentiable)
        callback.put("eta", self.eta, mi.ParamFlags.Differentiable | mi.ParamFlags.Discontinuous)
        callback.put("scale", self.scale, mi.ParamFlags.Differentiable)

    def medium(self, si: Any, active: Any = True) -> Medium:
        """Coefficients at a point, with derivatives (physical parameters only)."""
        a, s, g = (
            self.textures[k].eval(si, active) * f for k, f in (*((k, self.scale) for k in BY_COEFFICIENT), ("g", 1))
        )
        return Medium(a, s, g, g * 0 + self.eta)

    def profile_at(self, si: Any, active: Any = True) -> Any:
        """The diffusion profile at a point."""
        kind = PROFILES[self.profile]
        self._refuse_tabulated()
        if not self.physical:
            albedo, radius = self.textures["albedo"].eval(si, active), self._length(si, active)
            if kind is NormalizedDiffusion:
                return kind(albedo, radius)
            if kind is RandomWalk:
                return kind.of_albedo(albedo, radius, self.eta, self.table)
            model = BetterDipole if kind is PhotonBeamDiffusion else kind
            medium = from_albedo(dr.clip(albedo, 0, 0.999), radius, albedo * 0 + self.eta, model)
            return kind(Medium(medium.sigma_a, medium.sigma_s, 0.0, self.index) if model is not kind else medium)
        medium = self.medium(si, active)
        if kind is RandomWalk:
            return kind(medium, self.table)
        if kind is PhotonBeamDiffusion:
            return kind(Medium(medium.sigma_a, medium.sigma_s, self.asymmetry, self.index))
        if kind is NormalizedDiffusion:
            radius = dr.rcp(dr.maximum(medium.reduced_extinction, 1e-6))
            return kind(BetterDipole.reflectance(medium.reduced_albedo, medium.eta), radius)
        return kind(medium)

    def _length(self, si: Any, active: Any) -> Any:
        """Mean free path ``radius``, scaled."""
        return dr.maximum(self.textures["radius"].eval(si, active) / self.scale, 1e-7)

    @property
    def width_attached(self) -> bool:
        """Whether a derivative of the width of the profile is asked for (beside what the albedo changes of it)."""
        names = (*BY_COEFFICIENT, "g") if self.physical else ("radius",)
        with dr.resume_grad():
            return dr.grad_enabled(self.scale) or any(_attached(self.textures[k]) for k in names)

    def albedo_at(self, si: Any, active: Any = True) -> Any:
        """Total diffuse reflectance at a point, in [0, 1]."""
        albedo = (
            self.profile_at(si, active).effective_albedo()
            if self.physical
            else self.textures["albedo"].eval(si, active)
        )
        return dr.clip(albedo, 0, 1)

    def _number_of(self, name: str) -> float:
        texture = self.textures[name]
        if texture.is_spatially_varying():
            raise InputError(
                f"subsurface: photon_beam_diffusion has a table for each '{name}', which cannot be a texture."
            )
        return float(dr.detach(mi.Float(texture.mean()))[0])

    def _refuse_tabulated(self) -> None:
        """Tables have no derivative with respect to what they were made for."""
        names = TABULATED.get(self.profile, ())
        if (names and dr.grad_enabled(self.eta)) or ("g" in names and self.physical and _attached(self.textures["g"])):
            raise UnsupportedError(
                f"subsurface: {self.profile} has no derivative with respect to {' and '.join(map(repr, names))}, which"
                f" select{'s' if len(names) == 1 else ''} its table. Use better_dipole."
            )

    def _tabulate(self) -> None:
        """Make the table before anything records a loop or a step, neither of which could."""
        if self.profile == "photon_beam_diffusion":
            self.asymmetry = self._number_of("g") if self.physical else 0.0
            self.table = BeamTable.of(self.asymmetry, self.index)
        elif self.profile == "random_walk":
            self.table = ReflectanceTable.of(self.index)

    def parameters_changed(self, keys: list[str]) -> None:
        if any(k.split(".")[0] in TABULATED.get(self.profile, ()) for k in keys):
            self.index = float(dr.detach(self.eta)[0])
            self._tabulate()

    # Integrators ask by name for what transport needs: calls of BSDF pointers have no other door.

    def has_attribute(self, name: str, active: Any = True) -> Any:
        return mi.Bool(name in self.textures or name == MARK)

    def eval_attribute(self, name: str, si: Any, active: Any = True) -> Any:
        if name in self.textures:
            return self.textures[name].eval(si, active)
        owner, _, field = name.partition(".")
        if field == "reduced_extinction" and not self.physical:
            return dr.rcp(self._length(si, active)) + dr.zeros(mi.UnpolarizedSpectrum)  # without what the albedo takes
        profile = self.profile_at(si, active)
        # Materials of another kind are asked, too, and answer nothing.
        source = getattr(profile, "medium", None) if owner == "medium" else profile
        return getattr(source, field, 0) + dr.zeros(mi.UnpolarizedSpectrum)

    def eval_attribute_1(self, name: str, si: Any, active: Any = True) -> Any:
        if name in self.textures:
            return self.textures[name].eval_1(si, active)
        if name == "boundary.eta":
            return mi.Float(self.eta)
        if name == "boundary.share":
            return self._share(si, True, True)
        return mi.Float(list(PROFILES).index(self.profile))

    def eval_attribute_3(self, name: str, si: Any, active: Any = True) -> Any:
        return self.textures[name].eval_3(si, active)

    def eval_diffuse_reflectance(self, si: Any, active: Any = True) -> Any:
        return self.albedo_at(si, active)

    # ---------------------------------------------------------------- local form

    def eval(self, ctx: Any, si: Any, wo: Any, active: Any = True) -> Any:
        return self.eval_pdf(ctx, si, wo, active)[0]

    def pdf(self, ctx: Any, si: Any, wo: Any, active: Any = True) -> Any:
        return self.eval_pdf(ctx, si, wo, active)[1]

    def eval_pdf(self, ctx: Any, si: Any, wo: Any, active: Any = True) -> tuple[Any, Any]:
        glossy, diffuse = self._wanted(ctx)
        if diffuse:
            self._say_what_is_lost()
        cos_o, cos_i = mi.Frame3f.cos_theta(wo), mi.Frame3f.cos_theta(si.wi)
        active = mi.Bool(active) & (cos_o > 0) & (cos_i > 0)
        value, pdf = mi.Spectrum(0), mi.Float(0)
        share = self._share(si, glossy, diffuse)
        if diffuse:
            through = (1 - self._fresnel(cos_i)) * (1 - self._fresnel(cos_o))
            value += self.albedo_at(si, active) * (through * cos_o / (dr.pi * (1 - 2 * first_moment(dr.rcp(self.eta)))))
            pdf += (1 - share) * dr.inv_pi * cos_o
        if glossy and not self.smooth:
            m = dr.normalize(wo + si.wi)
            facets = self._facets(si, active)
            F = self._fresnel(dr.dot(si.wi, m))
            value += F * facets.eval(m) * facets.G(si.wi, wo, m) / (4 * cos_i)
            pdf += share * facets.pdf(si.wi, m) / (4 * dr.dot(wo, m))
        return dr.select(active, value, 0), dr.select(active, dr.detach(pdf), 0)

    def sample(self, ctx: Any, si: Any, sample1: Any, sample2: Any, active: Any = True) -> tuple[Any, Any]:
        glossy, diffuse = self._wanted(ctx)
        cos_i = mi.Frame3f.cos_theta(si.wi)
        active = mi.Bool(active) & (cos_i > 0) & (glossy or diffuse)
        share = self._share(si, glossy, diffuse)
        coat = sample1 < share
        with dr.suspend_grad():
            if self.smooth:
                reflected = mi.reflect(si.wi)
            else:
                m, _ = self._facets(si, active).sample(si.wi, sample2)
                reflected = mi.reflect(si.wi, m)
            wo = dr.select(coat, reflected, mi.warp.square_to_cosine_hemisphere(sample2))
        bs = dr.zeros(mi.BSDFSample3f)
        bs.wo, bs.eta = wo, mi.Float(1)
        bs.sampled_component = dr.select(coat, mi.UInt32(0), mi.UInt32(1))
        bs.sampled_type = dr.select(coat, mi.UInt32(+self.coat), mi.UInt32(+mi.BSDFFlags.DiffuseReflection))
        value, bs.pdf = self.eval_pdf(ctx, si, wo, active)
        weight = value / dr.maximum(bs.pdf, 1e-20)
        if self.smooth:  # the Dirac lobe has the weight F / share
            F = self._fresnel(cos_i)
            weight = dr.select(coat, mi.Spectrum(F / dr.maximum(share, 1e-6)), weight)
            bs.pdf = dr.select(coat, share, bs.pdf)
        active &= (bs.pdf > 0) & (mi.Frame3f.cos_theta(wo) > 0)
        return bs, dr.select(active, weight, 0)

    def _wanted(self, ctx: Any) -> tuple[bool, bool]:
        """Which components the caller asks for: boundary, material.

        An integrator that carries light through the object sets `names.transport_flag` in the mask,
        which is off by default.
        """
        if ctx.is_enabled(transport_flag(), 1):
            return ctx.is_enabled(self.coat, 0), False
        return ctx.is_enabled(self.coat, 0), ctx.is_enabled(mi.BSDFFlags.DiffuseReflection, 1)

    def _fresnel(self, cosine: Any) -> Any:
        return mi.fresnel(cosine, self.eta)[0]

    def _facets(self, si: Any, active: Any) -> Any:
        alpha = dr.maximum(self.textures["alpha"].eval_1(si, active), SMOOTH)
        return mi.MicrofacetDistribution(mi.MicrofacetType.GGX, alpha, True)

    def _share(self, si: Any, glossy: bool, diffuse: bool) -> Any:
        """Detached probability of the boundary's lobe; both components may be wanted, or one."""
        if not (glossy and diffuse):
            return mi.Float(1.0 if glossy else 0.0)
        with dr.suspend_grad():
            F = self._fresnel(dr.maximum(mi.Frame3f.cos_theta(si.wi), 0))
            A = dr.mean(self.albedo_at(si))
            return dr.detach(F / dr.maximum(F + (1 - F) * A, 1e-6))

    def _say_what_is_lost(self) -> None:
        """Warn once that light leaves where it entered; refuse derivatives that would silently be 0."""
        warn_once(
            "subsurface: this integrator carries no light through the object (prb_edge and prb_reparam do). It renders the"
            " limit of a small mean free path: a diffuse surface of the same albedo under the same boundary."
        )
        if self.physical:
            return
        for name, attached in (("radius", _attached(self.textures["radius"])), ("scale", dr.grad_enabled(self.scale))):
            if attached:
                raise UnsupportedError(
                    f"subsurface: this integrator has no derivative of '{name}', it would be 0 everywhere. Use prb_edge"
                    " or prb_reparam."
                )

    def to_string(self) -> str:
        return f"Subsurface[profile = {self.profile}, eta = {self.eta[0]:.4g}]"


def _attached(texture: Any) -> bool:
    params = mi.traverse(texture)
    return any(dr.grad_enabled(params[k]) for k in params.keys())
