"""The contract of diffusion profiles: `eval`, `sample`, `pdf` and `effective_albedo` belong to one another."""

import itertools

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest
from scipy import stats

from pbdr.bssrdfs.dipole import BetterDipole, Dipole
from pbdr.bssrdfs.fresnel import first_moment, second_moment
from pbdr.bssrdfs.medium import Medium, from_albedo, to_albedo
from pbdr.bssrdfs.normalized_diffusion import FITS, NormalizedDiffusion
from pbdr.bssrdfs.photon_beam import PhotonBeamDiffusion, tabulate


def medium(sigma_a, sigma_s, g=0.0, eta=1.3):
    return Medium(*(mi.Float(x) for x in (sigma_a, sigma_s, g, eta)))


# marble, skin1 (red) and skimmilk (blue) of Jensen et al. 2001, reduced; and two extremes
MEDIA = {
    "marble": (0.0021, 2.19),
    "skin": (0.032, 0.74),
    "milk": (0.0142, 1.9),
    "clear": (0.0, 1.0),
    "dark": (1.0, 1.0),
}
PROFILES = {
    f"{kind.__name__}-{name}": (lambda kind=kind, c=c: kind(medium(*c)))
    for kind in (Dipole, BetterDipole, PhotonBeamDiffusion)
    for name, c in MEDIA.items()
}
PROFILES |= {
    f"NormalizedDiffusion-{fit}-{albedo}": (
        lambda fit=fit, albedo=albedo: NormalizedDiffusion(mi.Float(albedo), mi.Float(0.7), fit)
    )
    for fit in FITS
    for albedo in (0.1, 0.8, 0.99)
}


def over_the_plane(f, radius=(1e-6, 1e5)):
    r = np.geomspace(*radius, 60001)
    return np.trapezoid(np.asarray(f(mi.Float(r)), np.float64) * 2 * np.pi * r**2, np.log(r))


@pytest.mark.parametrize("name", PROFILES)
def test_integrals(name):
    p = PROFILES[name]()
    assert over_the_plane(p.eval) == pytest.approx(p.effective_albedo()[0], rel=5e-3 if "clear" in name else 1e-3)
    assert over_the_plane(p.pdf) == pytest.approx(1, rel=5e-3 if "clear" in name else 1e-3)


@pytest.mark.parametrize("name", PROFILES)
def test_samples_follow_the_density(name):
    """χ² of samples in equally probable intervals, whose probabilities are integrals of the density."""
    p = PROFILES[name]()
    for seed in range(3):
        u = mi.Float((np.arange(40000) + np.random.default_rng(seed).random(40000)) / 40000)
        r = np.asarray(p.sample(mi.Float(np.random.default_rng(seed).random(40000))))
        edges = np.asarray(p.sample(mi.Float(np.arange(1, 20) / 20)), np.float64)
        assert (np.diff(np.asarray(p.sample(u))) >= 0).mean() > 0.98 or "Dipole" in name  # grows with u
        edges = np.r_[1e-7, np.sort(edges), 1e6]
        expected = np.array([over_the_plane(p.pdf, (a, b)) for a, b in itertools.pairwise(edges)])
        counts, _ = np.histogram(r, edges)
        assert stats.chisquare(counts, expected / expected.sum() * counts.sum()).pvalue > 1e-4
        assert counts.sum() >= 39990


@pytest.mark.parametrize("name", PROFILES)
def test_density_covers_the_profile(name):
    """R / pdf is the weight of a sample: bounded."""
    p = PROFILES[name]()
    r = p.sample(mi.Float(np.linspace(0.001, 0.9995, 2000)))
    weight = np.asarray(p.eval(r) / p.pdf(r))
    assert np.isfinite(weight).all() and weight.max() < 4 * p.effective_albedo()[0]


@pytest.mark.parametrize("kind", [Dipole, BetterDipole, PhotonBeamDiffusion])
@pytest.mark.parametrize("k", range(4))
def test_derivatives_of_media(kind, k):
    """Of eval and of the albedo, with respect to σa, σs, g and η, against central differences."""
    if kind is PhotonBeamDiffusion and k >= 2:
        pytest.skip("its g and η select a table")
    r = mi.Float(np.geomspace(0.02, 8, 40))
    base = [0.15, 1.1, 0.3, 1.35]

    def at(shift):
        c = [mi.Float(v) for v in base]
        c[k] = c[k] + shift
        p = kind(Medium(*c))
        return p.eval(r), p.effective_albedo()

    θ = mi.Float(0)
    dr.enable_grad(θ)
    value, albedo = at(θ)
    dr.forward(θ)
    h = 2e-3
    high, low = at(mi.Float(h)), at(mi.Float(-h))
    difference = [(np.asarray(a, np.float64) - np.asarray(b)) / (2 * h) for a, b in zip(high, low)]
    derivative = np.asarray(dr.grad(value))
    # A table is linear in r: crossing a node turns the derivative a little.
    tolerance = 2e-2 if kind is PhotonBeamDiffusion else 5e-3
    assert np.allclose(derivative, difference[0], rtol=tolerance, atol=tolerance * np.abs(derivative).max())
    assert dr.grad(albedo)[0] == pytest.approx(difference[1][0], rel=tolerance, abs=2e-3)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("k", range(2))
