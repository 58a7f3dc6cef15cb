"""Which derivatives can be trusted? Every parameter of every plugin against finite differences.

Rows are measured in a process of their own and written after each one, to benchmarks/results/census_VARIANT_INTEGRATOR.json;
a second start goes on where the first ended. ``--table`` writes docs/guides/coverage.md from them.

    pbdr benchmark census      (or: python benchmarks/bm_census.py [--variant V] [--integrators A,B] [--only GLOB] ...)
"""

import argparse
from pathlib import Path

import pbdr

ROOT = Path(__file__).resolve().parents[1]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--variant", default="llvm_ad_rgb")
    p.add_argument("--integrators", default="prb_edge,prb_reparam", help="comma-separated; also prb, prb_projective")
    p.add_argument("--only", default="*", help="globs, comma-separated: situation[/parameter[/direction]]")
    p.add_argument("--kinds", default="", help="comma-separated: BSDF, Texture, Emitter, Shape, Sensor, Film, ...")
    p.add_argument("--core", action="store_true", help="only the smaller census")
    p.add_argument("--failed", action="store_true", help="measure again what was wrong, undecided or raised")
    p.add_argument("--again", action="store_true", help="measure again what is there")
    p.add_argument("--minutes", type=float, default=0.0, help="begin no row after this time")
    p.add_argument("--seconds", type=float, default=20.0, help="CPU time for one row and integrator")
    p.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    p.add_argument("--table", nargs="?", type=Path, const=ROOT / "docs" / "guides" / "coverage.md",
                   help="write the table from the results, measure nothing")  # fmt: skip
    return p.parse_args()


def show(r):
    figures = f" {100 * r['bias']:+8.2f} ± {100 * r['error']:.2f} %" if r.get("bias") is not None else ""
    verdict = r["forward"] if r["forward"] == r["backward"] else f"{r['forward']}/{r['backward']}"
    line = r.get("warning") or r.get("line") or ""
    print(f"{verdict:10s} {r['integrator']:12s} {r['row']}{figures} {r.get('cpu', 0):.1f} s  {line[:150]}", flush=True)


def main():
    a = arguments()
    pbdr.set_variant(a.variant)
    from pbdr.validation.census.plugins import KINDS
    from pbdr.validation.census.runner import BAD, Plan, Results, run  # they need a variant

    if a.table is not None:
        from pbdr.validation.census.table import write_table

        write_table(a.results, a.table)
        return
    again = BAD if a.failed else ("right", "no effect", "refused", "warned", *BAD) if a.again else ()
    kinds = a.kinds.split(",") if a.kinds else KINDS
    plan = Plan(a.variant, a.integrators.split(","), a.only, tuple(kinds), a.core, again, a.minutes, a.seconds)
    run(plan, Results(a.results, a.variant), show)


if __name__ == "__main__":
    main()
