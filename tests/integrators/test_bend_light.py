"""The sampling technique for what the sides of a bend see differently: densities, weights, and what it is for."""

from types import SimpleNamespace

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest

from pbdr.integrators.bend_light import BendLight
from pbdr.integrators.path_state import SceneTraits
from pbdr.validation.meshes import as_file, knobbly_ball

N = 1 << 20
MATERIALS = {
    "diffuse": {"type": "diffuse", "reflectance": 0.7},
    "conductor": {"type": "roughconductor", "alpha": 0.4},
    "plastic": {"type": "plastic", "diffuse_reflectance": 0.5},
}


def bend(angle, flat, count=1):
    """Two faces that meet at ``angle`` along y, seen from above (z)."""
    half = angle / 2
    sides = ((-np.cos(half), 0, -np.sin(half)), (np.cos(half), 0, -np.sin(half)))
    edge = SimpleNamespace(
        tangent=mi.Vector3f(0, 2, 0),
        onto=tuple(0.01 * mi.Vector3f(*map(float, v)) + mi.Vector3f(0, 0.003, 0) for v in sides),
        contour=mi.Bool(False),
        curved=mi.Bool(False),
        flat=mi.Bool(flat),
        normal=mi.Vector3f(0),
    )
    return BendLight(edge, mi.Vector3f(0.2, 0.1, -1))


def seen(material):
    """A surface with the normal z, and what is seen of it."""
    scene = mi.load_dict({"type": "scene", "sheet": {"type": "rectangle", "bsdf": MATERIALS[material]}})
    d = dr.normalize(mi.Vector3f(0.2, 0.1, -1))
    ray = mi.Ray3f(mi.Point3f(0, 0, 1) + dr.zeros(mi.Point3f, N), d)
    si = scene.ray_intersect(ray)
    return scene, si, si.bsdf(ray)


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("angle", [0.02, 0.5, 1.5, 2.8])
def test_the_density_integrates_to_one(flat, angle):
    _scene, _, bsdf = seen("diffuse")
    light = bend(angle, flat)
    u = mi.PCG32(N)
    ω = mi.warp.square_to_uniform_sphere(mi.Point2f(u.next_float32(), u.next_float32()))
    pdf = dr.maximum(ω.z, 0) / dr.pi
    total = 4 * np.pi * np.array(light.density(ω, pdf, bsdf, mi.Bool(True)))
    assert abs(total.mean() - 1) < 4 * total.std() / np.sqrt(N)


@pytest.mark.parametrize("angle", [0.02, 0.5, 1.5])
@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("material", MATERIALS)
def test_samples_follow_the_density_and_weights_are_unbiased(material, flat, angle):
    """Moments of f are those of the BSDF's own samples; regions are met as often as the density says."""
    _scene, si, bsdf = seen(material)
    light, context, on = bend(angle, flat), mi.BSDFContext(), mi.Bool(True)
    rng = mi.load_dict({"type": "independent"})
    rng.seed(3, N)

    def draw(mixed):
        bs, weight = bsdf.sample(context, si, rng.next_1d(), rng.next_2d())
        if mixed:
            bs, weight = light.choose(context, si, bsdf, bs, weight, rng, on)
        ω = si.to_world(bs.wo)
        parts = [1, ω.x > 0.1, ω.z, ω.x * ω.y]
        return bs, np.stack([np.array(weight.x * mi.Float(p)) for p in parts])

    own = draw(False)[1]
    bs, mixed = draw(True)
    error = np.sqrt((own.var(1) + mixed.var(1)) / N)
    assert (np.abs(own.mean(1) - mixed.mean(1)) < 4.5 * error + 1e-6).all()
    if material == "plastic":
        return  # a mirror image has no density
    # 1 / p of samples within a region is its size.
    ω = si.to_world(bs.wo)
    inside = np.array((ω.z > 0.3) & (ω.x > 0))
    size = np.where(inside, 1 / np.maximum(np.array(bs.pdf), 1e-12), 0)
    assert abs(size.mean() - 0.7 * np.pi) < 4.5 * size.std() / np.sqrt(N)


def test_lunes_get_their_samples():
    """Of a narrow bend with interpolated normals half of all samples are directions that one side does not see."""
    _scene, si, bsdf = seen("diffuse")
    light = bend(0.01, False)
    rng = mi.load_dict({"type": "independent"})
    rng.seed(1, N)
    bs, weight = bsdf.sample(mi.BSDFContext(), si, rng.next_1d(), rng.next_2d())
    bs, _ = light.choose(mi.BSDFContext(), si, bsdf, bs, weight, rng, mi.Bool(True))
    ω = np.array(si.to_world(bs.wo))
    share = (np.abs(np.arctan2(ω[2], np.abs(ω[0]))) < 0.0051).mean()
    assert 0.49 < share < 0.52


