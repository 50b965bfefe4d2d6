"""An endless, resumable stream of batches, the same whatever the number of workers.

    samples   | epoch 0, shuffled      | epoch 1, shuffled      | epoch 2 ...
    batches   [ 0 ][ 1 ][ 2 ][ 3 ][ 4 ][ 5 ][ 6 ][ 7 ] ...

Epochs follow one another without a gap: a batch that an epoch does not fill goes on with the next
one. So nothing is dropped, each clip comes exactly once an epoch, a dataset smaller than a batch
needs no special case, and the number of the next batch is all there is to resume from.
"""

import dataclasses
import logging
import math
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float64, Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from nexus.data.catalog import Problem
from nexus.data.clip_spec import ClipSpec
from nexus.data.dataset import ClipDataset, Sample
from nexus.data.order import Order
from nexus.data.slots import SharedSlots
from nexus.errors import DataError

_log = logging.getLogger(__name__)
_ATTEMPTS = 3  # how often workers may die in a row without delivering a batch
_HELD = 3  # batches that the training process looks at while workers fill the other slots


@dataclass(frozen=True)
class Batch:
    """What one training step sees.

    `video` is laid out channels last in memory (`torch.channels_last_3d`); `normalise` gives the
    plain layout. `times` are seconds of each video: when frames come on screen, and `ends` when the
    last one of a clip leaves it. A clip whose file fails is missing (never replaced), and
    `failures` says why; a batch may be empty. `epoch` is that of the batch's first clip; `number`
    counts batches from 0.
    """

    video: UInt8[Tensor, "batch channels time height width"]
    record_index: Int64[Tensor, " batch"]
    times: Float64[Tensor, "batch time"]
    ends: Float64[Tensor, " batch"]
    failures: tuple[Problem, ...]
    epoch: int
    number: int


@dataclass(frozen=True)
class _Request:
    """What a worker needs to make a batch: its number, what its clips are, where its pixels go."""

    number: int
    clip: ClipSpec
    slot: int | None = None


@dataclass(frozen=True)
class _Made:
    """A batch on its way from where it was made; its pixels may lie in a shared slot."""

    request: _Request
    shape: tuple[int, ...]
    pixels: Tensor | None
    record_index: Int64[np.ndarray, " batch"]
    times: Float64[np.ndarray, "batch time"]
    ends: Float64[np.ndarray, " batch"]
    failures: tuple[Problem, ...]

    def pin_memory(self) -> Self:
        """Called by torch's pinning thread."""
        assert self.pixels is not None
        return dataclasses.replace(self, pixels=self.pixels.pin_memory())


class _Maker(torch.utils.data.Dataset):
    """Makes any batch from its number alone: all that a worker needs to know."""

    def __init__(self, dataset: ClipDataset, order: Order) -> None:
        self.dataset, self.order = dataset, order
        self.slots: SharedSlots | None = None

    def __getitem__(self, request: _Request) -> _Made:
        clips = self.order.clips(request.number)
        pixels = self._memory(request.slot, self.shape(request.clip, len(clips)))
        indices: list[int] = []
        times: list[Float64[np.ndarray, " time"]] = []
        ends: list[float] = []
        failures: list[Problem] = []
        for epoch, clip in clips:
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
        shape = self.shape(request.clip, len(indices))
        return _Made(
            request=request,
            shape=shape,
            pixels=pixels[: len(indices)] if request.slot is None else None,
            record_index=np.array(indices, np.int64),
            times=np.array(times).reshape(len(indices), shape[1]),
            ends=np.array(ends, np.float64),
            failures=tuple(failures),
        )

    def shape(self, clip: ClipSpec, clips: int) -> tuple[int, ...]:
        # As pictures are decoded and resized, channels last: copying them is then a plain memcpy.
        return clips, clip.num_frames, *clip.size, clip.channels

    def _memory(self, slot: int | None, shape: tuple[int, ...]) -> Tensor:
        if slot is not None:
            assert self.slots is not None
            return self.slots.pixels(slot, shape)
        if get_worker_info() is None:
            return torch.empty(shape, dtype=torch.uint8)
        # In a worker: shared from the start, so that torch does not copy it to send it.
        storage = torch.UntypedStorage._new_shared(math.prod(shape))
        return torch.empty(0, dtype=torch.uint8).set_(storage).view(shape)


