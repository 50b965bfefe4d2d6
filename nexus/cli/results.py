"""`nexus report`, `nexus study` and `nexus version`."""

import platform
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from nexus.cli import terminal
from nexus.version import nexus_version


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    out: Annotated[
        Path | None, typer.Option(help="The page to write; default: RUN/report.html.")
    ] = None,
    debug: terminal.Debug = False,
) -> None:
    """Write the page of a run again, from the files in its folder.

    One HTML file that needs nothing else: health, probes, what the features see, bad files, the
    recipe and the command.

    Examples:
        nexus report runs/first
    """
    from nexus import jobs
    from nexus.jobs.console import progress

    with progress("drawing the page"):
        page = jobs.report(run, out)
    terminal.output().print(f"Report: {page}", markup=False)


def study_toy(
    out: Annotated[Path, typer.Option(help="Folder for videos, runs and tables.")] = Path(
        "runs/study-toy"
    ),
    seeds: Annotated[int, typer.Option(min=1, help="Training seeds of each arm.")] = 3,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps; default: the study's own.")
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(help="An arm to run; may be given several times.", show_default="all of them"),
    ] = None,
    debug: terminal.Debug = False,
) -> None:
    """V-JEPA beside random init, anti-collapse only, EMA only and pixel prediction.

    All arms see the same toy world for the same number of steps. Takes hours on a small CPU; a
    study that was interrupted goes on where it stopped.

    Examples:
        nexus study toy --out runs/study-toy
        nexus study toy --out runs/quick --seeds 1 --steps 200 --arm vjepa
    """
    from nexus.studies import toy

    table = toy.run(out, seeds=seeds, steps=steps, arms=arm or None)
    printer = terminal.output()
    printer.print(table.read_text(encoding="utf-8"), markup=False)
    printer.print(f"Study: {out}", markup=False)


def version(debug: terminal.Debug = False) -> None:
    """Print the versions that a bug report should name.

    Examples:
        nexus version
    """
    out = terminal.output()
    out.print(f"nexus {nexus_version()}", markup=False)
    out.print(f"torch {metadata.version('torch')}", markup=False)
    out.print(f"python {platform.python_version()} on {platform.platform()}", markup=False)
