"""An endless, resumable stream of batches, the same whatever the number of workers.

    samples   | epoch 0, shuffled      | epoch 1, shuffled      | epoch 2 ...
    batches   [ 0 ][ 1 ][ 2 ][ 3 ][ 4 ][ 5 ][ 6 ][ 7 ] ...

Epochs follow one another without a gap: a batch that an epoch does not fill goes on with the next
one. So nothing is dropped, each clip comes exactly once an epoch, a dataset smaller than a batch
needs no special case, and the number of the next batch is all there is to resume from.
"""

import dataclasses
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float64, Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from nexus.data.catalog.catalog import Problem
from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.batch import Batch
from nexus.data.loading.dataset import ClipDataset, Sample
from nexus.data.loading.order import Order
from nexus.data.loading.slots import SharedSlots
from nexus.data.processes import CAN_FORK, cause_of_death, leave_signals_to_parent
from nexus.errors import DataError

_HELD = 3  # batches that the training process looks at while workers fill the other slots
_NOTHING = -1  # what a worker reads between two clips


@dataclass(frozen=True)
class LoadedBatch:
    """A batch, and where it comes from.

    Its clips are laid out channels last in memory (`torch.channels_last_3d`). `ends` says when the
    last frame of each clip leaves the screen, in seconds of its video. A clip whose file fails is
    missing (never replaced), and `failures` says why; a batch may be empty. `epoch` is that of the
    batch's first clip; `number` counts batches from 0.
    """

    batch: Batch
    record_index: Int64[Tensor, " batch"]
    ends: Float64[Tensor, " batch"]
    failures: tuple[Problem, ...] = ()
    epoch: int = 0
    number: int = 0

    @property
    def starts(self) -> Float64[Tensor, " batch"]:
        """When the first frame of each clip comes on screen, in seconds of its video."""
        assert self.batch.times is not None
        return self.batch.times[:, 0]


@dataclass(frozen=True)
class _Request:
    """What a worker needs to make a batch: its number, what its clips are, where its pixels go."""

    number: int
    clip: ClipSpec
    slot: int | None = None


@dataclass(frozen=True)
class _Made:
    """A batch on its way from where it was made; None: its pixels lie in a shared slot."""

    request: _Request
    pixels: UInt8[np.ndarray, "batch time height width channels"] | None
    record_index: Int64[np.ndarray, " batch"]
    times: Float64[np.ndarray, "batch time"]
    ends: Float64[np.ndarray, " batch"]
    failures: tuple[Problem, ...]


class _Maker(Dataset[_Made]):
    """Makes any batch from its number alone: all that a worker needs to know.

    `reading`, shared with the workers, has a row for each: its process, and the clip it is at.
    """

    def __init__(self, dataset: ClipDataset, order: Order) -> None:
        self.dataset, self.order = dataset, order
        self.slots: SharedSlots | None = None
        self.reading = torch.empty(0, 2, dtype=torch.int64)

    def __getitem__(self, request: _Request) -> _Made:
        clips = self.order.clips(request.number)
        room, slot = self.shape(request.clip, len(clips)), request.slot
        if slot is None or self.slots is None:
            pixels = torch.empty(room, dtype=torch.uint8)
        else:
            pixels = self.slots.pixels(slot, room)
        indices: list[int] = []
        times: list[Float64[np.ndarray, " time"]] = []
        ends: list[float] = []
        failures: list[Problem] = []
        for epoch, clip in clips:
            self.note(clip)
            result = self.dataset.sample(
                clip,
                seed=self.order.seed,
                epoch=epoch,
                spec=request.clip,
                into=pixels[len(indices)],
            )
            if isinstance(result, Sample):
                indices.append(result.record_index)
                times.append(result.times)
                ends.append(result.end)
            else:
                failures.append(result)
        self.note(_NOTHING)
        return _Made(
            request=request,
            pixels=pixels[: len(indices)].numpy() if slot is None else None,
            record_index=np.array(indices, np.int64),
            times=np.array(times).reshape(len(indices), request.clip.num_frames),
            ends=np.array(ends, np.float64),
            failures=tuple(failures),
        )

    def note(self, clip: int) -> None:
        if (worker := get_worker_info()) is not None:
            self.reading[worker.id] = torch.tensor([os.getpid(), clip])

    def shape(self, clip: ClipSpec, clips: int) -> tuple[int, ...]:
        # As pictures are decoded and resized, channels last: copying them is then a plain memcpy.
        return clips, clip.num_frames, *clip.size, clip.channels


