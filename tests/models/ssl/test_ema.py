"""The target encoder's update, its schedule, and when it happens."""

import copy
import math
import pickle
from collections.abc import Callable

import pytest
import torch
from oracles.tiny import TINY, clips, same, tiny_model, weights
from torch import nn

from nexus.models.ssl import VJEPAModel
from nexus.models.ssl.ema import momentum_at, update

OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "sgd": lambda m: torch.optim.SGD(m.parameters(), lr=0.01, foreach=False),
    "sgd foreach": lambda m: torch.optim.SGD(m.parameters(), lr=0.01, foreach=True),
    "sgd fused": lambda m: torch.optim.SGD(m.parameters(), lr=0.01, fused=True),
    "adamw": lambda m: torch.optim.AdamW(m.parameters(), foreach=False),
    "adamw foreach": lambda m: torch.optim.AdamW(m.parameters(), foreach=True),
    "adamw fused": lambda m: torch.optim.AdamW(m.parameters(), fused=True),
    "adamw, tiny rate": lambda m: torch.optim.AdamW(m.parameters(), lr=1e-9),
}


def sgd(model: VJEPAModel) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.01)


def backward(model: VJEPAModel, seed: int = 0) -> torch.Tensor:
    loss, _ = model(clips(seed=seed), meters=False)
    loss.backward()
    return loss


def steps(model: VJEPAModel) -> int:
    return int(model.ema_step)


def test_the_update_is_the_formula() -> None:
    torch.manual_seed(0)
    target, online = nn.Linear(3, 4), nn.Linear(3, 4)
    expected = [
        [0.9 * mine + 0.1 * theirs for mine, theirs in zip(a.flatten(), b.flatten(), strict=True)]
        for a, b in zip(weights(target), weights(online), strict=True)
    ]
    before = weights(online)
    update(target, online, 0.9)
    for parameter, values in zip(target.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.flatten(), torch.stack(values))
    assert same(before, weights(online))


def test_momentum_one_keeps_and_zero_copies() -> None:
    torch.manual_seed(0)
    target, online = nn.Linear(3, 4), nn.Linear(3, 4)
    before = weights(target)
    update(target, online, 1.0)
    assert same(before, weights(target))
    update(target, online, 0.0)
    assert same(weights(online), weights(target))


def test_buffers_are_copied() -> None:
    target, online = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    online.running_mean.fill_(3.0)
    update(target, online, 0.9)
    assert target.running_mean.tolist() == [3.0, 3.0]


def test_the_schedule_is_the_seeds_formula() -> None:
    tau_base, tau_end = 0.996, 1.0
    for step in range(0, 1001, 50):
        progress = step / 1000
        tau = tau_end - (tau_end - tau_base) * 0.5 * (1 + math.cos(math.pi * progress))
        got = momentum_at(step, 1000, start=tau_base, end=tau_end, schedule="cosine")
        assert got == pytest.approx(tau, abs=1e-12)
    assert momentum_at(0, 1000, start=0.996, end=1.0, schedule="cosine") == 0.996
    assert momentum_at(5000, 1000, start=0.996, end=0.9999, schedule="cosine") == 0.9999
    assert momentum_at(700, 1000, start=0.996, end=1.0, schedule="constant") == 0.996


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_bare_loop_moves_the_target_once_a_step(name: str) -> None:
    """The seed's loop, followed by hand: theta <- tau theta + (1 - tau) online, exact tau."""
    model = tiny_model(ema_momentum=0.5, ema_momentum_end=0.9, ema_steps=3)
    optimizer = OPTIMIZERS[name](model)
    by_hand = weights(model.target_encoder)
    for step in range(5):
        optimizer.zero_grad()
        backward(model, seed=step)
        assert steps(model) == step
        for mine, theirs in zip(by_hand, weights(model.target_encoder), strict=True):
            torch.testing.assert_close(mine, theirs)
        optimizer.step()
        tau = 0.9 - 0.4 * 0.5 * (1 + math.cos(math.pi * min(step / 3, 1)))
        by_hand = [
            tau * mine + (1 - tau) * online
            for mine, online in zip(by_hand, weights(model.context_encoder), strict=True)
        ]


def test_the_target_starts_as_a_copy_and_then_follows() -> None:
    model = tiny_model()
    assert same(weights(model.target_encoder), weights(model.context_encoder))
    optimizer = sgd(model)
    start = weights(model.target_encoder)
    backward(model)
    optimizer.step()
    assert same(start, weights(model.target_encoder))
    backward(model)
    assert not same(start, weights(model.target_encoder))


def test_evaluation_never_moves_the_target() -> None:
    model = tiny_model()
    optimizer = sgd(model)
    backward(model)
    optimizer.step()
    before = weights(model.target_encoder)
    model.eval()
    model(clips())
    with torch.no_grad():
        model(clips())
        model.train()
        model(clips())
        model.predict(clips())
    assert same(before, weights(model.target_encoder))
    assert steps(model) == 0
    backward(model)  # training goes on, and the step that was taken counts once
    assert steps(model) == 1


