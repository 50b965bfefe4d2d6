"""The page of a run at work: drawn again now and then, for a small share of the run's time."""

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from nexus.reports.page import PAGE, write_report

SHARE = 0.02
"""Of the time of a run that may go into its page."""
FIRST_SECONDS = 2.0
"""What the first page is taken to cost: matplotlib has to be loaded for it."""


class LivePage:
    """Writes `RUN/report.html` while a run is trained; what goes wrong with it ends no run.

    As a context it brings a page that is there up to date when the run ends, however that ends; a
    second Ctrl-C does not wait for it.

    Args:
        run: the run's folder.
        say: takes a line for the person who watches.
        share: of the run's time.
        clock: seconds.
    """

    def __init__(
        self,
        run: Path,
        say: Callable[[str], None],
        *,
        share: float = SHARE,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.run, self.share = run, share
        self._say, self._clock = say, clock
        self._cost, self._drawn_at = FIRST_SECONDS, 0.0
        self._told = self._failed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        hurried = kind is not None and issubclass(kind, KeyboardInterrupt)
        if (self.run / PAGE).exists() and not hurried:
            self.draw()

    def update(self, seconds: float) -> None:
        """Draw the page if so much time has passed that it costs next to nothing.

        Args:
            seconds: of the run so far, those before a resume included.
        """
        if self._cost <= self.share * (seconds - self._drawn_at):
            self._drawn_at = seconds
            self.draw()

    def draw(self) -> None:
        """Write the page; if that fails, it is said once."""
        start = self._clock()
        try:
            page = write_report(self.run, live=True)
        except Exception as error:  # noqa: BLE001 - whatever it is: a page is not worth a run
            if not self._failed:
                self._say(f"note: the page cannot be drawn ({error}); training goes on without it")
            self._failed = True
        else:
            if not self._told:
                self._say(f"The page so far: {page} (it renews itself)")
            self._told = True
        self._cost = self._clock() - start
