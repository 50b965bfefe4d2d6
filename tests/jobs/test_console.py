"""What is seen while a job runs: a bar in a terminal, now and then a line elsewhere."""

import io
import re
import threading
import time

import pytest
from rich.console import Console

from nexus.jobs.console import progress


def waited_for(file: io.StringIO, text: str) -> str:
    end = time.monotonic() + 30
    while text not in file.getvalue() and time.monotonic() < end:
        time.sleep(0.005)
    return file.getvalue()


def test_without_a_terminal_lines_say_how_far_it_is_even_within_a_long_step() -> None:
    console = Console(file=io.StringIO(), width=20)
    with progress("embedding [all]", console=console, every=0.01) as tick:
        assert "embedding [all] (0 s so far)\n" in waited_for(console.file, "so far)\n")
        tick(3, 120)
        seen = waited_for(console.file, "3 of 120")
    lines = seen.splitlines()
    assert re.fullmatch(r"embedding \[all\]: 3 of 120 \(\d+ s so far\)", lines[-1])


def test_a_short_job_without_a_terminal_says_nothing_and_leaves_no_thread() -> None:
    console, before = Console(file=io.StringIO()), threading.active_count()
    with pytest.raises(KeyboardInterrupt), progress("probing", console=console) as tick:
        tick(1, 2)
        raise KeyboardInterrupt
    assert console.file.getvalue() == ""
    assert threading.active_count() == before


def test_a_terminal_gets_a_bar_and_no_lines() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    with progress("probing", console=console, every=0.01) as tick:
        tick(1, 2)
        assert "50%" in waited_for(console.file, "50%")
    assert "so far" not in console.file.getvalue()
