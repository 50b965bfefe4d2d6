"""From a catalog to the micro-batches of a step, with the bad files counted on the way."""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from nexus.checkpoints.clips import CLIPS_KEY
from nexus.data.catalog.catalog import Catalog
from nexus.data.catalog.labels import Label, label_text
from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.batch import Batch
from nexus.data.loading.clip_source import ClipSource
from nexus.data.loading.loader import ClipLoader, LoadedBatch
from nexus.digest import digest
from nexus.models.contract import Module
from nexus.runs.results import save_problems
from nexus.runs.schema import DataInfo, ProblemRow
from nexus.training.curriculum import clip_of_batch
from nexus.training.failures import FailureLedger
from nexus.training.health import MOTION
from nexus.training.motion import moving_share
from nexus.training.recipe import Recipe
from nexus.training.rng import kept_rng
from nexus.training.step import TrainingBatch


def training_part(catalog: Catalog, split: str | None) -> Catalog:
    """The part of a catalog that is trained on: its `split`, or all of it if it has no splits.

    Raises:
        DataError: the catalog has splits, but not this one.
    """
    has_splits = any(record.split is not None for record in catalog.records)
    return catalog.select(split if has_splits else None)


def describe_data(catalog: Catalog, clip: ClipSpec) -> DataInfo:
    """Source, videos, seconds, clips and, for each label, how many videos have each value.

    `fingerprint` tells whether two catalogs name the same videos (by name, segment and length),
    in whatever order and however the source is written; labels do not count.
    """
    labels: dict[str, Counter[str]] = {}
    for record in catalog.records:
        for column, value in record.labels.items():
            labels.setdefault(column, Counter())[_counted(value)] += 1
    return DataInfo(
        source=catalog.source,
        videos=len(catalog.records),
        seconds=round(catalog.total_seconds, 3),
        clips=f"{clip}, {_seconds(catalog, clip):.2g} s long",
        labels={column: dict(sorted(counts.items())) for column, counts in labels.items()},
        fingerprint=_fingerprint(catalog),
    )


def _seconds(catalog: Catalog, clip: ClipSpec) -> float:
    """How long a clip lasts in the median video."""
    if clip.fps:
        return clip.num_frames / clip.fps
    frames = statistics.median(it.duration / it.num_frames for it in catalog.records)
    return clip.num_frames * clip.stride * frames


def _counted(label: Label) -> str:
    """What a label is counted as; hardly any vector comes twice."""
    return f"vectors of {len(label)} numbers" if isinstance(label, tuple) else label_text(label)


def _fingerprint(catalog: Catalog) -> str:
    names = sorted(
        repr((record.key, record.start, record.end, record.num_frames, round(record.duration, 3)))
        for record in catalog.records
    )
    return digest("\n".join(names))[:16]


class Feed(Protocol):
    """Hands a run its micro-batches; where it stands can be kept and gone back to."""

    @property
    def units(self) -> int:
        """Videos, or episodes, that are trained on."""
        ...

    def take(self) -> "Taken":
        """The next micro-batch.

        Raises:
            DataError: too many files have failed.
        """
        ...

    def attach(self, model: Module) -> None:
        """Called before the first batch, with the model and the weights that it starts from."""
        ...

    def random_batch(self) -> TrainingBatch:
        """Noise in the shape of a first micro-batch; leaves the random generators as they are."""
        ...

    def readings(self, taken: Any) -> Mapping[str, float]:
        """What the journal says of a micro-batch."""
        ...

    def describe(self) -> DataInfo:
        """What is trained on."""
        ...

    def card(self) -> dict[str, Any]:
        """What a checkpoint says of the data that its weights are for."""
        ...

    def write_problems(self) -> None:
        """Write the list of bad files to the run's folder."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Where it stands."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`.

        Raises:
            DataError: the data are not those of that state.
        """
        ...

    def close(self) -> None:
        """Stop what runs beside."""
        ...


class Taken(Protocol):
    """A micro-batch and the epoch of its first sample."""

    @property
    def batch(self) -> TrainingBatch:
        """What the model gets."""
        ...

    @property
    def epoch(self) -> int:
        """From 0."""
        ...


