"""Feature tables on disk: Parquet for other tools, npz for tokens; never pickled.

Both are written as the features come, and the tokens of an npz file are mapped when it is read, so
that neither needs the memory of all of them.
"""

import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy import ndarray

from nexus.atomic import atomic_path
from nexus.data.catalog import Problem
from nexus.errors import DataError
from nexus.features.npz import RowFile, map_array
from nexus.features.table import FeatureTable, Pooling, concatenate

FORMAT = "nexus-features-2"

_UNREADABLE = (
    *(OSError, EOFError, ValueError, KeyError, TypeError),
    *(zipfile.BadZipFile, zlib.error, pa.ArrowException),
)


def save_table(table: FeatureTable, path: str | Path) -> None:
    """Write to `.npz` or `.parquet`, atomically. Parquet takes no `tokens` features.

    Raises:
        DataError: another file ending, or tokens to Parquet.
    """
    columns = sorted({name for labels in table.labels for name in labels})
    write_tables(path, [table], lambda: table.problems, columns)


def write_tables(
    path: str | Path,
    tables: Iterable[FeatureTable],
    problems: Callable[[], Sequence[Problem]],
    columns: Sequence[str],
) -> int:
    """Write tables of one kind, one after the other, into one file; the number of rows.

    Features are written as they come, to either kind of file. `problems` is asked at the end;
    `columns` are the label columns.

    Raises:
        DataError: another file ending, tokens to Parquet, or no table at all.
    """
    path = Path(path)
    write = _write_npz if path.suffix == ".npz" else _write_parquet
    with atomic_path(path) as temporary:
        count = write(temporary, _refused(path, tables), problems, columns)
        if count is None:
            raise DataError(f"there are no features to write to {path}")
    return count


def _refused(path: Path, tables: Iterable[FeatureTable]) -> Iterator[FeatureTable]:
    for table in tables:
        check_ending(path, table.pooling)
        yield table


def _write_parquet(
    path: Path,
    tables: Iterable[FeatureTable],
    problems: Callable[[], Sequence[Problem]],
    columns: Sequence[str],
) -> int | None:
    writer, count = None, 0
    with ExitStack() as stack:
        for table in tables:
            rows = to_arrow(table, columns)
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(path, rows.schema))
            writer.write_table(rows)
            count += len(table)
        if writer is None:
            return None
        listed = [problem.to_mapping() for problem in problems()]
        writer.add_key_value_metadata({"nexus_problems": json.dumps(listed)})
    return count


def _write_npz(
    path: Path,
    tables: Iterable[FeatureTable],
    problems: Callable[[], Sequence[Problem]],
    columns: Sequence[str],
) -> int | None:
    rows, seen = RowFile(path), []
    try:
        for table in tables:
            rows.add(table.features)
            seen.append(table.known())
        if not seen:
            return None
        known = concatenate(seen)
        header = {
            **_header(known),
            "labels": [dict(labels) for labels in known.labels],
            "problems": [problem.to_mapping() for problem in problems()],
        }
        others = {
            "keys": _text(known.keys),
            "paths": _text(known.paths),
            "splits": _text(known.splits),
            "starts": known.starts,
            "ends": known.ends,
            "header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
        }
        rows.write_npz(path, "features", others)
    finally:
        rows.close()
    return rows.count


def load_table(path: str | Path) -> FeatureTable:
    """Read what `save_table` wrote.

    Raises:
        DataError: the file is missing, damaged, or is not a feature table.
    """
    path = Path(path)
    try:
        return _read_parquet(path) if path.suffix == ".parquet" else _read_npz(path)
    except _UNREADABLE as error:
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


def to_arrow(table: FeatureTable, columns: Sequence[str]) -> pa.Table:
    """The rows as an Arrow table: key, path, split, start, end, label columns, features.

    `columns` are the label columns to have.
    """
    width = table.features.shape[1]
    flat = pa.array(np.ascontiguousarray(table.features).reshape(-1))
    arrays: dict[str, Any] = {
        "key": pa.array(utf8(table.keys), pa.string()),
        "path": pa.array(utf8(table.paths), pa.string()),
        "split": pa.array([split or None for split in table.splits], pa.string()),
        "start": pa.array(table.starts, pa.float64()),
        "end": pa.array(table.ends, pa.float64()),
    }
    for name in columns:
        values = [labels.get(name) for labels in table.labels]
        arrays[f"label_{name}"] = pa.array(values, pa.string())
    arrays["features"] = pa.FixedSizeListArray.from_arrays(flat, width)
    return pa.table(arrays).replace_schema_metadata({"nexus": json.dumps(_header(table))})


def _header(table: FeatureTable) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "pooling": table.pooling,
        "grid": list(table.grid),
        "layers": list(table.layers),
    }


def _read_npz(path: Path) -> FeatureTable:
    with np.load(path, allow_pickle=False) as file:
        header = _checked(json.loads(file["header"].tobytes()))
        tokens = header["pooling"] == "tokens"
        return FeatureTable(
            features=map_array(path, "features") if tokens else file["features"],
            keys=_strings(file["keys"]),
            paths=_strings(file["paths"]),
            labels=tuple(header["labels"]),
            splits=_strings(file["splits"]),
            starts=file["starts"],
            ends=file["ends"],
            pooling=header["pooling"],
            grid=tuple(header["grid"]),
            problems=tuple(Problem(**problem) for problem in header["problems"]),
            layers=tuple(header["layers"]),
        )


def _read_parquet(path: Path) -> FeatureTable:
    # What was added when all rows were written stands in the file's metadata, not the schema's.
    metadata = pq.read_metadata(path).metadata or {}
    table = pq.read_table(path)
    header = _checked(json.loads(metadata[b"nexus"]))
    problems = json.loads(metadata[b"nexus_problems"])
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
        problems=tuple(Problem(**problem) for problem in problems),
        layers=tuple(header["layers"]),
    )


def _checked(header: dict[str, Any]) -> dict[str, Any]:
    if header["format"] != FORMAT or header["pooling"] not in get_args(Pooling):
        raise ValueError(f"unknown format {header['format']!r} or pooling {header['pooling']!r}")
    return header


def _text(values: Sequence[str]) -> ndarray:
    return np.array(values, dtype=np.str_) if values else np.zeros(0, dtype="U1")


def _strings(values: ndarray) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


def utf8(values: Sequence[str]) -> list[str]:
    """File names that are not UTF-8 become readable ones: Arrow holds nothing else."""
    return [value.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for value in values]