def test_bends_have_no_heavy_tail(monkeypatch):
    """A smooth knobbly ball under a small bright patch of sky: far less variance, the same derivative."""
    sky = np.full((32, 64, 3), 0.2, np.float32)
    sky[6:10, 10:16] = 40
    scene = mi.load_dict(
        {
            "type": "scene",
            "sky": {"type": "envmap", "bitmap": mi.Bitmap(sky)},
            "ball": {**as_file(knobbly_ball(24, 1.0), True), "bsdf": {"type": "diffuse"}},
            "sensor": {
                "type": "perspective",
                "fov": 40,
                "to_world": mi.ScalarTransform4f().look_at([0, 0.5, 4], [0, 0, 0], [0, 1, 0]),
                "film": {"type": "hdrfilm", "width": 16, "height": 16, "pixel_format": "rgb"},
            },
        }
    )
    params = mi.traverse(scene)
    rest = dr.detach(params["ball.vertex_positions"])
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 2, "sppc": 0, "sppi": 0})
    integrator.shares = (1.0, 1.0, 1.0)

    def derivatives():
        found = []
        for seed in range(12):
            θ = mi.Float(0)
            dr.enable_grad(θ)
            params["ball.vertex_positions"] = rest + dr.select(dr.arange(mi.UInt32, dr.width(rest)) % 3 == 0, θ, 0)
            params.update()
            image = mi.render(scene, params, integrator=integrator, seed=seed, spp=64)
            dr.forward(θ)
            found.append(np.array(dr.grad(image)))
        return np.stack(found)

    ours = derivatives()
    monkeypatch.setattr(BendLight, "of", lambda *_: None)
    plain = derivatives()
    ratio = plain.var(0, ddof=1).mean() / ours.var(0, ddof=1).mean()
    print("variance ratio", ratio)
    assert ratio > 4
    deviation = np.abs(ours.mean((0, 3)) - plain.mean((0, 3)))
    error = np.sqrt((ours.mean(3).var(0, ddof=1) + plain.mean(3).var(0, ddof=1)) / 12)
    assert (deviation < 4.5 * error + 1e-3).mean() > 0.98


@pytest.mark.parametrize("kind", ["bumpmap", "anisotropic", "diffuse"])
def test_turned_frames_show_the_same(kind):
    """At a bend with interpolated normals both sides get the normal of the edge; what depends on tangents keeps its own."""
    y, x = np.mgrid[0:16, 0:16] / 16.0
    heights = {"type": "bitmap", "bitmap": mi.Bitmap((0.3 * x * y)[:, :, None].astype(np.float32)), "raw": True}
    materials = {
        "bumpmap": {"type": "bumpmap", "texture": heights, "nested": {"type": "diffuse"}},
        "anisotropic": {"type": "roughconductor", "alpha_u": 0.1, "alpha_v": 0.5},
        "diffuse": {"type": "diffuse"},
    }
    scene = mi.load_dict({"type": "scene", "sheet": {"type": "rectangle", "bsdf": materials[kind]}})
    ray = mi.Ray3f([0.1, 0.2, 3.0], [0.1, 0.05, -1.0])
    si = scene.ray_intersect(ray)
    bsdf = si.bsdf(ray)
    ω = dr.normalize(mi.Vector3f(0.4, 0.1, 0.7))
    before = bsdf.eval(mi.BSDFContext(), si, si.to_local(ω)).x[0]
    light = bend(0.3, False)
    light.normal = mi.Vector3f(0, 0, 1)
    light.t = dr.normalize(mi.Vector3f(1, 2, 0))
    perturbing = SceneTraits(scene).lobes.perturbing
    assert len(perturbing) == (kind == "bumpmap")
    s = np.array(si.sh_frame.s).ravel()
    light.turn(si, bsdf, perturbing, mi.Bool(True))
    assert (np.abs(np.array(si.sh_frame.s).ravel() - s).max() > 0.1) == (kind == "diffuse")
    assert before > 0.01
    assert bsdf.eval(mi.BSDFContext(), si, si.to_local(ω)).x[0] == pytest.approx(before, rel=1e-4)
