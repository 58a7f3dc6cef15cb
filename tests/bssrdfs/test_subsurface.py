"""The `subsurface` material: its local form, transport through objects, and derivatives of both."""

import re

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest

from pbdr import InputError, UnsupportedError
from pbdr.bssrdfs.dipole import BetterDipole
from pbdr.validation.cases import CASES, T, diffuse, film, glow, rgb
from pbdr.validation.compare import gradcheck

BALL = {"type": "sphere"}
PLANE = {"type": "rectangle", "to_world": T().scale(1000)}
VARIETY = {
    "rough": {"albedo": rgb(0.8, 0.5, 0.3), "radius": 0.1, "alpha": 0.3},
    "smooth": {"albedo": 0.6, "radius": 0.1, "alpha": 0.0},
    "dipole": {"profile": "dipole", "albedo": 0.6, "radius": 0.1},
    "better_dipole": {"profile": "better_dipole", "sigma_a": 1.0, "sigma_s": 20.0, "g": 0.2},
    "beam": {"profile": "photon_beam_diffusion", "sigma_a": 1.0, "sigma_s": 20.0},
}


def scene(material, shape=PLANE, kind="prb_edge", **more):
    return mi.load_dict({
        "type": "scene",
        "integrator": {"type": kind, "max_depth": 4},
        "sensor": {
            "type": "perspective", "to_world": T().look_at([0, 2, 5], [0, 0, 0], [0, 1, 0]),
            "film": film(16), "sampler": {"type": "multijitter"},
        },
        "light": {"type": "constant"},
        "s": {**shape, "bsdf": {"type": "subsurface", **material}},
        **more,
    })  # fmt: skip


