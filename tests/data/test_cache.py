"""The cache changes how often videos are decoded and nothing else."""

import errno
import logging
from pathlib import Path

import numpy as np
import pydantic
import pytest
import torch
from fake_videos import FakeDecoder, fake_catalog, fake_record
from hypothesis import given
from hypothesis import strategies as st

from nexus.data.catalog.catalog import Problem
from nexus.data.clip_spec import ClipSpec
from nexus.data.loading import cache as module
from nexus.data.loading.augment import AugmentConfig
from nexus.data.loading.cache import CacheConfig, CacheEntry, file_identity, plan
from nexus.data.loading.dataset import ClipDataset, Sample

CLIP = ClipSpec(num_frames=6, stride=2, size=20)


def world(folder: Path, count: int = 5, **changes) -> list:
    """Records whose files exist (the disk cache looks at their size and time)."""
    records = []
    for i in range(count):
        path = folder / f"v{i}.mp4"
        path.write_bytes(b"x" * (i + 1))
        size = (24 + 4 * i, 40)
        records.append(fake_record(path, num_frames=16 + i, size=size, **changes))
    return records


def make(records, config: CacheConfig | None, log: Path, clip=CLIP, **changes) -> ClipDataset:
    decoder = FakeDecoder(records, log)
    for name, value in changes.items():
        setattr(decoder, name, value)
    return ClipDataset(clip, fake_catalog(records), AugmentConfig(), decoder, config)


def epochs(dataset: ClipDataset, count: int = 3) -> list[Sample | Problem]:
    return [
        dataset.sample(number, seed=5, epoch=epoch)
        for epoch in range(count)
        for number in range(len(dataset))
    ]


def assert_same(ours: list[Sample | Problem], theirs: list[Sample | Problem]) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        if isinstance(one, Problem):
            assert one == other
        else:
            assert isinstance(other, Sample) and torch.equal(one.video, other.video)
            np.testing.assert_array_equal(one.times, other.times)


def configs(folder: Path, **changes) -> list[CacheConfig]:
    return [
        CacheConfig(kind="memory", **changes),
        CacheConfig(kind="disk", folder=folder / "kept", **changes),
    ]


def test_each_video_is_decoded_once_and_samples_keep_their_bits(tmp_path):
    records = world(tmp_path)
    plain = epochs(make(records, None, tmp_path / "log"))
    for config in configs(tmp_path):
        log = tmp_path / f"log {config.kind}"
        dataset = make(records, config, log)
        assert dataset.reader.cache is not None and dataset.reader.cache.planned == 5
        assert_same(epochs(dataset), plain)
        assert dataset.reader.decoder.decoded() == sum(record.num_frames for record in records)


def test_disk_frames_serve_later_runs_until_the_video_changes(tmp_path):
    records = world(tmp_path)
    config = CacheConfig(kind="disk", folder=tmp_path / "kept")
    first = epochs(make(records, config, tmp_path / "log1"))
    again = make(records, config, tmp_path / "log2")
    assert_same(epochs(again), first)
    assert again.reader.decoder.decoded() == 0
    records[2].path.write_bytes(b"another file")
    changed = make(records, config, tmp_path / "log3")
    epochs(changed)
    assert changed.reader.decoder.decoded() == records[2].num_frames
    smaller = make(records, config, tmp_path / "log4", CLIP.with_changes(short_side=16))
    epochs(smaller)
    assert smaller.reader.decoder.decoded() == sum(record.num_frames for record in records)


def test_what_does_not_fit_is_decoded_each_time_and_said_so(tmp_path, caplog):
    records = world(tmp_path)
    budget = sum(r.num_frames * r.height * r.width * 3 for r in records[:3]) / 1e9
    plain = epochs(make(records, None, tmp_path / "log"))
    for config in configs(tmp_path, max_gigabytes=budget + 1e-6):
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            dataset = make(records, config, tmp_path / f"log {config.kind}")
        assert dataset.reader.cache is not None and dataset.reader.cache.planned == 3
        assert "2 do not fit and are decoded each time" in caplog.text
        assert_same(epochs(dataset), plain)
        whole = sum(record.num_frames for record in records[:3])
        assert dataset.reader.decoder.decoded() == whole + 2 * 3 * 6


def test_a_reduced_size_holds_for_kept_and_other_videos_alike(tmp_path):
    records = world(tmp_path)
    clip = CLIP.with_changes(short_side=16)
    full = epochs(make(records, CacheConfig(kind="memory"), tmp_path / "log0"))
    uncached = epochs(make(records, None, tmp_path / "log1", clip))
    assert not torch.equal(full[0].video, uncached[0].video)
    for config in configs(tmp_path):
        assert_same(epochs(make(records, config, tmp_path / "log2", clip)), uncached)
    tight = CacheConfig(kind="memory", max_gigabytes=5e-5)
    dataset = make(records, tight, tmp_path / "log3", clip)
    assert dataset.reader.cache is not None and 0 < dataset.reader.cache.planned < 5
    assert_same(epochs(dataset), uncached)
    assert dataset.reader.cache.entries[0].shape == (16, 16, 27, 3)


