"""How large and how long: pure choices on made-up costs."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_facts import BASE, CPU, catalog_of, facts, load_cost, planned, step_cost, videos

from nexus.config import parse_overrides
from nexus.errors import ConfigError, DataError
from nexus.fitting.choice import (
    FEWER,
    climb,
    length_settings,
    pick,
    schedule_settings,
)
from nexus.fitting.cost import LoadCost, Machine, StepCost
from nexus.fitting.facts import given_value
from nexus.fitting.loading import choose_loading
from nexus.fitting.plan import Planner
from nexus.fitting.sizes import LADDER, START, heads_for, settings_of
from nexus.training.recipe import load_recipe


@given(facts=facts, minutes=st.floats(0.5, 600), speed=st.floats(0.05, 500))
@settings(max_examples=25)
def test_a_plan_is_within_its_budget_and_more_time_is_used(facts, minutes, speed):
    try:
        plans = [planned(facts, minutes=m, speed=speed) for m in (minutes, 3 * minutes)]
    except (DataError, ConfigError):
        return
    used = []
    for plan, given_minutes in zip(plans, (minutes, 3 * minutes), strict=True):
        cost = step_cost(plan.recipe, speed)
        used.append(plan.recipe.training.steps * cost.seconds)
        assert used[-1] <= 60 * given_minutes
    assert used[1] >= used[0] - cost.seconds


@pytest.mark.parametrize(
    "override",
    [
        "model.img_size=32",
        "model.img_size=[48,80]",
        "model.patch_size=8",
        "model.num_frames=6",
        "model.encoder_dim=60",
        "model.size=tiny",
        "model.num_temporal_layers=2",
        "model.ema_momentum=0.99",
        "model.mask=tube",
        "data.clip.fps=5",
        "data.clip.stride=2",
        "data.clip.short_side=77",
        "data.clip.pad=repeat_last",
        "data.cache.kind=none",
        "data.num_workers=1",
        "data.augment.flip=0.25",
        "optim.lr=0.01",
        "optim.warmup_steps=7",
        "training.batch_size=6",
        "training.accumulation=3",
        "training.steps=123",
        "training.log_every=3",
        "training.checkpoint_every=11",
        "training.precision=bf16",
    ],
)
def test_what_is_given_always_wins(override):
    key, _, _ = override.partition("=")
    asked = parse_overrides([override])
    recipe = planned(videos(10.0), override).recipe.to_mapping()
    if key == "model.size":
        assert (recipe["model"]["encoder_dim"], recipe["model"]["num_heads"]) == (192, 3)
        return
    value, expected = given_value(recipe, key), given_value(asked, key)
    assert value == ([expected] * 2 if key.endswith("img_size") and value != expected and
                     isinstance(value, list) else expected)  # fmt: skip


def test_nothing_is_tried_that_was_not_asked_for():
    tried = []

    def step(recipe, limit):
        assert 60 * 20 * 0.9 < limit * load_recipe(BASE).training.steps < 60 * 20 / FEWER
        tried.append(recipe)
        return step_cost(recipe)

    given = parse_overrides(["model.img_size=32", "training.batch_size=8"])
    planner = Planner(BASE, given, 20.0, step=step, load=load_cost, machine=CPU)
    planner.plan(catalog_of(videos(10.0)), videos(10.0).movement)
    assert {(recipe.model.img_size, recipe.training.batch_size) for recipe in tried} == {(32, 8)}
    assert len({recipe.model_dump_json() for recipe in tried}) == len(tried)


def test_a_faster_machine_gets_a_larger_run_by_the_same_road():
    gpu = Machine(cores=16, device="cuda", memory=100_000_000_000, has_bf16=True)
    laptop, server = (
        planned(videos(10.0)),
        planned(videos(10.0, side=1080), speed=3000, machine=gpu),
    )
    small, large, own = laptop.recipe, server.recipe, load_recipe(BASE)
    assert (small.training.precision, large.training.precision) == ("fp32", "bf16")
    for group, key, times in (
        ("model", "img_size", 3.5), ("model", "encoder_dim", 6), ("training", "batch_size", 2),
    ):  # fmt: skip
        base = own.to_mapping()[group][key]
        assert small.to_mapping()[group][key] == base
        assert large.to_mapping()[group][key] >= times * base
    assert large.optim.lr < small.optim.lr


def test_small_pictures_are_not_made_larger():
    for side in (20, 32, 48, 100):
        plan = planned(videos(10.0, side=side))
        assert plan.recipe.model.img_size <= side
        assert plan.recipe.data.clip.short_side in (None, plan.recipe.model.img_size)


@given(
    rung=st.sampled_from(LADDER),
    side=st.integers(8, 2000),
    size=st.none() | st.sampled_from([16, 40, 224, (64, 112)]),
    patch=st.none() | st.sampled_from([2, 14, 16]),
    dim=st.none() | st.integers(6, 600),
)
def test_every_rung_is_a_model(rung, side, size, patch, dim):
    given_keys = {"img_size": size, "patch_size": patch, "encoder_dim": dim}
    asked = {"model": {key: value for key, value in given_keys.items() if value}}
    own = settings_of(rung, load_recipe(BASE), asked, side=side)["model"]
    made, p = own["img_size"], own["patch_size"]
    sides = made if isinstance(made, tuple) else (made, made)
    if not (size and patch):
        assert not any(one % p for one in sides)
    for width, heads in (("encoder_dim", "num_heads"), ("predictor_dim", "predictor_heads")):
        assert own[width] % own[heads] == 0
    if not (size or patch) and side >= 8:
        assert made <= max(side, 8)


def test_the_rung_of_the_base_is_the_base():
    base = load_recipe(BASE)
    made, own = settings_of(LADDER[START], base, {}, side=1000), base.to_mapping()
    for group in ("model", "training"):
        kept = {key: own[group][key] for key in made[group]}
        assert made[group] == kept


def test_heads_divide_a_width():
    assert [heads_for(dim, 4) for dim in (96, 128, 60, 7)] == [4, 4, 5, 1]


@given(
    costs=st.lists(st.floats(0.001, 100), min_size=1, max_size=9),
    start=st.integers(0, 8),
    budget=st.floats(1, 10_000),
    refused=st.integers(0, 12),
)
def test_climbing_finds_the_largest_that_fits(costs, start, budget, refused):
    costs, start = sorted(costs), min(start, len(costs) - 1)
    steps = [int(budget / cost) for cost in costs]

    def attempt(rung):
        there = SimpleNamespace(steps=steps[rung], fits=steps[rung] >= 50)
        return None if rung >= refused else there

    chosen = pick(climb(len(costs), start, attempt))
    fitting = [n for n, s in enumerate(steps) if s >= 50 and n < refused]
    if fitting:
        assert chosen is not None and chosen.steps == steps[max(fitting)]
    elif refused == 0:
        assert chosen is None
    else:
        assert chosen is not None and chosen.steps == max(steps)


@given(steps=st.integers(1, 300_000))
def test_a_run_is_logged_and_saved_often_enough(steps):
    base = load_recipe(BASE)
    made = length_settings(base, steps)
    rows = steps / made["training"]["log_every"]
    assert rows <= 100 and (rows >= 45 or steps < 100)
    saved = steps / made["training"]["checkpoint_every"]
    assert saved <= 10 and (saved > 4.5 or steps < 10)
    share = base.optim.warmup_steps / base.training.steps
    assert made["optim"]["warmup_steps"] == pytest.approx(max(1, share * steps), abs=0.5)
    momenta = schedule_settings(base, base, steps)["model"]
    assert 0.9 <= momenta["ema_momentum"] <= momenta["ema_momentum_end"] < 1


def test_schedules_of_the_base_itself_come_out_as_they_are():
    base = load_recipe(BASE)
    made = schedule_settings(base, base, base.training.steps)
    assert made["optim"]["lr"] == base.optim.lr
    assert made["model"]["ema_momentum"] == pytest.approx(base.model.to_mapping()["ema_momentum"])
    own = base.to_mapping()
    width, batch = 2 * own["model"]["encoder_dim"], 4 * own["training"]["batch_size"]
    wider = load_recipe(BASE, [f"model.encoder_dim={width}", f"training.batch_size={batch}"])
    made = schedule_settings(base, wider, 2 * base.training.steps)
    assert made["optim"]["lr"] == base.optim.lr  # half for the width, twice for the batch
    horizons = [1 / (1 - one["ema_momentum"]) for one in (made["model"], base.model.to_mapping())]
    assert horizons[0] == pytest.approx(2 * horizons[1], rel=1e-3)


def test_how_clips_are_loaded():
    def way(load, cores=8, seconds=1000.0, memory=8e9, step=0.1, **asked):
        machine = Machine(cores, "cpu", int(memory))
        given_keys = {"data": asked}
        return choose_loading(
            StepCost(step, threads=1), load, machine, given_keys, clips=32, seconds=seconds
        )

    slow = LoadCost(clip=0.05, kept_clip=0.001, frame=0.005, frames=20_000, kept_bytes=10**9)
    assert way(slow).cache == "memory" and way(slow).gigabytes == pytest.approx(1.1)
    assert way(slow, memory=1.5e9).cache == "none"
    assert way(slow, memory=1.5e9).workers == 7
    assert way(slow, seconds=10.0).cache == "none"  # decoding all of them would take longer
    assert way(slow, cores=1).workers == 0
    fast = LoadCost(clip=1e-5, kept_clip=1e-5, frame=1e-6, frames=20_000, kept_bytes=10**9)
    assert way(fast).workers == 0
    assert way(slow, num_workers=2, cache={"kind": "none"}).step == pytest.approx(0.8)
    assert way(slow, num_workers=0, cache={"kind": "none"}).step == pytest.approx(1.7)
    assert way(slow, num_workers=20, cache={"kind": "none"}).step == pytest.approx(0.1)


def test_too_little_time_for_one_step_is_an_error():
    with pytest.raises(ConfigError, match="not even one step fits into 0.06 seconds"):
        planned(videos(10.0), minutes=0.001)
    for minutes in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="minutes"):
            planned(videos(10.0), minutes=minutes)


def test_too_large_for_the_memory_is_an_error():
    planner = Planner(BASE, {}, 20.0, step=lambda *_: None, load=load_cost, machine=CPU)
    with pytest.raises(ConfigError, match="memory"):
        planner.plan(catalog_of(videos(10.0)), videos(10.0).movement)


def test_enough_steps_of_the_size_that_is_chosen():
    own = load_recipe(BASE)
    plans = [planned(videos(10.0), speed=speed) for speed in (0.1, 0.3, 1, 3, 10, 30)]
    widths = [plan.recipe.model.to_mapping()["encoder_dim"] for plan in plans]
    assert widths == sorted(widths) and widths[0] < own.model.to_mapping()["encoder_dim"]
    for plan in plans[2:]:
        assert plan.recipe.training.steps >= FEWER * own.training.steps
    long = planned(videos(10.0), "training.steps=9000", speed=3)
    assert long.recipe.model.to_mapping()["encoder_dim"] < widths[3]
