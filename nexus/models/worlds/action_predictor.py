"""The action-conditioned predictor: what the next frames look like if the robot does this.

    step 0                          step 1
    a  s (e) p p p p ... p          a  s (e) p p p p ... p     a action, s state, e extrinsics,
    |  |  |  | | | |     |          |  |  |  | | | |     |     p features of the frame's patches
    every token sees all tokens of its own step and of the steps before it
             | | | |     |                   | | | |     |
             q q q q     q                   q q q q     q     q predicted features at step + 1

Patches carry three rotary coordinates (time, row, column), the tiled kind; conditions stand at row
0 and column 0 of their step, so that only time turns them.

Source: arXiv 2506.09985, section 3, and the published code and weights of V-JEPA 2-AC.
"""

from typing import Self

import pydantic
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nexus.config import Config
from nexus.errors import VideoShapeError
from nexus.nn.blocks import LAYER_NORM_EPS, Block, init_weights, scale_residual_branches
from nexus.nn.grid import Grid
from nexus.nn.rotary import part_of, turns
from nexus.nn.stacks import run_blocks

Positive = pydantic.PositiveInt


class ActionPredictorConfig(Config):
    """What an `ActionPredictor` is made of; the defaults are those of the published V-JEPA 2-AC."""

    in_dim: Positive = 1408
    """Width of the encoder's features, and so of the predictions."""
    predictor_dim: Positive = 1024
    depth: Positive = 24
    heads: Positive = 16
    mlp_ratio: pydantic.PositiveFloat = 4.0
    action_dim: Positive = 7
    """Published: change of the position (3, in metres), of the Euler angles (3, in radians) and of
    the gripper."""
    state_dim: Positive = 7
    """Published: the end effector's position, Euler angles and gripper."""
    extrinsics_dim: Positive = 6
    """Pose of the camera."""
    use_extrinsics: bool = False
    img_size: Positive = 256
    """Side in pixels of the square frames it is trained on. Rows and columns of another grid are
    scaled to the range that this one's have."""
    patch_size: Positive = 16

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Self:
        if self.img_size % self.patch_size:
            raise ValueError(
                f"img_size {self.img_size} is not a multiple of patch_size {self.patch_size}"
            )
        if self.predictor_dim % self.heads:
            raise ValueError(
                f"predictor_dim {self.predictor_dim} does not divide into heads {self.heads}"
            )
        part_of(self.predictor_dim // self.heads)
        return self

    @property
    def grid_side(self) -> int:
        """Patches along a side of the frames it is trained on."""
        return self.img_size // self.patch_size


class ActionPredictor(nn.Module):
    """Predicts each next frame's features from the frames, actions and states so far.

    The encoder stays frozen and sees each frame alone; what it says of `time` frames goes in, frame
    after frame. A clip may have any number of time steps.
    """

    def __init__(self, config: ActionPredictorConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.predictor_dim
        self.embed = nn.Linear(config.in_dim, dim)
        self.action_embed = nn.Linear(config.action_dim, dim)
        self.state_embed = nn.Linear(config.state_dim, dim)
        # The published weights always have this layer, so that ours must hold it as well.
        self.extrinsics_embed = nn.Linear(config.extrinsics_dim, dim)
        self.extrinsics_embed.requires_grad_(config.use_extrinsics)
        self.blocks = nn.ModuleList(
            Block(dim, config.heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.proj = nn.Linear(dim, config.in_dim)
        self.checkpointing = False
        self.apply(init_weights)
        scale_residual_branches(list(self.blocks))  # pyright: ignore

    def forward(
        self,
        features: Float[Tensor, "batch tokens in_dim"],
        actions: Float[Tensor, "batch time action_dim"],
        states: Float[Tensor, "batch time state_dim"],
        extrinsics: Float[Tensor, "batch time extrinsics_dim"] | None = None,
        *,
        grid: Grid | None = None,
    ) -> Float[Tensor, "batch tokens in_dim"]:
        """Features of the frame after each time step, in the order of `features`.

        Args:
            features: of the frames' patches, time-major; `time * height * width` tokens.
            actions: what is done at each step; leads to the next one.
            states: the robot's state at each step.
            extrinsics: the camera's pose at each step, if `use_extrinsics`.
            grid: time steps, rows and columns of the features; none: frames of the config's size.

        Raises:
            VideoShapeError: the tensors do not fit the model or each other.
        """
        config = self.config
        given = [("actions", actions, self.action_embed), ("states", states, self.state_embed)]
        if extrinsics is not None:
            given.append(("extrinsics", extrinsics, self.extrinsics_embed))
        grid = self._grid_of(features, given, grid)
        vectors = [layer(tensor) for _, tensor, layer in given]
        patches = self.embed(features).unflatten(1, (grid.time, grid.places))
        tokens = torch.cat([torch.stack(vectors, dim=2), patches], dim=2)
        coordinates = step_coordinates(grid, len(vectors), config.grid_side, like=tokens)
        [tokens] = run_blocks(
            self.blocks,
            tokens.flatten(1, 2),
            self.checkpointing,
            allowed=frame_causal(grid.time, tokens.shape[2], tokens.device),
            rotation=turns(coordinates, config.predictor_dim // config.heads, "tiled"),
        )
        patches = tokens.unflatten(1, (grid.time, -1))[:, :, len(vectors) :].flatten(1, 2)
        return self.proj(self.norm(patches))

    def _grid_of(
        self, features: Tensor, given: list[tuple[str, Tensor, nn.Linear]], grid: Grid | None
    ) -> Grid:
        """The grid of the features, once all tensors are known to fit."""
        config = self.config
        if config.use_extrinsics != (len(given) == 3):
            raise VideoShapeError(
                f"use_extrinsics is {config.use_extrinsics}, but extrinsics were "
                f"{'not ' if config.use_extrinsics else ''}given: a model takes them in every "
                "call or in none, as it was trained"
            )
        _, actions, _ = given[0]
        if actions.ndim != 3 or actions.shape[1] == 0:
            raise VideoShapeError(
                f"actions are (batch, time, {config.action_dim}) with at least one time step, "
                f"got shape {tuple(actions.shape)}"
            )
        batch, steps = actions.shape[:2]
        for name, tensor, layer in given:
            expected = (batch, steps, layer.in_features)
            if tuple(tensor.shape) != expected:
                raise VideoShapeError(
                    f"expected {name} of shape {expected} (batch, time, width), got "
                    f"{tuple(tensor.shape)}"
                )
        grid = Grid(steps, config.grid_side, config.grid_side) if grid is None else grid
        if grid.time != steps:
            raise VideoShapeError(f"the actions have {steps} time steps, the grid has {grid.time}")
        expected = (batch, grid.tokens, config.in_dim)
        if tuple(features.shape) != expected:
            raise VideoShapeError(
                f"expected features of shape {expected}, {steps} time steps of {grid.height} x "
                f"{grid.width} patches, got {tuple(features.shape)}; frames of another size than "
                f"img_size {config.img_size} need `grid`"
            )
        return grid


def step_coordinates(
    grid: Grid, conditions: int, side: int, *, like: Tensor
) -> tuple[Float[Tensor, "1 tokens"], Float[Tensor, "1 tokens"], Float[Tensor, "1 tokens"]]:
    """Time, row and column of each step's conditions and patches, in their order.

    Rows and columns are scaled so that a grid of any size spans one of `side` rows and columns.
    """
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    place = torch.arange(grid.places, device=like.device)
    row = (place // grid.width).to(dtype) * (side / grid.height)
    column = (place % grid.width).to(dtype) * (side / grid.width)
    row, column = (F.pad(line, (conditions, 0)).repeat(1, grid.time) for line in (row, column))
    time = torch.arange(grid.time, device=like.device, dtype=dtype)
    return time.repeat_interleave(conditions + grid.places).unsqueeze(0), row, column


def frame_causal(
    steps: int, tokens: int, device: torch.device
) -> Bool[Tensor, "1 1 sequence sequence"] | None:
    """What may look at what in `steps` steps of `tokens` tokens; None: everything at everything."""
    if steps == 1:
        return None
    step = torch.arange(steps, device=device).repeat_interleave(tokens)
    return (step.unsqueeze(1) >= step).unsqueeze(0).unsqueeze(0)