class ClipLoader:
    """Batches of clips, an iterator that goes on where it stopped.

    Order and content are a pure function of the arguments in `seed`'s line below and the batch
    number; the number of workers, failing files and caches change neither. Leaving a `for` loop and
    starting another continues the stream; after the end of the last of `epochs` it starts over. If
    a worker dies, the next batch is a DataError that names the file it was at.

    Args:
        dataset: where clips come from.
        batch_size: clips a batch (and rank).
        seed, shuffle: each epoch has its own order, drawn from the seed; or the catalog's.
        num_workers: processes that make batches; 0 makes them in this one.
        clip_at: what clips are, by batch number (a pure function: workers run ahead of training);
            None takes the dataset's.
        epochs: stop after so many, with a smaller last batch; None never stops.
        rank, world_size: this process's share in data-parallel training.
        prefetch: batches that each worker makes ahead.
        pin_memory: page-locked pixels, for training on a GPU.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        dataset: ClipDataset,
        *,
        batch_size: int,
        seed: int,
        num_workers: int = 0,
        shuffle: bool = True,
        clip_at: Callable[[int], ClipSpec] | None = None,
        epochs: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        prefetch: int = 2,
        pin_memory: bool = False,
    ) -> None:
        if batch_size < 1 or num_workers < 0 or prefetch < 1 or seed < 0:
            raise ValueError(
                f"got batch_size={batch_size}, num_workers={num_workers}, prefetch={prefetch}, "
                f"seed={seed}; expected at least 1, 0, 1 and 0"
            )
        if not 0 <= rank < world_size or (epochs is not None and epochs < 1):
            raise ValueError(
                f"got rank={rank}, world_size={world_size}, epochs={epochs}; expected "
                "0 <= rank < world_size, and epochs of at least 1 or None"
            )
        self.dataset = dataset
        self.order = Order(len(dataset), batch_size, seed, shuffle, epochs, rank, world_size)
        self._num_workers, self._prefetch, self._pin = num_workers, prefetch, pin_memory
        self._clip_at = clip_at or (lambda number: dataset.spec)
        self._maker = _Maker(dataset, self.order)
        self._slots: SharedSlots | None = None
        self._next = 0
        self._workers: list[BaseProcess] = []
        self._stream: Generator[tuple[_Made, Tensor]] | None = None

    def __iter__(self) -> Self:
        if self._next == self.order.batches:
            self._next = 0
        return self

    def __next__(self) -> LoadedBatch:
        if self._next == self.order.batches:
            self.close()
            raise StopIteration
        if self._num_workers:
            made, pixels = self._from_workers()
        else:
            made = self._maker[_Request(self._next, self._clip_at(self._next))]
            pixels = self._pixels(made)
        self._next += 1
        return LoadedBatch(
            batch=Batch(pixels.permute(0, 4, 1, 2, 3), torch.from_numpy(made.times)),
            record_index=torch.from_numpy(made.record_index),
            ends=torch.from_numpy(made.ends),
            failures=made.failures,
            epoch=self.order.epoch(made.request.number),
            number=made.request.number,
        )

    def _pixels(self, made: _Made) -> UInt8[Tensor, "batch time height width channels"]:
        if made.pixels is None:
            assert self._slots is not None and made.request.slot is not None
            shape = self._maker.shape(made.request.clip, len(made.ends))
            pixels = self._slots.lend(made.request.slot, shape)
        else:
            pixels = torch.from_numpy(made.pixels)
        return pixels.pin_memory() if self._pin else pixels

    def _from_workers(self) -> tuple[_Made, Tensor]:
        if self._slots and self._bytes(self._clip_at(self._next)) > self._slots.nbytes:
            self.close()  # clips have grown: start again with more room
        try:
            if self._stream is None:
                self._stream = self._start_workers()
            return next(self._stream)
        except BaseException as error:  # the stream is broken off, in the middle of a batch perhaps
            dead = [worker for worker in self._workers if not worker.is_alive()]
            if not dead or not isinstance(error, RuntimeError):
                self.close()
                raise
            death = self._told(dead)
        self.close()  # here, where nothing refers to the stream any more: its workers end
        raise death

    def _told(self, dead: list[BaseProcess]) -> DataError:
        causes = ", ".join(sorted({cause_of_death(worker.exitcode) for worker in dead}))
        pids, per_video = {worker.pid for worker in dead}, self.dataset.spec.clips_per_video
        files = [
            str(self.dataset.catalog.records[clip // per_video].path)
            for pid, clip in self._maker.reading.tolist()
            if pid in pids and clip != _NOTHING
        ]
        return DataError(
            f"a worker process died ({causes}) while it read {', '.join(files) or 'no file'}: out "
            "of memory (use fewer workers), or the file crashes the decoder. Once that is mended, "
            "--resume goes on from the last checkpoint, bit for bit"
        )

    def _start_workers(self) -> Generator[tuple[_Made, Tensor]]:
        if CAN_FORK:
            ahead = self._num_workers * self._prefetch
            nbytes = self._bytes(self._clip_at(self._next))
            self._slots = self._maker.slots = SharedSlots(ahead + _HELD, nbytes)
        self._maker.reading = torch.full((self._num_workers, 2), _NOTHING).share_memory_()
        loader = DataLoader(
            self._maker,
            batch_size=None,
            sampler=self._requests(),
            num_workers=self._num_workers,
            prefetch_factor=self._prefetch,
            multiprocessing_context="fork" if CAN_FORK else None,
            worker_init_fn=leave_signals_to_parent,
            generator=torch.Generator(),  # the global one is left as it is
        )
        others = multiprocessing.active_children()
        on_death = signal.getsignal(signal.SIGCHLD) if CAN_FORK else None
        batches = iter(loader)
        if on_death is not None and threading.current_thread() is threading.main_thread():
            # torch would raise a death in whatever line happens to run, in a training step perhaps.
            signal.signal(signal.SIGCHLD, on_death)
        self._workers = [one for one in multiprocessing.active_children() if one not in others]
        stream = ((made, self._pixels(made)) for made in batches)
        return one_ahead(stream) if self._pin else stream

    def _requests(self) -> Iterator[_Request]:
        """What workers are to make, from the next batch on; drawn when a worker is free."""
        number, slots = self._next, self._slots
        while number != self.order.batches:
            clip = self._clip_at(number)
            slot = slots.take(self._bytes(clip)) if slots else None
            yield _Request(number, clip, slot)
            number += 1

    def _bytes(self, clip: ClipSpec) -> int:
        return math.prod(self._maker.shape(clip, self.order.batch_size))

    def state_dict(self) -> dict[str, Any]:
        """The position (the batch to be delivered next) and what gives it its meaning."""
        return {"next": self._next, **self._meaning()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a saved position; the number of workers may differ.

        Raises:
            DataError: the position belongs to other data or to another order.
        """
        differing = [
            f"{name} {state.get(name)!r} (now {value!r})"
            for name, value in self._meaning().items()
            if state.get(name) != value
        ]
        if differing:
            raise DataError(
                "cannot go on from this position in the data: it was saved with "
                f"{', '.join(differing)}; restore the same videos and settings, or start a new run"
            )
        self.close()
        self._next = int(state["next"])

    def _meaning(self) -> dict[str, Any]:
        order = dataclasses.asdict(self.order)
        del order["rank"]
        return {**order, "videos": self.dataset.fingerprint}

    def close(self) -> None:
        """Stop the workers; the stream can be continued, with new ones."""
        if self._stream is not None:
            self._stream.close()
        self._stream = self._slots = self._maker.slots = None
        self._workers = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def one_ahead(stream: Iterator[Any]) -> Generator[Any]:
    """The same stream, the next thing fetched in a thread while the last one is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="pin") as thread:
        waiting = thread.submit(next, stream, None)
        while (made := waiting.result()) is not None:
            waiting = thread.submit(next, stream, None)
            yield made
