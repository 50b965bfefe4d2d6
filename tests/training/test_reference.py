"""Learning rate and EMA of continued training, scaled from the published cooldown."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.training.optim import OptimConfig
from nexus.training.reference import ReferenceRun, grid

COOLDOWN = ReferenceRun(
    steps=12_000, clips=3072, lr=5.25e-4, final_lr=1e-6, ema_momentum=0.99925, warmup_share=0.05
)


def settings_for(steps, clips, **optim):
    config = OptimConfig.from_mapping({"schedule": "constant", **optim})
    return COOLDOWN.settings_for(config, steps=steps, clips=clips)


def test_the_reference_itself_is_reproduced():
    found = settings_for(12_000, 3072)
    assert found["optim"]["lr"] == 5.25e-4
    assert found["optim"]["final_lr"] == pytest.approx(1e-6)
    assert found["optim"]["warmup_steps"] + found["optim"]["cooldown_steps"] == 12_000
    assert found["model"]["ema_momentum"] == 0.99925


def test_a_short_run_by_hand():
    # 1/100 of the clips: a tenth of the rate. 900 steps: a horizon of 100 steps.
    assert COOLDOWN.lr_for(steps=1200, clips=307.2) == pytest.approx(5.25e-5)
    assert COOLDOWN.momentum_for(steps=900) == pytest.approx(0.99)


@given(steps=st.integers(0, 10**6), clips=st.integers(1, 10**5))
def test_scaled_values_keep_their_bounds_and_grow_with_the_run(steps, clips):
    lr, momentum = COOLDOWN.lr_for(steps=steps, clips=clips), COOLDOWN.momentum_for(steps=steps)
    assert 0 <= lr <= 5.25e-4 and 0.9 <= momentum <= 0.99925
    assert COOLDOWN.lr_for(steps=steps + 1, clips=clips) >= lr
    assert COOLDOWN.momentum_for(steps=steps + 1) >= momentum
    if steps * clips < 12_000 * 3072:
        assert lr == pytest.approx(5.25e-4 * math.sqrt(steps * clips / (12_000 * 3072)))
    if 0.9 < momentum < 0.99925:
        assert 1 / (1 - momentum) == pytest.approx(steps / 9)


def test_what_is_given_stands_and_the_rest_follows_it():
    found = settings_for(100, 8, lr=1e-3, warmup_steps=30)["optim"]
    assert set(found) == {"final_lr", "cooldown_steps"}
    assert found["final_lr"] == pytest.approx(1e-3 / 525) and found["cooldown_steps"] == 70
    assert "cooldown_steps" not in settings_for(100, 8, schedule="cosine")["optim"]
    assert set(settings_for(0, 8)["optim"]) == {"lr", "final_lr", "warmup_steps", "cooldown_steps"}
    assert settings_for(0, 8)["optim"]["lr"] > 0  # a run of no steps still is a valid recipe


def test_the_grid_holds_the_pair_itself_and_its_gentler_side():
    rates, momenta = grid(4e-5, 0.98)
    assert rates == (4e-5, 1e-5) and momenta == (0.98, 0.995)
