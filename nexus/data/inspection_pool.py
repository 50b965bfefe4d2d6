"""File checks in processes of their own: a file that crashes or hangs FFmpeg harms nothing else.

The processes are plain `python -m nexus.data.inspection_pool` children that answer one JSON line a
file; unlike a process pool they never import the caller's main module.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from nexus.data.inspection import Inspection, inspect
from nexus.errors import NexusError

TIMEOUT = 900.0
"""Seconds after which the check of one file is given up."""

_FILES_PER_PROCESS = 4  # starting a process takes about as long as checking so many short files
_COMMAND = (sys.executable, "-P", "-m", "nexus.data.inspection_pool")


class InspectionPool:
    """Checks files in parallel.

    Args:
        workers: processes; 0 checks in this process (quick to start, but a crash is a crash).
        timeout: seconds after which one file is given up.
        command: how to start a process that answers like this module.
    """

    def __init__(
        self, workers: int, *, timeout: float = TIMEOUT, command: Sequence[str] = _COMMAND
    ):
        self.workers = workers
        self.timeout = timeout
        self.command = command

    def inspect_all(
        self, paths: Sequence[Path], done: Callable[[Path, Inspection, bool], None]
    ) -> None:
        """Check each path; `done(path, inspection, lasting)` is called in this thread.

        `lasting` is False where the result says more about the machine than about the file (the
        process died or took too long), so that it should not be remembered.

        Raises:
            NexusError: no checking process can be started.
        """
        if self.workers == 0 or not sys.executable:
            for path in paths:
                done(path, inspect(path), True)
            return
        if not paths:
            return
        count = min(self.workers, -(-len(paths) // _FILES_PER_PROCESS))
        idle: queue.SimpleQueue[_Child | None] = queue.SimpleQueue()
        started: list[_Child] = []
        for _ in range(count):
            idle.put(None)

        def check(path: Path) -> tuple[Path, Inspection, bool]:
            child = idle.get()
            try:
                if child is None:
                    child = _Child(self.command)
                    started.append(child)
                inspection = child.ask(path, self.timeout)
                return path, inspection, True
            except _ChildDiedError as death:
                child = None
                return path, Inspection.failed("unreadable", str(death)), False
            finally:
                idle.put(child)

        threads = ThreadPoolExecutor(count, thread_name_prefix="inspect")
        try:
            for finished in as_completed([threads.submit(check, path) for path in paths]):
                done(*finished.result())
        except BaseException:  # interrupted: what the children do is not worth waiting for
            for child in started:
                child.process.kill()
            raise
        finally:
            threads.shutdown(cancel_futures=True)
            for child in started:
                child.close()


class _ChildDiedError(Exception):
    """The checking process ended while it looked at a file."""


class _Child:
    def __init__(self, command: Sequence[str]):
        root = str(Path(__file__).parents[2])  # where the child finds this package
        search = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        self.process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": search},
        )
        if self._read() != "ready":
            self.close()
            raise NexusError(
                f"the process that checks videos does not start ({' '.join(command)}); "
                "its error stands above; workers=0 checks without it"
            )

    def ask(self, path: Path, timeout: float) -> Inspection:
        assert self.process.stdin is not None
        alarm = threading.Timer(timeout, self.process.kill)
        alarm.start()
        try:
            self.process.stdin.write(json.dumps(str(path)).encode() + b"\n")
            self.process.stdin.flush()
            answer = self._read()
        except OSError:
            answer = None
        finally:
            in_time = not alarm.finished.is_set()
            alarm.cancel()
        if isinstance(answer, dict):
            return Inspection.from_mapping(answer)
        self.close()
        if not in_time:
            raise _ChildDiedError(f"checking it took longer than {timeout:.0f} s")
        raise _ChildDiedError(
            f"the decoder crashed on it ({_cause_of_death(self.process.returncode)})"
        )

    def _read(self):
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def _cause_of_death(code: int) -> str:
    if code < 0:
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"


def _answer_forever() -> None:
    """The child: a path a line on stdin, an inspection a line on stdout, until stdin ends."""
    # Ctrl-C is for the parent, which then closes stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever a library prints must not end up between the answers.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    answers.write(b'"ready"\n')
    for line in sys.stdin.buffer:
        inspection = inspect(json.loads(line))
        answers.write(json.dumps(inspection.to_mapping()).encode() + b"\n")


if __name__ == "__main__":
    _answer_forever()
