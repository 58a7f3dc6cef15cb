"""Walks through an object against the exact reflectance of a half-space, and against one another."""

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest

from pbdr.bssrdfs.medium import Medium
from pbdr.bssrdfs.random_walk import (
    Matter,
    _henyey_greenstein_sample,
    _henyey_greenstein_slope,
    henyey_greenstein,
    walk,
)
from pbdr.bssrdfs.rough_boundary import sample_facet
from pbdr.bssrdfs.semi_infinite import ReflectanceTable, reflectance
from pbdr.sampling.paired import lane_sampler
from pbdr.validation.cases import T, glow


def render(material, shape, spp, seeds=8, **more):
    scene = mi.load_dict({
        "type": "scene",
        "integrator": {"type": "prb_edge", "max_depth": 3, "rr_depth": 100},
        "sensor": {
            "type": "orthographic", "to_world": T().look_at([0, 0, 5], [0, 0, 0], [0, 1, 0]).scale(0.3),
            "film": {"type": "hdrfilm", "width": 2, "height": 2, "rfilter": {"type": "box"}},
        },
        "sky": {"type": "constant"},
        "body": {**shape, "bsdf": {"type": "subsurface", "profile": "random_walk", "alpha": 0.0, **material}},
        **more,
    })  # fmt: skip
    images = [np.asarray(mi.render(scene, spp=spp, seed=k), np.float64)[..., :3] for k in range(seeds)]
    means = np.array([i.mean((0, 1)) for i in images])
    return means.mean(0), means.std(0, ddof=1) / np.sqrt(seeds)


def slab(size):
    return {"type": "cube", "to_world": T().translate([0, 0, -size]).scale(size)}


@pytest.mark.parametrize("eta", [1.0, 1.3, 1.5])
@pytest.mark.parametrize("alpha", [0.5, 0.9, 0.99])
def test_half_space(alpha, eta):
    """A thick slab under a white sky reflects what radiative transfer says for the refracted view."""
    material = {"sigma_a": 40 * (1 - alpha), "sigma_s": 40 * alpha, "int_ior": eta}
    value, error = render(material, slab(20), 2048)
    mirror = ((eta - 1) / (eta + 1)) ** 2
    exact = mirror + (1 - mirror) * reflectance(alpha, eta, 1.0)[0]
    assert error.max() < 0.01 * exact
    assert abs(value.mean() - exact) < 4 * error.mean() + 0.002 * exact


def test_reflectance_of_the_table():
    """All of it comes back from a white half-space, and averages over directions are those of even light."""
    assert reflectance(1.0, 1.3)[0] == pytest.approx(1, abs=1e-6)
    x, w = np.polynomial.legendre.leggauss(64)
    for alpha, eta in ((0.8, 1.0), (0.95, 1.4)):
        critical = np.sqrt(1 - 1 / eta**2)
        μ, w_μ = critical + (1 - critical) * (x + 1) / 2, w
        out = np.sqrt(1 - eta**2 * (1 - μ**2))
        enters = 1 - 0.5 * (((eta * μ - out) / (eta * μ + out)) ** 2 + ((μ - eta * out) / (μ + eta * out)) ** 2)
        each = np.array([reflectance(alpha, eta, m)[0] for m in μ])
        assert (each * enters * μ * w_μ).sum() / (enters * μ * w_μ).sum() == pytest.approx(
            reflectance(alpha, eta)[0], rel=1e-4
        )


def test_table_and_its_inverse():
    table = ReflectanceTable.of(1.3)
    alpha = np.linspace(0, 1, 500).astype(np.float32)
    A = np.asarray(table.albedo(mi.Float(alpha)))
    assert np.allclose(A, reflectance(alpha, 1.3), atol=2e-4)
    assert np.allclose(np.asarray(table.scattering(mi.Float(A))), alpha, atol=3e-4)
    x = mi.Float(0.2, 0.6, 0.95)
    dr.enable_grad(x)
    y = table.scattering(x)
    dr.forward(x)
    h = 1e-3
    detached = mi.Float(dr.detach(x))
    slope = (np.asarray(table.scattering(detached + h)) - np.asarray(table.scattering(detached - h))) / (2 * h)
    assert np.allclose(np.asarray(dr.grad(y)), slope, rtol=2e-2)


def test_white_furnace():
    value, error = render({"albedo": 1.0, "radius": 0.2}, {"type": "sphere"}, 512)
    assert value == pytest.approx(1, abs=4 * error.max() + 2e-3)


def test_colours_do_not_mix():
    """Of three colours with coefficients far apart, each has what it has alone."""
    each = [(1.0, 20.0, 0.0), (8.0, 60.0, 0.7), (0.5, 3.0, -0.3)]
    rgb = [{"type": "rgb", "value": [float(m[k]) for m in each]} for k in range(3)]
    names = ("sigma_a", "sigma_s", "g")
    together, error = render(dict(zip(names, rgb)), {"type": "sphere"}, 2048)
    for c, m in enumerate(each):
        alone, own = render(dict(zip(names, m)), {"type": "sphere"}, 2048)
        assert abs(together[c] - alone[c]) < 4 * np.hypot(error[c], own[c]), c
        assert error[c] < 0.02 * together[c]


