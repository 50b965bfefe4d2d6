"""What a run amounts to, in plain words: finished? healthy? what are its features worth?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nexus.report.read import Horizon, Journal, ProbeRow, ProbeTable, RunFiles
from nexus.report.tables import count, duration, is_share

_OWN_NAMES = ("this run", "run", "this model", "encoder", "pretrained", "trained")
_ALARMS = ("collapsing", "collapsed")


@dataclass(frozen=True)
class Answer:
    """One question answered: `level` is good, warn, bad or open; `lines` are details to list."""

    question: str
    level: str
    short: str
    detail: str = ""
    lines: tuple["Comparison", ...] = ()


@dataclass(frozen=True)
class Span:
    """Logged steps `first` to `last` in a row on which the doctor gave the same alarm."""

    first: float
    last: float
    status: str
    reason: str


def verdict(run: RunFiles) -> list[Answer]:
    """The three answers, in the order in which they are asked."""
    return [_finished(run), _healthy(run), _worth(run)]


def steps_done(run: RunFiles) -> int:
    """The last step that the run is known to have made."""
    steps = run.journal.steps
    return max(run.info.steps_done or 0, int(steps[-1]) if len(steps) else 0)


def health_spans(journal: Journal) -> list[Span]:
    """Stretches of the journal on which the doctor raised an alarm."""
    spans: list[Span] = []
    previous = ""
    for step, status, reason in zip(
        journal.steps, journal.text("health"), journal.text("health_reason"), strict=True
    ):
        if status == "":  # a step that was logged without meters says nothing
            continue
        if status in _ALARMS:
            if status == previous:
                spans[-1] = Span(spans[-1].first, step, status, reason)
            else:
                spans.append(Span(step, step, status, reason))
        previous = status
    return spans


def diagnosis(journal: Journal) -> tuple[str, str]:
    """The doctor's last word: status and reason; `("", "")` when it never spoke."""
    for status, reason in zip(
        reversed(journal.text("health")), reversed(journal.text("health_reason")), strict=True
    ):
        if status:
            return status, reason
    return "", ""


def main_arm(rows: Sequence[ProbeRow], kind: str | None) -> str | None:
    """The arm that is this run: by its name, by the model's kind, else the first no baseline."""
    arms = list(dict.fromkeys(row.arm for row in rows))
    for wanted in (*_OWN_NAMES, *([kind.lower()] if kind else [])):
        for arm in arms:
            if arm.lower() == wanted:
                return arm
    return next((arm for arm in arms if not (_is_random(arm) or _is_pixels(arm))), None)


def _is_random(arm: str) -> bool:
    return "random" in arm.lower()


def _is_pixels(arm: str) -> bool:
    return "pixel" in arm.lower()


def _finished(run: RunFiles) -> Answer:
    done, total = steps_done(run), run.info.steps_total
    progress = f"step {count(done)}" + (f" of {count(total)}" if total else "")
    time = duration(run.info.train_seconds) if run.info.train_seconds else ""
    after = f" after {time}" if time else ""
    question = "Did it finish?"
    if run.info.status == "finished":
        seen = f", {count(run.info.clips_seen)} clips seen" if run.info.clips_seen else ""
        within = f" in {time}" if time else ""
        return Answer(question, "good", "Finished", f"{count(done)} steps{within}{seen}.")
    if run.info.status == "interrupted":
        return Answer(question, "warn", "Interrupted", f"Stopped at {progress}{after}.")
    if run.info.status == "failed":
        why = f" {run.info.error}" if run.info.error else ""
        return Answer(question, "bad", "Failed", f"It broke off at {progress}{after}.{why}")
    if run.info.status == "running":
        detail = f"It stood at {progress} when this page was made: still at work, or killed."
        return Answer(question, "warn", "Not finished", detail)
    return Answer(question, "open", "Unknown", f"run.json does not say; last logged {progress}.")


def _healthy(run: RunFiles) -> Answer:
    question = "Is it healthy?"
    status, reason = diagnosis(run.journal)
    spans = health_spans(run.journal)
    told = [sentence(reason)] if reason else []
    if run.journal.has("skipped_steps"):
        skipped = int(np.nanmax(run.journal.column("skipped_steps")))
        if skipped:
            plural = "s were" if skipped > 1 else " was"
            told.append(f"{count(skipped)} step{plural} skipped for numbers that are not finite.")
    if status == "healthy" and spans:
        told.append(f"An earlier alarm (step {_where(spans)}) has passed.")
    detail = " ".join(told)
    if status == "healthy":
        return Answer(question, "good", "Healthy at the end" if spans else "Healthy", detail)
    if status in _ALARMS:
        return Answer(question, "bad" if status == "collapsed" else "warn", status.title(), detail)
    return Answer(question, "open", "Unknown", detail or "The journal holds no word of the doctor.")


