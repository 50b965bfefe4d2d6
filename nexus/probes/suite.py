"""All probes on all label columns for one encoder, or for raw pixels: what tables are made of."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from threadpoolctl import threadpool_limits

from nexus.data.catalog import Catalog, Problem
from nexus.data.clip_source import ClipSource
from nexus.errors import DataError
from nexus.features.encoding import FeatureConfig, device_of, fitting_batch
from nexus.features.extract import PIXEL_NUMBERS, Progress, extract, pixel_features
from nexus.features.table import FeatureTable
from nexus.models.contract import Encoder
from nexus.probes.attentive import attentive_probe
from nexus.probes.columns import as_classes, brief, is_quantity
from nexus.probes.knn import knn_probe
from nexus.probes.linear import linear_probe, ridge_probe
from nexus.probes.results import ProbeResult

ProbeKind = Literal["linear", "knn", "attentive"]
PROBE_KINDS: tuple[ProbeKind, ...] = ("linear", "knn", "attentive")


@dataclass(frozen=True)
class Measured:
    """The results for one arm, by (task, probe), and the columns that could not be measured."""

    results: Mapping[tuple[str, str], Sequence[ProbeResult]]
    notes: tuple[str, ...]
    problems: tuple[Problem, ...] = ()
    """The files that could not be read, each problem once: nothing was learned from them."""

    @property
    def told(self) -> tuple[str, ...]:
        """All notes, those of the single results included, each once."""
        own = (note for found in self.results.values() for one in found for note in one.notes)
        return tuple(dict.fromkeys([*self.notes, *own]))


def notes_of(arm: Measured, *baselines: Measured) -> list[str]:
    """What is to be told beside a table: all about the arm, of baselines what concerns no label."""
    return list(dict.fromkeys([*arm.told, *(note for one in baselines for note in one.notes)]))


def measure_encoder(
    encoder: Encoder,
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
        strict: raise if a column cannot be learned; else it is left out, with a note. Columns of
            quantities are regressed; an attentive probe takes them as classes, if they can be.

    Raises:
        DataError: no clip could be read; an unknown kind; with `strict`, an unfit column.
    """
    check_kinds(kinds)
    pooled = tokens = None
    batch_size = fitting_batch(encoder, source.spec.num_frames, source.spec.size)
    if {"linear", "knn"} & set(kinds):
        config = FeatureConfig(batch_size=batch_size)
        pooled = extract(encoder, source, config, cache_dir=cache_dir, progress=progress)
    if "attentive" in kinds:
        config = FeatureConfig(pooling="tokens", batch_size=batch_size)
        tokens = extract(encoder, source, config, cache_dir=cache_dir, progress=progress)
    return _measure(source, pooled, tokens, columns, kinds, seeds, strict, str(device_of(encoder)))


def measure_pixels(
    source: ClipSource,
    columns: Sequence[str],
    *,
    kinds: Sequence[str] = ("linear", "knn"),
    size: int = 16,
    numbers: int = PIXEL_NUMBERS,
    cache_dir: str | Path | None = None,
) -> Measured:
    """The same for the pixels of the clips, averaged down to `size` x `size`: no encoder at all.

    Where there are many long clips a note says how many time steps are left of their frames.
    """
    kinds = [kind for kind in kinds if kind != "attentive"]
    if not kinds:
        return Measured({}, ("raw pixels: not measured (they have no tokens to attend to)",))
    pooled = pixel_features(source, size=size, numbers=numbers, cache_dir=cache_dir)
    measured = _measure(source, pooled, None, columns, kinds, 1, False, "cpu")
    frames, steps = source.spec.num_frames, pooled.grid[0]
    if steps == frames:
        return measured
    note = (
        f"raw pixels: the {frames} frames of each clip are averaged over time to {steps} steps, so "
        f"that the {source.clip_count} clips fit into memory"
    )
    return replace(measured, notes=(*measured.notes, note))


def check_kinds(kinds: Sequence[str]) -> None:
    """Raise DataError for a kind of probe that does not exist."""
    unknown = [kind for kind in kinds if kind not in PROBE_KINDS]
    if unknown or not kinds:
        raise DataError(
            f"unknown kind of probe {', '.join(unknown) or '(none given)'}; expected some of "
            f"{', '.join(PROBE_KINDS)}"
        )


def _measure(
    source: ClipSource,
    pooled: FeatureTable | None,
    tokens: FeatureTable | None,
    columns: Sequence[str],
    kinds: Sequence[str],
    seeds: int,
    strict: bool,
    device: str,
) -> Measured:
    results: dict[tuple[str, str], list[ProbeResult]] = {}
    tables = [table for table in (pooled, tokens) if table is not None]
    problems = tuple(dict.fromkeys(problem for table in tables for problem in table.problems))
    notes = [_left_out(source, problems)] if problems else []
    for column in columns:
        try:
            # Fits this small get slower, several-fold on a busy machine, when threads share them.
            with threadpool_limits(1):
                measured, told = _column(
                    source.catalog, pooled, tokens, column, kinds, seeds, device
                )
            for found in measured:
                results.setdefault((column, found.probe), []).append(found)
            notes += told
        except DataError as error:
            if strict:
                raise
            notes.append(f"{column}: not measured ({brief(error)})")
    return Measured(results, tuple(notes), problems)


def _left_out(source: ClipSource, problems: Sequence[Problem]) -> str:
    kinds = Counter(problem.kind.replace("_", " ") for problem in problems)
    files, clip = len({record.path for record in source.catalog.records}), source.spec
    rate = "" if clip.fps is None else f" at {clip.fps:g} a second"
    return (
        f"{source.catalog.source}, clips of {clip.num_frames} frames{rate}: "
        f"{len({problem.path for problem in problems})} of {files} files left out "
        f"({', '.join(f'{kind}: {count}' for kind, count in sorted(kinds.items()))})"
    )


def _column(
    catalog: Catalog,
    pooled: FeatureTable | None,
    tokens: FeatureTable | None,
    column: str,
    kinds: Sequence[str],
    seeds: int,
    device: str,
) -> tuple[list[ProbeResult], list[str]]:
    """What was found of a column, at least one result, and what has to be told about it.

    Raises:
        DataError: nothing could be measured.
    """
    found: list[ProbeResult] = []
    notes: list[str] = []
    quantity = is_quantity(catalog, column)
    if pooled is not None and quantity:
        found.append(ridge_probe(pooled, column))
        notes.append(
            f"{column}: numbers of many values, so they are regressed; if they stand for classes, "
            "write them as names (c12)"
        )
    elif pooled is not None:
        if "linear" in kinds:
            found.append(linear_probe(pooled, column))
        if "knn" in kinds:
            found.append(knn_probe(pooled, column))
    if tokens is not None:
        try:
            found += attentive_probe(tokens, column, seeds=range(seeds), device=device)
        except DataError as error:
            if not quantity:
                raise
            if not found:
                raise as_classes(column, error) from error
            notes.append(f"{column}: no attentive probe, as classes ({brief(error)})")
    return found, notes
