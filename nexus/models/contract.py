"""What nexus asks of a model and of its parts: Protocols of few methods, for ours and yours alike.

    SelfSupervisedModel   loss, metrics = model(video or Batch); what is trained
      Encoder             clips -> features of their tokens; what is used afterwards
      Mask                which tokens are seen and which are predicted (`nexus.masks.token_mask`)
      Objective           predictions and their targets -> a loss and its parts

A part is named in a recipe, ours by a short name and anybody's as `package.module:Class`, and
checked when it is built. What only some models can do is a Protocol of its own.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Literal, Protocol, Self, TypeVar, get_args, runtime_checkable

import pydantic
from torch import Tensor, nn

from nexus.config import Config
from nexus.data.loading.batch import Batch
from nexus.errors import ConfigError
from nexus.masks.token_mask import Mask, TokenMask
from nexus.models.objectives.prediction import Prediction
from nexus.nn.grid import Grid, TokenLayout

__all__ = ["Mask", "Prediction"]

EncoderRole = Literal["target", "context"]
"""Which encoder of a model: the one that gives the targets, or the one that sees the context. A
model that has only one gives that one in both roles."""

Contract = TypeVar("Contract")


class SeenClips(Config):
    """The clips that a model is made for."""

    img_size: pydantic.PositiveInt | tuple[pydantic.PositiveInt, pydantic.PositiveInt] = 224
    """Height and width in pixels (one number: a square)."""
    num_frames: pydantic.PositiveInt = 16
    in_chans: pydantic.PositiveInt = 3
    image_input: bool = False
    """Clips of one frame are images, with a patch embedding of their own (2.1)."""

    @property
    def image_sides(self) -> tuple[int, int]:
        """Height and width in pixels."""
        size = self.img_size
        return (size, size) if isinstance(size, int) else size

    def spans(self, num_frames: int, sides: tuple[int, int]) -> tuple[bool, bool]:
        """Whether the positions of such clips, in time and in the picture, were met in training.

        So it is of clips of the same length and size; a kind of positions may know of more.
        """
        return num_frames == self.num_frames, sides == self.image_sides

    def off_distribution(self, num_frames: int, sides: tuple[int, int]) -> str | None:
        """One sentence on how clips leave the trained positions, or None if they do not.

        Such clips are allowed: rotary positions go on counting, position tables are interpolated.
        Still, the features are of a kind that training has not seen. An image is as trained where
        the model takes images.
        """
        in_time, in_space = self.spans(num_frames, sides)
        parts = []
        if not in_time and not (self.image_input and num_frames == 1):
            parts.append(f"clips of {num_frames} frames, not {self.num_frames}")
        if not in_space:
            (height, width), (own_height, own_width) = sides, self.image_sides
            parts.append(f"pictures of {height} x {width} pixels, not {own_height} x {own_width}")
        if not parts:
            return None
        return (
            f"these are {' and '.join(parts)} as the weights were trained with: positions are "
            "extrapolated or interpolated, and the features may be worse"
        )


class ModelConfig(SeenClips):
    """Settings of a model; those of your own model's class are a subclass of this one."""

    kind: str = ""
    """The model's name, ours or `package.module:Class`; a recipe always has it."""

    def for_run(self, steps: int) -> Self:
        """These settings in a run of so many optimizer steps."""
        return self


@runtime_checkable
class Module(Protocol):
    """What nexus uses of `torch.nn.Module`: a model is one, and so is an encoder."""

    training: bool
    __call__: Callable[..., Any]
    parameters: Callable[..., Iterator[nn.Parameter]]
    buffers: Callable[..., Iterator[Tensor]]
    modules: Callable[..., Iterator[nn.Module]]
    named_modules: Any
    named_parameters: Callable[..., Iterator[tuple[str, nn.Parameter]]]
    get_submodule: Callable[[str], nn.Module]
    state_dict: Callable[..., dict[str, Any]]
    load_state_dict: Callable[..., Any]
    requires_grad_: Callable[..., Any]
    train: Callable[..., Any]
    eval: Callable[..., Any]
    to: Callable[..., Any]


