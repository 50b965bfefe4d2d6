"""What all training runs have in common: length, batches, numerics, the model and its optimizer."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import pydantic

from nexus.config import Config
from nexus.errors import ConfigError
from nexus.models.contract import ModelConfig
from nexus.models.ssl import model_config
from nexus.training.curriculum import Row
from nexus.training.health import OnCollapse
from nexus.training.optim import OptimConfig
from nexus.training.step import Precision


class TrainingConfig(Config):
    """Length, batches, numerics, logging and checkpoints; a step is one optimizer step."""

    steps: pydantic.NonNegativeInt = 1000
    """0 saves the untrained model: the random-init arm of a comparison."""
    batch_size: pydantic.PositiveInt = 32
    """Clips a forward pass."""
    accumulation: pydantic.PositiveInt = 1
    """Forward passes a step; a step sees `batch_size * accumulation` clips."""
    curriculum: tuple[Row, ...] = ()
    """Rows of (first step, frames a clip) or (first step, frames a clip, picture size), the size as
    `model.img_size`, which holds where there is none; empty: always `model.num_frames`."""
    precision: Precision = "fp32"
    seed: pydantic.NonNegativeInt = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto: an NVIDIA GPU if there is one; `mps` is Apple's GPU, which nobody has tried yet."""
    threads: pydantic.PositiveInt | Literal["auto"] = "auto"
    """CPU threads; auto: tried out at the start (a resumed run keeps what it had)."""
    compile: bool = False
    gradient_checkpointing: bool = False
    log_every: pydantic.PositiveInt = 10
    checkpoint_every: pydantic.PositiveInt = 500
    """Steps between checkpoints."""
    checkpoint_minutes: pydantic.PositiveFloat | None = 10.0
    """After so many minutes one is written, however few the steps since the last; null: never."""
    keep_checkpoints: pydantic.PositiveInt = 2
    tensorboard: bool = True
    on_collapse: OnCollapse = "warn"
    collapse_patience: pydantic.PositiveInt = 3
    """Logged steps in a row that must agree before the verdict on health changes."""
    max_skipped_steps: pydantic.NonNegativeInt = 10
    """Steps in a row without finite numbers that are tolerated."""


def _model_of(settings: Any) -> ModelConfig:
    """Settings as the model that they name reads them; its errors are told without their head."""
    if isinstance(settings, ModelConfig):
        return settings
    if not isinstance(settings, Mapping):
        raise ValueError(f"got {settings!r}; expected the model's keys, `kind` among them")
    try:
        return model_config(settings)
    except ConfigError as error:
        raise ValueError(reasons_of(error)) from None


def reasons_of(error: ConfigError) -> str:
    """What is wrong with some settings, without saying that they are settings."""
    return str(error).partition("\n  - ")[2] or str(error)


Model = Annotated[pydantic.SerializeAsAny[ModelConfig], pydantic.BeforeValidator(_model_of)]


class RunRecipe(Config):
    """A training run, but for its data and the folder that it writes to."""

    name: str
    model: Model
    """The model's settings, `kind` (default: `vjepa`) among them, completed with its defaults."""
    optim: OptimConfig = OptimConfig()
    training: TrainingConfig = TrainingConfig()

    @pydantic.model_validator(mode="after")
    def _schedule_fits(self) -> Self:
        self.optim.check_length(self.training.steps)
        return self

    @property
    def model_settings(self) -> ModelConfig:
        """The model's settings in a run of this length."""
        return self.model.for_run(self.training.steps)
