"""A table of frozen features: one row a clip, with what is known about the clip."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy import ndarray

from nexus.atomic import atomic_path
from nexus.data.catalog import Problem
from nexus.errors import DataError

Pooling = Literal["mean", "mean_time", "tokens", "pixels"]
"""How a clip's tokens `(t h w)` become its features:

- `mean`: the mean over all tokens, `(dim,)`. Loses order in time unless the encoder wrote it in.
- `mean_time`: the mean over the places of each time step, the steps side by side, `(t * dim,)`.
- `tokens`: all tokens, `(t * h * w, dim)`, for attentive probes.
- `pixels`: not tokens at all but downsampled pixels, `(features,)`: the baseline.
"""

FORMAT = "nexus-features-1"


@dataclass(frozen=True)
class FeatureTable:
    """Features of N clips.

    `features`: `(N, D)` float32, or `(N, tokens, dim)` float16 under `tokens` pooling. `keys` name
    the catalog records, `paths` their files, `labels` their label columns, `splits` train,
    validation, test or "" for none; `starts` and `ends` are the clip's bounds in seconds, float64.
    `grid` is the token grid (time, height, width). `problems` are the files that are not here.
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

    def __post_init__(self) -> None:
        expected = 3 if self.pooling == "tokens" else 2
        if self.features.ndim != expected:
            raise ValueError(
                f"{self.pooling} features have {expected} axes, got shape {self.features.shape}"
            )
        columns = (self.keys, self.paths, self.labels, self.splits, self.starts, self.ends)
        if lengths := {len(column) for column in columns} - {len(self.features)}:
            raise ValueError(f"{len(self.features)} features but columns of length {lengths}")

    def __len__(self) -> int:
        return len(self.features)

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

    def save(self, path: str | Path) -> None:
        """Write to `.npz` or `.parquet`, atomically. Parquet takes no `tokens` features.

        Raises:
            DataError: another file ending, or tokens to Parquet.
        """
        path = Path(path)
        check_ending(path, self.pooling)
        with atomic_path(path) as temporary:
            if path.suffix == ".parquet":
                pq.write_table(self.to_arrow(), temporary)
            else:
                self._write_npz(temporary)

    def to_arrow(self) -> pa.Table:
        """The rows as an Arrow table: key, path, split, start, end, label columns, features."""
        width = self.features.shape[1]
        flat = pa.array(np.ascontiguousarray(self.features).reshape(-1))
        columns: dict[str, Any] = {
            "key": pa.array(self.keys, pa.string()),
            "path": pa.array(self.paths, pa.string()),
            "split": pa.array([split or None for split in self.splits], pa.string()),
            "start": pa.array(self.starts, pa.float64()),
            "end": pa.array(self.ends, pa.float64()),
        }
        for name in sorted({name for labels in self.labels for name in labels}):
            values = [labels.get(name) for labels in self.labels]
            columns[f"label_{name}"] = pa.array(values, pa.string())
        columns["features"] = pa.FixedSizeListArray.from_arrays(flat, width)
        return pa.table(columns).replace_schema_metadata({"nexus": json.dumps(self._header())})

    def _header(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "pooling": self.pooling,
            "grid": list(self.grid),
            "problems": [problem.to_mapping() for problem in self.problems],
        }

    def _write_npz(self, path: Path) -> None:
        header = {**self._header(), "labels": [dict(labels) for labels in self.labels]}
        with path.open("wb") as handle:
            np.savez(
                handle,
                features=self.features,
                keys=_text(self.keys),
                paths=_text(self.paths),
                splits=_text(self.splits),
                starts=self.starts,
                ends=self.ends,
                header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
            )


def load_table(path: str | Path) -> FeatureTable:
    """Read what `FeatureTable.save` wrote.

    Raises:
        DataError: the file is missing, damaged, or is not a feature table.
    """
    path = Path(path)
    try:
        return _read_parquet(path) if path.suffix == ".parquet" else _read_npz(path)
    except (OSError, ValueError, KeyError, TypeError, EOFError, pa.ArrowException) as error:
        raise DataError(
            f"{path} cannot be read as a feature table ({error}); expected a .npz or .parquet "
            "file that nexus wrote"
        ) from error


def check_ending(path: Path, pooling: Pooling) -> None:
    """Refuse a file ending, or a pooling, that feature files do not have.

    Raises:
        DataError: as said.
    """
    if path.suffix not in (".npz", ".parquet"):
        raise DataError(f"features go to a .npz or .parquet file, got {path.name!r}")
    if path.suffix == ".parquet" and pooling == "tokens":
        raise DataError("tokens features are three-dimensional: write them to a .npz file")


def _read_npz(path: Path) -> FeatureTable:
    with np.load(path, allow_pickle=False) as file:
        header = _checked(json.loads(file["header"].tobytes()))
        return FeatureTable(
            features=file["features"],
            keys=_strings(file["keys"]),
            paths=_strings(file["paths"]),
            labels=tuple(header["labels"]),
            splits=_strings(file["splits"]),
            starts=file["starts"],
            ends=file["ends"],
            pooling=header["pooling"],
            grid=tuple(header["grid"]),
            problems=tuple(Problem(**problem) for problem in header["problems"]),
        )


def _read_parquet(path: Path) -> FeatureTable:
    table = pq.read_table(path)
    header = _checked(json.loads((table.schema.metadata or {})[b"nexus"]))
    column = table.column("features").combine_chunks()
    names = [name for name in table.column_names if name.startswith("label_")]
    rows = table.select(names).to_pylist()
    return FeatureTable(
        features=column.flatten().to_numpy().reshape(len(table), -1),
        keys=tuple(table.column("key").to_pylist()),
        paths=tuple(table.column("path").to_pylist()),
        labels=tuple(
            {name.removeprefix("label_"): row[name] for name in names if row[name] is not None}
            for row in rows
        ),
        splits=tuple(split or "" for split in table.column("split").to_pylist()),
        starts=table.column("start").to_numpy(),
        ends=table.column("end").to_numpy(),
        pooling=header["pooling"],
        grid=tuple(header["grid"]),
        problems=tuple(Problem(**problem) for problem in header["problems"]),
    )


def _checked(header: dict[str, Any]) -> dict[str, Any]:
    if header["format"] != FORMAT or header["pooling"] not in get_args(Pooling):
        raise ValueError(f"unknown format {header['format']!r} or pooling {header['pooling']!r}")
    return header


def _text(values: Sequence[str]) -> ndarray:
    return np.array(values, dtype=np.str_) if values else np.zeros(0, dtype="U1")


def _strings(values: ndarray) -> tuple[str, ...]:
    return tuple(str(value) for value in values)
