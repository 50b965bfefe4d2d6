import threading

import pytest
import torch
from oracles.world import robot, world

from nexus.control.goal_cost import CostConfig, GoalCost, WorldGoal
from nexus.control.pieces import PIECE, InPieces, candidates_at_once
from nexus.planning import CEM, ActionSpace, Gradient


def goal_cost(kind="interleaved", environments=2):
    model = world(
        robots=(robot(),),
        encoder={"kind": "vit", "patch_size": 8, "dim": 12, "depth": 1, "heads": 2},
        predictor={"kind": kind, "width": 24, "depth": 2, "heads": 2, "window": 3},
    ).eval()
    draw = torch.Generator().manual_seed(0)
    seen = torch.randn(environments, 2, 4, 12, generator=draw)
    states = torch.randn(environments, 2, 3, generator=draw)
    goal = WorldGoal(torch.randn(environments, 4, 12, generator=draw), states[:, 0])
    with torch.no_grad():
        here = model.begin(seen, torch.zeros(environments, 1, 2), states)
    scale = torch.zeros(2), torch.ones(2)
    return GoalCost(model, here, goal, CostConfig(proprioception=0.5), scale)


@pytest.mark.parametrize("kind", ["interleaved", "adaln"])
@torch.no_grad()
def test_pieces_cost_what_the_whole_costs(kind):
    cost = goal_cost(kind)
    actions = torch.rand(2, 23, 4, 2, generator=torch.Generator().manual_seed(1))
    whole = cost(actions)
    one, three = (InPieces(cost, 8, threads)(actions) for threads in (1, 3))
    torch.testing.assert_close(one, whole, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(one, three, atol=0.0, rtol=0.0)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_piece_is_so_many_candidates_of_all_environments(threads):
    sizes, on = [], set()

    def cost(actions):
        sizes.append(tuple(actions.shape[:2]))
        on.add(threading.get_ident())
        assert not torch.is_grad_enabled() and torch.get_num_threads() == 1
        return actions.sum(dim=(2, 3))

    actions = torch.arange(2 * 7 * 3.0).reshape(2, 7, 3, 1)
    before = torch.get_num_threads()
    torch.set_num_threads(1 if threads == 1 else 2)
    with torch.no_grad():
        told = InPieces(cost, 5, threads)(actions)
    assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert torch.equal(told, actions.sum(dim=(2, 3)))
    assert sorted(sizes) == [(2, 1), (2, 2), (2, 2), (2, 2)]
    assert (threading.get_ident() in on) == (threads == 1)


def test_few_candidates_are_one_piece_and_an_environment_too_many_still_is_one_candidate():
    sizes = []

    def cost(actions):
        sizes.append(actions.shape[1])
        return actions.sum(dim=(2, 3))

    InPieces(cost, 8, 2)(torch.zeros(2, 4, 1, 1))
    assert sizes == [4]
    InPieces(cost, 2, 1)(torch.zeros(3, 2, 1, 1))
    assert sizes == [4, 1, 1]


def test_what_goes_wrong_in_a_piece_is_raised():
    def cost(actions):
        raise ValueError("no such goal")

    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="no such goal"):
        InPieces(cost, 1, 2)(torch.zeros(1, 3, 1, 1))
    assert torch.get_num_threads() == before


def test_gradients_go_through_the_whole():
    cost = goal_cost()
    space = ActionSpace.within([-1.0, -1.0], [1.0, 1.0])
    planner = Gradient.from_mapping({"starts": 4, "iterations": 3})
    plans = [
        planner.plan(one, space, horizon=3, seeds=[0, 1]).actions
        for one in (cost, InPieces(cost, 2, 2))
    ]
    assert torch.equal(*plans)


@torch.no_grad()
def test_a_search_in_pieces_comes_to_the_same_plan_on_any_number_of_threads():
    cost = goal_cost()
    space = ActionSpace.within([-1.0, -1.0], [1.0, 1.0])
    planner = CEM.from_mapping({"candidates": 40, "iterations": 4, "elites": 5})
    plans = [
        planner.plan(InPieces(cost, 9, threads), space, horizon=3, seeds=[0, 1])
        for threads in (1, 2, 4)
    ]
    for plan in plans[1:]:
        assert torch.equal(plan.actions, plans[0].actions)
        assert torch.equal(plan.cost, plans[0].cost)


def test_a_piece_fills_what_it_may_and_is_never_empty():
    assert candidates_at_once(64, 256) == PIECE // (64 * 256 * 4)
    assert candidates_at_once(10**6, 1024) == 1
