"""The primal path loop: known answers, then agreement with Mitsuba's C++ path tracer."""

import mitsuba as mi
import numpy as np
import pytest
from scipy import stats

from pbdr.optimization.run import thread_count
from pbdr.validation.cases import camera, diffuse, environment, film, glow, lamp, plane, texture, world


def render(scene, kind, depth, seeds, spp=64, **more):
    integrator = mi.load_dict({"type": kind, "max_depth": depth, **more})
    return np.stack([np.array(mi.render(scene, integrator=integrator, spp=spp, seed=s)) for s in seeds])


def furnace(bsdf):
    sensor = camera(film=film(8))
    return mi.load_dict(
        world(sensor=sensor, sky=0, light={"type": "constant", "radiance": 1.0}, ball={"type": "sphere", "bsdf": bsdf})
    )


@pytest.mark.parametrize("bsdf", [{"type": "diffuse", "reflectance": 1.0}, {"type": "conductor", "material": "none"}])
def test_white_furnace(bsdf):
    image = render(furnace(bsdf), "prb_edge", -1, [0], spp=256)
    np.testing.assert_allclose(image, 1, atol=0.02)


SCENES = {
    "lamp": lambda: world(plane=plane(diffuse()), lamp=lamp(), ball={"type": "sphere", "bsdf": diffuse()}),
    "glass": lambda: world(plane=plane(diffuse()), ball={"type": "sphere", "bsdf": {"type": "dielectric"}}),
    "rough": lambda: world(sky=0, light=environment(), ball={"type": "sphere", "bsdf": {"type": "roughconductor"}}),
    "mask": lambda: world(ball={"type": "sphere", "bsdf": {"type": "mask", "opacity": 0.4, "nested": diffuse()}}),
    "textured": lambda: world(plane=plane({"type": "diffuse", "reflectance": texture()}), lamp=lamp()),
    "glow": lambda: world(ball={"type": "sphere", "emitter": glow(), "bsdf": diffuse()}),
}


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("more", [{}, {"hide_emitters": True}, {"rr_depth": 1}], ids=["plain", "hidden", "roulette"])
def test_equals_mitsuba_path(name, more):
    """Welch test of image means per channel, 12 seeds each, limit p = 1e-4."""
    scene = mi.load_dict(SCENES[name]())
    ours = render(scene, "prb_edge", 5, range(12), 16, **more).mean((1, 2))
    # Behind a mask, `path` drops direct light along with the hidden sky.
    peer = "volpath" if name == "mask" and more.get("hide_emitters") else "path"
    theirs = render(scene, peer, 5, range(100, 112), 16, **more).mean((1, 2))
    p = stats.ttest_ind(ours, theirs, equal_var=False).pvalue
    assert (np.nan_to_num(p, nan=1.0) > 1e-4).all(), p


def test_depth_zero_and_one():
    scene = mi.load_dict(SCENES["glow"]())
    with thread_count(1):  # the order of a film's sums varies with several
        # From 4 samples on `prb` adds up neighbours first.
        ours, theirs = (render(scene, name, 0, [0], 2) for name in ("prb_edge", "prb"))
    exact = mi.variant().startswith("llvm")  # ... and on a GPU
    np.testing.assert_allclose(ours, theirs, rtol=0 if exact else 1e-6)
    assert render(scene, "prb_edge", 1, [0], 4).max() > 0.4


def test_passes_are_an_average(monkeypatch):
    """A render split into passes has the expectation of the whole one."""
    from pbdr.integrators import render as module

    scene = mi.load_dict(SCENES["lamp"]())
    whole = render(scene, "prb_edge", 3, range(8), 32).mean((1, 2))
    monkeypatch.setattr(module, "MAX_WAVEFRONT", 3000)
    split = render(scene, "prb_edge", 3, range(8), 32).mean((1, 2))
    assert (stats.ttest_ind(whole, split, equal_var=False).pvalue > 1e-4).all()
