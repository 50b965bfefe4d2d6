"""What a search promises beside its result: seeds, batches, deadlines, starts, errors."""

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from nexus.errors import PlanningError
from nexus.planning import CEM, ICEM, MPPI, PLANNERS, ActionSpace, Gradient, Planner, RandomShooting
from nexus.planning.noise import Draws

SPACE = ActionSpace.within([-1.0, 0.0, -3.0], [1.0, 0.5, 1.0], binary=[1])
SMALL: dict[str, Planner] = {
    "cem": CEM(candidates=40, elites=8, iterations=4),
    "icem": ICEM(candidates=40, elites=8, iterations=4),
    "mppi": MPPI(candidates=40, elites=8, iterations=4),
    "random": RandomShooting(candidates=40),
    "gradient": Gradient(starts=5, iterations=6),
}


def goals(environments: int) -> Tensor:
    return torch.randn(environments, 4, 3, generator=Generator().manual_seed(1))


def cost_of(goal: Tensor):
    return lambda actions: (
        ((actions - goal[:, None]) ** 2).sum(dim=(2, 3)) + actions[..., 0].sin().sum(2)
    )


@pytest.mark.parametrize("name", SMALL)
def test_the_same_seed_gives_the_same_plan_alone_and_in_a_batch(name: str) -> None:
    planner, goal, seeds = SMALL[name], goals(16), list(range(100, 116))
    together = planner.plan(cost_of(goal), SPACE, horizon=4, seeds=seeds)
    again = planner.plan(cost_of(goal), SPACE, horizon=4, seeds=seeds)
    assert torch.equal(together.actions, again.actions)
    later = planner.plan(cost_of(goal), SPACE, horizon=4, seeds=seeds, start=together.after(1))
    for place in (0, 7, 15):
        one = slice(place, place + 1)
        alone = planner.plan(cost_of(goal[one]), SPACE, horizon=4, seeds=[seeds[place]])
        assert torch.equal(alone.actions, together.actions[one])
        assert torch.equal(alone.cost, together.cost[one])
        next_one = planner.plan(
            cost_of(goal[one]), SPACE, horizon=4, seeds=[seeds[place]], start=alone.after(1)
        )
        assert torch.equal(next_one.actions, later.actions[one])
    other = planner.plan(cost_of(goal), SPACE, horizon=4, seeds=[s + 50 for s in seeds])
    assert not torch.equal(together.actions, other.actions)


@pytest.mark.parametrize("name", SMALL)
def test_pieces_change_nothing_but_memory(name: str) -> None:
    planner, goal = SMALL[name], goals(2)
    if name == "gradient":
        return
    most: list[int] = []

    def cost(actions: Tensor) -> Tensor:
        most.append(actions.shape[1])
        return cost_of(goal)(actions)

    whole = planner.plan(cost_of(goal), SPACE, horizon=4, seeds=[1, 2])
    pieces = planner.with_changes(piece=7).plan(cost, SPACE, horizon=4, seeds=[1, 2])
    assert torch.equal(whole.actions, pieces.actions) and max(most) == 7


