"""The census: complete, able to fail, and able to survive what it measures."""

import json
import math

import mitsuba as mi
import numpy as np
import pytest

from pbdr.validation.census import (
    EXCLUDED,
    Bench,
    Plan,
    Results,
    Row,
    installed,
    judge,
    list_rows,
    load_all,
    measure,
    run,
    runner,
)  # fmt: skip
from pbdr.validation.census.judge import judge_faintness, judge_silence
from pbdr.validation.census.rows import directions, entries, is_uneven, matches
from pbdr.validation.census.table import make_table

RNG = np.random.default_rng(1)
TRUTH = RNG.normal(size=(8, 8, 3))


def images(seeds, noise, factor=1.0, add=0.0):
    return [factor * TRUTH + add + noise * RNG.normal(size=TRUTH.shape) for _ in range(seeds)]


# ------------------------------------------------------------------------------ complete


def test_every_installed_plugin_has_a_situation_or_a_reason():
    found = {(s.kind, name) for s in load_all().values() for name in s.plugins}
    there = {(kind, name) for kind, names in installed().items() for name in names}
    names = {name for _, name in there}
    missing = {(k, n) for k, n in there if n not in {x for _, x in found} and n not in EXCLUDED}
    assert not missing
    assert {n for _, n in found} <= names
    assert set(EXCLUDED) <= names and not set(EXCLUDED) & {n for _, n in found}
    assert len(there) > 80 and ("BSDF", "subsurface") in there


def test_every_situation_of_this_variant_loads_and_its_rows_exist():
    rows, core = [], []
    for s in load_all().values():
        if not s.exists_in(mi.variant()):
            continue
        params = mi.traverse(s.scene())
        of_this = list_rows(s, params)
        assert all(r.key in params for r in of_this), s.name
        rows += of_this
        core += of_this if s.core else []
    assert len({r.name for r in rows}) == len(rows)
    assert len({(r.situation, r.key) for r in rows}) >= 300
    assert len({(r.situation, r.key) for r in core}) >= 60


def test_directions_of_a_situation():
    cube = load_all()["cube"]
    rows = {(r.key, r.direction) for r in list_rows(cube, mi.traverse(cube.scene()))}
    assert {("thing.vertex_positions", d) for d in ("translate_x", "rotate_z", "scale", "one entry")} <= rows
    assert ("thing.bsdf.reflectance.value", "uniform") in rows
    assert not any(key == "thing.faces" for key, _ in rows)  # integers
    assert not list(directions("thing.vertex_texcoords", mi.Float([])))  # there are none


def test_one_vertex_moves_with_its_copies():
    """Mitsuba's cube has 24 vertices at 8 places; a mesh whose copies part has cracks."""
    params = mi.traverse(load_all()["cube"].scene())
    direction = next(entries("thing.vertex_positions", params["thing.vertex_positions"]))
    assert direction.sum() == 3 and len(direction) == 72
    colours = next(entries("thing.vertex_color", mi.Float(np.zeros(72))))
    assert colours.sum() == 1


def test_coefficients_of_a_spectrum_move_in_proportion():
    assert is_uneven(mi.Color3f(2e-5, -0.03, 9.0))
    assert not is_uneven(mi.Color3f(0.6, 0.3, 0.0)) and not is_uneven(mi.Float(0.5)) and not is_uneven(0.5)


def test_globs_on_rows():
    name = "plastic nonlinear/thing.bsdf.eta/uniform"
    for only in ("*", "plastic*", "*/*.eta", "*/*/uniform", "plastic nonlinear/thing.bsdf.eta/uniform"):
        assert matches(name, only), only
    for only in ("plastic", "*/*.alpha", "*/*/random", "*uniform"):
        assert not matches(name, only), only


# ------------------------------------------------------------------------------ verdicts


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        (dict(noise=0.1), "right"),
        (dict(noise=0.01, factor=1.005), "right"),
        (dict(noise=0.01, factor=1.03), "wrong"),
        (dict(noise=0.1, factor=0.0), "wrong"),
        (dict(noise=0.1, factor=-1.0), "wrong"),
        (dict(noise=60.0), "undecided"),
    ],
)
def test_verdicts(ours, verdict):
    assert judge(images(32, **ours), images(32, 0.1), TRUTH).verdict == verdict


def test_noise_that_is_common_cancels_seed_by_seed():
    reference = images(32, 3.0)
    assert judge([1.005 * x for x in reference], reference, TRUTH).error < 0.002
    assert judge(images(32, 0.01), reference, TRUTH).error > 0.02
    assert judge(images(32, 0.01), images(512, 3.0), TRUTH).error < 0.02


def test_errors_that_cancel_are_found():
    """The whole image has the right sum, its left half too much and its right half too little of it."""
    factor = np.ones((8, 8, 1))
    factor[:, :4] += 0.2
    factor[:, 4:] -= 0.2 * (TRUTH[:, :4] ** 2).sum() / (TRUTH[:, 4:] ** 2).sum()
    ours = [factor * x for x in images(32, 0.01)]
    judgement = judge(ours, images(32, 0.01), TRUTH)
    assert abs(judgement.bias) < 0.01
    assert judgement.verdict == "wrong" and "quarter" in judgement.line


def test_what_is_not_finite_is_wrong():
    ours = images(8, 0.1)
    ours[3][2, 2, 0] = math.nan
    assert judge(ours, images(8, 0.1), TRUTH).verdict == "wrong"


