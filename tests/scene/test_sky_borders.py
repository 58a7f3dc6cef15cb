"""Where a sunsky jumps, and what is refused about skies."""

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest

from pbdr.core.errors import UnsupportedError
from pbdr.scene.sky import sky_circles


def scene_under(sky, **more):
    return mi.load_dict({"type": "scene", "sky": sky, "floor": {"type": "rectangle"}, **more})


@pytest.mark.parametrize("aperture", [0.5358, 5.0])
def test_rim_of_the_sun(aperture):
    """It lies around the direction given, moves with it, and radiance jumps there by that of the sun."""
    scene = scene_under({"type": "sunsky", "sun_direction": [0.5, 0.2, 0.8], "sun_aperture": aperture})
    params = mi.traverse(scene)
    θ = mi.Float(0)
    dr.enable_grad(θ)
    params["sky.sun_direction"] = params["sky.sun_direction"] + mi.Vector3f(-0.2, 0.5, 0) * θ  # it stays a unit vector
    params.update()
    horizon, sun = sky_circles(scene)
    assert sun.sun and sun.moves and not horizon.moves
    axis, cos, sin = sun.place()
    c = np.array([0.5, 0.2, 0.8]) / np.linalg.norm([0.5, 0.2, 0.8])
    np.testing.assert_allclose(np.array(axis).ravel(), c, atol=2e-6)
    # 1 - cos of the usual aperture has 4 digits in single precision.
    assert float(dr.atan2(sin, cos)[0]) == pytest.approx(np.radians(aperture / 2), rel=2e-3)
    dr.forward(θ)
    np.testing.assert_allclose(np.array(dr.grad(axis)).ravel(), [-0.2, 0.5, 0], atol=1e-4)

    axis = dr.detach(axis)
    t = mi.Frame3f(axis).s
    jump = sun.jump(axis, cos, sin, t, dr.zeros(mi.Ray3f), mi.Bool(True))
    si = dr.zeros(mi.SurfaceInteraction3f)
    si.wi = -axis
    np.testing.assert_allclose(np.array(jump), np.array(scene.environment().eval(si)), rtol=0.05)


def test_limb_of_a_complex_sun():
    """Its radiance on the rim is extrapolated: just inside it is a little brighter, in the middle much brighter."""
    scene = scene_under({"type": "sunsky", "sun_direction": [0, 0, 1], "sun_aperture": 4.0, "complex_sun": True})
    sun = sky_circles(scene)[1]
    assert sun.has_limb
    axis, cos, sin = (dr.detach(v) for v in sun.place())
    jump = np.array(sun.jump(axis, cos, sin, mi.Vector3f(1, 0, 0), dr.zeros(mi.Ray3f), mi.Bool(True))).ravel()

    def at(share):
        s, c = dr.sincos(dr.atan2(sin, cos) * share)
        si = dr.zeros(mi.SurfaceInteraction3f)
        si.wi = -(axis * c + mi.Vector3f(1, 0, 0) * s)
        return np.array(scene.environment().eval(si)).ravel()

    # In the square root of what is left to the rim it is nearly linear there.
    near = at(1 - 1e-4) - (at(1 - 4e-4) - at(1 - 1e-4))
    np.testing.assert_allclose(jump, near, rtol=0.02)
    assert (jump < 0.7 * at(0.0)).all()


def test_sun_follows_to_world():
    """Mitsuba turns the sun with the sky, whatever its parameter ``sun_direction`` says then."""
    scene = scene_under({"type": "sunsky", "sun_direction": [0.6, 0, 0.8]})
    params = mi.traverse(scene)
    params["sky.to_world"] = mi.Transform4f().rotate(mi.Point3f(0, 0, 1), 90.0)
    params.update()
    axis, _, _ = sky_circles(scene)[1].place()
    np.testing.assert_allclose(np.array(axis).ravel(), [0, 0.6, 0.8], atol=2e-6)
    si = dr.zeros(mi.SurfaceInteraction3f)
    si.wi = -axis
    assert np.array(scene.environment().eval(si)).min() > 1000


def test_no_sun_no_rim():
    scene = scene_under({"type": "sunsky", "sun_direction": [0.6, 0, 0.8], "sun_scale": 0.0})
    assert [c.sun for c in sky_circles(scene)] == [False]
    assert not sky_circles(scene_under({"type": "constant"}))


SENSOR = {"type": "perspective", "film": {"type": "hdrfilm", "width": 4, "height": 4}}


@pytest.mark.parametrize("kind", ["prb_edge", "prb_reparam"])
def test_timed_sky_is_refused(kind):
    scene = scene_under({"type": "timed_sunsky"}, sensor=SENSOR)
    with pytest.raises(UnsupportedError, match=r"'sky' \(timed_sunsky\).*use sunsky"):
        mi.load_dict({"type": kind, "max_depth": 2}).render(scene, spp=1)


def test_reparam_refuses_shapes_that_move_under_a_sun():
    scene = scene_under({"type": "sunsky"}, sensor=SENSOR)
    params = mi.traverse(scene)
    params["floor.to_world"] = mi.Transform4f(params["floor.to_world"])
    dr.enable_grad(params["floor.to_world"])
    params.update()
    with pytest.raises(UnsupportedError, match=r"border of the sun.*prb_edge"):
        mi.load_dict({"type": "prb_reparam", "max_depth": 2}).render_forward(scene, params, spp=1)
