"""Derivatives against finite differences: forward and backward, several seeds, error bars."""

import json

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest

from pbdr.integrators.indirect import Indirect
from pbdr.validation.cases import CASES, camera, diffuse, environment, film, world
from pbdr.validation.compare import gradcheck
from pbdr.validation.finite_difference import forward_derivative
from pbdr.validation.meshes import mesh_file
from pbdr.validation.perturbation import Perturbation

# A quick row of each group; `make test-all` and benchmarks/bm_bias.py run the whole catalogue.
CONTINUOUS = [
    "albedo_zero", "alpha", "mirror_tint", "environment_map", "plane_under_projector", "rotating_plane",
    "textured_emitter",
]  # fmt: skip
DIRAC = [
    "plastic_colour",
    "beckmann_coat_eta",
    "blend_with_mirror",
    "normal_map_on_mirror",
    "mirror_turns",
    "opacity_alpha",
]
# One convex object each: nothing but its outline changes, so the indirect boundary is left out.
OUTLINES = [
    "sphere_scale", "cylinder_rotate", "cube_translate_x", "flat_mesh_scale", "seamed_mesh_translate_x",
    "filter_lanczos", "thin_lens", "orthographic", "crop", "alpha_without_sky", "batch", "near_plane", "no_border",
    "mirror_ball", "behind_hidden_lamp", "mirrored_rectangle",
]  # fmt: skip
INDIRECT = [
    "shadow_spot", "round_shadow_area", "receiver_point", "self_shadow_area", "moving_light_point", "mirrored_box",
    "camera_rotate", "own_horizon", "bend_horizon", "box_in_turning_mirror", "glossy_wall", "camera_glossy_wall",
    "box_behind_veil_under_hidden_sky", "shadow_behind_veil", "shadow_projector",
]  # fmt: skip
CONTACT = [
    "floor_under_box", "box_on_floor_by_point", "camera_before_box", "box_nearly_on_floor", "box_through_floor",
    "ball_through_floor", "pipe_through_ball", "camera_before_ball_through_box", "ball_through_box_of_a_group",
]  # fmt: skip
BORDERS = ["six_sides_seen", "hard_spot_seen", "closed_can", "seam_off_by_rounding", "turned_face"]
EDGE_ON = ["edge_on_orthographic", "edge_on_perspective"]  # shadows: `test_edge_on`


def check(name, seeds, fd_spp, error, spp=144, **parameters):
    c = CASES[name]
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": c.max_depth, **c.integrator, **parameters})
    return gradcheck(
        c.scene(), c.key, c.direction, integrator=integrator, step=c.step, spp=spp, fd_spp=fd_spp, seeds=seeds,
        required_error=error,
    )  # fmt: skip


@pytest.mark.parametrize("name", CONTINUOUS + DIRAC + OUTLINES + INDIRECT + CONTACT + EDGE_ON + BORDERS)
def test_quick(name):
    spp = 1024 if name == "mirrored_box" else 256 if name in CONTACT else 144
    seeds = 16 if name == "bend_horizon" else 8  # of its differences one in eight lies far out
    off = {"sppp": 0, "sppi": 0} if name in CONTINUOUS + DIRAC else {"sppi": 0} if name in OUTLINES else {}
    report = check(name, seeds, 512, 0.04, spp, **off)
    assert not report.significant, report
    assert report.conclusive, report
    assert report.mismatch < 1e-3, report


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_catalogue(name):
    report = check(name, 16, 4096, 0.01)
    assert not report.significant, report
    assert report.mismatch < 1e-3, report


def test_a_missing_boundary_is_found():
    """The check can fail: without its boundary term the sphere is biased."""
    c = CASES["sphere_translate_x"]
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 2, "sppp": 0})
    report = gradcheck(
        c.scene(), c.key, c.direction, integrator=integrator, spp=16, fd_spp=512, seeds=6, required_error=0.05
    )
    assert report.significant and not report.passed


def test_mitsuba_loses_the_derivative_of_black():
    c = CASES["albedo_zero"]
    report = gradcheck(
        c.scene(), c.key, integrator=mi.load_dict({"type": "prb"}), step=c.step, spp=64, fd_spp=256, seeds=6
    )
    assert report.integrator == "prb" and report.bias < -0.5


def test_report_files(tmp_path):
    report = check("albedo", 4, 64, 0.5, spp=16)
    report.save(tmp_path)
    data = json.loads((tmp_path / "gradcheck.json").read_text())
    assert data["verdict"] == report.verdict()
    assert {p.name for p in tmp_path.glob("*.png")} == {"derivative.png", "reference.png", "z.png"}


def test_moving_the_camera_is_moving_the_scene_back():
    """Same pixels, opposite sign: only the sensor, or only the one shape of the scene, is attached."""
    scene = CASES["sphere_scale"].scene()
    sensor, images = scene.sensors()[0], []
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 2})
    for key in ("sensor.to_world", "shape.to_world"):
        move = Perturbation(mi.traverse(scene), key, "translate_x")
        images.append([forward_derivative(scene, move, integrator, sensor, 64, k) for k in range(6)])
    weights = np.mean(images[1], 0)
    moved = [(x * weights).sum() for x in images[0]], [-(x * weights).sum() for x in images[1]]
    error = np.hypot(*(np.std(x, ddof=1) / np.sqrt(6) for x in moved))
    assert abs(np.mean(moved[0]) - np.mean(moved[1])) < 4 * error + 1e-4 * abs(np.mean(moved[1]))
    assert error < 0.02 * abs(np.mean(moved[1]))


