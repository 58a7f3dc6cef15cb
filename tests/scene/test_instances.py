"""Instances: their parts, how their surfaces follow, and what is refused."""

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest

from pbdr.core.errors import UnsupportedError
from pbdr.scene.attached import others_at_rest
from pbdr.scene.instances import InstanceFrames, all_shapes, parts
from pbdr.scene.tangents import settled
from pbdr.validation.meshes import mesh_file

T = mi.ScalarTransform4f


def build():
    def instance(group, to_world):
        return {"type": "instance", "to_world": to_world, "group": {"type": "ref", "id": group}}

    return mi.load_dict(
        {
            "type": "scene",
            "sensor": {"type": "perspective", "film": {"type": "hdrfilm", "width": 4, "height": 4}},
            "solids": {
                "type": "shapegroup",
                "die": {"type": "cube"},
                "ball": {"type": "sphere", "center": [3, 0, 0], "radius": 1.2},
                "smooth": {**mesh_file(12, seam=True), "to_world": T().translate([-3, 0, 0]).scale(1.2)},
            },
            "balls": {"type": "shapegroup", "ball": {"type": "sphere"}},
            "a": instance("solids", T().translate([1, 0, 0]).rotate([0, 1, 0], 20).scale([1, 1.3, 0.8])),
            "b": instance("balls", T().translate([1, 9, 0])),
            "floor": {"type": "rectangle", "to_world": T().translate([0, 0, -3]).scale(20)},
        }
    )


def turned(θ, start):
    """Rotation, translation and stretch at once."""
    motion = mi.Transform4f().rotate(mi.Point3f(1, 0, 0), dr.rad2deg(θ)) @ mi.Transform4f().translate(
        mi.Vector3f(0, 0, θ)
    )
    return motion @ mi.Transform4f().scale(mi.Vector3f(1 + θ, 1, 1)) @ mi.Transform4f(start)


def test_parts():
    scene = build()
    assert [(p.index, p.name, p.number) for p in parts(scene)] == [
        (0, "a/die", 0), (0, "a/ball", 1), (0, "a/smooth", 2), (1, "b/ball", 0), (2, "floor", 0)
    ]  # fmt: skip
    assert len(all_shapes(scene)) == 5
    params = mi.traverse(scene)
    params["a.to_world"] = mi.Transform4f(params["a.to_world"])
    dr.enable_grad(params["a.to_world"])
    params.update()
    assert [p.moves for p in parts(scene)] == [True, True, True, False, False]


FIELDS = ("p", "n", "uv", "t", "wi")


@pytest.mark.parametrize("field", [*FIELDS, "sh_frame", "dp_du"])
def test_surface_follows_the_transform(field):
    """A cube, a ball, a mesh with interpolated normals, the floor behind; against central differences."""
    ray = mi.Ray3f(mi.Point3f([1.3, 4.2, -1.6, 8], [0.2, 0.1, 0.3, 5], [5, 5, 5, 5]), mi.Vector3f(0.1, 0, -1))

    def value(si):
        return si.sh_frame.n if field == "sh_frame" else getattr(si, field)

    def at(h):
        scene = build()
        params = mi.traverse(scene)
        params["a.to_world"] = turned(mi.Float(h), params["a.to_world"])
        params.update()
        pi = scene.ray_intersect_preliminary(ray)
        return np.array(value(pi.compute_surface_interaction(ray, mi.RayFlags.All)), np.float64)

    h = 2e-3
    wanted = (at(h) - at(-h)) / (2 * h)
    scene = build()
    params = mi.traverse(scene)
    θ = mi.Float(0)
    dr.enable_grad(θ)
    params["a.to_world"] = turned(θ, params["a.to_world"])
    params.update()
    dr.forward(θ, flags=dr.ADFlag.ClearEdges)
    with others_at_rest(scene), settled(scene):
        pi = scene.ray_intersect_preliminary(ray)
        v = value(InstanceFrames.of(scene, forward=True).interaction(pi, ray, mi.RayFlags.All))
        found = np.array(dr.forward_to(v))
    assert np.abs(wanted).max() > 0.05
    np.testing.assert_allclose(found, wanted, atol=4e-3 * max(1.0, np.abs(wanted).max()))
    np.testing.assert_allclose(np.array(dr.detach(v)), at(0.0), atol=1e-5)


@pytest.mark.parametrize("kind", ["prb_edge", "prb_reparam"])
def test_shapes_in_groups_are_refused(kind):
    scene = build()
    params = mi.traverse(scene)
    key = "solids.die.vertex_positions"
    dr.enable_grad(params[key])
    params.update()
    with pytest.raises(UnsupportedError, match=f"{key}.*shapegroup.*to_world of its instances"):
        mi.load_dict({"type": kind, "max_depth": 2}).render_forward(scene, params, spp=1)


def test_reparam_refuses_instances():
    scene = build()
    params = mi.traverse(scene)
    integrator = mi.load_dict({"type": "prb_reparam", "max_depth": 2})
    params["floor.to_world"] = mi.Transform4f(params["floor.to_world"])
    dr.enable_grad(params["floor.to_world"])
    params.update()
    with pytest.raises(UnsupportedError, match=r"Instance 'a'.*prb_edge"):
        integrator.render_forward(scene, params, spp=1)
    dr.disable_grad(params["floor.to_world"])
    params["a.to_world"] = mi.Transform4f(params["a.to_world"])
    dr.enable_grad(params["a.to_world"])
    params.update()
    with pytest.raises(UnsupportedError, match=r"a.to_world.*instances.*prb_edge"):
        integrator.render_forward(scene, params, spp=1)
