"""Rays that meet a sphere so flatly that the rounded hit decides: no single one may decide a step."""

import drjit as dr
import mitsuba as mi
import numpy as np


def test_a_grazing_hit_does_not_decide():
    """Rays aimed at the outline itself: 1 / cos of their hits may be any number, and their derivative a million times that of others."""
    scene = mi.load_dict(
        {
            "type": "scene",
            "ball": {"type": "sphere", "radius": 0.6, "bsdf": {"type": "diffuse"}},
            "lamp": {"type": "point", "position": [1, 3, 2], "intensity": 10.0},
        }
    )
    params = mi.traverse(scene)
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 2})
    rest = mi.Transform4f(params["ball.to_world"])
    θ = mi.Float(0)
    dr.enable_grad(θ)
    params["ball.to_world"] = mi.Transform4f().translate(mi.Vector3f(θ, 0, 0)) @ rest
    params.update()
    dr.forward(θ, dr.ADFlag.ClearEdges)
    n = 1 << 21
    rng = np.random.default_rng(0)
    o = rng.normal(size=(3, n))
    o *= rng.uniform(2, 6, n) / np.linalg.norm(o, axis=0)
    # Toward the circle that is the outline from there, and up to 10⁻⁶ inside.
    far = np.linalg.norm(o, axis=0)
    side = np.cross(o, rng.normal(size=(3, n)), axis=0)
    side /= np.linalg.norm(side, axis=0)
    sin = 0.6 / far * (1 - 1e-6 * rng.uniform(size=n))
    d = side * sin - o / far * np.sqrt(1 - sin**2)
    ray = mi.Ray3f(mi.Point3f(o.astype(np.float32)), mi.Vector3f(d.astype(np.float32)))
    with dr.suspend_grad():
        hit = scene.ray_intersect(ray)
    cos = np.abs(np.array(dr.dot(hit.n, ray.d)))
    assert (cos[np.array(hit.is_valid())] < 3e-4).sum() > 10  # the rays do what they are meant for
    sampler = mi.load_dict({"type": "independent"})
    sampler.seed(0, n)
    with dr.suspend_grad():
        _, _, _, state = integrator.sample(dr.ADMode.Primal, scene, sampler.clone(), ray, replay=True)
        δ, *_ = integrator.sample(dr.ADMode.Forward, scene, sampler, ray, state_in=state)
    assert np.abs(np.array(δ)).max() < 2e3
