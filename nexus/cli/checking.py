"""`nexus check`: what is in a folder or list of videos, and which files are no good."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from nexus.atomic import check_writable, write_text
from nexus.cli import terminal
from nexus.cli.episode_checking import check_robot_episodes
from nexus.jobs.console import messages, progress

if TYPE_CHECKING:
    from nexus.data.catalog.account import Account
    from nexus.data.catalog.catalog import Catalog

MIN_FRAMES = 8
"""Frames that a clip needs where no recipe says it."""
LOOKED_AT = {
    False: "the first and the last frames of every video, and the timestamps of all",
    True: "every frame of every video",
}
"""What a check looks at, and what a full one."""
MOST_VALUES = 6
"""Resolutions (or rates, ...) that are named; the rest is counted."""


def check(
    data: Annotated[
        str,
        typer.Argument(
            help="A folder (searched through and through), a .csv or .jsonl list, one video, or "
            "robot episodes (a LeRobot folder, an HDF5 file of robomimic)."
        ),
    ],
    min_frames: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Frames a clip needs; shorter videos are named as too short.",
            show_default="8, or as the recipe needs",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Also check the videos against a recipe's clips: its name, or a .yaml file."
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Also write every video and every problem to this file."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if there is any problem.")
    ] = False,
    reader: Annotated[
        str | None,
        typer.Option(help="What knows how the data lies on the disk: package.module:Class."),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Decode every frame, not only the first and the last ones: as long as a pass "
            "over the data.",
        ),
    ] = False,
    debug: terminal.Debug = False,
) -> None:
    """Look at every video before training: how many, how long, which are broken or odd.

    Named as well: files with the same content, a video in two splits, a video with two labels. With
    a recipe: videos that are too short for its clips. Of a folder, every file is accounted for.

    Exits with 0 as long as there is something to train on.

    Examples:
        nexus check videos/
        nexus check videos/ --recipe footage
        nexus check list.csv --min-frames 32 --json problems.json
    """
    from nexus.data.catalog.account import account_of
    from nexus.data.catalog.catalog import scan
    from nexus.data.catalog.clip_check import check_clips
    from nexus.data.catalog.contents import content_problems
    from nexus.data.catalog.index import user_index_dir
    from nexus.data.episodes.opening import is_episodes

    if is_episodes(data, reader):
        if not check_robot_episodes(data, reader, json_file, strict=strict):
            raise typer.Exit(1)
        return
    clip, how = None, reader
    if recipe is not None:
        from nexus.training.recipe import load_recipe

        settings = load_recipe(recipe)
        clip, how = settings.longest_clip, reader or settings.data.reader
        min_frames = settings.frames_needed if min_frames is None else min_frames
    if json_file:
        check_writable(json_file, folder=False, remedy="name another file (--json)")
    with progress("reading videos") as report:
        catalog = scan(
            data,
            index_dir=user_index_dir(),
            min_frames=MIN_FRAMES if min_frames is None else min_frames,
            progress=report,
            reader=how,
            full=full,
        )
    with progress("comparing files of one size") as report:
        twice = content_problems(catalog.records, report)
    catalog = replace(catalog, problems=(*catalog.problems, *twice))
    notes: list[str] = []
    if clip is not None:
        checked = check_clips(catalog.records, clip)
        notes = [f"clips of {recipe} last {checked.seconds:.2f} s ({clip})", *checked.notes()]
        found = (*catalog.problems, *checked.too_short)
        catalog = replace(catalog, records=checked.fitting, problems=found)
    folder = Path(data).expanduser()
    account = account_of(folder, catalog) if folder.is_dir() else None
    show(catalog, terminal.output(), account, full=full)
    for note in notes:
        terminal.output().print(f"\n{note}.", markup=False)
    if json_file:
        # ASCII escapes keep file names that are not valid Unicode.
        found = catalog.to_mapping() | ({"account": account.to_mapping()} if account else {})
        write_text(json_file, json.dumps(found, indent=2) + "\n")
        messages().print(f"Written to {json_file}", markup=False)
    if not catalog.records or (strict and catalog.problems):
        raise typer.Exit(1)


def show(
    catalog: "Catalog", out: Console, account: "Account | None" = None, *, full: bool = False
) -> None:
    """Print the summary of a catalog, the table of its problems and the account of its folder."""
    from nexus.reports.tables import duration

    facts = catalog.summary()
    summary = Table.grid(padding=(0, 2))
    summary.add_column(style="dim")
    summary.add_column(overflow="fold")
    summary.add_row("source", terminal.plain(facts["source"]))
    summary.add_row("usable videos", f"{facts['videos']}, {duration(facts['seconds'])} in all")
    if catalog.records:
        lengths = facts["duration_quantiles"]
        shortest, middle, longest = (duration(lengths[n]) for n in ("min", "median", "max"))
        spread = f"{shortest} to {longest}, half of them up to {middle}"
        summary.add_row("length", f"{shortest} each" if shortest == longest else spread)
        summary.add_row("resolution", _tally(facts["resolutions"]))
        summary.add_row("frames a second", _tally(facts["frame_rates"]))
        summary.add_row("format", _tally(facts["codecs"]))
    if any(record.split for record in catalog.records):
        summary.add_row("split", _tally(facts["splits"]))
    for column in sorted({name for record in catalog.records for name in record.labels}):
        values = Counter(r.label_texts[column] for r in catalog.records if column in r.labels)
        summary.add_row(
            f"label {terminal.plain(column)}", terminal.plain(_tally(dict(values.most_common())))
        )
    out.print(summary)
    if catalog.problems:
        _show_problems(catalog, out)
    if account is not None:
        _show_account(account, out)
    if not catalog.problems:
        wonders = account is not None and account.wonders
        verdict = "No problem with what is used." if wonders else "No problems found."
        style = "" if wonders else "green"
        out.print(f"\n{verdict} Looked at: {LOOKED_AT[full]}.", style=style)


def _show_account(account: "Account", out: Console) -> None:
    """A line each kind of file that is not used."""
    left = account.files - account.used
    files = f"{account.files} file{'s' * (account.files != 1)}"
    out.print(f"\n{files} in the folder: {account.used} used, {left} not used.")
    for some in account.left_out:
        out.print(f"  {terminal.plain(str(some))}", style="" if some.explained else "yellow")


def _show_problems(catalog: "Catalog", out: Console) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("file", overflow="fold")
    table.add_column("problem")
    table.add_column("used?")
    table.add_column("why", overflow="fold")
    base = Path(catalog.source).absolute()
    base = base if base.is_dir() else base.parent
    for problem in sorted(catalog.problems, key=lambda problem: (not problem.fatal, problem.path)):
        path = Path(problem.path)
        table.add_row(
            terminal.plain(str(path.relative_to(base) if path.is_relative_to(base) else path)),
            problem.kind.replace("_", " "),
            "[red]no[/red]" if problem.fatal else "yes",
            terminal.plain(problem.reason),
        )
    files = {problem.path for problem in catalog.problems}
    left_out = catalog.summary()["unusable"]
    out.print()
    out.print(table)
    out.print(f"\n{left_out} left out, {len(files) - left_out} used in spite of a remark.")
    if not catalog.records:
        out.print("Nothing usable is left.", style="bold red")


def _tally(counts: Mapping[str, int]) -> str:
    """`640x480 (12), 320x240 (3), and 2 more`; `counts` come most frequent first."""
    if len(counts) == 1:
        return next(iter(counts))
    parts = [f"{value} ({count})" for value, count in list(counts.items())[:MOST_VALUES]]
    rest = len(counts) - len(parts)
    return ", ".join(parts) + (f", and {rest} more" if rest else "")