def test_frozen_step_gives_the_same_gradient(collector_off):
    scene = mi.load_dict(
        world(
            shape={**mesh_file(8, seam=False), "bsdf": diffuse()},
            sky=0,
            light=environment(),
            sensor=camera(film=film(24)),
        )
    )
    params = mi.traverse(scene)
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 3})
    integrator.shares = (1.0, 1.0, 1.0)  # a frozen step keeps its counts, others follow what samples are worth
    key = "shape.vertex_positions"
    start = mi.Float(params[key])
    target = mi.render(scene, integrator=integrator, spp=16) + 0.1

    def step(params, target, seed):
        image = mi.render(scene, params, integrator=integrator, spp=4, seed=seed)
        loss = dr.mean(dr.square(image - target), axis=None)
        dr.backward(loss, flags=dr.ADFlag.ClearInterior)
        return loss.array

    def gradient(function, number):
        x = mi.Float(start)
        dr.enable_grad(x)
        params[key] = x * 1
        params.update()
        seed = mi.UInt32(number)
        dr.make_opaque(seed)
        with dr.isolate_grad():
            function(params, target, seed)
        for name in params.keys():
            if dr.is_array_v(params[name]) and dr.grad_enabled(params[name]):
                dr.enqueue(dr.ADMode.Backward, params[name])
        dr.traverse(dr.ADMode.Backward)
        return np.array(dr.grad(x))

    gradient(step, 9)  # makes the tables; what is learned from then on must be the same for both
    learned = integrator.state(scene.sensors())
    frozen = dr.freeze(step)
    replayed = [gradient(frozen, s) for s in range(4)]
    integrator.restore(scene.sensors(), learned)
    plain = [gradient(step, s) for s in range(4)]
    assert frozen.n_recordings == 1
    for a, b in zip(plain, replayed):
        assert np.abs(a).max() > 0
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(a).max())


@pytest.mark.parametrize("name", ["self_shadow_area", "receiver_point", "flat_mesh_scale", "translucent_dice_scale"])
@pytest.mark.parametrize("kind", ["prb_edge", "prb_reparam"])
def test_forward_mode_of_mi_render(name, kind):
    """`mi.render` differentiates in the middle of a traversal: nothing of what shapes derive may be at rest there."""
    c = CASES[name]
    scene, integrator = c.scene(), mi.load_dict({"type": kind, "max_depth": c.max_depth})
    move = Perturbation(mi.traverse(scene), c.key, c.direction)
    θ = mi.Float(0)
    dr.enable_grad(θ)
    move.set(θ)
    dr.set_grad(θ, 1)
    image = mi.render(scene, move.params, integrator=integrator, seed=3, spp=8)
    forward = float(np.asarray(dr.forward_to(image)).sum())
    # The scene is as it was: its parameters still hang on θ.
    θ = mi.Float(0)
    dr.enable_grad(θ)
    move.set(θ)
    getattr(integrator, "forget", lambda: None)()
    image = mi.render(scene, move.params, integrator=integrator, seed=3, spp=8)
    dr.backward(dr.sum(image, axis=None))
    assert forward == pytest.approx(float(dr.grad(θ)[0]), rel=2e-4)


def test_a_scene_outlives_forward_mode():
    """The parameters of a scene hang on what they were computed from, after a forward derivative as before."""
    c = CASES["receiver_point"]
    scene, integrator = c.scene(), mi.load_dict({"type": "prb_edge", "max_depth": c.max_depth})
    move = Perturbation(mi.traverse(scene), c.key, c.direction)
    gradients = []
    for forward in (False, True):
        θ = mi.Float(0)
        dr.enable_grad(θ)
        move.set(θ)
        if forward:
            dr.set_grad(θ, 1)
            other = mi.render(scene, move.params, integrator=integrator, seed=4, spp=4)
            dr.forward_to(other, flags=dr.ADFlag.ClearInterior)
            dr.clear_grad(θ)
        integrator.forget()
        dr.backward(dr.sum(mi.render(scene, move.params, integrator=integrator, seed=3, spp=8), axis=None))
        gradients.append(float(dr.grad(θ)[0]))
    assert gradients[1] == pytest.approx(gradients[0], rel=1e-4)


def test_both_indirect_samplers_know_the_same_densities(monkeypatch):
    """Camera-side and emitter-side samples share paths by the densities of both: queries must be the same."""
    found = []

    def query(self, *args, **kwargs):
        q = original(self, *args, **kwargs)
        found.append((float(dr.min(q.statics)[0]), float(dr.max(q.statics)[0])))
        return q

    original = Indirect.receiver_query
    monkeypatch.setattr(Indirect, "receiver_query", query)
    scene = CASES["round_shadow_constant"].scene()
    move = Perturbation(mi.traverse(scene), "ball.to_world", "translate_x")
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 2})
    forward_derivative(scene, move, integrator, scene.sensors()[0], 4, 0)
    assert len(found) >= 2
    assert all(low == 0 for low, _ in found), found
    assert len({high for _, high in found[:2]}) == 1, found


@pytest.mark.parametrize("name", ["closed_can", "ball_under_hard_spot", "instances_side_by_side"])
def test_modes_agree_with_several_frames(name):
    """Frames of curved shapes and instances come from one call, which Dr.Jit differentiates but once."""
    c = CASES[name]
    scene = c.scene()
    key = {"closed_can": "can.to_world", "instances_side_by_side": "wing1.to_world"}.get(name, c.key)
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 3})
    report = gradcheck(scene, key, "scale", integrator=integrator, spp=16, fd_spp=16, seeds=4, required_error=1)
    assert report.mismatch < 1e-4, report
