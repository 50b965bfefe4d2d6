"""Weights of a cost, chosen by how often goals are reached: on validation goals, no others.

Few goals tell a bad choice from a good one, not a good one from the best. So all candidates get a
few, the better half of them twice as many, and so on (successive halving, arXiv 1502.07943).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nexus.control.evaluation import evaluate
from nexus.control.goal_cost import CostConfig
from nexus.control.playing import Make
from nexus.control.policy import Policy
from nexus.control.results import policy_row
from nexus.runs.control import ControlTable, PolicyRow

FROM_A_PICTURE = (
    CostConfig(picture=1.0),
    CostConfig(picture=0.0, things=1.0),
    CostConfig(picture=0.01, things=1.0),
    CostConfig(picture=0.03, things=1.0),
    CostConfig(picture=0.1, things=1.0),
)
"""What is tried where the goal is a picture; those with `things` where a model tells them."""
FROM_PATCHES = (
    CostConfig(picture=1.0, patches="changed"),
    CostConfig(picture=1.0, patches="changed_not_robot"),
)
"""... where a model has a token a patch."""
OWN_WEIGHTS = (0.01, 0.1)
"""Weights of proprioception that are tried beside the best of these."""
FIRST_GOALS = 8
"""On so many goals all candidates are tried."""
_PATCHES = {"changed": "changed patches", "changed_not_robot": "changed patches but the robot's"}


def choose(
    policy: Callable[[CostConfig], Policy],
    candidates: Sequence[CostConfig],
    make: Make,
    seeds: Sequence[int],
    *,
    steps: int,
    record: Path,
    environment: str,
    about: Mapping[str, Any] | None = None,
    started: Callable[[str], None] | None = None,
) -> CostConfig:
    """The weights that reach most goals at the end; of equals, those that end nearest.

    Args:
        policy: makes one that plans with these weights.
        seeds: of the validation's starts and goals.
        record: a file for what was tried; what it holds already is not tried again.
        environment: its name, for the record.
        about: what else the results depend on, as JSON; what was recorded with others is dropped.
        started: told what is tried next, and on how many goals.

    Raises:
        SimulatorError: see `evaluate`.
    """
    about = about or {}
    rows = {row.policy: row for row in _kept(record) if about.items() <= row.settings.items()}

    def tried(cost: CostConfig, until: int) -> PolicyRow:
        name = told(cost)
        before = rows.get(name)
        new = seeds[before.count + before.dropped if before else 0 : until]
        if new:
            if started:
                started(f"validation, {name}, {len(new)} goals")
            result = evaluate(policy(cost), make, new, steps=steps, timed_steps=0, filmed=0)
            row = policy_row(result, settings={**cost.to_mapping(), **about}, before=before)
            rows[name] = row.with_changes(policy=name)
            ControlTable(environment=environment, steps=steps, rows=tuple(rows.values())).save(
                record
            )
        return rows[name]

    left = list(candidates)
    for until, kept in halving(len(seeds), len(left)):
        if len(left) > 1:
            among = frozenset(seeds[:until])
            left.sort(key=lambda cost: _worth(tried(cost, until), among), reverse=True)
            left = left[:kept]
    return left[0]


def halving(goals: int, candidates: int) -> Iterator[tuple[int, int]]:
    """On how many goals candidates are tried, round by round, and how many of them stay.

    The better half, rounded up, stays, and gets twice the goals; two at least until all goals are
    used, where one stays.
    """
    until = FIRST_GOALS
    while 2 * until <= goals:
        candidates = max(2, (candidates + 1) // 2)
        yield until, candidates
        until *= 2
    yield goals, 1


def told(cost: CostConfig) -> str:
    """The weights in words."""
    weights = {"picture": cost.picture, "things": cost.things}
    weights["proprioception"] = cost.proprioception
    words = [f"{name} {weight:g}" for name, weight in weights.items() if weight]
    return ", ".join(words if cost.patches == "alike" else [*words, _PATCHES[cost.patches]])


def _worth(row: PolicyRow, among: Collection[int]) -> tuple[int, float]:
    """What a row reached on some goals."""
    episodes = [one for one in row.episodes if one.seed in among]
    distances = [one.final_distance or 0.0 for one in episodes]
    return sum(one.success_at_end for one in episodes), -sum(distances)


def _kept(record: Path) -> tuple[PolicyRow, ...]:
    try:
        return ControlTable.read(record).rows
    except (OSError, ValueError):
        return ()
