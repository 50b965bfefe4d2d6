"""What a run is judged by, criterion by criterion, beside what it reached.

The limits are what the run itself wrote down (`health_thresholds` in `run.json`).
"""

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from nexus.reports.tables import count, significant
from nexus.runs.read import RunFiles

TRIVIAL = {
    "error_vs_copy": "error against a copy of the last frame",
    "error_vs_mean": "error against the average of other clips",
}


@dataclass(frozen=True)
class Criterion:
    """One limit: what is limited, the limit, what the run has, and whether that is enough."""

    what: str
    needed: str
    here: str
    met: bool

    @property
    def word(self) -> str:
        """Whether it is met, for those who do not see colours."""
        return "✓ met" if self.met else "✗ not met"


def judges_learning(run: RunFiles) -> bool:
    """Whether the run was judged by whether it learns; 0.1.0 looked for collapse alone."""
    return "healthy_steps" in run.info.health_thresholds


def criteria(run: RunFiles) -> list[Criterion]:
    """The criteria of "healthy", in the doctor's order; what is unknown is left out."""
    limits = run.info.health_thresholds
    found = list(_features(run, limits))
    if not judges_learning(run):
        return found
    steps, videos = steps_done(run), run.info.data.videos
    found.append(_at_least("steps of training", steps, limits["healthy_steps"]))
    for name, what in TRIVIAL.items():
        if run.journal.has(name):
            ratio = statistics.median(_last(run, name, int(limits["healthy_readings"])))
            found.append(Criterion(what, "below 1 times", f"{ratio:.2f} times", ratio < 1))
    if run.journal.has("motion") and "healthy_motion" in limits:
        moving = statistics.median(_last(run, "motion", int(limits["healthy_readings"])))
        what = "contrast that changes within a clip"
        found.append(_share(what, moving, limits["healthy_motion"]))
    if videos is not None:
        found.append(_at_least("videos", videos, limits["healthy_videos"]))
    if run.journal.has("rank_share"):
        share = _last(run, "rank_share", 1)[0]
        found.append(_share("directions in use", share, limits["healthy_rank_share"]))
    return found


def steps_done(run: RunFiles) -> int:
    """The last step that the run is known to have made."""
    steps = run.journal.steps
    return max(run.info.steps_done or 0, int(steps[-1]) if len(steps) else 0)


def _features(run: RunFiles, limits: Mapping[str, float]) -> Iterator[Criterion]:
    """Those of features that have not collapsed; the weaker encoder counts."""
    both = ("context_{}", "target_{}")
    last = {
        meter: min(_last(run, name.format(meter), 1)[0] for name in both)
        for meter in ("spread", "rank")
        if all(run.journal.has(name.format(meter)) for name in both)
    }
    if "spread" in last and "collapsing_spread" in limits:
        what = "share of the features that depends on the clip"
        yield _share(what, last["spread"], limits["collapsing_spread"])
    if "rank" in last and "collapsing_rank" in limits:
        limit, rank = limits["collapsing_rank"], last["rank"]
        yield Criterion(
            "effective rank", f"{limit:g} or more", significant(rank), bool(rank >= limit)
        )


def _last(run: RunFiles, name: str, readings: int) -> list[float]:
    values = run.journal.column(name)
    return values[np.isfinite(values)][-readings:].tolist()


def _at_least(what: str, here: float, needed: float) -> Criterion:
    return Criterion(what, f"{count(needed)} or more", count(here), here >= needed)


def _share(what: str, here: float, needed: float) -> Criterion:
    return Criterion(what, f"{needed:.0%} or more", f"{here:.1%}", here >= needed)
