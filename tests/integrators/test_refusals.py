"""What is attached and not known to be right is refused in one line; a refusal leaves nothing behind."""

import drjit as dr
import mitsuba as mi
import numpy as np
import pytest

from pbdr.core import errors
from pbdr.core.errors import InputError
from pbdr.core.recording import freeze
from pbdr.integrators.capabilities import Capabilities, refusal, require_unbiased
from pbdr.scene.attached import alive, attached, parameter
from pbdr.validation.cases import CASES, camera, environment, film
from pbdr.validation.jump_cases import low_poly

T = mi.ScalarTransform4f
BALL = {"type": "sphere", "radius": 0.7}
TURN = mi.TensorXf(np.tile(np.array([[0, 0, 0, 1]], np.float32), (2, 1)))


class Dimmed(mi.BSDF):
    """A matte material of a user, with a number that it does not call differentiable."""

    def __init__(self, props):
        mi.BSDF.__init__(self, props)
        self.m_components = [mi.BSDFFlags.DiffuseReflection | mi.BSDFFlags.FrontSide]
        self.m_flags = self.m_components[0]
        self.dim = mi.Float(0.3)

    def traverse(self, callback):
        callback.put("dim", self.dim, mi.ParamFlags.NonDifferentiable)

    def sample(self, context, si, u1, u2, active=True):
        bs = dr.zeros(mi.BSDFSample3f)
        bs.wo, bs.pdf, bs.eta = mi.warp.square_to_cosine_hemisphere(u2), 1.0, 1.0
        bs.sampled_type, bs.sampled_component = mi.UInt32(+mi.BSDFFlags.DiffuseReflection), mi.UInt32(0)
        return bs, mi.Color3f(self.dim) & active

    def eval(self, context, si, wo, active=True):
        return mi.Color3f(self.dim) & active

    def pdf(self, context, si, wo, active=True):
        return mi.warp.square_to_cosine_hemisphere_pdf(wo)

    def eval_pdf(self, context, si, wo, active=True):
        return self.eval(context, si, wo, active), self.pdf(context, si, wo, active)


mi.register_bsdf("dimmed", Dimmed)


def world(**objects):
    return mi.load_dict({"type": "scene", "sensor": camera(film=film(12)), "sky": {"type": "constant"}, **objects})


def curve(kind, folder):
    path = folder / "curve.txt"
    path.write_text("-1 0 0 0.2\n-0.5 0 0 0.2\n0.5 0 0 0.3\n1 0.3 0 0.3\n")
    return {"type": kind, "filename": str(path)}


def ellipsoids(kind):
    centers, scales = ([[x, 0, 0], [-x, 0.1, 0]] for x in (0.6, 0.2))
    return {
        "type": kind,
        "centers": mi.TensorXf(np.array(centers, np.float32)),
        "scales": mi.TensorXf(np.abs(np.array(scales, np.float32)) + 0.1),
        "quaternions": TURN,
        "opacities": mi.TensorXf(np.full((2, 1), 0.5, np.float32)),
    }


def distance_field():
    z, y, x = np.mgrid[0:6, 0:6, 0:6].astype(np.float32) / 5 - 0.503
    values = (np.sqrt(x * x + y * y + z * z) - 0.3)[..., None]
    return {"type": "sdfgrid", "grid": mi.TensorXf(values), "to_world": T().translate([-0.5, -0.5, -0.5])}


def instanced():
    return {
        "group": {"type": "shapegroup", "inner": BALL},
        "one": {"type": "instance", "ref": {"type": "ref", "id": "group"}},
    }


def misty():
    return {
        "shape": {**BALL, "bsdf": {"type": "null"}, "interior": {"type": "homogeneous", "albedo": 0.5, "sigma_t": 1.0}}
    }


def attach(params, key, motion=None):
    """A leaf x = 0 that is added to a value; to a transform, as a translation, or as motion(1 + x)."""
    x, value = mi.Float(0), params[key]
    dr.enable_grad(x)
    if "Transform" in type(value).__name__:
        moved = motion(1 + x) if motion else mi.Transform4f().translate([x, 0, 0])
        params[key] = moved @ mi.Transform4f(value)
    else:
        params[key] = type(value)(value) + x
    params.update()
    return x


def differentiate(scene, x, params, integrator, mode, **more):
    image = mi.render(scene, params, integrator=integrator, spp=16, seed=1, **more)
    if mode == "forward":
        dr.forward(x)
        return float(np.array(dr.grad(image)).sum())
    dr.backward(dr.sum(image, axis=None))
    return float(dr.grad(x)[0])


