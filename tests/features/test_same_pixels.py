"""One spec, one picture: training, probes, features and labels see the very same pixels."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from feature_worlds import tiny_encoder
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_videos import write_clip
from oracles.whole_clips import center_view

from nexus.checkpoints.probe_folder import EncoderIdentity, ProbeCard
from nexus.data.catalog.catalog import Catalog, scan
from nexus.data.loading.augment import resize
from nexus.data.loading.clip_source import ClipSource
from nexus.data.videos.pyav import PyAVDecoder
from nexus.features.window_reader import WindowReader
from nexus.models.heads import AttentiveHead, AttentiveHeadConfig
from nexus.probes.classifier import VideoClassifier
from nexus.training.feed import VideoFeed
from nexus.training.recipe import Recipe, load_recipe

HEIGHT, WIDTH, FPS = 76, 100, 10


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory) -> dict[int, Catalog]:
    """A video of noise, by its number of frames: it has room for one clip."""
    catalogs = {}
    for count in (4, 7):
        path = tmp_path_factory.mktemp("videos") / "clip.mp4"
        rng = np.random.default_rng(count)
        noise = rng.integers(0, 256, (count, HEIGHT, WIDTH, 3), dtype=np.uint8)
        write_clip(path, pictures=list(noise), fps=FPS, height=HEIGHT, width=WIDTH)
        catalogs[count] = scan(path, workers=0)
    return catalogs


class Watching(VideoClassifier):
    """A classifier that notes the clips that reach its encoder."""

    def _tokens(self, video):
        self.encoder.seen.append(video.clone())
        return super()._tokens(video)


def classified(source: ClipSource, windows: bool) -> torch.Tensor:
    """The clip that a probe is shown."""
    encoder = tiny_encoder()
    encoder.seen = []
    head = AttentiveHeadConfig(dim=8, num_classes=2, num_heads=2, depth=1)
    card = ProbeCard(
        task="x",
        classes=("a", "b"),
        head=head,
        encoder=EncoderIdentity(source="", dim=8),
        clips=source.spec,
    )
    classifier = Watching(encoder, AttentiveHead(head), card)
    (classifier.windows if windows else classifier.videos)(source.catalog)
    (clip,) = encoder.seen[0]
    return clip


def everywhere(recipe: Recipe, catalog: Catalog, folder: Path) -> dict[str, torch.Tensor]:
    """The one clip of a video as each room sees it."""
    source = recipe.evaluation_source(catalog)
    feed = VideoFeed(recipe, catalog, problems_file=folder / "problems.json", say=print)
    (probed,) = source.batches(1)
    (window,) = WindowReader(source).windows()
    return {
        "training": feed.take().batch.clips[0].clone(),
        "training, kept": feed.take().batch.clips[0].clone(),
        "probes": probed.batch.clips[0],
        "features": window.video,
        "labels of videos": classified(source, windows=False),
        "labels of windows": classified(source, windows=True),
    }


def by_hand(recipe: Recipe, catalog: Catalog, numbers: np.ndarray) -> torch.Tensor:
    """The clip from the definition: decoded, reduced, covered and cropped."""
    spec = recipe.data.clip
    frames = torch.from_numpy(PyAVDecoder().frames(catalog.records[0].path, numbers))
    height, width = frames.shape[1:3]
    if spec.short_side is not None and spec.short_side < min(height, width):
        factor = spec.short_side / min(height, width)
        frames = resize(frames, (round(height * factor), round(width * factor)))
    return center_view(frames, spec.size)


SIDES = st.sampled_from([16, 24, 40, 104])


@settings(max_examples=40, deadline=None)
@given(
    rate=st.sampled_from([{"stride": 1}, {"stride": 2}, {"fps": FPS}, {"fps": 2 * FPS}]),
    short_side=st.none() | st.integers(8, 120),
    size=st.tuples(SIDES, SIDES),
    kind=st.sampled_from(["none", "memory", "disk"]),
)
def test_every_room_sees_the_same_clip(catalogs, rate, short_side, size, kind):
    stride, fps = rate.get("stride", 1), rate.get("fps")
    frames = 8 if fps == 2 * FPS else 4
    catalog = catalogs[3 * stride + 1]
    with tempfile.TemporaryDirectory() as folder:
        cache = {"kind": kind, "folder": f"{folder}/frames"}
        recipe = load_recipe(
            "small",
            {
                "model": {"img_size": list(size), "num_frames": frames},
                "data": {"clip": {**rate, "short_side": short_side}, "cache": cache},
                "training": {"batch_size": 1},
            },
        )
        assert recipe.data.augment is None
        expected = by_hand(recipe, catalog, np.arange(frames) * 4 // frames * stride)
        for room, clip in everywhere(recipe, catalog, Path(folder)).items():
            assert torch.equal(clip, expected), room


@pytest.mark.parametrize("kind", ["none", "memory", "disk"])
def test_a_short_side_holds_without_a_disk_cache(tmp_path, kind):
    """Once it was dropped by probes, features and labels unless frames were kept on disk."""
    rng = np.random.default_rng(0)
    noise = list(rng.integers(0, 256, (8, 128, 128, 3), dtype=np.uint8))
    path = write_clip(tmp_path / "clip.mp4", pictures=noise, height=128, width=128)
    catalog = scan(path, workers=0)
    changes = [f"data.cache.kind={kind}", f"data.cache.folder={tmp_path}/frames"]
    changes += ["training.batch_size=1", "data.clip.short_side=48"]
    recipe = load_recipe("small", changes)
    expected = by_hand(recipe, catalog, np.arange(8))
    for room, clip in everywhere(recipe, catalog, tmp_path).items():
        assert torch.equal(clip, expected), room
    whole = by_hand(load_recipe("small"), catalog, np.arange(8))
    assert (whole != expected).double().mean() > 0.5
