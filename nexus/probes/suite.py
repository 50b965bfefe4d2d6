"""All probes on all label columns for one encoder: what tables are made of."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from threadpoolctl import threadpool_limits

from nexus.data.catalog.catalog import Catalog, Problem
from nexus.data.loading.clip_source import ClipSource
from nexus.errors import ConfigError, DataError
from nexus.features.encoding import FeatureConfig, Progress, device_of, fitting_batch
from nexus.features.extract import extract
from nexus.features.table import FeatureTable
from nexus.models.contract import Encoder
from nexus.probes.columns import as_classes, brief, is_quantity
from nexus.probes.results import ProbeResult
from nexus.registry import Registry


class Probe(Protocol):
    """Something that learns a label column from frozen features."""

    @property
    def reads(self) -> Literal["pooled", "tokens"]:
        """One vector a clip, or all of its tokens."""
        ...

    def measure(
        self, features: FeatureTable, column: str, *, seeds: Sequence[int], device: str
    ) -> Sequence[ProbeResult]:
        """Learn a column; a result for each seed, or one where nothing is drawn at random.

        Raises:
            DataError: the column cannot be learned.
        """
        ...


PROBES = Registry(
    "probe",
    {
        "linear": "nexus.probes.linear:LinearProbe",
        "knn": "nexus.probes.knn:KNNProbe",
        "attentive": "nexus.probes.attentive:AttentiveProbe",
        "ridge": "nexus.probes.linear:RidgeProbe",
    },
)
REGRESSED = ("linear", "knn")
"""Probes of classes in whose place a ridge regression learns a column of quantities."""


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
        kinds: names in `PROBES`, or `package.module:Class` of a `Probe` of your own.
        seeds: repetitions of the probes that draw random numbers.
        strict: raise if a column cannot be learned; else it is left out, with a note. Columns of
            quantities are regressed; an attentive probe takes them as classes, if they can be.

    Raises:
        ConfigError: an unknown kind.
        DataError: no clip could be read; with `strict`, an unfit column.
    """
    probes = build_probes(kinds)
    batch_size = fitting_batch(encoder, source.spec.num_frames, source.spec.size)
    poolings: dict[str, Literal["mean", "tokens"]] = {"pooled": "mean", "tokens": "tokens"}
    tables = {}
    for reads, pooling in poolings.items():
        if any(probe.reads == reads for probe in probes.values()):
            config = FeatureConfig(pooling=pooling, batch_size=batch_size)
            tables[reads] = extract(encoder, source, config, cache_dir=cache_dir, progress=progress)
    device = str(device_of(encoder))
    return measure_tables(source, tables, columns, probes, range(seeds), strict, device)


def build_probes(kinds: Sequence[str]) -> dict[str, Probe]:
    """The probes of some kinds, by name.

    Raises:
        ConfigError: there is no such probe, none is given, or one is none.
    """
    probes: dict[str, Any] = {kind: PROBES.build(kind) for kind in kinds}
    if not probes:
        raise ConfigError(f"no kind of probe is given; known: {', '.join(PROBES.names)}")
    for name, probe in probes.items():
        reads = getattr(probe, "reads", None)
        if reads not in ("pooled", "tokens") or not hasattr(probe, "measure"):
            raise ConfigError(
                f"probe {name!r} reads {reads!r}; expected an attribute reads that is 'pooled' or "
                "'tokens', and a method measure (see nexus.probes.suite.Probe)"
            )
    return probes


def measure_tables(
    source: ClipSource,
    tables: Mapping[str, FeatureTable],
    columns: Sequence[str],
    probes: Mapping[str, Probe],
    seeds: Sequence[int],
    strict: bool,
    device: str,
) -> Measured:
    """Learn each label column from tables of features, by what the probes read; see `Probe`.

    Raises:
        DataError: with `strict`, a column that cannot be learned.
    """
    results: dict[tuple[str, str], list[ProbeResult]] = {}
    problems = tuple(
        dict.fromkeys(problem for table in tables.values() for problem in table.problems)
    )
    notes = [_left_out(source, problems)] if problems else []
    for column in columns:
        try:
            # Fits this small get slower, several-fold on a busy machine, when threads share them.
            with threadpool_limits(1):
                measured, told = _column(source.catalog, tables, column, probes, seeds, device)
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
    return (
        f"{source.catalog.source}, clips of {clip.num_frames} frames {clip.pace}: "
        f"{len({problem.path for problem in problems})} of {files} files left out "
        f"({', '.join(f'{kind}: {count}' for kind, count in sorted(kinds.items()))})"
    )


def _column(
    catalog: Catalog,
    tables: Mapping[str, FeatureTable],
    column: str,
    probes: Mapping[str, Probe],
    seeds: Sequence[int],
    device: str,
) -> tuple[list[ProbeResult], list[str]]:
    """What was found of a column, at least one result, and what has to be told about it.

    Raises:
        DataError: nothing could be measured.
    """
    found: list[ProbeResult] = []
    notes: list[str] = []
    quantity = is_quantity(catalog, column)
    chosen = dict(probes)
    if quantity and any(kind in REGRESSED for kind in probes):
        chosen = {"ridge": PROBES.build("ridge")}
        chosen |= {kind: probe for kind, probe in probes.items() if kind not in REGRESSED}
        notes.append(
            f"{column}: numbers of many values, so they are regressed; if they stand for classes, "
            "write them as names (c12)"
        )
    for kind, probe in chosen.items():
        try:
            features = tables[probe.reads]
            found += probe.measure(features, column, seeds=seeds, device=device)
        except DataError as error:
            if not quantity or kind != "attentive":
                raise
            if not found:
                raise as_classes(column, error) from error
            notes.append(f"{column}: no attentive probe, as classes ({brief(error)})")
    return found, notes
