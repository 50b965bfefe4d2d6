"""This run's features beside the baselines', and how far ahead it predicts better than they do."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nexus.reports.tables import is_share, shown, significant
from nexus.runs.schema import Horizon, ProbeRow, ProbeTable

BEFORE = ("untrained", "start")
"""Roles of what a run started from: nothing, or weights before they were adapted."""
RIVALS = (*BEFORE, "lookup", "baseline")
"""Roles that this run is compared with."""


def main_arm(rows: Sequence[ProbeRow]) -> str | None:
    """The arm that is this run: the first one that was trained."""
    return next((row.arm for row in rows if row.role == "trained"), None)


@dataclass(frozen=True)
class Rival:
    """A baseline under its best probe: by how much this run is better, and whether that is sure."""

    arm: str
    probe: str
    task: str
    metric: str
    gap: float
    apart: bool | None  # do the intervals lie apart? None without intervals
    before: bool  # is it what this run started from?

    @property
    def size(self) -> str:
        """The distance with its unit."""
        points = is_share(self.metric)
        return f"{100 * abs(self.gap):.1f} points" if points else f"{abs(self.gap):.2f}"

    @property
    def side(self) -> str:
        """On which side of the baseline this run is."""
        return "above" if self.gap >= 0 else "below"

    @property
    def distance(self) -> str:
        """Both in words."""
        return f"{self.size} {self.side}" if float(self.size.split()[0]) else "level with"

    @property
    def doubt(self) -> str:
        """What keeps the difference from being sure; empty when nothing does."""
        return {True: "", False: "intervals overlap", None: "no intervals"}[self.apart]


@dataclass(frozen=True)
class Comparison:
    """This run on one task, beside its baselines."""

    row: ProbeRow
    rivals: tuple[Rival, ...]

    @property
    def ahead(self) -> bool:
        """Whether this run is better than every baseline, and no interval speaks against it."""
        return all(rival.gap > 0 and rival.apart is not False for rival in self.rivals)

    def __str__(self) -> str:
        row = self.row
        told = [
            f"{rival.distance} {rival.arm}"
            + (f" with {rival.probe}" if rival.probe != row.probe else "")
            + (f" ({rival.doubt})" if rival.doubt else "")
            for rival in self.rivals
        ]
        own = f"{row.task}, {row.probe} {shown(row.mean, row.metric, unit=True)}"
        return ": ".join(filter(None, [own, ", ".join(told)]))


def comparisons(table: ProbeTable) -> tuple[Comparison, ...]:
    """For each task, this run under one probe (linear where there is one) beside each baseline
    under the probe that reads it best.

    Taking this run's best probe as well would choose on the test split, in its favour.
    """
    own = main_arm(table.rows)
    compared = []
    for task in dict.fromkeys(row.task for row in table.rows):
        rows = [row for row in table.rows if row.task == task and _known(row.mean)]
        mine = [row for row in rows if row.arm == own and row.role == "trained"]
        if not mine:
            continue
        row = next((r for r in mine if r.probe.lower() == "linear"), mine[0])
        best: dict[str, ProbeRow] = {}
        for other in rows:
            if other.role in RIVALS and other.metric == row.metric:
                known = best.get(other.arm, other)
                best[other.arm] = max(known, other, key=lambda r: r.mean or 0.0)
        rivals = sorted(
            (_rival(row, other) for other in best.values()), key=lambda rival: not rival.before
        )
        compared.append(Comparison(row, tuple(rivals)))
    return tuple(compared)


def doubtful(rows: Sequence[ProbeRow]) -> frozenset[tuple[str, str]]:
    """The tasks and probes of which this run's interval overlaps that of the task's best baseline.

    The best one under any probe: a probe that reads a baseline badly is no excuse.
    """
    own, found = main_arm(rows), set()
    for row in rows:
        others = [
            other
            for other in rows
            if (other.task, other.metric) == (row.task, row.metric)
            and other.role in RIVALS
            and _known(other.mean)
        ]
        if row.arm != own or not _known(row.mean) or not others:
            continue
        if _apart(row, max(others, key=lambda other: other.mean or 0.0)) is False:
            found.add((row.task, row.probe))
    return frozenset(found)


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _rival(row: ProbeRow, other: ProbeRow) -> Rival:
    gap = (row.mean or 0.0) - (other.mean or 0.0)
    before = other.role in BEFORE
    return Rival(other.arm, other.probe, row.task, row.metric, gap, _apart(row, other), before)


def _apart(row: ProbeRow, rival: ProbeRow) -> bool | None:
    if row.ci95 is None or rival.ci95 is None:
        return None
    return row.ci95[0] > rival.ci95[1] or row.ci95[1] < rival.ci95[0]


def horizon_words(table: Horizon) -> str:
    """How far ahead the model predicts better than the trivial predictors."""
    rows = sorted((row for row in table.rows if row.steps_ahead > 0), key=lambda r: r.steps_ahead)
    sentences = []
    for rival, name in (
        ("copy_error", "copying the last frame"),
        ("mean_error", "the mean feature"),
    ):
        known = [(row, getattr(row, rival)) for row in rows if getattr(row, rival) is not None]
        if not known:
            continue
        won = [row for row, other in known if row.error < other]
        if len(won) == len(known):
            sentences.append(f"Better than {name} at every distance.")
        elif not won:
            sentences.append(f"Better than {name} at no distance.")
        else:
            places = [
                str(row.steps_ahead)
                if row.seconds_ahead is None
                else f"{significant(row.seconds_ahead)} s"
                for row in won
            ]
            near = won == [row for row, _ in known[: len(won)]]
            where = f"up to {places[-1]} ahead" if near else f"only at {', '.join(places)} ahead"
            sentences.append(f"Better than {name} {where}.")
    return " ".join(sentences)
