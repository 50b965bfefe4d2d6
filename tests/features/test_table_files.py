"""Feature tables survive a round trip to disk, whatever their names; other files are refused."""

import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feature_worlds import make_table
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus.data.catalog.catalog import Problem
from nexus.errors import DataError
from nexus.features.table import FeatureTable, PiecewiseRows, as_objects
from nexus.features.table_files import convert_table, load_table, save_table, write_tables
from nexus.nn.grid import Grid

FEATURES = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
PLAIN = make_table(FEATURES, ["a", "", "ü ñ", "d,e"], ["train", "", "test", "validation"])
NAMES = ["plain.mp4", "with space.mp4", "日本/ünï.mp4", "plain.mp4"]
TABLE = replace(
    PLAIN,
    rows=PLAIN.rows.assign(
        key=as_objects(NAMES),
        path=as_objects(f"/v/{name}" for name in NAMES),
        start=[0.0, 1 / 3, 2.0, 5.5],
        end=[1.0, 4 / 3, 3.0, 6.5],
        label_speed=as_objects([0.5, None, 0.0, -2.0]),
        label_place=as_objects([(0.0, 1.0), (1.0, 2.0), None, (0.5, 0.5)]),
    ),
    pooling="mean_time",
    grid=Grid(2, 1, 1),
    problems=(Problem("/v/bad.mp4", "decode_failed", "no « moov » atom", True),),
)
TOKENS = replace(TABLE, features=FEATURES.reshape(4, 2, 3).astype(np.float16), pooling="tokens")
BOTH = pytest.mark.parametrize("ending", ["arrow", "parquet"])


def assert_same(left: FeatureTable, right: FeatureTable) -> None:
    np.testing.assert_array_equal(left.features[:], right.features[:])
    assert left.features.dtype == right.features.dtype
    pd.testing.assert_frame_equal(left.rows, right.rows, check_exact=True)
    for name in ("pooling", "grid", "problems", "layers"):
        assert getattr(left, name) == getattr(right, name), name


@BOTH
@pytest.mark.parametrize("table", [TABLE, TOKENS], ids=["vectors", "tokens"])
def test_round_trip(tmp_path: Path, table: FeatureTable, ending: str) -> None:
    path = tmp_path / "new folder" / f"features.{ending}"
    save_table(table, path)
    assert_same(load_table(path), table)
    assert [item.name for item in path.parent.iterdir()] == [path.name]  # nothing else is left


@settings(max_examples=25, deadline=None)
@given(
    parts=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    tail=st.lists(st.integers(1, 4), min_size=2, max_size=2),
    chosen=st.lists(st.integers(0, 99), max_size=6),
)
def test_rows_of_a_mapped_file_are_those_that_went_in(
    tmp_path_factory: pytest.TempPathFactory, parts: list[int], tail: list[int], chosen: list[int]
) -> None:
    path = tmp_path_factory.mktemp("tokens") / "a.arrow"
    generator = np.random.default_rng(0)
    tables = [
        make_table(generator.normal(size=(n, *tail)).astype(np.float16), ["x"] * n) for n in parts
    ]
    assert write_tables(path, tables, lambda: (), tables[0].rows) == sum(parts)
    whole = np.concatenate([np.asarray(table.features) for table in tables])
    mapped = load_table(path).features
    assert isinstance(mapped, PiecewiseRows) and (mapped.shape, mapped.ndim) == (whole.shape, 3)
    numbers = np.array([number % len(whole) for number in chosen], dtype=int)
    np.testing.assert_array_equal(mapped[numbers], whole[numbers])
    for rows in (0, -1, slice(None), slice(1, None, 2), whole[:, 0, 0] > 0):
        np.testing.assert_array_equal(mapped[rows], whole[rows])


def test_neither_file_needs_the_memory_of_all_tables(tmp_path: Path) -> None:
    """Each table is gone when the next one but one is asked for; the tokens are mapped."""
    alive: list[weakref.ref] = []

    def tables(pooling: str) -> Iterator[FeatureTable]:
        for number in range(6):
            assert sum(ref() is not None for ref in alive) <= 1
            shape = (4, 2, 3) if pooling == "tokens" else (4, 6)
            features = np.full(shape, number, np.float16 if pooling == "tokens" else np.float32)
            alive.append(weakref.ref(features))
            yield replace(TABLE, features=features, pooling=pooling, layers=(3, 7))
            del features

    for pooling, ending in (
        ("mean_time", "parquet"), ("tokens", "parquet"), ("tokens", "arrow"), ("mean_time", "arrow")
    ):  # fmt: skip
        alive.clear()
        path = tmp_path / f"{pooling}.{ending}"
        assert write_tables(path, tables(pooling), lambda: (), TABLE.rows) == 24
        before = pa.total_allocated_bytes()
        table = load_table(path)
        assert table.layers == (3, 7) and len(table) == 24
        if (pooling, ending) == ("tokens", "arrow"):
            assert isinstance(table.features, PiecewiseRows)
            assert not any(piece.flags.owndata for piece in table.features.pieces)
            assert pa.total_allocated_bytes() - before < 4096
        assert table.features[:].reshape(24, -1)[:, 0].tolist() == [
            n for n in range(6) for _ in "1234"
        ]


