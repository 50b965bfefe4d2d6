"""What the commands print, and how an error looks.

Results go to standard output, everything else (progress, warnings, errors) to standard error, so
that a result can be piped.
"""

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from nexus.jobs.console import messages

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C stopped (128 + SIGINT)."""
UNWRAPPED = 10_000
"""Columns where nobody reads along: in a file or a pipe, a table row stays on one line."""


Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of every error.")]
"""Whether errors show their tracebacks, wherever this stands on the line (`nexus.cli.main`)."""


def output() -> Console:
    """Standard output, for results."""
    return Console(width=None if sys.stdout.isatty() else UNWRAPPED, highlight=False)


@contextmanager
def log_shown(debug: bool) -> Iterator[None]:
    """With `debug`, whatever is logged meanwhile goes to standard error."""
    log, handler = logging.getLogger("nexus"), logging.StreamHandler()
    before = log.level
    if debug:
        log.addHandler(handler)
        log.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def plain(text: str) -> str:
    """Text from outside that must not turn into markup or into control sequences."""
    from rich.markup import escape

    return escape("".join(char if char.isprintable() else "\ufffd" for char in text))


def show_error(error: BaseException, debug: bool) -> None:
    """Print an error as one message; with `debug`, below its traceback."""
    console = messages()
    if debug:
        console.print("".join(traceback.format_exception(error)), markup=False, soft_wrap=True)
    text = str(error) or type(error).__name__
    if type(error).__module__ == "builtins" and isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f"{error.filename}: "
        text = place + error.strerror[0].lower() + error.strerror[1:]
    console.print("Error: " + text, style="bold red", markup=False, soft_wrap=True)
