"""What the jobs tell the person who waits, on standard error."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

if TYPE_CHECKING:
    from nexus.data.catalog import Catalog, Problem


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
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error while something runs; calling it with (done, total) moves it."""
    with Progress(console=messages(), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
