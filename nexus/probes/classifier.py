"""A trained probe at work: labels for whole videos, or for each window of them."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from nexus.atomic import atomic_path, check_writable
from nexus.checkpoints.probe_folder import ProbeCard, save_probe
from nexus.data.catalog.catalog import Catalog, Problem
from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.clip_source import ClipSource
from nexus.data.loading.loader import LoadedBatch
from nexus.data.protocol import Decoder
from nexus.data.videos.pyav import PyAVDecoder
from nexus.errors import DataError
from nexus.features.encoding import FeatureConfig, Progress, encode_tokens, frozen
from nexus.features.table import clip_rows, nothing_read
from nexus.features.table_files import utf8
from nexus.features.window_reader import WindowReader
from nexus.models.contract import Encoder
from nexus.models.heads import Head


@dataclass(frozen=True, eq=False)
class Labelled:
    """Class probabilities `(rows, classes)` of videos, or of windows of them.

    `rows`: key, path, start and end (seconds), as `nexus.features.table.clip_rows` has them;
    `problems` are the files, windows or clips that could not be used (fatal: the file has no row).
    """

    rows: pd.DataFrame
    probabilities: Float[ndarray, "rows classes"]
    classes: tuple[str, ...]
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> list[str]:
        """The most probable class of each row."""
        return [self.classes[number] for number in self.probabilities.argmax(axis=1)]

    def to_frame(self, top: int = 1) -> pd.DataFrame:
        """`top` lines a row, the most probable first: key, path, start, end, rank, label,
        probability. Names of files that are not UTF-8 are made readable, as in feature tables."""
        top = min(top, len(self.classes))
        order = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :top]
        known = self.rows[["key", "path", "start", "end"]]
        named = known.assign(key=utf8(known["key"]), path=utf8(known["path"]))
        lines = named.iloc[np.repeat(np.arange(len(self)), top)].reset_index(drop=True)
        return lines.assign(
            rank=np.tile(np.arange(1, top + 1), len(self)),
            label=[self.classes[number] for number in order.reshape(-1)],
            probability=np.take_along_axis(self.probabilities, order, 1).reshape(-1),
        )

    def save(self, path: str | Path, top: int = 1) -> Path:
        """Write `to_frame` to a `.csv`, `.parquet` or `.jsonl` file, atomically.

        Raises:
            DataError: another file ending.
            OutputError: a file that cannot be written.
        """
        path = Path(path)
        check_label_file(path)
        frame = self.to_frame(top)
        with atomic_path(path) as temporary:
            if path.suffix == ".csv":
                frame.to_csv(temporary, index=False)
            elif path.suffix == ".parquet":
                frame.to_parquet(temporary, index=False)
            else:
                lines = (json.dumps(row, ensure_ascii=False) for row in frame.to_dict("records"))
                temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path


def check_label_file(path: str | Path, force: bool = True) -> None:
    """Check that a file for labels can be written; makes nothing.

    Raises:
        DataError: another file ending than labels go to.
        OutputError: it cannot be written or, without `force`, is there already.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".parquet", ".jsonl"):
        raise DataError(f"labels go to a .csv, .parquet or .jsonl file, got {path.name!r}")
    check_writable(path, folder=False, replace=force)


class _Part(NamedTuple):
    """A clip and the probe's tokens of it, or a video or window and its probabilities."""

    record: int
    start: float
    end: float
    value: Any


