"""Stacks of blocks: joint space-time attention, or space and then time (seed, "Factorized").

Both take any set of tokens. A factorized stack on a regular layout is a pair of reshapes; on a
ragged one the tokens are laid out on the full grid and an attention mask keeps absent places out,
exactly.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nexus.nn.blocks import Block
from nexus.nn.grid import TokenLayout


class JointStack(nn.Module):
    """Every token attends to every other token, in each block."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.checkpointing = False

    def forward(
        self, tokens: Float[Tensor, "batch tokens dim"], layout: TokenLayout
    ) -> Float[Tensor, "batch tokens dim"]:
        """Transform the tokens of a layout."""
        return run_blocks(self.blocks, tokens, None, self.checkpointing)


class FactorizedStack(nn.Module):
    """Blocks that attend within each time step, then blocks that attend along each place."""

    def __init__(self, spatial: Sequence[Block], temporal: Sequence[Block]) -> None:
        super().__init__()
        self.spatial = nn.ModuleList(spatial)
        self.temporal = nn.ModuleList(temporal)
        self.checkpointing = False

    def forward(
        self, tokens: Float[Tensor, "batch tokens dim"], layout: TokenLayout
    ) -> Float[Tensor, "batch tokens dim"]:
        """Transform the tokens of a layout."""
        if layout.frames is not None:
            return self._over_grid(tokens, layout.frames, None)
        grid, index = layout.grid, layout.index
        assert index is not None  # a layout without an index is regular
        index = index.to(tokens.device)
        batch, _, dim = tokens.shape
        at = index.unsqueeze(-1).expand(-1, -1, dim)
        spread = tokens.new_zeros(batch, grid.tokens, dim).scatter(1, at, tokens)
        present = torch.zeros(batch, grid.tokens, dtype=torch.bool, device=tokens.device)
        present = present.scatter(1, index, True)
        return self._over_grid(spread, grid.time, present).gather(1, at)

    def _over_grid(self, tokens: Tensor, frames: int, present: Tensor | None) -> Tensor:
        batch, length, dim = tokens.shape
        places = length // frames
        within_step = within_place = None
        if present is not None:
            at = present.view(batch, frames, places)
            within_step = _same_presence(at.flatten(0, 1))
            within_place = _same_presence(at.transpose(1, 2).flatten(0, 1))

        tokens = tokens.reshape(batch * frames, places, dim)
        tokens = run_blocks(self.spatial, tokens, within_step, self.checkpointing)
        tokens = _swap(tokens.view(batch, frames, places, dim))
        tokens = run_blocks(self.temporal, tokens, within_place, self.checkpointing)
        return _swap(tokens.view(batch, places, frames, dim)).view(batch, length, dim)


def _swap(tokens: Tensor) -> Tensor:
    """`(B, a, b, D)` to `(B * b, a, D)`."""
    batch, first, second, dim = tokens.shape
    return tokens.transpose(1, 2).reshape(batch * second, first, dim)


def _same_presence(present: Tensor) -> Tensor:
    """Allow attention among present tokens and, so that no row is empty, among absent ones."""
    return (present.unsqueeze(-1) == present.unsqueeze(-2)).unsqueeze(1)


def run_blocks(
    blocks: nn.ModuleList, tokens: Tensor, allowed: Tensor | None, checkpointing: bool
) -> Tensor:
    """Run blocks in order; with `checkpointing`, recompute activations in the backward pass."""
    for block in blocks:
        if checkpointing and torch.is_grad_enabled():
            tokens = checkpoint(block, tokens, allowed, use_reentrant=False)  # pyright: ignore
        else:
            tokens = block(tokens, allowed)
    return tokens
