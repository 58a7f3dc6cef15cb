"""What the documentation states about the code is what the code says."""

import re
from pathlib import Path

import pytest

import pbdr
from pbdr.integrators import capabilities

ROOT = Path(pbdr.__file__).parents[1]


def test_the_guide_has_the_capabilities():
    assert capabilities.table() in (ROOT / "docs/guides/choose.md").read_text()


def test_citations_are_in_the_bibliography():
    keys = set(re.findall(r"@\w+\{(\w+),", (ROOT / "docs/references.bib").read_text()))
    cited = {k for f in (ROOT / "pbdr").rglob("*.py") for k in re.findall(r":cite:`(\w+)`", f.read_text())}
    assert cited <= keys


@pytest.mark.parametrize(
    "file", sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "scenes").glob("*/optimize.toml"))
)
def test_scenes_are_documented_and_load(file):
    from pbdr.optimization.experiment import load_experiment
    from pbdr.scene.load import load_file

    folder = ROOT / Path(file).parent
    assert "pbdr optimize" in (folder / "README.md").read_text()
    experiment = load_experiment(folder)
    for name in (experiment.scene, experiment.targets.scene):
        load_file(experiment.path(name))
