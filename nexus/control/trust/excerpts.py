"""Excerpts of episodes that a model is tried on: some frames that it sees, and steps it foretells.

frame     0 ... context - 1 | context ... context + steps - 1
          seen                foretold: step k is frame context - 1 + k
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from nexus.control.trust.seen import SeenEpisode


@dataclass(frozen=True, eq=False)
class Excerpts:
    """Stretches of `context + steps` frames; `episode` and `start` say where each is from.

    Actions and states are scaled, the truth is not.
    """

    context: int
    episode: Int64[np.ndarray, " excerpts"]
    start: Int64[np.ndarray, " excerpts"]
    latents: Float[Tensor, "excerpts time tokens dim"]
    actions: Float[Tensor, "excerpts steps action"]
    states: Float[Tensor, "excerpts time state"] | None
    truth: Float64[np.ndarray, "excerpts time numbers"] | None

    @classmethod
    def cut(
        cls, episodes: Sequence[SeenEpisode], context: int, steps: int, count: int, seed: int
    ) -> Self:
        """At most `count` excerpts, as evenly from all episodes as can be.

        Episodes that are too short give none; there has to be one that is not.
        """
        length = context + steps
        draw = np.random.default_rng(seed)
        starts = [draw.permutation(max(0, len(one) - length + 1)) for one in episodes]
        rounds = max((len(each) for each in starts), default=0)
        places = [
            (number, int(each[turn]))
            for turn in range(rounds)
            for number, each in enumerate(starts)
            if turn < len(each)
        ]
        if not places:
            raise ValueError(f"no episode has {length} frames")
        places = sorted(places[:count])
        cuts = [(episodes[number], start, start + length) for number, start in places]
        first = episodes[0]
        return cls(
            context,
            np.array([one.index for one, _, _ in cuts], np.int64),
            np.array([start for _, start, _ in cuts], np.int64),
            torch.stack([one.latents[a:b] for one, a, b in cuts]),
            torch.stack([one.actions[a : b - 1] for one, a, b in cuts]),
            None
            if first.states is None
            else torch.stack([one.states[a:b] for one, a, b in cuts if one.states is not None]),
            None
            if first.truth is None
            else np.stack([one.truth[a:b] for one, a, b in cuts if one.truth is not None]),
        )

    def __len__(self) -> int:
        return len(self.episode)

    @property
    def steps(self) -> int:
        """That are foretold."""
        return self.latents.shape[1] - self.context

    @property
    def targets(self) -> Float[Tensor, "excerpts steps tokens dim"]:
        """What the foretold latents should be."""
        return self.latents[:, self.context :]

    def part(self, first: int, last: int) -> "Excerpts":
        """Some of them."""
        rows = slice(first, last)
        return Excerpts(
            self.context,
            self.episode[rows],
            self.start[rows],
            self.latents[rows],
            self.actions[rows],
            None if self.states is None else self.states[rows],
            None if self.truth is None else self.truth[rows],
        )
