"""prb_reparam: fields, boundary measures, agreement with finite differences, old scenes, bad input."""

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest

from pbdr.core import errors
from pbdr.core.errors import UnsupportedError
from pbdr.geometry.boundary_measure import BoundaryMeasure
from pbdr.integrators.charts import FilmChart
from pbdr.integrators.warp import WarpField, WarpSettings
from pbdr.sampling.paired import lane_sampler, seeded
from pbdr.scene.sensors import cameras
from pbdr.validation.cases import CASES, T, camera, diffuse, texture, world
from pbdr.validation.compare import gradcheck
from pbdr.validation.finite_difference import forward_derivative
from pbdr.validation.perturbation import Perturbation

OLD_SCENE = """<scene version="3.0.0">
  <integrator type="prb_reparam">
    <integer name="max_depth" value="3"/> <integer name="reparam_max_depth" value="2"/>
    <integer name="reparam_rays" value="8"/> <float name="reparam_kappa" value="1e5"/>
    <float name="reparam_exp" value="3"/> <boolean name="reparam_antithetic" value="false"/>
    <boolean name="reparam_unroll" value="false"/>
  </integrator>
  <sensor type="perspective"><transform name="to_world"><lookat origin="0,0,5" target="0,0,0" up="0,1,0"/></transform>
    <film type="hdrfilm"><integer name="width" value="8"/><integer name="height" value="8"/></film></sensor>
  <shape type="sphere"/><emitter type="constant"/>
</scene>"""


def distance_scene(shift=0.0):
    z, y, x = np.meshgrid(*[np.linspace(-0.5, 0.5, 12)] * 3, indexing="ij")
    field = np.sqrt(x**2 + y**2 + z**2) - 0.3 + shift
    sdf = {
        "type": "sdfgrid", "grid": mi.TensorXf(field[..., None].astype(np.float32)), "bsdf": diffuse(0.2, 0.2, 0.2),
        "to_world": mi.ScalarTransform4f().translate(-0.5),
    }  # fmt: skip
    return world(sensor=camera(origin=(0, 0, 3), fov=25), shape=sdf)


@pytest.mark.parametrize(
    "name, spp, error",
    [
        ("smooth_mesh_scale", 128, 0.02),
        ("receiver_area", 128, 0.03),
        ("lit_cube", 64, 0.03),
        ("thin_lens", 64, 0.05),
        ("own_horizon", 128, 0.03),
        ("bend_horizon", 128, 0.03),
        ("ball_before_ball", 128, 0.02),
    ],
)
def test_quick(name, spp, error):
    c = CASES[name]
    report = gradcheck(
        c.scene(), c.key, c.direction, integrator=mi.load_dict({"type": "prb_reparam", "max_depth": c.max_depth}),
        reference=mi.load_dict({"type": "path", "max_depth": c.max_depth}),
        step=c.step, spp=spp, fd_spp=1024, seeds=8, required_error=error,
    )  # fmt: skip
    assert not report.significant, report
    assert report.conclusive, report
    assert report.mismatch < 1e-3, report


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.group in ("silhouette", "indirect")])
def test_agrees_with_prb_edge(name):
    c = CASES[name]
    emitters = [e.flags() for e in c.scene().emitters()]
    if any(mi.has_flag(f, mi.EmitterFlags.Delta) for f in emitters) or name == "filter_box":
        pytest.skip("outside of the capabilities")
    if c.integrator.get("hide_emitters"):
        pytest.skip("outlines behind hidden lights: warned of")
    if any(mi.has_flag(s.bsdf().flags(), mi.BSDFFlags.Delta) for s in c.scene().shapes() if s.bsdf() is not None):
        pytest.skip("outlines seen in mirrors: warned of")
    if c.key.startswith("sensor"):
        pytest.skip("sensors: refused")
    scene, means, errors = c.scene(), [], []
    move = Perturbation(mi.traverse(scene), c.key, c.direction)
    weights = None
    for kind, spp in (("prb_edge", 128), ("prb_reparam", 512)):
        integrator = mi.load_dict({"type": kind, "max_depth": c.max_depth, **c.integrator})
        images = np.array([forward_derivative(scene, move, integrator, scene.sensors()[0], spp, k) for k in range(16)])
        if weights is None:
            weights, images = images[::2].mean(0), images[1::2]
        values = (images * weights).sum((1, 2, 3)) / (weights**2).sum()
        means.append(values.mean())
        errors.append(values.std(ddof=1) / np.sqrt(len(values)))
    assert abs(means[0] - means[1]) < 3 * np.hypot(*errors) + 0.03


