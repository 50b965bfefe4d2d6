"""Weights of patches: against a slow loop, and in a world where it is known what is what."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from oracles.world import robot, world

from nexus.control.choosing import told
from nexus.control.goal_cost import CostConfig, GoalCost, WorldGoal
from nexus.errors import PlanningError
from nexus.models.worlds.world import WorldState
from nexus.nn.causal import Memory

VIT = {"kind": "vit", "patch_size": 8, "dim": 12, "depth": 1, "heads": 2}
SCALE = torch.tensor([0.2, -0.1]), torch.tensor([0.5, 2.0])


def spread_of(model, latents, states):
    """How far each patch of one environment spreads over the small actions, one at a time."""
    after = []
    for dimension, sign in ((0, 1.0), (1, 1.0), (0, -1.0), (1, -1.0)):
        action = torch.zeros(1, 2)
        action[0, dimension] = sign
        state = model.begin(latents, torch.zeros(1, 0, 2), states)
        after.append(model.step(state, action).latent[0])
    mean = sum(after) / 4
    spread = sum((one - mean).square() for one in after).mean(dim=-1) / 4
    return spread / spread.max()


def slow_weights(model, now, states, goal, kind):
    weights = (now[0, 0] - goal.latents[0]).square().mean(dim=-1)
    if kind == "changed_not_robot":
        here = spread_of(model, now, states)
        there = spread_of(
            model, goal.latents[:, None], None if goal.states is None else goal.states[:, None]
        )
        for patch in range(len(weights)):
            weights[patch] *= 1 - max(here[patch], there[patch])
    return weights / weights.mean()


@pytest.mark.parametrize("kind", ["changed", "changed_not_robot"])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_patches_count_as_a_slow_loop_says(kind, known, distance):
    model = world(robots=(robot(2, 2),), encoder=VIT, slow_dim=5).eval()
    draw = torch.Generator().manual_seed(0)
    now, states = torch.randn(2, 1, 4, 12, generator=draw), torch.randn(2, 1, 2, generator=draw)
    goals = [
        WorldGoal(
            torch.randn(2, 4, 12, generator=draw),
            torch.randn(2, 2, generator=draw) if known else None,
        )
        for _ in range(2)
    ]
    actions = torch.rand(2, 3, 3, 2, generator=draw)
    config = CostConfig(picture=0.7, things=0.3, patches=kind, distance=distance)
    with torch.no_grad():
        cost = GoalCost(model, model.begin(now, actions[:, 0, :0], states), goals, config, SCALE)
        terms = cost.terms(actions)
        for row, candidate in np.ndindex(2, 3):
            one, expected = slice(row, row + 1), torch.zeros(2)
            state = model.begin(now[one], actions[one, 0, :0], states[one])
            for step in range(3):
                state = model.step(state, (actions[one, candidate, step] - SCALE[0]) / SCALE[1])
                whole = goals[min(step, 1)]
                goal = WorldGoal(whole.latents[one], whole.states[one] if known else None)
                weights = slow_weights(model, now[one], states[one], goal, kind)
                for patch in range(4):
                    away = (state.latent[0, patch] - goal.latents[0, patch]).abs()
                    away = away.square() if distance == "l2" else away
                    expected[0] += weights[patch] * away.mean() / 4
                    expected[1] += weights[patch] * away[:5].mean() / 4
            torch.testing.assert_close(terms[row, candidate, :2], expected, atol=1e-4, rtol=1e-4)


class Strip:
    """Four patches in a row: one holds the robot, which the action moves, one a thing."""

    config = SimpleNamespace(slow_dim=0)

    def begin(self, latents, actions, states, robot=0):
        return WorldState(latents[:, -1], None, Memory(1))

    def step(self, state, actions):
        """The robot's patch changes by the action; the others stay."""
        moved = state.latent.clone()
        moved[..., 0] += (state.latent[..., 0] > 0) * actions[:, :1]
        return WorldState(moved, None, state.memory)


def strip(robot_at, thing_at):
    latent = torch.zeros(1, 4, 2)
    latent[0, robot_at, 0], latent[0, thing_at, 1] = 5.0, 1.0
    return latent


def weights_of(kind, now, goal):
    model, config = Strip(), CostConfig(patches=kind)
    start = model.begin(now[:, None], torch.zeros(1, 0, 1), None)
    cost = GoalCost(model, start, WorldGoal(goal), config, (torch.zeros(1), torch.ones(1)))
    return cost._weights[0][0].tolist()


def test_the_thing_counts_and_the_robot_does_not():
    now, goal = strip(robot_at=0, thing_at=1), strip(robot_at=3, thing_at=2)
    assert weights_of("changed_not_robot", now, goal) == [0, 2, 2, 0]
    changed = weights_of("changed", now, goal)
    assert changed == pytest.approx([4 * 25 / 52, 4 / 52, 4 / 52, 4 * 25 / 52])
    # Nothing but the robot is to move: there is nothing to weigh by.
    assert weights_of("changed_not_robot", now, strip(3, 1)) == [1, 1, 1, 1]
    assert weights_of("changed", now, now) == [1, 1, 1, 1]


def test_a_token_a_frame_has_no_patches():
    model = world(robots=(robot(2, 2),)).eval()
    start = model.begin(torch.zeros(1, 1, 1, 12), torch.zeros(1, 0, 2), torch.zeros(1, 1, 2))
    goal = WorldGoal(torch.ones(1, 1, 12))
    with pytest.raises(PlanningError, match="one token a frame; train one with model.encoder vit"):
        GoalCost(model, start, goal, CostConfig(patches="changed"), SCALE)
    assert told(CostConfig(patches="changed")) == "picture 1, changed patches"
