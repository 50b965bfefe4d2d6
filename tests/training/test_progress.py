import io
import time

import pytest
from rich.console import Console

from nexus.training import progress
from nexus.training.progress import Pace, Screen

ROW = {
    "step": 20,
    "loss": 0.12345,
    "clips_per_second": 312.4,
    "data_wait": 0.031,
    "health": "healthy",
}


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress.time, "perf_counter", clock.perf_counter)
    return clock


def test_pace_counts_seconds_clips_and_waiting(clock):
    pace = Pace()
    with pace.waiting():
        clock.now += 1
    clock.now += 3
    pace.count(32)
    assert pace.read() == {"seconds": 4.0, "clips_per_second": 8.0, "data_wait": 0.25}
    clock.now += 2
    pace.count(32)
    reading = pace.read()
    assert reading == {"seconds": 6.0, "clips_per_second": 16.0, "data_wait": 0.0}


def test_a_resumed_pace_goes_on_and_does_not_count_the_pause(clock):
    pace = Pace()
    clock.now += 5
    pace.count(10)
    state = pace.state_dict()
    clock.now += 1000
    again = Pace()
    again.load_state_dict(state)
    clock.now += 7  # building the model
    again.start()
    clock.now += 2
    again.count(10)
    assert again.read() == {"seconds": 7.0, "clips_per_second": 5.0, "data_wait": 0.0}
    assert again.clips == 20


def test_without_a_terminal_each_row_is_a_line(tmp_path):
    console = Console(file=io.StringIO(), width=120)
    with Screen(console, log_file=tmp_path / "log.txt", steps=100) as screen:
        screen.move(20)
        screen.show(ROW)
        screen.say("left out [bad] file.mp4: cut short")
    line = "step 20/100  loss 0.1235  312.4 clips/s  waiting for data 3%  healthy"
    assert console.file.getvalue().splitlines() == [line, "left out [bad] file.mp4: cut short"]
    logged = (tmp_path / "log.txt").read_text().splitlines()
    assert [text[20:] for text in logged] == [line, "left out [bad] file.mp4: cut short"]
    time.strptime(logged[0][:19], "%Y-%m-%d %H:%M:%S")


def test_a_terminal_gets_a_bar_and_messages_above_it(tmp_path):
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with Screen(console, log_file=tmp_path / "log.txt", steps=100) as screen:
        screen.move(20)
        screen.show(ROW)
        screen.say("a message")
    text = console.file.getvalue()
    assert "20/100" in text and "312.4 clips/s" in text and "a message" in text
    assert "step 20/100" in (tmp_path / "log.txt").read_text()


def test_a_row_without_a_loss_can_be_shown():
    assert "loss nan" in progress.describe({**ROW, "loss": float("nan")})
