"""Arrays written row by row and mapped: what numpy reads is what went in; damage is noticed."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus.features.npz import RowFile, map_array


@settings(max_examples=25, deadline=None)
@given(
    parts=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    tail=st.lists(st.integers(1, 4), max_size=3),
    dtype=st.sampled_from(["<f2", "<f4", "<f8", "<i8", "|u1"]),
    name=st.text("abcdefgh", min_size=1, max_size=9),
)
def test_numpy_and_the_map_read_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, parts: list[int], tail: list[int], dtype: str,
    name: str,
) -> None:  # fmt: skip
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    generator = np.random.default_rng(0)
    blocks = [(generator.normal(size=(n, *tail)) * 50).astype(dtype) for n in parts]
    rows = RowFile(path)
    for block in blocks:
        rows.add(block)
    rows.write_npz(path, name, {"_other": np.array(["x", "ü"])})
    rows.close()
    whole = np.concatenate(blocks)
    assert rows.count == len(whole)
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file[name], whole)
        assert file["_other"].tolist() == ["x", "ü"] and file[name].dtype == whole.dtype
    mapped = map_array(path, name)
    np.testing.assert_array_equal(mapped, whole)
    assert mapped.dtype == whole.dtype and (isinstance(mapped, np.memmap) or not whole.size)
    assert [item.name for item in path.parent.iterdir()] == ["a.npz"]


def test_a_file_of_numpy_itself_is_mapped_too(tmp_path: Path) -> None:
    values = np.arange(12.0).reshape(3, 4)
    np.savez(tmp_path / "a.npz", values=values)
    np.testing.assert_array_equal(map_array(tmp_path / "a.npz", "values"), values)


def test_what_cannot_be_mapped_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    values = np.arange(12.0).reshape(3, 4)
    np.savez_compressed(path, values=values)
    with pytest.raises(ValueError, match="compressed"):
        map_array(path, "values")
    np.savez(path, values=np.asfortranarray(values))
    with pytest.raises(ValueError, match="not a plain array"):
        map_array(path, "values")
    with pytest.raises(KeyError):
        map_array(path, "other")


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, values=np.zeros((50, 40)))
    content = bytearray(path.read_bytes())
    content[9000] ^= 1
    path.write_bytes(content)
    with pytest.raises(zipfile.BadZipFile, match="CRC"):
        map_array(path, "values")


def test_rows_of_another_shape_are_refused(tmp_path: Path) -> None:
    rows = RowFile(tmp_path / "a.npz")
    rows.add(np.zeros((2, 3), np.float32))
    for wrong in (np.zeros((2, 4), np.float32), np.zeros((2, 3))):
        with pytest.raises(ValueError, match="after rows of"):
            rows.add(wrong)
    rows.close()
