"""Token positions: which place and which time step a token of a clip stands for.

Tokens are time-major: token `n` of a grid lies at time `n // places`, place `n % places`, and place
`p` at row `p // width`, column `p % width`.

    time 0        time 1
    0  1  2       6  7  8
    3  4  5       9 10 11        Grid(time=2, height=2, width=3)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """The token grid of a clip, in tubelets."""

    time: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if min(self.time, self.height, self.width) < 1:
            raise ValueError(f"a grid needs at least one token along each side, got {self}")

    @property
    def places(self) -> int:
        """Tokens in one time step."""
        return self.height * self.width

    @property
    def tokens(self) -> int:
        """Tokens in the whole clip."""
        return self.time * self.places

    def step_range(self, start: int, stop: int) -> Int[Tensor, " tokens"]:
        """The tokens of time steps `start` to `stop` (exclusive), in order."""
        return torch.arange(start * self.places, stop * self.places)


@dataclass(frozen=True)
class TokenLayout:
    """The tokens that a sequence holds, in the order in which it holds them.

    `index` is `(batch, tokens)`, or None when the sequence is the whole grid in order.
    `frames` is set when the tokens form a regular sub-grid: the same number of tokens in each of
    `frames` time steps, time-major, standing at the same places in each of them. Then space and
    time can be told apart by a reshape; otherwise an attention mask does it.
    """

    grid: Grid
    index: Tensor | None = None
    frames: int | None = None

    @classmethod
    def full(cls, grid: Grid) -> "TokenLayout":
        """Every token of the grid."""
        return cls(grid=grid, index=None, frames=grid.time)

    @property
    def length(self) -> int:
        """Tokens in the sequence."""
        return self.grid.tokens if self.index is None else self.index.shape[1]

    def numbers(self) -> Tensor:
        """The tokens' numbers in the grid, int64 `(batch or 1, tokens)`."""
        return torch.arange(self.grid.tokens).unsqueeze(0) if self.index is None else self.index

    def coordinates(self) -> tuple[Tensor, Tensor, Tensor]:
        """Time step, row and column of each token, int64 `(batch or 1, tokens)`."""
        index = self.numbers()
        place = index % self.grid.places
        return index // self.grid.places, place // self.grid.width, place % self.grid.width

    def select(self, tokens: Tensor) -> Tensor:
        """Pick this layout's tokens from the whole grid's: `(B, N, D)` to `(B, n, D)`."""
        if self.index is None:
            return tokens
        index = self.index.to(tokens.device)
        return tokens.gather(1, index.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
