"""Entry-point sampling against integrals over surfaces that are known."""

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest

from pbdr.bssrdfs.dipole import BetterDipole
from pbdr.bssrdfs.medium import Medium
from pbdr.bssrdfs.normalized_diffusion import NormalizedDiffusion
from pbdr.bssrdfs.photon_beam import PhotonBeamDiffusion
from pbdr.bssrdfs.probe import AXES, sample_entry

COUNT = 100_000


def estimate(scene, origin, direction, profile, seed, f=None, axes=AXES):
    """Mean and standard error, per channel, of ∫ R f dA as seen from a point on the scene's first shape."""
    o = mi.Point3f(*(dr.full(mi.Float, v, COUNT) for v in origin))
    si = scene.ray_intersect(mi.Ray3f(o, mi.Vector3f(direction)))
    rng = mi.PCG32(COUNT, seed)
    u = [rng.next_float32() for _ in range(4)]
    e = sample_entry(scene, si, profile, u[0], mi.Point2f(u[1], u[2]), u[3], True, axes)
    value = e.weight
    if f is not None:
        value = value * f(e.pi.compute_surface_interaction(e.ray, mi.RayFlags.Minimal, e.found))
    value = np.asarray(value, np.float64)
    return value.mean(1), value.std(1) / np.sqrt(COUNT)


def agrees(results, exact, limit=0.01):
    """Over several seeds: no significant difference, and an error bar that could show one."""
    mean = np.mean([m for m, _ in results], 0)
    error = np.sqrt(np.sum([s**2 for _, s in results], 0)) / len(results)
    assert (error < limit * np.abs(exact)).all(), (error, exact)
    # Beyond the bound 0.1 % of the samples' mass is left out.
    assert (np.abs(mean - exact) < 3.3 * error + 2e-3 * np.abs(exact)).all(), (mean, exact, error)


def sphere(radius, **more):
    return mi.load_dict({"type": "scene", "s": {"type": "sphere", "radius": radius}, **more})


@pytest.mark.parametrize("radius", [1.0, 0.3])
def test_chords_of_a_sphere(radius):
    """The area of a sphere within a chord r is π r², so ∫ R dA = A · CDF(2 radius)."""
    A, mfp = mi.Color3f(0.9, 0.8, 0.5), mi.Color3f(1.0, 0.5, 0.25)
    profile = NormalizedDiffusion(A, mfp)
    exact = np.asarray(A * (1 - profile.tail(mi.Color3f(2 * radius)))).ravel()
    agrees([estimate(sphere(radius), (0.1, 0.2, 5), (0, 0, -1), profile, k) for k in range(4)], exact)


@pytest.mark.parametrize("kind", [BetterDipole, PhotonBeamDiffusion])
def test_chords_with_dipoles(kind):
    medium = Medium(mi.Color3f(0.2, 0.5, 1.0), mi.Color3f(3.0, 2.0, 4.0), mi.Color3f(0), mi.Color3f(1.3))
    profile = kind(medium)
    r = np.geomspace(1e-6, 2.0, 20001)
    values = np.asarray(profile.eval(mi.Float(r)), np.float64)
    exact = np.trapezoid(values * 2 * np.pi * r**2, np.log(r), axis=1)
    agrees([estimate(sphere(1.0), (0, 0, 5), (0, 0, -1), profile, k) for k in range(4)], exact)


def test_a_plane_gives_back_the_albedo():
    A = mi.Color3f(0.9, 0.8, 0.5)
    wide = {"type": "rectangle", "to_world": mi.ScalarTransform4f().scale(1000)}
    profile = NormalizedDiffusion(A, mi.Color3f(1.0, 0.5, 0.25))
    scene = mi.load_dict({"type": "scene", "s": wide})
    agrees([estimate(scene, (0, 0, 5), (0, 0, -1), profile, k) for k in range(4)], np.array([0.9, 0.8, 0.5]))


def test_an_edge_of_a_cube_and_what_is_seen_there():
    """Beside an edge, with a function of position and normal: quadrature over the six faces."""
    profile = NormalizedDiffusion(mi.Color3f(0.8), mi.Color3f(0.6, 0.4, 0.3))
    x_o = np.array([0.9, 0.1, 1.0])
    s = (np.arange(1600) + 0.5) / 800 - 1
    a, b = np.meshgrid(s, s)
    exact = 0
    for axis in range(3):
        for sign in (-1, 1):
            p = np.zeros((*a.shape, 3))
            p[..., axis], p[..., (axis + 1) % 3], p[..., (axis + 2) % 3] = sign, a, b
            r = np.linalg.norm(p - x_o, axis=-1)
            value = np.asarray(profile.eval(mi.Float(r.ravel())), np.float64)
            exact = exact + (value * ((1 + p[..., 0] + (axis == 0) * sign) * (s[1] - s[0]) ** 2).ravel()).sum(1)
    # The cell at x_o holds the singularity: leave the grid off it by construction (x_o lies on a corner of cells).
    scene = mi.load_dict({"type": "scene", "s": {"type": "cube"}})
    agrees(
        [estimate(scene, (0.9, 0.1, 5), (0, 0, -1), profile, k, lambda si: 1 + si.p.x + si.n.x) for k in range(6)],
        exact,
    )


def test_other_objects_do_not_count():
    """A second ball of the same material that touches the first takes part in nothing."""
    profile = NormalizedDiffusion(mi.Color3f(0.9), mi.Color3f(2.0))
    neighbour = {"type": "sphere", "center": [2, 0, 0], "radius": 1}
    for k in range(3):
        alone, _ = estimate(sphere(1.0), (0.9, 0, 5), (0, 0, -1), profile, k)
        beside, _ = estimate(sphere(1.0, t=neighbour), (0.9, 0, 5), (0, 0, -1), profile, k)
        assert beside == pytest.approx(alone, rel=2e-3)  # spawned rays start a little elsewhere


def test_three_axes_bound_the_weights():
    """Along the normal alone, a hit that faces sideways gets an unbounded weight."""
    profile = NormalizedDiffusion(mi.Color3f(0.9), mi.Color3f(1.0))
    _, three = estimate(sphere(0.5), (0.2, 0, 5), (0, 0, -1), profile, 0)
    _, one = estimate(sphere(0.5), (0.2, 0, 5), (0, 0, -1), profile, 0, axes=(1, 0, 0))
    assert (three < one).all()


def test_spectral_and_monochromatic_variants():
    """One entry per wavelength."""
    current = mi.variant()
    try:
        for variant in (current.replace("rgb", colours) for colours in ("spectral", "mono")):
            mi.set_variant(variant)
            scene = mi.load_dict({"type": "scene", "s": {"type": "sphere"}})
            si = scene.ray_intersect(mi.Ray3f(mi.Point3f(dr.zeros(mi.Float, 20000), 0, 5), mi.Vector3f(0, 0, -1)))
            profile = NormalizedDiffusion(mi.Spectrum(0.7), mi.Spectrum(0.4))
            rng = mi.PCG32(20000)
            u = [rng.next_float32() for _ in range(4)]
            e = sample_entry(scene, si, profile, u[0], mi.Point2f(u[1], u[2]), u[3])
            exact = 0.7 * (1 - float(profile.tail(mi.Spectrum(2.0))[0][0]))
            assert np.asarray(dr.mean(e.weight)).mean() == pytest.approx(exact, rel=0.05)
    finally:
        mi.set_variant(current)
