"""Windows of one recording as batches: frames decoded, resized and kept, numbers scaled.

Frames of a recording are few and small beside videos, and each is in many windows: they are decoded
once, an episode at a time, and kept in memory as far as `memory` allows; the rest is decoded again.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from nexus.data.episodes.batch import EpisodeBatch
from nexus.data.episodes.blocks import BlockedEpisode, blocked
from nexus.data.episodes.episodes import Episodes
from nexus.data.episodes.robot import Robot
from nexus.data.episodes.windows import Windows
from nexus.data.views import CenterView
from nexus.digest import digest
from nexus.errors import DataError


class Stretches:
    """The training windows of one robot's recording.

    Args:
        episodes: the recording.
        indices: the episodes that count; those that cannot be read are left out, see `failures`.
        robot: how it is sampled and scaled.
        size: height and width that frames are brought to.
        length: frames of a window.
        memory: bytes of frames that are kept.

    Raises:
        DataError: no episode is long enough.
    """

    def __init__(
        self,
        episodes: Episodes,
        indices: Sequence[int],
        robot: Robot,
        *,
        size: tuple[int, int],
        length: int,
        memory: int = 0,
    ) -> None:
        self.episodes, self.robot, self.size, self.length = episodes, robot, size, length
        self.indices = tuple(indices)
        self.failures: dict[int, str] = {}
        self._parts: dict[int, BlockedEpisode] = {}
        for index in indices:
            try:
                self._parts[index] = blocked(episodes, index, robot.blocks)
            except DataError as error:
                self.failures[index] = str(error)
        frames = {index: len(self.numbers(index)) for index in self._parts}
        self.windows = Windows.of(frames, length)
        for index in self.windows.too_short:
            self.failures[index] = (
                f"{episodes.source}: episode {index} has {frames[index]} frames a model step "
                f"({robot.block} control steps) apart; a window has {length}"
            )
        if not len(self.windows):
            reason = next(iter(self.failures.values()), "there is no episode")
            raise DataError(f"{episodes.source}: nothing to train on: {reason}")
        self.memory, self._room = memory, memory
        self.latents_of: Callable[[int], np.ndarray] | None = None
        """Where set, batches hold an episode's latents in place of its frames."""
        self._numbers_of: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._kept: dict[int, UInt8[np.ndarray, "cameras frames height width 3"]] = {}

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def fingerprint(self) -> str:
        """Identifies the windows: which episodes, how long, how sampled."""
        told = [f"{index} {len(part)}" for index, part in self._parts.items()]
        return digest("\n".join([f"{self.length} {self.sampling}", *told]))[:16]

    @property
    def sampling(self) -> str:
        """How frames are chosen and shown."""
        return f"{self.robot.block} {self.size}"

    @property
    def seconds(self) -> float:
        """Of all episodes that are used."""
        return sum(len(part) for part in self._parts.values()) / self.robot.rate

    def numbers(self, index: int) -> np.ndarray:
        """The frames of an episode, a model step apart, by their control steps; the last leads
        nowhere."""
        part = self._parts[index]
        return part.numbers if part.end is None else np.append(part.numbers, part.end)

    def frames(
        self, index: int, first: int, count: int
    ) -> UInt8[np.ndarray, "cameras count height width 3"]:
        """Frames of an episode, by model steps.

        Raises:
            DataError: one cannot be decoded.
        """
        if index not in self._kept:
            numbers = self.numbers(index)
            height, width = self.size
            size = len(self.robot.cameras) * len(numbers) * height * width * 3
            if size > self._room:
                return self._decoded(index, numbers[first : first + count])
            self._kept[index] = self._decoded(index, numbers)
            self._room -= size
        return self._kept[index][:, first : first + count]

    def release(self, index: int) -> None:
        """Forget an episode's frames: they are not asked for again."""
        frames = self._kept.pop(index, None)
        if frames is not None:
            self._room += frames.nbytes

    def actions(self, index: int) -> Float32[np.ndarray, "steps action"]:
        """Scaled actions of an episode's model steps."""
        return self.robot.scaled_actions(self._parts[index].actions)

    def states(self, index: int) -> Float32[np.ndarray, "frames state"] | None:
        """Scaled states at an episode's frames, the last one included where it was recorded."""
        if self.robot.state is None:
            return None
        states = self.episodes.states(index)
        assert states is not None
        return self.robot.scaled_states(states[self.numbers(index)])

    def batch(
        self, windows: Sequence[int], robot: int = 0
    ) -> tuple[EpisodeBatch | None, list[int]]:
        """Windows by their numbers; None if all fail. Those whose episode fails are left out.

        Args:
            robot: its number among the model's.

        Returns:
            the batch, and the episodes that failed now: `failures` says why.
        """
        frames, actions, states, failed = [], [], [], []
        for number in windows:
            index, start = int(self.windows.episode[number]), int(self.windows.start[number])
            if index in self.failures:
                continue
            try:
                if self.latents_of is not None:
                    kept = self.latents_of(index)[start : start + self.length]
                    frames.append(kept.astype(np.float32))
                else:
                    frames.append(self.frames(index, start, self.length))
            except DataError as error:
                self.failures[index] = str(error)
                failed.append(index)
                continue
            actions.append(self._scaled(index)[0][start : start + self.length - 1])
            states.append(self._scaled(index)[1][start : start + self.length])
        if not frames:
            return None, failed
        known = _stacked(states) if self.robot.state is not None else None
        if self.latents_of is not None:
            latents = _stacked(frames)
            return EpisodeBatch(None, _stacked(actions), known, latents, robot), failed
        pixels = _stacked(frames).permute(0, 1, 2, 5, 3, 4)
        return EpisodeBatch(pixels, _stacked(actions), known, robot=robot), failed

    def _scaled(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Scaled actions and states of an episode, worked out once."""
        if index not in self._numbers_of:
            states = self.states(index)
            empty = np.zeros((len(self.numbers(index)), 0), np.float32)
            self._numbers_of[index] = self.actions(index), empty if states is None else states
        return self._numbers_of[index]

    def _decoded(self, index: int, numbers: np.ndarray) -> np.ndarray:
        views = [
            self.episodes.frames(index, camera, numbers, CenterView(self.size))
            for camera in self.robot.cameras
        ]
        return np.stack(views)


def _stacked(parts: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(parts))
