"""Label columns: which there are, and whether they hold classes or quantities."""

import math
from collections.abc import Sequence

import numpy as np

from nexus.data.catalog import Catalog
from nexus.errors import DataError
from nexus.features.table import FeatureTable
from nexus.probes.splits import class_task

MANY_VALUES = 20
"""A column of at most so many different numbers is a set of classes."""
REPEATS = 2
"""Whole numbers that stand for this many samples each, on average, are classes however many."""
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
    """Whether a label column is to be regressed: numbers of many different values, of which some
    are not whole or hardly any comes twice. Whole numbers that repeat are numbers of classes."""
    labels = [record.label_texts.get(column, "") for record in catalog.records]
    try:
        values = [float(label) for label in labels if label]
    except ValueError:
        return False
    values = [value for value in values if math.isfinite(value)]
    different = len(set(values))
    whole = all(value.is_integer() for value in values)
    return different > MANY_VALUES and not (whole and len(values) >= REPEATS * different)


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
            class_task(_labels_alone(catalog), column)
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


def _labels_alone(catalog: Catalog) -> FeatureTable:
    """A table without features: enough to see which splits and classes a column has."""
    records = catalog.records
    return FeatureTable.of_records(
        np.zeros((len(records), 0), np.float32),
        records,
        starts=np.zeros(len(records)),
        ends=np.zeros(len(records)),
        pooling="mean",
        grid=(1, 1, 1),
    )


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
