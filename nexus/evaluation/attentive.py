"""Attentive probe: a small pooler and a linear layer, trained on cached tokens of a frozen encoder.

All pairs of learning rate and weight decay are trained side by side on the same batches; the pair
that is best on the validation split after the last epoch is scored on the test split (of equals the
one with the lower validation loss). No epoch is picked: there is no early stopping to overfit with.
"""

import copy
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pydantic
import torch
from numpy import ndarray
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from nexus.config import Config
from nexus.evaluation.probes import class_result, vote_accuracy
from nexus.evaluation.results import ProbeResult
from nexus.evaluation.splits import SPLIT_SEED, ClassTask, Part, class_task
from nexus.evaluation.table import FeatureTable
from nexus.models.heads import AttentiveHead, AttentiveHeadConfig


class AttentiveProbeConfig(Config):
    """Settings of the attentive probe and the sweep that it is chosen from."""

    learning_rates: tuple[pydantic.PositiveFloat, ...] = (3e-4, 1e-3, 3e-3)
    weight_decays: tuple[pydantic.NonNegativeFloat, ...] = (0.01, 0.1)
    epochs: pydantic.PositiveInt = 20
    batch_size: pydantic.PositiveInt = 64
    warmup: float = pydantic.Field(default=0.1, ge=0.0, lt=1.0)
    """Share of the steps over which the learning rate rises; it falls as a cosine afterwards."""
    depth: pydantic.PositiveInt = 1
    """Attention blocks of the pooler, the cross-attention included (published probes: 4)."""
    num_heads: pydantic.PositiveInt | None = None
    """None: the largest number up to 16 that divides the width into heads of at least 16."""
    clip_norm: pydantic.PositiveFloat = 1.0
    split_seed: int = SPLIT_SEED
    """Names the 60/20/20 division of data that brings no splits."""


@dataclass(frozen=True)
class Candidate:
    """One pair of the sweep and the head that is trained with it."""

    learning_rate: float
    weight_decay: float
    head: nn.Module


def attentive_probe(
    table: FeatureTable,
    column: str,
    config: AttentiveProbeConfig | None = None,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    device: str | torch.device = "cpu",
) -> list[ProbeResult]:
    """Train and score an attentive probe on token features `(N, tokens, dim)`, once a seed.

    A seed sets the heads' initial weights and the order of the batches; the splits are the same.

    Raises:
        DataError: the column is missing or cannot be learned from; see `splits.class_task`.
        ValueError: the table holds pooled features, or a sweep without candidates.
    """
    config = config or AttentiveProbeConfig()
    if table.features.ndim != 3:
        raise ValueError(
            f"an attentive probe takes tokens, got {table.pooling} features; extract them with "
            "pooling 'tokens'"
        )
    if not config.learning_rates or not config.weight_decays:
        raise ValueError("the sweep needs at least one learning rate and one weight decay")
    task = class_task(table, column, split_seed=config.split_seed)
    return [_probe_once(table, task, config, seed, torch.device(device)) for seed in seeds]


def _probe_once(
    table: FeatureTable,
    task: ClassTask,
    config: AttentiveProbeConfig,
    seed: int,
    device: torch.device,
) -> ProbeResult:
    generator = Generator().manual_seed(seed)
    mean, deviation = _statistics(table.features, task.parts.train)
    candidates = _candidates(table.features.shape[2], len(task.classes), config, seed)
    source = _Source(table.features, task.labels, mean, deviation, device)
    for candidate in candidates:
        candidate.head.to(device)
    _train(candidates, source, task.parts.train.rows, config, generator)

    validation = task.parts.validation
    labels = torch.from_numpy(task.labels[validation.rows])
    best: tuple[tuple[float, float], Candidate] | None = None
    for candidate in candidates:
        logits = _logits(candidate.head, source, validation.rows, config.batch_size)
        score = vote_accuracy(task, validation, logits.softmax(dim=-1).numpy())
        rank = (score, -float(F.cross_entropy(logits, labels)))
        if best is None or rank > best[0]:
            best = rank, candidate
    assert best is not None  # the sweep is not empty
    (score, _), winner = best
    logits = _logits(winner.head, source, task.parts.test.rows, config.batch_size)
    return class_result(
        task,
        probe="attentive",
        scores=logits.softmax(dim=-1).numpy(),
        validation=score,
        chosen={"learning_rate": winner.learning_rate, "weight_decay": winner.weight_decay},
        seed=seed,
        notes=task.parts.notes,
    )


