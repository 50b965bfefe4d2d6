import pytest
import torch

from nexus.training.threads import calibrate, candidates, choose


@pytest.fixture(autouse=True)
def threads_put_back():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class Machine:
    """A clock and a step whose time depends on the thread count, as a table says."""

    def __init__(self, table):
        self.table, self.now, self.ran = table, 0.0, []

    def step(self):
        threads = torch.get_num_threads()
        self.ran.append(threads)
        self.now += self.table[threads]

    def clock(self):
        return self.now


@pytest.mark.parametrize(
    ("most", "expected"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])]
)
def test_candidates(most, expected):
    assert candidates(most) == expected


@pytest.mark.parametrize(
    ("seconds", "threads"),
    [
        ({1: 1.0, 2: 0.5, 4: 0.3}, 4),
        ({1: 0.15, 2: 0.4}, 1),
        ({1: 1.0, 2: 0.95}, 1),  # a tie goes to fewer
        ({1: 1.0, 2: 0.5, 4: 0.48}, 2),
    ],
)
def test_more_threads_must_pay(seconds, threads):
    assert choose(seconds) == threads


def test_calibrate_takes_and_sets_the_fastest():
    machine = Machine({1: 0.4, 2: 0.1, 4: 0.3})
    found = calibrate(machine.step, [1, 2, 4], clock=machine.clock)
    assert found.threads == 2 == torch.get_num_threads()
    assert found.seconds == pytest.approx(machine.table)
    assert "2 CPU threads" in str(found) and "1: 400 ms" in str(found)


def test_slow_steps_are_not_repeated():
    machine = Machine({1: 10.0, 2: 8.0})
    calibrate(machine.step, [1, 2], clock=machine.clock, budget=5.0)
    assert machine.ran == [1, 2]


def test_a_hopeless_count_is_tried_once():
    machine = Machine({1: 0.1, 2: 0.3, 4: 0.15})
    calibrate(machine.step, [1, 2, 4], clock=machine.clock, repeats=3)
    assert machine.ran == [1, 1, 1, 2, 4, 4, 4]


def test_a_single_candidate_costs_nothing():
    machine = Machine({1: 1.0})
    assert calibrate(machine.step, [1], clock=machine.clock).threads == 1
    assert not machine.ran
