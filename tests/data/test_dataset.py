"""Samples: the right pixels, pure in (seed, epoch, number), and named problems."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from fake_videos import FakeDecoder, fake_catalog, fake_pixels, fake_record
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.whole_clips import augment, center_view

from nexus.data.catalog.catalog import Problem, scan
from nexus.data.clip_spec import ClipSpec
from nexus.data.clips import FrameTimes, choose_clip
from nexus.data.loading.augment import (
    AugmentConfig,
    draw_augmentation,
    resize,
    to_gray,
)
from nexus.data.loading.cache import CacheConfig
from nexus.data.loading.dataset import ClipDataset, Sample
from nexus.data.views import CenterView, DrawnView
from nexus.errors import ConfigError, DataError

CLIP = ClipSpec(num_frames=6, stride=2)
CHANGES = AugmentConfig(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1)


def make(records, clip=CLIP, augment=None, size=32, decoder=None, cache=None) -> ClipDataset:
    spec = clip.with_changes(size=size)
    return ClipDataset(spec, fake_catalog(records), augment, decoder or FakeDecoder(records), cache)


def good(result: Sample | Problem) -> Sample:
    assert isinstance(result, Sample), result
    return result


def wrong(result: Sample | Problem) -> Problem:
    assert isinstance(result, Problem), result
    return result


def same(one: Sample, other: Sample) -> bool:
    return (
        torch.equal(one.video, other.video)
        and np.array_equal(one.times, other.times)
        and one.record_index == other.record_index
    )


RECORDS = [fake_record(Path(f"v{i}.mp4"), num_frames=20 + i) for i in range(4)]


def test_pixels_are_those_of_the_frames_at_the_stated_times():
    dataset = make(RECORDS)
    for number in range(4):
        sample = good(dataset.sample(number, seed=1, epoch=0))
        indices = np.round(sample.times * 10).astype(int)
        assert sample.record_index == number and np.all(np.diff(indices) == 2)
        expected = fake_pixels(RECORDS[number])[indices]
        assert torch.equal(sample.video, torch.from_numpy(expected).permute(3, 0, 1, 2))


@settings(max_examples=60)
@given(st.integers(0, 2**40), st.integers(0, 1000), st.permutations(range(12)))
def test_samples_depend_on_nothing_but_seed_epoch_and_number(seed, epoch, order):
    clip = CLIP.with_changes(clips_per_video=3, jitter=0.3, reversal=0.5)
    first, second = (make(RECORDS, clip, CHANGES, 16) for _ in range(2))
    straight = [good(first.sample(n, seed=seed, epoch=epoch)) for n in range(12)]
    torch.manual_seed(seed % 7)
    np.random.seed(seed % 7)
    for number in order:
        assert same(good(second.sample(number, seed=seed, epoch=epoch)), straight[number])
    assert [sample.record_index for sample in straight] == [n // 3 for n in range(12)]


def test_seed_epoch_and_clip_number_each_change_the_draw():
    dataset = make(RECORDS, CLIP.with_changes(clips_per_video=2), CHANGES, 16)
    base = good(dataset.sample(0, seed=1, epoch=1))
    for other in (
        dataset.sample(0, seed=2, epoch=1),
        dataset.sample(0, seed=1, epoch=2),
        dataset.sample(1, seed=1, epoch=1),
    ):
        assert not torch.equal(good(other).video, base.video)


def test_reversed_padded_and_slow_clips_repeat_the_right_frames():
    clip = ClipSpec(num_frames=8, fps=25, reversal=1.0)  # each frame of 10 fps comes 2 or 3 times
    sample = good(make(RECORDS, clip).sample(0, seed=0, epoch=0))
    indices = np.round(sample.times * 10).astype(int)
    assert len(set(indices)) < 8 and np.all(np.diff(indices) <= 0)
    expected = fake_pixels(RECORDS[0])[indices]
    assert torch.equal(sample.video, torch.from_numpy(expected).permute(3, 0, 1, 2))


def whole_clip(record, clip, config, size, short_side, channels, seed, epoch) -> torch.Tensor:
    """The same sample from all of its full-size frames at once: chosen, then drawn, then shown."""
    key = np.random.SeedSequence(seed, spawn_key=(1, epoch, 0, 0))
    rng = np.random.Generator(np.random.PCG64(key))
    times = FrameTimes.from_timestamps(np.arange(record.num_frames) / record.fps)
    indices = choose_clip(times, clip, rng, number=0).indices
    frames = torch.from_numpy(fake_pixels(record)[indices])
    shorter = min(record.height, record.width)
    if short_side is not None and shorter > short_side:
        factor = short_side / shorter
        frames = resize(frames, (round(record.height * factor), round(record.width * factor)))
    if config is None:
        video = center_view(frames, size)
    else:
        own = np.random.default_rng(int(rng.integers(2**63)))
        change = draw_augmentation(config, frames.shape[1], frames.shape[2], own)
        video = augment(frames, change, size, config.interpolation)
    return to_gray(video) if channels == 1 else video


SIDES = st.integers(8, 60)
CLIPS = [CLIP, CLIP.with_changes(reversal=1.0), ClipSpec(num_frames=8, fps=25, reversal=0.5)]
LOOKS = [
    None,
    AugmentConfig(),
    AugmentConfig(contrast=0.9, interpolation="bicubic"),
    AugmentConfig(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2, grayscale=0.3),
    AugmentConfig(scale=(1, 1), aspect=(0.1, 10), contrast=0.5),
]


@settings(max_examples=80, deadline=None)
@given(
    clip=st.sampled_from(CLIPS),
    config=st.sampled_from(LOOKS),
    sides=st.tuples(SIDES, SIDES),
    size=st.none() | st.tuples(SIDES, SIDES),
    kind=st.sampled_from(["none", "memory", "no room"]),
    short_side=st.none() | SIDES,
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 2**40),
)
def test_pictures_shown_one_by_one_have_the_bits_of_whole_clips(
    clip, config, sides, size, kind, short_side, channels, seed
):
    record, size = fake_record(Path("v.mp4"), size=sides), size or sides
    cache = CacheConfig(
        kind="none" if kind == "none" else "memory",
        max_gigabytes=1e-6 if kind == "no room" else 1,
    )
    shown = clip.with_changes(short_side=short_side, channels=channels)
    dataset = make([record], shown, config, size, cache=cache)
    for epoch in range(2):
        expected = whole_clip(record, clip, config, size, short_side, channels, seed, epoch)
        assert torch.equal(good(dataset.sample(0, seed=seed, epoch=epoch)).video, expected)


def test_decoding_that_starts_over_does_not_change_the_draw():
    class Restless(FakeDecoder):
        def frames(self, path, indices, view=None):
            assert view is not None
            for size in ((50, 20), (32, 32)):
                rows, columns = view.part(*size)
                view.show(np.zeros((1, *size, 3), np.uint8)[:, rows, columns])
            return super().frames(path, indices, view)

    calm = good(make(RECORDS, augment=CHANGES).sample(0, seed=0, epoch=0))
    decoder = Restless(RECORDS)
    assert same(
        good(make(RECORDS, augment=CHANGES, decoder=decoder).sample(0, seed=0, epoch=0)), calm
    )


def test_uneven_timestamps_and_segments_reach_the_decoder():
    record = fake_record(Path("uneven.mp4"), num_frames=24, start=0.5, end=2.0)
    decoder = FakeDecoder([record])
    stamps = np.cumsum(np.tile([0.03, 0.09, 0.07], 10)) - 0.03
    decoder.stamps[str(record.path)] = stamps
    dataset = make([record], ClipSpec(num_frames=6, fps=8), decoder=decoder)
    for epoch in range(10):
        sample = good(dataset.sample(0, seed=0, epoch=epoch))
        indices = np.searchsorted(stamps, sample.times)
        np.testing.assert_array_equal(stamps[indices], sample.times)
        assert stamps[indices].min() >= 0.5 and stamps[indices].max() < 2.0
        expected = fake_pixels(record, 30)[indices]
        assert torch.equal(sample.video, torch.from_numpy(expected).permute(3, 0, 1, 2))


def test_sizes_and_channels():
    wide = [fake_record(Path("wide.mp4"), size=(24, 60))]
    for changes in (None, CHANGES):
        sample = good(make(wide, augment=changes, size=(16, 20)).sample(0, seed=0, epoch=0))
        assert sample.video.shape == (3, 6, 16, 20)
        luma = CLIP.with_changes(channels=1)
        gray = good(make(wide, luma, augment=changes, size=16).sample(0, seed=0, epoch=0))
        assert gray.video.shape == (1, 6, 16, 16) and gray.video.dtype == torch.uint8
    with pytest.raises(ConfigError, match="channels: got 2"):
        CLIP.with_changes(channels=2)


def test_clip_length_can_grow():
    dataset = make(RECORDS)
    assert (dataset.spec.num_frames, dataset.spec.size) == (6, (32, 32))
    ten, eleven = (dataset.spec.with_changes(num_frames=frames) for frames in (10, 11))
    longer = good(dataset.sample(0, seed=0, epoch=0, spec=ten))
    assert longer.video.shape[1] == 10
    problem = wrong(dataset.sample(0, seed=0, epoch=0, spec=eleven))
    assert problem.kind == "too_short" and problem.path == "v0.mp4" and problem.fatal
    assert "span 21 frames, the video has 20" in problem.reason


@pytest.mark.parametrize("augment", [None, CHANGES])
@pytest.mark.parametrize("kept", [None, CacheConfig(kind="memory")])
def test_pictures_can_grow(augment, kept):
    """A sample of another size is the sample of a dataset made for that size, bit for bit."""
    for size in ((24, 40), (48, 48)):
        spec = CLIP.with_changes(num_frames=4, size=size)
        grown = good(
            make(RECORDS, augment=augment, cache=kept).sample(1, seed=3, epoch=2, spec=spec)
        )
        clip = CLIP.with_changes(num_frames=4)
        made = good(make(RECORDS, clip, augment, size).sample(1, seed=3, epoch=2))
        assert grown.video.shape == (3, 4, *size)
        assert torch.equal(grown.video, made.video) and np.array_equal(grown.times, made.times)


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("kept", [None, 20])
@pytest.mark.parametrize("augment", [None, AugmentConfig(flip=1.0), CHANGES])
@pytest.mark.parametrize("clip", [CLIP, CLIP.with_changes(reversal=1.0)])
def test_a_sample_lies_in_the_memory_that_it_is_given(channels, kept, augment, clip):
    clip = clip.with_changes(channels=channels, short_side=kept)
    cache = CacheConfig(kind="memory") if kept else None
    dataset = make(RECORDS, clip, augment, cache=cache)
    alone = good(dataset.sample(2, seed=3, epoch=1))
    memory = torch.full((3, 6, 32, 32, channels), 99, dtype=torch.uint8)
    given = good(dataset.sample(2, seed=3, epoch=1, into=memory[1]))
    assert same(given, alone)
    assert given.video.data_ptr() == memory[1].data_ptr()
    assert torch.equal(memory[1].permute(3, 0, 1, 2), alone.video)
    assert (memory[0] == 99).all() and (memory[2] == 99).all()


def test_a_clip_that_shows_a_picture_twice_lies_in_the_memory_that_it_is_given():
    record = fake_record(Path("slow.mp4"), num_frames=40)
    dataset = make([record], ClipSpec(num_frames=8, fps=25))
    memory = torch.zeros(8, 32, 32, 3, dtype=torch.uint8)
    given = good(dataset.sample(0, seed=0, epoch=0, into=memory))
    repeats = [torch.equal(one, other) for one, other in zip(memory[1:], memory[:-1], strict=True)]
    assert any(repeats) and not all(repeats)
    assert same(given, good(dataset.sample(0, seed=0, epoch=0)))
    assert given.video.data_ptr() == memory.data_ptr()


def test_failing_files_become_problems_that_name_them(tmp_path):
    there = tmp_path / "ä b.mp4"
    there.touch()
    records = [fake_record(there), fake_record(tmp_path / "gone.mp4"), RECORDS[0]]
    decoder = FakeDecoder(records)
    decoder.broken = {str(there), str(tmp_path / "gone.mp4")}
    dataset = make(records, decoder=decoder)
    problem = wrong(dataset.sample(0, seed=0, epoch=0))
    assert (problem.kind, problem.path, problem.fatal) == ("decode_failed", str(there), True)
    assert "damaged" in problem.reason
    assert wrong(dataset.sample(1, seed=0, epoch=0)).kind == "missing"
    good(dataset.sample(2, seed=0, epoch=0))


def test_a_file_that_changed_since_the_scan_is_noticed():
    decoder = FakeDecoder(RECORDS)
    decoder.stamps["v1.mp4"] = np.arange(15) / 10
    problem = wrong(make(RECORDS, decoder=decoder).sample(1, seed=0, epoch=0))
    assert "15 frames, but 21 when it was checked" in problem.reason


def test_bugs_are_not_taken_for_bad_files(monkeypatch):
    decoder = FakeDecoder(RECORDS)
    decoder.frames = lambda path, indices, view: 1 / 0  # type: ignore[method-assign]
    problem = wrong(make(RECORDS, decoder=decoder).sample(0, seed=0, epoch=0))
    assert problem.reason == "the decoder failed (ZeroDivisionError: division by zero)"
    for name in ("part", "show", "room"):
        for view, changes in ((CenterView, None), (DrawnView, AugmentConfig())):
            with monkeypatch.context() as patch:
                patch.setattr(view, name, lambda *_: 1 / 0)
                dataset = ClipDataset(CLIP, fake_catalog(RECORDS), changes, FakeDecoder(RECORDS))
                with pytest.raises(ZeroDivisionError):
                    dataset.sample(0, seed=0, epoch=0)


def test_an_empty_catalog_is_refused():
    with pytest.raises(DataError, match="fake: no usable video"):
        make([])


def test_the_fingerprint_follows_the_clips_of_an_epoch():
    base = make(RECORDS).fingerprint
    assert make(list(RECORDS)).fingerprint == base
    assert make(RECORDS[:3]).fingerprint != base
    assert make(RECORDS[::-1]).fingerprint != base
    assert make(RECORDS, CLIP.with_changes(clips_per_video=2)).fingerprint != base


def write_video(path: Path, stamps_ms: list[int], size: int = 64) -> None:
    """Frame i is gray of level 20 + 8 i, shown from stamps_ms[i] on."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "0", "g": "6"})
        stream.width = stream.height = size
        stream.pix_fmt = "yuv444p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for index, stamp in enumerate(stamps_ms):
            picture = np.full((size, size, 3), 20 + 8 * index, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_real_files_steady_and_uneven(tmp_path):
    steady = [40 * i for i in range(26)]
    uneven = np.cumsum([0, *np.random.default_rng(0).integers(20, 150, 25)]).tolist()
    write_video(tmp_path / "steady.mp4", steady)
    write_video(tmp_path / "uneven.mp4", uneven)
    catalog = scan(tmp_path, index_dir=tmp_path / "index")
    assert [record.key for record in catalog.records] == ["steady.mp4", "uneven.mp4"]
    for clip in (
        ClipSpec(num_frames=5, fps=8, size=64),
        ClipSpec(num_frames=5, stride=3, size=64),
    ):
        dataset = ClipDataset(clip, catalog)
        for epoch in range(6):
            for number, stamps in enumerate((steady, uneven)):
                sample = good(dataset.sample(number, seed=3, epoch=epoch))
                shown = [stamps.index(round(1000 * time)) for time in sample.times]
                level = sample.video.double().mean(dim=(0, 2, 3))
                expected = torch.tensor([20.0 + 8 * index for index in shown]).double()
                assert (level - expected).abs().max() < 3
                if clip.fps is None:
                    assert np.all(np.diff(shown) == 3)
                else:
                    gaps = np.diff(sample.times)
                    assert gaps.sum() <= 4 / 8 + 0.15 and gaps.sum() >= 4 / 8 - 0.15


def test_real_files_that_go_bad_after_the_scan(tmp_path):
    for name in ("whole", "wiped", "cut", "gone"):
        write_video(tmp_path / f"{name}.mp4", [40 * i for i in range(26)])
    catalog = scan(tmp_path, index_dir=tmp_path / "index")
    wiped = (tmp_path / "wiped.mp4").read_bytes()
    middle = wiped.index(b"mdat") + 700
    (tmp_path / "wiped.mp4").write_bytes(wiped[:middle] + b"\0" * (len(wiped) - middle))
    (tmp_path / "cut.mp4").write_bytes(wiped[:300])
    (tmp_path / "gone.mp4").unlink()
    dataset = ClipDataset(ClipSpec(num_frames=20, size=64), catalog)
    found = {}
    for record, number in zip(catalog.records, range(4), strict=True):
        result = dataset.sample(number, seed=0, epoch=0)
        found[record.key] = result.kind if isinstance(result, Problem) else "fine"
    assert found == {
        "whole.mp4": "fine",
        "wiped.mp4": "decode_failed",
        "cut.mp4": "decode_failed",
        "gone.mp4": "missing",
    }
