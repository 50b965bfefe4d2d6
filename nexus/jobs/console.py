"""What the jobs tell the person who waits, on standard error."""

from collections.abc import Callable

from rich.console import Console
from rich.progress import Progress

from nexus.data.catalog import Catalog


def messages() -> Console:
    """Standard error, without colours that guess."""
    return Console(stderr=True, highlight=False)


def say_problems(catalog: Catalog) -> None:
    """Name every file that is left out, and every oddity."""
    console = messages()
    for problem in catalog.problems:
        verb = "left out" if problem.fatal else "note:"
        console.print(f"{verb} {problem.path}: {problem.reason}", markup=False)


class progress:  # noqa: N801 - read as a verb in `with progress(...)`
    """A bar on standard error while something runs; calling it with (done, total) moves it."""

    def __init__(self, what: str) -> None:
        self.bar = Progress(console=messages(), transient=True)
        self.task = self.bar.add_task(what, total=None)

    def __enter__(self) -> Callable[[int, int], None]:
        self.bar.start()
        return lambda done, total: self.bar.update(self.task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
