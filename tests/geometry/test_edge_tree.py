"""The tree against a look at every edge."""

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest
from scipy import stats

from pbdr.geometry.edge_tree import Query
from pbdr.geometry.scene_edges import SceneEdges
from pbdr.sampling.edge_guide import EdgeGuide
from pbdr.scene.viewpoint import Viewpoint
from pbdr.validation.cases import diffuse
from pbdr.validation.meshes import as_file, knobbly_ball

POINTS = 40


@pytest.fixture(scope="module", params=["moving ball", "moving disk", "all at rest"])
def edges(request):
    scene = mi.load_dict(
        {
            "type": "scene",
            "ball": {**as_file(knobbly_ball(24), True), "bsdf": diffuse()},
            "disk": {"type": "disk", "to_world": mi.ScalarTransform4f().translate([0, 0, -2])},
            "cube": {"type": "cube", "to_world": mi.ScalarTransform4f().translate([2, 0, 0]).scale(0.3)},
        }
    )
    params = mi.traverse(scene)
    key = {"moving ball": "ball.vertex_positions", "moving disk": "disk.to_world"}.get(request.param)
    if key:
        value = params[key]
        dr.enable_grad(value)
        params[key] = value
        params.update()
    with dr.suspend_grad():
        return SceneEdges(scene, {}, statics=True)


def query(point, **more):
    lobe = mi.Vector3f(0, 0, -1)
    return Query(
        view=Viewpoint(mi.Point3f(*map(float, point))), statics=mi.Float(1), lobe=lobe, width2=mi.Float(0.1), **more
    )


def points():
    rng = np.random.default_rng(5)
    d = rng.normal(size=(POINTS, 3))
    return d / np.linalg.norm(d, axis=1, keepdims=True) * rng.uniform(0.7, 4, (POINTS, 1))


def test_every_curve_has_a_leaf_of_its_own(edges):
    leaves = np.array(edges.tree._slot(edges.tree.depth, edges.tree.leaf))
    assert len(set(leaves)) == len(edges)
    curves = np.array(edges.tree.curve)[leaves]
    np.testing.assert_array_equal(curves, np.arange(len(edges)))


def test_no_contour_is_lost(edges):
    """A bound that is too tight would be a bias: whatever is an outline must be reachable."""
    leaf = dr.arange(mi.UInt32, len(edges))
    for point in points():
        start, length = edges.span(leaf)
        contour = edges.at(Viewpoint(mi.Point3f(*map(float, point))), leaf, start + 0.5 * length)
        active = np.array(contour.dt) > 0
        active = np.broadcast_to(active, len(edges)) & np.broadcast_to(np.array(contour.contour), len(edges))
        pdf = np.array(edges.tree.pdf(query(point), leaf))
        assert (pdf[active] > 0).all()
        assert pdf.sum() <= 1 + 1e-4


def test_samples_have_the_probability_they_say(edges):
    n = 50000
    for point in points()[:6]:
        rng = mi.PCG32(size=n)
        q = query(point, broad=0.3)
        narrow = rng.next_float32() >= q.broad
        curve, pmf = edges.tree.sample(q, rng.next_float32(), narrow)
        np.testing.assert_allclose(np.array(pmf), np.array(edges.tree.pdf(q, curve, pmf > 0)), rtol=1e-3, atol=1e-9)
        found = np.array(pmf) > 0
        counts = np.bincount(np.array(curve)[found], minlength=len(edges))
        expected = n * np.array(edges.tree.pdf(q, dr.arange(mi.UInt32, len(edges))))
        likely = expected > 5
        k, mean = counts[likely], expected[likely]
        tail = 2 * np.minimum(stats.poisson.cdf(k, mean), stats.poisson.sf(k - 1, mean))
        assert likely.sum() > 3 and tail.min() * likely.sum() > 1e-3
        assert ((k - mean) ** 2 / mean).mean() < 1.5


def test_guided_samples_have_the_probability_they_say(edges):
    """What was learned mixes with what the tree knows; groups without a contour cost nothing but samples."""
    n, tree = 50000, edges.tree
    level, groups = tree.groups(64)
    assert level > 0 and groups <= 64
    guide = EdgeGuide.of(groups)
    guide.moment = mi.Float(np.random.default_rng(3).exponential(size=groups).astype(np.float32) ** 4)
    guide.visits = dr.full(mi.Float, 10, groups)
    choice = guide.begin(level, tree.in_use(level))
    for point in points()[:6]:
        q = Query(view=Viewpoint(mi.Point3f(*map(float, point))), statics=mi.Float(1))
        curve, pmf, group, chosen = tree.sample_guided(q, (dr.arange(mi.Float, n) + 0.5) / n, choice)
        found = np.array(pmf) > 0
        again = tree.pdf_guided(q, curve, choice, pmf > 0)
        np.testing.assert_allclose(np.array(pmf), np.array(again), rtol=1e-3, atol=1e-9)
        counts = np.bincount(np.array(curve)[found], minlength=len(edges))
        pdf = np.array(tree.pdf_guided(q, dr.arange(mi.UInt32, len(edges)), choice))
        assert pdf.sum() <= 1 + 1e-4
        np.testing.assert_allclose(counts / n, pdf, atol=3e-3)
        reached = np.array(tree.pdf(q, dr.arange(mi.UInt32, len(edges)))) > 0
        np.testing.assert_array_equal(pdf > 0, reached)
        of_groups = np.zeros(groups)
        of_groups[np.array(group)] = np.array(chosen)
        share = np.bincount(np.array(group), minlength=groups) / n
        np.testing.assert_allclose(share[share > 0], of_groups[share > 0], atol=3e-3)
