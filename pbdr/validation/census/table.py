"""The guide `docs/guides/coverage.md` from the results of a census."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import mitsuba as mi

from .judge import VERDICTS
from .measure import INTEGRATORS
from .plugins import EXCLUDED, KINDS
from .runner import Results

OURS = ("prb_edge", "prb_reparam")
VARIANTS = {"rgb": "llvm_ad_rgb", "mono": "llvm_ad_mono", "spectral": "llvm_ad_spectral"}
NAMES = {"error": "raises", "abort": "aborts"}
HEAD = """# Which derivatives can be trusted

Read this before you optimize a parameter. Written by `python benchmarks/bm_census.py --table` from the results of
`python benchmarks/bm_census.py` (Mitsuba {version}); figures of each row are in `benchmarks/results/census_*.json`.

Every floating-point parameter of every plugin of the installed Mitsuba, marked as differentiable there or not, stands in a
small scene (matte floor, lamp, sky with structure, a ball behind and one before) and is moved along a direction; its
derivative in forward and in backward mode is compared with extrapolated finite differences of `path`, on seeds of their
own. Both modes have the same verdict unless two are given (forward / backward).

| verdict | |
|---|---|
| right | the bias is at most 1 % or 3 standard errors; the standard error at most 2 %; no quarter of the image is off by 2 % of the whole |
| no effect | finite differences are zero (or noise around zero, less than 0.1 % of the image for a whole step), and so is the derivative |
| refused | an error that says why, in one line |
| warned | a derivative that lacks something, and a warning that says what |
| undecided | the standard error stays above 2 % with the most samples; **not** counted as right |
| wrong | none of these; *raises*: an exception that is not a refusal, *aborts*: the process ends |

Directions: `uniform`: all numbers alike (coefficients of a spectrum in proportion to themselves); `random`: each differently; `one entry`: one texel, one coordinate of
one vertex (of all its copies, where seams split it: only the sum of their gradients is a derivative), ...; the others are
motions.
"""


class Notes:
    """Lines that cells refer to by number."""

    def __init__(self):
        self.lines: dict[str, int] = {}

    def mark(self, line: str) -> str:
        return f" [{self.lines.setdefault(line, len(self.lines) + 1)}]" if line else ""

    def text(self) -> str:
        return "\n".join(f"{k}. {escape(line)}" for line, k in self.lines.items())


def escape(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def verdict(result: dict, mode: str) -> str:
    """The class of a result, one of `VERDICTS`."""
    word = result[mode]
    return "wrong" if word in ("error", "abort") else word


def worse(result: dict) -> str:
    """The worse verdict of both modes."""
    return max((verdict(result, m) for m in ("forward", "backward")), key=VERDICTS.index)


def cell(result: dict | None, notes: Notes) -> str:
    if result is None:
        return ""
    words = [NAMES.get(result[m], result[m]) for m in ("forward", "backward")]
    text = words[0] if words[0] == words[1] else " / ".join(words)
    bias, error = result.get("bias"), result.get("error")
    if worse(result) in ("wrong", "warned", "undecided") and bias is not None and error is not None:
        text += f" {100 * bias:+.{1 if abs(bias) < 0.1 else 0}f} ± {100 * error:.1g} %"
    line = result.get("line", "") if "refused" in words or "raises" in words else ""
    if worse(result) == "warned":
        line = result.get("warning", "")
    return text.replace("wrong", "**wrong**") + notes.mark(line)


def summary(tables: dict[str, dict[str, dict[str, dict]]]) -> str:
    """Counts per variant and integrator; rows of plain numbers apart."""
    lines = ["| variant | integrator | rows | " + " | ".join(VERDICTS) + " | plain numbers, refused |"]
    lines.append("|---" * (4 + len(VERDICTS)) + "|")
    for variant, columns in tables.items():
        for integrator, rows in columns.items():
            counts = Counter(worse(r) for r in rows.values() if not r["plain"])
            plain = sum(r["plain"] for r in rows.values())
            numbers = [str(counts[v]) for v in VERDICTS]
            lines.append(f"| {variant} | `{integrator}` | {sum(counts.values())} | {' | '.join(numbers)} | {plain} |")
    return "\n".join(lines)


def section(columns: dict[str, dict[str, dict]], kind: str, notes: Notes) -> list[str]:
    """The table of one kind of plugins; directions with the same verdicts share a line."""
    names = dict.fromkeys(
        n for rows in columns.values() for n, r in rows.items() if r["kind"] == kind and not r["plain"]
    )
    lines = []

    def cells(name: str) -> tuple[str, ...]:
        return tuple(cell(rows.get(name), notes) for rows in columns.values())

    listed = [(n.split("/")[0], n.split("/")[1], n.split("/")[2], cells(n)) for n in names]
    for (situation, key, found), group in itertools.groupby(listed, lambda x: (x[0], x[1], x[3])):
        moves = ", ".join(x[2] for x in group)
        lines.append(f"| {situation} | `{key}` | {moves} | {' | '.join(found)} |")
    if not lines:
        return []
    head = ["situation", "parameter", "direction", *(f"`{i}`" for i in columns)]
    return [f"### {KINDS[kind]}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines, ""]


def plain_numbers(columns: dict[str, dict[str, dict]]) -> str:
    """The keys that are numbers of the host, without the names of situations."""
    keys = {r["key"].removeprefix("thing.") for rows in columns.values() for r in rows.values() if r["plain"]}
    return ", ".join(f"`{k}`" for k in sorted(keys))


def make_table(folder: Path) -> str:
    """The guide as Markdown, from the results in ``folder``."""
    tables = {}
    for name, variant in VARIANTS.items():
        found = {i: Results(folder, variant).read(i) for i in INTEGRATORS}
        found = {i: rows for i, rows in found.items() if rows}
        if found:
            tables[name] = found
    notes = Notes()
    parts = [HEAD.format(version=mi.__version__), summary(tables), ""]
    titles = {"rgb": "RGB", "mono": "Mono", "spectral": "Spectral"}
    for name, columns in tables.items():
        parts.append(f"## {titles[name]}\n")
        for kind in KINDS:
            parts += section(columns, kind, notes)
    parts.append("## Lines\n\n" + notes.text() + "\n")
    parts.append(
        "## Plain numbers\n\nNumbers and matrices of the host, which cannot be attached to a graph: "
        + plain_numbers(tables.get("rgb", {})) + ".\n"
    )  # fmt: skip
    left_out = "\n".join(f"- `{name}`: {reason}." for name, reason in EXCLUDED.items())
    return "\n".join([*parts, "## Plugins without a row\n", left_out, ""])


def write_table(folder: Path, path: Path) -> None:
    """Write the guide; ``folder`` holds ``census_VARIANT_INTEGRATOR.json``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(make_table(folder))
