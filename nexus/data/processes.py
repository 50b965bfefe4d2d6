"""Processes beside this one: how they start, what they leave to it, and how they ended."""

import gc
import multiprocessing
import os
import signal

CAN_FORK = "fork" in multiprocessing.get_all_start_methods()
"""Forked processes share the memory that was there when they started."""

if CAN_FORK:
    # What the parent dropped is never tidied up in a forked process: an encoder would wait there
    # for ever, for threads that were left behind.
    os.register_at_fork(before=gc.freeze, after_in_parent=gc.unfreeze)


def leave_signals_to_parent(_worker: int = 0) -> None:
    """Called in a process: Ctrl-C is answered by the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def cause_of_death(code: int | None) -> str:
    """An exit code in words: `SIGKILL`, `exit code 3`."""
    names = {-number.value: number.name for number in signal.Signals}
    return names.get(code or 0, f"exit code {code}")