class FeedMaker(Protocol):
    """Opens the data of a run."""

    def __call__(
        self, *, problems_file: Path, say: Callable[[str], None], pin_memory: bool
    ) -> Feed:
        """The feed, at its start.

        Args:
            problems_file: where the list of bad files is kept.
            say: prints a message for the user.
            pin_memory: page-locked batches, for training on a GPU.

        Raises:
            DataError: nothing to train on.
        """
        ...


class VideoFeed:
    """Hands out micro-batches and keeps the list of files that could not be used.

    Args:
        recipe: batch size, clips, augmentation, workers.
        catalog: what the scan found.
        problems_file: where the list of bad files is kept.
        say: prints a message for the user.
        pin_memory: page-locked batches, for training on a GPU.

    Raises:
        DataError: nothing to train on.
    """

    def __init__(
        self,
        recipe: Recipe,
        catalog: Catalog,
        *,
        problems_file: Path,
        say: Callable[[str], None],
        pin_memory: bool = False,
    ) -> None:
        data, training = recipe.data, recipe.training
        self._recipe = recipe
        self.videos = part = training_part(catalog, data.split)
        self.ledger = FailureLedger(len(part.records), limit=data.max_bad_files)
        self.ledger.add(catalog.problems, stage="check")
        source = ClipSource(data.clip, part, cache=data.cache)
        self.loader = ClipLoader(
            source.training(data.augment),
            batch_size=training.batch_size,
            seed=training.seed,
            num_workers=data.workers,
            clip_at=partial(clip_of_batch, recipe.stages, training.accumulation),
            pin_memory=pin_memory,
        )
        self._problems_file, self._say = problems_file, say

    def take(self) -> LoadedBatch:
        """The next micro-batch; files that failed on the way are listed and counted.

        Raises:
            DataError: too many files have failed.
        """
        batch = next(self.loader)
        if batch.failures:
            known = set(self.ledger.failed_files)
            self.ledger.add(batch.failures)
            self.write_problems()
            for path in self.ledger.failed_files:
                if path not in known:
                    reason = next(p.reason for p in batch.failures if p.path == path)
                    self._say(f"left out {path}: {reason}")
            self.ledger.raise_if_too_many()
        return batch

    @property
    def units(self) -> int:
        """Videos."""
        return len(self.videos.records)

    def attach(self, model: Module) -> None:
        """Nothing: clips are the same for every model."""

    def random_batch(self) -> Batch:
        """Noise in the shape of a first micro-batch; leaves the random generators as they are."""
        return random_batch(self._recipe)

    def readings(self, taken: LoadedBatch) -> Mapping[str, float]:
        """How much moves in the clips, and their size."""
        clips = taken.batch.clips
        motion = moving_share(clips)
        size = {"num_frames": clips.shape[2], "height": clips.shape[3]}
        return size if motion is None else {MOTION: motion, **size}

    def describe(self) -> DataInfo:
        """See `describe_data`."""
        return describe_data(self.videos, self._recipe.stages[-1].clip)

    def card(self) -> dict[str, Any]:
        """How clips are cut and shown."""
        return {CLIPS_KEY: self._recipe.final_clip.for_evaluation().to_mapping()}

    def write_problems(self) -> None:
        """Write the list of bad files to the run's folder."""
        rows = [ProblemRow.model_validate(row) for row in self.ledger.rows()]
        save_problems(self._problems_file, rows)

    def state_dict(self) -> dict[str, Any]:
        """The position in the data and the failures so far."""
        return {"loader": self.loader.state_dict(), "ledger": self.ledger.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`.

        Raises:
            DataError: the videos are not those of that state.
        """
        self.loader.load_state_dict(state["loader"])
        self.ledger.load_state_dict(state["ledger"])

    def close(self) -> None:
        """Stop the workers."""
        self.loader.close()


def random_batch(recipe: Recipe) -> Batch:
    """Noise in the shape of a run's first micro-batch; leaves the random generators as they are."""
    clip = recipe.stages[0].clip
    shape = (recipe.training.batch_size, recipe.model.in_chans, clip.num_frames, *clip.size)
    with kept_rng():
        return Batch(torch.randint(256, shape, dtype=torch.uint8))
