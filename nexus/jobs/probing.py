"""`probe`: what features are worth beside pixels and, of a run, an untrained encoder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexus.data.catalog.catalog import Catalog, Problem
from nexus.errors import DataError
from nexus.features.encoding import device_of
from nexus.jobs.console import (
    kept_features,
    progress,
    say_each,
    say_notes,
    say_problems,
    told_on_interrupt,
)
from nexus.jobs.opening import OpenedEncoder, open_encoder
from nexus.jobs.probe_place import keep_rows
from nexus.jobs.seen import with_seen
from nexus.models.contract import Encoder
from nexus.models.ssl import build_model
from nexus.probes.columns import label_columns
from nexus.probes.pixel_arms import measure_pixels, pixel_rows
from nexus.probes.predictions import probe_predictions
from nexus.probes.results import RANDOM_ARM, probe_rows
from nexus.probes.suite import measure_encoder, notes_of
from nexus.runs.folder import RunDirectory, run_folder
from nexus.runs.predictions import ProbePredictions, write_predictions
from nexus.runs.schema import ProbeRow
from nexus.training.rng import kept_rng, seed_everything


@dataclass(frozen=True)
class Arms:
    """The rows of an encoder and of what it is compared with, and what is to be said of them."""

    rows: list[ProbeRow]
    predictions: list[ProbePredictions]
    """Those of the encoder."""
    notes: list[str]
    problems: tuple[Problem, ...]


def probe(
    source: str | Path,
    data: str | Path | None = None,
    *,
    label: str | None = None,
    kinds: Sequence[str] = ("linear", "knn"),
    clips: Mapping[str, Any] | None = None,
    which: str = "target",
    seeds: int = 3,
    device: str = "auto",
) -> list[ProbeRow]:
    """Probe frozen features; rows are kept in RUN/results, or in probes/WEIGHTS.

    Args:
        source: a run's folder or a checkpoint's, probed beside raw pixels, frame differences and
            the same encoder untrained; or published weights, beside those pixels alone.
        data: a list with labels; default: the data that a run was trained on.
        label: the column to learn; default: every one.
        kinds: some of linear, knn, attentive (a small one), ridge, or `package.module:Class`.
        clips: keys of `nexus.data.clip_spec.CHOICES`: other clips than those that belong to
            published weights; runs keep their own.
        which: "target" or "context" encoder.
        seeds: repetitions of a probe that draws random numbers.

    Raises:
        CheckpointError: the weights cannot be read.
        DataError: no label columns, or none (or not the named one) that can be learned.
        OutputError: the rows cannot be kept, which is found out first.
    """
    opened = open_encoder(source, which, device=device)
    opened.check_results()
    if opened.recipe and any(value not in (None, False) for value in (clips or {}).values()):
        raise DataError(
            f"{source} is a run: it is probed on clips as its recipe cuts them, so that its rows "
            "can be compared; leave the choice of clips out, or train an attentive probe "
            "(train-probe)"
        )
    opened = opened.with_clips(clips or {})
    catalog = opened.videos(data)
    columns = label_columns(catalog, None if label is None else (label,))
    if not columns:
        raise DataError(
            f"{catalog.source} has no label columns to learn; give a .csv or .jsonl list with "
            "labels: nexus probe WEIGHTS LIST --label COLUMN"
        )
    say_problems(catalog)
    say_notes([*opened.notes, opened.off_distribution()])
    with told_on_interrupt(lambda: kept_features(opened.results / "features")):
        arms = measure_arms(opened, catalog, columns, kinds, seeds=seeds, strict=label is not None)
    say_each(arms.problems)
    say_notes(arms.notes)
    if not any(row.role == "trained" for row in arms.rows):
        raise DataError(
            f"no label column of {catalog.source} can be learned: {'; '.join(arms.notes)}"
        )
    keep_rows(opened.results / "probes.json", arms.rows, notes=arms.notes)
    write_predictions(opened.results / "predictions.json", arms.predictions)
    return arms.rows


def untrained_encoder(opened: OpenedEncoder, seed: int) -> Encoder:
    """The same encoder as it was before a training with this seed, on the same device."""
    with kept_rng():
        seed_everything(seed)
        encoder = build_model(opened.model.config).evaluation_encoder()
    return encoder.to(device_of(opened.encoder))


def measure_arms(
    opened: OpenedEncoder,
    catalog: Catalog,
    columns: Sequence[str],
    kinds: Sequence[str],
    *,
    seeds: int,
    strict: bool,
) -> Arms:
    """An encoder, the same one untrained if it is a run's, and the arms of pixels.

    Raises:
        ConfigError: an unknown kind.
        DataError: no clip could be read; with `strict`, an unfit column.
    """
    source, recipe = opened.reading(catalog), opened.recipe
    options: dict[str, Any] = {
        "kinds": kinds,
        "seeds": seeds,
        "cache_dir": opened.results / "features",
    }
    seed, spent, fresh = 0, None, None
    with progress("probing") as tick:
        own = measure_encoder(
            opened.encoder, source, columns, strict=strict, progress=tick, **options
        )
        if recipe is not None:
            seed = recipe.training.seed
            spent = RunDirectory(run_folder(opened.source)).read_info().train_seconds
            untrained = untrained_encoder(opened, seed)
            fresh = measure_encoder(untrained, source, columns, progress=tick, **options)
        pixels = measure_pixels(source, columns, **options)
        predictions = probe_predictions(opened.name, own.results, source)
    rows = probe_rows(opened.name, "trained", {seed: own.results}, train_seconds=spent)
    if fresh is not None:
        rows += probe_rows(RANDOM_ARM, "untrained", {seed: fresh.results})
    rows, seen = with_seen(opened, catalog, rows, own.problems)
    notes = [*notes_of(own, *pixels.values()), *seen]
    rows += pixel_rows(pixels, seed)
    return Arms(rows, predictions, notes, own.problems)
