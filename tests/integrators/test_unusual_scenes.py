"""Valid scenes that users bring and few tests think of: stretched spheres, films one pixel wide, maps inside of maps."""

from types import SimpleNamespace

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest

from pbdr.core import errors
from pbdr.core.errors import UnsupportedError
from pbdr.core.recording import freeze
from pbdr.integrators.boundary import EdgeRecord, boundary_forward
from pbdr.integrators.film import require_colours
from pbdr.scene.sensors import can_be_recorded
from pbdr.validation.cases import camera, diffuse, film
from pbdr.validation.finite_difference import forward_derivative
from pbdr.validation.jump_cases import bumpy
from pbdr.validation.meshes import as_file, knobbly_ball
from pbdr.validation.perturbation import Perturbation

T = mi.ScalarTransform4f


def world(sensor=None, **objects):
    return mi.load_dict(
        {"type": "scene", "sensor": sensor or camera(film=film(12)), "sky": {"type": "constant"}, **objects}
    )


def derivative(scene, kind, key, value_of, spp=256, seed=0, **parameters):
    """Image of dI/dt where the parameter is ``value_of(t)``, at t = 0."""
    params = mi.traverse(scene)
    before = type(params[key])(params[key])
    t = mi.Float(0)
    dr.enable_grad(t)
    params[key] = value_of(t)
    params.update()
    dr.forward(t, dr.ADFlag.ClearEdges)
    integrator = mi.load_dict({"type": kind, "max_depth": 2, **parameters})
    image = np.array(integrator.render_forward(scene, params, spp=spp, seed=seed), np.float64)
    params[key] = before
    params.update()
    return image


def both_modes(scene, integrator, shape, spp):
    """Sum of the derivative image where ``cube`` grows, in forward and in backward mode."""
    params, key = mi.traverse(scene), "cube.vertex_positions"
    rest, found = dr.detach(params[key]), []
    for mode in ("forward", "backward"):
        t = mi.Float(0)
        dr.enable_grad(t)
        params[key] = rest * (1 + t)
        params.update()
        if mode == "forward":
            dr.forward(t, dr.ADFlag.ClearEdges)
            found.append(float(np.array(integrator.render_forward(scene, params, spp=spp)).sum()))
        else:
            integrator.render_backward(scene, params, mi.TensorXf(np.ones(shape, np.float32)), spp=spp)
            found.append(float(dr.grad(t)[0]))
    return found


@pytest.mark.parametrize("kind", ["prb_edge", "prb_reparam"])
def test_a_sphere_remains_one(kind):
    """Its radius is the length of the first column of ``to_world`` (Mitsuba 3.9.1); the other columns do nothing."""
    scene = world(ball={"type": "sphere", "radius": 0.6, "bsdf": diffuse(0.2, 0.2, 0.5)}, floor={
        "type": "rectangle", "to_world": T().translate([0, -1, 0]).rotate([1, 0, 0], -90).scale(4)})  # fmt: skip
    base = mi.Transform4f(mi.traverse(scene)["ball.to_world"].matrix)

    def along(*axes):
        def value_of(t):
            return base @ mi.Transform4f().scale(mi.Vector3f(*(1 + (t if k in axes else 0) for k in range(3))))

        return derivative(scene, kind, "ball.to_world", value_of)

    def sheared(t):
        return base @ mi.Transform4f(mi.Matrix4f(1, t, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1))

    whole, first = along(0, 1, 2), along(0)
    size = np.abs(whole).sum()
    assert size > 10
    assert np.abs(first - whole).sum() < 0.1 * size  # up to what rotations of its points add in the field's noise
    others = [along(1), along(2), derivative(scene, kind, "ball.to_world", sheared)]
    limit = 1e-4 if kind == "prb_edge" else 0.1  # its field has noise where the film's does not vanish
    for image in others:
        assert abs(image.sum()) < 0.02 * abs(whole.sum())
        assert np.abs(image).sum() < limit * size


@pytest.mark.parametrize("size", [(1, 16), (16, 1), (1, 1), (2, 3)])
@pytest.mark.parametrize("kind, rfilter", [("prb_edge", "gaussian"), ("prb_edge", "box"), ("prb_reparam", "gaussian")])
def test_narrow_films(kind, rfilter, size):
    """Both modes agree."""

    def view(border):
        width, height = size
        own = {
            "type": "hdrfilm",
            "width": width,
            "height": height,
            "rfilter": {"type": rfilter},
            "sample_border": border,
        }
        return world(
            camera(film=own), cube={"type": "cube", "to_world": T().rotate([1, 1, 0], 30).scale(0.6), "bsdf": diffuse()}
        )

    for border in (False, True):
        scene = view(border)
        found = both_modes(scene, mi.load_dict({"type": kind, "max_depth": 2}), (size[1], size[0], 3), 512)
        assert np.isfinite(found).all() and found[0] != 0
        assert found[1] == pytest.approx(found[0], rel=1e-3)