def test_derivatives_of_normalized_diffusion(fit, k):
    r = mi.Float(np.geomspace(0.02, 8, 40))
    base = [0.6, 0.9]

    def at(shift):
        c = [mi.Float(v) for v in base]
        c[k] = c[k] + shift
        return NormalizedDiffusion(*c, fit).eval(r)

    θ = mi.Float(0)
    dr.enable_grad(θ)
    value = at(θ)
    dr.forward(θ)
    h = 2e-3
    difference = (np.asarray(at(mi.Float(h)), np.float64) - np.asarray(at(mi.Float(-h)))) / (2 * h)
    derivative = np.asarray(dr.grad(value))
    assert np.allclose(derivative, difference, rtol=5e-3, atol=1e-3 * np.abs(derivative).max())


def test_channels_are_independent():
    """Arrays of channels give what each channel gives alone."""
    a, s = (0.05, 0.2, 0.6), (1.0, 2.0, 0.7)
    for kind in (Dipole, BetterDipole, PhotonBeamDiffusion):
        together = kind(Medium(mi.Color3f(*a), mi.Color3f(*s), mi.Color3f(0), mi.Color3f(1.3)))
        r = mi.Float([0.1, 0.9])
        for c in range(3):
            alone = kind(medium(a[c], s[c]))
            assert np.allclose(together.eval(r)[c], alone.eval(r), rtol=1e-5)
            assert np.allclose(together.sample(mi.Float([0.2, 0.8]))[c], alone.sample(mi.Float([0.2, 0.8])), rtol=1e-4)


def test_dipole_reflectance_is_the_published_closed_form():
    """R_d = α'/2 (1 + exp(-4/3 A √(3 (1 - α')))) exp(-√(3 (1 - α'))), Jensen et al. 2001, eq. 15."""
    alpha = np.array([0.2, 0.5, 0.9, 0.999])
    c1 = first_moment(mi.Float(1.3))[0]
    A = (1 + 2 * c1) / (1 - 2 * c1)
    root = np.sqrt(3 * (1 - alpha))
    published = alpha / 2 * (1 + np.exp(-4 / 3 * A * root)) * np.exp(-root)
    assert np.allclose(Dipole.reflectance(mi.Float(alpha), mi.Float(1.3)), published, rtol=1e-4)


@pytest.mark.parametrize("eta", [1.05, 1.2, 1.3, 1.5, 2.5, 1 / 1.3, 1 / 1.5])
def test_fresnel_moments(eta):
    cosine = (np.arange(100000) + 0.5) / 100000
    F = np.asarray(mi.fresnel(mi.Float(cosine), 1 / eta)[0], np.float64)
    assert first_moment(mi.Float(eta))[0] == pytest.approx((F * cosine).mean(), rel=2e-3)
    assert second_moment(mi.Float(eta))[0] == pytest.approx((F * cosine**2).mean(), rel=4e-3)


@pytest.mark.parametrize("kind", [Dipole, BetterDipole])
def test_albedo_inversion(kind):
    """There and back, and its derivative."""
    A = mi.Float([0.02, 0.3, 0.7, 0.95])
    found = from_albedo(A, mi.Float(0.4), mi.Float(1.4), kind, g=0.5)
    albedo, radius = to_albedo(found, kind)
    assert np.allclose(albedo, A, rtol=1e-4) and np.allclose(radius, 0.4, rtol=1e-5)
    for k in range(3):
        base = [0.7, 0.4, 1.4]

        def at(shift, k=k, base=base):
            c = [mi.Float(v) for v in base]
            c[k] = c[k] + shift
            m = from_albedo(*c, kind, g=0.5)
            return m.sigma_a, m.sigma_s

        θ = mi.Float(0)
        dr.enable_grad(θ)
        value = at(θ)
        dr.forward(θ, flags=dr.ADFlag.ClearInterior)
        h = 4e-3
        for v, a, b in zip(value, at(mi.Float(h)), at(mi.Float(-h))):
            assert dr.grad(v)[0] == pytest.approx((a[0] - b[0]) / (2 * h), rel=0.01, abs=1e-3)


def test_single_scattering_dominates_where_little_scatters():
    """For a small albedo, R → single scattering: an integral that SciPy does, too."""
    from scipy.integrate import quad

    eta, r, albedo = 1.3, 0.5, 1e-4
    critical = r * np.sqrt(eta**2 - 1)

    def integrand(t):
        d = np.hypot(r, t)
        F = float(mi.fresnel(mi.Float(t / d), 1 / eta)[0][0])
        return albedo * np.exp(-d - t) / d**2 / (4 * np.pi) * (1 - F) * t / d

    exact = quad(integrand, critical, critical + 30, limit=200)[0]
    assert tabulate(albedo, np.array([r]), 0.0, eta)[0] == pytest.approx(exact, rel=0.02)