def test_accumulation_is_one_step() -> None:
    model = tiny_model()
    optimizer = sgd(model)
    for step in range(3):
        for part in range(4):
            loss, _ = model(clips(seed=4 * step + part), meters=False)
            (loss / 4).backward()
            assert steps(model) == step
        optimizer.step()
        optimizer.zero_grad()


def test_a_skipped_step_is_none() -> None:
    model = tiny_model()
    optimizer = sgd(model)
    for step in range(4):
        optimizer.zero_grad()
        backward(model, seed=step)
        if step % 2 == 0:
            optimizer.step()
    backward(model)
    assert steps(model) == 2


@pytest.mark.parametrize("name", ["adamw", "adamw foreach", "adamw fused"])
def test_a_step_that_the_gradient_scaler_skips_is_none(name: str) -> None:
    """The seed's mixed-precision loop; an infinite gradient makes the scaler skip."""
    model = tiny_model()
    optimizer = OPTIMIZERS[name](model)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    taken = 0
    for step in range(4):
        optimizer.zero_grad()
        loss, _ = model(clips(seed=step), meters=False)
        assert steps(model) == taken
        scaler.scale(loss).backward()
        if step == 1:
            model.context_encoder.norm.weight.grad.fill_(torch.inf)
        else:
            taken += 1
        scaler.step(optimizer)
        scaler.update()


def test_explicit_and_automatic_updates_never_add_up() -> None:
    model = tiny_model(ema_momentum=0.5, ema_schedule="constant")
    optimizer = sgd(model)
    for step in range(3):
        optimizer.zero_grad()
        backward(model, seed=step)
        optimizer.step()
        expected = [
            0.5 * mine + 0.5 * online
            for mine, online in zip(
                weights(model.target_encoder), weights(model.context_encoder), strict=True
            )
        ]
        assert model.update_target(step) == 0.5
        assert steps(model) == step + 1
        model(clips(), meters=False)
        for mine, theirs in zip(expected, weights(model.target_encoder), strict=True):
            torch.testing.assert_close(mine, theirs)


def test_the_explicit_update_counts_steps_by_itself_or_as_told() -> None:
    model = tiny_model(ema_momentum=0.5, ema_momentum_end=0.9, ema_steps=10)
    taus = [model.update_target() for _ in range(3)]
    assert taus == [
        momentum_at(step, 10, start=0.5, end=0.9, schedule="cosine") for step in range(3)
    ]
    assert model.update_target(7) == momentum_at(7, 10, start=0.5, end=0.9, schedule="cosine")
    assert steps(model) == 8


def other_tiny_state() -> dict[str, torch.Tensor]:
    return tiny_model(seed=1).state_dict()


@pytest.mark.parametrize(
    ("name", "handle"),
    [
        ("load_state_dict", lambda m: m.load_state_dict(other_tiny_state()) and m),
        ("assigning load", lambda m: m.load_state_dict(other_tiny_state(), assign=True) and m),
        ("to a type", lambda m: m.to(torch.float64).float()),
        ("rounded", lambda m: m.bfloat16().float()),
        ("to a device", lambda m: m.to("cpu")),
        ("deepcopy", copy.deepcopy),
        ("pickle", lambda m: pickle.loads(pickle.dumps(m))),
        ("train and eval", lambda m: m.eval().train()),
        ("checkpointing", lambda m: m.enable_gradient_checkpointing() or m),
    ],
)
def test_handling_a_model_is_not_a_step(
    name: str, handle: Callable[[VJEPAModel], VJEPAModel]
) -> None:
    model = tiny_model()
    optimizer = sgd(model)
    backward(model)
    optimizer.step()
    model.update_target()
    model = handle(model)
    counted, target = steps(model), weights(model.target_encoder)
    backward(model)
    assert steps(model) == counted
    assert same(target, weights(model.target_encoder))
    # And what comes after is watched.
    sgd(model).step()
    backward(model)
    assert steps(model) == counted + 1


def test_a_moved_or_copied_models_target_keeps_following() -> None:
    model = copy.deepcopy(tiny_model()).to(torch.float64)
    optimizer = sgd(model)
    for step in range(3):
        loss, _ = model(clips().double(), meters=False)
        assert steps(model) == step
        loss.backward()
        optimizer.step()


def test_frozen_predictor_training_still_counts() -> None:
    """Training part of the context encoder is enough."""
    model = tiny_model().requires_grad_(False)
    model.context_encoder.stack.spatial[0].mlp.requires_grad_(True)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    backward(model)
    optimizer.step()
    backward(model)
    assert steps(model) == 1


def test_an_optimizer_of_the_predictor_alone_does_not_count() -> None:
    model = tiny_model()
    optimizer = torch.optim.SGD(model.predictor.parameters(), lr=0.1)
    backward(model)
    optimizer.step()
    backward(model)
    assert steps(model) == 0


def test_the_step_count_is_saved_with_the_model() -> None:
    model = tiny_model(ema_steps=10)
    for _ in range(4):
        model.update_target()
    fresh = VJEPAModel({**TINY, "ema_steps": 10})
    fresh.load_state_dict(model.state_dict())
    assert fresh.update_target() == model.update_target()
