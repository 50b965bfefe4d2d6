"""Label columns: which there are, whether they hold classes or quantities, and both as tasks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

from nexus.data.catalog.catalog import Catalog
from nexus.data.catalog.labels import Label, label_text
from nexus.errors import DataError
from nexus.features.table import LABEL, clip_rows
from nexus.probes.splits import SPLIT_SEED, Parts, assign_splits, listed

MANY_VALUES = 20
"""A column of at most so many different numbers is a set of classes."""
REPEATS = 2
"""Whole numbers that stand for this many samples each, on average, are classes however many."""
MOST_UNSEEN = 0.5
"""Share of the validation and test samples that may be of classes without a training sample."""
SHOWN = 300
"""Characters of a reason that are repeated in a note; it may list each of many values."""


def label_columns(catalog: Catalog, wanted: Sequence[str] | None = None) -> list[str]:
    """The label columns to learn: those wanted, or all that the catalog has.

    Raises:
        DataError: a wanted column does not exist; the message names those that do.
    """
    known = sorted({name for record in catalog.records for name in record.labels})
    missing = [name for name in wanted or () if name not in known]
    if missing:
        raise DataError(
            f"there is no label column {missing[0]!r} in {catalog.source}; it has "
            f"{', '.join(known) if known else 'no label columns'}. "
            "Labels are the further columns of a CSV or JSONL list."
        )
    return list(wanted) if wanted is not None else known


def is_quantity(catalog: Catalog, column: str) -> bool:
    """Whether a label column is to be regressed: vectors, or numbers of many different values, of
    which some are not whole or hardly any comes twice. Whole numbers that repeat are numbers of
    classes."""
    labels = [record.labels.get(column, "") for record in catalog.records]
    if any(isinstance(label, tuple) for label in labels):
        return True
    try:
        values = [float(label_text(label)) for label in labels if label != ""]
    except ValueError:
        return False
    values = [value for value in values if math.isfinite(value)]
    different = len(set(values))
    whole = all(value.is_integer() for value in values)
    return different > MANY_VALUES and not (whole and len(values) >= REPEATS * different)


@dataclass(frozen=True)
class ClassTask:
    """A label column made ready for a classifier: `labels` (one a clip, -1 where the clip has no
    label) index `classes`; `keys` name the sample that each clip belongs to."""

    column: str
    classes: tuple[str, ...]
    labels: Int[ndarray, " clips"]
    parts: Parts
    keys: Shaped[ndarray, " clips"]


def class_task(clips: pd.DataFrame, column: str, *, split_seed: int = SPLIT_SEED) -> ClassTask:
    """Read a column as classes and split the files.

    Samples of a class that no training sample has are left out: a probe cannot give a class that it
    never saw. A note of the parts counts and names them. If they are most of what is held out, the
    column names files rather than classes, and is refused.

    Args:
        clips: rows of a feature table; see `nexus.features.table.clip_rows`.

    Raises:
        DataError: the column is missing, holds vectors or a single class, or a class has too few
            files, or most of what is held out is of classes that training lacks.
    """
    names = [_class_name(column, label) for label in label_column(clips, column)]
    classes = _classes_of(column, names)
    parts = assign_splits(clips, names, split_seed=split_seed)
    seen = {names[row] for row in parts.train.rows}
    if unseen := [name for name in classes if name not in seen]:
        held_out = parts.validation.count + parts.test.count
        samples = len(
            {key for key, name in zip(clips["key"], names, strict=True) if name in unseen}
        )
        if samples > held_out * MOST_UNSEEN:
            raise DataError(
                f"label column {column!r}: no training sample of class {listed(unseen)} ({samples} "
                f"of {held_out} validation and test samples); a probe cannot learn a class that it "
                "never sees"
            )
        names = [name if name in seen else "" for name in names]
        classes = _classes_of(column, names)
        known = np.array([bool(name) for name in names])
        note = (
            f"{column}: {samples} of {held_out} validation and test samples left out, of classes "
            f"without a training sample: {listed(unseen)}"
        )
        parts = replace(
            parts,
            validation=parts.validation.only(known),
            test=parts.test.only(known),
            notes=(*parts.notes, note),
        )
    for name, part in (("validation", parts.validation), ("test", parts.test)):
        if not len(part.rows):
            raise DataError(f"no sample with a label {column!r} is in the {name} split")
    labels = np.array([classes.index(name) if name else -1 for name in names])
    return ClassTask(column, classes, labels, parts, clips["key"].to_numpy())


def _classes_of(column: str, names: Sequence[str]) -> tuple[str, ...]:
    classes = tuple(sorted({name for name in names if name}))
    if len(classes) < 2:
        raise DataError(
            f"label column {column!r} holds the single class {', '.join(classes) or '(none)'}; "
            "a classifier needs at least two"
        )
    return classes


def _class_name(column: str, label: Label) -> str:
    if isinstance(label, tuple):
        raise DataError(f"label column {column!r} holds vectors, which are regressed: no classes")
    return label_text(label)


@dataclass(frozen=True)
class NumberTask:
    """A label column made ready for a regression: `targets` are NaN where a clip has no label."""

    targets: Float[ndarray, "clips numbers"]
    parts: Parts


def number_task(clips: pd.DataFrame, column: str, *, split_seed: int = SPLIT_SEED) -> NumberTask:
    """Read a column as numbers, or vectors of as many each, and split the files.

    Raises:
        DataError: the column is missing, not numeric, or does not vary.
    """
    labels: list[Any] = label_column(clips, column)
    known = [label != "" for label in labels]
    vectors = [label if isinstance(label, tuple) else (label,) for label in labels if label != ""]
    widths = {len(vector) for vector in vectors} or {1}
    if len(widths) > 1:
        raise DataError(f"label column {column!r} holds vectors of different lengths")
    try:
        numbers = np.array([float(number) for vector in vectors for number in vector])
    except ValueError as error:
        raise DataError(f"label column {column!r} is not numeric: {error}") from None
    if not np.isfinite(numbers).all():
        raise DataError(f"label column {column!r} holds values that are not finite numbers")
    targets = np.full((len(labels), *widths), np.nan)
    targets[known] = numbers.reshape(-1, *widths)
    parts = assign_splits(clips, ["all" if one else "" for one in known], split_seed=split_seed)
    splits = {"training": parts.train, "validation": parts.validation, "test": parts.test}
    for name, part in splits.items():
        if not part.count or not np.ptp(targets[part.rows], axis=0).all():
            raise DataError(
                f"label column {column!r} does not vary in the {name} split ({part.count} "
                "samples); a regression needs different values"
            )
    return NumberTask(targets, parts)


def tested_paths(catalog: Catalog, column: str) -> list[str]:
    """The file of each test sample of a column, as probes divide the catalog.

    Raises:
        DataError: the column cannot be learned.
    """
    rows = clip_rows(catalog.records)
    task = (number_task if is_quantity(catalog, column) else class_task)(rows, column)
    return task.parts.test.per_sample(rows["path"].to_numpy()).tolist()


def label_column(clips: pd.DataFrame, column: str) -> list[Label]:
    """One label a clip, "" where a clip has none.

    Raises:
        DataError: no clip has the column; the message names the columns that there are.
    """
    there = clips.dropna(axis="columns", how="all")
    names = [name for name in there if name.startswith(LABEL)]
    if LABEL + column not in names:
        known = ", ".join(name.removeprefix(LABEL) for name in names) or "no label columns"
        raise DataError(
            f"there is no label column {column!r}; the data has {known}. "
            "Labels are the further columns of a CSV or JSONL list."
        )
    return ["" if label is None else label for label in clips[LABEL + column]]


def class_columns(catalog: Catalog, label: str | None) -> tuple[list[str], list[str]]:
    """The columns that a classifier can learn, by what the catalog says, and notes on the others.

    A column that is named is learned as classes whatever it holds, if that is possible at all.

    Raises:
        DataError: there are none, or the named one cannot be learned as classes; says why.
    """
    columns = label_columns(catalog, None if label is None else (label,))
    classes: list[str] = []
    notes: list[str] = []
    for column in columns:
        quantity = is_quantity(catalog, column)
        if quantity and label is None:
            notes.append(
                f"{column}: not learned ({_numbers(column)}; named, it is taken as classes)"
            )
            continue
        try:
            class_task(clip_rows(catalog.records), column)
        except DataError as error:
            if label is not None:
                raise as_classes(column, error) if quantity else error from None
            notes.append(f"{column}: not learned ({brief(error)})")
        else:
            classes.append(column)
    if not classes:
        reasons = f" ({'; '.join(notes)})" if notes else ""
        raise DataError(
            f"{catalog.source} has no label columns of classes to learn{reasons}; give a .csv or "
            ".jsonl list with labels"
        )
    return classes, notes


def _numbers(column: str) -> str:
    return f"label column {column!r} holds numbers of many values, which a linear probe regresses"


def as_classes(column: str, error: DataError) -> DataError:
    """Why a column that looks like a quantity cannot be learned as classes either."""
    return DataError(
        f"{_numbers(column)}; as classes, for an attentive probe, it cannot be learned: "
        f"{brief(error)}"
    )


def brief(error: DataError) -> str:
    """The beginning of what an error says."""
    text = str(error)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 4]} ..."
