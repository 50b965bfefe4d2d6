"""Worlds to measure in: features with a known best accuracy, videos with known pixels."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy import ndarray

from nexus.data.catalog.catalog import Catalog, VideoRecord
from nexus.data.pictures import PictureView, collect
from nexus.errors import DataError
from nexus.features.table import FeatureTable, as_objects
from nexus.models.encoder import EncoderConfig, VideoEncoder
from nexus.nn.grid import Grid


def make_table(
    features: ndarray,
    labels: Sequence[Any],
    splits: Sequence[str] | None = None,
    *,
    keys: Sequence[str] | None = None,
    paths: Sequence[str] | None = None,
    column: str = "class",
) -> FeatureTable:
    """A table around given features; an empty label means that the clip has none."""
    count = len(features)
    keys = keys or [f"clip{number:05d}.mp4" for number in range(count)]
    columns = {
        "key": as_objects(keys),
        "path": as_objects(paths or keys),
        "split": as_objects(splits or [""] * count),
        "start": np.zeros(count),
        "end": np.ones(count),
        f"label_{column}": as_objects(None if label == "" else label for label in labels),
    }
    return FeatureTable(
        features=features,
        rows=pd.DataFrame(columns),
        pooling="tokens" if features.ndim == 3 else "mean",
        grid=Grid(1, 1, features.shape[1] if features.ndim == 3 else 1),
    )


def coarser(table: FeatureTable, pooling: str) -> FeatureTable:
    """A table of tokens as pooling by the mean, over all tokens or those of a time step, has it."""
    tokens = np.asarray(table.features[:], np.float32)
    steps = 1 if pooling == "mean" else table.grid.time
    means = tokens.reshape(len(table), steps, -1, tokens.shape[-1]).mean(axis=2)
    return replace(table, features=means.reshape(len(table), -1), pooling=pooling)


def three_splits(train: int, validation: int, test: int) -> list[str]:
    """Split names in blocks."""
    return ["train"] * train + ["validation"] * validation + ["test"] * test


def two_gaussians(
    count: int, dim: int, distance: float, seed: int = 0
) -> tuple[ndarray, list[str]]:
    """Two unit Gaussians, means `distance` apart: Bayes accuracy is Phi(distance / 2)."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    features = generator.normal(size=(count, dim))
    axis = generator.normal(size=dim)
    features += np.outer(labels - 0.5, distance * axis / np.linalg.norm(axis))
    return features.astype(np.float32), [f"c{label}" for label in labels]


class MemoryDecoder:
    """Videos that exist in memory, at a steady rate; frames from `broken[path]` on do not decode.

    Frame n of a video shows n in its red channel, the number of the video in its green one, and
    noise in its blue one.
    """

    name = "memory"

    def __init__(self, records: Sequence[VideoRecord]) -> None:
        self.records = {str(record.path): (n, record) for n, record in enumerate(records)}
        self.broken: dict[str, int] = {}
        self.requests: list[tuple[str, int]] = []

    def timestamps(self, path: str | Path) -> ndarray:
        if not Path(path).exists():
            raise DataError(f"{path}: no such file")
        record = self.records[str(path)][1]
        return np.arange(record.num_frames) / record.fps

    def frames(
        self, path: str | Path, indices: ndarray, view: PictureView | None = None
    ) -> ndarray:
        number, record = self.records[str(path)]
        self.requests.append((str(path), len(indices)))
        if indices.max() >= self.broken.get(str(path), record.num_frames):
            raise DataError(f"{path}: frame {indices.max()} is damaged")
        pictures = picture_frames(number, record)[indices]
        return collect(pictures, np.arange(len(pictures)), view)


def picture_frames(number: int, record: VideoRecord) -> ndarray:
    """All frames of a memory video, uint8 (frames, height, width, 3)."""
    shape = (record.num_frames, record.height, record.width, 3)
    frames = np.random.default_rng(number).integers(0, 256, shape).astype(np.uint8)
    frames[..., 0] = np.arange(record.num_frames)[:, None, None]
    frames[..., 1] = number
    return frames


def memory_world(
    folder: Path, lengths: Sequence[int], *, labels: Sequence[str] = (), size: int = 16
) -> tuple[Catalog, MemoryDecoder]:
    """A catalog of memory videos at 10 frames a second; each has a real (empty) file."""
    records = []
    for number, length in enumerate(lengths):
        path = folder / f"video {number}.mp4"
        path.touch()
        record = VideoRecord(
            path=path,
            key=path.name,
            kind="video",
            num_frames=length,
            fps=10.0,
            duration=length / 10,
            height=size,
            width=size,
            codec="memory",
            variable_frame_rate=False,
            labels={"class": labels[number]} if labels else {},
            split=("train", "validation", "test")[number % 3],
        )
        records.append(record)
    return Catalog("memory", tuple(records), ()), MemoryDecoder(records)


def tiny_encoder(seed: int = 0) -> VideoEncoder:
    """An untrained encoder for clips of 4 frames of 16 x 16 pixels: 2 x 2 x 2 tokens of 8."""
    torch.manual_seed(seed)
    return VideoEncoder(
        EncoderConfig(
            img_size=16,
            patch_size=8,
            num_frames=4,
            encoder_dim=8,
            num_heads=2,
            num_spatial_layers=1,
            num_temporal_layers=1,
        )
    )