@runtime_checkable
class Encoder(Module, Protocol):
    """Turns a clip, or the visible part of one, into one feature vector a token."""

    @property
    def embed_dim(self) -> int:
        """Width of the features."""
        ...

    @property
    def depth(self) -> int:
        """Blocks whose features can be asked for."""
        ...

    def grid_of(self, video: Tensor) -> Grid:
        """The token grid of clips `(B, C, T, H, W)`; raises VideoShapeError if they do not fit."""
        ...

    def grid_for(self, num_frames: int, sides: tuple[int, int]) -> Grid:
        """The token grid of clips of a length and size; raises VideoShapeError as `grid_of`."""
        ...

    def forward(self, video: Tensor, layout: TokenLayout | None = None) -> Tensor:
        """Features `(B, tokens, embed_dim)` of a layout's tokens (default: all, time-major).

        Tokens outside the layout must not be read.
        """
        ...

    def features(
        self, video: Tensor, layout: TokenLayout | None = None, blocks: Sequence[int] = (-1,)
    ) -> list[Tensor]:
        """What `forward` gives, after several blocks: rising numbers from 0; -1 is the last."""
        ...


@runtime_checkable
class Objective(Protocol):
    """What is minimised."""

    def __call__(
        self, predictions: Sequence[Prediction], step: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one batch, and the named parts that the journal shows beside it.

        It gets the predictions under all masks at once (most batches have one mask), so that an
        objective may compare them.

        Args:
            predictions: one a mask.
            step: optimizer steps before this one, a whole number.
        """
        ...


@runtime_checkable
class SelfSupervisedModel(Module, Protocol):
    """A model that can be trained by nexus and whose features can be used.

    Its class names the class of its settings as `Config` and takes them as its only argument.
    """

    @property
    def config(self) -> Any:
        """The settings, a `ModelConfig`."""
        ...

    def forward(
        self, video: Tensor | Batch, *, meters: bool = True
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss of normalised clips, and plain numbers; `meters`: those on its health too."""
        ...

    def update_target(self, step: int) -> float | None:
        """Called after each optimizer step; the momentum of the target's average, if any."""
        ...

    def evaluation_encoder(self, role: EncoderRole = "target") -> Encoder:
        """The encoder whose features are used afterwards."""
        ...


@runtime_checkable
class CanCheckpointGradients(Protocol):
    """Can trade time for memory: `training.gradient_checkpointing`."""

    def enable_gradient_checkpointing(self, enabled: bool = True) -> None:
        """Keep only block inputs in the forward pass; recompute the rest in the backward pass."""
        ...


@runtime_checkable
class CanCompile(Protocol):
    """Can be compiled: `training.compile`."""

    def compile_stacks(self) -> None:
        """`torch.compile` in place; the state dict keeps its names."""
        ...


@runtime_checkable
class PredictsFeatures(Module, Protocol):
    """Can be asked what it predicts: the page's error by horizon."""

    def predict(self, video: Tensor, mask: TokenMask | None = None) -> Prediction:
        """Predict hidden tokens without a loss; default: those after the context's frames."""
        ...


def checked_role(role: str) -> EncoderRole:
    """A role that a user names.

    Raises:
        ConfigError: there is none of this name.
    """
    if role not in get_args(EncoderRole):
        raise ConfigError(f"got {role!r}; a model's encoder is 'target' or 'context'")
    return role  # pyright: ignore[reportReturnType]


def checked(part: Any, contract: type[Contract], what: str) -> Contract:
    """A part that somebody built, once it has what its contract asks for.

    Raises:
        ConfigError: naming what is missing.
    """
    bases = [base for base in contract.__mro__ if base not in (object, Protocol, Generic)]
    asked = {n for base in bases for n in (*vars(base), *vars(base).get("__annotations__", ()))}
    names = sorted(name for name in asked if name == "__call__" or not name.startswith("_"))
    missing = [name for name in names if not hasattr(part, name)]
    if getattr(type(part), "forward", None) is nn.Module.forward:
        missing.append("forward")
    if missing:
        place = f"{type(part).__module__}:{type(part).__qualname__}"
        raise ConfigError(
            f"{what} {place} lacks {', '.join(missing)}; see {contract.__name__} in "
            "nexus.models.contract"
        )
    return part
