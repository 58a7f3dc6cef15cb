"""Shapes that pass through each other: found, followed where the sensor sees them, warned of elsewhere."""

import drjit as dr
import mitsuba as mi
import pytest

from pbdr.core import errors
from pbdr.scene.piercing import may_pierce, piercing
from pbdr.validation.cases import T, camera, diffuse
from pbdr.validation.contact_cases import scene as contact_scene
from pbdr.validation.contact_cases import standing
from pbdr.validation.meshes import mesh_file

BALL = {"type": "sphere", "radius": 0.5}


def pairs(**objects):
    scene = mi.load_dict({"type": "scene", **objects}, optimize=False)
    return {frozenset(p.names) for p in piercing(scene, all_pairs=True)}


@pytest.mark.parametrize(
    "a, b, expected",
    [
        (BALL, BALL | {"center": [0.9, 0, 0]}, True),
        (BALL, BALL | {"center": [0.6, 0.6, 0.6]}, False),  # only their boxes overlap
        (BALL, {"type": "rectangle", "to_world": T().translate([0, 0, 0.49]).scale(5)}, True),
        (BALL, {"type": "rectangle", "to_world": T().translate([0, 0, 0.5]).scale(5)}, False),  # touches
        (
            {"type": "cube"},
            {"type": "rectangle", "to_world": T().translate([0, 0, -1]).scale(5)},
            False,
        ),  # stands on it
        ({"type": "cube"}, {"type": "rectangle", "to_world": T().translate([0, 0, -0.99]).scale(5)}, True),
        ({"type": "cube"}, {"type": "cylinder", "p0": [-3, 0, 0], "p1": [3, 0.2, 0.1], "radius": 0.1}, True),
        ({"type": "cube"}, BALL, False),  # inside
        ({"type": "disk"}, {"type": "rectangle", "to_world": T().rotate([0, 1, 0], 90)}, True),
        (
            {"type": "rectangle"},
            {"type": "rectangle", "to_world": T().translate([1, 0, 1]).rotate([0, 1, 0], 90)},
            False,
        ),
        ({"type": "cube"}, {"type": "rectangle", "to_world": T().translate([0, 0, -0.9999]).scale(5)}, True),
        (mesh_file(8), {"type": "cube", "to_world": T().translate([1.2, 0, 0]).scale(0.5)}, True),
    ],
)
def test_who_passes_through_whom(a, b, expected):
    assert pairs(a=a, b=b) == ({frozenset("ab")} if expected else set())


def test_instances_are_where_they_are_put():
    group = {"type": "shapegroup", "ball": BALL}
    floor = {"type": "rectangle", "to_world": T().translate([0, 0, 2.7]).scale(5)}
    instances = {
        name: {"type": "instance", "to_world": T().translate([0, 0, z]), "group": {"type": "ref", "id": "group"}}
        for name, z in (("high", 3.0), ("low", 1.0))
    }
    assert pairs(group=group, floor=floor, **instances) == {frozenset(("high", "floor"))}


def test_shapes_of_one_group():
    for z, expected in ((0.9, {frozenset(["one"])}), (1.1, set())):
        group = {"type": "shapegroup", "a": BALL, "b": BALL | {"center": [0, 0, z]}}
        one = {"type": "instance", "to_world": T().translate([0, 0, 3]), "group": {"type": "ref", "id": "group"}}
        assert pairs(group=group, one=one) == expected


def test_how_deep_and_whether_one_shines():
    for z, deep in ((-0.9999, False), (-0.98, True)):
        lamp = {"type": "rectangle", "to_world": T().translate([0, 0, z]).scale(5), "emitter": {"type": "area"}}
        scene = mi.load_dict({"type": "scene", "box": {"type": "cube"}, "lamp": lamp}, optimize=False)
        (pair,) = piercing(scene, all_pairs=True)
        assert pair.deep == deep and pair.shines


def test_only_what_moves_is_asked_and_what_moved_is_asked_again():
    scene = mi.load_dict({"type": "scene", "a": BALL, "b": BALL | {"center": [0.9, 0, 0]}}, optimize=False)
    assert piercing(scene) == []
    params = mi.traverse(scene)
    params["b.to_world"] = params["b.to_world"].translate([dr.opaque(mi.Float, 0.0), 0, 0])
    dr.enable_grad(params["b.to_world"])
    params.update()
    assert [p.names for p in piercing(scene)] == [("a", "b")]
    params["b.to_world"] = params["b.to_world"].translate([5.0, 0, 0])
    params.update()
    assert piercing(scene) == []


def warnings_of(monkeypatch, scene, integrator):
    """What a derivative by the place of ``object`` says."""
    said = []
    monkeypatch.setattr(errors, "_warned", set())
    monkeypatch.setattr(mi, "Log", lambda level, message: said.append(message))
    params = mi.traverse(scene)
    key = next(k for k in ("object.to_world", "object.vertex_positions") if k in params)
    dr.enable_grad(params[key])
    params.update()
    dr.backward(dr.mean(mi.render(scene, params, integrator=mi.load_dict(integrator), spp=4)))
    return [m for m in said if "pass through each other" in m]


