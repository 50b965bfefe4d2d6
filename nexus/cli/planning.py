"""`nexus plan`: who reaches the goals of an environment."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from nexus.cli import terminal
from nexus.cli.training import given_command

DEMO_OUT = "plans/demo"

if TYPE_CHECKING:
    from nexus.runs.control import ControlTable


def plan(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN]",
            help="The run of a world model; without one, only policies that need none act.",
            show_default=False,
        ),
    ] = None,
    *,
    env: Annotated[
        str | None,
        typer.Option(
            help="The environment: reach, push, reach-walls, push-walls.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the table, the page and the films.", show_default=False),
    ] = None,
    demo: Annotated[
        bool,
        typer.Option(
            "--demo",
            help="Models that come with nexus act, in reach and push or in --env, beside random "
            f"actions; --out is {DEMO_OUT} unless given.",
        ),
    ] = False,
    episodes: Annotated[int, typer.Option(min=1, help="Starts and goals.")] = 100,
    seed: Annotated[
        int, typer.Option(min=0, max=499, help="Another number: other starts and goals.")
    ] = 0,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1, help="Control steps an episode.", show_default="as the environment has it"
        ),
    ] = None,
    policies: Annotated[
        str | None,
        typer.Option(
            help="Who acts: zero,random,oracle,cloning, and with a RUN "
            "picture,proprioception,both,untrained.",
            show_default="all there are",
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Robot episodes for behaviour cloning to imitate.")
    ] = None,
    validation: Annotated[
        int,
        typer.Option(
            min=0,
            help="Goals, apart from the others, on which the weights of a world model's cost are "
            "chosen; 0: none are tried.",
        ),
    ] = 32,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A change to how a world model's plans are searched for: horizon=5.",
        ),
    ] = None,
    shifts: Annotated[
        bool | None,
        typer.Option(
            "--shifts/--no-shifts",
            help="The planner with pictures and cloning also act under other colours, sizes and "
            "backgrounds.",
            show_default="shifts, without --demo",
        ),
    ] = None,
    debug: terminal.Debug = False,
) -> None:
    """Let policies act from the same starts to the same goals, and count who reaches them.

    The goals are drawn by the environment, never taken from a recording, and no recording has
    their seeds. A comparison that was interrupted goes on after what is finished.

    Examples:
        nexus plan --demo
        nexus plan --env reach --out plans/reach
        nexus plan runs/world --env push --out plans/world
        nexus plan runs/world --env push --out plans/short --set horizon=5
        nexus plan --env push --out plans/push --data pushes --policies random,oracle,cloning
    """
    from nexus import jobs
    from nexus.config import parse_overrides

    planning = parse_overrides(settings or [])
    chosen = policies.split(",") if policies else None
    if demo:
        if run is not None:
            raise typer.BadParameter(f"--demo has models of its own; leave out {run}, or --demo")
        home = out or Path(DEMO_OUT)
        tables = jobs.plan_demo(
            home,
            env=env,
            episodes=episodes,
            seed=seed,
            steps=steps,
            shifts=bool(shifts),
            policies=chosen,
            data=data,
            planning=planning,
            command=given_command(),
        )
        for name, table in tables.items():
            _show(table, home / name)
        return
    if env is None or out is None:
        raise typer.BadParameter("give --env and --out, or --demo")
    table = jobs.plan(
        run,
        env=env,
        out=out,
        episodes=episodes,
        seed=seed,
        steps=steps,
        shifts=shifts is not False,
        policies=chosen,
        data=data,
        validation=validation,
        planning=planning,
        command=given_command(),
    )
    _show(table, out)


def _show(table: "ControlTable", folder: Path) -> None:
    from nexus.reports.control_table import HEADINGS, cells, headline

    shown = Table(box=None, padding=(0, 2), header_style="bold")
    for number, heading in enumerate(HEADINGS):
        shown.add_column(heading, justify="right" if number else "left")
    for row in table.rows:
        shown.add_row(*map(escape, cells(row)))
    printer = terminal.output()
    printer.print(shown)
    for sentence in headline(table):
        printer.print(sentence, markup=False)
    printer.print(f"Page: {folder / 'planning.html'}", markup=False, soft_wrap=True)