def test_a_spectral_film_is_refused_by_name():
    """Mitsuba has them in spectral variants alone."""
    spectral = SimpleNamespace(flags=lambda: +mi.FilmFlags.Special, class_name=lambda: "SpecFilm")
    sensor = SimpleNamespace(film=lambda: spectral, id=lambda: "eye")
    for kind in ("prb_edge", "prb_reparam"):
        said = f"'eye': {kind} cannot differentiate visibility on a film of type SpecFilm"
        with pytest.raises(UnsupportedError, match=said):
            require_colours(sensor, kind)


def test_maps_inside_of_maps_are_warned_of():
    errors._warned.clear()
    scene = world(ball={"type": "sphere", "bsdf": bumpy(True, bumpy(False))})
    derivative(scene, "prb_edge", "ball.to_world", lambda t: mi.Transform4f().translate(mi.Vector3f(t, 0, 0)), spp=4)
    assert any("inside of another one" in line for line in errors._warned)


def test_a_projector_that_fades_has_no_border():
    from pbdr.validation.cases import LIGHTS, faded

    def warned(image):
        errors._warned.clear()
        scene = world(light={**LIGHTS["projector"](), "irradiance": image}, ball={"type": "sphere"})
        derivative(
            scene, "prb_edge", "ball.to_world", lambda t: mi.Transform4f().translate(mi.Vector3f(t, 0, 0)), spp=4
        )
        return " ".join(errors._warned)

    assert "the border of the image of projector" not in warned(faded())
    said = warned({"type": "checkerboard"})
    assert "the border of the image of projector" in said and "the texture of projector" in said


def test_alpha_of_a_pattern_that_moves():
    """Its slope moves with the plate: against differences in four quarters, whose errors cancel in the whole."""
    pattern = np.array([[0.1, 0.9], [0.7, 0.2]], np.float32)[..., None]
    mask = {
        "type": "mask",
        "opacity": {"type": "bitmap", "data": mi.TensorXf(pattern), "raw": True},
        "nested": diffuse(),
    }
    scene = mi.load_dict({
        "type": "scene", "sensor": camera(film=film(16, pixel_format="rgba")),
        "light": {"type": "point", "position": [0, 0, 9], "intensity": 0.001},
        "plate": {"type": "rectangle", "to_world": T().scale([1.2, 0.8, 1]), "bsdf": mask},
    })  # fmt: skip
    params = mi.traverse(scene)
    base = mi.Transform4f(params["plate.to_world"].matrix)
    weights = np.zeros((16, 16, 4))
    weights[4:8, 4:8, 3], weights[4:8, 8:12, 3], weights[8:12, 4:8, 3] = 1, -1, 0.5

    def moved(t):
        return mi.Transform4f().translate(mi.Vector3f(t, 0.3 * t, 0)) @ base

    def image(t, seed):
        params["plate.to_world"] = moved(t)
        params.update()
        path = mi.load_dict({"type": "path", "max_depth": 2})
        return (np.array(mi.render(scene, integrator=path, spp=4096, seed=seed)) * weights).sum()

    right = [(image(0.02, k) - image(-0.02, k)) / 0.04 for k in range(6)]
    ours = [(derivative(scene, "prb_edge", "plate.to_world", moved, spp=256, seed=k) * weights).sum() for k in range(6)]
    error = np.hypot(np.std(right, ddof=1), np.std(ours, ddof=1)) / np.sqrt(6)
    assert abs(np.mean(right)) > 20 * error
    assert abs(np.mean(ours) - np.mean(right)) < 3 * error + 0.01 * abs(np.mean(right))


