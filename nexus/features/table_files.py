"""Feature tables on disk: Arrow's IPC format, mapped when read; or Parquet for other tools.

Both hold the same columns: those of `FeatureTable.rows`, and `features`, a tensor of fixed shape in
each row; and in the schema's metadata, under `nexus`, JSON of what made them. They are written
batch by batch as the features come, so that neither needs the memory of all of them; nor does
reading tokens from an `.arrow` file.
"""

import json
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import astuple
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy import ndarray

from nexus.atomic import atomic_path
from nexus.data.catalog.catalog import Problem
from nexus.data.catalog.labels import Label, label_text
from nexus.errors import DataError
from nexus.features.table import (
    LABEL,
    FeatureTable,
    PiecewiseRows,
    Pooling,
    as_objects,
)
from nexus.nn.grid import Grid

FORMAT, FORMAT_0_1 = "nexus-features-3", "nexus-features-2"
TEXTS, TIMES = ("key", "path", "split"), ("start", "end")

_UNREADABLE = (
    *(OSError, EOFError, ValueError, KeyError, TypeError),
    *(zipfile.BadZipFile, zlib.error, pa.ArrowException),
)


def save_table(table: FeatureTable, path: str | Path) -> int:
    """Write to an `.arrow` or `.parquet` file, atomically; the number of rows.

    Raises:
        DataError: another file ending.
    """
    return write_tables(path, table.parts(), lambda: table.problems, table.rows)


def write_tables(
    path: str | Path,
    tables: Iterable[FeatureTable],
    problems: Callable[[], Sequence[Problem]],
    known: pd.DataFrame,
) -> int:
    """Write tables of one kind, one after the other, into one file; the number of rows.

    Args:
        problems: asked at the end.
        known: rows that have the tables' columns and all of their kinds of labels.

    Raises:
        DataError: another file ending, or no table at all.
    """
    path, count, writer = Path(path), 0, None
    check_ending(path)
    with atomic_path(path) as temporary, ExitStack() as stack:
        for table in tables:
            features = pa.FixedShapeTensorArray.from_numpy_ndarray(
                np.ascontiguousarray(table.features[:])
            )
            if writer is None:
                schema = _schema(table, known, features.type)
                writer = stack.enter_context(
                    pq.ParquetWriter(temporary, schema, write_page_checksum=True)
                    if path.suffix == ".parquet"
                    else pa.ipc.new_file(str(temporary), schema)
                )
            batch = pa.RecordBatch.from_arrays(
                [*(_array(table.rows[name], schema.field(name)) for name in known), features],
                schema=schema,
            )
            if isinstance(writer, pq.ParquetWriter):
                writer.write_batch(batch)
            else:
                check = {"crc32": str(zlib.crc32(features.to_numpy_ndarray()))}
                writer.write_batch(batch, custom_metadata=check)
            count += len(table)
        if writer is None:
            raise DataError(f"there are no features to write to {path}")
        told = {"nexus_problems": json.dumps([problem.to_mapping() for problem in problems()])}
        if isinstance(writer, pq.ParquetWriter):
            writer.add_key_value_metadata(told)
        else:
            writer.write_batch(batch.slice(0, 0), custom_metadata=told)
    return count


def load_table(path: str | Path) -> FeatureTable:
    """Read a feature file, also one of nexus 0.1.

    Tokens are mapped, unless the file is a Parquet one: they are read when they are asked for.

    Raises:
        DataError: the file is missing, damaged, or is not a feature table.
    """
    path = Path(path)
    readers = {".npz": upgraded, ".parquet": _read_parquet}
    try:
        return readers.get(path.suffix, _read_arrow)(path)
    except _UNREADABLE as error:
        raise DataError(
            f"{path} cannot be read as a feature table ({error}); expected an .arrow or .parquet "
            "file that nexus wrote"
        ) from error


def convert_table(old: str | Path, new: str | Path) -> int:
    """Write a feature file of any version as an `.arrow` or `.parquet` one; the number of rows.

    Of tokens only a few rows are in memory at a time, unless they come from Parquet.

    Raises:
        DataError: the old file cannot be read, or the new one has another ending.
    """
    check_ending(Path(new))
    return save_table(load_table(old), new)


def check_ending(path: Path) -> None:
    """Refuse a file ending that feature files do not have.

    Raises:
        DataError: as said.
    """
    if path.suffix not in (".arrow", ".parquet"):
        raise DataError(f"features go to an .arrow or .parquet file, got {path.name!r}")


