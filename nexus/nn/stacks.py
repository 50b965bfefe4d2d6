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
from nexus.nn.rotary import Rotation


class JointStack(nn.Module):
    """Every token attends to every other token, in each block."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.checkpointing = False

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens dim"],
        layout: TokenLayout,
        rotation: Rotation | None = None,
        taps: Sequence[int] = (-1,),
    ) -> list[Float[Tensor, "batch tokens dim"]]:
        """Transform the tokens of a layout.

        Args:
            rotation: rotary positions of the tokens, if the blocks are to use them.
            taps: the blocks whose outputs are wanted, in rising order; -1 is the last one.
        """
        return run_blocks(self.blocks, tokens, self.checkpointing, taps, rotation=rotation)


class FactorizedStack(nn.Module):
    """Blocks that attend within each time step, then blocks that attend along each place."""

    def __init__(self, spatial: Sequence[Block], temporal: Sequence[Block]) -> None:
        super().__init__()
        self.spatial = nn.ModuleList(spatial)
        self.temporal = nn.ModuleList(temporal)
        self.checkpointing = False

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens dim"],
        layout: TokenLayout,
        rotation: Rotation | None = None,
        taps: Sequence[int] = (-1,),
    ) -> list[Float[Tensor, "batch tokens dim"]]:
        """Transform the tokens of a layout; `taps` as in `JointStack`, over all blocks in order."""
        assert rotation is None, "rotary positions need joint attention"
        if layout.frames is not None:
            return self._over_grid(tokens, layout.frames, None, taps)
        grid, index = layout.grid, layout.index
        assert index is not None  # a layout without an index is regular
        index = index.to(tokens.device)
        batch, _, dim = tokens.shape
        at = index.unsqueeze(-1).expand(-1, -1, dim)
        spread = tokens.new_zeros(batch, grid.tokens, dim).scatter(1, at, tokens)
        present = torch.zeros(batch, grid.tokens, dtype=torch.bool, device=tokens.device)
        present = present.scatter(1, index, True)
        return [out.gather(1, at) for out in self._over_grid(spread, grid.time, present, taps)]

    def _over_grid(
        self, tokens: Tensor, frames: int, present: Tensor | None, taps: Sequence[int]
    ) -> list[Tensor]:
        batch, length, dim = tokens.shape
        places = length // frames
        within_step = within_place = None
        if present is not None:
            at = present.view(batch, frames, places)
            within_step = _same_presence(at.flatten(0, 1))
            within_place = _same_presence(at.transpose(1, 2).flatten(0, 1))

        first, depth = len(self.spatial), len(self.spatial) + len(self.temporal)
        wanted = [tap % depth for tap in taps]
        early = [tap for tap in wanted if tap < first]
        late = [tap - first for tap in wanted if tap >= first]

        tokens = tokens.reshape(batch * frames, places, dim)
        *outputs, tokens = run_blocks(
            self.spatial, tokens, self.checkpointing, [*early, first - 1], allowed=within_step
        )
        outputs = [output.view(batch, length, dim) for output in outputs]
        tokens = _swap(tokens.view(batch, frames, places, dim))
        for output in run_blocks(
            self.temporal, tokens, self.checkpointing, late, allowed=within_place
        ):
            output = _swap(output.view(batch, places, frames, dim))
            outputs.append(output.view(batch, length, dim))
        return outputs


def _swap(tokens: Tensor) -> Tensor:
    """`(B, a, b, D)` to `(B * b, a, D)`."""
    batch, first, second, dim = tokens.shape
    return tokens.transpose(1, 2).reshape(batch * second, first, dim)


def _same_presence(present: Tensor) -> Tensor:
    """Allow attention among present tokens and, so that no row is empty, among absent ones."""
    return (present.unsqueeze(-1) == present.unsqueeze(-2)).unsqueeze(1)


def run_blocks(
    blocks: nn.ModuleList,
    tokens: Tensor,
    checkpointing: bool = False,
    taps: Sequence[int] = (-1,),
    *,
    allowed: Tensor | None = None,
    rotation: Rotation | None = None,
) -> list[Tensor]:
    """Run blocks in order and return the outputs of the tapped ones; none later are run.

    Args:
        checkpointing: recompute activations in the backward pass.
        taps: rising block numbers, one of them may come twice; negative ones count from the end
            (so that -1 of no blocks is the input).
        allowed, rotation: as in `SelfAttention`.
    """
    outputs: list[Tensor] = []
    wanted = [tap + len(blocks) if tap < 0 else tap for tap in taps]
    outputs += [tokens] * wanted.count(-1)
    for number, block in enumerate(blocks):
        if len(outputs) == len(wanted):
            break
        if checkpointing and torch.is_grad_enabled():
            tokens = checkpoint(block, tokens, allowed, rotation, use_reentrant=False)  # pyright: ignore
        else:
            tokens = block(tokens, allowed, rotation)
        outputs += [tokens] * wanted.count(number)
    return outputs