def test_textured_light_that_moves_under_a_sky():
    """The ray to a sample of the sky is longer than any number; no derivative of the light's texture may come from it."""
    panel = {"type": "rectangle", "to_world": T().look_at([1, 1.9, 1], [0, -0.3, 0], [0, 1, 0]).scale(0.35)}
    panel["emitter"] = {"type": "area", "radiance": texture(4, 2, 9)}
    ground = {"type": "rectangle", "to_world": T().translate([0, -0.5, 0]).rotate([1, 0, 0], -90).scale(3)}
    scene = mi.load_dict(world(light=panel, floor={**ground, "bsdf": diffuse()}, sensor=camera(origin=(0, 2, 4))))
    report = gradcheck(
        scene, "light.to_world", "translate_x", integrator=mi.load_dict({"type": "prb_reparam", "max_depth": 2}),
        reference=mi.load_dict({"type": "path", "max_depth": 2}), step=0.05, spp=64, fd_spp=1024, seeds=8,
        required_error=0.04,
    )  # fmt: skip
    assert report.passed, report


def test_moving_point_lights_are_warned_of():
    errors._warned.clear()
    derivative("moving_light_point")
    assert any("prb_reparam: the shadows of point" in line for line in errors._warned)


def test_distance_field_against_differences():
    """Its grid is not among Mitsuba's differentiable parameters; here it is."""
    scene = mi.load_dict(distance_scene())
    report = gradcheck(
        scene, "shape.grid", integrator=mi.load_dict({"type": "prb_reparam", "max_depth": 2}),
        reference=mi.load_dict({"type": "path", "max_depth": 2}), step=0.005, spp=128, fd_spp=1024, seeds=8,
        required_error=0.04,
    )  # fmt: skip
    assert report.passed, report


def derivative(name, spp=4, seed=1, kind="prb_reparam", **parameters):
    c = CASES[name]
    scene = c.scene()
    move = Perturbation(mi.traverse(scene), c.key, c.direction)
    integrator = mi.load_dict({"type": kind, "max_depth": 2, **parameters})
    return forward_derivative(scene, move, integrator, scene.sensors()[0], spp, seed)


def field_of(name, settings, count=1 << 15):
    """V and ∇·V at uniform film positions, for the case's motion."""
    c = CASES[name]
    scene = c.scene()
    move = Perturbation(mi.traverse(scene), c.key, c.direction)
    θ = mi.Float(0)
    dr.enable_grad(θ)
    move.set(θ)
    dr.forward(θ, flags=dr.ADFlag.ClearEdges)
    (cam,) = cameras(scene.sensors()[0])
    with dr.suspend_grad():
        rng = lane_sampler(mi.UInt32(3), count)
        low, high = cam.window()
        pos = mi.Point2f(low + (high - low) * rng.next_2d())
        chart = FilmChart(cam, pos, mi.Float(0), 0, mi.Point2f(0.5), mi.Vector2f(0), mi.Float(4.0))
        field = WarpField(scene, BoundaryMeasure(scene, {}), settings)
        lanes = dr.arange(mi.UInt32, count)
        return [np.array(x) for x in field.forward(chart, seeded(lanes, mi.UInt32(1)), mi.Bool(True))]


@pytest.mark.parametrize("rays", [2, 4])
def test_divergence_integrates_to_zero(rays):
    """The field vanishes at the border: exact for any number of rays."""
    _, div = field_of("smooth_mesh_scale", WarpSettings(rays, 1e4, 3.0))
    error = div.std(ddof=1) / np.sqrt(div.size)
    assert error > 0 and abs(div.mean()) < 3.5 * error


