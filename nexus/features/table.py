"""A table of frozen features: one row a clip, with what is known about the clip."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from nexus.data.catalog.catalog import Problem, VideoRecord
from nexus.errors import DataError
from nexus.nn.grid import Grid

Pooling = Literal["mean", "mean_time", "tokens", "attentive", "pixels"]
"""How a clip's tokens `(t h w)` become its features:

- `mean`: the mean over all tokens, `(dim,)`. Loses order in time unless the encoder wrote it in.
- `mean_time`: the mean over the places of each time step, the steps side by side, `(t * dim,)`.
- `tokens`: all tokens, `(t * h * w, dim)`, for attentive probes.
- `attentive`: the vector that a trained attentive probe pools, `(dim,)`.
- `pixels`: not tokens at all but downsampled pixels, `(features,)`: the baseline.
"""
LABEL = "label_"
"""What the names of label columns begin with."""
ROWS_AT_ONCE = 64


class PiecewiseRows:
    """The rows of several arrays, one after the other, as if they were one.

    The arrays may be mapped from a file: only the rows that are asked for are read.
    """

    def __init__(self, pieces: Sequence[ndarray]) -> None:
        self.pieces = list(pieces)
        self.firsts = np.cumsum([0, *(len(piece) for piece in pieces)])
        self.dtype = pieces[0].dtype
        self.shape = (int(self.firsts[-1]), *pieces[0].shape[1:])
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def __getitem__(self, rows: Any) -> ndarray:
        """A copy of some rows: a number, a slice, numbers, or a mask."""
        numbers = np.arange(len(self))[rows]
        out = np.empty((*numbers.shape, *self.shape[1:]), self.dtype)
        piece = np.searchsorted(self.firsts, numbers, side="right") - 1
        for place in np.ndindex(numbers.shape):
            at = piece[place]
            out[place] = self.pieces[int(at)][int(numbers[place] - self.firsts[at])]
        return out


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Features of N clips.

    `features`: `(N, D)` float32, or `(N, tokens, dim)` float16 under `tokens` pooling. `rows`: what
    is known about each clip, as `clip_rows` has it. `grid` is the token grid.
    `layers` are the blocks whose features stand side by side in `dim`; -1 is the last. `problems`
    are the files that are not here. `about` says what made them: weights, clips, preprocessing.
    """

    features: ndarray | PiecewiseRows
    rows: pd.DataFrame
    pooling: Pooling
    grid: Grid
    problems: tuple[Problem, ...] = ()
    layers: tuple[int, ...] = (-1,)
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expected = 3 if self.pooling == "tokens" else 2
        if self.features.ndim != expected:
            raise ValueError(
                f"{self.pooling} features have {expected} axes, got shape {self.features.shape}"
            )
        if len(self.features) != len(self.rows):
            raise ValueError(f"{len(self.features)} features of {len(self.rows)} clips")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dim(self) -> int:
        """Width of a token.

        Raises:
            ValueError: the features are pooled.
        """
        if self.features.ndim != 3:
            raise ValueError(
                f"an attentive probe takes tokens, got {self.pooling} features; extract them with "
                "pooling 'tokens'"
            )
        return self.features.shape[2] // len(self.layers)

    def batches(
        self, parts: Sequence[Int[ndarray, " rows"]]
    ) -> Iterator[Float[Tensor, "rows tokens dim"]]:
        """The tokens of each part's rows, float32; those of several layers one after the other."""
        for rows in parts:
            tokens = torch.from_numpy(np.asarray(self.features[rows])).float()
            # So do the published probes read several layers (Diving48: four).
            yield tokens.unflatten(-1, (len(self.layers), -1)).transpose(1, 2).flatten(1, 2)

    def take(self, rows: Int[ndarray, " chosen"]) -> "FeatureTable":
        """Some rows, in the order given."""
        chosen = self.rows.iloc[rows].reset_index(drop=True)
        return replace(self, features=self.features[rows], rows=chosen)

    def parts(self) -> Iterator["FeatureTable"]:
        """The same rows, a few at a time."""
        numbers = np.arange(len(self))
        for first in range(0, len(self), ROWS_AT_ONCE):
            yield self.take(numbers[first : first + ROWS_AT_ONCE])


def clip_rows(records: Sequence[VideoRecord]) -> pd.DataFrame:
    """What is known about the records' clips, one row each.

    `key`, `path`, `split` ("" for none), `start`, `end` (seconds; NaN until a clip is chosen), and
    a column `label_<name>` for each label that there is (None where a record lacks it).
    """
    names = sorted({name for record in records for name in record.labels})
    return pd.DataFrame(
        {
            "key": as_objects(record.key for record in records),
            "path": as_objects(str(record.path) for record in records),
            "split": as_objects(record.split or "" for record in records),
            "start": np.full(len(records), np.nan),
            "end": np.full(len(records), np.nan),
            **{
                LABEL + name: as_objects(record.labels.get(name) for record in records)
                for name in names
            },
        }
    )


def as_objects(values: Iterable[Any]) -> pd.Series:
    """A column of Python objects: names of files need not be UTF-8, labels may be tuples."""
    return pd.Series(list(values), dtype=object)


def concatenate(tables: Sequence[FeatureTable]) -> FeatureTable:
    """One table with the rows of several of the same pooling, grid and columns."""
    return replace(
        tables[0],
        features=np.concatenate([np.asarray(table.features[:]) for table in tables]),
        rows=pd.concat([table.rows for table in tables], ignore_index=True),
    )


def nothing_read(what: str, problems: Iterable[Problem]) -> DataError:
    """The error of a job of which nothing is left: `what`, and the reasons."""
    listed = "; ".join(f"{problem.path}: {problem.reason}" for problem in problems)
    return DataError(f"{what} ({listed[:600]})")
