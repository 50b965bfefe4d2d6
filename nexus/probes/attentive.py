"""Attentive probe: a small pooler and a linear layer, trained on the tokens of a frozen encoder.

All pairs of learning rate and weight decay are trained side by side on the same batches; the pair
that is best on the validation split after the last epoch is scored on the test split (of equals the
one with the lower validation loss). No epoch is picked: there is no early stopping to overfit with.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from nexus.errors import NexusError
from nexus.features.extract import Progress
from nexus.features.table import FeatureTable
from nexus.features.tokens import TableTokens, TokenSource
from nexus.models.heads import AttentiveHead
from nexus.probes.linear import class_result, vote_accuracy
from nexus.probes.results import ProbeResult
from nexus.probes.splits import ClassTask, class_task
from nexus.probes.sweep import (
    AttentiveProbeConfig,
    Candidate,
    logits_of,
    make_candidates,
    train_candidates,
)


@dataclass(frozen=True)
class Tried:
    """One pair of the sweep on the validation split: accuracy and cross-entropy."""

    learning_rate: float
    weight_decay: float
    accuracy: float
    loss: float

    @property
    def rank(self) -> tuple[bool, float, float]:
        """Larger is better; a head whose scores are not finite numbers comes last."""
        return math.isfinite(self.loss), self.accuracy, -self.loss


@dataclass(frozen=True)
class FittedProbe:
    """The head that the validation split chose, its test result, and the whole sweep."""

    head: AttentiveHead
    classes: tuple[str, ...]
    result: ProbeResult
    sweep: tuple[Tried, ...]


def attentive_probe(
    table: FeatureTable,
    column: str,
    config: AttentiveProbeConfig | None = None,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    device: str | torch.device = "cpu",
) -> list[ProbeResult]:
    """Train and score an attentive probe on token features `(N, tokens, dim)`, once a seed.

    Raises:
        DataError: the column is missing or cannot be learned from; see `splits.class_task`.
        NexusError: every pair of the sweep diverged.
        ValueError: the table holds pooled features, or a sweep without candidates.
    """
    if table.features.ndim != 3:
        raise ValueError(
            f"an attentive probe takes tokens, got {table.pooling} features; extract them with "
            "pooling 'tokens'"
        )
    fitted = fit_attentive(TableTokens(table), column, config, seeds=seeds, device=device)
    return [probe.result for probe in fitted]


def fit_attentive(
    tokens: TokenSource,
    column: str,
    config: AttentiveProbeConfig | None = None,
    *,
    seeds: Sequence[int] = (0,),
    device: str | torch.device = "cpu",
    progress: Callable[[int], Progress] | None = None,
) -> list[FittedProbe]:
    """Train and score an attentive probe, once a seed.

    A seed sets the heads' initial weights and the order of the batches; the splits are the same.

    Args:
        progress: for a seed, what is called with (epochs done, epochs in all).

    Raises:
        DataError: the column is missing or cannot be learned from; see `splits.class_task`.
        NexusError: every pair of the sweep diverged.
        ValueError: a sweep without candidates.
    """
    config = config or AttentiveProbeConfig()
    if not config.learning_rates or not config.weight_decays:
        raise ValueError("the sweep needs at least one learning rate and one weight decay")
    task = class_task(tokens.table, column, split_seed=config.split_seed)
    device = torch.device(device)
    return [
        _fit_once(tokens, task, config, seed, device, progress and progress(seed)) for seed in seeds
    ]


def _fit_once(
    tokens: TokenSource,
    task: ClassTask,
    config: AttentiveProbeConfig,
    seed: int,
    device: torch.device,
    progress: Progress | None,
) -> FittedProbe:
    candidates = make_candidates(tokens.dim, len(task.classes), config, seed)
    generator = Generator().manual_seed(seed)
    train_candidates(
        candidates, tokens, task.labels, task.parts.train.rows, config, generator, device, progress
    )
    heads = [candidate.head for candidate in candidates]
    validated = logits_of(heads, tokens, task.parts.validation.rows, config, device)
    sweep = [_tried(*one, task) for one in zip(candidates, validated, strict=True)]
    best = max(range(len(sweep)), key=lambda number: sweep[number].rank)
    if not math.isfinite(sweep[best].loss):
        raise NexusError(
            f"all {len(sweep)} heads of the sweep diverged (learning rates "
            f"{min(config.learning_rates):g} to {max(config.learning_rates):g}); lower the rates "
            "or give some warm-up"
        )
    winner = candidates[best]
    [logits] = logits_of([winner.head], tokens, task.parts.test.rows, config, device)
    result = class_result(
        task,
        probe=config.name,
        scores=logits.softmax(dim=-1).numpy(),
        validation=sweep[best].accuracy,
        chosen={"learning_rate": winner.learning_rate, "weight_decay": winner.weight_decay},
        seed=seed,
        notes=task.parts.notes,
    )
    return FittedProbe(winner.head.cpu(), task.classes, result, tuple(sweep))


def _tried(candidate: Candidate, logits: Tensor, task: ClassTask) -> Tried:
    validation = task.parts.validation
    labels = torch.from_numpy(task.labels[validation.rows])
    accuracy = vote_accuracy(task, validation, logits.softmax(dim=-1).numpy())
    loss = float(F.cross_entropy(logits, labels))
    return Tried(candidate.learning_rate, candidate.weight_decay, accuracy, loss)