def test_few_rays_underestimate_without_debiasing():
    """The known bias of the consistent estimator, and that debiasing removes it."""
    exact = derivative("sphere_translate_x", 64, kind="prb_edge")
    ratios = {}
    for debiased in (False, True):
        options = {"reparam_rays": 8, "reparam_kappa": 1e4, "reparam_debiased": debiased}
        images = [derivative("sphere_translate_x", 128, k, **options) for k in range(6)]
        ratios[debiased] = np.array([(x * exact).sum() / (exact**2).sum() for x in images])
    assert ratios[False].mean() < 0.93
    error = ratios[True].std(ddof=1) / np.sqrt(6)
    assert error < 0.015 and abs(ratios[True].mean() - 1) < 3 * error + 0.01


def test_field_follows_the_shape():
    """Deep inside, V is the motion of the surface on the film; far outside it is 0.

    Beside an edge only the motion across it is fixed: there V may turn.
    """
    V, _ = field_of("rectangle_translate_x", WarpSettings(8, 1e4, 3.0), 4096)
    moving = np.hypot(*V) > 1e-6
    assert 0.05 < moving.mean() < 0.95
    turned = np.abs(V[1]) > 1e-3 * np.abs(V[0]).max()
    assert turned.mean() < 0.2
    inside = ~turned & (np.hypot(*V) > 1e-6)
    low, middle, high = np.quantile(V[0][inside], [0.4, 0.5, 0.9])  # less: the way out to 0
    assert 0.8 * middle < low < high < 1.3 * middle  # perspective