def test_what_is_inside_is_passed():
    """A shape within the object takes no part in the walk."""
    material = {"albedo": 0.7, "radius": 0.3}
    alone, error = render(material, {"type": "sphere"}, 1024)
    lamp = {"type": "sphere", "radius": 0.4, "emitter": glow(50, 50, 50)}
    value, more = render(material, {"type": "sphere"}, 1024, lamp=lamp)
    assert value == pytest.approx(alone, abs=4 * np.hypot(error, more).max())


@pytest.mark.parametrize("g", [-0.6, 0.0, 0.5, 0.9])
def test_phase_function(g):
    u = (np.arange(100_000) + 0.5) / 100_000
    cos = np.asarray(_henyey_greenstein_sample(mi.Float(g), mi.Float(u)), np.float64)
    assert cos.mean() == pytest.approx(g, abs=1e-3)
    count, edges = np.histogram(cos, 20, (-1, 1))
    fine = np.linspace(-1, 1, 20 * 64 + 1)
    middle = 0.5 * (fine[1:] + fine[:-1])
    density = 0.5 * np.asarray(henyey_greenstein(mi.Float(g), mi.Float(middle)), np.float64)
    expected = density.reshape(20, 64).mean(1) * (edges[1] - edges[0]) * len(u)
    assert np.allclose(count, expected, atol=0.01 * len(u))
    h = 1e-3
    logs = [np.log(np.asarray(henyey_greenstein(mi.Float(g + d), mi.Float(middle)), np.float64)) for d in (-h, h)]
    slope = np.asarray(_henyey_greenstein_slope(mi.Float(g), mi.Float(middle)), np.float64)
    assert np.allclose(slope, (logs[1] - logs[0]) / (2 * h), atol=2e-2 * np.abs(slope).max())


def leave_a_ball(alpha, seed, lanes=1 << 18):
    """What walks carry, that height of their ends, and the derivative of it by alpha: seen at 1.1 radians."""
    scene = mi.load_dict({"type": "scene", "ball": {"type": "sphere"}})
    view = mi.Vector3f(float(np.sin(1.1)), 0, float(np.cos(1.1)))
    si = scene.ray_intersect(mi.Ray3f(mi.Point3f(0, 0, 1) + view + dr.zeros(mi.Vector3f, lanes), -view))
    medium = Medium(mi.Spectrum(1.0), mi.Spectrum(2.0), mi.Spectrum(0.3), mi.Spectrum(1.4))
    w = walk(scene, si, Matter(si.shape, medium, mi.Float(1.4), mi.Float(alpha)), lane_sampler(mi.UInt32(seed), lanes))
    height = w.pi.compute_surface_interaction(w.ray, mi.RayFlags.Minimal, w.found).p.z
    value = dr.select(w.found, w.weight[0] * height, 0)
    return float(dr.mean(value)[0]), float(dr.mean(value * w.roughness)[0])


@pytest.mark.parametrize("alpha", [0.3, 0.6])
def test_derivative_by_roughness(alpha):
    """Of the facets that walks meet, by their score: against differences with the same random numbers."""
    h, seeds = 0.1 * alpha, range(8)
    scores = np.array([leave_a_ball(alpha, k)[1] for k in seeds])
    steps = np.array([
        (leave_a_ball(alpha + h, 100 + k)[0] - leave_a_ball(alpha - h, 100 + k)[0]) / (2 * h) for k in seeds
    ])  # fmt: skip
    error = np.hypot(scores.std(ddof=1), steps.std(ddof=1)) / np.sqrt(len(seeds))
    assert error < 0.05 * steps.mean()
    assert abs(scores.mean() - steps.mean()) < 3.5 * error


@pytest.mark.parametrize("angle", [0.0, 0.5, 1.2, 1.56])
@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.8])
def test_facets(alpha, angle):
    """Moments of the visible normals against those of Mitsuba's sampler."""
    count = 1 << 20
    rng = mi.PCG32(count)
    view = mi.Vector3f(float(np.sin(angle) * 0.6), float(np.sin(angle) * 0.8), float(np.cos(angle)))
    view += dr.zeros(mi.Vector3f, count)
    u, v = (mi.Point2f(rng.next_float32(), rng.next_float32()) for _ in range(2))
    ours = np.array(sample_facet(mi.Vector3f(0, 0, 1), view, mi.Float(alpha), u), np.float64)
    facets = mi.MicrofacetDistribution(mi.MicrofacetType.Beckmann, mi.Float(alpha), True)
    theirs = np.array(facets.sample(view, v)[0], np.float64)

    def moments(m):
        x, y, z = m
        return np.array([x, y, z, x * x, x * y, y * y, y * (z < 0.9), x > 0.2])

    a, b = moments(ours), moments(theirs)
    error = np.sqrt((a.var(1) + b.var(1)) / count) + 1e-7
    assert np.isfinite(ours).all()
    assert (np.abs(a.mean(1) - b.mean(1)) < 4.5 * error).all()
