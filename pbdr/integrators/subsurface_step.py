"""The step of a path through a translucent object.

A path that reaches a `subsurface` material is reflected at its boundary, or goes on at another point
x_i of the object, from which it leaves as from a diffuse surface. That point is a vertex of the loop
like any other, without a segment that leads to it:

    L(x_o) ⊃ (1 - F(ω_o)) ∫_A R(|x_o - x_i|) ∫ S_w(ω_i) L(x_i, ω_i) cosθ_i dω_i dA(x_i),

S_w = (1 - F) / (π (1 - 2 C₁(1/η))). Points are drawn by `bssrdfs.probe`.
"""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi

from ..bssrdfs.fresnel import first_moment
from ..bssrdfs.medium import Medium
from ..bssrdfs.names import MARK, PROFILES, transport_flag
from ..bssrdfs.normalized_diffusion import NormalizedDiffusion
from ..bssrdfs.photon_beam import PhotonBeamDiffusion
from ..bssrdfs.probe import sample_entry
from ..bssrdfs.random_walk import Matter, RandomWalk, begin, log_weight, walk
from ..core.errors import UnsupportedError, warn_once
from ..sampling.paired import continued
from ..scene.lights import lights_move
from ..scene.sensors import sensor_moves
from ..scene.shapes import follow, shapes_move, translucent_shapes
from .entry_motion import WALKED, area_of, entry_point
from .face_slide import FaceSlide, can_slide
from .walk_motion import AtStart, follow_walk

NEAR = 0.2  # share of R within the radius up to which x_i moves along with x_o
POSITIVIZED = True  # derivatives of widths by `width_slope`; off: by what the replayed point sees
CLOSE = 1e-9  # distance of x_o and x_i below which the motion of one against the other is not looked at


def subsurface_materials(scene: Any) -> list[Any]:
    """The `subsurface` BSDFs of a scene."""
    return [s.bsdf() for s in translucent_shapes(scene)]


def require_followed(scene: Any, sensor: Any) -> None:
    """Refuse derivatives of geometry that a scene with translucent objects would get wrong.

    Raises:
        UnsupportedError: names what moves, and what the integrator cannot follow.
    """
    materials = subsurface_materials(scene)
    if not materials:
        return
    shapes, lights, camera = shapes_move(scene), lights_move(scene), sensor_moves(sensor)
    point_like = any(mi.has_flag(e.flags(), mi.EmitterFlags.Delta) for e in scene.emitters())
    names = [k for k, moves in {"a shape": shapes, "the sensor": camera, "a light": lights}.items() if moves]
    who = " and ".join(names)
    if camera:
        raise UnsupportedError(
            "the sensor moves in a scene with a subsurface material: the derivative of what is seen through the material"
            " is not available, only those of shapes, area lights and materials."
        )
    translucent = translucent_shapes(scene)
    reasons = unfollowed(translucent) if shapes else []
    if reasons and any(s.parameters_grad_enabled() for s in _walked(translucent)):
        raise UnsupportedError(
            "a shape with the subsurface profile 'random_walk' moves, and "
            + " and ".join(reasons)
            + ": the derivative of a"
            " walk by the shape that it is in needs meshes or spheres with a rough boundary. Use alpha >= 0.1, or better_dipole."
        )
    if reasons:
        warn_once(
            "subsurface: "
            + " and ".join(reasons)
            + ". Where something that moves shows such an object with the profile"
            " 'random_walk' (a wall in its light, a glossy surface), the derivative of the refracted direction is missing."
        )
    if names and point_like:
        raise UnsupportedError(
            f"{who} moves in a scene with a subsurface material and point-like lights, whose shadows on translucent objects"
            " have no derivative. Use small area lights."
        )


