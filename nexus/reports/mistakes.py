"""What a probe takes for what: confusion, accuracy of each class, pictures of wrong answers."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from nexus.reports.worth import main_arm
from nexus.runs.predictions import Answers, ProbePredictions, ShownClip
from nexus.runs.read import RunFiles

MATRIX_CLASSES = 16
"""Of more classes the page lists the worst and the most frequent mix-ups, and no matrix."""
LISTED = 10
PICTURE_BYTES = 1_500_000
"""Of all small pictures of a page together; what is beyond that is left to the files."""


@dataclass(frozen=True)
class ClassLine:
    """A true class: its test samples, the share that was recognised, and what they were taken for
    (class to number)."""

    name: str
    samples: int
    right: float | None
    taken_for: Mapping[str, int]

    def share(self, guess: str) -> float:
        """Share of its samples that were taken for a class."""
        return self.taken_for.get(guess, 0) / self.samples if self.samples else 0.0


@dataclass(frozen=True)
class WrongAnswer:
    """A clip with its true class and what it was taken for."""

    clip: ShownClip
    truth: str
    guess: str


@dataclass(frozen=True)
class Mistakes:
    """One task as one probe sees it; `lines` in the order of the classes, `listed` the worst first.

    `mixed_up` are pairs of classes (true, taken for) with their number, the most frequent first.
    """

    task: str
    probe: str
    lines: tuple[ClassLine, ...]
    mixed_up: tuple[tuple[str, str, int], ...]
    wrong: tuple[WrongAnswer, ...]
    errors: int

    @property
    def has_matrix(self) -> bool:
        """Whether there are few enough classes for a matrix."""
        return len(self.lines) <= MATRIX_CLASSES

    @property
    def listed(self) -> tuple[ClassLine, ...]:
        """The classes that are recognised worst."""
        known = [line for line in self.lines if line.right is not None]
        return tuple(sorted(known, key=lambda line: line.right or 0.0)[:LISTED])


def mistakes(run: RunFiles) -> list[Mistakes]:
    """For each task the answers of the probe that the page compares by: linear, else the first."""
    if run.predictions is None:
        return []
    own = main_arm(run.probes.rows) if run.probes else None
    tables = [table for table in run.predictions.tables if own in (None, table.arm)]
    found = []
    for task in dict.fromkeys(table.task for table in tables):
        of_task = [table for table in tables if table.task == task]
        chosen = next((table for table in of_task if table.probe == "linear"), of_task[0])
        found.append(_mistakes(chosen))
    return found


def within(run: RunFiles, found: list[Mistakes]) -> set[str]:
    """The keys of the clips whose pictures the page has room for: neighbours first, then one
    mistake of each task after the other."""
    rows = run.neighbours.rows if run.neighbours else ()
    clips = [clip for row in rows for clip in (row.clip, *(near.clip for near in row.neighbours))]
    deepest = max((len(each.wrong) for each in found), default=0)
    clips += [
        each.wrong[place].clip
        for place in range(deepest)
        for each in found
        if place < len(each.wrong)
    ]
    room, kept = PICTURE_BYTES, set()
    times = Counter(clip.key for clip in clips)
    for key, clip in {clip.key: clip for clip in clips}.items():
        room -= times[key] * len(clip.jpeg)
        if room < 0:
            break
        kept.add(key)
    return kept


def _mistakes(table: ProbePredictions) -> Mistakes:
    answers, names = table.answers, table.answers.classes
    counts = answers.confusion
    lines = []
    for number, name in enumerate(names):
        samples = int(counts[number].sum())
        right = float(counts[number, number] / samples) if samples else None
        taken = {names[guess]: int(counts[number, guess]) for guess in counts[number].nonzero()[0]}
        lines.append(ClassLine(name, samples, right, taken))
    pairs = [
        (line.name, guess, number)
        for line in lines
        for guess, number in line.taken_for.items()
        if guess != line.name
    ]
    pairs.sort(key=lambda pair: -pair[2])
    return Mistakes(
        table.task,
        table.probe,
        tuple(lines),
        tuple(pairs[:LISTED]),
        _wrong(table, answers),
        sum(number for *_, number in pairs),
    )


def _wrong(table: ProbePredictions, answers: Answers) -> tuple[WrongAnswer, ...]:
    place = {key: number for number, key in enumerate(answers.samples)}
    return tuple(
        WrongAnswer(
            clip,
            answers.classes[answers.truth[place[clip.key]]],
            answers.classes[answers.guess[place[clip.key]]],
        )
        for clip in table.mistakes
        if clip.key in place
    )
