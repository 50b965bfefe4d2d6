"""`probe`: what a run's features are worth beside an untrained encoder and raw pixels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nexus.checkpoints.files import read_card
from nexus.data.clip_source import ClipSource
from nexus.errors import DataError
from nexus.features.encoding import device_of
from nexus.jobs.console import progress, say_notes
from nexus.jobs.opening import is_run
from nexus.jobs.probe_place import keep_rows
from nexus.jobs.runs import (
    clip_source,
    frames_needed,
    load_for_measuring,
    read_videos,
)
from nexus.jobs.weights_probing import probe_weights
from nexus.models.contract import Encoder, checked_role
from nexus.models.ssl import build_model
from nexus.probes.columns import label_columns
from nexus.probes.results import RANDOM_ARM, pixel_rows, probe_rows
from nexus.probes.suite import measure_encoder, measure_pixels, notes_of
from nexus.runs.folder import RunDirectory, data_of, expanded, run_folder
from nexus.runs.schema import ProbeRow
from nexus.training.recipe import Recipe
from nexus.training.rng import kept_rng, seed_everything


def probe(
    run: str | Path,
    data: str | Path | None = None,
    *,
    label: str | None = None,
    kinds: Sequence[str] = ("linear", "knn"),
    clips: Mapping[str, Any] | None = None,
    which: str = "target",
    seeds: int = 3,
) -> list[ProbeRow]:
    """Probe a run's frozen features, beside random init and raw pixels; kept in RUN/results.

    Published weights are probed beside raw pixels alone; see `probe_weights`.

    Args:
        run: a run's folder or a checkpoint's; or published weights.
        data: a list with labels; default: the data that the run was trained on.
        label: the column to learn; default: every one.
        kinds: some of linear, knn, attentive.
        clips: keys of `nexus.data.clip_spec.CHOICES`: other clips than those that belong to
            published weights; runs keep their own.
        which: "target" or "context" encoder.
        seeds: repetitions of the attentive probe.

    Raises:
        CheckpointError: there is no checkpoint in `run`.
        DataError: no label columns, or one that cannot be learned.
    """
    run = expanded(run)
    if not is_run(run):
        return probe_weights(
            run, data, label=label, kinds=kinds, clips=clips, which=which, seeds=seeds
        )
    if any(value not in (None, False) for value in (clips or {}).values()):
        raise DataError(
            f"{run} is a run: it is probed on clips as its recipe cuts them, so that its rows can "
            "be compared; leave the choice of clips out, or train an attentive probe (train-probe)"
        )
    model, settings = load_for_measuring(run)
    catalog = read_videos(data_of(run) if data is None else data, frames_needed(settings))
    wanted = None if label is None else (label,)
    columns = label_columns(catalog, wanted)
    if not columns:
        raise DataError(
            f"{catalog.source} has no label columns to learn; give a .csv or .jsonl list with "
            "labels: nexus probe RUN LIST --label COLUMN"
        )
    encoder = model.evaluation_encoder(checked_role(which))
    source = clip_source(settings, catalog)
    rows, notes = probe_arms(
        run, settings, encoder, source, columns, kinds, seeds, strict=label is not None
    )
    say_notes(notes)
    if not rows:
        raise DataError(f"no label column of {catalog.source} can be learned: {'; '.join(notes)}")
    keep_rows(run_folder(run) / "results" / "probes.json", rows, notes=notes)
    return rows


def probe_arms(
    run: str | Path,
    settings: Recipe,
    encoder: Encoder,
    source: ClipSource,
    columns: Sequence[str],
    kinds: Sequence[str],
    seeds: int,
    *,
    strict: bool,
) -> tuple[list[ProbeRow], list[str]]:
    """The run's encoder, the same one untrained, and raw pixels: rows by arm, and notes."""
    card = read_card(run)
    info = RunDirectory(run_folder(run)).read_info()
    with kept_rng():
        seed_everything(settings.training.seed)
        untrained = build_model({"kind": card.kind, **card.config}).evaluation_encoder()
    untrained.to(device_of(encoder))
    options: dict[str, Any] = {
        "kinds": kinds,
        "cache_dir": run_folder(run) / "results" / "features",
    }
    with progress("probing") as tick:
        own = measure_encoder(
            encoder, source, columns, seeds=seeds, strict=strict, progress=tick, **options
        )
        fresh = measure_encoder(untrained, source, columns, seeds=seeds, progress=tick, **options)
        pixels = measure_pixels(source, columns, **options)
    seed = settings.training.seed
    rows = [
        *probe_rows(card.kind, "trained", {seed: own.results}, train_seconds=info.train_seconds),
        *probe_rows(RANDOM_ARM, "untrained", {seed: fresh.results}),
        *pixel_rows(pixels.results, seed),
    ]
    return rows, notes_of(own, pixels)
