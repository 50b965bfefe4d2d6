"""What a person who watches a run sees: a bar in a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)


class Pace:
    """Seconds, clips and time spent waiting for data; over the run and since the last reading."""

    def __init__(self) -> None:
        self.clips = 0
        self._seconds_before = 0.0
        self.start()

    def start(self) -> None:
        """Start the clock."""
        self._start = self._window_start = time.perf_counter()
        self._window_clips = 0
        self._window_waited = 0.0

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before a resume included."""
        return self._seconds_before + time.perf_counter() - self._start

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time spent in here counts as waiting for data."""
        start = time.perf_counter()
        yield
        self._window_waited += time.perf_counter() - start

    def count(self, clips: int) -> None:
        """Clips that went through the model."""
        self.clips += clips
        self._window_clips += clips

    def read(self) -> dict[str, float]:
        """`seconds` of the run; `clips_per_second` and `data_wait` (a share) since the last one."""
        end = time.perf_counter()
        window = max(end - self._window_start, 1e-9)
        reading = {
            "seconds": self.seconds,
            "clips_per_second": self._window_clips / window,
            "data_wait": min(1.0, self._window_waited / window),
        }
        self._window_start, self._window_clips, self._window_waited = end, 0, 0.0
        return reading

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"seconds": self.seconds, "clips": self.clips}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting from `state_dict()`; the clock starts with `start`."""
        self._seconds_before, self.clips = state["seconds"], state["clips"]


class Screen:
    """Prints a run's progress and messages.

    Args:
        console: where to; a terminal gets a bar, anything else a line each logged step.
        log_file: also receives every line, with the time; none: only the console.
        steps: length of the run.
    """

    def __init__(self, console: Console, *, log_file: Path | None, steps: int) -> None:
        self.console = console
        self.steps = steps
        self._log = None if log_file is None else log_file.open("a", encoding="utf-8")
        self._bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=steps)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        if self._log is not None:
            self._log.close()

    def say(self, text: str) -> None:
        """A message, above the bar if there is one."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._write(text)

    def move(self, step: int) -> None:
        """Another step is done."""
        self._bar.update(self._task, completed=step)

    def show(self, row: Mapping[str, Any]) -> None:
        """A logged step: the row that goes to the journal."""
        text = describe(row)
        self._bar.update(self._task, description=text)
        line = f"step {row['step']}/{self.steps}  {text}"
        if self._bar.disable:
            self.say(line)
        else:
            self._write(line)

    def _write(self, text: str) -> None:
        if self._log is not None:
            self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
            self._log.flush()


def describe(row: Mapping[str, Any]) -> str:
    """A logged step in a few words: loss, speed, data-wait share, health."""
    return (
        f"loss {row['loss']:.4f}  {row['clips_per_second']:.4g} clips/s  "
        f"waiting for data {row['data_wait']:.0%}  {row['health']}"
    )
