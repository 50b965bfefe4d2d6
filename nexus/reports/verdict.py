"""What a run amounts to, in plain words: finished? healthy? what are its features worth?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from nexus.reports.criteria import judges_learning, steps_done
from nexus.reports.tables import count, duration
from nexus.reports.worth import Comparison, comparisons
from nexus.runs.journal import Journal
from nexus.runs.read import RunFiles

_ALARMS = ("not learning", "collapsing", "collapsed")
LEVELS = {"good": "✓ good", "warn": "! doubtful", "bad": "✗ bad", "open": "? not known"}
"""What the colour of an answer means, in words."""


@dataclass(frozen=True)
class Answer:
    """One question answered: `level` is good, warn, bad or open; `lines` are details to list."""

    question: str
    level: str
    short: str
    detail: str = ""
    lines: tuple[Comparison, ...] = ()
    mark: str = ""
    """In place of what its colour says."""

    @property
    def word(self) -> str:
        """What its colour says."""
        return self.mark or LEVELS[self.level]


@dataclass(frozen=True)
class Span:
    """Logged steps `first` to `last` in a row on which the doctor gave the same alarm."""

    first: float
    last: float
    status: str
    reason: str


def verdict(run: RunFiles) -> list[Answer]:
    """The three answers, in the order in which they are asked."""
    return [_finished(run), _healthy(run), _trusted(run) if run.is_world else _worth(run)]


def live_verdict(run: RunFiles, renewed: float) -> list[Answer]:
    """The answers of a run that is at work; its page is renewed each so many seconds."""
    done, total = steps_done(run), run.info.steps_total
    finished, healthy, worth = verdict(run)
    now = f"{datetime.now().astimezone():%H:%M:%S %Z}"
    if run.info.status == "finished":
        return [finished, healthy, replace(worth, detail=f"That is being measured (at {now}).")]
    worth = replace(worth, detail="That is measured at the end of the run.")
    detail = f"Step {count(done)}" + (f" of {count(total)}" if total else "")
    detail += f" at {now}"
    if total and done and run.journal.has("seconds"):
        spent = float(np.nanmax(run.journal.column("seconds")))
        detail += f", about {duration(spent / done * (total - done))} to go"
    detail += f". This page renews itself every {renewed:g} s."
    return [Answer(finished.question, "open", "Running", detail, mark="… at work"), healthy, worth]


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
    why = f" {sentence(run.info.error)}" if run.info.error else ""
    if run.info.status == "interrupted":
        return Answer(question, "warn", "Interrupted", f"Stopped at {progress}{after}.{why}")
    if run.info.status == "failed":
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
    if status == "healthy" and not judges_learning(run):
        told.append("This run was looked at for collapse alone, not for whether it learns.")
        return Answer(question, "open", "Not collapsed", " ".join(told))
    if status == "healthy" and spans:
        told.append(f"An earlier alarm (step {_where(spans)}) has passed.")
    detail = " ".join(told)
    if status == "healthy":
        return Answer(question, "good", "Healthy at the end" if spans else "Healthy", detail)
    if status in _ALARMS:
        short = status.capitalize()
        return Answer(question, "bad" if status == "collapsed" else "warn", short, detail)
    if status == "unproven":
        return Answer(question, "warn", "Not shown to learn", detail)
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


def _trusted(run: RunFiles) -> Answer:
    question = "Can it be planned with?"
    if run.world is None:
        return Answer(question, "open", "Not measured", "Nobody has looked at it on new episodes.")
    said = run.world.verdict
    level, short = {
        "yes": ("good", "Yes"),
        "doubtful": ("warn", "With care"),
        "no": ("bad", "No"),
        "unknown": ("open", "Cannot be told"),
    }[said.plan]
    at_fault = f": {said.fault}" if said.fault else ""
    return Answer(question, level, short + at_fault, said.sentence)


def _worth(run: RunFiles) -> Answer:
    question = "What are the features worth?"
    if run.probes is None or not run.probes.rows:
        return Answer(question, "open", "Not measured", "No probe has looked at them yet.")
    lines = comparisons(run.probes)
    compared = [line for line in lines if line.rivals]
    if not compared:
        return Answer(
            question, "open", "Not compared", "No baseline was probed beside them.", lines
        )
    ahead, total = [line.row.task for line in compared if line.ahead], len(compared)
    level = "good" if len(ahead) == total else "warn"
    if total == 1:
        nearest = min(compared[0].rivals, key=lambda rival: rival.gap)
        short = f"{nearest.distance} {nearest.arm} on {nearest.task}"
        short = short[:1].upper() + short[1:] + (f" ({nearest.doubt})" if nearest.doubt else "")
    elif len(ahead) == total:
        short = f"Above every baseline on all {total} labels"
    elif ahead:
        told = ", ".join(ahead)
        short = f"Above every baseline on {len(ahead)} of {total} labels: {told}"
    else:
        short = f"Above every baseline on none of {total} labels"
    return Answer(question, level, short, lines=lines)