class ClipLoader:
    """Batches of clips, an iterator that goes on where it stopped.

    Order and content are a pure function of the arguments in `seed`'s line below and the batch
    number; the number of workers, dying workers, failing files and caches change neither. Leaving
    a `for` loop and starting another continues the stream; after the end of the last of `epochs`
    it starts over.

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
        self._stream: Iterator[_Made] | None = None

    @property
    def batches_per_epoch(self) -> float:
        """Batches an epoch, over all ranks; a fraction where an epoch ends within a batch."""
        return self.order.size / (self.order.batch_size * self.order.world_size)

    def __iter__(self) -> Self:
        if self._next == self.order.batches:
            self._next = 0
        return self

    def __next__(self) -> Batch:
        if self._next == self.order.batches:
            self.close()
            raise StopIteration
        if self._num_workers:
            made = self._from_workers()
        else:
            made = self._maker[_Request(self._next, self._clip_at(self._next))]
            made = made.pin_memory() if self._pin else made
        self._next += 1
        return self._batch(made)

    def _batch(self, made: _Made) -> Batch:
        pixels = made.pixels
        if pixels is None:
            assert self._slots is not None and made.request.slot is not None
            pixels = self._slots.lend(made.request.slot, made.shape)
        return Batch(
            video=pixels.permute(0, 4, 1, 2, 3),
            record_index=torch.from_numpy(made.record_index),
            times=torch.from_numpy(made.times),
            ends=torch.from_numpy(made.ends),
            failures=made.failures,
            epoch=self.order.epoch(made.request.number),
            number=made.request.number,
        )

    def _from_workers(self) -> _Made:
        if self._slots and self._bytes(self._clip_at(self._next)) > self._slots.nbytes:
            self.close()  # clips have grown: start again with more room
        for attempt in range(_ATTEMPTS):
            try:
                if self._stream is None:
                    self._stream = self._start_workers()
                return next(self._stream)
            except (RuntimeError, OSError, EOFError) as error:
                if not _tells_of_a_death(error):
                    raise
                self.close()
                _log.warning("%s; starting new ones (attempt %d)", error, attempt + 1)
        files = {
            str(self.dataset.catalog.records[clip // self.dataset.spec.clips_per_video].path)
            for _, clip in self.order.clips(self._next)
        }
        raise DataError(
            f"the worker processes died {_ATTEMPTS} times while making batch {self._next} or the "
            "ones after it: out of memory (use fewer workers), out of shared memory (enlarge "
            f"/dev/shm), or one of these files crashes the decoder: {', '.join(sorted(files))}"
        )

    def _start_workers(self) -> Iterator[_Made]:
        forking = "fork" in multiprocessing.get_all_start_methods()
        if forking and not self._pin:  # torch's pinning thread makes copies of its own
            ahead = self._num_workers * self._prefetch
            nbytes = self._bytes(self._clip_at(self._next))
            self._slots = self._maker.slots = SharedSlots(ahead + _HELD, nbytes)
        loader = DataLoader(
            self._maker,
            batch_size=None,
            sampler=_Calls(self._requests),
            num_workers=self._num_workers,
            prefetch_factor=self._prefetch,
            collate_fn=_as_it_is,
            pin_memory=self._pin,
            # Forked workers share the slots and the memory cache.
            multiprocessing_context="fork" if forking else None,
            # Torch draws a seed for its workers; not from the generator that the model uses.
            generator=torch.Generator(),
        )
        stream = iter(loader)
        _hear_of_deaths_here(stream)
        return stream

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
        self._stream = self._slots = self._maker.slots = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class _Calls:
    """An iterable that begins anew with each call of a function."""

    function: Callable[[], Iterator[Any]]

    def __iter__(self) -> Iterator[Any]:
        return self.function()


def _tells_of_a_death(error: RuntimeError | OSError | EOFError) -> bool:
    """Whether a worker is gone: torch says so, or the connection to it broke in mid-delivery.

    An error raised *in* a worker arrives as itself and is not for us to hide.
    """
    if isinstance(error, RuntimeError):
        return "DataLoader worker (pid" in str(error)
    return "in DataLoader worker process" not in str(error)


def _as_it_is(batch: Any) -> Any:
    return batch


def _hear_of_deaths_here(stream: Any) -> None:
    """Take the workers off the list of processes that torch watches by signal.

    When one of them dies, torch raises in whatever line of the program happens to run, a training
    step for instance. Off the list, torch still notices, when it waits for the next batch: in
    `next`, where we can start new workers. If torch changes inside, its own way stays in place.
    """
    if getattr(stream, "_worker_pids_set", False):
        torch._C._remove_worker_pids(id(stream))
        stream._worker_pids_set = False