def integrator_of(kind):
    return mi.load_dict({"type": kind, "max_depth": 2})


REFUSED = {
    "linearcurve": (lambda f: {"shape": curve("linearcurve", f)}, "shape.control_points", "does not attach how"),
    "bsplinecurve": (lambda f: {"shape": curve("bsplinecurve", f)}, "shape.control_points", "lacks curves"),
    "ellipsoids": (lambda f: {"shape": ellipsoids("ellipsoids")}, "shape.data", "outlines of ellipsoids"),
    "ellipsoidsmesh": (lambda f: {"shape": ellipsoids("ellipsoidsmesh")}, "shape.data", "outlines of ellipsoids"),
    "opacities": (lambda f: {"shape": ellipsoids("ellipsoids")}, "shape.opacities", "opaque"),
    "moved field": (lambda f: {"shape": distance_field()}, "shape.to_world", "grid"),
    "inside of a group": (lambda f: instanced(), "group.inner.to_world", "shapegroup"),
    "medium": (lambda f: misty(), "shape.interior_medium.sigma_t.value.value", "participating media"),
    "unmarked": (lambda f: {"shape": {**BALL, "bsdf": {"type": "dimmed"}}}, "shape.bsdf.dim", "does not mark"),
}


@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("kind", ["prb_edge", "prb_reparam"])
@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_anything_is_traced(name, kind, mode, tmp_path, monkeypatch):
    if (name, kind) == ("bsplinecurve", "prb_reparam"):
        pytest.skip("it has the derivative")
    objects, key, reason = REFUSED[name]
    scene = world(**objects(tmp_path))
    params, integrator = mi.traverse(scene), integrator_of(kind)
    x = attach(params, key)
    image = mi.render(scene, params, integrator=integrator, spp=1)
    monkeypatch.setattr(integrator, "sample_rays", None)
    with pytest.raises(errors.UnsupportedError) as error:
        dr.forward(x) if mode == "forward" else dr.backward(dr.sum(image, axis=None))
    message = str(error.value)
    assert f"'{key}'" in message and kind in message and reason in message and "detach" in message.lower()
    assert "\n" not in message
    with pytest.raises(errors.UnsupportedError, match=key):
        require_unbiased(integrator, key, params)


def with_thread(folder):
    """A ball that is seen, and a curve behind the sensor."""
    scene = world(shape=BALL, thread=curve("linearcurve", folder))
    params = mi.traverse(scene)
    rest = mi.Float(params["thread.control_points"]) + mi.Float(np.tile([0, 0, 60, 0], 4).astype(np.float32))
    params["thread.control_points"] = rest
    params.update()
    return scene, params, rest


@pytest.mark.parametrize("later", ["forward", "backward"])
@pytest.mark.parametrize("kind", ["prb_edge", "prb_reparam"])
def test_a_right_derivative_after_a_refused_one(kind, later, tmp_path):
    """In another scene while the refused one is still attached, and in that one after it has been put right."""
    integrator = mi.load_dict({"type": kind, "max_depth": 2, **({"sppi": 0} if kind == "prb_edge" else {})})

    def grow(scene, params):
        params["shape.to_world"] = mi.Transform4f()
        x = attach(params, "shape.to_world", mi.Transform4f().scale)
        return differentiate(scene, x, params, integrator, later)

    good, good_params, _ = with_thread(tmp_path)
    expected = grow(good, good_params)
    assert abs(expected) > 10
    bad, params, rest = with_thread(tmp_path)
    for mode in ("forward", "backward"):
        attach(params, "shape.to_world", mi.Transform4f().scale)
        y = attach(params, "thread.control_points")
        with pytest.raises(errors.UnsupportedError, match="control_points"):
            differentiate(bad, y, params, integrator, mode)
    assert grow(good, good_params) == pytest.approx(expected, rel=1e-4)
    params["thread.control_points"] = rest
    assert grow(bad, params) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", ["prb_edge", "prb_reparam"])