def test_backward_and_standing_clips_come_out_of_the_cache_too(tmp_path):
    records = world(tmp_path)
    for changes in ({"reversal": 1.0}, {"num_frames": 30, "stride": 1, "pad": "repeat_last"}):
        pair = []
        for config in (None, CacheConfig(kind="memory")):
            dataset = make(records, config, tmp_path / "log", CLIP.with_changes(**changes))
            pair.append(epochs(dataset))
        assert_same(*pair)
    still = [fake_record(tmp_path / "v0.mp4", num_frames=1)]
    padded = CLIP.with_changes(pad="repeat_last")
    dataset = make(still, CacheConfig(kind="memory"), tmp_path / "log", padded)
    for sample in epochs(dataset):
        assert isinstance(sample, Sample) and torch.equal(sample.video[:, 0], sample.video[:, 5])


def test_long_videos_are_decoded_in_pieces(tmp_path):
    records = [fake_record(tmp_path / "v.mp4", num_frames=53)]
    records[0].path.touch()
    plain = epochs(make(records, None, tmp_path / "log"), 8)
    dataset = make(records, CacheConfig(kind="memory"), tmp_path / "log")
    pieces = list(dataset.reader._decode_all(0, chunk_bytes=1))  # 16 frames, the least
    assert [len(piece) for piece in pieces] == [16, 16, 16, 5]
    [whole] = dataset.reader._decode_all(0)
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    assert_same(epochs(dataset, 8), plain)


def test_segments_keep_only_their_own_frames(tmp_path):
    records = world(tmp_path, start=0.2, end=1.45)
    stamps = {"stamps": {str(record.path): np.arange(25) / 10 for record in records}}
    plain = epochs(make(records, None, tmp_path / "log", **stamps))
    dataset = make(records, CacheConfig(kind="memory"), tmp_path / "log2", **stamps)
    assert dataset.reader.cache is not None
    assert [(entry.first, entry.last) for entry in dataset.reader.cache.entries] == [(2, 14)] * 5
    assert_same(epochs(dataset), plain)


def test_a_damaged_tail_costs_no_clip_before_it(tmp_path, caplog):
    records = world(tmp_path)
    damage = {"broken_from": {str(records[1].path): 12}, "broken": {str(records[3].path)}}
    plain = epochs(make(records, None, tmp_path / "log", **damage), 12)
    failed = [result for result in plain[1::5] if isinstance(result, Problem)]
    assert 0 < len(failed) < 12  # some clips of the damaged file are whole
    for config in configs(tmp_path):
        assert_same(epochs(make(records, config, tmp_path / "log", **damage), 12), plain)
    assert f"not caching {records[1].path}" in caplog.text


def test_rubbish_in_the_folder_is_rewritten(tmp_path):
    records = world(tmp_path, 1)
    config = CacheConfig(kind="disk", folder=tmp_path / "kept")
    plain = epochs(make(records, config, tmp_path / "log"))
    (file,) = (tmp_path / "kept").rglob("*.npy")
    for rubbish in (b"", b"rubbish", file.read_bytes()[:-100]):
        file.write_bytes(rubbish)
        assert_same(epochs(make(records, config, tmp_path / "log")), plain)
        assert len(np.load(file)) == 16


def test_a_full_disk_ends_caching_not_training(tmp_path, monkeypatch, caplog):
    records = world(tmp_path)
    plain = epochs(make(records, None, tmp_path / "log"))

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "atomic_path", full)
    config = CacheConfig(kind="disk", folder=tmp_path / "kept")
    assert_same(epochs(make(records, config, tmp_path / "log2")), plain)
    assert caplog.text.count("No space left") == 1


def test_a_folder_that_cannot_be_written_is_one_warning(tmp_path, caplog, monkeypatch):
    (tmp_path / "file").touch()
    records = world(tmp_path)
    plain = epochs(make(records, None, tmp_path / "log"))
    config = CacheConfig(kind="disk", folder=tmp_path / "file" / "kept")
    assert_same(epochs(make(records, config, tmp_path / "log", broken=set())), plain)
    [warning] = caplog.messages
    assert "choose another folder" in warning and "file is a file" in warning
    # What was kept before is still read; what can be found out only while writing is said once.
    good, log = CacheConfig(kind="disk", folder=tmp_path / "kept"), tmp_path / "log3"
    epochs(make(records[:2], good, tmp_path / "log2"))
    caplog.clear()
    dataset = make(records, good, log)

    def refuse(path):
        raise PermissionError(errno.EACCES, "permission denied", str(path))

    monkeypatch.setattr(module, "atomic_path", refuse)
    assert_same(epochs(dataset), plain)
    [warning] = caplog.messages
    assert "decoded frames are not kept" in warning and "permission denied" in warning
    assert dataset.reader.decoder.decoded() == 3 * 3 * 6  # type: ignore[attr-defined]


def test_a_disk_cache_needs_a_folder():
    with pytest.raises(pydantic.ValidationError, match="needs a folder"):
        CacheConfig(kind="disk")


@given(st.lists(st.integers(1, 40), max_size=20), st.integers(0, 300))
def test_the_plan_is_the_largest_number_of_videos_that_fits(frames, budget):
    entries = [CacheEntry(Path("v"), 0, count - 1, 1, 1) for count in frames]
    kept = plan(entries, budget)
    assert sum(entries[index].nbytes for index in kept) <= budget
    # By brute definition: no other choice of more videos fits.
    cheapest = sorted(3 * count for count in frames)
    assert len(kept) == max(n for n in range(len(frames) + 1) if sum(cheapest[:n]) <= budget)


def test_identity_follows_file_and_folder(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "1.png").write_bytes(b"one")
    before = file_identity(folder)
    assert file_identity(folder) == before
    (folder / "1.png").write_bytes(b"two!")
    assert file_identity(folder) != before
    with pytest.raises(FileNotFoundError):
        file_identity(tmp_path / "nothing")
