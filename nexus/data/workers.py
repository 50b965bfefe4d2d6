"""Processes that make things ahead, in the order in which they are asked for.

    requests 0 1 2 3 4 5      process 0 makes 0 2 4, process 1 makes 1 3 5, each over its own pipe

torch's DataLoader does the like, but where a worker dies it raises in whatever line of the program
happens to run, a training step for instance. Here a death is a pipe that ends: it shows where the
next thing is waited for, and nowhere else.
"""

import contextlib
import multiprocessing
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any, Self

import torch

CAN_FORK = "fork" in multiprocessing.get_all_start_methods()
"""Forked processes share the memory that was there when they started."""
_PATIENCE = 5.0  # seconds that a process has to end on its own


class WorkerDiedError(Exception):
    """A process ended before it had delivered what it was asked for."""


class Workers:
    """An iterator over what `make(request)` gives, request by request.

    Args:
        make: called in the processes; what it raises is raised here.
        requests: drawn here, when a process is free for the next one.
        count: processes.
        ahead: requests that each process may be ahead.
    """

    def __init__(
        self, make: Callable[[Any], Any], requests: Iterator[Any], count: int, ahead: int
    ) -> None:
        context = multiprocessing.get_context("fork" if CAN_FORK else None)
        self._requests, self._asked = requests, 0
        self._pipes: list[Connection] = []
        self._expected: deque[int] = deque()
        self.processes = []
        for _ in range(count):
            here, there = context.Pipe()
            self._pipes.append(here)
            inherited = self._pipes if CAN_FORK else ()
            process = context.Process(target=_work, args=(there, make, inherited), daemon=True)
            process.start()
            there.close()  # so that the pipe ends where the process does
            self.processes.append(process)
        for _ in range(count * ahead):
            self._ask()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if not self._expected:
            raise StopIteration
        worker = self._expected[0]
        try:
            made = self._pipes[worker].recv()
        except (EOFError, OSError) as error:
            process = self.processes[worker]
            process.join(_PATIENCE)
            raise WorkerDiedError(f"a worker process died {_cause(process.exitcode)}") from error
        self._expected.popleft()
        self._ask()
        if isinstance(made, Exception):
            raise made
        return made

    def close(self) -> None:
        """End the processes; what they have made is lost."""
        for pipe in self._pipes:
            pipe.close()
        for process in self.processes:
            process.join(_PATIENCE)
            if process.is_alive():
                process.kill()
                process.join()

    def _ask(self) -> None:
        request = next(self._requests, None)
        if request is None:
            return
        worker = self._asked % len(self._pipes)
        self._asked += 1
        self._expected.append(worker)
        with contextlib.suppress(OSError):  # it has died: that shows where its turn comes
            self._pipes[worker].send(request)


def _work(pipe: Connection, make: Callable[[Any], Any], inherited: list[Connection]) -> None:
    """The life of a process: until the other end of its pipe is closed, or gone."""
    for end in inherited:
        end.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    with contextlib.suppress(EOFError, OSError):
        while True:
            request = pipe.recv()
            try:
                made = make(request)
            except Exception as error:  # noqa: BLE001, raised where it is waited for
                error.add_note(f"in a worker process:\n{traceback.format_exc()}")
                made = error
            pipe.send(made)


def _cause(code: int | None) -> str:
    if code is None or code >= 0:
        return f"(exit code {code})"
    names = {number.value: number.name for number in signal.Signals}
    return f"({names.get(-code, f'signal {-code}')})"
