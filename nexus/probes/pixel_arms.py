"""Arms that need no encoder: what the same probes read from the pixels of the same clips."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nexus.data.loading.clip_source import ClipSource
from nexus.errors import DataError
from nexus.features.extract import PIXEL_NUMBERS, frame_differences, pixel_features
from nexus.features.table import FeatureTable
from nexus.probes.columns import brief
from nexus.probes.results import probe_row
from nexus.probes.suite import Measured, build_probes, measure_tables
from nexus.runs.schema import ProbeRow

PIXEL_ARMS: Mapping[str, Callable[[FeatureTable], FeatureTable]] = {
    "raw pixels": lambda pixels: pixels,
    "frame differences": frame_differences,
}
"""What each arm is called in tables, and what it makes of the downsampled pixels."""


def measure_pixels(
    source: ClipSource,
    columns: Sequence[str],
    *,
    arms: Sequence[str] = tuple(PIXEL_ARMS),
    kinds: Sequence[str] = ("linear", "knn"),
    seeds: int = 3,
    size: int = 16,
    numbers: int = PIXEL_NUMBERS,
    cache_dir: str | Path | None = None,
) -> dict[str, Measured]:
    """Learn each label column from the clips' pixels, averaged down to `size` x `size`, by arm.

    The clips are read once for all arms. Where there are many long ones a note says how many time
    steps are left of their frames.

    Args:
        arms: names in `PIXEL_ARMS`.
        kinds: as for `measure_encoder`; probes of tokens are left out, as pixels have none.

    Raises:
        ConfigError: an unknown kind.
        DataError: no clip could be read.
    """
    probes = {kind: probe for kind, probe in build_probes(kinds).items() if probe.reads == "pooled"}
    named = " and ".join(arms)
    if not probes:
        note = f"{named}: not measured (they have no tokens to attend to)"
        return dict.fromkeys(arms, Measured({}, (note,)))
    pixels = pixel_features(source, size=size, numbers=numbers, cache_dir=cache_dir)
    frames, steps = source.spec.num_frames, pixels.grid.time
    averaged = (
        f"{named}: the {frames} frames of each clip are averaged over time to {steps} steps, so "
        f"that the {source.clip_count} clips fit into memory"
    )
    told = () if steps == frames else (averaged,)
    found = {}
    for arm in arms:
        try:
            tables = {"pooled": PIXEL_ARMS[arm](pixels)}
        except DataError as error:
            measured = Measured({}, (f"{arm}: not measured ({brief(error)})",))
        else:
            measured = measure_tables(source, tables, columns, probes, range(seeds), False, "cpu")
        found[arm] = replace(measured, notes=(*measured.notes, *told))
    return found


def pixel_rows(measured: Mapping[str, Measured], seed: int) -> list[ProbeRow]:
    """The rows of these arms: the nearest video's label is looked up, other probes learn."""
    return [
        probe_row(arm, "lookup" if probe == "knn" else "baseline", {seed: results})
        for arm, found in measured.items()
        for (_, probe), results in found.results.items()
    ]
