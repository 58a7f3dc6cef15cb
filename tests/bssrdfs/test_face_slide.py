"""What slides along with the first point of a walk stays on its surface, and its divergence is that of differences."""

import drjit as dr
import mitsuba as mi
import pytest

from pbdr.integrators.face_slide import FaceSlide
from pbdr.validation.cases import T, world

DICE = {"type": "cube", "to_world": T().scale(0.6)}
BALL = {"type": "sphere", "radius": 0.9}
SLIDE, STEP = mi.ScalarVector3f(1, 0.4, 0), 1e-3
HITS = {  # where x_o and the other point are looked for, from inside the object
    "same face": (DICE, (0.2, 0.1, 1), (0.1, 0.05, 1)),
    "beyond a crease": (DICE, (0.55, 0.3, 0.6), (0.6, 0.31, 0.45)),
    "ball": (BALL, (0, 0, 1), (0.4, 0.2, 0.5)),
}


@pytest.mark.parametrize("name", HITS)
def test_slide_stays_on_the_surface(name):
    shape, at, other = HITS[name]
    scene = mi.load_dict(world(s=shape))

    def hit(p, origin=(0, 0, 0)):
        ray = mi.Ray3f(mi.Point3f(*origin), dr.normalize(mi.Vector3f(p) - mi.Vector3f(*origin)))
        return scene.ray_intersect_preliminary(ray), ray

    pi, ray = hit(at)
    around = FaceSlide(pi, ray, mi.Bool(True))
    slide = mi.Vector3f(SLIDE)
    slide -= around.n * dr.dot(around.n, slide)

    def moved(p):
        pi, ray = hit(p)
        x = pi.compute_surface_interaction(ray)
        K, divergence = around.at(pi, mi.Vector3f(x.p), mi.Vector3f(x.n), mi.Bool(True)).of(slide)
        return x, K, divergence

    x, K, divergence = moved(other)
    assert dr.norm(K)[0] > 0.1
    assert abs(dr.dot(K, x.n)[0]) < 1e-4
    differences = mi.Float(0)
    frame = mi.Frame3f(x.n)
    for a in (frame.s, frame.t):
        ahead, behind = (moved(mi.Vector3f(x.p) + a * h)[1] for h in (STEP, -STEP))
        differences += dr.dot(a, ahead - behind) / (2 * STEP)
    assert abs(divergence - differences)[0] < 0.02 * max(1, abs(differences[0])), (divergence, differences)


def test_nothing_slides_at_an_edge():
    scene = mi.load_dict(world(s=DICE))
    ray = mi.Ray3f(mi.Point3f(0), dr.normalize(mi.Vector3f(0.2, 0.1, 1)))
    around = FaceSlide(scene.ray_intersect_preliminary(ray), ray, mi.Bool(True))
    edge = mi.Ray3f(mi.Point3f(0), dr.normalize(mi.Vector3f(0.599999, 0.1, 0.6)))
    pi = scene.ray_intersect_preliminary(edge)
    x = pi.compute_surface_interaction(edge)
    K, _ = around.at(pi, mi.Vector3f(x.p), mi.Vector3f(x.n), mi.Bool(True)).of(mi.Vector3f(1, 0, 0))
    assert dr.norm(K)[0] < 1e-4
