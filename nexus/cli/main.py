"""The `nexus` command: its commands, its exit codes, and what becomes of an error.

Exit codes: 0 done; 1 an error that the message explains; 2 the command line is wrong; 130 stopped
by Ctrl-C. Commands import what they need when they run, so that `nexus --help` does not wait for
torch.
"""

import errno
import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, NoReturn

import typer

from nexus.cli import (
    checking,
    conversion,
    features,
    labels,
    probing,
    results,
    terminal,
    training,
)
from nexus.errors import NexusError

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

START, OWN, LATER = "Start here", "Your own videos", "Results"


def _examples(*lines: str) -> str:
    """An epilog; an empty line keeps each example on a line of its own."""
    return "\n\n".join(["[bold]Examples[/bold]", *(f"  {line}" for line in lines)])


def _description(command: Callable[..., None]) -> str:
    """A docstring with each paragraph on one line, for the terminal to wrap."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


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
    """Train a V-JEPA encoder on your own videos, see whether it is healthy, and measure it."""


def _build() -> typer.Typer:
    settings = {"help_option_names": ["-h", "--help"]}
    app = typer.Typer(
        name="nexus",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings=settings,
        epilog=_examples(
            "nexus demo",
            "nexus check videos/",
            "nexus pretrain videos/ --out runs/first",
            "nexus pretrain --help",
        ),
    )
    app.callback()(_top)

    def add(name: str, command: Callable[..., None], panel: str, *lines: str) -> None:
        made = app.command(
            name,
            help=_description(command),
            epilog=_examples(*lines),
            rich_help_panel=panel,
            no_args_is_help=name not in ("demo", "version"),
            context_settings=settings,
        )
        made(command)

    add("demo", training.demo, START, "nexus demo", "nexus demo --out elsewhere --seed 1")
    add(
        "check",
        checking.check,
        OWN,
        "nexus check videos/",
        "nexus check list.csv --min-frames 32 --json problems.json",
    )
    add(
        "pretrain",
        training.pretrain,
        OWN,
        "nexus pretrain videos/ --out runs/first",
        "nexus pretrain videos/ --out runs/first --resume",
        "nexus pretrain list.csv --out runs/two --label action training.steps=20000 optim.lr=3e-4",
        "nexus pretrain toy --out runs/toy",
    )
    add(
        "adapt",
        training.adapt,
        OWN,
        "nexus adapt videos/ --init vitl.pt --labels labels.csv --out runs/sweep",
        "nexus adapt list.csv --init facebook/vjepa2-vitl-fpc64-256 --out runs/two --label act",
    )
    add(
        "probe",
        probing.probe,
        OWN,
        "nexus probe runs/first labels.csv --label action",
        "nexus probe runs/first --label action --kind attentive --seeds 5",
        "nexus probe vitl.pt labels.csv --label action --frames 16",
    )
    add(
        "train-probe",
        probing.train_probe,
        OWN,
        "nexus train-probe runs/first --label action",
        "nexus train-probe vitl.pt labels.csv --label action --frames 16 --set epochs=10",
    )
    add(
        "label",
        labels.label,
        OWN,
        "nexus label probes/vitl/action videos/ --out labels.csv --top 5",
        "nexus label ssv2-vitl-16x2x3.pt videos/ --encoder vitl.pt --classes ssv2.json",
    )
    add(
        "embed",
        features.embed,
        OWN,
        "nexus embed runs/first videos/ --out features.parquet",
        "nexus embed runs/first videos/ --out tokens.arrow --pooling tokens --fps 8 --overlap 0.5",
        "nexus embed vitl.pt videos/ --out layers.parquet --frames 16 --layers 5,11,17,23",
        "nexus embed vitl.pt picture.jpg --out picture.parquet",
    )
    add(
        "convert",
        conversion.convert,
        LATER,
        "nexus convert runs/first --to onnx --out first-onnx",
        "nexus convert vitl.pt --to hf --out vitl-hf",
        "nexus convert facebook/vjepa2-vitl-fpc64-256 --to nexus --out vitl",
        "nexus convert vitl.pt --to torch-export --out vitl-16 --frames 16 --size 256",
    )
    add("report", results.report, LATER, "nexus report runs/first")
    add("version", results.version, LATER, "nexus version")
    study = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", context_settings=settings)
    study.callback()(results.study)
    study.command(
        "toy",
        help=_description(results.study_toy),
        epilog=_examples(
            "nexus study toy --out runs/study-toy",
            "nexus study toy --out runs/quick --seeds 1 --steps 200 --arm vjepa",
        ),
        context_settings=settings,
    )(results.study_toy)
    app.add_typer(study, name="study", rich_help_panel=LATER)
    return app


app = _build()


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's) and return its exit code."""
    terminal.forget_debug()
    try:
        app(args=None if arguments is None else list(arguments), prog_name="nexus")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except NexusError as error:
        terminal.show_error(error)
        return 1
    except OSError as error:
        if error.errno not in _MACHINE_ERRORS:
            raise
        terminal.show_error(error)
        return 1
    except KeyboardInterrupt:
        return terminal.INTERRUPTED
    return 0


def main() -> NoReturn:
    """The console script."""
    sys.exit(run())
