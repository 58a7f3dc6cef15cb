"""A plain loop compiles nothing once it has run: numbers of the host that change are no literals in kernels."""

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest

from pbdr.core.arrays import ALIGNED, on_device, same
from pbdr.validation.cases import CASES
from pbdr.validation.perturbation import Perturbation

WARM, MORE = 2, 2  # steps
# Moving mesh, rectangle, sphere, light, camera and sky; what they are seen in. The slow test has more.
QUICK = ["own_horizon", "glossy_wall", "mirror_ball", "moving_light_area", "camera_rotate"]
SLOW = [
    "alpha", "environment_map", "cylinder_scale", "smooth_mesh_scale", "thin_lens", "batch", "shadow_environment",
    "box_in_turning_mirror", "plane_under_projector", "shading_normals", "mirrored_ball", "box_behind_lens",
    "instance_translate_x", "sun_direction", "sunsky_turns", "envmap_rotate_y", "box_on_floor_deep", "checker_camera",
    "reflected_low_poly", "camera_focus", "translucent_ball_scale",
]  # fmt: skip
REPARAM = ["smooth_mesh_scale", "shadow_area", "glossy_wall"]


def compilations(name: str, integrator: str) -> list[int]:
    """Number of kernels that each step compiles, which moves a parameter, renders and differentiates."""
    case = CASES[name]
    scene = case.scene()
    params = mi.traverse(scene)
    move = Perturbation(params, case.key, case.direction)
    integrator = mi.load_dict({"type": integrator, "max_depth": case.max_depth})
    counts = []
    history = dr.flag(dr.JitFlag.KernelHistory)
    dr.set_flag(dr.JitFlag.KernelHistory, True)
    try:
        for k in range(WARM + MORE):
            dr.kernel_history_clear()
            θ = dr.opaque(mi.Float, 0.003 * k)
            dr.enable_grad(θ)
            move.set(θ)
            image = mi.render(scene, params, integrator=integrator, sensor=scene.sensors()[0], spp=4, seed=k)
            dr.backward(dr.mean(dr.square(image), axis=None))
            dr.eval(dr.grad(θ))
            kernels = [x for x in dr.kernel_history() if x["type"] == dr.KernelType.JIT]
            assert kernels
            counts.append(sum(not x["cache_hit"] for x in kernels))
    finally:
        dr.kernel_history_clear()
        dr.set_flag(dr.JitFlag.KernelHistory, history)
        move.reset()
    return counts


@pytest.mark.parametrize("name", QUICK)
def test_a_plain_loop_compiles_once(name):
    assert compilations(name, "prb_edge")[WARM:] == [0] * MORE


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_a_plain_loop_compiles_once_for_all_that_moves(name):
    assert compilations(name, "prb_edge")[WARM:] == [0] * MORE


@pytest.mark.slow
@pytest.mark.parametrize("name", REPARAM)
def test_so_does_reparameterization(name):
    assert compilations(name, "prb_reparam")[WARM:] == [0] * MORE


def test_arrays_of_the_host_are_aligned():
    """Otherwise kernels that read them are compiled for memory that is not, by chance."""
    for n in (1, 7, 4096):
        values = np.arange(n, dtype=np.uint32)
        array = on_device(mi.UInt32, values)
        assert np.array_equal(array.numpy(), values)
        if "llvm" in mi.variant():
            assert np.asarray(array).ctypes.data % ALIGNED == 0
    assert same(mi.UInt32(1, 2, 3), mi.UInt32(1, 2, 3))
    assert not same(mi.UInt32(1, 2, 3), mi.UInt32(1, 2, 4)) and not same(mi.UInt32(1, 2, 3), mi.UInt32(1, 2))