def test_scenes_that_are_alive_together(kind):
    """Each has the derivatives that it has alone, in any order, also where one number moves both."""
    scenes = [world(shape={"type": "sphere", "radius": r}) for r in (0.5, 0.9)]
    params = [mi.traverse(s) for s in scenes]
    integrator = mi.load_dict({"type": kind, "max_depth": 2, **({"sppi": 0} if kind == "prb_edge" else {})})
    starts = [mi.Transform4f(p["shape.to_world"]) for p in params]

    def put(number, x):
        params[number]["shape.to_world"] = mi.Transform4f().scale(1 + x) @ starts[number]
        params[number].update()

    def leaf():
        x = mi.Float(0)
        dr.enable_grad(x)
        return x

    def images():
        getattr(integrator, "forget", lambda: None)()
        return [mi.render(s, p, integrator=integrator, spp=16, seed=1) for s, p in zip(scenes, params)]

    alone = []
    for k in range(2):
        put(1 - k, mi.Float(0))
        x = leaf()
        put(k, x)
        alone.append(differentiate(scenes[k], x, params[k], integrator, "backward"))
    for mode in ("backward", "forward"):
        xs = [leaf(), leaf()]
        for k in range(2):
            put(k, xs[k])
        for k in (1, 0):
            if mode == "forward":
                both = images()
                dr.forward(xs[k])
                assert float(np.array(dr.grad(both[k])).sum()) == pytest.approx(alone[k], rel=1e-3)
            else:
                dr.backward(dr.sum(images()[k], axis=None))
                assert float(dr.grad(xs[k])[0]) == pytest.approx(alone[k], rel=1e-3)
        x = leaf()
        for k in range(2):
            put(k, x)
        both = images()
        if mode == "forward":
            dr.forward(x)
            assert [float(np.array(dr.grad(i)).sum()) for i in both] == pytest.approx(alone, rel=1e-3)
        else:
            dr.backward(dr.sum(both[0], axis=None) + dr.sum(both[1], axis=None))
            assert float(dr.grad(x)[0]) == pytest.approx(sum(alone), rel=1e-3)


@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("kind", ["prb_edge", "prb_reparam"])
def test_inside_another_integrator(kind, mode):
    """`aov` differentiates depth without visibility: refused. Materials do not change depth: right."""
    wrapped = mi.load_dict({"type": "aov", "aovs": "dd:depth", "image": {"type": kind, "max_depth": 2}})
    scene = world(shape=BALL)
    params = mi.traverse(scene)
    x = attach(params, "shape.to_world")
    with pytest.raises(errors.UnsupportedError, match=f"'shape.to_world': inside another integrator .* {kind}"):
        differentiate(scene, x, params, wrapped, mode)
    params["shape.to_world"] = mi.Transform4f()
    x = attach(params, "shape.bsdf.reflectance.value")
    colour = differentiate(scene, x, params, wrapped, mode)
    params["shape.bsdf.reflectance.value"] = mi.Float(0.5)
    x = attach(params, "shape.bsdf.reflectance.value")
    assert colour == pytest.approx(differentiate(scene, x, params, integrator_of(kind), mode), rel=0.03)
    assert colour > 1


@pytest.mark.parametrize(
    "integrator",
    [
        *({"type": t} for t in ("path", "direct", "volpath", "ptracer", "depth")),
        *({"type": "aov", "aovs": "dd:depth", "image": {"type": t}} for t in ("path", "prb", "prb_edge")),
        {"type": "moment", "image": {"type": "prb_edge"}},
    ],
    ids=lambda d: d["type"] + "-" + d.get("image", {}).get("type", ""),
)
def test_integrators_without_visibility(integrator):
    plugin = mi.load_dict(integrator)
    for key in ("box.vertex_positions", "box.to_world", "lamp.position", "sensor.to_world"):
        with pytest.raises(
            errors.UnsupportedError, match=f"'{key}': the gradient of {integrator['type']} would be biased"
        ):
            require_unbiased(plugin, key)
    if integrator["type"] in ("depth", "moment"):
        with pytest.raises(errors.UnsupportedError, match="lacks continuous"):
            require_unbiased(plugin, "box.bsdf.reflectance.value")
    else:
        require_unbiased(plugin, "box.bsdf.reflectance.value")


def test_an_integrator_of_ones_own_says_what_it_has():
    class Mine(mi.ad.integrators.common.ADIntegrator):
        pass

    plugin = Mine(mi.Properties("mine"))
    with pytest.raises(
        errors.UnsupportedError, match=r"Mine would be biased.*capabilities = Capabilities\(moving_geometry=True"
    ):
        require_unbiased(plugin, "box.vertex_positions")
    Mine.capabilities = Capabilities(moving_geometry=True, primary_visibility=True)
    require_unbiased(plugin, "box.vertex_positions")


