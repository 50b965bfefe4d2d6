"""Planners find optima that are known: bounds that bind, two basins, LQR, a gripper."""

import numpy as np
import pytest
import torch
from scipy.linalg import solve_discrete_are
from scipy.optimize import lsq_linear
from torch import Tensor

from nexus.planning import CEM, ICEM, MPPI, ActionSpace, Gradient, Planner, RandomShooting

SEARCHES: dict[str, Planner] = {
    "cem": CEM(candidates=400, iterations=30, std_floor=0.002),
    "icem": ICEM(candidates=400, elites=50, iterations=40, shrink=1, colour=0, std_floor=0.002),
    "mppi": MPPI(candidates=600, iterations=40, elites=60, temperature=1, std_floor=0.002),
    "gradient": Gradient(iterations=400, lr=0.03),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_the_optimum_of_a_bounded_quadratic_with_bounds_that_bind(name: str) -> None:
    rng = np.random.default_rng(0)
    horizon, width = 3, 2
    mixing = rng.normal(size=(8, horizon * width))
    goal = 4 * rng.normal(size=8)
    low, high = np.array([-0.4, -1.0]), np.array([0.5, 0.2])
    known = lsq_linear(mixing, goal, (np.tile(low, horizon), np.tile(high, horizon)), "bvls")
    assert 2 <= np.sum(known.active_mask != 0) < 6, "some bounds bind, some do not"
    matrix, target = torch.from_numpy(mixing).float(), torch.from_numpy(goal).float()

    def cost(actions: Tensor) -> Tensor:
        return ((actions.flatten(2) @ matrix.T - target) ** 2).sum(dim=2) / 2

    plan = SEARCHES[name].plan(cost, ActionSpace.within(low, high), horizon=horizon, seeds=[3])
    assert float(plan.cost) == pytest.approx(known.cost, rel=2e-3)
    assert plan.actions.flatten().numpy() == pytest.approx(known.x, abs=0.06)
    assert float(cost(plan.actions[:, None])) == pytest.approx(float(plan.cost), rel=1e-5)


@pytest.mark.parametrize("name", SEARCHES)
def test_of_two_basins_the_deeper_one_is_found(name: str) -> None:
    """The shallow basin lies at the middle, where every search begins."""

    def cost(actions: Tensor) -> Tensor:
        at = actions[..., 0].mean(dim=2)
        return torch.minimum(at**2 + 0.1, 4 * (at - 1.6) ** 2)

    space = ActionSpace.within([-2.0], [2.0])
    plan = SEARCHES[name].plan(cost, space, horizon=1, seeds=[0, 1, 2, 3])
    assert plan.cost.tolist() == pytest.approx([0.0] * 4, abs=1e-3)
    assert plan.actions.flatten().tolist() == pytest.approx([1.6] * 4, abs=0.02)


@pytest.mark.parametrize("name", ["cem", "icem", "mppi", "gradient"])
def test_a_double_integrator_is_driven_as_by_lqr(name: str) -> None:
    """Control in a receding horizon costs at most 2 % more than the known optimum."""
    dynamics = torch.tensor([[1.0, 0.2], [0.0, 1.0]])
    push = torch.tensor([0.02, 0.2])
    weight, effort = torch.tensor([1.0, 0.1]), 0.1
    matrices = [dynamics.double().numpy(), push.double().numpy()[:, None]]
    value = solve_discrete_are(*matrices, np.diag(weight.double()), np.array([[effort]]))
    last = torch.from_numpy(value).float()
    first = torch.tensor([1.0, 0.0])

    def step(state: Tensor, force: Tensor) -> Tensor:
        return state @ dynamics.T + force[..., None] * push

    def price(state: Tensor, force: Tensor) -> Tensor:
        return (state**2 * weight).sum(-1) + effort * force**2

    planner = {
        "cem": CEM(candidates=200, iterations=12, elites=20, std_floor=0.01),
        "icem": ICEM(candidates=200, iterations=12, shrink=1.1, std_floor=0.01),
        "mppi": MPPI(candidates=200, iterations=12, elites=30, std_floor=0.01),
        "gradient": Gradient(iterations=60, starts=2, std=0.2),
    }[name]
    space = ActionSpace.with_statistics([0.0], [1.5], [-20.0], [20.0])
    state, spent, plan = first, 0.0, None
    for number in range(30):

        def cost(actions: Tensor, state: Tensor = state) -> Tensor:
            at = state.expand(*actions.shape[:2], 2)
            total = torch.zeros(actions.shape[:2])
            for force in actions[..., 0].unbind(dim=2):
                total = total + price(at, force)
                at = step(at, force)
            return total + torch.einsum("bni,ij,bnj->bn", at, last, at)

        start = None if plan is None else plan.after(1)
        plan = planner.plan(cost, space, horizon=5, seeds=[number], start=start)
        spent += float(price(state, plan.actions[0, 0, 0]))
        state = step(state, plan.actions[0, 0, 0])
    optimum = float(first @ last @ first)
    assert optimum * 0.999 < spent + float(state @ last @ state) < 1.02 * optimum


def test_a_gripper_closes_when_it_pays_and_holds() -> None:
    """Dimension 1 is worth closing from step 4 on; it changes only between blocks of two."""
    worth = torch.tensor([-1.0, -1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0])

    def cost(actions: Tensor) -> Tensor:
        return ((actions[..., 0] - 0.3) ** 2).sum(dim=2) - (actions[..., 1] * worth).sum(dim=2)

    space = ActionSpace.within([-1.0, 0.0], [1.0, 0.04], binary=[1])
    for planner in (CEM(hold=2), ICEM(hold=2), MPPI(hold=2), Gradient(hold=2, starts=64)):
        plan = planner.plan(cost, space, horizon=8, seeds=[1])
        assert plan.actions[0, :, 1].tolist() == pytest.approx([0.0] * 4 + [0.04] * 4)


def test_random_shooting_is_the_floor() -> None:
    def cost(actions: Tensor) -> Tensor:
        return ((actions - 0.7) ** 2).sum(dim=(2, 3))

    space = ActionSpace.within([-1.0, -1.0], [1.0, 1.0])
    floor = RandomShooting().plan(cost, space, horizon=4, seeds=range(8))
    assert (CEM().plan(cost, space, horizon=4, seeds=range(8)).cost < 0.1 * floor.cost).all()
    few = RandomShooting(candidates=30).plan(cost, space, horizon=4, seeds=range(8))
    assert (floor.cost < few.cost).all()
