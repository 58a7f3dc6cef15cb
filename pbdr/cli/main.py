"""The command line: ``pbdr doctor | render | optimize | resume | gradcheck | benchmark | report | view``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.panel import Panel

from ..core.errors import PbdrError

app = typer.Typer(
    help="Recover shapes and materials from images with a differentiable path tracer.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()
errors = Console(stderr=True)

Mode = Annotated[str, typer.Option("--mode", "-m", help="Mitsuba variant, for instance llvm_ad_rgb.")]
Define = Annotated[list[str], typer.Option("--define", "-D", help="Scene parameter key=value.")]
Memory = Annotated[
    str, typer.Option("--memory", help="Most memory of a wavefront, e.g. 4GiB; default: half of what is free.")
]


def main() -> None:
    """Entry point: exit status 2 and one paragraph for bad input."""
    from . import commands  # noqa: F401  (registers the verbs)

    try:
        app(standalone_mode=True)
    except PbdrError as error:
        errors.print("[bold red]pbdr:[/] ", end="")
        errors.print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)


def panel(title: str, lines: list[str]) -> None:
    console.print(Panel("\n".join(lines), title=title, expand=False))
