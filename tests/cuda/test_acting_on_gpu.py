"""A planner finds on a GPU the actions that it finds on the CPU, for every kind of goal."""

import copy

import numpy as np
import pytest
import torch
from oracles.world import robot, world

from nexus.control.goal_cost import CostConfig
from nexus.control.model_policy import ModelPolicy, PlanningConfig
from nexus.control.world_goals import ClassGoal, ClipGoal, GoalChain, LatentGoal, PictureGoal

pytestmark = pytest.mark.cuda

VIT = {"kind": "vit", "patch_size": 8, "dim": 12, "depth": 1, "heads": 2}
PLANNING = PlanningConfig(
    planner={"kind": "icem", "candidates": 16, "iterations": 2, "elites": 4}, horizon=3
)
DRAW = np.random.default_rng(0)
PICTURES = DRAW.integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
OWN = DRAW.normal(size=(6, 2)).astype(np.float32)
FIRST, SECOND = (PictureGoal(PICTURES[row], OWN[row]) for row in (0, 1))


def probe(latents):
    return latents[:, 0, :3].log_softmax(dim=-1)


@pytest.mark.parametrize(
    ("goal", "cost"),
    [
        (FIRST, {"proprioception": 0.3}),
        (FIRST, {"patches": "changed_not_robot"}),
        (ClipGoal(PICTURES[:3], OWN[:3]), {"proprioception": 0.3, "patches": "changed"}),
        (LatentGoal(torch.ones(4, 12)), {}),
        (ClassGoal(probe, 2), {}),
        (GoalChain([FIRST, SECOND], steps=2), {}),
    ],
)
def test_the_same_actions_follow(device, goal, cost):
    model = world(robots=(robot(2, 2),), encoder=VIT).eval()
    found = []
    for one in (model, copy.deepcopy(model).to(device)):
        policy = ModelPolicy(one, name="p", cost=CostConfig(**cost), planning=PLANNING)
        policy.begin([], [goal], [0])
        seen = [{"pixels": PICTURES[row], "proprioception": OWN[row]} for row in (3, 4, 5)]
        found.append(np.stack([policy.act([one]) for one in seen]))
    np.testing.assert_allclose(found[1], found[0], atol=1e-3)
