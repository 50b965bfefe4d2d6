"""`benchmarks/planning.py`: plain readings equal the model, FLOPs are all counted, it runs."""

import argparse
from pathlib import Path

import planning
import planning_report
import pytest
import torch
from oracles.world import robot, slow_rollout, world
from plain_planning import PlainCost

from nexus.control.goal_cost import CostConfig, GoalCost, WorldGoal
from nexus.control.pieces import InPieces
from nexus.planning import CEM, ActionSpace

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "planning.py"
VIT = {"kind": "vit", "patch_size": 4, "dim": 12, "depth": 1, "heads": 2}
PATCHES = {"kind": "patches", "patch_size": 8, "dim": 12, "hidden": 16, "patch_dim": 8}


def model_of(kind, window=3):
    predictor = {"kind": kind, "width": 24, "depth": 3, "heads": 2, "window": window}
    settings = {"latent_norm": "layer"} if kind == "interleaved" else {}
    encoder = VIT if kind == "interleaved" else PATCHES
    model = world(robots=(robot(),), predictor=predictor, encoder=encoder, **settings).eval()
    with torch.no_grad():
        for parameter in model.predictor.parameters():
            if parameter.ndim == 2:
                parameter.normal_(std=1 / parameter.shape[1] ** 0.5)
    return model


def given(model):
    draw = torch.Generator().manual_seed(2)
    tokens, dim = model.config.latent_shape
    now, goal = torch.randn(2, 1, tokens, dim, generator=draw)
    state = torch.randn(1, 3, generator=draw)
    return now, state, goal, (torch.tensor([0.1, 0.0]), torch.tensor([0.5, 1.0]))


def both(model, window=None):
    now, state, goal, scale = given(model)
    here = model.begin(now[:, None], torch.zeros(1, 0, 2), state[:, None])
    config = CostConfig(distance="l1", over="end")
    ours = GoalCost(model, here, WorldGoal(goal), config, scale)
    return PlainCost(model, now, state, goal, scale, window), ours


@pytest.mark.parametrize("kind", ["interleaved", "adaln"])
@pytest.mark.parametrize("horizon", [1, 2, 5])
@torch.no_grad()
def test_a_plain_reading_says_what_the_model_says(kind, horizon):
    model = model_of(kind)
    plain, ours = both(model)
    actions = 2 * torch.rand(1, 6, horizon, 2, generator=torch.Generator().manual_seed(0)) - 1
    costs = plain(actions)
    assert costs.std() > 1e-3, "actions matter"
    torch.testing.assert_close(costs, ours(actions), rtol=1e-5, atol=0.0)
    torch.testing.assert_close(costs, InPieces(ours, 2, 2)(actions), rtol=1e-5, atol=0.0)
    now, state, goal, scale = given(model)
    done = (actions[0] - scale[0]) / scale[1]
    frames, states = (x[:, None].expand(6, -1, *x.shape[1:]) for x in (now, state))
    latents, _ = slow_rollout(model, frames, done, states, context=1)
    expected = (latents[:, -1] - goal).abs().mean(dim=(1, 2))
    torch.testing.assert_close(costs[0], expected, rtol=1e-5, atol=0.0)


@torch.no_grad()
def test_a_window_worked_out_again_is_another_function_once_it_slides():
    model = model_of("adaln")
    plain, ours = both(model, window=3)
    actions = 2 * torch.rand(1, 6, 5, 2, generator=torch.Generator().manual_seed(0)) - 1
    torch.testing.assert_close(plain(actions[:, :, :3]), ours(actions[:, :, :3]))
    assert float((plain(actions) - ours(actions)).abs().max()) > 1e-4


@torch.no_grad()
def test_both_lead_a_search_to_the_same_plan():
    plain, ours = both(model_of("interleaved"))
    space, planner = ActionSpace.within([-1, -1], [1, 1]), CEM(candidates=40, elites=5)
    found = [planner.plan(one, space, horizon=2, seeds=[0]) for one in (plain, ours)]
    torch.testing.assert_close(found[0].actions, found[1].actions, rtol=0.0, atol=1e-4)


