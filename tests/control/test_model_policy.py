import numpy as np
import pytest
import torch
from oracles.world import robot, world

from nexus.control.goal_cost import CostConfig, GoalCost, WorldGoal
from nexus.control.model_policy import ModelPolicy, PlanningConfig, action_space
from nexus.envs import TableEnv
from nexus.errors import PlanningError

SEARCH = {"kind": "icem", "candidates": 12, "iterations": 2, "elites": 4}
PLANNING = PlanningConfig(planner=SEARCH, horizon=3)


def table_model(**settings):
    return world(robots=(robot(2, 2, **settings.pop("robot", {})),), **settings).eval()


def played(model, seeds, steps=4, **cost):
    policy = ModelPolicy(model, name="p", cost=CostConfig(**cost), planning=PLANNING)
    envs = [TableEnv("push") for _ in seeds]
    seen = [env.reset(seed=seed)[0] for env, seed in zip(envs, seeds, strict=True)]
    policy.begin(seen, [e.goal(s) for e, s in zip(envs, seeds, strict=True)], seeds)
    actions = []
    for _ in range(steps):
        done = policy.act(seen, [env.get_state() for env in envs])
        seen = [env.step(action)[0] for env, action in zip(envs, done, strict=True)]
        actions.append(done)
    return np.stack(actions, axis=1)


def slow_terms(model, here, goal, actions, scale):
    """One candidate at a time, one step at a time."""
    terms = torch.zeros(*actions.shape[:2], 3)
    for row, candidate in np.ndindex(*actions.shape[:2]):
        latents, states, past = (each[row : row + 1] for each in here)
        state = model.begin(latents, past, states)
        for step in range(actions.shape[2]):
            action = (actions[row, candidate, step][None] - scale[0]) / scale[1]
            state = model.step(state, action)
            slow = model.config.slow_dim
            there = goal.latents[row]
            terms[row, candidate, 0] += (state.latent[0] - there).square().mean()
            apart = state.latent[0][:, :slow] - there[:, :slow]
            terms[row, candidate, 1] += apart.square().mean()
            terms[row, candidate, 2] += (state.state[0] - goal.states[row]).square().mean()
    return terms


def test_terms_of_the_cost_are_what_they_say():
    model = table_model(slow_dim=4)
    draw = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 2, 1, 12, generator=draw)
    states, past = torch.randn(2, 2, 2, generator=draw), torch.randn(2, 1, 2, generator=draw)
    goal = WorldGoal(torch.randn(2, 1, 12, generator=draw), torch.randn(2, 2, generator=draw))
    actions = torch.rand(2, 5, 3, 2, generator=draw)
    scale = torch.tensor([0.2, -0.1]), torch.tensor([0.5, 2.0])
    config = CostConfig(picture=0.7, things=2.0, proprioception=0.3)
    with torch.no_grad():
        cost = GoalCost(model, model.begin(latents, past, states), goal, config, scale)
        expected = slow_terms(model, (latents, states, past), goal, actions, scale)
        torch.testing.assert_close(cost.terms(actions), expected, atol=1e-4, rtol=1e-4)
        weights = torch.tensor([0.7, 2.0, 0.3])
        torch.testing.assert_close(
            cost(actions), (expected * weights).sum(-1), atol=1e-4, rtol=1e-4
        )


def test_an_environment_alone_and_among_others_gets_the_same_actions():
    model = table_model()
    together = played(model, [3, 4, 5], picture=1.0)
    alone = played(model, [4], picture=1.0)
    np.testing.assert_allclose(together[1], alone[0], atol=1e-5)
    assert np.array_equal(played(model, [3, 4, 5], picture=1.0), together)


def test_bounds_are_never_left():
    model = table_model(robot={"std": 3.0, "mean": 0.5})
    assert np.abs(played(model, [1, 2], picture=1.0)).max() <= 1.0


def test_a_block_is_executed_step_by_step():
    model = table_model(robot={"block": 2})
    policy = ModelPolicy(model, name="p", cost=CostConfig(), planning=PLANNING)
    env = TableEnv("reach")
    seen, _ = env.reset(seed=0)
    policy.begin([seen], [env.goal(0)], [0])
    first, second = policy.act([seen], []), policy.act([seen], [])
    assert policy.space.low.shape == (4,)
    assert np.array_equal(np.concatenate([first, second], axis=1), policy._plan.actions[:, 0])
    assert len(policy._latents) == 1  # what is seen within a block is not planned from


def test_proprioception_alone_looks_at_no_picture():
    model = table_model()
    policy = ModelPolicy(
        model, name="p", cost=CostConfig(picture=0.0, proprioception=1.0), planning=PLANNING
    )
    env = TableEnv("reach")
    seen, _ = env.reset(seed=0)
    goal = env.goal(0)
    other = type(goal)(goal.state, np.zeros_like(goal.pixels), goal.proprioception)
    plans = []
    for one in (goal, other):
        policy.begin([seen], [one], [0])
        plans.append(policy.act([seen], []))
    assert np.array_equal(*plans)


def test_things_need_a_model_that_tells_them():
    with pytest.raises(PlanningError, match="slow_dim"):
        played(table_model(), [0], things=1.0)


def test_an_environment_that_tells_something_else_of_itself_is_refused():
    model = world(robots=(robot(2, 3),)).eval()
    with pytest.raises(PlanningError, match="2 numbers, the state of robot 'arm' 3"):
        played(model, [0])


def test_a_gripper_is_one_of_its_two_values():
    from nexus.data.episodes.schema import Schema

    one = robot(2, 2)
    dims = [{"name": "a0", "low": -1, "high": 1}]
    dims += [{"name": "a1", "low": -1, "high": 1, "gripper": "binary"}]
    grip = one.with_changes(action=Schema.from_mapping({"dimensions": dims, "rate": 10}), block=2)
    assert action_space(grip).binary.tolist() == [False, True, False, True]
