"""A table of frozen features: one row a clip, with what is known about the clip."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from nexus.data.catalog import Problem, VideoRecord
from nexus.errors import DataError

Pooling = Literal["mean", "mean_time", "tokens", "attentive", "pixels"]
"""How a clip's tokens `(t h w)` become its features:

- `mean`: the mean over all tokens, `(dim,)`. Loses order in time unless the encoder wrote it in.
- `mean_time`: the mean over the places of each time step, the steps side by side, `(t * dim,)`.
- `tokens`: all tokens, `(t * h * w, dim)`, for attentive probes.
- `attentive`: the vector that a trained attentive probe pools, `(dim,)`.
- `pixels`: not tokens at all but downsampled pixels, `(features,)`: the baseline.
"""


@dataclass(frozen=True)
class FeatureTable:
    """Features of N clips.

    `features`: `(N, D)` float32, or `(N, tokens, dim)` float16 under `tokens` pooling. `keys` name
    the catalog records, `paths` their files, `labels` their label columns, `splits` train,
    validation, test or "" for none; `starts` and `ends` are the clip's bounds in seconds, float64.
    `grid` is the token grid (time, height, width). `layers` are the blocks whose features stand
    side by side in `dim`; -1 is the last. `problems` are the files that are not here.

    Tokens that come from a file are mapped, not read: only the rows that are asked for are.
    """

    features: ndarray
    keys: tuple[str, ...]
    paths: tuple[str, ...]
    labels: tuple[Mapping[str, str], ...]
    splits: tuple[str, ...]
    starts: ndarray
    ends: ndarray
    pooling: Pooling
    grid: tuple[int, int, int]
    problems: tuple[Problem, ...] = ()
    layers: tuple[int, ...] = (-1,)

    def __post_init__(self) -> None:
        expected = 3 if self.pooling == "tokens" else 2
        if self.features.ndim != expected:
            raise ValueError(
                f"{self.pooling} features have {expected} axes, got shape {self.features.shape}"
            )
        columns = (self.keys, self.paths, self.labels, self.splits, self.starts, self.ends)
        if lengths := {len(column) for column in columns} - {len(self.features)}:
            raise ValueError(f"{len(self.features)} features but columns of length {lengths}")

    @classmethod
    def of_records(
        cls, features: ndarray, records: Sequence[VideoRecord], **columns: Any
    ) -> "FeatureTable":
        """A table with a row for each of the records; `columns` are the fields that they lack."""
        return cls(
            features=features,
            keys=tuple(record.key for record in records),
            paths=tuple(str(record.path) for record in records),
            labels=tuple(record.label_texts for record in records),
            splits=tuple(record.split or "" for record in records),
            **columns,
        )

    def __len__(self) -> int:
        return len(self.features)

    def known(self) -> "FeatureTable":
        """The same rows without their features: what is known about each clip."""
        count, *rest = self.features.shape
        # Not a slice: that would keep all features in memory.
        return replace(self, features=np.zeros((count, 0, *rest[1:]), self.features.dtype))

    def take(self, rows: Int[ndarray, " chosen"]) -> "FeatureTable":
        """Some rows, in the order given."""
        names = ("keys", "paths", "labels", "splits")
        columns = {name: tuple(getattr(self, name)[row] for row in rows) for name in names}
        return replace(
            self,
            features=self.features[rows],
            starts=self.starts[rows],
            ends=self.ends[rows],
            **columns,
        )

    def pooled(self, pooling: Pooling) -> "FeatureTable":
        """The same clips under a coarser pooling (`tokens` to `mean_time` to `mean`).

        Raises:
            ValueError: the table is already coarser than what is asked for.
        """
        if pooling == self.pooling:
            return self
        count, (time, height, width) = len(self), self.grid
        if self.pooling == "tokens" and pooling in ("mean", "mean_time"):
            tokens = self.features.reshape(count, time, height * width, -1)
            steps = tokens.mean(axis=2, dtype=np.float32)
        elif self.pooling == "mean_time" and pooling == "mean":
            steps = self.features.reshape(count, time, -1)
        else:
            raise ValueError(f"{self.pooling} features cannot become {pooling} features")
        features = steps.mean(axis=1) if pooling == "mean" else steps.reshape(count, -1)
        return replace(self, features=features, pooling=pooling)


def concatenate(tables: Sequence[FeatureTable]) -> FeatureTable:
    """One table with the rows of several of the same pooling and grid."""
    return replace(
        tables[0],
        features=np.concatenate([table.features for table in tables]),
        keys=tuple(key for table in tables for key in table.keys),
        paths=tuple(path for table in tables for path in table.paths),
        labels=tuple(labels for table in tables for labels in table.labels),
        splits=tuple(split for table in tables for split in table.splits),
        starts=np.concatenate([table.starts for table in tables]),
        ends=np.concatenate([table.ends for table in tables]),
        problems=tuple(problem for table in tables for problem in table.problems),
    )


def nothing_read(what: str, problems: Iterable[Problem]) -> DataError:
    """The error of a job of which nothing is left: `what`, and the reasons."""
    listed = "; ".join(f"{problem.path}: {problem.reason}" for problem in problems)
    return DataError(f"{what} ({listed[:600]})")
