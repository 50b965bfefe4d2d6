"""Random actions: uniform one by one, alike from one to the next."""

import numpy as np
import pytest
from gymnasium import spaces
from scipy.stats import kstest

from nexus.control.wandering import Wandering
from nexus.errors import SimulatorError

LOW, HIGH = np.array([-1, 0, 5], np.float32), np.array([1, 512, 6], np.float32)


def drawn(seeds, steps, **settings):
    policy = Wandering(spaces.Box(LOW, HIGH), **settings)
    policy.begin([{}] * len(seeds), [], seeds)
    return np.stack([policy.act([{}] * len(seeds), []) for _ in range(steps)], axis=1)


def test_each_is_uniform_within_its_bounds():
    actions = drawn(list(range(400)), 10)
    assert np.all(actions >= LOW) and np.all(actions <= HIGH)
    for place in (0, 9):
        for dimension in range(3):
            share = (actions[:, place, dimension] - LOW[dimension]) / (HIGH - LOW)[dimension]
            assert kstest(share, "uniform").pvalue > 0.001


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
def test_one_is_like_the_one_before_as_said(kept):
    actions = drawn(list(range(1500)), 4, kept=kept)[..., 0]
    # Of two normal numbers with correlation r, the shares have 6 / pi * asin(r / 2).
    for gap in (1, 2):
        measured = np.corrcoef(actions[:, 0], actions[:, gap])[0, 1]
        assert measured == pytest.approx(6 / np.pi * np.arcsin(kept**gap / 2), abs=0.07)


def test_seeds_decide_and_nothing_else():
    together, alone = drawn([3, 8], 6), drawn([8], 6)
    assert np.array_equal(together[1], alone[0])
    assert not np.array_equal(together[0], together[1])
    policy = Wandering(spaces.Box(LOW, HIGH))
    for _ in range(2):
        policy.begin([{}], [], [8])
        assert np.array_equal(policy.act([{}], [])[0], alone[0, 0])


def test_actions_without_bounds_are_refused():
    with pytest.raises(SimulatorError, match="random actions need finite bounds, and they are Box"):
        Wandering(spaces.Box(-np.inf, np.inf, (2,)))
