"""What probes said of single test clips, and which clips are alike: files with small pictures.

`results/predictions.json`  every answer of each probe of classes, pictures of some wrong ones
`results/neighbours.json`   some clips, and those of other videos whose features are nearest
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pydantic
from jaxtyping import Int
from numpy import ndarray

from nexus.errors import DataError
from nexus.runs.schema import Record, Row, reason_of


class ShownClip(Row):
    """A clip by name, with its labels as text and some of its frames, side by side, as a JPEG."""

    key: str
    labels: Mapping[str, str] = {}
    jpeg: str = pydantic.Field(pattern=r"^[A-Za-z0-9+/]*=*$")
    """In base64."""

    @property
    def uri(self) -> str:
        """The picture as the page holds it."""
        return f"data:image/jpeg;base64,{self.jpeg}"


class Answers(Row):
    """What a probe of classes said of the test split: `samples` are its keys, `truth` and `guess`
    index `classes`, `confidence` is the guess's share of the votes."""

    classes: tuple[str, ...]
    samples: tuple[str, ...]
    truth: tuple[int, ...]
    guess: tuple[int, ...]
    confidence: tuple[float, ...]

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Self:
        sizes = [len(each) for each in (self.samples, self.truth, self.guess, self.confidence)]
        if len(set(sizes)) > 1:
            raise ValueError(
                f"samples, truth, guess and confidence are of different length: {sizes}"
            )
        if not all(0 <= number < len(self.classes) for number in (*self.truth, *self.guess)):
            raise ValueError(f"an answer is none of the {len(self.classes)} classes")
        return self

    @property
    def confusion(self) -> Int[ndarray, "classes classes"]:
        """How many samples of each true class (rows) were taken for each class (columns)."""
        counts = np.zeros((len(self.classes), len(self.classes)), dtype=int)
        np.add.at(counts, (np.array(self.truth, int), np.array(self.guess, int)), 1)
        return counts

    def mistakes(self, count: int, each: int = 2) -> list[int]:
        """The places of at most `count` wrong answers, the surest first.

        Of the same class taken for the same class at most `each`, as long as there are others.
        """
        wrong = [place for place, it in enumerate(self.truth) if it != self.guess[place]]
        wrong.sort(key=lambda place: -self.confidence[place])
        taken: dict[tuple[int, int], int] = {}
        first: list[int] = []
        for place in wrong:
            pair = self.truth[place], self.guess[place]
            taken[pair] = taken.get(pair, 0) + 1
            if taken[pair] <= each:
                first.append(place)
        chosen = [*first, *(place for place in wrong if place not in set(first))][:count]
        return sorted(chosen, key=lambda place: -self.confidence[place])


class ProbePredictions(Row):
    """The answers of one probe of one arm, and pictures of some mistakes."""

    arm: str
    task: str
    probe: str
    answers: Answers
    mistakes: tuple[ShownClip, ...] = ()

    @property
    def name(self) -> tuple[str, str, str]:
        """What they are known by: arm, task, probe."""
        return self.arm, self.task, self.probe


class Predictions(Record):
    """`results/predictions.json`."""

    tables: tuple[ProbePredictions, ...]


class Neighbour(Row):
    """A clip whose features are near to those of another; `cosine` is of centred features."""

    clip: ShownClip
    cosine: float


class NeighbourRow(Row):
    """A clip and its nearest ones, the nearest first, each of another video."""

    clip: ShownClip
    neighbours: tuple[Neighbour, ...]


class Neighbours(Record):
    """`results/neighbours.json`; `searched` is the number of clips that were looked through."""

    rows: tuple[NeighbourRow, ...]
    searched: int


def write_predictions(path: str | Path, tables: Sequence[ProbePredictions]) -> None:
    """Write tables to predictions.json, atomically, beside those that it already holds.

    Those of the same arm, task and probe are replaced in their place.

    Raises:
        DataError: the file exists but holds something else.
        RunError: a later version wrote it.
    """
    path, known = Path(path), Predictions(tables=())
    if path.exists():
        try:
            known = Predictions.read(path)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path} cannot be read ({reason_of(error)}); move it away and run the probes again"
            ) from error
    merged = {table.name: table for table in (*known.tables, *tables)}
    Predictions(tables=tuple(merged.values())).save(path)
