"""From what a policy reached to a row of the table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from nexus.control.evaluation import PolicyResult
from nexus.runs.control import PolicyRole, PolicyRow


def wilson(successes: int, count: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927)."""
    low, high = binomtest(successes, count).proportion_ci(method="wilson")
    return float(low), float(high)


def policy_row(
    result: PolicyResult,
    *,
    role: PolicyRole = "other",
    shift: str | None = None,
    film: str | None = None,
    settings: Mapping[str, Any] | None = None,
    before: PolicyRow | None = None,
) -> PolicyRow:
    """Sum up what a policy reached; see `PolicyRow`.

    Args:
        before: what it reached on other goals, to be counted along; times are the result's.
    """
    episodes = (*(before.episodes if before else ()), *result.episodes)
    count = len(episodes)
    at_end = sum(one.success_at_end for one in episodes)
    waits = [one.steps_to_success for one in episodes if one.steps_to_success is not None]
    distances = [one.final_distance for one in episodes if one.final_distance is not None]
    return PolicyRow(
        policy=result.policy,
        role=role,
        shift=shift,
        count=count,
        dropped=len(result.dropped) + (before.dropped if before else 0),
        successes_at_end=at_end,
        successes_ever=len(waits),
        interval_at_end=wilson(at_end, count),
        interval_ever=wilson(len(waits), count),
        steps_to_success=_median(waits),
        final_distance=float(np.mean(distances)) if distances else None,
        ms=_median([1000 * one for one in result.seconds_alone]),
        ms_95=_quantile([1000 * one for one in result.seconds_alone], 0.95),
        ms_side_by_side=_median([1000 * one / len(result.episodes) for one in result.seconds]),
        film=film,
        settings=settings or {},
        episodes=episodes,
    )


def _median(values: Sequence[float]) -> float | None:
    return _quantile(values, 0.5)


def _quantile(values: Sequence[float], share: float) -> float | None:
    return float(np.quantile(values, share)) if values else None
