"""What comes next: predictors of the tokens of the next step from the steps so far.

Both see the frames, actions and states of the steps so far, and nothing of later ones:

    adaln          tokens of frames alone; action and state shift and scale them in every block
    interleaved    action and state are tokens of their own before each frame's (V-JEPA 2-AC)

Sources: arXiv 2506.09985, section 3 (interleaved); arXiv 2212.09748 and 2512.24497 (AdaLN).
"""

from typing import Any, Protocol, runtime_checkable

import pydantic
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nexus.config import Config
from nexus.models.contract import Module
from nexus.models.worlds.action_predictor import step_coordinates
from nexus.nn.attention import SelfAttention
from nexus.nn.blocks import LAYER_NORM_EPS, Block, Mlp, init_weights, scale_residual_branches
from nexus.nn.causal import Memory, attend_causally, banded, spread
from nexus.nn.grid import Grid
from nexus.nn.rotary import RotaryKind, Rotation, part_of, turns
from nexus.registry import Registry

PREDICTORS = Registry(
    "predictor of a world",
    {
        "adaln": "nexus.models.worlds.predictors:AdaLNPredictor",
        "interleaved": "nexus.models.worlds.predictors:InterleavedPredictor",
    },
)
Positive = pydantic.PositiveInt
Tokens = Float[Tensor, "batch time tokens dim"]
Frames = Float[Tensor, "distinct time tokens dim"]
"""Of the rows alike of a batch, the first."""
Vectors = Float[Tensor, "batch time width"]
MOST_KEPT = 64
"""Stretches of steps whose masks and rotations are kept."""


