"""Looking at a source: its cuts, and the stretches that clips may take."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from motion_sources import drifting, textured, write_source

from nexus.data.catalog.catalog import scan
from nexus.errors import DataError
from nexus.motion.config import MotionConfig
from nexus.motion.footage import SECTIONS, find_cuts, look_at, moments, starts_in

CONFIG = MotionConfig(size=32, seconds=1, fps=8)


def brightness(seed: int, frames: int) -> np.ndarray:
    return drifting(seed, frames, height=48, width=64).mean(axis=3).astype(np.float32)


def test_a_cut_is_where_another_scene_begins():
    video = np.concatenate([brightness(0, 13), brightness(1, 20), brightness(2, 9)])
    assert np.flatnonzero(find_cuts(video, 8)).tolist() == [13, 33]


def test_motion_noise_and_fades_are_no_cuts():
    rng = np.random.default_rng(0)
    moving = brightness(0, 40)
    noisy = moving + rng.normal(0, 25, moving.shape)
    fade = moving * np.linspace(1, 0, 40)[:, None, None]
    whirling = np.stack([brightness(seed, 1)[0] for seed in range(40)])  # as unlike as after cuts
    for video in (moving, noisy, fade, whirling):
        assert not find_cuts(video, 8).any()


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    most=st.integers(1, 10),
)
def test_clips_lie_within_a_shot(lengths, most):
    edges = np.cumsum([0, *lengths]).tolist()
    shots = tuple(pairwise(edges))
    starts = starts_in(shots, CONFIG, most)
    for start in starts.tolist():
        assert any(a <= start and start + CONFIG.num_frames <= b for a, b in shots)
    fits = any(b - a >= CONFIG.num_frames for a, b in shots)
    assert bool(starts.size) == fits
    assert len(starts) <= most
    assert len(set(starts.tolist())) == len(starts)


def test_a_short_source_is_looked_at_from_end_to_end():
    times, begins = moments(0.5, 3.0, 8)
    np.testing.assert_allclose(times, 0.5 + np.arange(20) / 8)
    assert not begins.any()


def test_of_a_long_source_parts_are_looked_at():
    times, begins = moments(0, 3600, 4, look_seconds=80)
    assert len(times) == 320
    assert begins.sum() == SECTIONS - 1
    assert times[-1] == pytest.approx(3600 - 1 / 4)
    gaps = np.diff(times)
    assert np.flatnonzero(gaps > 0.26).tolist() == (np.flatnonzero(begins) - 1).tolist()


def test_footage_knows_shots_and_size(tmp_path):
    write_source(tmp_path / "a.mp4", np.concatenate([drifting(0, 12), drifting(1, 20)]))
    footage = look_at(scan(tmp_path), 0, CONFIG)
    assert footage.shots == ((0, 12), (12, 32))
    assert (footage.height, footage.width) == (96, 128)
    assert footage.seconds == 4
    for start in footage.starts.tolist():
        assert start + 8 <= 12 or 12 <= start <= 24


def test_what_is_too_short_or_too_small_is_refused(tmp_path):
    write_source(tmp_path / "a.mp4", np.concatenate([drifting(seed, 6) for seed in range(4)]))
    write_source(tmp_path / "b.mp4", drifting(0, 24, height=22, width=200))
    catalog = scan(tmp_path)
    with pytest.raises(DataError, match=r"longest shot lasts 0.8 s, a clip 1 s"):
        look_at(catalog, 0, CONFIG)
    with pytest.raises(DataError, match="200x22 pixels are too few .* at least 24"):
        look_at(catalog, 1, CONFIG)


def test_textures_differ():
    assert np.abs(textured(0) - textured(1)).mean() > 20
