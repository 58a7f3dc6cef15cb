"""Finely divided faces that are seen edge-on, and outlines that fold: each outline counts once."""

import mitsuba as mi
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.spatial import ConvexHull

from pbdr.validation.cases import CASES
from pbdr.validation.contact_cases import divided_box_edge_on, shadow_of_divided_box
from pbdr.validation.finite_difference import forward_derivative
from pbdr.validation.perturbation import Perturbation


def derivatives(scene, spp, seeds, key="box.vertex_positions", **parameters):
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 2} | parameters)
    move = Perturbation(mi.traverse(scene), key, "translate_x")
    return np.array([forward_derivative(scene, move, integrator, scene.sensors()[0], spp, k) for k in range(seeds)])


@pytest.mark.parametrize("make", [divided_box_edge_on, shadow_of_divided_box])
def test_divided_faces_show_one_outline(make):
    """By chance of rounding, single triangles of a plane face either way: 2.5 times the derivative with 40² squares a side."""
    parameters = {"sppi": 0} if make is divided_box_edge_on else {"sppc": 0, "sppp": 0}
    coarse, fine = (derivatives(mi.load_dict(make(levels)), 1024, 4, **parameters) for levels in (0, 5))
    weights = coarse.mean(0)
    a, b = ((x * weights).sum((1, 2, 3)) for x in (coarse, fine))
    error = np.hypot(a.std(ddof=1), b.std(ddof=1)) / 2 / a.mean()
    assert error < 3e-3
    assert abs(b.mean() / a.mean() - 1) < 4 * error + 1e-3


def outline_derivative(corners, size, distance, fov):
    """Derivative of the image of a convex body of radiance 1 before black, by its velocity along x, in closed form.

    The sensor looks along -z from z = ``distance``; the filter is Mitsuba's Gaussian. Each pixel holds the integral of filter ×
    speed along the outline (the convex hull of the projected corners).
    """

    def project(p):
        scale = size / 2 / np.tan(np.radians(fov / 2)) / (distance - p[..., 2:])
        return size / 2 + np.stack([p[..., 0], -p[..., 1]], -1) * scale

    def tap(x):
        return np.maximum(np.exp(-2 * np.square(x)) - np.exp(-8.0), 0) * (np.abs(x) < 2)

    hull = ConvexHull(project(corners)).vertices
    a, b = corners[hull][:, None], corners[np.roll(hull, -1)][:, None]
    t = np.linspace(0, 1, 41)[None, :, None]
    step = np.diff(project(a + t * (b - a)), axis=1)
    p = a + 0.5 * (t[:, 1:] + t[:, :-1]) * (b - a)
    h = np.array([1e-5, 0, 0])
    velocity = (project(p + h) - project(p - h)) / 2e-5
    speed = (velocity[..., 0] * step[..., 1] - velocity[..., 1] * step[..., 0]).ravel()
    x, y = (tap(project(p)[..., k].reshape(-1, 1) - np.arange(size) - 0.5) / quad(tap, -2, 2)[0] for k in range(2))
    image = np.einsum("k,ky,kx->yx", speed, y, x)
    return image if image[:, size // 2 :].sum() > 0 else -image  # the hull may run either way


@pytest.mark.parametrize("name", ["seamed_mesh_translate_x", "fine_mesh"])
def test_outline_of_a_convex_mesh_in_closed_form(name):
    """On a sphere of 100 × 200 squares single triangles are edge-on up to rounding: 10 % of some pixels were wrong."""
    scene = CASES[name].scene()
    corners = np.array(mi.traverse(scene)["shape.vertex_positions"], np.float64).reshape(-1, 3)
    exact = outline_derivative(corners, 16, 5, 40)[..., None] * [0.6, 0.48, 0.02]  # light minus sky
    ours = derivatives(scene, 144, 8, "shape.vertex_positions", sppi=0).mean(0)
    assert np.abs(ours - exact).max() < 4e-3 * np.abs(exact).max()
    assert (ours * exact).sum() / (exact * exact).sum() == pytest.approx(1, abs=1e-3)