@pytest.mark.parametrize("name", ["sphere_scale", "disk_scale", "cylinder_scale", "cube_scale", "smooth_mesh_scale"])
def test_boundary_measure_vanishes_at_the_silhouette_only(name):
    """Where a pixel-wide neighbour is missed, s is small; s never exceeds the angle to the nearest miss."""
    scene = CASES[name].scene()
    n = 192
    i = dr.arange(mi.UInt32, n * n)
    uv = mi.Point2f((mi.Float(i % n) + 0.5) / n, (mi.Float(i // n) + 0.5) / n)
    ray, _ = scene.sensors()[0].sample_ray(0, 0.5, uv, mi.Point2f(0.5))
    pi = scene.ray_intersect_preliminary(ray)
    flags = mi.RayFlags.ShadingFrame | mi.RayFlags.UV | mi.RayFlags.dPdUV
    si = pi.compute_surface_interaction(ray, flags)
    nearest = BoundaryMeasure(scene, {}).eval(ray, pi, si)
    B, s = (np.array(x).reshape(n, n) for x in (nearest.B, nearest.s))
    hit = np.array(pi.is_valid()).reshape(n, n)
    inner = hit.copy()
    for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
        inner &= np.roll(hit, shift, axis)
    rim = hit & ~inner
    pixel = 2 * np.tan(np.radians(20)) / n
    assert np.median(s[rim]) < 2 * pixel and s[rim].max() < 12 * pixel
    assert np.all(B[~hit] == 1) and B[rim].mean() < 0.5 * B[hit].max()
    assert s[hit].max() > 10 * pixel and s.min() >= 0


def test_old_scene_renders_unchanged():
    scene = mi.load_string(OLD_SCENE)
    assert scene.integrator().settings.rays == 8 and scene.integrator().warp_depth == 2
    ours = np.array(mi.render(scene, spp=64, seed=3))
    theirs = np.array(mi.render(scene, integrator=mi.load_dict({"type": "prb", "max_depth": 3}), spp=64, seed=3))
    assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_only_materials_needs_no_field():
    c = CASES["albedo_texture"]
    scene = c.scene()
    move = Perturbation(mi.traverse(scene), c.key, c.direction)
    images = [
        forward_derivative(scene, move, mi.load_dict({"type": t, "max_depth": 3}), scene.sensors()[0], 16, 5)
        for t in ("prb_reparam", "prb_edge")
    ]
    assert np.allclose(*images)


def test_bad_input(refuse):
    refuse(
        "reparam: method",
        ["method", "warp"],
        lambda: mi.load_dict({"type": "prb_reparam", "method": "magic"}),
        RuntimeError,
    )
    refuse(
        "reparam: typo", "reparam_rays", lambda: mi.load_dict({"type": "prb_reparam", "reparam_ray": 4}), RuntimeError
    )
    refuse(
        "reparam: rays", "reparam_rays", lambda: mi.load_dict({"type": "prb_reparam", "reparam_rays": 1}), RuntimeError
    )
    refuse("reparam: box filter", "tent", lambda: derivative("filter_box"), UnsupportedError)
    refuse("reparam: camera", "prb_edge", lambda: derivative("camera_rotate"), UnsupportedError)
    refuse("reparam: endless paths", "max_depth", lambda: derivative("sphere_scale", max_depth=-1), UnsupportedError)

    def edges_of_a_field():
        scene = mi.load_dict(distance_scene())
        move = Perturbation(mi.traverse(scene), "shape.grid")
        forward_derivative(scene, move, mi.load_dict({"type": "prb_edge", "max_depth": 2}), scene.sensors()[0], 1, 1)

    refuse("edges of an sdfgrid", "prb_reparam", edges_of_a_field, UnsupportedError)


def test_curves(tmp_path):
    """The control points of a B-spline curve: a shape whose outline nobody lists."""
    t = np.linspace(0, 1, 8)
    np.savetxt(tmp_path / "curve.txt", np.stack([np.sin(5 * t), 2 * t - 1, 0.3 * np.cos(4 * t), 0.25 + 0 * t], -1))
    scene = mi.load_dict({
        "type": "scene", "sensor": camera(), "light": {"type": "constant", "radiance": 0.3},
        "curve": {"type": "bsplinecurve", "filename": str(tmp_path / "curve.txt"), "bsdf": diffuse(0.7, 0.6, 0.5)},
    })  # fmt: skip
    params = mi.traverse(scene)
    key = "curve.control_points"
    start = mi.Float(params[key])
    right = mi.Float(np.tile([1, 0, 0, 0], len(t)).astype(np.float32))

    def move(θ):
        params[key] = start + θ * right
        params.update()

    def image(θ, seed):
        move(θ)
        return np.array(
            mi.render(scene, integrator=mi.load_dict({"type": "path", "max_depth": 2}), spp=1024, seed=seed), np.float64
        )

    exact = np.mean([(image(0.02, k) - image(-0.02, k)) / 0.04 for k in range(4)], 0)
    ratios = []
    for seed in range(6):
        θ = mi.Float(0)
        dr.enable_grad(θ)
        move(θ)
        dr.forward(θ, flags=dr.ADFlag.ClearEdges)
        integrator = mi.load_dict({"type": "prb_reparam", "max_depth": 2})
        ratios.append((np.array(integrator.render_forward(scene, params, spp=128, seed=seed)) * exact).sum())
    ratios = np.array(ratios) / (exact**2).sum()
    error = ratios.std(ddof=1) / np.sqrt(len(ratios))
    assert error < 0.012 and abs(ratios.mean() - 1) < 3 * error + 0.005


def test_outlines_behind_hidden_lights_are_warned_of(monkeypatch):
    """The derivative of the case was found to be missing altogether."""
    said = []
    monkeypatch.setattr("pbdr.integrators.missing.warn_once", said.append)
    c = CASES["behind_hidden_lamp"]
    scene = c.scene()
    move = Perturbation(mi.traverse(scene), c.key, c.direction)
    for hide, expected in ((True, 1), (False, 0)):
        said.clear()
        integrator = mi.load_dict({"type": "prb_reparam", "max_depth": c.max_depth, "hide_emitters": hide})
        forward_derivative(scene, move, integrator, scene.sensors()[0], 1, 0)
        assert sum("hide_emitters hides" in text for text in said) >= expected
        assert expected or not any("hide_emitters hides" in text for text in said)
