"""What pbdr adds to the derivatives of a rough plastic, against differences of Mitsuba's BSDF and against finer integrals."""

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest

from pbdr.bsdfs.rough_plastic import RoughPlastics, gauss_legendre, internal_reflectance, transmittance
from pbdr.core.errors import UnsupportedError
from pbdr.integrators.capabilities import require_unbiased
from pbdr.validation.cases import camera, film, lamp, rgb

KINDS = {"ggx": mi.MicrofacetType.GGX, "beckmann": mi.MicrofacetType.Beckmann}
COSINES = np.array([0.05, 0.3, 0.6, 0.95])


def plastic(**more):
    return {"type": "roughplastic", "diffuse_reflectance": rgb(0.7, 0.4, 0.2), "ext_ior": 1.0, **more}


def textured(**more):
    data = np.random.default_rng(0).uniform(0.2, 0.9, (4, 4, 3)).astype(np.float32)
    map = {"type": "bitmap", "data": mi.TensorXf(data), "raw": True}
    return plastic(**more, diffuse_reflectance=map, nonlinear=True)


def directions(cos_i, cos_o):
    """(interaction, outgoing direction) for all pairs, 2 rad apart."""
    i, o = (x.ravel() for x in np.meshgrid(cos_i, cos_o))
    si = dr.zeros(mi.SurfaceInteraction3f, len(i))
    si.wi = mi.Vector3f(mi.Float(np.sqrt(1 - i**2)), 0, mi.Float(i))
    si.uv = mi.Point2f(0.3, 0.6)
    across = np.sqrt(1 - o**2)
    return si, mi.Vector3f(mi.Float(across * np.cos(2)), mi.Float(across * np.sin(2)), mi.Float(o))


def diffusely():
    context = mi.BSDFContext()
    context.type_mask = mi.BSDFFlags.DiffuseReflection
    return context


