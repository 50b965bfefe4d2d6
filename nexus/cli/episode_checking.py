"""`nexus check` of robot episodes: what there is, and every problem in words."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from nexus.atomic import check_writable, write_text
from nexus.cli import terminal
from nexus.jobs.console import messages, progress

if TYPE_CHECKING:
    from nexus.data.episodes.checking import CheckedEpisodes


def check_robot_episodes(
    data: str, reader: str | None, json_file: Path | None, *, strict: bool
) -> bool:
    """Check the episodes and print what was found; whether there is something to train on.

    Args:
        strict: any problem is one too many.
    """
    from nexus.data.episodes.checking import check_episodes

    if json_file:
        check_writable(json_file, folder=False, remedy="name another file (--json)")
    with progress("reading episodes") as report:
        checked = check_episodes(data, reader, progress=report)
    show(checked, terminal.output())
    if json_file:
        told = {
            "source": str(checked.source),
            "usable": list(checked.usable),
            "problems": [asdict(problem) for problem in checked.problems],
        }
        write_text(json_file, json.dumps(told, indent=2) + "\n")
        messages().print(f"Written to {json_file}", markup=False)
    return bool(checked.usable) and not (strict and checked.problems)


def show(checked: "CheckedEpisodes", out: Console) -> None:
    """Print the summary of episodes and the table of their problems."""
    episodes = checked.episodes
    if episodes is not None:
        summary = Table.grid(padding=(0, 2))
        summary.add_column(style="dim")
        summary.add_column(overflow="fold")
        steps = sum(episodes.episode(index).length for index in checked.usable)
        cameras = (f"{name} {wide}x{high}" for name, (high, wide) in episodes.cameras.items())
        rows = {
            "source": str(checked.source),
            "usable episodes": f"{len(checked.usable)}, {steps} steps in all",
            "steps a second": f"{episodes.fps:g}",
            "cameras": ", ".join(cameras) or "none",
            "action": ", ".join(episodes.action.names),
            "state": ", ".join(episodes.state.names) if episodes.state else "none",
        }
        for name, text in rows.items():
            summary.add_row(name, terminal.plain(text))
        out.print(summary)
    if not checked.problems:
        out.print("\nNo problems found.", style="green")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("episode")
    table.add_column("problem")
    table.add_column("used?")
    table.add_column("why", overflow="fold")
    ordered = sorted(
        checked.problems,
        key=lambda one: (not one.fatal, -1 if one.episode is None else one.episode),
    )
    for problem in ordered:
        table.add_row(
            "all" if problem.episode is None else str(problem.episode),
            problem.kind.replace("_", " "),
            "[red]no[/red]" if problem.fatal else "yes",
            terminal.plain(problem.reason),
        )
    out.print()
    out.print(table)
    if not checked.usable:
        out.print("Nothing usable is left.", style="bold red")