def test_what_is_missing_is_said(monkeypatch):
    def build(bsdf, lift):
        if bsdf is None:
            return mi.load_dict(contact_scene(object=standing(lift=lift)), optimize=False)
        d = contact_scene(
            object={**BALL, "center": [0, lift - 0.5, 0], "bsdf": bsdf}, sensor=camera(origin=(1, 2.2, 5))
        )
        return mi.load_dict(d, optimize=False)

    translucent = {"type": "subsurface", "albedo": 0.8, "radius": 0.1}
    for bsdf, lift, integrator, count in (
        (diffuse(), -0.2, {"type": "prb_edge", "max_depth": 2}, 0),
        (diffuse(), -0.2, {"type": "prb_edge", "max_depth": 3}, 1),
        (diffuse(), 0.1, {"type": "prb_edge", "max_depth": 3}, 0),
        (None, -1e-4, {"type": "prb_edge", "max_depth": 2}, 1),
        (None, -1e-2, {"type": "prb_edge", "max_depth": 2}, 0),
        (None, 0, {"type": "prb_edge", "max_depth": 2}, 0),
        (translucent, -0.2, {"type": "prb_edge", "max_depth": 2}, 1),
        (diffuse(), -0.2, {"type": "prb_reparam", "max_depth": 2}, 1),
    ):
        said = warnings_of(monkeypatch, build(bsdf, lift), integrator)
        assert len(said) == count and all("'object'" in m and "'floor'" in m for m in said), said


@pytest.mark.parametrize("x, count", [(0.0, 0), (1000.0, 1)])
def test_far_from_the_origin_the_border_is_not_exact(monkeypatch, x, count):
    place = T().translate([x, 0, 0])
    cube = {"type": "cube", "to_world": place.translate([0.4, 0, 0]).scale(0.4)}
    sensor = camera(to_world=place.look_at([0, 1, 4], [0, 0, 0], [0, 1, 0]))
    scene = {"type": "scene", "sensor": sensor, "sky": {"type": "constant"}, "cube": cube}
    scene["object"] = {"type": "sphere", "center": [x, 0, 0], "radius": 0.4}
    said = warnings_of(monkeypatch, mi.load_dict(scene, optimize=False), {"type": "prb_edge", "max_depth": 2})
    assert len([m for m in said if "Move the scene to the origin" in m]) == count == len(said)


def test_what_is_recorded_may_pass_through_later(monkeypatch):
    """Only the boxes of both balls overlap: sampled in a recording, but not said to pass through each other."""
    from pbdr.integrators import missing
    from pbdr.scene import piercing as module

    scene = mi.load_dict({"type": "scene", "a": BALL, "b": BALL | {"center": [0.6, 0.6, 0.6]}}, optimize=False)
    assert not may_pierce(scene, True) and piercing(scene, True) == []
    monkeypatch.setattr(module, "recording", lambda: True)
    assert may_pierce(scene, True) and piercing(scene, True) == []
    monkeypatch.setattr(missing, "warn_once", lambda message: pytest.fail(message))
    missing.warn_of_meetings(scene, piercing(scene, True), 6, False)


def test_far_things_do_not_keep_near_borders_from_being_sampled():
    """A node of the edge tree that reaches to the horizon also holds what is near."""
    from pbdr.geometry.edge_tree import Query
    from pbdr.geometry.scene_edges import SceneEdges
    from pbdr.scene.viewpoint import Viewpoint

    far = {"type": "sphere", "center": [0, -900, 0], "radius": 0.01, "bsdf": diffuse()}
    scene = mi.load_dict(
        contact_scene(box=standing(), far=far, sheet={"type": "rectangle", "to_world": T().translate([0, 0, 1])}),
        optimize=False,
    )
    params = mi.traverse(scene)
    dr.enable_grad(params["box.vertex_positions"])
    params.update()
    with dr.suspend_grad():
        edges, n = SceneEdges(scene, {}, statics=True), 4096
        view = Viewpoint(mi.Point3f(0.1, 0, 0.7) + dr.zeros(mi.Point3f, n))
        query = Query(view=view, statics=mi.Float(1), lobe=mi.Vector3f(0, 0, 1), width2=mi.Float(1))
        leaf, pdf = edges.tree.sample(query, (dr.arange(mi.Float, n) + 0.5) / n, dr.arange(mi.UInt32, n) % 2 == 0)
        assert dr.allclose(edges.tree.pdf(query, leaf), pdf, rtol=1e-4)
        moving = mi.Float(leaf < 18)  # the box has eighteen edges
        assert 0.01 < 1 - dr.mean(moving)[0] < 0.9
