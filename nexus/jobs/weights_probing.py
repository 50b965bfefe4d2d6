"""`probe` on published weights: linear and nearest-neighbour probes beside raw pixels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nexus.errors import DataError
from nexus.jobs.console import progress, say_each, say_notes, say_problems
from nexus.jobs.opening import open_encoder
from nexus.jobs.probe_place import keep_rows
from nexus.jobs.runs import read_videos
from nexus.probes.columns import label_columns
from nexus.probes.results import pixel_rows, probe_rows
from nexus.probes.suite import measure_encoder, measure_pixels, notes_of
from nexus.runs.schema import ProbeRow


def probe_weights(
    source: str | Path,
    data: str | Path | None,
    *,
    label: str | None = None,
    kinds: Sequence[str] = ("linear", "knn"),
    clips: Mapping[str, Any] | None = None,
    which: str = "target",
    seeds: int = 3,
    device: str = "auto",
) -> list[ProbeRow]:
    """Probe the frozen features of weights without a recipe; rows go to probes/WEIGHTS/probes.json.

    Args:
        source, data, clips: as for `train_probe`.
        kinds: some of linear, knn, attentive (a small one of one block).

    Raises:
        CheckpointError: the weights cannot be read.
        DataError: no label columns, or none (or not the named one) that can be learned.
    """
    if data is None:
        raise DataError(f"{source} has no data of its own; name a list with labels")
    opened = open_encoder(source, which, device=device).with_clips(clips or {})
    catalog = read_videos(data)
    columns = label_columns(catalog, None if label is None else (label,))
    if not columns:
        raise DataError(
            f"{catalog.source} has no label columns to learn; give a .csv or .jsonl list with "
            "labels"
        )
    say_problems(catalog)
    say_notes([*opened.notes, opened.off_distribution()])
    clip_source, folder = opened.reading(catalog), opened.results
    with progress("probing") as tick:
        weights = measure_encoder(
            opened.encoder,
            clip_source,
            columns,
            kinds=kinds,
            seeds=seeds,
            strict=label is not None,
            cache_dir=folder / "features",
            progress=tick,
        )
        pixels = measure_pixels(clip_source, columns, kinds=kinds, cache_dir=folder / "features")
    notes = notes_of(weights, pixels)
    say_each(weights.problems)
    say_notes(notes)
    if not weights.results:
        raise DataError(f"no label column of {catalog.source} can be learned: {'; '.join(notes)}")
    rows = probe_rows(opened.name, "trained", {0: weights.results}) + pixel_rows(pixels.results, 0)
    keep_rows(folder / "probes.json", rows, notes=notes)
    return rows
