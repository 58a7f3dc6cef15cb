"""How many boundary samples a plain render takes: from what earlier ones were worth."""

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest

from pbdr.integrators.term_shares import FIRST, SPARE, best_shares
from pbdr.validation.cases import camera, film

T = mi.ScalarTransform4f
SPP = 16


def above_floor(shadow: bool):
    """A cube above a floor in the light of a lamp or, without shadows, of a sky."""
    light = {
        "type": "rectangle",
        "to_world": T().translate([0, 4, 0]).rotate([1, 0, 0], 90),
        "emitter": {"type": "area"},
    }
    return mi.load_dict(
        {
            "type": "scene",
            "sensor": camera(to_world=T().look_at([0, 3, 6], [0, 0, 0], [0, 1, 0]), film=film(32 if shadow else 64)),
            "light": light if shadow else {"type": "constant"},
            "thing": {"type": "cube", "to_world": T().translate([0.2, 0.6, 0]).rotate([1, 1, 0], 30).scale(0.5)},
            "floor": {"type": "rectangle", "to_world": T().translate([0, -0.5, 0]).rotate([1, 0, 0], -90).scale(4 if shadow else 0.01)},
        }
    )  # fmt: skip


def gradients(scene, integrator, count, first=0):
    """[count, 3 V]: gradients of the square of the image, one seed each."""
    params, key = mi.traverse(scene), "thing.vertex_positions"
    found = []
    for seed in range(first, first + count):
        leaf = dr.detach(params[key])
        dr.enable_grad(leaf)
        params[key] = leaf
        params.update()
        image = mi.render(scene, params, integrator=integrator, spp=SPP, seed=seed)
        dr.backward(dr.mean(dr.square(image), axis=None))
        found.append(dr.grad(leaf).numpy())
    params[key] = dr.detach(params[key])
    params.update()
    return np.array(found)


def edge(**more):
    return mi.load_dict({"type": "prb_edge", "max_depth": 2, **more})


@pytest.mark.parametrize("worth", [(1.0, 1e-4), (1.0, 1.0), (1e-3, 1.0), (0.0, 2.0), (3.0, 0.0)])
@pytest.mark.parametrize("cost", [(0.2, 2.8), (1.5, 0.7)])
def test_no_more_variance_at_no_more_cost(worth, cost):
    """Up to what rounding to steps of √2 and the smallest shares cost."""
    shares = best_shares(worth, cost, 1 / 64)
    assert sum(v / s for v, s in zip(worth, shares)) <= sum(worth) * 2**0.25 + 1e-9
    least = 0.25 * cost[0] + cost[1] / 64
    assert sum(c * s for c, s in zip(cost, shares)) <= max(sum(cost), SPARE, least) * 2**0.25 + least
    # The best ones: no other pair of the same cost has less variance.
    s = np.geomspace(1 / 64, 4, 200)
    spent = sum(c * x for c, x in zip(cost, shares))
    other = [(a, (spent - cost[0] * a) / cost[1]) for a in s if a >= 0.25]
    best = min(worth[0] / a + worth[1] / min(b, 4) for a, b in other if b >= 1 / 64)
    assert sum(v / x for v, x in zip(worth, shares)) <= 1.25 * best


def test_nothing_known():
    for worth in ((0.0, 0.0), (np.nan, 1.0), (np.inf, 1.0)):
        assert best_shares(worth, (0.2, 2.8), 1 / 64) == FIRST


@pytest.mark.parametrize("shadow", [True, False])
def test_shares_follow_what_samples_are_worth(shadow):
    scene, own = above_floor(shadow), edge()
    equal = edge()
    equal.shares = (1.0, 1.0, 1.0)
    a, b = gradients(scene, own, 28)[4:], gradients(scene, equal, 28, 100)[4:]
    primary, indirect = own.usual_shares["backward"]
    if shadow:
        assert indirect > 0.5  # most of the noise is that of the shadow's border
    else:
        assert primary > 1.2 and indirect <= 0.1
    # Unbiased, and no noisier. The entries hang together: their z are a few independent numbers.
    error = np.sqrt((a.var(0, ddof=1) + b.var(0, ddof=1)) / len(a))
    z = (a.mean(0) - b.mean(0))[error > 0] / error[error > 0]
    assert np.abs(z).max() < 5 and 0.2 < np.mean(z**2) < 3
    assert a.var(0, ddof=1).sum() < 1.25 * b.var(0, ddof=1).sum()


def test_numbers_that_are_given_stay(monkeypatch):
    from pbdr.integrators import primary_edges
    from pbdr.integrators.indirect import Indirect

    taken = {"primary": [], "indirect": []}
    trace, begin = primary_edges._trace_edges, Indirect.__init__

    def primary(*args):
        taken["primary"].append(args[-1])
        return trace(*args)

    def indirect(self, *args):
        begin(self, *args)
        taken["indirect"].append(self.count)

    monkeypatch.setattr(primary_edges, "_trace_edges", primary)
    monkeypatch.setattr(Indirect, "__init__", indirect)
    scene = above_floor(False)
    for given, fixed in (({}, ()), ({"sppi": 8}, ("indirect",)), ({"sppp": 8, "sppi": 8}, ("primary", "indirect"))):
        taken["primary"], taken["indirect"] = [], []
        gradients(scene, edge(**given), 3)
        for term, counts in taken.items():
            assert len(counts) == 3 and (len(set(counts)) == 1) == (term in fixed), (given, counts)
    gradients(scene, edge(sppi=0), 2)
    taken["indirect"] = []
    gradients(scene, edge(sppi=0), 2)
    assert not taken["indirect"]


def test_what_was_learned_is_part_of_the_state():
    scene, own = above_floor(True), edge()
    sensors = scene.sensors()
    gradients(scene, own, 3)
    kept = own.state(sensors)
    names = [k for k in kept if "/terms/" in k]
    assert len(names) == 3 and all(np.isfinite(kept[k]).all() for k in names)
    other = edge()
    gradients(scene, other, 1)
    other.restore(sensors, kept)
    a, b = (gradients(scene, i, 1) for i in (own, other))
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(a).max())  # sums in another order
    own.forget()
    assert not own.usual_shares and not own.state(sensors)
