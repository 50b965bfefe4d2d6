"""Features of whole videos in sliding windows, with timestamps, written to Arrow or Parquet."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from nexus.data.catalog import Problem
from nexus.data.clip_source import ClipSource
from nexus.features.encoding import FeatureConfig, encode, frozen
from nexus.features.extract import Progress
from nexus.features.table import FeatureTable, clip_rows, nothing_read
from nexus.features.table_files import check_ending, write_tables
from nexus.features.window_reader import WindowReader, batched
from nexus.models.contract import Encoder
from nexus.models.heads import AttentiveHead


@dataclass(frozen=True)
class Embedded:
    """What was written: `windows` rows from `files` videos, and what could not be."""

    path: Path
    windows: int
    files: int
    problems: tuple[Problem, ...]


def embed(
    encoder: Encoder,
    source: ClipSource,
    out: str | Path,
    *,
    overlap: float = 0.0,
    config: FeatureConfig | None = None,
    num_workers: int = 1,
    still: bool = False,
    head: AttentiveHead | None = None,
    progress: Progress | None = None,
) -> Embedded:
    """Write one row a window: key, path, split, start, end (seconds), labels, features.

    Args:
        source: the videos, and how windows are cut from them and shown.
        out: an `.arrow` file, which `load_table` maps, or a `.parquet` one for other tools; written
            as it goes, for any amount of video.
        overlap: share of a window that the next one covers again.
        num_workers: threads that decode while the encoder works; 0 decodes in between.
        still: the records are pictures, each shown as often as a window has frames.
        head: the probe that pools, under `attentive` pooling; on the encoder's device.
        progress: called with (videos begun, videos in all).

    A file that fails has no rows; where only some windows cannot be decoded those are missing.
    Both are named in `problems`.

    Raises:
        DataError: another file ending, or not a single window could be read.
        NexusError: the features are not finite.
        ValueError: an overlap outside 0 to below 1.
    """
    out, config = Path(out), config or FeatureConfig()
    check_ending(out)
    catalog, reader = source.catalog, WindowReader(source, overlap, still)
    files: set[int] = set()

    def tables() -> Iterator[FeatureTable]:
        for batch in batched(reader.windows(num_workers), config.batch_size):
            video = torch.stack([item.video for item in batch])
            features, grid = encode(encoder, video, config, head)
            files.update(item.record for item in batch)
            if progress is not None:
                progress(batch[-1].record + 1, len(catalog.records))
            rows = known.iloc[[item.record for item in batch]]
            yield FeatureTable(
                features=features,
                rows=rows.assign(
                    start=[item.start for item in batch], end=[item.end for item in batch]
                ),
                pooling=config.pooling,
                grid=(grid.time, grid.height, grid.width),
                layers=config.layers,
            )
        if not files:
            raise nothing_read(f"no window of {catalog.source} could be read", reader.problems())

    known = clip_rows(catalog.records)
    with frozen(encoder):
        count = write_tables(out, tables(), reader.problems, known)
    return Embedded(out, count, len(files), reader.problems())
