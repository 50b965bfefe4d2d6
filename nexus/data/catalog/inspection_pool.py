"""File checks in processes of their own: a file that crashes or hangs FFmpeg harms nothing else."""

import contextlib
import multiprocessing
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing.connection import Connection
from pathlib import Path

from nexus.data.catalog.inspection import Inspection, inspect
from nexus.data.processes import CAN_FORK, cause_of_death, leave_signals_to_parent

TIMEOUT = 900.0
"""Seconds after which the check of one file is given up."""

_FILES_PER_PROCESS = 4  # fewer are not worth a process

Check = Callable[[Path], Inspection]
Checked = tuple[Path, Inspection, bool]


def inspect_all(
    paths: Sequence[Path],
    done: Callable[[Path, Inspection, bool], None],
    workers: int,
    *,
    timeout: float = TIMEOUT,
    check: Check = inspect,
) -> None:
    """Check each path; `done(path, inspection, lasting)` is called in this thread.

    `lasting` is False where the result says more about the machine than about the file (the
    process died or took too long), so that it should not be remembered.

    Args:
        workers: processes; with 0, or where none can be forked, this one checks (a crash is a
            crash then).
        timeout: seconds after which one file is given up.
        check: the check of one file.
    """
    if workers == 0 or not CAN_FORK or not paths:
        for path in paths:
            done(path, check(path), True)
        return
    children = [_Child(check) for _ in range(min(workers, -(-len(paths) // _FILES_PER_PROCESS)))]
    idle: queue.SimpleQueue[_Child] = queue.SimpleQueue()
    for child in children:
        idle.put(child)

    def ask(path: Path) -> Checked:
        child = idle.get()
        try:
            return child.ask(path, timeout)
        finally:
            idle.put(child)

    threads = ThreadPoolExecutor(len(children), thread_name_prefix="inspect")
    try:
        for finished in as_completed([threads.submit(ask, path) for path in paths]):
            done(*finished.result())
    finally:  # perhaps interrupted: what the children do then is not worth waiting for
        threads.shutdown(wait=False, cancel_futures=True)
        for child in children:
            child.process.kill()
        threads.shutdown()


class _Child:
    """A process that checks, and the next one once it has died."""

    _starting = threading.Lock()  # else the end of a pipe might be open in another child too

    def __init__(self, check: Check) -> None:
        self._check = check
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        with self._starting:
            self._pipe, there = context.Pipe()
            ends = self._pipe, there
            self.process = context.Process(target=_answer, args=(*ends, self._check), daemon=True)
            self.process.start()
            there.close()  # so that the pipe ends where the process does

    def ask(self, path: Path, timeout: float) -> Checked:
        if not self.process.is_alive():
            self._start()
        with contextlib.suppress(EOFError, OSError):
            self._pipe.send(path)
            if self._pipe.poll(timeout):
                return path, self._pipe.recv(), True
            self.process.kill()
            reason = f"checking it took longer than {timeout:.0f} s"
            return path, Inspection.failed("unreadable", reason), False
        self.process.join()
        reason = f"the decoder crashed on it ({cause_of_death(self.process.exitcode)})"
        return path, Inspection.failed("unreadable", reason), False


def _answer(theirs: Connection, pipe: Connection, check: Check) -> None:
    """The life of a child: until the other end of its pipe is closed, or gone."""
    theirs.close()
    leave_signals_to_parent()
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(check(pipe.recv()))
