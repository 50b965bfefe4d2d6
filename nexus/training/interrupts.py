"""Ctrl-C and a scheduler's SIGTERM become a request that the loop answers after its step."""

import signal
import threading
from types import FrameType
from typing import Self


class Interrupts:
    """A context in which the first SIGINT or SIGTERM only sets `requested`.

    A second SIGINT raises KeyboardInterrupt as usual, for the user who does not want to wait.
    Outside the main thread, where Python delivers no signals, the context does nothing.
    """

    def __init__(self) -> None:
        self.requested: str | None = None
        """The name of the signal that came, if one did."""
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._answer)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]

    def _answer(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = signal.Signals(number).name
