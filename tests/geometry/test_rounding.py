"""Derivatives do not depend on where the origin of the world is, on how far the sensor is away, or on the unit of length."""

import mitsuba as mi
import numpy as np
import pytest

from pbdr.geometry import silhouettes
from pbdr.validation.cases import CASES, T, camera, film
from pbdr.validation.finite_difference import forward_derivative
from pbdr.validation.perturbation import Perturbation

OFF = np.array([3.0, 2.0, -3.5])  # from the object to the sensor: no axis is special


def glowing(kind, shape, at, off=OFF, size=1.0):
    """An object that emits, 1.2 units wide, seen from ``off``; its outline is all there is."""
    at, distance = np.array(at, float), float(np.linalg.norm(off))
    pose = T().look_at(list(at + off * size), list(at), [0, 1, 0])
    sensor = camera(kind, film=film(12), near_clip=0.01 * size, far_clip=1e4 * max(size, 1))
    if kind == "orthographic":
        sensor["to_world"] = pose @ T().scale([1.6 * size, 1.6 * size, 1])
    else:
        sensor |= {"to_world": pose, "fov": float(2 * np.degrees(np.arctan(1.6 / distance)))}
    turned = T().translate(list(at)).scale(0.6 * size)
    if shape != "sphere":
        turned = turned @ T().rotate([1, 1, 0], 30)
    emitter = {"type": "area", "radiance": 1.0}
    scene = {"type": "scene", "sensor": sensor, "object": {"type": shape, "to_world": turned, "emitter": emitter}}
    return mi.load_dict(scene)


def derivative(scene, key, direction="translate_x", spp=16, **parameters):
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 1} | parameters)
    move = Perturbation(mi.traverse(scene), key, direction)
    return np.mean([forward_derivative(scene, move, integrator, scene.sensors()[0], spp, k) for k in range(2)], 0)


def share(image, reference):
    """Projection on the reference, relative."""
    return float((image * reference).sum() / (reference * reference).sum())


@pytest.mark.parametrize("shape", ["cube", "sphere", "cylinder"])
def test_outlines_far_from_the_origin(shape):
    """The same samples, moved: they are off by rounding alone. (11 % of an outline was lost at 30, 96 % at 1000.)"""
    key = "object.vertex_positions" if shape == "cube" else "object.to_world"
    for kind in ("perspective", "orthographic"):
        near = derivative(glowing(kind, shape, [0, 0, 0]), key)
        for at in ([30, 0, 0], [1000, -700, 400]):
            assert share(derivative(glowing(kind, shape, at), key), near) == pytest.approx(1, abs=4e-3)


@pytest.mark.parametrize("shape", ["cube", "sphere"])
def test_outlines_seen_from_afar(shape):
    """A sensor 1000 units away that sees the same as one at 5."""
    key = "object.vertex_positions" if shape == "cube" else "object.to_world"
    off = OFF * (1000 / np.linalg.norm(OFF))
    near = derivative(glowing("orthographic", shape, [0, 0, 0]), key)
    assert share(derivative(glowing("orthographic", shape, [0, 0, 0], off), key), near) == pytest.approx(1, abs=2e-3)
    # A lens sees it in perspective: what a longer one sees differs by less and less.
    far = [derivative(glowing("perspective", shape, [0, 0, 0], off * d), key) for d in (0.5, 1.0)]
    assert share(far[1], far[0]) == pytest.approx(1, abs=4e-3)


@pytest.mark.parametrize("size", [1e-4, 1e4])
def test_outlines_of_any_size(size):
    near = derivative(glowing("perspective", "cube", [0, 0, 0]), "object.vertex_positions")
    other = derivative(glowing("perspective", "cube", [0, 0, 0], size=size), "object.vertex_positions") * size
    assert share(other, near) == pytest.approx(1, abs=1e-3)


def moved(build, at):
    """A scene of the catalogue, moved as a whole."""
    at, scene = [float(x) for x in at], {}
    for name, value in build().items():
        if isinstance(value, dict) and value["type"] not in ("constant", "envmap", "directional"):
            value = dict(value)
            if "to_world" in value:
                value["to_world"] = T().translate(at) @ value["to_world"]
            for field in ("center", "position", "p0", "p1"):
                if field in value:
                    value[field] = [x + y for x, y in zip(value[field], at)]
        scene[name] = value
    return mi.load_dict(scene)


@pytest.mark.parametrize("name", ["shadow_area", "shadow_point", "receiver_area"])
def test_shadows_far_from_the_origin(name):
    """From the side of the light, and from the side of the sensor. (A ray to an area light at 100 met that light.)"""
    c = CASES[name]
    # Other edges are chosen where coordinates are large (`edge_on`): what differs is noise, 0.3 % with so many samples.
    parameters = {"max_depth": c.max_depth, "sppc": 0, "sppp": 0, "spp": 1024}
    near = derivative(moved(c.build, [0, 0, 0]), c.key, c.direction, **parameters)
    far = derivative(moved(c.build, [300, -200, 100]), c.key, c.direction, **parameters)
    # Mitsuba's rays start 9e-5 of the coordinates above surfaces.
    assert share(far, near) == pytest.approx(1, abs=1e-2)


def test_coordinates_that_single_precision_cannot_hold(monkeypatch):
    said = []
    monkeypatch.setattr(silhouettes, "warn_once", said.append)
    for at in (1e4, 4e5):
        derivative(glowing("perspective", "cube", [at, 0, 0]), "object.vertex_positions")
        assert bool(said) == (at > 1e5)
    assert "'object'" in said[0] and "Move the scene toward the origin" in said[0]


def test_a_shadow_on_a_ground_to_the_horizon():
    """The same film, filled by a floor 8 or 200 000 units wide: of the latter half of the shadow was lost."""

    def shadow(half):
        scene = CASES["shadow_area"].build()
        scene["sensor"] = camera(origin=(0, 4, 1), fov=30, film=film(12))
        scene["floor"]["to_world"] = T().translate([0, -1, 0]).rotate([1, 0, 0], -90).scale(half)
        off = {"max_depth": 2, "sppc": 0, "sppp": 0}
        return derivative(mi.load_dict(scene), "box.vertex_positions", spp=512, **off)

    near = shadow(4)
    assert share(shadow(1e5), near) == pytest.approx(1, abs=0.02)
