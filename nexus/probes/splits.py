"""Who trains, who validates, who tests: always by file, so clips of one video stay together.

Samples are the catalog's records: a whole video, or an annotated segment of one. A sample may have
several clips (rows of the table): a probe trains on the clips and averages its scores over them.

A table that brings its own splits is taken at its word. One that brings none is split 60/20/20,
stratified by class: within a class, files are ordered by a hash of the split seed and their key, so
that every encoder, and every rerun, is measured on the same files.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

from nexus.digest import digest
from nexus.errors import DataError
from nexus.features.table import FeatureTable

SPLIT_SEED = 0
SHARES = (0.6, 0.2, 0.2)
MIN_FILES = 5
NAMES = ("train", "validation", "test")
SHOWN = 5
"""Classes that a message names."""


@dataclass(frozen=True)
class Part:
    """The rows of one split: `rows` index the table; `samples[i]` is the sample, numbered from 0
    within this split, that clip `rows[i]` belongs to."""

    rows: Int[ndarray, " clips"]
    samples: Int[ndarray, " clips"]

    @property
    def count(self) -> int:
        """Samples in this split."""
        return int(self.samples.max()) + 1 if len(self.samples) else 0

    def vote(self, scores: Float[ndarray, "clips *rest"]) -> Float[ndarray, "samples *rest"]:
        """The mean over each sample's clips."""
        total = np.zeros((self.count, *scores.shape[1:]))
        np.add.at(total, self.samples, scores)
        clips = np.bincount(self.samples, minlength=self.count)
        return total / clips.reshape(-1, *([1] * (scores.ndim - 1)))

    def per_sample(self, values: Shaped[ndarray, " rows"]) -> Shaped[ndarray, " samples"]:
        """What a column of the table (the same for all clips of a sample) holds for each sample."""
        first = np.unique(self.samples, return_index=True)[1]
        return values[self.rows[first]]


@dataclass(frozen=True)
class Parts:
    """The three splits of a table, and what had to be decided to make them."""

    train: Part
    validation: Part
    test: Part
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ClassTask:
    """A label column made ready for a classifier: `labels` (one a row of the table, -1 where the
    row has no label) index `classes`."""

    column: str
    classes: tuple[str, ...]
    labels: Int[ndarray, " rows"]
    parts: Parts


def label_column(table: FeatureTable, column: str) -> list[str]:
    """One label a row, empty where a row has none.

    Raises:
        DataError: no row has the column; the message names the columns that there are.
    """
    known = sorted({name for labels in table.labels for name in labels})
    if column not in known:
        raise DataError(
            f"there is no label column {column!r}; the data has "
            f"{', '.join(known) if known else 'no label columns'}. "
            "Labels are the further columns of a CSV or JSONL list."
        )
    return [labels.get(column, "") for labels in table.labels]


def class_task(table: FeatureTable, column: str, *, split_seed: int = SPLIT_SEED) -> ClassTask:
    """Read a column as classes and split the files.

    Raises:
        DataError: the column is missing, holds a single class, or a class has too few files.
    """
    names = label_column(table, column)
    classes = tuple(sorted({name for name in names if name}))
    if len(classes) < 2:
        raise DataError(
            f"label column {column!r} holds the single class {', '.join(classes) or '(none)'}; "
            "a classifier needs at least two"
        )
    labels = np.array([classes.index(name) if name else -1 for name in names])
    parts = assign_splits(table, names, split_seed=split_seed)
    _require_each_class(column, classes, labels, parts)
    return ClassTask(column, classes, labels, parts)