@torch.no_grad()
def test_flops_are_those_of_all_products():
    model = model_of("interleaved").requires_grad_(False)
    plain, ours = both(model)
    width, tokens, dim, depth, rows = 24, 16, 12, 3, 5

    def called(frames, queries, keys, embedded=1, first=1):
        """Multiplications of a call for one candidate: conditions, tokens in and out, blocks."""
        conditions = frames * (2 + 3 * (1 + 2 * 4)) * width  # 4 octaves of 2 waves a number
        ends = frames * tokens * (embedded + 1) * dim * width
        linear = frames * ((tokens + 2) * depth * 8 - 3 * tokens * (1 - first)) * width**2
        return conditions + ends + linear + depth * 2 * queries * keys * width + 3 * width

    actions, step = torch.zeros(1, rows, 2, 2), tokens + 2
    again = called(1, step, step) + called(2, 2 * step, 2 * step)
    assert planning.flops_of(plain, actions) == 2 * rows * again
    share = 1 / rows  # of the first frame's embedding and first products
    cached = called(1, step, step, embedded=share, first=share) + called(1, step, 2 * step)
    assert planning.flops_of(ours, actions) == pytest.approx(2 * rows * cached)


def test_costs_that_differ_stop_the_comparison():
    base = torch.tensor([[1.0, 2.0]])
    assert planning.compared("plain", base * (1 + 5e-5), base) == pytest.approx(5e-5, rel=0.01)
    assert planning.compared("window again", base * 2, base) is None
    for wrong in (base * 1.001, base * float("nan")):
        with pytest.raises(SystemExit, match="differ"):
            planning.compared("plain", wrong, base)


def test_arms_take_turns():
    asked = []
    arms = {name: (lambda actions, name=name: asked.append(name)) for name in ("plain", "nexus")}
    options = argparse.Namespace(rounds=2, device="cpu")
    seconds, processor = planning.in_turns(arms, torch.zeros(1), options)
    assert asked == ["plain", "nexus", "nexus", "plain"]
    assert [len(one) for one in seconds.values()] == [2, 2]
    assert [len(one) for one in processor.values()] == [2, 2]


def test_the_tables_hold_the_figures():
    shape = {"search": "S", "horizon": 2, "candidates": 8, "iterations": 3, "spread": 0.02}
    plain = {**shape, "arm": "plain", "seconds": [6.0, 8.0], "flops": 4e12, "apart": 2e-7}
    plain["processor"] = [5.0, 5.0]
    own = {**shape, "arm": "nexus", "seconds": [2.0, 2.0], "flops": 2e12, "apart": 0.0}
    own["processor"] = [1.0, 2.0]
    late = {
        "calls": 3,
        "valid": 3,
        "in_time": 2,
        "seconds": [0.1, 0.2, 0.3],
        "judged": [8, 40, 50],
    }
    machine = {"gpu": None, "cpu": "C", "threads": 1, "torch": "2", "date": "d", "load_before": 0}
    result = {"machine": machine, "gemm": 4e12, "rows": [plain, own], "deadline": late}
    text = planning_report.report(result)
    assert (
        "| S, 8 x 3, 2 ahead | plain | 7 (6-8) | 3.50 (3.00-4.00) | 3.75 (2.50-5.00) | 4,000 |"
        in text
    )
    assert "| 4,000 | 2.00 | 14% | 2e-07 |" in text
    assert "| S, 8 x 3, 2 ahead | nexus | 2 (2-2) |  |  | 2,000 |  | 25% |  |" in text
    assert "3 of 3 plans valid, 2 within 220 ms; median 200 ms, longest 300 ms; 40 " in text
    assert "S, 2 ahead: 2.0e-02" in text


@pytest.mark.slow
def test_quick(quick) -> None:
    result, _ = quick(SCRIPT)
    arms = {(row["search"], row["horizon"], row["arm"]) for row in result["rows"]}
    assert ("published", 2, "plain") in arms and ("one token", 5, "window again") in arms
    flops = {(row["search"], row["horizon"], row["arm"]): row["flops"] for row in result["rows"]}
    assert flops["one token", 5, "window again"] > 1.8 * flops["one token", 5, "nexus"]
    assert result["deadline"]["valid"] == result["deadline"]["calls"] == 3
