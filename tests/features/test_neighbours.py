"""Nearest neighbours of other videos, and clips as small pictures."""

import base64
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles.tiny import tiny_model
from PIL import Image

from nexus.data.catalog.catalog import Catalog, scan
from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.clip_source import ClipSource
from nexus.errors import DataError
from nexus.features.encoding import FeatureConfig
from nexus.features.extract import extract
from nexus.features.neighbours import find_neighbours, nearest
from nexus.features.thumbnails import HEIGHT, WIDTH, shown_clips, thumbnail
from nexus.toy.world import ToyConfig, write_toy_world


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    config = ToyConfig(size=16, num_frames=8, train_clips=12, validation_clips=0, test_clips=8)
    return scan(write_toy_world(tmp_path_factory.mktemp("toy"), config, seed=0), workers=0)


@pytest.fixture
def source(catalog: Catalog) -> ClipSource:
    return ClipSource(ClipSpec(num_frames=8, size=16), catalog)


def slow(features: np.ndarray, videos: list[str], query: int, count: int):
    """Pair by pair: the nearest clip of each other video, then the nearest of these."""
    mean = features.mean(axis=0)
    best: dict[str, tuple[float, int]] = {}
    for row, video in enumerate(videos):
        a, b = features[row] - mean, features[query] - mean
        cosine = float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30))
        if video != videos[query] and cosine > best.get(video, (-2.0, 0))[0]:
            best[video] = (cosine, row)
    return sorted(best.values(), key=lambda pair: -pair[0])[:count]


@given(st.integers(0, 2**32 - 1), st.lists(st.sampled_from("abcde"), min_size=2, max_size=15))
def test_neighbours_are_those_of_a_slow_loop(seed: int, videos: list[str]) -> None:
    features = np.random.default_rng(seed).normal(size=(len(videos), 3)) + 5
    found = nearest(features, videos, 0, 3)
    expected = slow(features, videos, 0, 3)
    assert [cosine for _, cosine in found] == pytest.approx([pair[0] for pair in expected])
    seen = [videos[row] for row, _ in found]
    assert videos[0] not in seen and len(set(seen)) == len(seen)


def test_what_all_clips_share_does_not_decide() -> None:
    own = np.random.default_rng(0).normal(size=(20, 8))
    videos = [str(number) for number in range(20)]
    bare, shifted = (nearest(own + shared, videos, 3) for shared in (0.0, 1e3))
    assert [row for row, _ in bare] == [row for row, _ in shifted]
    assert max(cosine for _, cosine in shifted) < 0.999


def test_held_out_clips_are_asked_and_all_videos_looked_through(
    source: ClipSource, tmp_path: Path
) -> None:
    encoder = tiny_model().evaluation_encoder()
    found = find_neighbours(encoder, source)
    assert found.searched == 20 and len(found.rows) == 6
    splits = {record.key: record.split for record in source.catalog.records}
    assert {splits[row.clip.key] for row in found.rows} == {"test"}
    for row in found.rows:
        keys = [near.clip.key for near in row.neighbours]
        assert len(set(keys)) == 4 and row.clip.key not in keys
        assert [near.cosine for near in row.neighbours] == sorted(
            (near.cosine for near in row.neighbours), reverse=True
        )
    # Features that are there already are used, with the same answer.
    extract(encoder, source, FeatureConfig(), cache_dir=tmp_path)
    kept = find_neighbours(encoder, source, tmp_path)
    assert [row.clip.key for row in kept.rows] == [row.clip.key for row in found.rows]
    assert len(list(tmp_path.glob("*.arrow"))) == 1


def test_one_video_has_no_neighbours(catalog: Catalog, source: ClipSource) -> None:
    alone = ClipSource(source.spec, Catalog("one", catalog.records[:1], ()))
    with pytest.raises(DataError, match="no two videos"):
        find_neighbours(tiny_model().evaluation_encoder(), alone)


def test_shown_clips_are_named_labelled_and_readable(source: ClipSource) -> None:
    keys = [record.key for record in source.catalog.records[:3]]
    shown = shown_clips(source, [*keys, "no such clip"])
    assert set(shown) == set(keys) and shown_clips(source, []) == {}
    clip = shown[keys[0]]
    assert clip.labels["shape"] in ("cross", "disc", "square", "triangle")
    assert clip.uri.startswith("data:image/jpeg;base64,")
    with Image.open(BytesIO(base64.b64decode(clip.jpeg))) as picture:
        assert picture.size == (3 * 16 + 2 * 2, 16)


@pytest.mark.parametrize("shape", [(3, 16, 720, 1280), (1, 2, 64, 64), (3, 1, 40, 400)])
def test_a_thumbnail_is_small_whatever_the_clip(shape: tuple[int, ...]) -> None:
    clip = torch.randint(256, shape, dtype=torch.uint8)  # noise: nothing is larger
    text = thumbnail(clip)
    assert len(text) < 40_000
    with Image.open(BytesIO(base64.b64decode(text))) as picture:
        frames = min(3, shape[1])
        assert picture.height <= HEIGHT and picture.width <= frames * (WIDTH + 2)
