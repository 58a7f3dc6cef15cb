"""Jumps inside surfaces: derivatives against finite differences, and what is done about those that are not sampled."""

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest

from pbdr.core import errors
from pbdr.integrators.jumps.levels import Levels, is_nearest
from pbdr.scene.sensors import cameras
from pbdr.validation.border_cases import under_spot
from pbdr.validation.cases import CASES, T, diffuse, world
from pbdr.validation.compare import gradcheck
from pbdr.validation.finite_difference import backward_derivative
from pbdr.validation.jump_cases import board, checkerboard, nearest, paint
from pbdr.validation.perturbation import Perturbation

# A few kinds; the slow catalogue (`test_gradients.py`) has all of `jump_cases`.
QUICK = {
    "checker_camera": 64, "nearest_board": 64, "nearest_mesh": 64, "checker_light": 64, "face_colours": 64,
    "instance_nearest": 64, "normal_map_black": 256, "low_poly_ball": 256, "checker_in_turning_mirror": 64, "checker_in_mirror_of_moving_camera": 64,
}  # fmt: skip


@pytest.mark.parametrize("name", QUICK)
def test_seen_by_the_sensor(name):
    report = check(name, QUICK[name], 512)
    assert not report.significant, report
    assert report.conclusive, report
    assert report.mismatch < 1e-3, report


@pytest.mark.parametrize("name", ["wall_glossy", "reflected_low_poly"])
def test_seen_from_path_vertices(name):
    report = check(name, 64, 2048)
    assert not report.significant, report
    assert report.conclusive, report
    assert report.mismatch < 1e-3, report


def check(name, spp, fd_spp, seeds=6, **parameters):
    c = CASES[name]
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": c.max_depth, **parameters})
    return gradcheck(
        c.scene(), c.key, c.direction, integrator=integrator, step=c.step, spp=spp, fd_spp=fd_spp, seeds=seeds,
        required_error=0.04,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["checker_board", "checker_in_turning_mirror"])
def test_without_its_term_the_derivative_is_missing(name):
    report = check(name, 16, 256, sppp=0)
    assert report.significant and report.bias < -0.9, report


def test_a_texture_whose_normals_turn_over_has_a_boundary_of_its_own():
    """Nothing moves but the texels of a normal map: there are no outlines, and yet a jump."""
    c = CASES["normal_map_texels"]
    scene, w = c.scene(), None
    results = []
    for sppp in (16, 0):
        move = Perturbation(mi.traverse(scene), c.key, c.direction)
        integrator = mi.load_dict({"type": "prb_edge", "max_depth": 2, "sppp": sppp})
        w = np.ones((16, 16, 3)) if w is None else w
        results.append(backward_derivative(scene, move, integrator, scene.sensors()[0], 16, 3, w))
    assert abs(results[0] - results[1]) > 1e-3 * abs(results[1])


@pytest.mark.parametrize("channels", [1, 3])
def test_the_filter_of_a_bitmap_is_found_without_evaluating_it(channels):
    assert is_nearest(mi.load_dict(nearest(4, channels=channels)))
    assert not is_nearest(mi.load_dict({**nearest(4, channels=channels), "filter_type": "bilinear"}))


def test_levels_pass_integers_where_the_texture_jumps():
    scene = mi.load_dict(world(board=board(paint(checkerboard(3, 2)))))
    levels = Levels(scene, lambda level, shapes: True)
    rng = mi.PCG32(4096)
    si = dr.zeros(mi.SurfaceInteraction3f, 4096)
    si.uv = mi.Point2f(rng.next_float32(), rng.next_float32())
    si.wi = mi.Vector3f(0, 0, 1)
    shape = scene.shapes()[0]
    u, v = levels.values(si, mi.ShapePtr(shape))
    first = (mi.Int32(dr.floor(u)) + mi.Int32(dr.floor(v))) % 2 == 0
    seen = shape.bsdf().eval_diffuse_reflectance(si)
    np.testing.assert_allclose(np.array(seen[0]), np.where(np.array(first), 0.1, 0.8), atol=1e-6)


