"""Where an attentive probe's tokens come from: a table, the encoder anew, or several clips joined.

Tokens of a frozen encoder are worked out once and kept on disk where they fit; else the encoder
runs in every epoch. Both give the same tokens: those of a table are float16, so the others are
rounded to it.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from numpy import ndarray
from torch import Tensor

from nexus.data.catalog.catalog import Problem
from nexus.data.loading.clip_source import ClipSource
from nexus.data.loading.dataset import ClipDataset
from nexus.data.loading.loader import one_ahead
from nexus.errors import DataError
from nexus.features.encoding import FeatureConfig, Progress, encode_tokens, frozen
from nexus.features.extract import cache_file, extract, identity_of
from nexus.features.table import FeatureTable, clip_rows, nothing_read
from nexus.models.contract import Encoder

SPARE = 0.9
"""Share of the free disk space that kept tokens may take."""


@dataclass(frozen=True, eq=False)
class LiveTokens:
    """Tokens that the encoder works out whenever they are asked for.

    `numbers` are the rows' clips in `dataset`; the next batch is decoded meanwhile.
    """

    encoder: Encoder
    config: FeatureConfig
    dataset: ClipDataset
    numbers: Int[ndarray, " rows"]
    rows: pd.DataFrame
    problems: tuple[Problem, ...]

    @property
    def dim(self) -> int:
        """Width of a token."""
        return self.encoder.embed_dim

    def batches(self, parts: Sequence[ndarray]) -> Iterator[Tensor]:
        """The tokens of each part's rows, float32.

        Raises:
            DataError: a clip that could be read before no longer can.
        """
        for video in one_ahead(map(self._read, parts)):
            with frozen(self.encoder):
                tokens = [
                    torch.cat(encode_tokens(self.encoder, part, self.config)[0], dim=1).half()
                    for part in video.split(self.config.batch_size)
                ]
            yield torch.cat(tokens).float()

    def _read(self, rows: ndarray) -> Tensor:
        videos = []
        for number in self.numbers[rows].tolist():
            clip = self.dataset.sample(number, seed=0, epoch=0)
            if isinstance(clip, Problem):
                raise DataError(f"{clip.path}: {clip.reason}")
            videos.append(clip.video)
        return torch.stack(videos)


class JoinedTokens:
    """All clips of a sample as one row: their tokens one after the other (published practice).

    Samples with fewer than `clips` readable clips are left out; `left_out` are their keys.
    """

    def __init__(self, base: FeatureTable | LiveTokens, clips: int) -> None:
        samples: dict[str, list[int]] = {}
        for row, key in enumerate(base.rows["key"]):
            samples.setdefault(key, []).append(row)
        groups = [found for found in samples.values() if len(found) == clips]
        if not groups:
            raise DataError(f"not one video has all of its {clips} clips")
        self.left_out = tuple(key for key, found in samples.items() if len(found) != clips)
        self.base, self.groups = base, np.array(groups)
        self.problems, self.dim = base.problems, base.dim
        ends = base.rows["end"].to_numpy()[self.groups[:, -1]]
        self.rows = base.rows.iloc[self.groups[:, 0]].assign(end=ends).reset_index(drop=True)

    def batches(self, parts: Sequence[ndarray]) -> Iterator[Tensor]:
        """The tokens of each part's rows, float32."""
        clips = self.groups.shape[1]
        for tokens in self.base.batches([self.groups[rows].reshape(-1) for rows in parts]):
            yield tokens.unflatten(0, (-1, clips)).flatten(1, 2)


TokenSource = FeatureTable | LiveTokens | JoinedTokens
"""Rows of tokens in the order that they are asked for."""


def token_source(
    encoder: Encoder,
    source: ClipSource,
    config: FeatureConfig,
    *,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> FeatureTable | LiveTokens:
    """The tokens of all clips: kept in `cache_dir` if they fit there, else worked out each time.

    Args:
        config: layers, batch size and precision; its pooling does not matter.
        say: told why the tokens are not kept.

    Raises:
        DataError: not a single clip can be read.
    """
    config = config.with_changes(pooling="tokens")
    if cache_dir is not None:
        needed, free = token_bytes(encoder, source, config), _free(Path(cache_dir))
        kept = cache_file(cache_dir, identity_of(encoder, config), source).exists()
        if kept or needed <= SPARE * free:
            return extract(encoder, source, config, cache_dir=cache_dir, progress=progress)
        say(
            f"the tokens would take {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free in "
            f"{cache_dir}: they are worked out anew in every epoch"
        )
    return live_tokens(encoder, source, config, progress=progress)


def token_bytes(encoder: Encoder, source: ClipSource, config: FeatureConfig) -> int:
    """Disk space of all tokens, in bytes."""
    tokens = encoder.grid_for(source.spec.num_frames, source.spec.size).tokens
    return source.clip_count * tokens * encoder.embed_dim * len(config.layers) * 2


def live_tokens(
    encoder: Encoder,
    source: ClipSource,
    config: FeatureConfig,
    *,
    progress: Progress | None = None,
) -> LiveTokens:
    """Decode every clip once, to know which ones can be read; nothing is kept.

    Raises:
        DataError: not a single one can.
    """
    dataset = source.dataset()
    read: list[tuple[int, int, float, float]] = []
    problems: dict[tuple[str, str], Problem] = {}
    clips = (dataset.sample(n, seed=0, epoch=0) for n in range(len(dataset)))
    for number, clip in enumerate(one_ahead(clips)):
        if isinstance(clip, Problem):
            problems.setdefault((clip.path, clip.kind), clip)
        else:
            read.append((number, clip.record_index, clip.start, clip.end))
        if progress is not None:
            progress(number + 1, len(dataset))
    if not read:
        raise nothing_read(f"no clip of {source.catalog.source} could be read", problems.values())
    numbers, records, starts, ends = zip(*read, strict=True)
    rows = clip_rows(source.catalog.records).iloc[list(records)].reset_index(drop=True)
    rows = rows.assign(start=starts, end=ends)
    failed = tuple(problems.values())
    return LiveTokens(encoder, config, dataset, np.array(numbers), rows, failed)


def split_rows(rows: ndarray, size: int) -> list[ndarray]:
    """Rows in parts of `size`, in order."""
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def _free(folder: Path) -> int:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free