class SubsurfaceStep:
    """What the path loop asks at vertices of translucent objects.

    A plain class: Dr.Jit would treat a dataclass as part of the loop state.
    """

    def __init__(self, shapes: list[Any]):
        materials = [s.bsdf() for s in shapes]
        self.kinds = sorted({m.profile for m in materials}, key=list(PROFILES).index)
        self.constants = {m.profile: (m.asymmetry, m.index) for m in materials}
        tabulated = {(m.asymmetry, m.index) for m in materials if m.profile == "photon_beam_diffusion"}
        if len(tabulated) > 1:
            raise UnsupportedError(
                f"subsurface: photon_beam_diffusion with several (g, eta) in one scene, {sorted(tabulated)}: each needs"
                " a table of its own. Give the materials the same, or use better_dipole."
            )
        # Widths have a term of their own (`width_slope`), where shapes rest.
        self.spreads = POSITIVIZED and any(m.profile == "normalized_diffusion" and m.width_attached for m in materials)
        self.walks = "random_walk" in self.kinds
        self.follows_walks = self.walks and not unfollowed(shapes)
        self.context = mi.BSDFContext()
        self.context.type_mask |= int(transport_flag())

    def visit(self, si: Any, bsdf: Any, entered: Any, u: Any, active: Any) -> Visit:
        """Classify the current vertex; ``u`` chooses between boundary and object."""
        translucent = bsdf.has_attribute(MARK, active)
        leaving = active & translucent & ~entered
        share = dr.select(leaving, dr.detach(bsdf.eval_attribute_1("boundary.share", si, leaving)), 1)
        eta = dr.select(translucent & active, bsdf.eval_attribute_1("boundary.eta", si, active & translucent), 1.3)
        return Visit(leaving, entered & active, share, eta, u)

    def _kinds(self, si: Any, bsdf: Any, active: Any):
        """(name, mask) per kind of profile that the scene has; ``active`` only on translucent objects."""
        if len(self.kinds) == 1:
            yield self.kinds[0], mi.Bool(active)
            return
        number = bsdf.eval_attribute_1("profile", si, active)
        for name in self.kinds:
            yield name, active & (number == list(PROFILES).index(name))

    def profiles(self, si: Any, bsdf: Any, eta: Any, active: Any):
        """(profile, mask) per kind. Each question to the material is a call of its own: none is asked in vain."""
        for name, mask in self._kinds(si, bsdf, active):
            kind = PROFILES[name]
            if kind is NormalizedDiffusion:
                yield _normalized(si, bsdf, mask), mask
                continue
            if kind is RandomWalk:
                a, s, g = (
                    mi.Spectrum(bsdf.eval_attribute(f"medium.{k}", si, mask)) for k in ("sigma_a", "sigma_s", "g")
                )
                yield RandomWalk(Medium(dr.select(mask, a, 1), dr.select(mask, s, 1), g, mi.Spectrum(eta))), mask
                continue
            reduced = ("reduced_albedo", "reduced_extinction")
            albedo, extinction = (mi.Spectrum(bsdf.eval_attribute(f"medium.{k}", si, mask)) for k in reduced)
            g, index = self.constants[name] if kind is PhotonBeamDiffusion else (0, mi.Spectrum(eta))
            yield kind(Medium.of_reduced(dr.select(mask, albedo, 0.5), dr.select(mask, extinction, 1), g, index)), mask

    def normalized(self, si: Any, bsdf: Any, active: Any):
        """`profiles`, of normalized diffusion alone."""
        for name, mask in self._kinds(si, bsdf, active):
            if PROFILES[name] is NormalizedDiffusion:
                yield _normalized(si, bsdf, mask), mask

    def matter(self, si: Any, bsdf: Any, walk: RandomWalk, visit: Visit, active: Any) -> Matter:
        """Of a walk that begins at ``si``."""
        return Matter(si.shape, walk.medium, visit.eta, bsdf.eval_attribute_1("alpha", si, active))

    def enter(self, scene: Any, si: Any, bsdf: Any, visit: Visit, us: Any, held: Any, active: Any) -> Entry:
        """Sample where the light has entered, of lanes that did not choose the boundary.

        ``held``: Float, if the motion of the point will be asked for, else ``None``: the share of its slide that x_o keeps
        (see `sliding_film`).
        """
        entry = Entry(
            mi.Ray3f(si.spawn_ray(si.n)),
            dr.zeros(mi.PreliminaryIntersection3f),
            mi.Point3f(si.p),
            mi.Spectrum(0),
            mi.Vector2f(0),
        )
        inside = visit.inside(si.wi)
        for profile, mask in self.profiles(si, bsdf, visit.eta, active):
            if isinstance(profile, RandomWalk):
                e = entry.path = walk(scene, si, self.matter(si, bsdf, profile, visit, mask), continued(*us), mask)
                if held is not None:
                    entry.near[mask & e.found] = mi.Vector2f(WALKED, held)
            else:
                e = sample_entry(scene, si, profile, *us, mask)
                if held is not None:
                    ε = dr.min(mi.Spectrum(profile.sample(mi.Float(NEAR))))
                    entry.near[mask & e.found] = mi.Vector2f(ε, held)
            found = mask & e.found
            entry.ray[found] = e.ray
            entry.pi[found] = e.pi
            entry.weight[found] = e.weight * inside
        x = entry.pi.compute_surface_interaction(entry.ray, mi.RayFlags.Minimal, active & entry.pi.is_valid())
        entry.p = x.p
        return entry

    def follow_walk(
        self,
        mode: Any,
        scene: Any,
        si: Any,
        pi: Any,
        ray: Any,
        bsdf: Any,
        visit: Visit,
        us: tuple,
        weights: Any,
        active: Any,
    ) -> list[AtStart]:
        """What a walk adds to its own weight by its shape's motion, see `walk_motion`: for each colour (forward), or for all.

        Args:
            us: as in `enter`.
            weights: Spectrum, factors on the logarithm of each colour.
        """
        for profile, mask in self.profiles(si, bsdf, visit.eta, active):
            if isinstance(profile, RandomWalk):
                matter = self.matter(si, bsdf, profile, visit, mask)
                # Along the lobe that the view refracts into: the points below x_o then move with it.
                again = continued(us[2], us[1], us[0])
                e = begin(si, matter, again, mask)[0].ray.d
                each = [weights]
                if mode == dr.ADMode.Forward:
                    own = [[w if c == j else mi.Float(0) for j in range(len(weights))] for c, w in enumerate(weights)]
                    each = [mi.Spectrum(w) for w in own]
                around, held = FaceSlide(pi, ray, mask), dr.detach(si)
                return [follow_walk(mode, scene, held, matter, continued(*us), e, around, w, mask) for w in each]
        raise AssertionError

    def value(
        self,
        si: Any,
        bsdf: Any,
        visit: Visit,
        entry: Entry,
        held: tuple | None,
        fixed: bool,
        active: Any,
        start: Any = None,
    ) -> Any:
        """(1 - F) R(|x_o - x_i|) dA(x_i), attached to the parameters of the material.

        Args:
            held: hit and ray of x_o if shapes move: then attached to their motion, too.
            fixed: without derivatives of the width of normalized diffusion.
            start: x_o as light inside sees it, if not as ``si``, which is held on its ray.
        """
        start = si if start is None else start
        total, r, area = mi.Spectrum(0), dr.norm(entry.p - dr.detach(si.p)), mi.Float(1)
        if held is not None:
            x = follow(entry.pi, entry.ray, active)
            around = FaceSlide(*held, active) if self.walks else None
            p, grown = entry_point(x, si, follow(*held, active), entry.near, around)
            area = dr.relative_grad(1 + grown) * dr.relative_grad(area_of(entry.pi, entry.ray, active))
            apart = dr.select(active & (r > CLOSE), p - start.p, mi.Vector3f(1, 0, 0))
            r = dr.replace_grad(r, dr.norm(apart))
        for profile, mask in self.profiles(start, bsdf, visit.eta, active):
            if isinstance(profile, RandomWalk):
                # A walk's own density is part of its weight: only the slope of this value has a meaning.
                alpha = bsdf.eval_attribute_1("alpha", start, mask)
                weight = log_weight(profile.medium, alpha, entry.path)
                R = dr.relative_grad(dr.exp(dr.replace_grad(mi.Spectrum(0), weight)))
            else:
                if fixed and isinstance(profile, NormalizedDiffusion):
                    profile = NormalizedDiffusion.of_width(profile.albedo, dr.detach(profile.width))
                R = profile.eval(mi.Float(r))
            total += dr.select(mask, R, 0)
        return total * ((1 - visit.fresnel(start.wi)) * area)

    def width(self, si: Any, bsdf: Any, active: Any) -> Any:
        """Width d of normalized diffusion, attached; 0 for other profiles."""
        d = mi.Spectrum(0)
        for profile, mask in self.normalized(si, bsdf, active):
            d += dr.select(mask, profile.width, 0)
        return d