@BOTH
def test_rows_of_another_shape_are_refused(tmp_path: Path, ending: str) -> None:
    other = replace(TABLE, features=FEATURES[:, :4])
    with pytest.raises(TypeError, match=r"shape=\[4\].*shape=\[6\]"):
        write_tables(tmp_path / f"a.{ending}", [TABLE, other], lambda: (), TABLE.rows)
    assert not list(tmp_path.iterdir())


@BOTH
def test_labels_of_several_kinds_are_kept_as_text(tmp_path: Path, ending: str) -> None:
    mixed = as_objects([0.5, "fast", None, (1.0, 2.0)])
    save_table(replace(TABLE, rows=TABLE.rows.assign(label_x=mixed)), tmp_path / f"a.{ending}")
    rows = load_table(tmp_path / f"a.{ending}").rows
    assert rows["label_x"].tolist() == ["0.5", "fast", None, "[1.0, 2.0]"]
    assert rows["label_speed"].tolist() == [0.5, None, 0.0, -2.0]


def test_parquet_is_readable_without_nexus(tmp_path: Path) -> None:
    save_table(TABLE, tmp_path / "features.parquet")
    rows = pq.read_table(tmp_path / "features.parquet").to_pylist()
    assert list(rows[0]) == [
        "key", "path", "split", "start", "end", "label_class", "label_speed", "label_place",
        "features",
    ]  # fmt: skip
    assert rows[2]["key"] == "日本/ünï.mp4" and rows[1]["split"] is None
    assert rows[1]["label_class"] is None and rows[3]["label_place"] == [0.5, 0.5]
    assert rows[3]["features"] == pytest.approx(FEATURES[3].tolist())


def test_an_arrow_file_is_readable_without_nexus(tmp_path: Path) -> None:
    save_table(TOKENS, tmp_path / "features.arrow")
    table = pa.ipc.open_file(pa.memory_map(str(tmp_path / "features.arrow"))).read_all()
    tokens = table.column("features").combine_chunks().to_numpy_ndarray()
    np.testing.assert_array_equal(tokens, TOKENS.features)
    assert table.column("key").to_pylist() == NAMES


@BOTH
def test_names_that_are_not_utf8_are_made_readable(tmp_path: Path, ending: str) -> None:
    odd = b"caf\xe9.mp4".decode("utf-8", "surrogateescape")
    table = replace(TABLE, rows=TABLE.rows.assign(key=as_objects([odd, *NAMES[1:]])))
    save_table(table, tmp_path / f"features.{ending}")
    assert load_table(tmp_path / f"features.{ending}").rows["key"][0] == "caf\ufffd.mp4"


@pytest.mark.parametrize("name", ["features.csv", "features", "features.npz"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"\.arrow or \.parquet file, got 'features"):
        save_table(TABLE, tmp_path / name)
    with pytest.raises(DataError, match=r"\.arrow or \.parquet file, got 'features"):
        convert_table(tmp_path / "old.npz", tmp_path / name)


@BOTH
def test_what_is_no_feature_table_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"features.{ending}"
    with pytest.raises(DataError, match="cannot be read as a feature table"):
        load_table(path)
    path.write_bytes(b"not a table")
    with pytest.raises(DataError, match="cannot be read as a feature table"):
        load_table(path)
    save_table(TABLE, path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="cannot be read as a feature table"):
        load_table(path)


def test_a_foreign_npz_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", features=FEATURES)
    with pytest.raises(DataError, match="cannot be read as a feature table"):
        load_table(tmp_path / "other.npz")


@BOTH
def test_a_flipped_bit_is_noticed(tmp_path: Path, ending: str) -> None:
    table = make_table(np.zeros((50, 40), np.float32), ["x"] * 50)
    path = tmp_path / f"features.{ending}"
    features = np.random.default_rng(0).normal(size=(50, 40)).astype(np.float32)
    save_table(replace(table, features=features), path)
    content = bytearray(path.read_bytes())
    content[content.index(features[25].tobytes()) + 7] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as a feature table"):
        load_table(path)


def test_a_table_checks_its_own_shape() -> None:
    with pytest.raises(ValueError, match="4 features of 1 clips"):
        replace(TABLE, rows=TABLE.rows[:1])
    with pytest.raises(ValueError, match="tokens features have 3 axes"):
        replace(TABLE, pooling="tokens")