def test_media_are_named_once(monkeypatch):
    said = []
    monkeypatch.setattr(errors, "_warned", set())
    monkeypatch.setattr(mi, "Log", lambda level, text: said.append(text))
    for _ in range(2):
        mi.render(world(**misty()), integrator=integrator_of("prb_edge"), spp=1)
    mi.render(world(shape=BALL), integrator=integrator_of("prb_edge"), spp=1)
    assert len(said) == 1 and "'shape'" in said[0] and "prbvolpath" in said[0]


def test_what_is_known_is_not_refused():
    """Of a scene with many kinds of objects; the rest is exactly what has no rule."""
    scene = world(
        ball=BALL, plate={"type": "rectangle"}, box={"type": "cube"}, lamp={"type": "point", "position": [0, 3, 0]},
        spot={"type": "spot"}, sun={"type": "directional"}, **instanced(),
    )  # fmt: skip
    params, edge = mi.traverse(scene), integrator_of("prb_edge")
    kinds = {k: type(params[k]) for k in params.keys()}
    floats = [k for k, t in kinds.items() if "Transform" in t.__name__ or (dr.is_diff_v(t) and dr.is_float_v(t))]
    assert {"ball.to_world", "box.vertex_positions", "box.vertex_texcoords", "sensor.x_fov", "one.to_world"} < set(
        floats
    )
    assert [k for k in floats if refusal(parameter(params, k), edge)] == ["group.inner.to_world"]


def test_ends_of_curves_are_named(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(errors, "_warned", set())
    monkeypatch.setattr(mi, "Log", lambda level, text: said.append(text))
    scene = world(shape=curve("bsplinecurve", tmp_path))
    params, integrator = mi.traverse(scene), integrator_of("prb_reparam")
    for _ in range(2):
        x = attach(params, "shape.control_points")
        assert abs(differentiate(scene, x, params, integrator, "backward")) > 0.1
    (line,) = [text for text in said if "curves" in text]
    assert "'shape'" in line and "ends of curves" in line


@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("kind", ["prb_edge", "prb_reparam"])
def test_what_is_refused_inside_of_a_loop_is_refused_before_it(kind, mode):
    """One line, not "dr.while_loop(): encountered an exception"."""
    bumps = {"type": "bitmap", "bitmap": mi.Bitmap(np.full((4, 4, 3), 0.5, np.float32)), "raw": True}
    blend = {"type": "blendbsdf", "weight": 0.5, "a": {"type": "plastic"}, "b": {"type": "diffuse"}}
    scene = world(shape={**BALL, "bsdf": {"type": "normalmap", "normalmap": bumps, "blend": blend}})
    params = mi.traverse(scene)
    key = next(k for k in params.keys() if k.endswith("weight.value"))
    x = attach(params, key)
    with pytest.raises(errors.UnsupportedError, match="inside the blendbsdf"):
        differentiate(scene, x, params, integrator_of(kind), mode)


@pytest.mark.parametrize("mode", ["forward", "backward"])
def test_dirac_lobes_in_a_shapegroup(mode):
    """Traits of a scene count the materials of instances: the tint of a mirror has the derivative that it has outside."""
    mirror = {**BALL, "bsdf": {"type": "conductor", "specular_reflectance": {"type": "rgb", "value": 0.6}}}
    floor = {"type": "rectangle", "to_world": T().translate([0, 0, -1]).scale(3)}
    found = []
    for prefix, objects in (
        ("shape", {"shape": mirror}),
        ("group.inner", {**instanced(), "group": {"type": "shapegroup", "inner": mirror}}),
    ):
        scene = world(floor=floor, **objects)
        params = mi.traverse(scene)
        x = attach(params, f"{prefix}.bsdf.specular_reflectance.value")
        found.append(differentiate(scene, x, params, integrator_of("prb_edge"), mode))
    assert found[0] > 10
    assert found[1] == pytest.approx(found[0], rel=0.02)


def test_what_is_alive_and_attached_is_found():
    scene = world(shape=BALL)
    params = mi.traverse(scene)
    assert not attached(scene)
    shape = scene.shapes()[0]
    assert any(plugin is shape for plugin in alive())
    attach(params, "shape.bsdf.reflectance.value")
    sensor = mi.load_dict(camera(film=film(4)))
    attach(mi.traverse(sensor), "to_world")
    with dr.suspend_grad():
        found = attached(scene, sensor)
        assert not attached(scene, sensor, suspended=False)
    assert [p.key for p in found] == ["shape.bsdf.reflectance.value", "to_world"]


def test_a_step_is_frozen_after_one_as_it_is():
    """What is learned of meshes cannot be recorded."""
    scene = CASES["shadow_area"].scene()
    params = mi.traverse(scene)
    key = "box.vertex_positions"
    params.keep([key])
    dr.enable_grad(params[key])
    params.update()
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 2})

    def step(params, seed):
        loss = dr.mean(mi.render(scene, params, integrator=integrator, spp=4, seed=seed), axis=None)
        dr.backward(loss)
        return dr.detach(loss)

    frozen = freeze(step)
    with pytest.raises(RuntimeError) as raised:
        frozen(params, mi.UInt32(0))
    assert "call the step once as it is" in str(raised.value.__cause__)
    step(params, mi.UInt32(0))
    dr.set_grad(params[key], 0)
    frozen(params, mi.UInt32(1))
    assert dr.any(dr.grad(params[key]) != 0)


