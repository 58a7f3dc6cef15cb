"""Memory budgets, capabilities, and warnings of what cannot be sampled."""

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest

from pbdr.core import errors, memory
from pbdr.integrators import render as module
from pbdr.integrators.capabilities import Capabilities, capabilities, require_unbiased
from pbdr.validation.cases import CASES
from pbdr.validation.finite_difference import backward_derivative, forward_derivative
from pbdr.validation.perturbation import Perturbation


@pytest.fixture
def budget():
    yield memory.set_budget
    memory.set_budget(None)


@pytest.mark.parametrize(
    "text, size", [("64MiB", 64 << 20), ("1.5G", 3 << 29), ("200m", 200 << 20), (1 << 30, 1 << 30)]
)
def test_sizes(text, size):
    assert memory.parse_size(text) == size


@pytest.mark.parametrize("text", ["much", "4 apples", "-1G", "3k"])
def test_bad_sizes(text):
    with pytest.raises(errors.InputError, match="memory"):
        memory.parse_size(text)


def test_default_budget_is_a_share_of_free_memory(budget):
    budget(None)
    assert memory.LEAST <= memory.budget() <= memory.free() * 0.75


def test_split_passes_sum_to_the_whole(budget, monkeypatch):
    """Interior, primary and indirect terms, forward and backward, against the unsplit render."""
    c = CASES["shadow_spot"]
    scene = c.scene()
    sensor, move = scene.sensors()[0], Perturbation(mi.traverse(scene), c.key, c.direction)
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 2})

    def images(first):
        return [forward_derivative(scene, move, integrator, sensor, 16, first + k) for k in range(8)]

    whole = images(0)
    budget("64MiB")
    monkeypatch.setattr(module, "LANE", (64 << 20) // 2000)  # 2000 lanes a pass
    assert len(list(integrator.passes(sensor, 0, 16))) > 3
    split = images(100)
    w = np.mean(whole, 0)
    a, b = ([float((x * w).sum()) for x in y] for y in (whole, split))
    error = np.hypot(np.std(a, ddof=1), np.std(b, ddof=1)) / np.sqrt(8)
    assert abs(np.mean(a) - np.mean(b)) < 4 * error
    integrator.forget()
    forward = float((forward_derivative(scene, move, integrator, sensor, 16, 7) * w).sum())
    integrator.forget()
    assert forward == pytest.approx(backward_derivative(scene, move, integrator, sensor, 16, 7, w), rel=1e-3)


def test_capabilities():
    edge, prb = (capabilities(mi.load_dict({"type": t})) for t in ("prb_edge", "prb"))
    assert edge.specular_chains and edge.camera and not edge.volumes
    assert prb.missing("continuous", "primary_visibility", "camera") == ["primary_visibility", "camera"]
    with pytest.raises(AttributeError):
        edge.camera = False  # frozen
    assert capabilities(object()) == Capabilities(), (
        "of what is unknown only the continuous part is expected to be right"
    )


@pytest.mark.parametrize("key", ["ball.vertex_positions", "ball.to_world", "light.position", "sensor.to_world"])
def test_biased_parameters_are_refused(key):
    with pytest.raises(errors.UnsupportedError, match="prb_edge"):
        require_unbiased(mi.load_dict({"type": "prb"}), key)
    require_unbiased(mi.load_dict({"type": "prb_edge"}), key)
    require_unbiased(mi.load_dict({"type": "prb"}), "ball.bsdf.reflectance.data")


@pytest.mark.parametrize("moving", ["chain.to_world", "box.vertex_positions"])
@pytest.mark.parametrize("lit", [False, True])
def test_shadows_of_points_in_a_mirror_are_named(monkeypatch, lit, moving):
    """Whether the mirror moves or what it shows."""
    said = []
    monkeypatch.setattr(errors, "_warned", set())
    monkeypatch.setattr(mi, "Log", lambda level, text: said.append(text))
    scene = CASES["mirrored_box"].build()
    if lit:
        scene["point"] = {"type": "point", "position": [0, 3, 3]}
    scene = mi.load_dict(scene)
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 2})
    move = Perturbation(mi.traverse(scene), moving, "translate_x")
    for seed in range(2):
        forward_derivative(scene, move, integrator, scene.sensors()[0], 1, seed)
    assert len(said) == lit and all("mirrors" in text and "small area lights" in text for text in said)


def test_learning_lowers_the_variance():
    """What earlier renders taught pays, and changes no expectation."""
    c = CASES["glossy_floor"]
    scene = c.scene()
    sensor, move = scene.sensors()[0], Perturbation(mi.traverse(scene), c.key, c.direction)
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 2, "sppc": 0, "sppp": 0})
    taught = [forward_derivative(scene, move, integrator, sensor, 32, k) for k in range(20)][6:]
    fresh = []
    for k in range(14):
        integrator.forget()
        fresh.append(forward_derivative(scene, move, integrator, sensor, 32, 100 + k))
    assert np.var(taught, 0, ddof=1).sum() < 0.5 * np.var(fresh, 0, ddof=1).sum()
    w = np.mean(taught, 0)
    a, b = ([float((x * w).sum()) for x in y] for y in (taught, fresh))
    assert abs(np.mean(a) - np.mean(b)) < 4 * np.hypot(np.std(a), np.std(b)) / np.sqrt(len(a))
    dr.sync_thread()
