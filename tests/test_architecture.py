"""Imports go down only, modules stay small, public names exist and are documented."""

import ast
import inspect
from pathlib import Path

import pytest

import pbdr

ROOT = Path(pbdr.__file__).parent
# A package may import those with a smaller number (and itself).
LAYER = {
    "core": 0, "backend": 1, "plugins": 2, "scene": 3, "sampling": 4, "geometry": 4, "bssrdfs": 4, "bsdfs": 4, "integrators": 5,
    "parameters": 5, "losses": 5, "report": 6, "optimization": 7, "validation": 7, "cli": 8,
}  # fmt: skip
FILES = sorted(ROOT.rglob("*.py"))


def imported(file: Path):
    """Top-level pbdr parts that a file imports, also inside functions."""
    package = file.relative_to(ROOT.parent).with_suffix("").parts
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level]
            full = [*base, *(node.module.split(".") if node.module else [])]
            if len(full) > 1:
                yield full[1]
            else:
                yield from (a.name for a in node.names if a.name in LAYER)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pbdr."):
            yield node.module.split(".")[1]


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_go_down(file):
    parts = file.relative_to(ROOT).with_suffix("").parts
    own = parts[0]
    if own in ("__init__", "__main__"):
        return
    wrong = [name for name in imported(file) if name != own and LAYER.get(name, -1) >= LAYER[own]]
    assert not wrong, f"{file.name} ({own}) imports {wrong}"


def test_modules_stay_small():
    sizes = {str(f.relative_to(ROOT)): len(f.read_text().splitlines()) for f in FILES}
    assert max(sizes.values()) <= 450, max(sizes, key=sizes.get)


def test_public_names_exist_and_are_documented():
    for name in pbdr.__all__:
        assert inspect.getdoc(getattr(pbdr, name)), name


def test_no_machine_paths():
    home = "/" + "root"
    assert not [f for f in FILES if home in f.read_text()]