def test_gauss_legendre():
    for count in (32, 128):
        x, w = (np.array(v) for v in gauss_legendre(count))
        nodes, weights = np.polynomial.legendre.leggauss(count)
        order = np.argsort(x)
        np.testing.assert_allclose(x[order], (nodes + 1) / 2, atol=1e-6)
        np.testing.assert_allclose(w[order], weights / 2, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_tables_are_those_of_mitsuba(kind):
    """Both distributions of light that Mitsuba keeps to itself, read off what it reflects."""
    mu = np.maximum(np.arange(64) / 63, 1e-6)
    si, wo = directions(mu, [1.0])
    white, grey = (
        mi.load_dict(
            plastic(diffuse_reflectance=rgb(r, r, r), alpha=0.3, int_ior=1.6, distribution=kind, nonlinear=True)
        )
        for r in (0.8, 0.4)
    )
    a, b = (np.array(m.eval(diffusely(), si, wo)[0]) for m in (white, grey))
    # a / b = 2 (1 - 0.4 R) / (1 - 0.8 R)
    q = np.median(a / b)
    R = (q - 2) / (0.8 * q - 0.8)
    T = a * (1 - 0.8 * R) / 0.8 * np.pi * 1.6**2
    T /= np.sqrt(T[-1])
    np.testing.assert_allclose(transmittance(KINDS[kind], mi.Float(0.3), mi.Float(1.6), 32), T, atol=2e-5)
    np.testing.assert_allclose(internal_reflectance(KINDS[kind], mi.Float(0.3), mi.Float(1.6), 64), R, atol=2e-4)


SETS = [("ggx", 0.1, 1.3), ("ggx", 0.4, 1.8), ("beckmann", 0.1, 1.3), ("beckmann", 0.5, 1.8), ("beckmann", 0.3, 0.75)]


@pytest.mark.parametrize("name", ["alpha", "eta"])
@pytest.mark.parametrize("two", [False, True], ids=["linear", "nonlinear"])
@pytest.mark.parametrize(("kind", "alpha", "eta"), SETS)
def test_derivative_of_the_bsdf(kind, alpha, eta, two, name):
    """Forward, in directions on the shown side, or on both sides of a twosided with a textured, nonlinear one."""
    values = {"alpha": alpha, "int_ior": eta, "distribution": kind}
    bsdf = mi.load_dict({"type": "twosided", "inner": textured(**values)} if two else plastic(**values))
    params = mi.traverse(bsdf)
    (key,) = (k for k in params.keys() if k.split(".")[-1] == name)
    start = float(params[key][0])
    halves = [directions(s * COSINES, s * COSINES) for s in ((1, -1) if two else (1,))]

    def values_at(x):
        params[key] = mi.Float(x)
        params.update()
        return np.stack([np.array(bsdf.eval(diffusely(), si, wo)) for si, wo in halves])

    # The slope of a fit: single differences show how Mitsuba's R wavers as nodes of its quadrature get past the critical angle.
    h = 0.5 * alpha if name == "alpha" else 0.3 * abs(eta - 1)
    s = np.linspace(-1, 1, 17)
    samples = np.stack([values_at(start + x * h) for x in s])
    expected = np.polynomial.polynomial.polyfit(s, samples.reshape(len(s), -1), 7)[1].reshape(samples.shape[1:]) / h

    def derivative(added):
        x = mi.Float(start)
        dr.enable_grad(x)
        params[key] = x
        params.update()
        more = RoughPlastics.of([bsdf])
        more.prepare()
        found = []
        for si, wo in halves:
            f = bsdf.eval(diffusely(), si, wo)
            if added:
                f = f + more.missing(mi.BSDFPtr(bsdf), si, wo, mi.Bool(True))
            dr.set_grad(x, 1)
            found.append(np.array(dr.forward_to(f, flags=dr.ADFlag.ClearInterior | dr.ADFlag.AllowNoGrad)))
        return np.stack(found)

    scale = np.abs(expected).max()
    assert np.abs(expected).min() < scale and len(np.unique(expected)) > 10
    np.testing.assert_allclose(derivative(True), expected, atol=0.015 * scale)
    assert np.abs(derivative(False) - expected).max() > 0.1 * scale, "Mitsuba attaches it itself: nothing may be added"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_internal_reflectance_is_as_good_as_finer_integrals(kind):
    for alpha, eta in ((0.05, 1.3), (0.2, 1.49), (0.6, 1.8)):
        bsdf = mi.load_dict(plastic(alpha=alpha, int_ior=eta, distribution=kind))
        params = mi.traverse(bsdf)
        dr.enable_grad(params["alpha"], params["eta"])
        params.update()
        coat = RoughPlastics.of([bsdf]).coats[0]
        coat.prepare()

        def fine(a, e, kind=kind):
            return float(internal_reflectance(KINDS[kind], mi.Float(a), mi.Float(e), 320)[0])

        for k, h in ((1, 0.4 * alpha), (2, 0.2 * (eta - 1))):
            step = np.array([h, 0]) if k == 1 else np.array([0, h])
            at = np.array([alpha, eta])
            far, near = ((fine(*(at + s * step)) - fine(*(at - s * step))) / (2 * s * h) for s in (1, 0.5))
            assert float(coat.R[k][0]) == pytest.approx((4 * near - far) / 3, rel=0.01, abs=0.001)


def world(**objects):
    sky = {"type": "constant"}
    return mi.load_dict({"type": "scene", "sensor": camera(film=film(8)), "sky": sky, **objects})


def lit_world(**objects):
    """By one lamp: under an even sky what a coat lets in and what it reflects nearly cancel."""
    return mi.load_dict({"type": "scene", "sensor": camera(film=film(8)), "lamp": lamp(), **objects})


def gradient(scene, keys, integrator, seed=0, spp=16):
    """Of the sum of all pixels, with respect to the values."""
    params = mi.traverse(scene)
    leaves = [dr.detach(params[key]) for key in keys]
    dr.enable_grad(leaves)
    for key, leaf in zip(keys, leaves, strict=True):
        params[key] = leaf
    params.update()
    dr.backward(dr.sum(mi.render(scene, params, integrator=integrator, spp=spp, seed=seed), axis=None))
    return np.array([np.array(dr.grad(leaf)).sum() for leaf in leaves])


@pytest.mark.parametrize("shared", [False, True])
def test_nested_ones_are_refused(shared):
    """Also if the same one is shown alone elsewhere, which is all that the name of its parameter tells."""
    blend = {"type": "blendbsdf", "weight": 0.5, "b": {"type": "diffuse"}}
    if shared:
        inner, other = plastic(alpha=0.2), {"type": "ref", "id": "coat"}
        scene = world(
            coat=inner, one={"type": "sphere", "bsdf": other}, two={"type": "disk", "bsdf": {**blend, "a": other}}
        )
    else:
        scene = world(two={"type": "disk", "bsdf": {**blend, "a": plastic(alpha=0.2)}})
    (key,) = (k for k in mi.traverse(scene).keys() if k.endswith("alpha"))
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 2})
    with pytest.raises(UnsupportedError, match=r"twosided\. Take it out of what surrounds it") as told:
        gradient(scene, [key], integrator)
    assert "alpha" in str(told.value) and "\n" not in str(told.value)
    assert np.isfinite(np.array(mi.render(scene, integrator=integrator, spp=4))).all(), "its image is right"


