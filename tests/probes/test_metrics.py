"""Scores and intervals against direct computation and their own definition."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nexus.probes import metrics


@settings(deadline=None)
@given(successes=st.integers(0, 60), extra=st.integers(0, 60))
def test_wilson_bounds_solve_the_score_equation(successes: int, extra: int) -> None:
    """Its bounds p are where (k/n - p)² = z² p (1 - p) / n."""
    trials = successes + extra
    if trials == 0:
        return
    z = stats.norm.ppf(0.975)
    for bound in metrics.wilson_interval(successes, trials):
        left = (successes / trials - bound) ** 2
        assert left == pytest.approx(z * z * bound * (1 - bound) / trials, abs=1e-12)


def test_wilson_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    for share in (0.125, 0.5, 0.9):
        draws = generator.binomial(80, share, size=2000)
        inside = [
            low <= share <= high for low, high in (metrics.wilson_interval(k, 80) for k in draws)
        ]
        assert 0.92 < np.mean(inside) < 0.98


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 4)])
def test_wilson_refuses_what_is_not_a_share(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="expected 0 ≤ k ≤ n"):
        metrics.wilson_interval(successes, trials)


def test_the_t_interval_is_students() -> None:
    values = [0.61, 0.68, 0.66]
    mean, interval = metrics.mean_interval(values)
    expected = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert mean == pytest.approx(0.65)
    assert interval == pytest.approx(expected)
    with pytest.raises(ValueError, match="at least two"):
        metrics.mean_interval([0.5])


def test_the_bootstrap_agrees_with_the_normal_interval_of_a_mean() -> None:
    sample = np.random.default_rng(1).normal(size=400)
    low, high = metrics.bootstrap_interval(lambda rows: float(sample[rows].mean()), 400)
    half = 1.96 * sample.std() / 20
    assert low == pytest.approx(sample.mean() - half, abs=0.02)
    assert high == pytest.approx(sample.mean() + half, abs=0.02)
    again = metrics.bootstrap_interval(lambda rows: float(sample[rows].mean()), 400)
    assert again == (low, high)


def test_chance_is_the_better_of_majority_and_uniform() -> None:
    train = np.array([0, 0, 0, 1])
    assert metrics.chance_rate(train, np.array([0, 0, 0, 1]), 2) == 0.75
    assert metrics.chance_rate(train, np.array([1, 1, 1, 0]), 2) == 0.5


def test_r_squared_by_hand() -> None:
    truth = np.array([1.0, 2.0, 3.0])
    assert metrics.r_squared(truth, truth) == 1.0
    assert metrics.r_squared(truth, np.full(3, 2.0)) == 0.0
    assert metrics.r_squared(truth, np.array([3.0, 2.0, 1.0])) == -3.0
    assert math.isnan(metrics.r_squared(np.ones(3), truth))