@pytest.mark.parametrize("name", VARIETY)
def test_chi_square_of_the_local_form(name):
    material = {"type": "subsurface", **VARIETY[name]}
    if name == "smooth":
        pytest.skip("a Dirac lobe has no density")
    bsdf = mi.load_dict(material)
    rng = np.random.default_rng(1)
    n, bins = 200_000, (12, 24)
    for theta in (0.2, 1.2):
        si = dr.zeros(mi.SurfaceInteraction3f, n)
        si.wi = mi.Vector3f(float(np.sin(theta)), 0, float(np.cos(theta)))
        u = rng.random((3, n))
        bs, weight = bsdf.sample(mi.BSDFContext(), si, mi.Float(u[0]), mi.Point2f(u[1:]))
        wo = np.asarray(bs.wo)[:, np.asarray(bs.pdf) > 0]
        count, _, _ = np.histogram2d(wo[2], np.arctan2(wo[1], wo[0]), bins, [(0, 1), (-np.pi, np.pi)])
        # The density over each cell, by a fine grid in it.
        m = 24
        zc = (np.arange(bins[0] * m) + 0.5) / (bins[0] * m)
        φc = (np.arange(bins[1] * m) + 0.5) / (bins[1] * m) * 2 * np.pi - np.pi
        Z, Φ = (g.ravel() for g in np.meshgrid(zc, φc, indexing="ij"))
        r = np.sqrt(1 - Z**2)
        grid = dr.zeros(mi.SurfaceInteraction3f, len(Z))
        grid.wi = mi.Vector3f(float(np.sin(theta)), 0, float(np.cos(theta)))
        _, p = bsdf.eval_pdf(mi.BSDFContext(), grid, mi.Vector3f(r * np.cos(Φ), r * np.sin(Φ), Z))
        cells = np.asarray(p).reshape(bins[0], m, bins[1], m).sum((1, 3)) * (2 * np.pi / len(Z)) * n
        large = cells > 30
        assert (np.abs(count - cells)[large] < 5.5 * np.sqrt(cells[large])).all()
        # The weight is value over density.
        hit = np.asarray(bs.pdf) > 0
        again, p = bsdf.eval_pdf(mi.BSDFContext(), si, bs.wo)
        assert np.allclose(np.asarray(weight)[:, hit], np.asarray(again / p)[:, hit], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", VARIETY)
def test_other_integrators_see_a_diffuse_surface(name):
    """Never black; and far from every edge the same as transport, whose mean free path is small there."""
    s = scene(VARIETY[name])
    ours = np.asarray(mi.render(s, spp=512))[5:11, 5:11].mean((0, 1))
    other = np.asarray(mi.render(s, spp=512, integrator=mi.load_dict({"type": "path", "max_depth": 4})))
    assert ours == pytest.approx(other[5:11, 5:11].mean((0, 1)), rel=0.01)
    assert ours.min() > 0.2


@pytest.mark.parametrize("shape", [PLANE, BALL])
@pytest.mark.parametrize("alpha", [0.0, 0.2])
def test_white_furnace(shape, alpha):
    """No energy gained; on a plane only the 0.1 % beyond the bound of the probes is lost."""
    image = np.asarray(mi.render(scene({"albedo": 1.0, "radius": 0.1, "alpha": alpha}, shape), spp=1024))
    middle = image[5:11, 5:11].mean()
    assert (0.99 if shape is PLANE else 0.9) < middle < 1.003


def test_mean_free_path_blurs():
    """A narrow beam on a plane: a longer mean free path spreads the spot and keeps its total."""
    beam = {
        "type": "spot",
        "to_world": T().look_at([0, 0, 4], [0, 0, 0], [0, 1, 0]),
        "cutoff_angle": 3,
        "beam_width": 2,
    }
    images = []
    for radius in (0.02, 0.15):
        s = scene({"albedo": 0.8, "radius": radius}, light={**beam, "intensity": 100.0})
        images.append(np.asarray(mi.render(s, spp=4096, seed=3), np.float64)[..., 0])
    narrow, wide = images
    assert narrow.max() > 1.5 * wide.max()
    assert wide[8, 10] > 3 * narrow[8, 10]
    assert narrow.sum() == pytest.approx(wide.sum(), rel=0.05)


def test_coefficients_and_albedo_are_the_same_material():
    A = float(BetterDipole.reflectance(mi.Float(20 / 21), mi.Float(1.3))[0])
    one = scene({"profile": "better_dipole", "sigma_a": 1.0, "sigma_s": 20.0}, BALL)
    two = scene({"profile": "better_dipole", "albedo": A, "radius": 1 / 21}, BALL)
    a, b = (np.asarray(mi.render(s, spp=256)) for s in (one, two))
    assert a.mean() == pytest.approx(b.mean(), rel=2e-3)


LAMP = {
    "type": "rectangle", "to_world": T().translate([1, 3, 1]).rotate([1, 0, 0], 90).scale(0.5), "emitter": glow(9, 8, 6),
}  # fmt: skip
FLOOR = {"type": "rectangle", "to_world": T().translate([0, -1, 0]).rotate([1, 0, 0], -90).scale(4), "bsdf": diffuse()}
WALK = {"profile": "random_walk", "sigma_a": rgb(0.4, 0.6, 0.9), "sigma_s": 6.0, "g": 0.3}
PARAMETERS = {
    "walk_albedo": (VARIETY["rough"] | {"profile": "random_walk", "radius": 0.3}, "albedo.value", 0.02),
    "walk_radius": (VARIETY["rough"] | {"profile": "random_walk", "radius": 0.3}, "radius.value", 0.02),
    "walk_sigma_a": (WALK, "sigma_a.value", 0.04),
    "walk_sigma_s": (WALK, "sigma_s.value", 0.4),
    "walk_g": (WALK, "g.value", 0.05),
    "albedo": (VARIETY["rough"] | {"radius": 0.3}, "albedo.value", 0.02),
    "radius": (VARIETY["rough"] | {"radius": 0.3}, "radius.value", 0.02),
    "alpha": (VARIETY["rough"], "alpha.value", 0.02),
    "eta": (VARIETY["rough"], "eta", 0.02),
    "sigma_a": (VARIETY["better_dipole"] | {"sigma_a": 0.4, "sigma_s": 6.0}, "sigma_a.value", 0.04),
    "sigma_s": (VARIETY["better_dipole"] | {"sigma_a": 0.4, "sigma_s": 6.0}, "sigma_s.value", 0.4),
    "g": (VARIETY["better_dipole"] | {"sigma_a": 0.4, "sigma_s": 6.0}, "g.value", 0.05),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[pytest.mark.slow] if n not in ("albedo", "radius", "walk_albedo") else [])
        for n in PARAMETERS
    ],
)
@pytest.mark.parametrize("kind", ["prb_edge", pytest.param("prb_reparam", marks=pytest.mark.slow)])
def test_derivatives(name, kind):
    material, key, step = PARAMETERS[name]
    s = scene(material, BALL, kind, light=LAMP, floor=FLOOR)
    # Small derivatives: what is reflected more enters less; a walk knows its radius by how often it scattered.
    effort = {"eta": 8, "alpha": 8, "walk_radius": 4, "walk_g": 8, "walk_sigma_s": 2, "walk_albedo": 0.25}.get(name, 1)
    more = {"spp": int(400 * effort), "fd_spp": int(1600 * effort)}
    report = gradcheck(s, f"s.bsdf.{key}", "uniform", step=step, **more, seeds=8, required_error=0.03)
    assert not report.significant, report
    assert report.conclusive, report
    assert report.mismatch < 1e-3, report


BLOCK = {"type": "sphere", "center": [0.6, 1.6, 0.4], "radius": 0.35, "bsdf": diffuse(0.2, 0.2, 0.2)}
FRONT = {"type": "sphere", "center": [0.1, 0.3, 2.2], "radius": 0.3, "bsdf": diffuse(0.2, 0.2, 0.2)}
DICE = {"type": "cube", "to_world": T().rotate([1, 2, 0.5], 35).scale(0.7)}
MOTIONS = {
    "shadow": (BALL, "block.to_world", "translate_x"),  # of a resting light on a resting translucent ball
    "lamp": (BALL, "light.to_world", "translate_x"),
    "dice": (DICE, "s.vertex_positions", "scale"),
    "ball": (BALL, "s.to_world", "scale"),
    "ball behind": (BALL, "s.to_world", "scale"),  # something that rests before it
    "walked ball": (BALL, "s.to_world", "scale"),
    "walked ball behind": (BALL, "s.to_world", "scale"),
    "walked dice": (DICE, "s.vertex_positions", "scale"),
}


