"""Bounds hold to the last bit, whatever statistics and bounds there are."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nexus.errors import PlanningError
from nexus.planning import CEM, ICEM, MPPI, ActionSpace, Gradient, Plan, Planner, RandomShooting

PLANNERS: list[Planner] = [
    CEM(candidates=12, iterations=2, elites=4),
    ICEM(candidates=12, iterations=2, elites=4),
    MPPI(candidates=12, iterations=2, elites=4),
    RandomShooting(candidates=12),
    Gradient(starts=4, iterations=2, lr=3.0),
    CEM(candidates=12, iterations=2, elites=4, returns="mean"),
]
NUMBER = st.floats(-1e3, 1e3, allow_subnormal=False)
DIMENSION = st.tuples(NUMBER, st.floats(1e-3, 1e3), NUMBER, st.floats(1e-4, 1e2), st.booleans())


@settings(max_examples=60, deadline=None)
@given(
    dimensions=st.lists(DIMENSION, min_size=1, max_size=4),
    planner=st.sampled_from(PLANNERS),
    horizon=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_no_candidate_and_no_action_leaves_the_bounds(
    dimensions: list[tuple[float, float, float, float, bool]],
    planner: Planner,
    horizon: int,
    seed: int,
) -> None:
    """Bounds far from where the actions lay, statistics of another scale, binary dimensions."""
    lows, sizes, means, stds, two = (np.array(column) for column in zip(*dimensions, strict=True))
    highs = lows + sizes
    space = ActionSpace.with_statistics(means, stds, lows, highs, binary=np.flatnonzero(two))
    seen: list[Tensor] = []

    def cost(actions: Tensor) -> Tensor:
        seen.append(actions.detach())
        return (actions * torch.arange(1.0, horizon + 1)[:, None]).sum(dim=(2, 3))

    plan = planner.plan(cost, space, horizon=horizon, seeds=[seed, seed + 1])
    again = planner.plan(cost, space, horizon=horizon, seeds=[seed], start=part(plan.after(1), 0))
    for actions in (*seen, plan.actions, plan.kept, again.actions, again.kept):
        inside = actions.double().numpy()
        assert np.all(inside >= lows) and np.all(inside <= highs)
        for place in np.flatnonzero(two):
            assert set(inside[..., place].flat) <= {
                float(space.low[place]),
                float(space.high[place]),
            }


def part(plan: Plan, environment: int) -> Plan:
    """The plan of one environment."""
    place = slice(environment, environment + 1)
    return Plan(plan.actions[place], plan.cost[place], plan.kept[place], 0, 0, 0.0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"mean": [0.0], "std": [1.0, 1.0]}, "one number a dimension"),
        ({"mean": [0.0], "std": [0.0]}, "std must be positive"),
        ({"mean": [np.nan], "std": [1.0]}, "mean must be finite"),
        ({"mean": [0.0, 0.0], "std": [1.0, 1.0], "low": [0, 1], "high": [1, 1]}, "dimension 1 has"),
        ({"mean": [0.0], "std": [1.0], "binary": [0]}, "binary dimensions need bounds"),
        ({"mean": [0.0], "std": [1.0], "low": [0], "high": [1], "binary": [2]}, "the action has 1"),
        ({"mean": [[0.0]], "std": [[1.0]]}, "expected one number a dimension"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(arguments: dict, says: str) -> None:
    with pytest.raises(PlanningError, match=says):
        ActionSpace.with_statistics(**arguments)


def test_units_and_actions_are_each_other_s_inverse() -> None:
    space = ActionSpace.with_statistics([0.2, 0.5], [0.1, 3.0], [-1, 0], [1, 1], binary=[1])
    actions = torch.tensor([[-0.9, 1.0], [0.4, 0.0]])
    assert torch.allclose(space.actions(space.units(actions)), actions)
    assert space.units(torch.tensor([5.0, 0.9])).tolist() == pytest.approx([8.0, 1.0])
    assert space.unit_mean.tolist() == pytest.approx([0.0, 0.5])


def test_without_bounds_the_optimum_may_lie_anywhere() -> None:
    def cost(actions: Tensor) -> Tensor:
        return ((actions - 30.0) ** 2).sum(dim=(2, 3))

    space = ActionSpace.with_statistics([0.0], [10.0])
    plan = CEM(std_floor=0.001, iterations=25).plan(cost, space, horizon=2, seeds=[0])
    assert plan.actions.flatten().tolist() == pytest.approx([30.0, 30.0], abs=0.1)
    with pytest.raises(PlanningError, match="needs statistics"):
        ActionSpace.within([-np.inf], [np.inf])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"horizon": 0, "seeds": [0]}, "horizon 0"),
        ({"horizon": 2, "seeds": []}, "0 seeds"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(
    given: dict[str, Sequence[int]], says: str
) -> None:
    space = ActionSpace.within([-1.0], [1.0])
    with pytest.raises(PlanningError, match=says):
        CEM().plan(lambda actions: actions.sum(dim=(2, 3)), space, **given)  # type: ignore


def test_a_start_of_another_horizon_and_noise_of_another_width_are_refused() -> None:
    def cost(actions: Tensor) -> Tensor:
        return actions.sum(dim=(2, 3))

    space = ActionSpace.within([-1.0], [1.0])
    plan = CEM().plan(cost, space, horizon=3, seeds=[0])
    with pytest.raises(PlanningError, match=r"actions \(1, 3, 1\); expected \(1, 2, 1\)"):
        CEM().plan(cost, space, horizon=2, seeds=[0], start=plan)
    with pytest.raises(PlanningError, match="std has 2 numbers, the action 1 dimensions"):
        CEM(std=(1.0, 2.0)).plan(cost, space, horizon=2, seeds=[0])
