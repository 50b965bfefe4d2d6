import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.training.schedules import cosine, learning_rate, weight_decay


def test_learning_rate_by_hand():
    rates = [learning_rate(step, steps=8, peak=1.0, warmup_steps=4, final=0.2) for step in range(8)]
    warm = [0.25, 0.5, 0.75, 1.0]
    # Half a cosine over the four remaining steps: 1, then (1 + cos(k pi / 4)) / 2 of the way.
    cool = [0.2 + 0.8 * (1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)]
    assert rates == pytest.approx(warm + cool, abs=1e-12)


def test_without_warm_up_the_first_step_has_the_peak_rate():
    assert learning_rate(0, steps=10, peak=3e-4, warmup_steps=0, final=0.0) == 3e-4


def test_weight_decay_goes_from_start_to_end():
    values = [weight_decay(step, steps=100, start=0.04, end=0.4) for step in (0, 50, 100)]
    assert values == pytest.approx([0.04, 0.22, 0.4])


def test_a_constant_weight_decay_is_exactly_constant():
    assert {weight_decay(step, steps=7, start=0.04, end=0.04) for step in range(7)} == {0.04}


@given(
    steps=st.integers(1, 500),
    warmup=st.integers(0, 600),
    peak=st.floats(1e-6, 1.0),
    share=st.floats(0, 1),
)
def test_learning_rate_rises_then_falls_and_stays_in_its_bounds(steps, warmup, peak, share):
    final = peak * share
    rates = [
        learning_rate(step, steps=steps, peak=peak, warmup_steps=warmup, final=final)
        for step in range(steps)
    ]
    slack = 1e-9 * peak
    assert all(0 < rate <= peak + slack for rate in rates)
    rising, falling = rates[:warmup], rates[warmup:]
    assert all(b > a for a, b in pairwise(rising))
    assert all(b <= a + slack for a, b in pairwise(falling))
    assert all(rate >= final - slack for rate in falling)


def test_cosine_holds_its_end():
    assert cosine(1.0, 0.1, 2.5) == pytest.approx(0.1)


def test_constant_schedule_by_hand():
    rates = [
        learning_rate(
            step,
            steps=9,
            peak=5.0,
            warmup_steps=2,
            final=0.5,
            start=1.0,
            schedule="constant",
            cooldown_steps=3,
        )
        for step in range(9)
    ]
    assert rates == pytest.approx([3.0, 5.0, 5.0, 5.0, 5.0, 5.0, 3.5, 2.0, 0.5], abs=1e-12)


@pytest.mark.parametrize(
    ("step", "rate"),
    # The published run, arXiv 2506.09985: 12 000 steps up, 228 000 flat, 12 000 down.
    [
        (0, 1e-4 + 4.25e-4 / 12_000),
        (5_999, (1e-4 + 5.25e-4) / 2),
        (11_999, 5.25e-4),
        (239_999, 5.25e-4),
        (245_999, (5.25e-4 + 1e-6) / 2),
        (251_999, 1e-6),
    ],
)
def test_the_published_schedule(step, rate):
    found = learning_rate(
        step,
        steps=252_000,
        peak=5.25e-4,
        warmup_steps=12_000,
        final=1e-6,
        start=1e-4,
        schedule="constant",
        cooldown_steps=12_000,
    )
    assert found == pytest.approx(rate, rel=1e-9)


def test_a_constant_schedule_without_warm_up_or_cooldown_is_constant():
    rates = {
        learning_rate(step, steps=5, peak=0.3, warmup_steps=0, final=0.1, schedule="constant")
        for step in range(5)
    }
    assert rates == {0.3}


def test_the_warm_up_of_a_cosine_can_start_above_zero():
    rates = [
        learning_rate(step, steps=8, peak=1.0, warmup_steps=4, final=0.2, start=0.6)
        for step in range(4)
    ]
    assert rates == pytest.approx([0.7, 0.8, 0.9, 1.0])
