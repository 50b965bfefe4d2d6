"""`nexus report`, `nexus study` and `nexus version`."""

import platform
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from nexus.cli import console

DISTRIBUTION = "nexus-vjepa"


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a run.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="The page to write; default: RUN/report.html.")
    ] = None,
    debug: console.Debug = False,
) -> None:
    """Write the page of a run again, from the files in its folder.

    One HTML file that needs nothing else: health, probes, what the features see, bad files, the
    recipe and the command.
    """
    from nexus import jobs

    console.output().print(f"Report: {jobs.report(run, out)}", markup=False)


def study() -> None:
    """Measure the README's tables again."""


def study_toy(
    out: Annotated[Path, typer.Option(help="Folder for videos, runs and tables.")] = Path(
        "runs/study-toy"
    ),
    seeds: Annotated[int, typer.Option(min=1, help="Training seeds of each arm.")] = 3,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps; default: the study's own.")
    ] = None,
    arms: Annotated[
        str | None, typer.Option(help="Arms to run, separated by commas; default: all of them.")
    ] = None,
    debug: console.Debug = False,
) -> None:
    """V-JEPA beside random init, anti-collapse only, EMA only and pixel prediction.

    All arms see the same toy world for the same number of steps. Takes hours on a small CPU.
    """
    from nexus.studies import toy

    names = None if arms is None else [name.strip() for name in arms.split(",") if name.strip()]
    written = toy.run(out, seeds=seeds, steps=steps, arms=names)
    console.output().print(f"Study: {written}", markup=False)


def version(debug: console.Debug = False) -> None:
    """Print the versions that a bug report should name."""
    out = console.output()
    out.print(f"nexus {metadata.version(DISTRIBUTION)}", markup=False)
    out.print(f"torch {metadata.version('torch')}", markup=False)
    out.print(f"python {platform.python_version()} on {platform.platform()}", markup=False)