@pytest.mark.parametrize("kind", ["radiancemeter", "distant"])
def test_sensors_of_one_ray(kind):
    """All lanes start alike: adjoints of what they have in common are sums."""
    one = {"type": "hdrfilm", "width": 1, "height": 1, "rfilter": {"type": "box"}}
    more = {"target": [0, 0, 0]} if kind == "distant" else {}
    sensor = {"type": kind, "to_world": T().look_at([0.2, 0.3, 4], [0, 0, 0], [0, 1, 0]), "film": one, **more}
    scene = world(sensor, cube={"type": "cube", "to_world": T().rotate([1, 1, 0], 30).scale(0.6)}, floor={
        "type": "rectangle", "to_world": T().translate([0, 0, -2]).scale(5)})  # fmt: skip
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 3, "sppp": 0, "sppi": 0})
    found = both_modes(scene, integrator, (1, 1, 3), 4096)
    assert np.isfinite(found).all()
    assert found[1] == pytest.approx(found[0], rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("kind", ["orthographic", "thinlens"])
def test_sensors_that_cannot_be_recorded(kind):
    more = {"aperture_radius": 0.1, "focus_distance": 4.0} if kind == "thinlens" else {}
    scene = world({"type": kind, "to_world": T().look_at([0, 0, 4], [0, 0, 0], [0, 1, 0]), "film": film(8), **more},
                  ball={"type": "sphere"})  # fmt: skip
    params, key = mi.traverse(scene), "ball.bsdf.reflectance.value"
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 2})
    assert not can_be_recorded(scene.sensors()[0])

    def step(value, seed):
        dr.enable_grad(value)
        params[key] = value
        params.update()
        dr.backward(dr.mean(mi.render(scene, params, integrator=integrator, spp=4, seed=seed), axis=None))
        return dr.grad(value)

    value = params[key]
    step(type(value)(value), mi.UInt32(0))
    with pytest.raises(RuntimeError) as raised:
        freeze(step)(type(value)(dr.detach(value)), mi.UInt32(1))
    said, error = [], raised.value
    while error is not None:
        said.append(str(error))
        error = error.__cause__
    assert any("Mitsuba 3.9.1 cannot record sensor" in line for line in said)


def test_meshes_wound_at_random_are_warned_of():
    errors._warned.clear()
    ball = knobbly_ball(8)
    params = mi.traverse(ball)
    faces = np.array(params["faces"]).reshape(-1, 3)
    turn = np.random.default_rng(0).random(len(faces)) < 0.3
    faces[turn] = faces[turn][:, ::-1]
    params["faces"] = faces.ravel()
    params.update()
    scene = world(ball=as_file(ball, True))
    derivative(
        scene,
        "prb_edge",
        "ball.vertex_positions",
        lambda t: dr.detach(mi.traverse(scene)["ball.vertex_positions"]) * (1 + t),
        spp=4,
    )
    assert any("wind oppositely" in line for line in errors._warned)


def test_what_shows_nothing_may_move_infinitely_fast():
    """As between two surfaces that all but touch."""
    sensor, x = mi.load_dict(camera(film=film(4))), mi.Float(0)
    dr.enable_grad(x)
    dr.set_grad(x, 1)
    speed = x * mi.Float([np.inf, 1.0])
    values = mi.Spectrum(mi.Float([0.0, 1.0]))
    record = EdgeRecord(mi.Point2f(2, 2), values, mi.Float([0.0, 0.0]), mi.Color0f(), mi.Bool([True, True]), speed)
    image = np.array(boundary_forward(sensor, [record]))
    assert np.isfinite(image).all() and image.sum() > 0


def test_no_nan_beside_a_sphere_like_a_planet():
    """The ground's horizon begins at one's feet."""
    kind = "prb_reparam"
    ground = {"type": "sphere", "center": [0, -1000.8, 0], "radius": 1000, "bsdf": diffuse(0.5, 0.5, 0.5)}
    ball = {"type": "sphere", "center": [0, -0.3, 0], "radius": 0.4, "bsdf": diffuse()}
    scene = world(sensor=camera(origin=(1, 2.2, 5), fov=30, film=film(24)), ground=ground, ball=ball)
    move = Perturbation(mi.traverse(scene), "ball.to_world", "translate_y")
    integrator = mi.load_dict({"type": kind, "max_depth": 2})
    for seed in range(6):
        assert np.isfinite(forward_derivative(scene, move, integrator, scene.sensors()[0], 96, seed)).all()


@pytest.mark.parametrize("radius, count", [(4e-4, 1), (4e-2, 0)])
def test_small_things_that_move_are_named(monkeypatch, radius, count):
    said = []
    monkeypatch.setattr(errors, "_warned", set())
    monkeypatch.setattr(mi, "Log", lambda level, message: said.append(message))
    scene = world(mote={"type": "sphere", "radius": radius}, floor={"type": "rectangle"})
    params = mi.traverse(scene)
    dr.enable_grad(params["mote.to_world"])
    params.update()
    dr.backward(dr.mean(mi.render(scene, params, integrator=mi.load_dict({"type": "prb_edge", "max_depth": 2}), spp=4)))
    assert len([m for m in said if "'mote' is" in m and "Scale the scene up" in m]) == count
