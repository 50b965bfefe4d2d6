"""Feature files of nexus 0.1 open, and its run still gives the same features."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from feature_worlds import coarser

import nexus
from nexus.errors import DataError
from nexus.features.table_files import convert_table, load_table
from nexus.nn.grid import Grid

ASSETS = Path(__file__).parents[1] / "assets/v0.1"
KNOWN = ["key", "path", "split", "start", "end"]
LABELS = ["contact", "direction", "motion", "occlusion", "shape", "speed"]


@pytest.mark.parametrize("name", ["features.parquet", "features.npz", "tokens.npz"])
@pytest.mark.parametrize("ending", ["arrow", "parquet"])
def test_old_files_open_and_can_be_converted(tmp_path: Path, name: str, ending: str) -> None:
    old = load_table(ASSETS / name)
    tokens = name == "tokens.npz"
    assert old.features.shape == ((48, 8, 16) if tokens else (48, 16))
    assert old.features.dtype == (np.float16 if tokens else np.float32)
    assert (old.pooling, old.grid, old.layers) == (
        "tokens" if tokens else "mean", Grid(2, 2, 2), (-1,),
    )  # fmt: skip
    assert old.rows.columns.tolist() == [*KNOWN, *(f"label_{label}" for label in LABELS)]
    first = old.rows.iloc[0].to_dict()
    assert (first["key"], first["split"]) == ("train/000000.mp4", "train")
    assert (first["start"], first["end"]) == (0.0, 0.5)
    assert (first["label_direction"], first["label_speed"]) == ("down-left", None)
    assert convert_table(ASSETS / name, tmp_path / f"new.{ending}") == 48
    new = load_table(tmp_path / f"new.{ending}")
    np.testing.assert_array_equal(new.features[:], old.features)
    pd.testing.assert_frame_equal(new.rows, old.rows)


def test_all_three_hold_the_same() -> None:
    parquet, npz, tokens = (
        load_table(ASSETS / name) for name in ("features.parquet", "features.npz", "tokens.npz")
    )
    pd.testing.assert_frame_equal(parquet.rows, npz.rows)
    pd.testing.assert_frame_equal(parquet.rows, tokens.rows)
    np.testing.assert_array_equal(parquet.features, npz.features)
    np.testing.assert_allclose(coarser(tokens, "mean").features, npz.features, atol=2e-3)


def test_a_damaged_npz_is_noticed(tmp_path: Path) -> None:
    content = bytearray((ASSETS / "tokens.npz").read_bytes())
    content[2000] ^= 1
    (tmp_path / "tokens.npz").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as a feature table .*CRC"):
        load_table(tmp_path / "tokens.npz")


@pytest.mark.parametrize("pooling", ["mean", "tokens"])
def test_the_run_gives_the_same_features(tmp_path: Path, pooling: str) -> None:
    old = load_table(ASSETS / ("tokens.npz" if pooling == "tokens" else "features.parquet"))
    out = tmp_path / "features.arrow"
    nexus.embed(ASSETS / "finished", ASSETS / "videos/labels.csv", out, pooling=pooling)
    new = load_table(out)
    same = [name for name in old.rows if name != "path"]
    pd.testing.assert_frame_equal(new.rows[same], old.rows[same])
    tolerance = 2e-3 if pooling == "tokens" else 1e-5
    np.testing.assert_allclose(new.features[:], old.features, atol=tolerance, rtol=1e-5)
