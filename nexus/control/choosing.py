"""Weights of a cost, chosen by how often goals are reached: on validation goals, no others."""

from collections.abc import Callable, Sequence
from pathlib import Path

from nexus.control.evaluation import evaluate
from nexus.control.goal_cost import CostConfig
from nexus.control.playing import Make
from nexus.control.policy import Policy
from nexus.control.results import policy_row
from nexus.runs.control import ControlTable, PolicyRow

FROM_A_PICTURE = (
    CostConfig(picture=1.0),
    CostConfig(picture=0.0, things=1.0),
    CostConfig(picture=0.03, things=1.0),
    CostConfig(picture=0.3, things=1.0),
)
"""What is tried where the goal is a picture; those with `things` where a model tells them."""
FROM_PATCHES = (
    CostConfig(picture=1.0, patches="changed"),
    CostConfig(picture=1.0, patches="changed_not_robot"),
)
"""... where a model has a token a patch."""
OWN_WEIGHTS = (0.01, 0.1)
"""Weights of proprioception that are tried beside the best of these."""
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
    started: Callable[[str], None] | None = None,
) -> CostConfig:
    """The weights that reach most goals at the end; of equals, those that end nearest.

    Args:
        policy: makes one that plans with these weights.
        seeds: of the validation's starts and goals.
        record: a file for what was tried; what it holds already is not tried again.
        environment: its name, for the record.
        started: told what is tried next.

    Raises:
        SimulatorError: see `evaluate`.
    """
    if len(candidates) == 1:
        return candidates[0]
    rows = {row.policy: row for row in _kept(record)}
    for cost in candidates:
        name = told(cost)
        if name not in rows:
            if started:
                started(f"validation, {name}")
            result = evaluate(policy(cost), make, seeds, steps=steps, timed_steps=1, filmed=0)
            row = policy_row(result, role="other", settings=cost.to_mapping())
            rows[name] = row.with_changes(policy=name)
            ControlTable(environment=environment, steps=steps, rows=tuple(rows.values())).save(
                record
            )
    return max(candidates, key=lambda cost: _worth(rows[told(cost)]))


def told(cost: CostConfig) -> str:
    """The weights in words."""
    weights = {"picture": cost.picture, "things": cost.things}
    weights["proprioception"] = cost.proprioception
    words = [f"{name} {weight:g}" for name, weight in weights.items() if weight]
    return ", ".join(words if cost.patches == "alike" else [*words, _PATCHES[cost.patches]])


def _worth(row: PolicyRow) -> tuple[int, float]:
    return row.successes_at_end, -(row.final_distance or 0.0)


def _kept(record: Path) -> tuple[PolicyRow, ...]:
    try:
        return ControlTable.read(record).rows
    except (OSError, ValueError):
        return ()
