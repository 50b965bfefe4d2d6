"""Feature tables on disk: Arrow's IPC format, mapped when read; or Parquet for other tools.

Both hold the same columns: those of `FeatureTable.rows`, and `features`, a tensor of fixed shape in
each row. They are written batch by batch as the features come, so that neither needs the memory of
all of them; nor does reading tokens from an `.arrow` file.
"""

import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy import ndarray

from nexus.atomic import atomic_path
from nexus.data.catalog import Problem
from nexus.data.labels import Label, label_text
from nexus.errors import DataError
from nexus.features.table import (
    LABEL,
    ROWS_AT_ONCE,
    FeatureTable,
    PiecewiseRows,
    Pooling,
    as_objects,
)

FORMAT, FORMAT_0_1 = "nexus-features-3", "nexus-features-2"
TEXTS, TIMES = ("key", "path", "split"), ("start", "end")

_UNREADABLE = (
    *(OSError, EOFError, ValueError, KeyError, TypeError),
    *(zipfile.BadZipFile, zlib.error, pa.ArrowException),
)


class _Content(NamedTuple):
    """What a file holds; `pieces` are its features, in order, a few rows each."""

    header: dict[str, Any]
    rows: pd.DataFrame
    pieces: Iterable[ndarray]
    problems: list[dict[str, Any]]

    def table(self, features: ndarray | PiecewiseRows, rows: pd.DataFrame) -> FeatureTable:
        header = self.header
        return FeatureTable(
            features=features,
            rows=rows,
            pooling=header["pooling"],
            grid=tuple(header["grid"]),
            problems=tuple(Problem(**problem) for problem in self.problems),
            layers=tuple(header["layers"]),
        )


def save_table(table: FeatureTable, path: str | Path) -> None:
    """Write to an `.arrow` or `.parquet` file, atomically.

    Raises:
        DataError: another file ending.
    """
    write_tables(path, table.parts(), lambda: table.problems, table.rows)


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
                writer = stack.enter_context(_writer(temporary, path.suffix, schema))
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

    Tokens of an `.arrow` file are mapped: they are read when they are asked for.

    Raises:
        DataError: the file is missing, damaged, or is not a feature table.
    """
    path = Path(path)
    try:
        content = _read(path)
        pieces = list(content.pieces)
        mapped = path.suffix == ".arrow" and content.header["pooling"] == "tokens"
        features = PiecewiseRows(pieces) if mapped else np.concatenate(pieces)
        return content.table(features, content.rows)
    except _UNREADABLE as error:
        raise DataError(
            f"{path} cannot be read as a feature table ({error}); expected an .arrow or .parquet "
            "file that nexus wrote"
        ) from error


def convert_table(old: str | Path, new: str | Path) -> int:
    """Write a feature file of any version as an `.arrow` or `.parquet` one; the number of rows.

    Only a few rows are in memory at a time, unless they come from Parquet.

    Raises:
        DataError: the old file cannot be read, or the new one has another ending.
    """

    def tables() -> Iterator[FeatureTable]:
        first = 0
        for piece in content.pieces:
            rows = content.rows.iloc[first : first + len(piece)]
            first += len(piece)
            yield from content.table(piece, rows).parts()

    check_ending(Path(new))
    try:
        content = _read(Path(old))
        problems = tuple(Problem(**problem) for problem in content.problems)
        return write_tables(new, tables(), lambda: problems, content.rows)
    except _UNREADABLE as error:
        raise DataError(f"{old} cannot be converted to {new}: {error}") from error


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
        "grid": list(table.grid),
        "layers": list(table.layers),
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


def _writer(
    path: Path, ending: str, schema: pa.Schema
) -> pq.ParquetWriter | pa.RecordBatchFileWriter:
    if ending == ".parquet":
        return pq.ParquetWriter(path, schema, write_page_checksum=True)
    return pa.ipc.new_file(str(path), schema)


def _read(path: Path) -> _Content:
    if path.suffix == ".npz":
        return upgraded(path)
    return _read_parquet(path) if path.suffix == ".parquet" else _read_arrow(path)


def _read_arrow(path: Path) -> _Content:
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
    return _Content(
        header=_header(reader.schema, FORMAT),
        rows=_rows(pa.Table.from_batches(batches)),
        pieces=pieces,
        problems=json.loads(told[b"nexus_problems"]),
    )


def _read_parquet(path: Path) -> _Content:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        # What was added when all rows were written stands in the file's metadata, not the schema's.
        problems = json.loads(file.metadata.metadata[b"nexus_problems"])
        if not isinstance(file.schema_arrow.field("features").type, pa.FixedShapeTensorType):
            return upgraded(path)
        table = file.read()
    features = table.column("features").combine_chunks().to_numpy_ndarray()
    header = _header(table.schema, FORMAT)
    return _Content(header, _rows(table.drop_columns("features")), [features], problems)


def upgraded(path: Path) -> _Content:
    """What nexus 0.1 wrote: Parquet with features as plain lists, or `.npz`."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        problems = json.loads(pq.read_metadata(path).metadata[b"nexus_problems"])
        features = table.column("features").combine_chunks().flatten().to_numpy()
        rows = _rows(table.drop_columns("features"))
        return _Content(
            _header(table.schema, FORMAT_0_1), rows, [features.reshape(len(rows), -1)], problems
        )
    with np.load(path, allow_pickle=False) as file:
        header = _checked(json.loads(file["header"].tobytes()), FORMAT_0_1)
        rows = pd.DataFrame({name: as_objects(file[f"{name}s"].tolist()) for name in TEXTS})
        rows = rows.assign(**{name: file[f"{name}s"] for name in TIMES})
    labels = header["labels"]
    for name in sorted({name for one in labels for name in one}):
        rows[LABEL + name] = as_objects(one.get(name) for one in labels)
    return _Content(header, rows, _rows_of_npz(path), header["problems"])


def _rows_of_npz(path: Path) -> Iterator[ndarray]:
    """The features of an `.npz` file, a few rows at a time; at the end its checksum is compared."""
    with zipfile.ZipFile(path) as archive, archive.open("features.npy") as member:
        np.lib.format.read_magic(member)
        shape, _, dtype = np.lib.format.read_array_header_2_0(member)
        row = dtype.itemsize * int(np.prod(shape[1:]))
        while content := member.read(row * ROWS_AT_ONCE):
            yield np.frombuffer(content, dtype).reshape(-1, *shape[1:])


def _header(schema: pa.Schema, version: str) -> dict[str, Any]:
    return _checked(json.loads((schema.metadata or {})[b"nexus"]), version)


def _checked(header: dict[str, Any], version: str) -> dict[str, Any]:
    if header["format"] != version or header["pooling"] not in get_args(Pooling):
        raise ValueError(f"unknown format {header['format']!r} or pooling {header['pooling']!r}")
    return header


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
