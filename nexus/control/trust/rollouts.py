"""What a world model says that follows on excerpts, step by step."""

import torch
from jaxtyping import Float
from torch import Tensor

from nexus.control.dynamics import Dynamics
from nexus.control.trust.excerpts import Excerpts
from nexus.models.worlds.world import WorldState

TOKENS = 16_384
"""That are rolled out at once."""


def rows_at_once(tokens: int) -> int:
    """Excerpts, or candidates, that are rolled out at once if each has so many tokens."""
    return max(1, TOKENS // tokens)


def start_of(model: Dynamics, excerpts: Excerpts, robot: int) -> WorldState:
    """Where the excerpts' rollouts start: after the frames that the model sees."""
    context = excerpts.context
    states = None if excerpts.states is None else excerpts.states[:, :context]
    return model.begin(
        excerpts.latents[:, :context], excerpts.actions[:, : context - 1], states, robot
    )


@torch.no_grad()
def rolled_out(
    model: Dynamics,
    excerpts: Excerpts,
    robot: int = 0,
    actions: Float[Tensor, "excerpts steps action"] | None = None,
    steps: int | None = None,
) -> tuple[
    Float[Tensor, "excerpts steps tokens dim"], Float[Tensor, "excerpts steps state"] | None
]:
    """Foretold latents, and scaled states where states are known.

    Args:
        actions: scaled, of the foretold steps, in place of the true ones.
        steps: so many alone.
    """
    if actions is None:
        actions = excerpts.actions[:, excerpts.context - 1 :]
    count = excerpts.steps if steps is None else steps
    latents, states = [], []
    rows = rows_at_once(excerpts.latents.shape[2])
    for first in range(0, len(excerpts), rows):
        last = first + rows
        state = start_of(model, excerpts.part(first, last), robot)
        told, where = [], []
        for step in range(count):
            state = model.step(state, actions[first:last, step])
            told.append(state.latent)
            where.append(state.state)
        latents.append(torch.stack(told, dim=1))
        states.append(None if where[0] is None else torch.stack(where, dim=1))
    known = None if states[0] is None else torch.cat(states)
    return torch.cat(latents), known