def test_a_parameter_without_effect():
    nothing = [np.zeros((8, 8, 3))] * 4
    assert judge_silence(nothing, 10.0).verdict == "no effect"
    assert judge_silence([x + TRUTH for x in nothing], 10.0).verdict == "wrong"


def test_noise_around_zero_is_no_effect():
    noise = [1e-3 * x for x in images(32, 1.0, factor=0.0)]
    assert judge_faintness(noise, noise, TRUTH, 10.0).verdict == "no effect"
    assert judge_faintness(noise, noise, TRUTH, 1e-3) is None  # the noise may hide something
    assert judge_faintness(noise, images(32, 1e-3, factor=1e-3), TRUTH, 10.0) is None  # there is something


# ------------------------------------------------------------------------------ real rows


def test_a_right_row():
    row = Row("diffuse", "thing.bsdf.reflectance.value", "uniform")
    (result,) = measure(Bench(load_all()["diffuse"]), row, ["prb_edge"])
    assert (result["forward"], result["backward"]) == ("right", "right"), result
    assert result["error"] < 0.02


def test_a_blind_integrator_is_found_wrong():
    """`prb` has no silhouettes, and says nothing."""
    row = Row("diffuse", "thing.to_world", "translate_x")
    (result,) = measure(Bench(load_all()["diffuse"]), row, ["prb"])
    assert (result["forward"], result["backward"]) == ("wrong", "wrong"), result
    assert result["bias"] < -0.5


def test_a_number_of_the_host_is_refused():
    row = Row("dielectric", "thing.bsdf.eta", "uniform")
    (result,) = measure(Bench(load_all()["dielectric"]), row, ["prb_edge"])
    assert result["forward"] == result["backward"] == "refused"
    assert result["plain"] and "thing.bsdf.eta" in result["line"]


# ------------------------------------------------------------------------------ the run


class FakeWorker:
    """Measures three rows, and dies at the second."""

    reason = "The process ended with status -6."
    started = 0

    def __init__(self, variant):
        FakeWorker.started += 1

    def ask(self, job):
        done = {tuple(x) for x in job["skip"]}
        for k in range(3):
            row = f"diffuse/key{k}/uniform"
            if ("prb_edge", row) in done:
                continue
            yield "start", {"integrator": "prb_edge", "row": row}
            if k == 1:
                return
            yield "result", {"integrator": "prb_edge", "row": row, "plain": False, "forward": "right",
                             "backward": "right", "bias": math.nan, "kind": "BSDF"}  # fmt: skip
        yield "done", None

    def close(self):
        pass


def test_a_worker_that_dies_costs_one_row(monkeypatch, tmp_path):
    monkeypatch.setattr(runner, "Worker", FakeWorker)
    monkeypatch.setattr(Plan, "situations", lambda self: ["diffuse"])
    results = Results(tmp_path, "llvm_ad_rgb")
    run(Plan("llvm_ad_rgb", ["prb_edge"]), results, lambda r: None)
    rows = results.read("prb_edge")
    assert {n: r["forward"] for n, r in rows.items()} == {
        "diffuse/key0/uniform": "right", "diffuse/key1/uniform": "abort", "diffuse/key2/uniform": "right",
    }  # fmt: skip
    assert "status -6" in rows["diffuse/key1/uniform"]["line"]
    assert json.loads(results.path("prb_edge").read_text())[0]["bias"] is None  # NaN is no JSON
    # What is there is not measured again, unless that is asked for.
    seen = []
    run(Plan("llvm_ad_rgb", ["prb_edge"]), results, seen.append)
    assert not seen
    run(Plan("llvm_ad_rgb", ["prb_edge"], again=("abort",)), results, seen.append)
    assert [r["row"] for r in seen] == ["diffuse/key1/uniform"]


def test_the_table_says_what_is_wrong_and_why_something_is_refused(tmp_path):
    results = Results(tmp_path, "llvm_ad_rgb")
    base = {"integrator": "prb_edge", "plain": False, "kind": "BSDF", "plugins": ["diffuse"], "line": ""}
    for name, more in {
        "diffuse/a/uniform": {"forward": "right", "backward": "right"},
        "diffuse/b/uniform": {"forward": "wrong", "backward": "right", "bias": -0.5, "error": 0.01},
        "diffuse/c/uniform": {"forward": "refused", "backward": "refused", "line": "It | cannot be done."},
        "diffuse/d/uniform": {"forward": "refused", "backward": "refused", "plain": True},
    }.items():
        results.add({**base, "row": name, "key": name.split("/")[1], **more})
    text = make_table(tmp_path)
    assert "| diffuse | `b` | uniform | **wrong** / right -50 ± 1 % |" in text
    assert "| diffuse | `c` | uniform | refused [1] |" in text and "1. It \\| cannot be done." in text
    assert "| rgb | `prb_edge` | 3 | 1 | 0 | 1 | 0 | 0 | 1 | 1 |" in text
    assert "`d`" in text.split("## Plain numbers")[1]


def test_few_seeds_of_noise_are_no_effect():
    """Of four seeds the deviation is not known well, and of many pixels one lies far out."""
    rng = np.random.default_rng(5)
    for _ in range(8):
        noise = [rng.normal(size=(16, 16, 3)) for _ in range(4)]
        assert judge_silence(noise, 10.0).verdict == "no effect"
