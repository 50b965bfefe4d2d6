"""Feature tables survive a round trip to disk, whatever their names; other files are refused."""

import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from feature_worlds import make_table

from nexus.data.catalog import Problem
from nexus.errors import DataError
from nexus.features.table import FeatureTable
from nexus.features.table_files import load_table, save_table, write_tables

FEATURES = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
TABLE = replace(
    make_table(FEATURES, ["a", "", "ü ñ", "d,e"], ["train", "", "test", "validation"]),
    keys=("plain.mp4", "with space.mp4", "日本/ünï.mp4", "plain.mp4"),
    paths=("/v/plain.mp4", "/v/with space.mp4", "/v/日本/ünï.mp4", "/v/plain.mp4"),
    starts=np.array([0.0, 1 / 3, 2.0, 5.5]),
    ends=np.array([1.0, 4 / 3, 3.0, 6.5]),
    pooling="mean_time",
    grid=(2, 1, 1),
    problems=(Problem("/v/bad.mp4", "decode_failed", "no « moov » atom", True),),
)


def assert_same(left: FeatureTable, right: FeatureTable) -> None:
    for name, value in vars(left).items():
        other = getattr(right, name)
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, other)
            assert value.dtype == other.dtype
        else:
            assert value == other, name


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_round_trip(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "new folder" / f"features.{ending}"
    save_table(TABLE, path)
    assert_same(load_table(path), TABLE)
    assert [item.name for item in path.parent.iterdir()] == [path.name]  # nothing else is left


def test_tokens_go_to_npz_only(tmp_path: Path) -> None:
    tokens = replace(TABLE, features=FEATURES.reshape(4, 2, 3).astype(np.float16), pooling="tokens")
    save_table(tokens, tmp_path / "tokens.npz")
    assert_same(load_table(tmp_path / "tokens.npz"), tokens)
    with pytest.raises(DataError, match=r"write them to a \.npz"):
        save_table(tokens, tmp_path / "tokens.parquet")
    assert not (tmp_path / "tokens.parquet").exists()


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

    for pooling, ending in (("mean_time", "parquet"), ("tokens", "npz"), ("mean_time", "npz")):
        alive.clear()
        path = tmp_path / f"{pooling}.{ending}"
        assert write_tables(path, tables(pooling), lambda: (), ["class"]) == 24
        table = load_table(path)
        assert table.layers == (3, 7) and len(table) == 24
        assert isinstance(table.features, np.memmap) == (pooling == "tokens")
        assert table.features.reshape(24, -1)[:, 0].tolist() == [
            n for n in range(6) for _ in "1234"
        ]


def test_parquet_is_readable_without_nexus(tmp_path: Path) -> None:
    save_table(TABLE, tmp_path / "features.parquet")
    rows = pq.read_table(tmp_path / "features.parquet").to_pylist()
    assert list(rows[0]) == ["key", "path", "split", "start", "end", "label_class", "features"]
    assert rows[2]["key"] == "日本/ünï.mp4" and rows[1]["split"] is None
    assert rows[1]["label_class"] is None
    assert rows[3]["features"] == pytest.approx(FEATURES[3].tolist())


def test_names_that_are_not_utf8_do_not_stop_parquet(tmp_path: Path) -> None:
    odd = b"caf\xe9.mp4".decode("utf-8", "surrogateescape")
    table = replace(TABLE, keys=(odd, *TABLE.keys[1:]))
    save_table(table, tmp_path / "features.parquet")
    assert load_table(tmp_path / "features.parquet").keys[0] == "caf\ufffd.mp4"
    save_table(table, tmp_path / "features.npz")
    assert load_table(tmp_path / "features.npz").keys[0] == odd


@pytest.mark.parametrize("name", ["features.csv", "features"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"\.npz or \.parquet"):
        save_table(TABLE, tmp_path / name)


@pytest.mark.parametrize("ending", ["npz", "parquet"])
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


def test_a_table_checks_its_own_shape() -> None:
    with pytest.raises(ValueError, match="columns of length"):
        replace(TABLE, keys=("one",))
    with pytest.raises(ValueError, match="tokens features have 3 axes"):
        replace(TABLE, pooling="tokens")