@pytest.mark.parametrize("each", [1e-5, 5e-4, 5e-3])
@pytest.mark.parametrize("fixed", [0.0, 2e-3])
@pytest.mark.parametrize("name", SMALL)
def test_a_deadline_is_kept_and_the_best_so_far_returned(
    name: str, fixed: float, each: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that only the cost moves on: so much a call, and so much a candidate."""
    long = {"candidates": 1000} if name == "random" else {"iterations": 1000}
    planner, goal, now = SMALL[name].with_changes(**long), goals(1), [100.0]
    monkeypatch.setattr("nexus.planning.cost.time.perf_counter", lambda: now[0])
    whole = 1000 * each

    def slow(actions: Tensor) -> Tensor:
        now[0] += fixed + each * actions.shape[1]
        return cost_of(goal)(actions)

    for seed in range(3):
        began = now[0]
        plan = planner.plan(slow, SPACE, horizon=4, seeds=[seed], deadline=0.2)
        first = fixed + 8 * each
        assert now[0] - began <= max(0.2, first), "the first eight are always judged"
        if whole > 0.2:
            assert now[0] - began > 0.15 and 8 <= plan.judged < 1000, "the time is used"
        middle = SPACE.actions(SPACE.unit_mean).expand(1, 1, 4, 3)
        assert float(plan.cost) <= float(cost_of(goal)(middle))
        assert float(cost_of(goal)(plan.actions[:, None])) == pytest.approx(float(plan.cost))


def test_where_a_call_is_dear_and_a_candidate_cheap_the_time_is_not_lost_on_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """25 ms a call and 0.9 ms a candidate, as of a small world model: six calls fit."""
    goal, now = goals(1), [100.0]
    monkeypatch.setattr("nexus.planning.cost.time.perf_counter", lambda: now[0])

    def slow(actions: Tensor) -> Tensor:
        now[0] += 0.025 + 9e-4 * actions.shape[1]
        return cost_of(goal)(actions)

    plan = ICEM().plan(slow, SPACE, horizon=4, seeds=[0], deadline=0.2)
    assert now[0] - 100.0 <= 0.2 and plan.judged >= 50


def test_without_time_there_is_still_an_action() -> None:
    plan = CEM().plan(cost_of(goals(2)), SPACE, horizon=4, seeds=[0, 1], deadline=0.0)
    assert plan.judged == 0 and plan.cost.tolist() == [torch.inf] * 2
    assert torch.equal(plan.actions[0], SPACE.actions(SPACE.unit_mean).expand(4, 3))


def test_a_search_goes_on_from_the_plan_before() -> None:
    """One small iteration from a good plan is better than the same from nothing."""
    goal, planner = goals(8), ICEM(candidates=24, iterations=1, std=0.1)
    cost = cost_of(goal)
    good = CEM(std_floor=0.01).plan(cost, SPACE, horizon=4, seeds=range(8))
    fresh = planner.plan(cost, SPACE, horizon=4, seeds=range(8))
    further = planner.plan(cost, SPACE, horizon=4, seeds=range(8), start=good)
    assert (further.cost <= good.cost).all() and (further.cost < fresh.cost).all()
    moved = good.after(2)
    assert torch.equal(moved.actions[:, :2], good.actions[:, 2:])
    assert torch.equal(moved.actions[:, 3], good.actions[:, 3])
    with pytest.raises(PlanningError, match="0 or more"):
        good.after(-1)


def test_what_is_not_a_number_is_never_chosen() -> None:
    def cost(actions: Tensor) -> Tensor:
        value = (actions**2).sum(dim=(2, 3))
        return torch.where(actions[..., 0, 0] < 0.3, torch.nan, value)

    for name, planner in SMALL.items():
        if name == "gradient":
            planner = planner.with_changes(starts=40)
        plan = planner.plan(cost, SPACE, horizon=2, seeds=[0, 1])
        assert plan.cost.isfinite().all() and (plan.actions[:, 0, 0] >= 0.3).all()
    nothing = CEM().plan(lambda a: torch.full(a.shape[:2], torch.nan), SPACE, horizon=2, seeds=[0])
    assert nothing.cost.tolist() == [torch.inf]


def test_a_cost_of_another_shape_is_refused() -> None:
    with pytest.raises(PlanningError, match=r"answers \(2,\) for actions \(2, 300, 3, 3\)"):
        CEM().plan(lambda a: a.sum(dim=(1, 2, 3)), SPACE, horizon=3, seeds=[0, 1])
    with pytest.raises(PlanningError, match="use cem, icem or mppi"):
        Gradient().plan(lambda a: torch.zeros(a.shape[:2]), SPACE, horizon=3, seeds=[0])


def test_planners_have_names_and_settings() -> None:
    planner = PLANNERS.build({"kind": "icem", "candidates": 64})
    assert isinstance(planner, ICEM) and planner.candidates == 64
    assert set(PLANNERS.names) == set(SMALL)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("horizon", [1, 2, 5, 8, 30])
def test_coloured_noise_has_its_spectrum(exponent: float, horizon: int) -> None:
    """Deviation 1 at every step; the power of each frequency as the definition says."""
    noise = Draws([0, 1]).coloured(4000, horizon, 1, exponent)[..., 0].reshape(-1, horizon)
    assert noise.std(dim=0).tolist() == pytest.approx([1.0] * horizon, abs=0.05)
    if horizon < 3:
        return
    power = (torch.fft.rfft(noise).abs() ** 2).mean(dim=0).numpy()
    frequencies = np.fft.rfftfreq(horizon)
    frequencies[0] = frequencies[1]
    shares = power * frequencies**exponent
    assert shares / shares.mean() == pytest.approx(np.ones(len(shares)), abs=0.08)