def assign_splits(
    table: FeatureTable,
    strata: Sequence[str],
    *,
    split_seed: int = SPLIT_SEED,
    min_files: int = MIN_FILES,
) -> Parts:
    """Assign the rows whose stratum is not empty to train, validation and test.

    Splits that the table brings are kept. If it brings no validation (or no test) split, a quarter
    of the training files becomes the validation split (and the given validation split is the test);
    the notes say so. Only when no row has a split is the whole table divided.

    Raises:
        DataError: some files have a split and others none, only one split is given, a video stands
            in two splits, or a stratum has fewer than `min_files` files to divide.
    """
    used = [row for row, stratum in enumerate(strata) if stratum]
    given = {row: table.splits[row] for row in used}
    kinds = {split for split in given.values() if split}
    notes: list[str] = []
    if not kinds:
        assigned = _divide(table, strata, used, SHARES, split_seed, min_files)
        notes.append(
            f"the data brings no splits: files were divided 60/20/20 by class (split seed "
            f"{split_seed})"
        )
    else:
        assigned = _given(table, given, kinds)
        if "test" not in kinds:
            assigned = {
                path: "test" if split == "validation" else split for path, split in assigned.items()
            }
            notes.append("the data brings no test split: its validation split is the test split")
        if kinds != set(NAMES):
            rows = [row for row in used if assigned[table.paths[row]] == "train"]
            assigned |= _divide(table, strata, rows, (0.75, 0.25, 0.0), split_seed, 2)
            notes.append(
                f"a quarter of the training files, by class, is the validation split (split seed "
                f"{split_seed})"
            )
    return Parts(*(_part(table, used, assigned, name) for name in NAMES), notes=tuple(notes))


def _part(table: FeatureTable, used: Sequence[int], assigned: Mapping[str, str], name: str) -> Part:
    rows = [row for row in used if assigned[table.paths[row]] == name]
    numbers: dict[str, int] = {}
    samples = [numbers.setdefault(table.keys[row], len(numbers)) for row in rows]
    return Part(np.array(rows, dtype=int), np.array(samples, dtype=int))


def _given(table: FeatureTable, given: Mapping[int, str], kinds: set[str]) -> dict[str, str]:
    """The split of each file, as the table says."""
    without = sorted({table.keys[row] for row, split in given.items() if not split})
    if without:
        raise DataError(
            f"{len(without)} of {len(given)} samples have no split while others have one "
            f"(first: {', '.join(without[:3])}); give every row a split or none"
        )
    if "train" not in kinds or not kinds & {"validation", "test"} or kinds - set(NAMES):
        raise DataError(
            f"the data's splits are {', '.join(sorted(kinds))}; expected train with validation "
            "and/or test (or no splits at all: then files are divided 60/20/20)"
        )
    assigned: dict[str, str] = {}
    for row, split in given.items():
        if assigned.setdefault(table.paths[row], split) != split:
            raise DataError(
                f"{table.paths[row]} stands in two splits ({assigned[table.paths[row]]}, {split}); "
                "all segments of a video must be in one"
            )
    return assigned


def _divide(
    table: FeatureTable,
    strata: Sequence[str],
    rows: Sequence[int],
    shares: tuple[float, float, float],
    seed: int,
    min_files: int,
) -> dict[str, str]:
    """Divide the files of `rows` by shares within each stratum; the split of each file.

    A file whose segments belong to several strata counts for the most frequent one.
    """
    votes: dict[str, Counter[str]] = {}
    for row in rows:
        votes.setdefault(table.paths[row], Counter())[strata[row]] += 1
    key_of = dict(zip(reversed(table.paths), reversed(table.keys), strict=True))
    members: dict[str, list[str]] = {}
    for path, counts in votes.items():
        stratum = min((-count, name) for name, count in counts.items())[1]
        members.setdefault(stratum, []).append(path)
    few = {stratum: len(paths) for stratum, paths in members.items() if len(paths) < min_files}
    if few:
        listed = _listed([f"{name} ({count})" for name, count in sorted(few.items())])
        raise DataError(
            f"too few files to divide into splits: {listed}; expected at least {min_files} a "
            "class. Add files, drop the class, or give the data its own splits."
        )
    assigned: dict[str, str] = {}
    for paths in members.values():
        order = sorted(paths, key=lambda path: digest(f"{seed}:{key_of[path]}"))
        counts = [max(1, round(share * len(order))) if share else 0 for share in shares[1:]]
        train = len(order) - sum(counts)
        names = ["train"] * train + ["validation"] * counts[0] + ["test"] * counts[1]
        assigned |= dict(zip(order, names, strict=True))
    return assigned


def _listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _require_each_class(
    column: str, classes: Sequence[str], labels: Int[ndarray, " rows"], parts: Parts
) -> None:
    for name, part in (("validation", parts.validation), ("test", parts.test)):
        if not len(part.rows):
            raise DataError(f"no sample with a label {column!r} is in the {name} split")
    present = np.unique(labels[parts.train.rows])
    if missing := [name for index, name in enumerate(classes) if index not in present]:
        raise DataError(
            f"label column {column!r}: no training sample of class {_listed(missing)}; "
            "a probe cannot learn a class that it never sees"
        )
