"""What a step needs, put together from a recipe: the model, its optimizer and the step itself.

A run is trained with it, and rehearsals are timed with it.
"""

from dataclasses import dataclass

import torch

from nexus.models.contract import (
    CanCheckpointGradients,
    CanCompile,
    SelfSupervisedModel,
    checked,
)
from nexus.models.ssl import build_model
from nexus.training.cpu import tune
from nexus.training.environment import choose_device
from nexus.training.optim import build_optimizer
from nexus.training.rng import seed_everything
from nexus.training.run_recipe import RunRecipe
from nexus.training.step import TrainStep


@dataclass(frozen=True)
class Assembly:
    """A model on its device, what moves its weights, and what takes a step."""

    device: torch.device
    model: SelfSupervisedModel
    optimizer: torch.optim.Optimizer
    take_step: TrainStep


def assemble(recipe: RunRecipe) -> Assembly:
    """A recipe's model with fresh weights; seeds the process' random generators.

    Raises:
        ConfigError: a GPU is asked for and there is none, or the model cannot do what is asked.
    """
    settings = recipe.training
    device = choose_device(settings.device)
    seed_everything(settings.seed)
    model = build_model(recipe.model_settings)
    model.to(device).train()
    tune(model)
    if settings.gradient_checkpointing:
        what = "training.gradient_checkpointing: model"
        checked(model, CanCheckpointGradients, what).enable_gradient_checkpointing()
    if settings.compile:
        checked(model, CanCompile, "training.compile: model").compile_stacks()
    optimizer = build_optimizer(model, recipe.optim)
    take_step = TrainStep(
        model,
        optimizer,
        precision=settings.precision,
        clip_grad=recipe.optim.clip_grad,
        device=device,
    )
    return Assembly(device, model, optimizer, take_step)
