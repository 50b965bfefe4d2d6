"""`nexus check`: what is in a folder or list of videos, and which files are no good."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from nexus.atomic import write_json
from nexus.cli import console

if TYPE_CHECKING:
    from nexus.data.catalog import Catalog

MOST_VALUES = 6
"""Resolutions (or rates, ...) that are named; the rest is counted."""


def check(
    data: Annotated[
        str,
        typer.Argument(
            help="A folder (searched through and through), a .csv or .jsonl list, or one video.",
            show_default=False,
        ),
    ],
    min_frames: Annotated[
        int, typer.Option(min=1, help="Frames a clip needs; shorter videos are named as too short.")
    ] = 16,
    json: Annotated[
        Path | None,
        typer.Option("--json", help="Also write every video and every problem to this file."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if there is any problem.")
    ] = False,
    debug: console.Debug = False,
) -> None:
    """Look at every video before training: how many, how long, which are broken or odd.

    Exits with 0 as long as there is something to train on.
    """
    from nexus.data.catalog import scan

    with console.progress("reading videos") as report:
        catalog = scan(data, min_frames=min_frames, progress=report)
    show(catalog, console.output())
    if json:
        write_json(json, catalog.to_mapping())
        console.messages().print(f"Written to {json}", markup=False)
    if not catalog.records or (strict and catalog.problems):
        raise typer.Exit(1)


def show(catalog: "Catalog", out: Console) -> None:
    """Print the summary of a catalog and the table of its problems."""
    from nexus.report.tables import duration

    records = catalog.records
    summary = Table.grid(padding=(0, 2))
    summary.add_column(style="dim")
    summary.add_column(overflow="fold")
    summary.add_row("source", _plain(str(catalog.source)))
    summary.add_row("usable videos", f"{len(records)}, {duration(catalog.total_seconds)} in all")
    if records:
        frames = sorted(record.num_frames for record in records)
        middle = frames[len(frames) // 2]
        summary.add_row("frames", f"{frames[0]} to {frames[-1]}, half of them up to {middle}")
        summary.add_row("resolutions", _tally(f"{r.width}x{r.height}" for r in records))
        summary.add_row("frames a second", _tally(f"{r.fps:.4g}" for r in records))
        summary.add_row("formats", _tally(r.codec or r.kind for r in records))
    splits = [record.split for record in records if record.split]
    if splits:
        summary.add_row("splits", _tally(splits))
    for column in sorted({name for record in records for name in record.labels}):
        values = [r.labels[column] for r in records if r.labels.get(column)]
        summary.add_row(f"label {_plain(column)}", _plain(_tally(values)))
    out.print(summary)
    _show_problems(catalog, out)


def _show_problems(catalog: "Catalog", out: Console) -> None:
    if not catalog.problems:
        out.print("\nNo problems found.", style="green")
        return
    table = Table(box=None, padding=(0, 2), header_style="bold")
    table.add_column("file", overflow="fold")
    table.add_column("problem")
    table.add_column("used?")
    table.add_column("why", overflow="fold")
    for problem in sorted(catalog.problems, key=lambda problem: (not problem.fatal, problem.path)):
        table.add_row(
            _plain(problem.path),
            problem.kind.replace("_", " "),
            "[red]no[/red]" if problem.fatal else "yes",
            _plain(problem.reason),
        )
    left_out = sum(problem.fatal for problem in catalog.problems)
    odd = len(catalog.problems) - left_out
    out.print()
    out.print(table)
    out.print(f"\n{left_out} left out, {odd} remarked on but used.")
    if not catalog.records:
        out.print("Nothing usable is left.", style="bold red")


def _tally(values: Iterable[str]) -> str:
    """`640x480 (12), 320x240 (3), and 2 more`, the most frequent first."""
    counts = Counter(values)
    if len(counts) == 1:
        return next(iter(counts))
    parts = [f"{value} ({count})" for value, count in counts.most_common(MOST_VALUES)]
    rest = len(counts) - len(parts)
    return ", ".join(parts) + (f", and {rest} more" if rest else "")


def _plain(text: str) -> str:
    """Text from outside that must not turn into markup or into control sequences."""
    from rich.markup import escape

    return escape("".join(char if char.isprintable() else "\ufffd" for char in text))