class PredictorConfig(Config):
    """What both predictors are made of."""

    width: Positive = 256
    depth: Positive = 3
    heads: Positive = 4
    mlp_ratio: pydantic.PositiveFloat = 2.0
    window: Positive = 3
    """Steps that a step sees, itself among them."""
    rotary: RotaryKind = "interleaved"
    """`tiled`: as V-JEPA 2-AC was trained."""
    side: Positive | None = None
    """Rows and columns are scaled to those of a grid of this side; null: of the frames' height."""

    @pydantic.model_validator(mode="after")
    def _heads_fit(self) -> "PredictorConfig":
        if self.width % self.heads:
            raise ValueError(f"width {self.width} does not divide into heads {self.heads}")
        part_of(self.width // self.heads)
        return self


@runtime_checkable
class StepPredictor(Module, Protocol):
    """Predicts each next step."""

    def forward(
        self, latents: Frames, actions: Vectors, states: Vectors, memory: Memory | None = None
    ) -> tuple[Tokens, Vectors]:
        """The tokens after each step, and a summary of each step.

        Args:
            latents: tokens of each step's frame; as many rows as there are of actions, or fewer,
                each for as many rows of actions, one after the other.
            actions, states: vectors of `width`.
            memory: of the steps before, which takes these in; None: there were none.
        """
        ...

    def remember(self) -> Memory:
        """An empty memory."""
        ...


class _Predictor(nn.Module):
    """What both have in common: tokens in and out, positions, and the window."""

    conditions = 0
    """Tokens of a step that stand before the frame's."""

    def __init__(self, *, dim: int, grid: Grid, views: int, **settings: Any) -> None:
        super().__init__()
        self.config = config = PredictorConfig.from_mapping(settings)
        self.grid, self.views = grid, views
        self.embed = nn.Linear(dim, config.width)
        # Cameras are alike in rows and columns: a vector tells them apart.
        self.view = nn.Parameter(torch.zeros(views, 1, config.width))
        self.norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        self.proj = nn.Linear(config.width, dim)
        self._kept: dict[Any, tuple[Any, Rotation]] = {}

    @property
    def tokens(self) -> int:
        """Tokens of a step."""
        return self.conditions + self.views * self.grid.places

    def remember(self) -> Memory:
        """An empty memory."""
        return Memory(self.config.window)

    def _embedded(self, latents: Frames) -> Tensor:
        tokens = self.embed(latents).unflatten(2, (self.views, self.grid.places))
        return (tokens + self.view).flatten(2, 3)

    def _seen(self, steps: int, memory: Memory | None, like: Tensor) -> tuple[Any, Rotation]:
        """What the new tokens may look at, and where they stand; a search asks over and over."""
        first = 0 if memory is None else memory.steps
        if torch.compiler.is_compiling():
            return self._looked_up(first, steps, like)
        key = (first, steps, like.dtype, like.device)
        seen = self._kept.get(key)
        if seen is None:
            with torch.inference_mode(False):  # training may be next to ask
                seen = self._looked_up(first, steps, like)
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[key] = seen
        return seen

    def _looked_up(self, first: int, steps: int, like: Tensor) -> tuple[Any, Rotation]:
        window = self.config.window
        before = min(first, window - 1)
        allowed = banded(steps, before, window, self.tokens, like.device)
        side = self.config.side or self.grid.height
        coordinates = _coordinates(self.grid, self.conditions, self.views, side, first, steps, like)
        head = self.config.width // self.config.heads
        return allowed, turns(coordinates, head, self.config.rotary)


class _ConditionedBlock(nn.Module):
    """A block whose norms are shifted, scaled and gated by a vector of the step."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.attn = SelfAttention(width, heads)
        self.mlp = Mlp(width, int(width * mlp_ratio))
        self.modulation = nn.Linear(width, 6 * width)

    def forward(
        self, tokens: Tensor, condition: Tensor, per_step: int, layer: int, memory: Any, seen: Any
    ) -> Tensor:
        """Args: `condition`: after its activation; `seen`: see `_Predictor._seen`; None: each token
        sees itself alone."""
        parts = self.modulation(condition)
        if per_step > 1:
            parts = parts.repeat_interleave(per_step, dim=1)
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = parts.chunk(6, -1)
        moved = torch.addcmul(shift, _normed(tokens), 1 + scale)
        if seen is None:
            mixed = self.attn.proj(_values(self.attn, moved))
        else:
            allowed, rotation = seen
            mixed = attend_causally(
                self.attn,
                self.attn.qkv(moved),
                layer=layer,
                memory=memory,
                tokens_per_step=per_step,
                allowed=allowed,
                rotation=rotation,
            )
        tokens = torch.addcmul(tokens, 1 + gate, mixed)
        moved = torch.addcmul(mlp_shift, _normed(tokens), 1 + mlp_scale)
        return torch.addcmul(tokens, 1 + mlp_gate, self.mlp(moved))


class AdaLNPredictor(_Predictor):
    """A step's action and state shift, scale and gate its tokens in every block.

    The prediction is the step's own tokens and a change, which is 0 before training.
    """

    Config = PredictorConfig

    def __init__(self, *, dim: int, grid: Grid, views: int = 1, **settings: Any) -> None:
        super().__init__(dim=dim, grid=grid, views=views, **settings)
        config = self.config
        self.condition = nn.Sequential()
        self.condition.add_module("fc1", nn.Linear(2 * config.width, config.width))
        self.condition.add_module("act", nn.GELU())
        self.condition.add_module("fc2", nn.Linear(config.width, config.width))
        self.blocks = nn.ModuleList(
            _ConditionedBlock(config.width, config.heads, config.mlp_ratio)
            for _ in range(config.depth)
        )
        for block in self.blocks:
            nn.init.zeros_(block.modulation.weight)  # pyright: ignore
            nn.init.zeros_(block.modulation.bias)  # pyright: ignore
        nn.init.zeros_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)

    def forward(
        self, latents: Frames, actions: Vectors, states: Vectors, memory: Memory | None = None
    ) -> tuple[Tokens, Vectors]:
        """See `StepPredictor.forward`."""
        steps, per_step = latents.shape[1], self.tokens
        condition = self.condition(torch.cat([actions, states], dim=-1))
        alone = per_step == self.config.window == 1
        seen = None if alone else self._seen(steps, memory, latents)
        times = len(actions) // len(latents)
        tokens = spread(self._embedded(latents), times) + condition.unsqueeze(2)
        tokens, activated = tokens.flatten(1, 2), F.gelu(condition)
        for layer, block in enumerate(self.blocks):
            tokens = block(tokens, activated, per_step, layer, memory, seen)
        if memory is not None:
            memory.steps += steps
        tokens = self.norm(tokens).unflatten(1, (steps, per_step))
        return spread(latents, times) + self.proj(tokens), tokens.mean(dim=2)


class InterleavedPredictor(_Predictor):
    """Action and state are tokens of their own, as in `nexus.models.worlds.action_predictor`."""

    Config = PredictorConfig
    conditions = 2

    def __init__(self, *, dim: int, grid: Grid, views: int = 1, **settings: Any) -> None:
        super().__init__(dim=dim, grid=grid, views=views, **settings)
        config = self.config
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.apply(init_weights)
        scale_residual_branches(list(self.blocks))  # pyright: ignore

    def forward(
        self, latents: Frames, actions: Vectors, states: Vectors, memory: Memory | None = None
    ) -> tuple[Tokens, Vectors]:
        """See `StepPredictor.forward`."""
        steps, per_step = latents.shape[1], self.tokens
        allowed, rotation = self._seen(steps, memory, latents)
        times = len(actions) // len(latents)

        def joined(conditions: Tensor, frames: Tensor) -> Tensor:
            return torch.cat([conditions, spread(frames, times)], dim=2).flatten(1, 2)

        # The first block's products know nothing of the actions yet, but for the action's token.
        parts = torch.stack([actions, states], dim=2), self._embedded(latents)
        tokens, qkv = joined(*parts), joined(*(_products(self.blocks[0], part) for part in parts))
        for layer, block in enumerate(self.blocks):
            mixed = attend_causally(
                block.attn,  # pyright: ignore
                qkv if layer == 0 else _products(block, tokens),
                layer=layer,
                memory=memory,
                tokens_per_step=per_step,
                allowed=allowed,
                rotation=rotation,
            )
            tokens = tokens + mixed
            tokens = tokens + block.mlp(block.norm2(tokens))  # pyright: ignore
        if memory is not None:
            memory.steps += steps
        tokens = self.norm(tokens).unflatten(1, (steps, per_step))
        return self.proj(tokens[:, :, self.conditions :]), tokens[:, :, 1]


def _products(block: Any, tokens: Tensor) -> Tensor:
    """Queries, keys and values of a block's tokens."""
    return block.attn.qkv(block.norm1(tokens))


def _values(attention: SelfAttention, tokens: Tensor) -> Tensor:
    """The values alone: where a token sees itself alone, all the weight lies on its own."""
    width = tokens.shape[-1]
    return F.linear(tokens, attention.qkv.weight[2 * width :], attention.qkv.bias[2 * width :])


def _normed(tokens: Tensor) -> Tensor:
    return F.layer_norm(tokens, tokens.shape[-1:], eps=LAYER_NORM_EPS)


def _coordinates(
    grid: Grid, conditions: int, views: int, side: int, first: int, steps: int, like: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Time, row and column of each token of some steps; all cameras have the same places."""
    one = Grid(1, grid.height, grid.width)
    _, row, column = step_coordinates(one, 0, side, like=like)
    row, column = (F.pad(each.repeat(1, views), (conditions, 0)) for each in (row, column))
    time = torch.arange(first, first + steps, device=like.device, dtype=row.dtype)
    return (
        time.repeat_interleave(row.shape[1]).unsqueeze(0),
        row.repeat(1, steps),
        column.repeat(1, steps),
    )
