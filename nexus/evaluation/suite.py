"""All probes on all label columns for one encoder, or for raw pixels: what tables are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from threadpoolctl import threadpool_limits

from nexus.data.catalog import Catalog, Problem
from nexus.errors import DataError
from nexus.evaluation.attentive import attentive_probe
from nexus.evaluation.features import Progress, extract, pixel_features
from nexus.evaluation.frozen import FeatureConfig, device_of, fitting_batch
from nexus.evaluation.knn import knn_probe
from nexus.evaluation.probes import linear_probe, ridge_probe
from nexus.evaluation.results import ProbeResult
from nexus.evaluation.source import ClipSource
from nexus.evaluation.table import FeatureTable
from nexus.models.encoder import VideoEncoder

ProbeKind = Literal["linear", "knn", "attentive"]
PROBE_KINDS: tuple[ProbeKind, ...] = ("linear", "knn", "attentive")
MANY_VALUES = 20
"""A column of numbers with more different values than this is a quantity, not a set of classes."""


@dataclass(frozen=True)
class Measured:
    """The results for one arm, by (task, probe), and the columns that could not be measured."""

    results: Mapping[tuple[str, str], Sequence[ProbeResult]]
    notes: tuple[str, ...]
    problems: tuple[Problem, ...] = ()
    """The files that could not be read, each problem once: nothing was learned from them."""


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
    """Whether a label column holds numbers of many different values (then it is a regression)."""
    values = set(catalog.label_values(column)) - {""}
    try:
        return len({float(value) for value in values}) > MANY_VALUES
    except ValueError:
        return False


def measure_encoder(
    encoder: VideoEncoder,
    source: ClipSource,
    columns: Sequence[str],
    *,
    kinds: Sequence[str] = ("linear", "knn"),
    seeds: int = 3,
    strict: bool = False,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Learn each label column from an encoder's frozen features with each kind of probe.

    Args:
        seeds: repetitions of the attentive probe; the others draw no random numbers.
        strict: raise if a column cannot be learned; else it is left out, with a note.

    Raises:
        DataError: no clip could be read; an unknown kind; with `strict`, an unfit column.
    """
    check_kinds(kinds)
    pooled = tokens = None
    batch_size = fitting_batch(encoder, source.clip.num_frames, source.sides)
    if {"linear", "knn"} & set(kinds):
        config = FeatureConfig(batch_size=batch_size)
        pooled = extract(encoder, source, config, cache_dir=cache_dir, progress=progress)
    if "attentive" in kinds:
        config = FeatureConfig(pooling="tokens", batch_size=batch_size)
        tokens = extract(encoder, source, config, cache_dir=cache_dir, progress=progress)
    return _measure(
        source.catalog, pooled, tokens, columns, kinds, seeds, strict, str(device_of(encoder))
    )


def measure_pixels(
    source: ClipSource,
    columns: Sequence[str],
    *,
    kinds: Sequence[str] = ("linear", "knn"),
    size: int = 16,
    cache_dir: str | Path | None = None,
) -> Measured:
    """The same for the pixels of the clips, averaged down to `size` x `size`: no encoder at all."""
    pooled = pixel_features(source, size=size, cache_dir=cache_dir)
    kinds = [kind for kind in kinds if kind != "attentive"]
    return _measure(source.catalog, pooled, None, columns, kinds, 1, False, "cpu")


def check_kinds(kinds: Sequence[str]) -> None:
    """Raise DataError for a kind of probe that does not exist."""
    unknown = [kind for kind in kinds if kind not in PROBE_KINDS]
    if unknown or not kinds:
        raise DataError(
            f"unknown kind of probe {', '.join(unknown) or '(none given)'}; expected some of "
            f"{', '.join(PROBE_KINDS)}"
        )


def _measure(
    catalog: Catalog,
    pooled: FeatureTable | None,
    tokens: FeatureTable | None,
    columns: Sequence[str],
    kinds: Sequence[str],
    seeds: int,
    strict: bool,
    device: str,
) -> Measured:
    results: dict[tuple[str, str], list[ProbeResult]] = {}
    notes: list[str] = []
    for column in columns:
        try:
            # Fits this small get slower, several-fold on a busy machine, when threads share them.
            with threadpool_limits(1):
                measured = _column(catalog, pooled, tokens, column, kinds, seeds, device)
            for found in measured:
                results.setdefault((column, found.probe), []).append(found)
        except DataError as error:
            if strict:
                raise
            notes.append(f"{column}: not measured ({error})")
    tables = [table for table in (pooled, tokens) if table is not None]
    problems = dict.fromkeys(problem for table in tables for problem in table.problems)
    return Measured(results, tuple(notes), tuple(problems))


def _column(
    catalog: Catalog,
    pooled: FeatureTable | None,
    tokens: FeatureTable | None,
    column: str,
    kinds: Sequence[str],
    seeds: int,
    device: str,
) -> list[ProbeResult]:
    if is_quantity(catalog, column):
        return [] if pooled is None else [ridge_probe(pooled, column)]
    found: list[ProbeResult] = []
    if pooled is not None and "linear" in kinds:
        found.append(linear_probe(pooled, column))
    if pooled is not None and "knn" in kinds:
        found.append(knn_probe(pooled, column))
    if tokens is not None:
        found += attentive_probe(tokens, column, seeds=range(seeds), device=device)
    return found