def test_integrators_of_mitsuba_lack_it():
    scene = world(ball={"type": "sphere", "bsdf": plastic(alpha=0.2)})
    params = mi.traverse(scene)
    (key,) = (k for k in params.keys() if k.endswith("alpha"))
    with pytest.raises(UnsupportedError, match="prb would be biased, it lacks rough coats"):
        require_unbiased(mi.load_dict({"type": "prb"}), key, params)
    require_unbiased(mi.load_dict({"type": "prb_reparam"}), key, params)


def test_reparameterized_paths_have_it():
    """Where something moves, `prb_reparam` sweeps over paths of its own: its derivative of a coat is that of `prb_edge`."""
    means = []
    for kind in ("prb_edge", "prb_reparam"):
        scene = lit_world(ball={"type": "sphere", "bsdf": plastic(alpha=0.3)})
        params = mi.traverse(scene)
        keys = [next(k for k in params.keys() if k.endswith(name)) for name in ("bsdf.alpha", "bsdf.eta")]
        x = mi.Float(0)
        dr.enable_grad(x)
        params["ball.to_world"] = mi.Transform4f().translate([x, 0, 0]) @ mi.Transform4f(params["ball.to_world"])
        integrator = mi.load_dict({"type": kind, "max_depth": 2})
        means.append([gradient(scene, keys, integrator, seed, 256) for seed in range(6)])
    edge, reparam = (np.mean(m, 0) for m in means)
    error = np.hypot(*(np.std(m, 0, ddof=1) / np.sqrt(6) for m in means))
    assert (np.abs(edge - reparam) < 4 * error).all(), (edge, reparam, error)
    assert (error < 0.04 * np.abs(edge)).all(), (edge, error)


def test_frozen_step(collector_off):
    """One recording serves all values of alpha: its tables are made on the device."""
    scene = world(ball={"type": "sphere", "bsdf": plastic(alpha=0.2)})
    params = mi.traverse(scene)
    (key,) = (k for k in params.keys() if k.endswith("alpha"))
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 2})

    def step(params, seed):
        image = mi.render(scene, params, integrator=integrator, spp=4, seed=seed)
        dr.backward(dr.sum(image, axis=None), flags=dr.ADFlag.ClearInterior)

    def slope(function, alpha):
        params[key] = dr.opaque(mi.Float, alpha)
        dr.enable_grad(params[key])
        params.update()
        seed = mi.UInt32(5)
        dr.make_opaque(seed)
        with dr.isolate_grad():
            function(params, seed)
        return float(dr.grad(params[key])[0])

    frozen = dr.freeze(step)
    alphas = (0.2, 0.25, 0.4)
    for a in (0.3, 0.35):
        slope(frozen, a)  # of any parameter the second value is recorded again
    count = frozen.n_recordings
    recorded = [slope(frozen, a) for a in alphas]
    assert frozen.n_recordings == count
    plain = [slope(step, a) for a in alphas]
    np.testing.assert_allclose(recorded, plain, rtol=1e-3)
    assert len({round(v, 4) for v in plain}) == 3