@pytest.mark.parametrize("name", ["prb_edge", "prb_reparam"])
def test_normals_of_lights_are_refused_and_those_of_coarse_mirrors_warned_of(name, monkeypatch):
    said = []
    for module in ("capabilities", "missing"):
        monkeypatch.setattr(f"pbdr.integrators.{module}.warn_once", said.append)
    for look, refused in (({"emitter": {"type": "area"}}, True), ({"bsdf": {"type": "conductor"}}, False)):
        ball = low_poly(**look)
        scene = mi.load_dict({"type": "scene", "sensor": camera(film=film(4)), "sky": environment(), "ball": ball})
        params = mi.traverse(scene)
        dr.enable_grad(params["ball.vertex_normals"])
        params.update()
        image = mi.render(scene, params, integrator=mi.load_dict({"type": name, "max_depth": 2}), spp=1)
        if refused:
            with pytest.raises(errors.UnsupportedError, match=r"ball\.vertex_normals.*Move vertex_positions"):
                dr.backward(dr.sum(image, axis=None))
        else:
            dr.backward(dr.sum(image, axis=None))
            assert dr.any(params["ball.vertex_normals"].grad != 0)
    assert any("below the plane of" in text for text in said)


@pytest.mark.parametrize("key", ["thing.vertex_positions", "thing.bsdf.reflectance.value", "light.to_world"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("mode", [dr.ADMode.Forward, dr.ADMode.Backward])
def test_numbers_that_are_not_finite_are_named(key, value, mode):
    """Faces with such vertices are left out by Embree: the gradients of the others looked right."""
    light = {"type": "rectangle", "to_world": T().translate([0, 2, 3]), "emitter": {"type": "area"}}
    thing = {"type": "cube", "bsdf": {"type": "diffuse", "reflectance": {"type": "rgb", "value": [0.4, 0.5, 0.6]}}}
    scene = world(thing=thing, light=light)
    params = mi.traverse(scene)
    θ = mi.Float(0)
    dr.enable_grad(θ)
    if key == "light.to_world":
        params[key] = mi.Transform4f().translate(mi.Vector3f(θ + value, 2, 3))
    elif key.endswith("positions"):
        where = dr.arange(mi.UInt32, dr.width(params[key])) == 5
        params[key] = mi.Float(params[key]) + dr.select(where, θ + value, θ)
    else:
        params[key] = mi.Color3f(params[key].x, params[key].y + θ + value, params[key].z)
    params.update()
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 2})
    with pytest.raises(InputError, match=f"'{key}'.*NaN or infinite"):
        image = mi.render(scene, params, integrator=integrator, spp=2)
        if mode == dr.ADMode.Forward:
            dr.forward(θ)
            dr.eval(dr.grad(image))
        else:
            dr.backward(dr.sum(image, axis=None))