def sentence(text: str) -> str:
    """A reason from a file as a sentence: a capital first, a full stop last."""
    text = text.strip()
    text = text[:1].upper() + text[1:]
    return text if not text or text[-1] in ".!?" else text + "."


def _where(spans: Sequence[Span]) -> str:
    parts = [
        count(s.first) if s.first == s.last else f"{count(s.first)}–{count(s.last)}" for s in spans
    ]
    return ", ".join(parts[:3]) + (f" and {len(parts) - 3} more" if len(parts) > 3 else "")


def _worth(run: RunFiles) -> Answer:
    question = "What are the features worth?"
    if run.probes is None or not run.probes.rows:
        return Answer(question, "open", "Not measured", "No probe has looked at them yet.")
    lines = comparisons(run.probes, str(run.info.model.get("kind", "")) or None)
    rivals = [rival for line in lines for rival in line.rivals]
    if not rivals:
        return Answer(
            question, "open", "Not compared", "No baseline was probed beside them.", lines
        )
    judged = [rival for rival in rivals if rival.untrained] or rivals
    first = lines[0].rivals[0] if lines[0].rivals else rivals[0]
    return Answer(
        question,
        "good" if all(rival.gap > 0 and rival.apart is not False for rival in judged) else "warn",
        f"{first.size} {first.side} {first.arm} on {first.task}",
        lines=lines,
    )


@dataclass(frozen=True)
class Rival:
    """A baseline under the same probe: by how much this run is better, and whether that is sure."""

    arm: str
    task: str
    metric: str
    gap: float
    apart: bool | None  # do the intervals lie apart? None without intervals
    untrained: bool

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
    def doubt(self) -> str:
        """What keeps the difference from being sure; empty when nothing does."""
        return {True: "", False: "intervals overlap", None: "no intervals"}[self.apart]


@dataclass(frozen=True)
class Comparison:
    """This run on one task, beside its baselines."""

    row: ProbeRow
    rivals: tuple[Rival, ...]


def comparisons(table: ProbeTable, kind: str | None) -> tuple[Comparison, ...]:
    """For each task, this run beside each baseline under the same probe: linear where there is one.

    Taking each task's best probe instead would choose on the test split.
    """
    own = main_arm(table.rows, kind)
    found = []
    for task in dict.fromkeys(row.task for row in table.rows):
        mine = [r for r in table.rows if r.task == task and r.arm == own and _known(r.mean)]
        if not mine:
            continue
        row = next((r for r in mine if r.probe.lower() == "linear"), mine[0])
        rivals = [
            _rival(row, other)
            for other in table.rows
            if (other.task, other.probe, other.metric) == (task, row.probe, row.metric)
            and (_is_random(other.arm) or _is_pixels(other.arm))
            and other.arm != own
            and _known(other.mean)
        ]
        found.append(Comparison(row, tuple(sorted(rivals, key=lambda r: not r.untrained))))
    return tuple(found)


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _rival(row: ProbeRow, other: ProbeRow) -> Rival:
    gap = (row.mean or 0.0) - (other.mean or 0.0)
    return Rival(
        other.arm, row.task, row.metric, gap, _apart(row, other), untrained=_is_random(other.arm)
    )


def _apart(row: ProbeRow, rival: ProbeRow) -> bool | None:
    if row.ci95 is None or rival.ci95 is None:
        return None
    return row.ci95[0] > rival.ci95[1] or row.ci95[1] < rival.ci95[0]


def horizon_words(table: Horizon) -> str:
    """How far ahead the model predicts better than the trivial predictors."""
    rows = sorted(table.rows, key=lambda row: row.steps_ahead)
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
                str(row.steps_ahead) if row.seconds_ahead is None else f"{row.seconds_ahead:g} s"
                for row in won
            ]
            near = won == [row for row, _ in known[: len(won)]]
            where = f"up to {places[-1]} ahead" if near else f"only at {', '.join(places)} ahead"
            sentences.append(f"Better than {name} {where}.")
    return " ".join(sentences)