def test_curves_are_found_evenly():
    """The weights of all samples sum up to the length of the curves on the film."""
    from pbdr.integrators.jumps.seen import seen_record

    # Straight on: a rectangle of side 2 at distance 5, with one line across it, and outside of [0, 1] nothing.
    scene = mi.load_dict(
        world(board={"type": "rectangle", "emitter": {"type": "area", "radiance": checkerboard(1, 0.4, 0.0, 1.0)}})
    )
    params = mi.traverse(scene)
    move = mi.Float(0)
    dr.enable_grad(move)
    params["board.to_world"] = mi.Transform4f().translate(mi.Point3f(move, 0, 0))
    params.update()
    sensor = scene.sensors()[0]
    camera = cameras(sensor)[0]
    levels = Levels(scene, lambda level, shapes: True)
    totals = []
    for seed in range(4):
        integrator = mi.load_dict({"type": "prb_edge", "max_depth": 2})
        record = seen_record(integrator, scene, camera, levels.ranks()[0], mi.UInt32(seed), 64, 2048)
        # Each sample adds weight · (0 - 1): dark beside bright.
        totals.append(abs(float(dr.sum(dr.select(record.active, record.value.x, 0))[0])))
    side = 16 / (5 * np.tan(np.radians(20)))  # of the rectangle, pixels
    error = np.std(totals, ddof=1) / 2
    assert abs(np.mean(totals) - side) < 4 * error + 1e-3 * side, (totals, side)
    assert error < 0.02 * side


def test_scenes_without_jumps_have_no_levels():
    scene = mi.load_dict(world(board=board(diffuse())))
    assert len(Levels(scene, lambda level, shapes: True)) == 0


def test_what_is_not_sampled_is_said(monkeypatch):
    said = []
    monkeypatch.setattr("pbdr.integrators.jumps.samplers.warn_once", said.append)
    grid = {"type": "gridvolume", "grid": mi.VolumeGrid(np.ones((3, 3, 3), np.float32)), "filter_type": "nearest"}
    scene = mi.load_dict(world(board=board(paint({"type": "volume", "volume": grid}))))
    params = mi.traverse(scene)
    θ = mi.Float(0)
    dr.enable_grad(θ)
    params["board.to_world"] = mi.Transform4f().translate(mi.Point3f(θ, 0, 0))
    params.update()
    image = mi.render(scene, params, integrator=mi.load_dict({"type": "prb_edge", "max_depth": 2}), spp=1)
    dr.backward(dr.sum(image, axis=None))
    assert said and "nearest" in said[0] and "trilinear" in said[0]


def test_reparam_says_that_it_does_not_follow_jumps(monkeypatch):
    said = []
    monkeypatch.setattr(errors, "warn_once", said.append)
    monkeypatch.setattr("pbdr.integrators.missing.warn_once", said.append)
    from pbdr.integrators.missing import warn_of_unfollowed_terms

    warn_of_unfollowed_terms(mi.load_dict(world(board=board(paint(nearest())))))
    assert any("prb_edge samples them" in line and "nearest" in line for line in said)
    said.clear()
    warn_of_unfollowed_terms(mi.load_dict(world(board={"type": "sphere", "to_world": T(), "bsdf": diffuse()})))
    assert not said


@pytest.mark.parametrize("beam", [18.0, 12.0])
def test_a_step_under_a_spot_can_be_frozen(beam, collector_off):
    """Whether the spot has a falloff, and whether a map jumps at its seam, cannot be asked while a step is recorded."""
    data = np.random.default_rng(1).uniform(0.1, 0.9, (4, 4, 3)).astype(np.float32)
    clamped = {"type": "bitmap", "data": mi.TensorXf(data), "raw": True, "wrap_mode": "clamp"}
    scene = under_spot(bsdf={"type": "diffuse"})
    scene["spot"]["beam_width"] = beam
    scene["ball"] = {"type": "sphere", "center": [0.6, -0.5, 0], "radius": 0.5, "bsdf": paint(clamped)}
    scene["box"] = {"type": "cube", "to_world": T().translate([-0.5, -0.6, 0]).scale(0.3)}
    scene = mi.load_dict(scene)
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 2})
    integrator.shares = (1.0, 1.0, 1.0)
    params, key = mi.traverse(scene), "box.vertex_positions"
    dr.enable_grad(params[key])
    params.update()

    def step(params, seed):
        image = mi.render(scene, params, integrator=integrator, seed=seed, spp=4)
        dr.backward(dr.sum(image, axis=None), flags=dr.ADFlag.ClearInterior)
        return image.array

    def gradient(function, seed):
        dr.set_grad(params[key], 0)
        function(params, dr.opaque(mi.UInt32, seed))
        return dr.grad(params[key]).numpy()

    gradient(step, 0)
    frozen = dr.freeze(step)
    for seed in (1, 2):
        assert np.abs(gradient(frozen, seed)).max() > 0
