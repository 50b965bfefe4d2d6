"""What the robot's own state lets expect of a frame's latents: so much of them is the robot.

    latent = body(state) + things

The goal's picture shows the robot where it happened to be; what is left without it is what has to
be moved. Nothing is labelled: where the robot is, it knows, and frames show it in many places with
the things elsewhere each time.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nexus.data.episodes.robot import Robot


class Body(nn.Module):
    """A small network from the robot's scaled state to the latents that it lets expect.

    Where no state is known (a goal that is a picture alone), it is read from the latents first.

    Args:
        robot: its state's width and range; numbers become waves over that range.
        tokens, dim: of a frame's latents.
    """

    low: Tensor
    extent: Tensor

    def __init__(self, robot: Robot, tokens: int, dim: int, *, width: int = 128) -> None:
        super().__init__()
        self.tokens, self.dim = tokens, dim
        state = robot.state_width
        low, extent = robot.state_range()
        self.register_buffer("low", torch.tensor(low, dtype=torch.float32))
        self.register_buffer("extent", torch.tensor(extent, dtype=torch.float32))
        self.expects = nn.Sequential(
            nn.Linear(7 * state, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, tokens * dim),
        )
        self.reads = nn.Sequential(
            nn.Linear(tokens * dim, width), nn.GELU(), nn.Linear(width, state)
        )

    def losses(
        self, latents: Float[Tensor, "batch tokens dim"], states: Float[Tensor, "batch state"]
    ) -> tuple[Tensor, Tensor]:
        """Of what the state lets expect, and of what the latents say of the state."""
        expected = F.mse_loss(self.expected(states), latents)
        return expected, F.mse_loss(self.read(latents), states)

    def expected(self, states: Float[Tensor, "batch state"]) -> Float[Tensor, "batch tokens dim"]:
        """The latents that a state lets expect."""
        place = (states - self.low) / self.extent * torch.pi
        waves = [wave for k in (1, 2, 4) for wave in ((k * place).sin(), (k * place).cos())]
        return self.expects(torch.cat([states, *waves], -1)).unflatten(-1, (self.tokens, self.dim))

    def read(self, latents: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch state"]:
        """The state that latents show."""
        return self.reads(latents.flatten(1))

    def without(
        self,
        latents: Float[Tensor, "batch tokens dim"],
        states: Float[Tensor, "batch state"] | None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """What is left of latents without the robot."""
        return latents - self.expected(self.read(latents) if states is None else states)
