"""How much each patch counts in the distance to a goal: what is to change, and is not the robot.

now       goal        changed       robot         counts
. . R .   . . . .     . . # .       # . # .       . . . .
. T . .   R . T .     # # # .       # . . .       . # # .

A patch is the robot's as far as one foretold step makes it differ by what is done: from now, and
from the goal as if the robot acted there. A thing that it touches moves with it and is taken for it
as long as it does.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from nexus.control.dynamics import Dynamics
from nexus.models.worlds.world import WorldState

Weights = Float[Tensor, "batch tokens"]


def changed(
    now: Float[Tensor, "batch tokens dim"], goal: Float[Tensor, "batch tokens dim"]
) -> Weights:
    """The squared distance of each patch from what it is in the goal."""
    return (now - goal).square().mean(dim=-1)


def moved_by_actions(model: Dynamics, here: WorldState, width: int) -> Weights:
    """How far each patch spreads after one step over small actions, 1 where it does most.

    The actions are those of training in the mean, and in each dimension one spread less and more.

    Args:
        here: in which the robot acts.
        width: of an action.
    """
    eye = torch.eye(width, dtype=here.latent.dtype, device=here.latent.device)
    actions = torch.cat([eye, -eye])
    after = model.step(here.spread(len(actions)), actions.repeat(len(here.latent), 1))
    latents = after.latent.unflatten(0, (len(here.latent), len(actions)))
    spread = (latents - latents.mean(dim=1, keepdim=True)).square().mean(dim=(1, 3))
    most = spread.amax(dim=1, keepdim=True)
    return torch.where(most > 0, spread / most, torch.zeros_like(spread))


def balanced(weights: Weights) -> Weights:
    """The same proportions, 1 in the mean; all 1 where nothing counts at all."""
    mean = weights.mean(dim=1, keepdim=True)
    return torch.where(mean > 0, weights / mean, torch.ones_like(weights))