@dataclass(frozen=True)
class VideoClassifier:
    """A frozen encoder, the probe on it, and the clips that the probe reads.

    Both stay on the device that they are on. `notes` are what a user should know about the probe.
    """

    encoder: Encoder
    head: Head
    card: ProbeCard
    config: FeatureConfig = field(default_factory=FeatureConfig)
    """Batch size and precision; its layers are the card's."""
    notes: tuple[str, ...] = ()
    clips_per_video: int | None = None
    """Clips that a video is labelled from, spread through it; None: as many as in training."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the probabilities."""
        return self.card.classes

    @property
    def spec(self) -> ClipSpec:
        """The clips that a video is labelled from."""
        count = self.clips_per_video or self.card.clips.clips_per_video
        return self.card.clips.with_changes(sampling="uniform", clips_per_video=count)

    def save(self, folder: str | Path) -> Path:
        """Write the probe's folder (the encoder stays where it is)."""
        return save_probe(folder, self.head, self.card)

    def clips(
        self, video: UInt8[Tensor, "batch channels time height width"]
    ) -> Float[ndarray, "batch classes"]:
        """Probabilities of clips at hand, each by itself; pixels 0 to 255.

        Raises:
            VideoShapeError: the clips do not fit the encoder.
        """
        with frozen(self.encoder), frozen(self.head):
            return self._probabilities(self._tokens(video))

    def videos(
        self,
        catalog: Catalog,
        *,
        decoder: Decoder | None = None,
        progress: Progress | None = None,
    ) -> Labelled:
        """Label each video (or segment) from its clips.

        Args:
            progress: called with (clips done, clips in all).

        A file that fails has no row; it stands in `problems`. Of a file that fails in part the
        probabilities of the other clips are averaged; where the probe joins clips it needs all of
        them, as in training, and the file has no row.

        Raises:
            DataError: not a single video could be labelled.
        """
        spec = self.spec
        failed: dict[int, list[Problem]] = {}
        source = ClipSource(spec, catalog, decoder or PyAVDecoder())
        videos: list[_Part] = []
        with frozen(self.encoder), frozen(self.head):
            read = self._read(source, failed, progress)
            for record, parts in groupby(read, attrgetter("record")):
                clips = list(parts)
                if spec.join and len(clips) < spec.clips_per_video:
                    continue
                tokens = torch.stack([clip.value for clip in clips])
                if spec.join:
                    tokens = tokens.flatten(0, 1)[None]
                mean = self._probabilities(tokens).mean(axis=0)
                videos.append(_Part(record, clips[0].start, clips[-1].end, mean))
        problems = tuple(dict.fromkeys(self._told(lost) for _, lost in sorted(failed.items())))
        if not videos and any(len(lost) < spec.clips_per_video for lost in failed.values()):
            raise nothing_read(f"no video of {catalog.source} has all of its clips", problems)
        return self._labelled(catalog, videos, problems)

    def windows(
        self,
        catalog: Catalog,
        overlap: float = 0.0,
        *,
        decoder: Decoder | None = None,
        progress: Progress | None = None,
    ) -> Labelled:
        """Label each window of each video; a window is one clip of the probe's.

        Args:
            overlap: share of a window that the next one covers again, 0 to below 1.
            progress: called with (videos begun, videos in all).

        Raises:
            DataError: not a single window could be read.
            ValueError: an overlap outside 0 to below 1.
        """
        source = ClipSource(self.spec, catalog, decoder or PyAVDecoder())
        reader = WindowReader(source, overlap)
        windows: list[_Part] = []
        with frozen(self.encoder), frozen(self.head):
            for loaded in reader.batches(self.config.batch_size, progress):
                windows += _parts(loaded, self._probabilities(self._tokens(loaded.batch.clips)))
        return self._labelled(catalog, windows, reader.problems())

    def _read(
        self, source: ClipSource, failed: dict[int, list[Problem]], progress: Progress | None
    ) -> Iterator[_Part]:
        """The clips that can be read; `failed` gets, by record, why the others cannot."""
        seen = 0
        for loaded in source.batches(self.config.batch_size):
            numbers = loaded.record_index.tolist()
            due = range(seen, seen + len(numbers) + len(loaded.failures))
            seen = due.stop
            lost = Counter(clip // source.spec.clips_per_video for clip in due) - Counter(numbers)
            for record, problem in zip(sorted(lost.elements()), loaded.failures, strict=True):
                failed.setdefault(record, []).append(problem)
            if progress is not None:
                progress(seen, source.clip_count)
            if len(loaded.batch):
                yield from _parts(loaded, self._tokens(loaded.batch.clips))

    def _told(self, lost: list[Problem]) -> Problem:
        """One record's failed clips as one problem."""
        first, count, clips = lost[0], len(lost), self.spec.clips_per_video
        if count == clips:
            return first
        text = f"labelled from {clips - count} of {clips} clips"
        if self.spec.join:
            text = f"{count} of {clips} clips cannot be read, and the probe joins all of them"
        return replace(first, reason=f"{text}: {first.reason}", fatal=self.spec.join)

    def _tokens(self, video: Tensor) -> Tensor:
        config = self.config.with_changes(layers=self.card.encoder.layers)
        return torch.cat(encode_tokens(self.encoder, video, config)[0], dim=1)

    def _probabilities(self, tokens: Tensor) -> Float[ndarray, "batch classes"]:
        return self.head(tokens).float().softmax(dim=-1).cpu().numpy()

    def _labelled(
        self, catalog: Catalog, parts: list[_Part], problems: tuple[Problem, ...]
    ) -> Labelled:
        if not parts:
            raise nothing_read(f"no clip of {catalog.source} could be read", problems)
        records, starts, ends, scores = zip(*parts, strict=True)
        known = clip_rows(catalog.records).iloc[list(records)].reset_index(drop=True)
        rows = known.assign(start=starts, end=ends)
        return Labelled(rows, np.stack(scores), self.classes, problems)


def _parts(loaded: LoadedBatch, values: Tensor | ndarray) -> Iterator[_Part]:
    numbers, starts, ends = (
        loaded.record_index.tolist(),
        loaded.starts.tolist(),
        loaded.ends.tolist(),
    )
    return map(_Part, numbers, starts, ends, values)
