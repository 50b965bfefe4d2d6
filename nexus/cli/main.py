"""The `nexus` command: its commands, its exit codes, and what becomes of an error.

Exit codes: 0 done; 1 an error that the message explains; 2 the command line is wrong; 130 stopped
by Ctrl-C. Commands import what they need when they run, so that `nexus --help` does not wait for
torch.
"""

import errno
import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn

import typer

from nexus.cli import (
    checking,
    conversion,
    features,
    labels,
    making,
    planning,
    probing,
    results,
    terminal,
    training,
    world,
)
from nexus.errors import NexusError
from nexus.jobs.console import told_on_interrupt

_MACHINE_ERRORS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
    errno.EMFILE,
}
"""System errors that the user, not a developer, can do something about."""

SETTINGS = {"help_option_names": ["-h", "--help"]}


def _described(command: Callable[..., None]) -> dict[str, Any]:
    """Help out of a docstring: each paragraph on one line, for the terminal to wrap; examples."""
    text, _, examples = (inspect.getdoc(command) or "").partition("\n\nExamples:\n")
    return {
        "help": "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n")),
        # An empty line keeps each example on a line of its own.
        "epilog": "\n\n".join(["[bold]Examples[/bold]", *examples.splitlines()]),
        "context_settings": SETTINGS,
    }


def _interruptible(command: Callable[..., None]) -> Callable[..., None]:
    """A command that answers Ctrl-C at all times: its imports alone may take seconds."""

    @functools.wraps(command)
    def answering(*given: Any, **named: Any) -> None:
        with told_on_interrupt(lambda: "stopped; to go on, give the same command again"):
            command(*given, **named)

    return answering


def _print_version(value: bool) -> None:
    if value:
        results.version()
        raise typer.Exit


def _top(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
    debug: terminal.Debug = False,
) -> None:
    """Train a V-JEPA encoder on your own videos, see whether it is healthy, and measure it.

    Examples:
        nexus demo
        nexus check videos/
        nexus plan-run videos/
        nexus pretrain videos/ --out runs/first
        nexus pretrain --help
    """


app = typer.Typer(
    name="nexus",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.callback(**_described(_top))(_top)
GROUPS: dict[str, tuple[str, dict[str, Callable[..., None]]]] = {
    "data": (
        "Make data sets to train and to measure on.",
        {"motion": making.data_motion},
    ),
    "world": (
        "Collect robot episodes, train world models on them, and see whether to trust these.",
        {
            "collect": world.world_collect,
            "train": world.world_train,
            "report": world.world_report,
            "pack": world.world_pack,
        },
    ),
    "study": ("Measure the README's tables again.", {"toy": results.study_toy}),
}
for name, (told, members) in GROUPS.items():
    group = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", context_settings=SETTINGS)
    group.callback()(lambda: None)
    for member, command in members.items():
        group.command(member, **_described(command))(_interruptible(command))
    app.add_typer(group, name=name, help=told, rich_help_panel="Results")
PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Start here": (training.demo,),
    "Your own videos": (
        checking.check,
        training.plan_run,
        training.pretrain,
        training.adapt,
        probing.probe,
        probing.train_probe,
        labels.label,
        features.embed,
    ),
    "Robots": (planning.plan,),
    "Results": (conversion.convert, results.report, results.version),
}
for panel, commands in PANELS.items():
    for command in commands:
        needs = any(it.default is it.empty for it in inspect.signature(command).parameters.values())
        shown = _described(command) | {"rich_help_panel": panel, "no_args_is_help": needs}
        app.command(**shown)(_interruptible(command))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's) and return its exit code."""
    debug = "--debug" in (sys.argv if arguments is None else arguments)
    try:
        with terminal.log_shown(debug):
            app(args=None if arguments is None else list(arguments), prog_name="nexus")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except (NexusError, OSError) as error:
        if not isinstance(error, NexusError) and error.errno not in _MACHINE_ERRORS:
            raise
        terminal.show_error(error, debug)
        return 1
    except KeyboardInterrupt:
        return terminal.INTERRUPTED
    return 0


def main() -> NoReturn:
    """The console script."""
    sys.exit(run())
