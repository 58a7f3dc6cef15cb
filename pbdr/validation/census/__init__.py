"""The census: every floating-point parameter of every plugin of Mitsuba, and whether its derivative can be trusted.

`installed` lists the plugins, `load_all` the minimal scenes (`Situation`) that show them, `list_rows` the parameters and
directions of one of them. `measure` compares one row with finite differences for several integrators; `run` does that for
all rows, in a process that may die, and writes `Results`; `write_table` makes the guide of them.

A variant must be set before this package is imported.

Example:
    >>> bench = Bench(load_all()["diffuse"])                                    # doctest: +SKIP
    >>> row = Row("diffuse", "thing.bsdf.reflectance.value", "uniform")          # doctest: +SKIP
    >>> [(r["integrator"], r["forward"]) for r in measure(bench, row, ["prb_edge", "prb"])]    # doctest: +SKIP
    [('prb_edge', 'right'), ('prb', 'right')]
"""

from .judge import VERDICTS, Judgement, judge
from .measure import INTEGRATORS, Bench, measure
from .plugins import EXCLUDED, KINDS, installed
from .rows import Row, list_rows
from .runner import Plan, Results, run
from .situations import Situation, load_all
from .table import write_table

__all__ = [
    "EXCLUDED", "INTEGRATORS", "KINDS", "VERDICTS", "Bench", "Judgement", "Plan", "Results", "Row", "Situation",
    "installed", "judge", "list_rows", "load_all", "measure", "run", "write_table",
]  # fmt: skip
