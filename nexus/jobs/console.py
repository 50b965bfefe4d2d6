"""What the jobs tell the person who waits, on standard error."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

if TYPE_CHECKING:
    from nexus.data.catalog.catalog import Catalog, Problem

LINE_SECONDS = 30.0
"""Where there is no terminal, what runs says this often how far it is."""


def messages() -> Console:
    """Standard error, without colours that guess."""
    return Console(stderr=True, highlight=False)


def say_problems(catalog: "Catalog") -> None:
    """Name every file that is left out, and every oddity."""
    say_each(catalog.problems)


def say_each(problems: "Iterable[Problem]") -> None:
    """Name these files and what is wrong with them."""
    console = messages()
    for problem in problems:
        verb = "left out" if problem.fatal else "note:"
        console.print(f"{verb} {problem.path}: {problem.reason}", markup=False, soft_wrap=True)


def say_notes(notes: Iterable[str | None]) -> None:
    """A line for each note that there is."""
    for note in notes:
        if note:
            messages().print(f"note: {note}", markup=False, soft_wrap=True)


@contextmanager
def told_on_interrupt(what: Callable[[], str]) -> Iterator[None]:
    """On Ctrl-C, say what is kept and how to go on; of nested ones the innermost does.

    Args:
        what: asked then.
    """
    try:
        yield
    except KeyboardInterrupt as stopped:
        if not getattr(stopped, "__notes__", ()):
            text = what()
            messages().print(f"Ctrl-C: {text}", markup=False, soft_wrap=True)
            stopped.add_note(text)
        raise


def starts_over(out: Path | None = None) -> str:
    """What an interrupted job says that keeps nothing before it is done; `out`: what it writes."""
    kept = "nothing is kept yet" if out is None else f"nothing is written to {out}"
    return f"{kept}; the same command starts over"


def kept_features(folder: Path | None) -> str:
    """What of an interrupted job is kept where features are, and how to go on."""
    if folder is None or not any(folder.glob("*.arrow")):
        return starts_over()
    return f"finished features are kept in {folder}; the same command goes on with them"


@contextmanager
def progress(
    what: str, *, console: Console | None = None, every: float = LINE_SECONDS
) -> Iterator[Callable[[int, int], None]]:
    """While something runs: a bar in a terminal, elsewhere a line each `every` seconds.

    Calling what is given with (done, total) moves it.

    Args:
        what: what is done: "embedding".
        console: default: standard error.
    """
    console = messages() if console is None else console
    if console.is_terminal or console.is_jupyter:
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
    else:
        with _lines(what, console, every) as tick:
            yield tick


@contextmanager
def _lines(what: str, console: Console, every: float) -> Iterator[Callable[[int, int], None]]:
    """From a thread of its own: a single step may take minutes."""
    start, count, over = time.monotonic(), "", threading.Event()

    def speak() -> None:
        while not over.wait(every):
            spent = f"{time.monotonic() - start:.0f} s so far"
            console.print(f"{what}{count} ({spent})", markup=False, soft_wrap=True)

    def tick(done: int, total: int) -> None:
        nonlocal count
        count = f": {done} of {total}"

    speaker = threading.Thread(target=speak, name=f"progress of {what}", daemon=True)
    speaker.start()
    try:
        yield tick
    finally:
        over.set()
        speaker.join()