def unfollowed(shapes: list[Any]) -> list[str]:
    """Why walks in some of these shapes cannot follow them."""
    walked = _walked(shapes)
    why = [f"'{s.id()}' is neither a mesh nor a sphere" for s in walked if not can_slide(s)]
    return why + [f"'{s.id()}' has a smooth boundary (alpha = 0)" for s in walked if s.bsdf().smooth]


def _walked(shapes: list[Any]) -> list[Any]:
    return [s for s in shapes if s.bsdf().profile == "random_walk"]


def _normalized(si: Any, bsdf: Any, mask: Any) -> NormalizedDiffusion:
    albedo, width = (mi.Spectrum(bsdf.eval_attribute(f"profile.{k}", si, mask)) for k in ("albedo", "width"))
    return NormalizedDiffusion.of_width(albedo, dr.select(mask, width, 1))


class Visit:
    """The current vertex: ``leaving`` the object (x_o), or ``entered`` (x_i), or neither."""

    def __init__(self, leaving: Any, entered: Any, share: Any, eta: Any, u: Any):
        self.leaving, self.entered, self.share, self.eta = leaving, entered, share, eta
        self.coat = ~leaving | (u < share)
        self.u = dr.select(leaving & self.coat, u / share, u)

    def fresnel(self, w: Any) -> Any:
        return mi.fresnel(dr.maximum(mi.Frame3f.cos_theta(w), 0), self.eta)[0]

    def inside(self, w: Any) -> Any:
        """1 - F over the probability of going into the object."""
        return (1 - self.fresnel(w)) / (1 - self.share)

    def leaves_as(self, wo: Any) -> Any:
        """S_w(ω) cosθ."""
        cos = mi.Frame3f.cos_theta(wo)
        above = cos > 0  # the slope of F at 0 is not finite
        wo = dr.select(above, wo, mi.Vector3f(0, 0, 1))
        value = (1 - self.fresnel(wo)) * cos / (dr.pi * (1 - 2 * first_moment(dr.rcp(self.eta))))
        return dr.select(above, value, 0)

    def evaluate(self, wo: Any, f: Any, pdf: Any) -> tuple[Any, Any]:
        """Value (with the cosine) and density for a direction, from those of the BSDF."""
        cos = dr.maximum(mi.Frame3f.cos_theta(wo), 0)
        f = dr.select(self.entered, mi.Spectrum(self.leaves_as(wo)), f)
        return f, dr.select(self.entered, dr.inv_pi * cos, pdf * self.share)

    def choose(self, bs: Any, weight: Any, u: Any) -> tuple[Any, Any]:
        """The sample of the BSDF, or a cosine-weighted direction from x_i."""
        wo = mi.warp.square_to_cosine_hemisphere(u)
        pdf = dr.maximum(mi.warp.square_to_cosine_hemisphere_pdf(wo), 1e-8)
        bs.wo = dr.select(self.entered, wo, bs.wo)
        bs.eta = dr.select(self.entered, 1, bs.eta)
        bs.sampled_type = dr.select(self.entered, mi.UInt32(+mi.BSDFFlags.DiffuseReflection), bs.sampled_type)
        bs.pdf = dr.select(self.entered, pdf, bs.pdf * self.share)
        weight = dr.select(self.entered, mi.Spectrum(dr.detach(self.leaves_as(wo)) / pdf), weight / self.share)
        return bs, weight


class Entry:
    """A point x_i: the hit, its position, (1 - F) R over its density, and ``near`` (Vector2f) of `entry_motion`."""

    def __init__(self, ray: Any, pi: Any, p: Any, weight: Any, near: Any):
        self.ray, self.pi, self.p, self.weight, self.near = ray, pi, p, weight, near
        self.path = None  # `random_walk.Walk`
