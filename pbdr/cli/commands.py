"""The verbs. Each parses, calls one function of the library, and says what to do next."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from ..core import memory as memory_budget
from ..core.errors import InputError
from ..core.files import require_folder, require_writable
from ..core.memory import MOST_SAMPLES
from .main import Define, Memory, Mode, app, console, panel

IMAGES = (".exr", ".png", ".jpg", ".jpeg", ".hdr", ".rgbe", ".pfm")  # that `mi.Bitmap` writes


@app.command()
def doctor() -> None:
    """Show what was found on this machine and render a test image."""
    import mitsuba as mi
    from rich.table import Table

    from .. import __version__, backend, library
    from .doctor import test_render

    table = Table(show_header=False, box=None)
    table.add_row("pbdr", __version__)
    table.add_row("Mitsuba", mi.__version__)
    table.add_row("CUDA device", "yes" if backend.has_cuda() else "no")
    table.add_row("libLLVM", f"{library.path} ({'.'.join(map(str, library.version))})" if library else "none")
    table.add_row("variant", backend.best_variant())
    good, text = test_render()
    table.add_row("test image", ("[green]ok[/]  " if good else "[red]failed[/]  ") + text)
    console.print(table)
    if not good:
        console.print(
            f"[red]Rendering fails.[/] Install another LLVM: {backend.remedy()}, or unset {backend.ENVIRONMENT}."
        )
        raise typer.Exit(2)


@app.command()
def render(
    scene: Path,
    output: Annotated[Path, typer.Option("--output", "-o", help="EXR or PNG file.")] = Path("render.exr"),
    spp: Annotated[int, typer.Option(min=1, max=MOST_SAMPLES)] = 64,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 0,
    sensor: int = 0,
    mode: Mode = "",
    define: Define = [],
    memory: Memory = "",
) -> None:
    """Render a scene file."""
    import mitsuba as mi

    from ..plugins import set_variant
    from ..scene.load import load_file
    from ..scene.sensors import get_sensor

    if output.suffix.lower() not in IMAGES:
        raise InputError(f"-o {output}: the name of an image ends in one of {', '.join(IMAGES)}.")
    require_folder(output.parent, "-o: the folder")
    require_writable(output, "-o")
    set_variant(*([mode] if mode else []))
    memory_budget.set_budget(memory or None)
    loaded = load_file(scene, **_definitions(define))
    image = mi.render(loaded, sensor=get_sensor(loaded, sensor), spp=spp, seed=seed)
    output.parent.mkdir(parents=True, exist_ok=True)
    mi.util.write_bitmap(str(output), image, write_async=False)
    console.print(f"Wrote {output}")


@app.command()
def optimize(
    experiment: Path,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Run folder.")] = None,
    set_: Annotated[list[str], typer.Option("--set", help="section.key=value")] = [],
    mode: Mode = "",
    memory: Memory = "",
) -> None:
    """Run an experiment file (or the folder that holds optimize.toml)."""
    from ..optimization.run import optimize as go

    overrides = [*set_, *([f'variant="{mode}"'] if mode else [])]
    if memory:
        overrides.append(f'schedule.memory="{memory}"')
    _finished(go(experiment, folder=output, overrides=overrides))


@app.command()
def resume(run: Path) -> None:
    """Continue a stopped or killed run from its newest checkpoint."""
    from ..optimization.run import resume as go

    _finished(go(run))


def _finished(result) -> None:
    import json

    summary = json.loads((result.folder / "summary.json").read_text())
    lines = [f"{v['name']:12s} {v['psnr_initial']:6.1f} -> {v['psnr']:.1f} dB" for v in summary["views"]]
    for key, entry in summary["parameters"].items():
        lines.append(f"{key}: " + ", ".join(f"{k.replace('_', ' ')} {v:.4g}" for k, v in entry.items()))
    if lost := summary.get("not in scene.xml"):
        lines += ["", f"scene.xml cannot hold {', '.join(lost)}: in values.npz"]
    lines += ["", f"results  {result.folder}", f"report   {result.report}", f"look     pbdr view {result.folder}"]
    panel("Recovered", lines)


@app.command()
def report(run: Path) -> None:
    """Write report.html of a finished run again."""
    from ..report.page import write_report

    console.print(f"Wrote {write_report(run)}")


@app.command()
def view(run: Path) -> None:
    """Open the report of a run in a browser."""
    page = run / "report.html"
    if not page.exists():
        raise InputError(f"{page}: no report yet; write it with: pbdr report {run}")
    console.print(str(page.resolve()))
    webbrowser.open(page.resolve().as_uri())


@app.command()
def gradcheck(
    scene: Path,
    key: str,
    direction: str = "uniform",
    integrator: Annotated[
        str, typer.Option(help="Plugin name, with the max_depth of the scene's; default: the scene's own.")
    ] = "",
    step: float = 0.02,
    spp: Annotated[int, typer.Option(max=MOST_SAMPLES)] = 256,
    fd_spp: Annotated[int, typer.Option(max=MOST_SAMPLES)] = 4096,
    seeds: int = 16,
    error: Annotated[float, typer.Option(help="Required standard error, relative.")] = 0.01,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for maps and JSON.")] = Path(".gradcheck"),
    mode: Mode = "",
    define: Define = [],
    memory: Memory = "",
) -> None:
    """Compare a derivative with finite differences. Exit status 0: pass, 1: not."""
    from rich.table import Table

    from ..plugins import set_variant
    from ..scene.load import accepted, light_paths, load_file, load_integrator
    from ..validation.compare import gradcheck as check

    require_folder(output, "-o: the folder")
    set_variant(*([mode] if mode else []))
    memory_budget.set_budget(memory or None)
    loaded = load_file(scene, **_definitions(define))
    plugin = None
    if integrator:
        paths = accepted(integrator, light_paths(scene, **_definitions(define)))
        plugin = load_integrator({"type": integrator, **paths}, "--integrator")
    r = check(
        loaded, key, direction, integrator=plugin, step=step, spp=spp, fd_spp=fd_spp, seeds=seeds, required_error=error
    )
    # One line each: side by side they would be cut in a terminal of 80 columns.
    table = Table(title=f"{r.integrator}: d image / d {r.key} ({r.direction})", show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column()
    half = 1.96 * r.standard_error
    table.add_row("verdict", f"[{'green' if r.passed else 'red'}]{r.verdict()}[/]")
    table.add_row("bias", f"{100 * r.bias:+.2f} %")
    table.add_row("95 % interval", f"{100 * (r.bias - half):+.2f} … {100 * (r.bias + half):+.2f} %")
    table.add_row("pixels with |z| > 4", f"{100 * r.outliers:.2f} %")
    table.add_row("forward/backward", f"{r.mismatch:.1e}")
    table.add_row("step bias", f"{100 * r.step_bias:+.2f} ± {100 * r.step_error:.2f} %")
    table.add_row("variance x CPU s", f"{r.variance_time:.3g}")
    for note in r.notes():
        table.add_row("note", note)
    console.print(table)
    r.save(output)
    console.print(f"Maps and numbers: {output}")
    raise typer.Exit(0 if r.passed else 1)


@app.command()
def benchmark(
    name: Annotated[str, typer.Argument(help="A file benchmarks/bm_<name>.py; empty lists them.")] = "",
) -> None:
    """Run one of the benchmarks of a source checkout."""
    import runpy

    folder = Path(__file__).resolve().parents[2] / "benchmarks"
    known = sorted(p.stem.removeprefix("bm_") for p in folder.glob("bm_*.py"))
    if not name:
        console.print("\n".join(known) or "no benchmarks: not a source checkout")
        return
    if name not in known:
        from ..core.errors import near_matches

        raise InputError(f"No benchmark '{name}'.{near_matches(name, known)} Known: {', '.join(known) or 'none'}.")
    import sys

    sys.argv = [name]
    runpy.run_path(str(folder / f"bm_{name}.py"), run_name="__main__")


def _definitions(define: list[str]) -> dict[str, str]:
    pairs = {}
    for item in define:
        key, separator, value = item.partition("=")
        if not separator:
            raise InputError(f"-D {item}: expected key=value.")
        pairs[key] = value
    return pairs
