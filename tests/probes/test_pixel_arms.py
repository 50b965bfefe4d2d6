"""The arms of pixels: read once for all, motion told by differences alone, long clips averaged."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from feature_worlds import MemoryDecoder, memory_world

from nexus.data.catalog.catalog import Catalog
from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.clip_source import ClipSource
from nexus.data.pictures import PictureView, collect
from nexus.features.extract import pixel_features
from nexus.nn.grid import Grid
from nexus.probes.pixel_arms import PIXEL_ARMS, measure_pixels, pixel_rows

CLIP = ClipSpec(num_frames=4, size=16)
RAW, DIFFERENCES = PIXEL_ARMS


def world(folder: Path, count: int, clip: ClipSpec = CLIP) -> tuple[Catalog, ClipSource]:
    labels = [f"c{number // 3 % 2}" for number in range(count)]
    catalog, decoder = memory_world(folder, [clip.num_frames] * count, labels=labels)
    return catalog, ClipSource(clip, catalog, decoder)


class MovingTextures(MemoryDecoder):
    """Faint noise that moves a pixel a frame, to the left (c0) or the right (c1), over other noise,
    strong and still; each video has its own."""

    def frames(self, path, indices, view: PictureView | None = None) -> np.ndarray:
        number, record = self.records[str(path)]
        self.requests.append((str(path), len(indices)))
        still, moving = np.random.default_rng(number).uniform(-1, 1, (2, 16, 16))
        step = 1 if record.labels["class"] == "c1" else -1
        pictures = np.stack(
            [128 + 100 * still + 17 * np.roll(moving, step * time, axis=1) for time in indices]
        )
        pictures = pictures[..., None].repeat(3, axis=-1).astype(np.uint8)
        return collect(pictures, np.arange(len(pictures)), view)


def test_differences_tell_a_motion_to_which_pixels_are_blind(tmp_path: Path) -> None:
    catalog, source = world(tmp_path, 240, ClipSpec(num_frames=8, size=16))
    source = replace(source, decoder=MovingTextures(catalog.records))
    rows = pixel_rows(measure_pixels(source, ["class"], kinds=("knn",)), seed=0)
    raw, differences = rows
    assert [(row.arm, row.role) for row in rows] == [(RAW, "lookup"), (DIFFERENCES, "lookup")]
    assert raw.ci95[0] < 0.5 < raw.ci95[1] and raw.chance == 0.5 and raw.n_test == 80
    assert differences.mean > 0.95


def test_clips_are_read_once_for_all_arms(tmp_path: Path) -> None:
    catalog, source = world(tmp_path, 18)
    source = replace(source, keep_bytes=0)
    measured = measure_pixels(source, ["class"], kinds=("knn", "linear"))
    assert list(measured) == list(PIXEL_ARMS)
    assert all(len(found.results) == 2 for found in measured.values())
    assert Counter(source.decoder.requests) == {
        (str(record.path), 4): 1 for record in catalog.records
    }
    # One arm alone has the same numbers, from pixels that were kept.
    kept = {"kinds": ("knn", "linear"), "cache_dir": tmp_path / "kept"}
    alone = [measure_pixels(source, ["class"], arms=(arm,), **kept) for arm in PIXEL_ARMS]
    assert len(source.decoder.requests) == 2 * 18
    assert {arm: found.results for one in alone for arm, found in one.items()} == {
        arm: found.results for arm, found in measured.items()
    }


def test_many_long_clips_are_averaged_over_time(tmp_path: Path) -> None:
    _, source = world(tmp_path, 18)
    whole = measure_pixels(source, ["class"], kinds=("knn",), size=8)
    assert not any(arm in note for arm in whole for note in whole[arm].notes)
    full = pixel_features(source, size=8)
    half = 18 * 3 * 8 * 8 * 2 + 1
    halved = pixel_features(source, size=8, numbers=half, cache_dir=tmp_path / "kept")
    assert halved.grid == Grid(2, 8, 8) and halved.features.size <= half
    pairs = full.features.reshape(18, 3, 2, 2, 64).mean(axis=3).reshape(18, -1)
    np.testing.assert_allclose(halved.features, pairs, atol=1e-6)
    measured = measure_pixels(source, ["class"], kinds=("knn",), size=8, numbers=half)
    for found in measured.values():
        told = "raw pixels and frame differences: the 4 frames of each clip are averaged over time"
        assert found.notes[-1].startswith(f"{told} to 2 steps") and found.results
    kept = pixel_features(source, size=8, numbers=1, cache_dir=tmp_path / "kept")
    assert kept.grid == Grid(1, 8, 8)


def test_what_has_no_differences_says_so(tmp_path: Path) -> None:
    _, source = world(tmp_path, 18)
    measured = measure_pixels(source, ["class"], kinds=("knn",), numbers=1)
    assert measured[RAW].results and not measured[DIFFERENCES].results
    assert measured[DIFFERENCES].notes[0] == (
        "frame differences: not measured (differences need two time steps of each clip or more, "
        "there is one)"
    )


def test_pixels_have_no_tokens(tmp_path: Path) -> None:
    _, source = world(tmp_path, 18)
    for found in measure_pixels(source, ["class"], kinds=("attentive",)).values():
        assert not found.results and found.notes == (
            "raw pixels and frame differences: not measured (they have no tokens to attend to)",
        )
    assert not source.decoder.requests
