"""The stream: exact order, exact resume, whatever the workers do."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_videos import FakeDecoder, fake_catalog, fake_record
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.augment import AugmentConfig
from nexus.data.loading.cache import CacheConfig
from nexus.data.loading.dataset import ClipDataset
from nexus.data.loading.loader import ClipLoader, LoadedBatch
from nexus.data.loading.order import Order
from nexus.data.views import DrawnView
from nexus.errors import DataError

RECORDS = [fake_record(Path(f"v{i}.mp4"), num_frames=20 + i % 3, size=(18, 20)) for i in range(7)]


def data(records=RECORDS, log=None, cache=None, clips_per_video=1) -> ClipDataset:
    spec = ClipSpec(num_frames=4, stride=2, clips_per_video=clips_per_video, size=16)
    decoder = FakeDecoder(records, log)
    return ClipDataset(spec, fake_catalog(records), AugmentConfig(), decoder, cache)


def load(dataset=None, **changes) -> ClipLoader:
    return ClipLoader(dataset or data(), **{"batch_size": 3, "seed": 11, **changes})


def clip(num_frames: int, size: tuple[int, int]) -> ClipSpec:
    return ClipSpec(num_frames=num_frames, stride=2, size=size)


def growing(number: int) -> ClipSpec:
    """Longer clips first, then larger pictures, then both smaller again."""
    stages = clip(4, (16, 16)), clip(6, (16, 16)), clip(6, (24, 20))
    return stages[min(number // 3, 2)] if number < 9 else clip(2, (8, 8))


def take(loader: ClipLoader, count: int) -> list[LoadedBatch]:
    return [next(loader) for _ in range(count)]


def assert_same(ours: list[LoadedBatch], theirs: list[LoadedBatch]) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert (one.number, one.epoch, one.failures) == (other.number, other.epoch, other.failures)
        assert torch.equal(one.batch.clips, other.batch.clips)
        assert torch.equal(one.batch.times, other.batch.times)
        assert torch.equal(one.record_index, other.record_index)


# --- order ------------------------------------------------------------------------------------


@given(
    st.integers(1, 20), st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**40),
    st.integers(1, 5), st.booleans(),
)  # fmt: skip
def test_every_clip_comes_once_an_epoch_over_all_ranks(size, batch, world, seed, epochs, shuffle):
    orders = [Order(size, batch, seed, shuffle, epochs, rank, world) for rank in range(world)]
    assert len({order.batches for order in orders}) == 1
    batches = orders[0].batches
    assert batches is not None
    clips = [clip for number in range(batches) for order in orders for clip in order.clips(number)]
    assert Counter(clips) == {(e, n): 1 for e in range(epochs) for n in range(size)}
    assert [epoch for epoch, _ in clips] == sorted(epoch for epoch, _ in clips)
    for number in range(batches - 1):
        assert all(len(order.clips(number)) == batch for order in orders)
        assert all(order.epoch(number) == order.clips(number)[0][0] for order in orders)
    if not shuffle:
        assert [n for _, n in clips] == list(range(size)) * epochs


def test_epochs_and_seeds_have_their_own_order():
    def epoch(seed: int, which: int) -> list[int]:
        return [n for _, n in Order(50, 50, seed).clips(which)]

    assert epoch(1, 0) == epoch(1, 0)
    assert epoch(1, 0) != epoch(1, 1)
    assert epoch(1, 0) != epoch(2, 0)
    firsts = np.bincount([Order(4, 1, seed).clips(0)[0][1] for seed in range(2000)])
    assert firsts.min() > 400


# --- batches ----------------------------------------------------------------------------------


def test_batches_hold_what_the_dataset_gives():
    dataset = data(clips_per_video=2)
    loader = load(dataset, clip_at=growing)
    for number, batch in enumerate(take(loader, 11)):
        assert batch.number == number and batch.failures == ()
        shape = growing(number)
        assert batch.batch.clips.shape == (3, 3, shape.num_frames, *shape.size)
        assert batch.batch.clips.is_contiguous(memory_format=torch.channels_last_3d)
        assert batch.batch.clips.dtype == torch.uint8
        assert batch.batch.times.dtype == torch.float64 and batch.record_index.dtype == torch.int64
        for place, (epoch, clip) in enumerate(loader.order.clips(number)):
            sample = dataset.sample(clip, seed=11, epoch=epoch, spec=shape)
            assert torch.equal(batch.batch.clips[place], sample.video)
            assert batch.batch.times[place].tolist() == sample.times.tolist()
            assert batch.record_index[place] == clip // 2


def test_five_videos_fill_a_batch_of_thirty_two():
    batch = next(load(data(RECORDS[:5]), batch_size=32))
    assert len(batch.batch.clips) == 32
    counts = Counter(batch.record_index.tolist())
    assert set(counts) == set(range(5)) and max(counts.values()) - min(counts.values()) <= 1
    assert len({batch.batch.clips[i].numpy().tobytes() for i in range(32)}) == 32


def test_a_finite_stream_ends_with_a_smaller_batch_and_starts_over():
    loader = load(epochs=2, shuffle=False)
    for _ in range(2):
        batches = list(loader)
        assert [len(batch.batch.clips) for batch in batches] == [3, 3, 3, 3, 2]
        order = torch.cat([batch.record_index for batch in batches]).tolist()
        assert order == list(range(7)) * 2


def test_leaving_a_loop_and_coming_back_continues():
    straight = take(load(), 6)
    loader = load(num_workers=1)
    pieces = []
    for batch in loader:
        pieces.append(batch)
        if len(pieces) == 2:
            break
    for batch in loader:
        pieces.append(batch)
        if len(pieces) == 6:
            break
    loader.close()
    assert_same(pieces, straight)


def test_impossible_arguments_are_refused():
    for changes in ({"batch_size": 0}, {"seed": -1}, {"rank": 1}, {"epochs": 0}, {"prefetch": 0}):
        with pytest.raises(ValueError, match="expected"):
            load(**changes)


# --- resume -----------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.booleans())
def test_stopping_anywhere_changes_nothing(stops, shuffle):
    straight = take(load(clip_at=growing, shuffle=shuffle), sum(stops) + 2)
    pieces: list[LoadedBatch] = []
    state = load(shuffle=shuffle).state_dict()
    for stop in [*stops, 2]:
        loader = load(clip_at=growing, shuffle=shuffle)
        loader.load_state_dict(state)
        pieces += take(loader, stop)
        state = loader.state_dict()
    assert_same(pieces, straight)


@settings(max_examples=6, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), min_size=2, max_size=3))
def test_any_number_of_workers_gives_and_resumes_the_same_stream(pieces):
    straight = take(load(clip_at=growing), sum(count for _, count in pieces))
    got: list[LoadedBatch] = []
    state = load().state_dict()
    for workers, count in pieces:
        with load(clip_at=growing, num_workers=workers) as loader:
            loader.load_state_dict(state)
            got += take(loader, count)
            state = loader.state_dict()  # workers are ahead; this is what was delivered
    assert_same(got, straight)


def test_batches_that_are_kept_stay_as_they_were():
    """More of them than there is shared memory for, with clips and pictures that grow."""
    with load(clip_at=growing, num_workers=2) as loader:
        kept = take(loader, 14)
    assert_same(kept, take(load(clip_at=growing), 14))


def test_going_back_to_a_saved_position_drops_what_workers_made_ahead():
    with load(num_workers=2) as loader:
        start = loader.state_dict()
        first = take(loader, 4)
        loader.load_state_dict(start)
        assert_same(take(loader, 4), first)


def test_a_position_in_other_data_is_refused():
    state = load().state_dict()
    for other in (
        load(batch_size=4),
        load(seed=12),
        load(shuffle=False),
        load(data(RECORDS[:6])),
        load(data(RECORDS[::-1])),
        load(data(clips_per_video=2)),
        load(world_size=2),
    ):
        with pytest.raises(DataError, match="restore the same videos and settings"):
            other.load_state_dict(state)
    load(num_workers=2).load_state_dict(state)


def test_state_is_plain_data():
    state = load().state_dict()
    assert all(isinstance(value, int | str | bool | None) for value in state.values())


# --- trouble ----------------------------------------------------------------------------------


def broken_data(paths: list[str]) -> ClipDataset:
    dataset = data()
    dataset.reader.decoder.broken = set(paths)
    return dataset


@pytest.mark.parametrize("workers", [0, 2])
def test_failing_files_shrink_their_batch_and_touch_no_other(workers):
    straight = take(load(), 7)
    with load(broken_data(["v2.mp4"]), num_workers=workers) as loader:
        batches = take(loader, 7)
    failures = [problem for batch in batches for problem in batch.failures]
    assert len(failures) == 3 and {problem.path for problem in failures} == {"v2.mp4"}
    for whole, batch in zip(straight, batches, strict=True):
        keep = whole.record_index != 2
        assert len(batch.failures) == int((~keep).sum())
        assert torch.equal(batch.batch.clips, whole.batch.clips[keep])
        assert torch.equal(batch.record_index, whole.record_index[keep])
        assert torch.equal(batch.batch.times, whole.batch.times[keep])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_of_nothing_but_failures_is_empty(workers):
    broken = broken_data([str(record.path) for record in RECORDS])
    with load(broken, num_workers=workers) as loader:
        for batch in take(loader, 12):  # more than there are shared slots: all are held
            assert batch.batch.clips.shape == (0, 3, 4, 16, 16) and batch.batch.times.shape == (
                0,
                4,
            )
    assert len(batch.failures) == 3


def test_bugs_in_workers_come_out(monkeypatch):
    dataset = data()
    monkeypatch.setattr(DrawnView, "show", lambda *_: 1 / 0)
    with load(dataset, num_workers=1) as loader, pytest.raises(ZeroDivisionError):
        next(loader)


def kill(loader: ClipLoader) -> None:
    for worker in loader._workers:
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)


def test_a_worker_killed_between_batches_ends_the_stream_where_it_is_waited_for():
    straight = take(load(), 12)
    with load(num_workers=1) as loader:
        batches = take(loader, 2)
        kill(loader)
        time.sleep(0.2)  # a training step: nothing must be raised in the middle of it
        with pytest.raises(DataError, match=r"died \(SIGKILL\) .* --resume goes on"):
            for batch in loader:
                batches.append(batch)
        batches += take(loader, 12 - len(batches))  # with new ones, if somebody asks for it
    assert_same(batches, straight)


def test_a_file_that_kills_its_worker_once_changes_nothing_after_a_resume(tmp_path):
    straight = take(load(), 5)
    dataset = data()
    dataset.reader.decoder.deadly = {"v3.mp4": tmp_path / "marker"}
    (tmp_path / "marker").touch()
    batches = []
    with load(dataset, num_workers=2) as loader, pytest.raises(DataError, match=r"read v3\.mp4:"):
        while True:
            batches += take(loader, 1)
    with load(dataset, num_workers=2) as again:
        again.load_state_dict(loader.state_dict())
        assert_same(batches + take(again, 5 - len(batches)), straight)
    assert not (tmp_path / "marker").exists()


def test_a_file_that_always_kills_its_worker_stops_the_run_by_name(tmp_path):
    class Immortal(type(tmp_path)):
        def unlink(self, missing_ok=False):
            pass

    dataset = data(RECORDS[:2])
    marker = Immortal(tmp_path / "marker")
    marker.touch()
    dataset.reader.decoder.deadly = {"v1.mp4": marker}
    with load(dataset, num_workers=1) as loader, pytest.raises(DataError, match=r"v1\.mp4"):
        next(loader)


def test_the_global_random_state_is_left_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with load(num_workers=1) as loader:
        take(loader, 2)
    take(load(), 2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_workers_share_the_cache(kind, tmp_path):
    records = []
    for record in RECORDS:
        path = tmp_path / record.path.name
        path.touch()
        records.append(fake_record(path, record.num_frames, (18, 20)))
    straight = take(load(data(records)), 30)
    config = CacheConfig(kind=kind, folder=tmp_path / "kept")
    dataset = data(records, tmp_path / "log", config)
    with load(dataset, num_workers=2, prefetch=1) as loader:
        batches = take(loader, 12)
        time.sleep(0.3)  # let both workers finish what they are at
        decoded = dataset.reader.decoder.decoded()
        batches += take(loader, 18)
    assert_same(batches, straight)
    assert dataset.reader.decoder.decoded() == decoded
    assert decoded <= 2 * sum(record.num_frames for record in records)


def test_pinned_batches_are_the_same_stream_and_made_in_a_thread(monkeypatch):
    """There is no GPU here: the copy to page-locked memory is a copy."""
    threads = set()

    def pin(tensor):
        threads.add(threading.current_thread().name.partition("_")[0])
        return tensor.clone()

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    with load(num_workers=2, clip_at=growing, pin_memory=True) as loader:
        assert_same(take(loader, 12), take(load(clip_at=growing), 12))
    with load(num_workers=2, pin_memory=True) as loader:
        batches = take(loader, 2)
        kill(loader)
        with pytest.raises(DataError, match="SIGKILL"):
            for batch in loader:
                batches.append(batch)
        batches += take(loader, 12 - len(batches))
    assert_same(batches, take(load(), 12))
    assert threads == {"pin"}
    with load(num_workers=2, epochs=1, pin_memory=True) as loader:
        assert_same(list(loader), list(load(epochs=1)))


def test_workers_end_with_the_process_that_started_them():
    code = (
        "import os, signal, sys\n"
        f"sys.path[:0] = {[str(Path(__file__).parent)]!r}\n"
        "from test_loader import load\n"
        "loader = load(num_workers=3)\n"
        "next(loader)\n"
        "print(*(worker.pid for worker in loader._workers), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    # The workers hold the standard output too: it ends when the last one of them has ended.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL and len(done.stdout.split()) == 3, done.stderr
