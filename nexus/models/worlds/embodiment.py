"""What a world model learns of one robot: its actions and states as vectors, its states foretold.

A model of several robots has one of these for each; everything else they share.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nexus.data.episodes.robot import Robot
from nexus.models.worlds.pose import PoseDynamics

StateDynamics = Literal["learned", "pose"]


class Embodiment(nn.Module):
    """Projections of a robot's actions and states, and the change of its state.

    Numbers of a state are also given as waves over their range in training, so that small
    differences of it count: at `frequencies` octaves, from one wave over the whole range on.

    Args:
        dim: width of the vectors, and of what states are foretold from.
        dynamics: whether the change of the state is learned, or follows from the action; see
            `nexus.models.worlds.pose`.
    """

    low: Tensor
    extent: Tensor

    def __init__(
        self, robot: Robot, dim: int, frequencies: int, dynamics: StateDynamics = "learned"
    ) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.action = nn.Linear(robot.action_width, dim)
        low, extent = robot.state_range()
        self.register_buffer("low", torch.tensor(low, dtype=torch.float32))
        self.register_buffer("extent", torch.tensor(extent, dtype=torch.float32))
        width = robot.state_width * (1 + 2 * frequencies)
        self.state = nn.Linear(width, dim) if robot.state_width else None
        learned = dynamics == "learned" and robot.state_width > 0
        self.next_state = nn.Linear(dim, robot.state_width) if learned else None
        self.pose = PoseDynamics(robot) if dynamics == "pose" else None
        # Where no state is known: a vector that stands for "it is at rest, wherever it is".
        self.rest = nn.Parameter(torch.zeros(dim))

    def action_vectors(
        self, actions: Float[Tensor, "batch time action"]
    ) -> Float[Tensor, "batch time dim"]:
        """Vectors of scaled actions."""
        return self.action(actions)

    def state_vectors(
        self, states: Float[Tensor, "batch time state"] | None, like: Tensor
    ) -> Float[Tensor, "batch time dim"]:
        """Vectors of scaled states; the rest state's where there are none, as many as `like`."""
        if states is None or self.state is None:
            return self.rest.expand(*like.shape[:2], -1)
        place = (states - self.low) / self.extent
        angles = [2 * math.pi * 2**octave * place for octave in range(self.frequencies)]
        waves = [wave for angle in angles for wave in (angle.sin(), angle.cos())]
        return self.state(torch.cat([states, *waves], dim=-1))

    def foretold(
        self,
        states: Float[Tensor, "batch time state"] | None,
        summary: Float[Tensor, "batch time dim"],
        actions: Float[Tensor, "batch time action"],
    ) -> Float[Tensor, "batch time state"] | None:
        """The scaled states of the next step; None where none are known."""
        if states is not None and self.pose is not None:
            return self.pose(states, actions)
        if states is None or self.next_state is None:
            return None
        return states + self.next_state(summary)