@pytest.mark.parametrize(
    "name",
    [
        "shadow",
        "ball behind",
        "walked ball behind",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("lamp", "dice", "ball", "walked ball", "walked dice")),
    ],
)
def test_geometry(name):
    """Boundary terms at the point where light enters, and the motion of both points of the object."""
    shape, key, direction = MOTIONS[name]
    walked = name.startswith("walked")
    more = {"front": FRONT} if name.endswith("behind") else {}
    if walked:  # seen directly: walks that another surface sees have few, large errors
        more["integrator"] = {"type": "prb_edge", "max_depth": 2}
        s = scene(WALK | {"alpha": 0.3}, shape, light=LAMP, block=BLOCK, **more)
    else:
        s = scene(VARIETY["rough"] | {"radius": 0.3}, shape, light=LAMP, floor=FLOOR, block=BLOCK, **more)
    # Sums in float32: more samples of a walk drown what one of them adds to a matrix.
    spp = {"dice": 4096, "walked dice": 1024, "walked ball": 128, "walked ball behind": 128}.get(name, 256)
    report = gradcheck(s, key, direction, step=0.02, spp=spp, fd_spp=2048, seeds=8, required_error=0.03)
    assert not report.significant, report
    assert report.conclusive, report
    assert report.mismatch < 1e-3, report


@pytest.mark.parametrize("name", ["shadow", pytest.param("ball_scale", marks=pytest.mark.slow)])
def test_geometry_followed_by_a_field(name):
    """prb_reparam carries what moves from x_o on to x_i."""
    c = CASES[f"translucent_{name}"]
    ours, reference = (mi.load_dict({"type": t, "max_depth": 3}) for t in ("prb_reparam", "prb_edge"))
    more = {"spp": 2048, "fd_spp": 4096} if name == "ball_scale" else {"spp": 256, "fd_spp": 1024}
    report = gradcheck(
        c.scene(),
        c.key,
        c.direction,
        integrator=ours,
        reference=reference,
        step=c.step,
        **more,
        seeds=8,
        required_error=0.03,
    )
    assert not report.significant, report
    assert report.conclusive, report
    assert report.mismatch < 1e-3, report


def test_walks_followed_by_a_field():
    """The field slides x_o over the surface, and the walk follows."""
    s = scene(WALK | {"alpha": 0.3}, BALL, light=LAMP)
    ours, reference = (mi.load_dict({"type": t, "max_depth": 2}) for t in ("prb_reparam", "prb_edge"))
    more = {"integrator": ours, "reference": reference, "step": 0.02, "spp": 256, "fd_spp": 2048, "seeds": 8}
    report = gradcheck(s, "s.to_world", "scale", **more, required_error=0.03)
    assert not report.significant, report
    assert report.conclusive, report
    assert report.mismatch < 1e-3, report


@pytest.mark.parametrize("what", ["sensor", "point light", "walk", "walk by a field"])
def test_geometry_that_is_refused(what):
    light = {"type": "point", "position": [1, 4, 1]} if what == "point light" else LAMP
    material = WALK | {"alpha": 0.0} if what.startswith("walk") else VARIETY["rough"]
    s = scene(material, BALL, light=light)
    kind = {"type": "prb_reparam" if what == "walk by a field" else "prb_edge", "max_depth": 3}
    params = mi.traverse(s)
    key = {"sensor": "sensor.to_world", "walk by a field": "light.to_world"}.get(what, "s.to_world")
    θ = mi.Float(0)
    dr.enable_grad(θ)
    params[key] = mi.Transform4f().translate(mi.Vector3f(θ, 0, 0)) @ params[key]
    params.update()
    with pytest.raises(RuntimeError, match="subsurface") as error:
        dr.backward(dr.sum(mi.render(s, params, integrator=mi.load_dict(kind), spp=4).array))
    assert "moves" in str(error.value) or isinstance(error.value.__cause__, UnsupportedError)


@pytest.mark.parametrize(
    "material, message",
    [
        ({"profile": "better_dipol"}, "better_dipole"),
        ({"albedo": 0.5, "sigma_a": 1.0, "sigma_s": 1.0}, "either"),
        ({"sigma_a": 1.0}, "without the other"),
        ({"int_ior": 9.0}, "int_ior"),
        ({"profile": "random_walk", "int_ior": 0.1}, "int_ior"),
    ],
)
def test_bad_parameters(material, message):
    with pytest.raises((InputError, UnsupportedError, RuntimeError), match=re.escape(message)):
        mi.load_dict({"type": "subsurface", **material})


def test_variants_one_after_the_other():
    """The class is bound to each variant's BSDF, whichever module was loaded first."""
    current = mi.variant()
    try:
        for variant in (current.replace("rgb", colours) for colours in ("spectral", "mono", "rgb")):
            mi.set_variant(variant)
            image = np.asarray(mi.render(scene(VARIETY["smooth"], BALL), spp=64))
            assert image[5:11, 5:11].mean() == pytest.approx(0.59, abs=0.03)
    finally:
        mi.set_variant(current)
