"""The whole way on real mp4 files: scan, features, probes, windows, horizon, patch colours."""

from pathlib import Path

import numpy as np
import pytest
import torch
from oracles.tiny import tiny_model

from nexus.data.catalog.catalog import Catalog, scan
from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.clip_source import ClipSource
from nexus.features.colours import patch_colours
from nexus.features.extract import embed, extract, pixel_features
from nexus.features.horizon import horizon_errors
from nexus.features.table_files import load_table
from nexus.probes.knn import KNNProbe
from nexus.probes.linear import LinearProbe
from nexus.toy.world import ToyConfig, write_toy_world

CLIP = ClipSpec(num_frames=8, size=16)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    config = ToyConfig(
        size=16, num_frames=12, train_clips=32, validation_clips=16, test_clips=16,
        tasks={"direction": 1.0},
    )  # fmt: skip
    listing = write_toy_world(tmp_path_factory.mktemp("toy"), config, seed=0)
    damaged = listing.parent / "train" / "zz damaged.mp4"
    damaged.write_bytes(b"\x00" * 1000)
    text = listing.read_text()
    columns = text.splitlines()[0].count(",")
    listing.write_text(text + "train/zz damaged.mp4,train" + "," * (columns - 1) + "\n")
    return scan(listing, workers=0)


def test_features_of_real_files_carry_their_labels_and_splits(catalog: Catalog) -> None:
    assert [Path(problem.path).name for problem in catalog.problems] == ["zz damaged.mp4"]
    encoder = tiny_model().evaluation_encoder()
    source = ClipSource(CLIP, catalog)
    table = extract(encoder, source)
    assert len(table) == 64 and table.features.shape == (64, 24)
    parallel = extract(encoder, ClipSource(CLIP, catalog, workers=2))
    np.testing.assert_array_equal(parallel.features, table.features)
    for probe in (LinearProbe(), KNNProbe()):
        [result] = probe.measure(table, "direction")
        assert (result.n_train, result.n_validation, result.n_test) == (32, 16, 16)
        assert len(result.classes) == 8 and result.chance == pytest.approx(1 / 8)
    pixels = pixel_features(source, size=8)
    assert LinearProbe().measure(pixels, "direction")[0].n_test == 16


def test_windows_of_real_files(catalog: Catalog, tmp_path: Path) -> None:
    encoder = tiny_model().evaluation_encoder()
    out = tmp_path / "out.parquet"
    written = embed(encoder, ClipSource(CLIP.with_changes(fps=8.0), catalog), out, overlap=0.5)
    table = load_table(out)
    assert (len(table), table.rows["path"].nunique()) == (128, 64)
    assert (written.rows, written.videos, written.problems) == (128, 64, ())
    assert table.rows["start"][:2].tolist() == pytest.approx([0.0, 0.5])
    assert table.rows["end"][:2].tolist() == pytest.approx([1.0, 1.5])


def test_horizon_and_patch_colours_of_real_files(catalog: Catalog) -> None:
    model = tiny_model()
    source = ClipSource(CLIP, catalog.select("test"))
    videos = [loaded.batch.clips for loaded in source.batches(8)]
    rows = horizon_errors(model, videos, seconds_per_step=2 / 8).rows
    assert [row.steps_ahead for row in rows] == [1, 2]
    assert all(np.isfinite([row.error, row.copy_error, row.mean_error]).all() for row in rows)
    colours = patch_colours(model.evaluation_encoder(), torch.cat(videos)[:3])
    assert colours.colours.shape == (3, 4, 4, 4, 3)
    assert colours.frames.shape == (3, 8, 16, 16, 3)