def _schema(table: FeatureTable, known: pd.DataFrame, tensor: pa.DataType) -> pa.Schema:
    header = {
        "format": FORMAT,
        "pooling": table.pooling,
        "grid": astuple(table.grid),
        "layers": list(table.layers),
        "about": dict(table.about),
    }
    kinds = {name: pa.float64() if name in TIMES else pa.string() for name in known}
    kinds |= {name: _label_kind(known[name]) for name in known if name.startswith(LABEL)}
    return pa.schema([*kinds.items(), ("features", tensor)], metadata={"nexus": json.dumps(header)})


def _label_kind(labels: Iterable[Label | None]) -> pa.DataType:
    """Numbers or vectors; text if there is some text, or both."""
    vectors = {isinstance(label, tuple) for label in labels if label is not None}
    if not vectors or len(vectors) > 1 or any(isinstance(label, str) for label in labels):
        return pa.string()
    return pa.list_(pa.float64()) if vectors == {True} else pa.float64()


def _array(values: Iterable[Any], field: pa.Field) -> pa.Array:
    if field.name in TEXTS:
        values = utf8(values)
    elif field.type == pa.string():
        values = [None if label is None else label_text(label) for label in values]
    if field.name == "split":
        values = [split or None for split in values]
    return pa.array(values, field.type)


def _read_arrow(path: Path) -> FeatureTable:
    reader = pa.ipc.open_file(pa.py_buffer(np.memmap(path, mode="r")))
    batches, pieces = [], []
    for number in range(reader.num_record_batches - 1):
        batch, check = reader.get_batch_with_custom_metadata(number)
        piece = batch.column("features").to_numpy_ndarray()
        if zlib.crc32(piece) != int(check[b"crc32"]):
            raise ValueError(f"batch {number} of the features is damaged")
        batches.append(batch.drop_columns("features"))
        pieces.append(piece)
    _, told = reader.get_batch_with_custom_metadata(reader.num_record_batches - 1)
    header = json.loads((reader.schema.metadata or {})[b"nexus"])
    tokens = header["pooling"] == "tokens"
    features = PiecewiseRows(pieces) if tokens else np.concatenate(pieces)
    rows = _rows(pa.Table.from_batches(batches))
    return _table(header, features, rows, json.loads(told[b"nexus_problems"]))


def _read_parquet(path: Path) -> FeatureTable:
    """Also what nexus 0.1 wrote, whose features are plain lists."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        # What was added when all rows were written stands in the file's metadata, not the schema's.
        problems = json.loads(file.metadata.metadata[b"nexus_problems"])
        table = file.read()
    header = json.loads((table.schema.metadata or {})[b"nexus"])
    column = table.column("features").combine_chunks()
    if header["format"] == FORMAT_0_1:
        features = column.flatten().to_numpy().reshape(len(column), -1)
    else:
        features = column.to_numpy_ndarray()
    return _table(header, features, _rows(table.drop_columns("features")), problems)


def upgraded(path: Path) -> FeatureTable:
    """What else nexus 0.1 wrote; its features are mapped from a copy that has no name any more."""
    with np.load(path, allow_pickle=False) as file:
        header = json.loads(file["header"].tobytes())
        rows = pd.DataFrame({name: as_objects(file[f"{name}s"].tolist()) for name in TEXTS})
        rows = rows.assign(**{name: file[f"{name}s"] for name in TIMES})
    labels = header["labels"]
    for name in sorted({name for one in labels for name in one}):
        rows[LABEL + name] = as_objects(one.get(name) for one in labels)
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        features = np.load(archive.extract("features.npy", folder), mmap_mode="r")
    return _table(header, features, rows, header["problems"])


def _table(
    header: dict[str, Any],
    features: ndarray | PiecewiseRows,
    rows: pd.DataFrame,
    problems: list[dict[str, Any]],
) -> FeatureTable:
    if header["format"] not in (FORMAT, FORMAT_0_1) or header["pooling"] not in get_args(Pooling):
        raise ValueError(f"unknown format {header['format']!r} or pooling {header['pooling']!r}")
    return FeatureTable(
        features=features,
        rows=rows,
        pooling=header["pooling"],
        grid=Grid(*header["grid"]),
        problems=tuple(Problem(**problem) for problem in problems),
        layers=tuple(header["layers"]),
        about=header.get("about", {}),
    )


def _rows(table: pa.Table) -> pd.DataFrame:
    rows = {
        name: table.column(name).to_numpy()
        if name in TIMES
        else as_objects(
            tuple(value) if isinstance(value, list) else value
            for value in table.column(name).to_pylist()
        )
        for name in table.column_names
    }
    rows["split"] = as_objects(split or "" for split in rows["split"])
    return pd.DataFrame(rows)


def utf8(values: Iterable[str]) -> list[str]:
    """File names that are not UTF-8 become readable ones: Arrow holds nothing else."""
    return [value.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for value in values]