@pytest.mark.parametrize("name", ["prb_edge", "prb_reparam"])
@pytest.mark.parametrize("assigned", [False, True])
def test_shapes_that_were_not_told_are_refused(name, assigned):
    """What was seen without a refusal: the whole derivative of a cube 0, and 3 % of that of a smooth mesh."""
    scene = world(thing={"type": "cube"}, ball=BALL)
    params = mi.traverse(scene)
    integrator = mi.load_dict({"type": name, "max_depth": 2})
    for key in ("thing.vertex_positions", "ball.to_world"):
        if assigned:
            θ = mi.Float(0)
            dr.enable_grad(θ)
            moved = (
                mi.Transform4f().translate(mi.Vector3f(θ, 0, 0)) @ params[key] if "world" in key else params[key] + θ
            )
            params[key] = moved
        else:
            dr.enable_grad(params[key])
        with pytest.raises(InputError, match=rf"'{key}'.*Call params\.update\(\)"):
            dr.backward(dr.sum(mi.render(scene, params, integrator=integrator, spp=1), axis=None))
        with pytest.raises(InputError, match=rf"'{key}'.*Call params\.update\(\)"):
            integrator.render_backward(scene, None, dr.ones(mi.TensorXf, (12, 12, 3)), spp=1)
        params.update()
        dr.backward(dr.sum(mi.render(scene, params, integrator=integrator, spp=1), axis=None))
        params[key] = dr.detach(params[key])
        params.update()


@pytest.mark.parametrize("name", ["prb_edge", "prb_reparam"])
@pytest.mark.parametrize("key", ["thing.to_world", "ball.to_world", "cube.vertex_positions"])
def test_shapes_that_were_told_once_are_refused_when_they_are_not_told_again(name, key):
    """Seen without a refusal: 0 for a rectangle, a sixth for a sphere, since they still followed the variable of the step before."""
    scene = world(thing={"type": "rectangle"}, cube={"type": "cube"}, ball=BALL)
    params = mi.traverse(scene)
    integrator = mi.load_dict({"type": name, "max_depth": 2})
    rest = dr.detach(params[key])

    def step(told):
        θ = mi.Float(0)
        dr.enable_grad(θ)
        moved = mi.Transform4f().translate(mi.Vector3f(θ, 0, 0)) @ rest if "world" in key else rest + θ
        params[key] = moved
        if told:
            params.update()
        dr.backward(dr.sum(mi.render(scene, params, integrator=integrator, spp=1), axis=None))

    step(True)
    with pytest.raises(InputError, match=rf"'{key}'.*Call params\.update\(\)"):
        step(False)
    params.update()
    step(True)


def test_maps_that_were_not_told_are_warned_of(monkeypatch):
    said = []
    monkeypatch.setattr("pbdr.scene.attached.warn_once", said.append)
    texture = {"type": "bitmap", "bitmap": mi.Bitmap(np.full((4, 4, 3), 0.5, np.float32)), "raw": True}
    lamp = {"type": "point", "position": [0, 3, 0], "intensity": 2.0}
    scene = world(thing={"type": "sphere", "bsdf": {"type": "diffuse", "reflectance": texture}}, lamp=lamp)
    params = mi.traverse(scene)
    integrator = mi.load_dict({"type": "prb_edge", "max_depth": 2})

    def gradient(key):
        dr.backward(dr.sum(mi.render(scene, params, integrator=integrator, spp=1), axis=None))
        return np.abs(dr.grad(params[key]).numpy()).sum()

    key = "thing.bsdf.reflectance.data"
    dr.enable_grad(params[key])
    assert gradient(key) == 0 and len(said) == 1 and key in said[0]
    params.update()
    assert gradient(key) > 0 and len(said) == 1
    params[key] = dr.detach(params[key])
    dr.enable_grad(params["lamp.intensity.value"])
    params.update()
    assert gradient("lamp.intensity.value") > 0
    dr.enable_grad(params["lamp.position"])  # read as it is: nothing is said, nothing is missing
    first = gradient("lamp.position")
    dr.set_grad(params["lamp.position"], 0)
    params.update()
    assert first > 0 and len(said) == 1 and np.isclose(gradient("lamp.position"), first, rtol=1e-4)


def test_scenes_that_were_loaded_before_the_first_derivative():
    """A call shows plugins of other scenes, for Python at first as objects of their base class: they stay what they are."""

    def step(scene, seed):
        params = mi.traverse(scene)
        θ = mi.Float(0)
        dr.enable_grad(θ)
        params["thing.vertex_positions"] = dr.detach(params["thing.vertex_positions"]) + θ
        params.update()
        integrator = mi.load_dict({"type": "prb_edge", "max_depth": 2})
        dr.backward(dr.sum(mi.render(scene, params, integrator=integrator, spp=16, seed=seed), axis=None))
        return dr.grad(θ)[0]

    scenes = [world(thing={"type": "cube"}) for _ in range(3)]
    values = [step(scene, 0) for scene in scenes for _ in range(2)]
    assert abs(values[0]) > 1 and np.allclose(values, values[0], rtol=0.05)