@dataclass(frozen=True)
class _Source:
    """Standardised batches of tokens on the device, made from the table when they are needed."""

    features: ndarray
    labels: ndarray
    mean: Tensor
    deviation: Tensor
    device: torch.device

    def tokens(self, rows: ndarray) -> Tensor:
        tokens = torch.from_numpy(self.features[rows]).to(self.device).float()
        return (tokens - self.mean.to(self.device)) / self.deviation.to(self.device)

    def targets(self, rows: ndarray) -> Tensor:
        return torch.from_numpy(self.labels[rows]).to(self.device)


def _statistics(features: ndarray, train: Part) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each feature over all training tokens, in one pass."""
    total, squares, count = 0.0, 0.0, 0
    for rows in np.array_split(train.rows, max(1, len(train.rows) // 64)):
        tokens = features[rows].reshape(-1, features.shape[2]).astype(np.float64)
        total, squares = total + tokens.sum(axis=0), squares + (tokens**2).sum(axis=0)
        count += len(tokens)
    mean = np.asarray(total / count)
    variance = np.maximum(np.asarray(squares / count) - mean**2, 0.0)
    deviation = np.sqrt(variance)
    deviation[deviation <= 1e-6] = 1.0
    return torch.from_numpy(mean).float(), torch.from_numpy(deviation).float()


def _candidates(dim: int, classes: int, config: AttentiveProbeConfig, seed: int) -> list[Candidate]:
    """All pairs of the sweep, each with the same initial weights."""
    settings = AttentiveHeadConfig(
        dim=dim,
        num_classes=classes,
        num_heads=config.num_heads or default_heads(dim),
        depth=config.depth,
    )
    pairs = itertools.product(config.learning_rates, config.weight_decays)
    # Modules draw their weights from torch's own generator, which belongs to the caller.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        start = AttentiveHead(settings)
    return [Candidate(*pair, copy.deepcopy(start)) for pair in pairs]


def default_heads(dim: int) -> int:
    """The largest number of heads up to 16 that divides `dim` into at least 16 channels each."""
    return max(
        heads for heads in range(1, 17) if dim % heads == 0 and (dim // heads >= 16 or heads == 1)
    )


def _train(
    candidates: Sequence[Candidate],
    source: _Source,
    rows: ndarray,
    config: AttentiveProbeConfig,
    generator: Generator,
) -> None:
    """Train every candidate on the same batches; their parameters never meet."""
    groups = []
    for candidate in candidates:
        named = list(candidate.head.parameters())
        shared = {"lr": candidate.learning_rate, "peak": candidate.learning_rate}
        decay = [parameter for parameter in named if parameter.ndim > 1]
        plain = [parameter for parameter in named if parameter.ndim <= 1]
        groups.append({"params": decay, "weight_decay": candidate.weight_decay, **shared})
        groups.append({"params": plain, "weight_decay": 0.0, **shared})
    optimizer = torch.optim.AdamW(groups)
    batches = math.ceil(len(rows) / config.batch_size)
    total, step = batches * config.epochs, 0
    for _ in range(config.epochs):
        order = rows[torch.randperm(len(rows), generator=generator).numpy()]
        for chosen in np.array_split(order, batches):
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * schedule(step, total, config.warmup)
            tokens, targets = source.tokens(chosen), source.targets(chosen)
            optimizer.zero_grad(set_to_none=True)
            for candidate in candidates:
                F.cross_entropy(candidate.head(tokens), targets).backward()
                nn.utils.clip_grad_norm_(candidate.head.parameters(), config.clip_norm)
            optimizer.step()
            step += 1


def schedule(step: int, total: int, warmup: float) -> float:
    """Share of the peak learning rate at a step: linear warm-up, then a cosine to zero."""
    rising = max(1, round(warmup * total))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))


@torch.no_grad()
def _logits(head: nn.Module, source: _Source, rows: ndarray, batch_size: int) -> Tensor:
    head.eval()
    parts = [
        head(source.tokens(rows[start : start + batch_size])).float().cpu()
        for start in range(0, len(rows), batch_size)
    ]
    return torch.cat(parts)
