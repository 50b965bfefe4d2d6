"""What a cost and a report need of a world model: encode, begin, step."""

from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from nexus.models.worlds.config import WorldConfig
from nexus.models.worlds.objective import Latents
from nexus.models.worlds.world import WorldState


class Dynamics(Protocol):
    """A world model in eval mode; see `nexus.models.worlds.world.WorldModel`."""

    config: WorldConfig

    def encode(self, frames: Float[Tensor, "batch cameras time channels height width"]) -> Latents:
        """Tokens of each frame."""
        ...

    def begin(
        self,
        latents: Latents,
        actions: Float[Tensor, "batch steps action"],
        states: Float[Tensor, "batch time state"] | None,
        robot: int = 0,
    ) -> WorldState:
        """Where rollouts start."""
        ...

    def step(self, state: WorldState, actions: Float[Tensor, "batch action"]) -> WorldState:
        """One step on."""
        ...
