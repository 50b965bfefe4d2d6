"""What the commands print, and how an error looks.

Results go to standard output, everything else (progress, warnings, errors) to standard error, so
that a result can be piped.
"""

import sys
import traceback
from typing import Annotated

import typer
from rich.console import Console

from nexus.jobs.console import messages

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C stopped (128 + SIGINT)."""
UNWRAPPED = 10_000
"""Columns where nobody reads along: in a file or a pipe, a table row stays on one line."""


class _Debug:
    """Whether an error shows its traceback; set by `--debug`, wherever it stands on the line."""

    on = False


def _set_debug(value: bool) -> bool:
    _Debug.on = _Debug.on or value
    return value


Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show the traceback of an error.", callback=_set_debug),
]


def forget_debug() -> None:
    """Start afresh: a process may run several commands, as the tests do."""
    _Debug.on = False


def output() -> Console:
    """Standard output, for results."""
    return Console(width=None if sys.stdout.isatty() else UNWRAPPED, highlight=False)


def show_error(error: BaseException) -> None:
    """Print an error as one message; with `--debug`, below its traceback."""
    console = messages()
    if _Debug.on:
        console.print("".join(traceback.format_exception(error)), markup=False, soft_wrap=True)
    text = str(error) or type(error).__name__
    console.print("Error: " + text, style="bold red", markup=False, soft_wrap=True)
