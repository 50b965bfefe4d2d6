"""From recordings of robots to the micro-batches of a step, bad episodes counted on the way."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float16, UInt8

from nexus.checkpoints.weights import tensor_digest
from nexus.data.catalog.catalog import Problem
from nexus.data.catalog.index import user_index_dir
from nexus.data.episodes.batch import EpisodeBatch
from nexus.data.episodes.latents import KeptLatents
from nexus.data.episodes.stretches import Stretches
from nexus.data.loading.order import Order
from nexus.digest import digest
from nexus.errors import DataError
from nexus.models.contract import Module
from nexus.models.worlds.world import WorldModel
from nexus.runs.results import save_problems
from nexus.runs.schema import DataInfo, ProblemRow
from nexus.training.failures import FailureLedger
from nexus.training.rng import kept_rng
from nexus.training.world_recipe import WorldRecipe

FRAMES_AT_ONCE = 16


@dataclass(frozen=True)
class TakenStretches:
    """A batch of windows and the epoch of the first of them."""

    batch: EpisodeBatch
    epoch: int


class EpisodeFeed:
    """Hands out windows of recordings, each batch of one robot, robots in turn by their windows.

    Order and content are a pure function of the seed and of how many batches were taken.

    Args:
        recipe: batch size and seed.
        recordings: one a robot, in the model's order.
        problems_file: where the list of bad episodes is kept.
        say: prints a message for the user.
        pin_memory: page-locked batches, for training on a GPU.

    Raises:
        DataError: too many episodes cannot be used.
    """

    def __init__(
        self,
        recipe: WorldRecipe,
        recordings: Sequence[Stretches],
        *,
        problems_file: Path,
        say: Callable[[str], None],
        pin_memory: bool = False,
    ) -> None:
        self._recipe, self._recordings = recipe, recordings
        self._problems_file, self._say, self._pin = problems_file, say, pin_memory
        training = recipe.training
        self._orders = [
            Order(len(each), training.batch_size, training.seed + number)
            for number, each in enumerate(recordings)
        ]
        self._taken = [0] * len(recordings)
        self._learning: WorldModel | None = None
        total = sum(len(each.indices) for each in recordings)
        self.ledger = FailureLedger(total, limit=recipe.data.max_bad_episodes)
        for each in recordings:
            self._count(each, list(each.failures))

    @property
    def units(self) -> int:
        """Episodes."""
        return sum(len(each.indices) - len(each.failures) for each in self._recordings)

    def take(self) -> TakenStretches:
        """The next micro-batch.

        Raises:
            DataError: too many episodes have failed.
        """
        self._look_at_encoder()
        while True:
            robot = self._next_robot()
            recording, order = self._recordings[robot], self._orders[robot]
            number = self._taken[robot]
            self._taken[robot] += 1
            windows = [window for _, window in order.clips(number)]
            batch, failed = recording.batch(windows, robot)
            if failed:
                self._count(recording, failed)
                self.write_problems()
            if batch is not None:
                return TakenStretches(self._pinned(batch), order.epoch(number))

    def attach(self, model: Module) -> None:
        """Once the encoder stays as it is, batches hold what it says of frames, not frames."""
        assert isinstance(model, WorldModel)
        self._learning = model
        self._look_at_encoder()

    def _look_at_encoder(self) -> None:
        model = self._learning
        if model is None or not model.encoder_fixed:
            return
        weights = tensor_digest(model.encoder.state_dict())
        for each in self._recordings:
            # What an encoder of this run says is of no use to another run.
            memory = 0 if self._recipe.model.frozen else each.memory
            encode = partial(encoded, model)
            kept = KeptLatents(each, encode, weights, user_index_dir(), memory=memory)
            each.latents_of = kept.of
        self._learning = None

    def random_batch(self) -> EpisodeBatch:
        """Noise in the shape of a micro-batch of the first robot."""
        recipe = self._recipe
        robot, model = recipe.model.robots[0], recipe.model
        size, time = recipe.training.batch_size, model.num_frames
        shape = (size, model.views, time, model.in_chans, *model.image_sides)
        with kept_rng():
            actions = torch.randn(size, time - 1, robot.action_width)
            states = torch.randn(size, time, robot.state_width) if robot.state_width else None
            if model.frozen:
                return EpisodeBatch(
                    None, actions, states, torch.randn(size, time, *model.latent_shape)
                )
            return EpisodeBatch(torch.randint(256, shape, dtype=torch.uint8), actions, states)

    def readings(self, taken: TakenStretches) -> Mapping[str, float]:
        """How many frames a window has, and which robot it is of."""
        return {"num_frames": taken.batch.actions.shape[1] + 1, "robot": taken.batch.robot}

    def describe(self) -> DataInfo:
        """Where the recordings lie, and how much there is."""
        sources = tuple(str(each.episodes.source) for each in self._recordings)
        model = self._recipe.model
        robot = model.robots[0]
        told = f"windows of {model.num_frames} frames, {robot.rate:g} a second"
        if robot.block > 1:
            told += f" ({robot.block} control steps apart)"
        return DataInfo(
            source=sources[0] if len(sources) == 1 else sources,
            videos=self.units,
            seconds=round(sum(each.seconds for each in self._recordings), 3),
            clips=f"{told}, {model.image_sides[0]} x {model.image_sides[1]} pixels",
            fingerprint=self._fingerprint,
        )

    def card(self) -> dict[str, Any]:
        """Nothing: the model's own settings say how its robots are sampled."""
        return {}

    def write_problems(self) -> None:
        """Write the list of bad episodes to the run's folder."""
        rows = [ProblemRow.model_validate(row) for row in self.ledger.rows()]
        save_problems(self._problems_file, rows)

    def state_dict(self) -> dict[str, Any]:
        """Batches taken of each recording, and what failed."""
        return {
            "taken": list(self._taken),
            "windows": self._fingerprint,
            "ledger": self.ledger.state_dict(),
            "failures": [dict(each.failures) for each in self._recordings],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`.

        Raises:
            DataError: the recordings are not those of that state.
        """
        if state["windows"] != self._fingerprint:
            raise DataError(
                "cannot go on from this position in the data: the recordings have other episodes "
                "than when the run began; restore them, or start a new run"
            )
        self._taken = list(state["taken"])
        self.ledger.load_state_dict(state["ledger"])
        for each, failures in zip(self._recordings, state["failures"], strict=True):
            each.failures.update({int(index): reason for index, reason in failures.items()})

    def close(self) -> None:
        """Nothing runs beside."""

    @property
    def _fingerprint(self) -> str:
        return digest("\n".join(each.fingerprint for each in self._recordings))[:16]

    def _next_robot(self) -> int:
        """Whose turn it is: that of the recording whose share of batches is furthest behind."""
        windows = [len(each) for each in self._recordings]
        return min(range(len(windows)), key=lambda robot: (self._taken[robot] + 1) / windows[robot])

    def _count(self, recording: Stretches, failed: Sequence[int]) -> None:
        for index in failed:
            path = f"{recording.episodes.source}, episode {index}"
            self.ledger.add([Problem(path, "unusable", recording.failures[index], True)])
            self._say(f"left out {recording.failures[index]}")
        self.ledger.raise_if_too_many()

    def _pinned(self, batch: EpisodeBatch) -> EpisodeBatch:
        return batch.pinned() if self._pin else batch


@torch.no_grad()
def encoded(
    model: WorldModel, frames: UInt8[np.ndarray, "cameras frames height width 3"]
) -> Float16[np.ndarray, "frames tokens dim"]:
    """Tokens of an episode's frames, a few frames at a time."""
    device = next(iter(model.parameters())).device
    pixels = torch.from_numpy(frames).permute(0, 1, 4, 2, 3)[None]
    parts = []
    for some in pixels.split(FRAMES_AT_ONCE, dim=2):
        batch = EpisodeBatch(some, torch.zeros(1, 0, 1)).to(device).normalised()
        assert batch.frames is not None
        parts.append(model.encode(batch.frames)[0].half().cpu().numpy())
    return np.concatenate(parts)
