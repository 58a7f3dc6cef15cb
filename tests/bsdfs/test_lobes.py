"""Dirac lobes of mixtures: the derivative of what they send on, against differences over all random numbers."""

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest

from pbdr.bsdfs.lobes import Lobes, require_separable
from pbdr.core import errors
from pbdr.core.errors import UnsupportedError
from pbdr.validation.cases import camera, diffuse, plane

COUNT = 1 << 20
RED = {"type": "rgb", "value": [0.6, 0.3, 0.2]}
MATTE, MIRROR = {"type": "diffuse", "reflectance": RED}, {"type": "conductor"}
PLASTIC = {"type": "plastic", "diffuse_reflectance": RED}


def mask(nested):
    return {"type": "mask", "opacity": 0.6, "nested": nested}


def blend(a, b):
    return {"type": "blendbsdf", "weight": 0.4, "a": a, "b": b}


CASES = {
    "plastic": (PLASTIC, "diffuse_reflectance.value"),
    "thin glass": ({"type": "thindielectric"}, "eta"),
    "mask": (mask(MATTE), "opacity.value"),
    "mask of mirror": (mask(MIRROR), "opacity.value"),
    "mask of plastic": (mask(PLASTIC), "opacity.value"),
    "mask of plastic, colour": (mask(PLASTIC), "nested_bsdf.diffuse_reflectance.value"),
    "blend with mirror": (blend(MATTE, MIRROR), "weight.value"),
    "blend with plastic": (blend(MATTE, PLASTIC), "weight.value"),
    "blend with plastic, colour": (blend(MATTE, PLASTIC), "bsdf_1.diffuse_reflectance.value"),
    "blend with null": (blend({"type": "null"}, MATTE), "weight.value"),
    "blend with mask, weight": (blend(MATTE, mask(MIRROR)), "weight.value"),
    "mask of blend": (mask(blend(MATTE, MIRROR)), "nested_bsdf.weight.value"),
    "mask of blend, opacity": (mask(blend(MATTE, MIRROR)), "opacity.value"),
    "two-sided blend": ({"type": "twosided", "inner": blend(MATTE, MIRROR)}, "brdf_0.weight.value"),
}


def looked_at():
    si = dr.zeros(mi.SurfaceInteraction3f, COUNT)
    si.wi = mi.Vector3f(0.3, 0.2, dr.sqrt(1 - 0.13))
    si.n, si.sh_frame, si.t = mi.Normal3f(0, 0, 1), mi.Frame3f(mi.Normal3f(0, 0, 1)), mi.Float(1)
    return si


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["null", "scattered"])
def test_share_of_dirac_lobes(name, kind):
    """The mean of weights over all lobes of a kind; differences see how often they are chosen, held samples by P."""
    plugin, key = CASES[name]
    bsdf = mi.load_dict(plugin)
    params = mi.traverse(bsdf)
    start = type(params[key])(params[key])
    context, pointer, lobes = mi.BSDFContext(), mi.BSDFPtr(bsdf), Lobes([bsdf])
    u1, u2 = (dr.arange(mi.Float, COUNT) + 0.5) / COUNT, mi.Point2f(0.3, 0.6)

    def chosen(bs):
        delta = mi.has_flag(bs.sampled_type, mi.BSDFFlags.Delta)
        return delta & (mi.has_flag(bs.sampled_type, mi.BSDFFlags.Null) == (kind == "null"))

    def mean(θ):
        params[key] = start + θ
        params.update()
        bs, weight = pointer.sample(context, looked_at(), u1, u2, True)
        return float(dr.mean(dr.select(chosen(bs), weight[0], 0))[0])

    h = 0.02
    wanted = (8 * (mean(h / 2) - mean(-h / 2)) - (mean(h) - mean(-h))) / (6 * h)
    θ = mi.Float(0)
    dr.enable_grad(θ)
    params[key] = start + θ
    params.update()
    active = dr.detach(chosen(pointer.sample(context, looked_at(), u1, u2, True)[0]))
    value, _ = lobes.sample_dirac(pointer, context, looked_at(), u1, u2, active)
    total = dr.mean(dr.select(active, value[0], 0))
    found = 0.0
    if dr.grad_enabled(total):
        dr.backward(total)
        found = float(dr.grad(θ)[0])
    assert found == pytest.approx(wanted, rel=1e-3, abs=2e-4)  # sums of a million numbers


@pytest.mark.parametrize("name", [n for n in CASES if "mask" in n or "null" in n or "thin" in n])
def test_null_probability(name):
    plugin, key = CASES[name]
    bsdf = mi.load_dict(plugin)
    params = mi.traverse(bsdf)
    start = type(params[key])(params[key])
    u1 = (dr.arange(mi.Float, COUNT) + 0.5) / COUNT

    def often(θ):
        params[key] = start + θ
        params.update()
        bs, _ = mi.BSDFPtr(bsdf).sample(mi.BSDFContext(), looked_at(), u1, mi.Point2f(0.3, 0.6), True)
        return float(np.mean(np.array(mi.has_flag(bs.sampled_type, mi.BSDFFlags.Null))))

    def told(θ):
        params[key] = start + θ
        params.update()
        p = Lobes([bsdf]).null_probability(mi.BSDFPtr(bsdf), mi.BSDFContext(), looked_at(), mi.Bool(True))
        return float(np.mean(np.array(p)))

    for θ in (0.0, 0.05):
        assert told(θ) == pytest.approx(often(θ), abs=1e-4)


def test_a_mask_inside_a_blend_is_refused():
    bsdf = mi.load_dict(blend(MATTE, mask(MIRROR)))
    params = mi.traverse(bsdf)
    require_separable(bsdf)
    dr.enable_grad(params["bsdf_1.opacity.value"])
    params.update()
    with pytest.raises(UnsupportedError, match="around the blendbsdf"):
        require_separable(bsdf)


@pytest.mark.parametrize(("value", "warned"), [(1.0, True), (0.0, True), (0.5, False)])
def test_a_lobe_that_is_not_there_is_warned_of(value, warned):
    scene = mi.load_dict(
        {
            "type": "scene", "sky": {"type": "constant"}, "sensor": camera(),
            "plane": plane({"type": "mask", "opacity": value, "nested": diffuse()}),
        }
    )  # fmt: skip
    params = mi.traverse(scene)
    (key,) = [k for k in params.keys() if k.endswith("opacity.value")]
    dr.enable_grad(params[key])
    params.update()
    errors._warned.clear()
    image = mi.render(scene, params, integrator=mi.load_dict({"type": "prb_edge", "max_depth": 2}), spp=1)
    dr.backward(dr.sum(image, axis=None))
    assert any("exactly 0 or 1" in line for line in errors._warned) == warned
