"""Attentive probe: a small pooler and a linear layer, trained on the tokens of a frozen encoder.

All pairs of learning rate and weight decay are trained side by side on the same batches; the pair
that is best on the validation split after the last epoch is scored on the test split (of equals the
one with the lower validation loss). No epoch is picked: there is no early stopping to overfit with.

Each head is stepped by itself, on parts of the batch whose gradients are added up: on a CPU one
stacked model (`torch.func.vmap`) is no faster (measured: a tie on one thread) and holds the
activations of all heads at the same time. What is held throughout is the tokens of one batch and,
for every head, its weights and its two Adam states (of the published 20 heads on ViT-L, 49 M
parameters each: 12 GB). Gradients and activations are those of one head and one part at a time.
"""

import copy
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from nexus.checkpoints.probe_folder import SweepRow
from nexus.config import Config
from nexus.errors import NexusError
from nexus.features.encoding import Progress, autocast
from nexus.features.tokens import TokenSource, split_rows
from nexus.models.heads import AttentiveHead, AttentiveHeadConfig
from nexus.probes.columns import ClassTask, class_task
from nexus.probes.results import FittedProbe, ProbeResult, class_result, vote_accuracy
from nexus.probes.splits import SPLIT_SEED
from nexus.probes.unfinished import Unfinished
from nexus.training.cpu import tune
from nexus.training.interrupts import Interrupts
from nexus.training.schedules import learning_rate

TOKENS_AT_ONCE = 16_384
"""Tokens that a head is shown at a time, or those of one row if it has more; a larger batch is
split. At the width of ViT-L and a depth of 4 the activations of so many take 3.5 GB."""
EPOCHS, FEWEST_STEPS = 20, 300
"""Where no number of epochs is given: those, or as many as make so many steps. From few clips a
head on an untrained encoder is not done after 20 epochs (160 clips: 24 % of eight directions after
60 steps, 42 % after 300), one on a trained encoder nearly is: it would be ahead by that alone."""
WORTH_KEEPING = 60.0
"""Seconds of training that are kept before the heads are scored."""


@dataclass(frozen=True)
class Candidate:
    """One pair of the sweep and the head that is trained with it."""

    learning_rate: float
    weight_decay: float
    head: AttentiveHead


class AttentiveProbe(Config):
    """The attentive probe and the sweep that it is chosen from; by default a small one."""

    reads: ClassVar = "tokens"
    learning_rates: tuple[pydantic.PositiveFloat, ...] = (3e-4, 1e-3, 3e-3)
    weight_decays: tuple[pydantic.NonNegativeFloat, ...] = (0.01, 0.1)
    epochs: pydantic.PositiveInt | None = None
    """None: 20, or as many as make `FEWEST_STEPS` steps where the clips are few."""
    batch_size: pydantic.PositiveInt = 64
    warmup: float = pydantic.Field(default=0.1, ge=0.0, lt=1.0)
    """Share of the steps over which the learning rate rises; it falls as a cosine afterwards."""
    depth: pydantic.PositiveInt = 1
    """Attention blocks of the pooler, the cross-attention included (published probes: 4)."""
    num_heads: pydantic.PositiveInt | None = None
    """None: the largest number up to 16 that divides the width into heads of at least 16."""
    clip_norm: pydantic.PositiveFloat | None = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    split_seed: int = SPLIT_SEED
    """Names the 60/20/20 division of data that brings no splits."""

    @property
    def name(self) -> str:
        """What the probe is called in tables: probes of another depth are other probes."""
        return "attentive" if self.depth == 1 else f"attentive, {self.depth} blocks"

    def measure(
        self,
        features: TokenSource,
        column: str,
        *,
        seeds: Sequence[int] = (0,),
        device: str | torch.device = "cpu",
    ) -> list[ProbeResult]:
        """The test results of `fit`, once a seed."""
        return [self.fit(features, column, seed=seed, device=device).result for seed in seeds]

    def fit(
        self,
        tokens: TokenSource,
        column: str,
        *,
        seed: int = 0,
        device: str | torch.device = "cpu",
        progress: Progress | None = None,
        unfinished: Unfinished | None = None,
    ) -> FittedProbe:
        """Train and score a probe on tokens.

        Args:
            tokens: a feature table of tokens, or another source of them.
            seed: sets the heads' initial weights and the order of the batches, not the splits.
            progress: called with (epochs done, epochs in all).
            unfinished: where the training is kept while it lasts; it goes on from there, to the
                same bits on a CPU as without the interruption.

        Raises:
            KeyboardInterrupt: on Ctrl-C or SIGTERM, after the step at hand is kept.
            DataError: the column is missing or cannot be learned from; see `class_task`.
            NexusError: every pair of the sweep diverged.
            ValueError: the table holds pooled features, or a sweep without candidates.
        """
        if not self.learning_rates or not self.weight_decays:
            raise ValueError("the sweep needs at least one learning rate and one weight decay")
        dim, device = tokens.dim, torch.device(device)
        task = class_task(tokens.rows, column, split_seed=self.split_seed)
        parts, generator = task.parts, Generator().manual_seed(seed)
        candidates = make_candidates(dim, len(task.classes), self, seed)
        training = HeadTraining(candidates, self, parts.train.rows, generator, device)
        training.run(tokens, task.labels, progress, unfinished)
        heads = [candidate.head for candidate in candidates]
        validated = logits_of(heads, tokens, parts.validation.rows, self, device)
        sweep = [_tried(*one, task) for one in zip(candidates, validated, strict=True)]
        best = max(range(len(sweep)), key=lambda number: _rank(sweep[number]))
        if sweep[best].loss is None:
            raise NexusError(
                f"all {len(sweep)} heads of the sweep diverged (learning rates "
                f"{min(self.learning_rates):g} to {max(self.learning_rates):g}); lower the rates "
                "or give some warm-up"
            )
        winner = candidates[best]
        [logits] = logits_of([winner.head], tokens, parts.test.rows, self, device)
        result = class_result(
            task,
            probe=self.name,
            scores=logits.softmax(dim=-1).numpy(),
            validation=sweep[best].accuracy,
            chosen={"learning_rate": winner.learning_rate, "weight_decay": winner.weight_decay},
            seed=seed,
            notes=parts.notes,
        )
        return FittedProbe(winner.head.cpu(), result, tuple(sweep))


PUBLISHED = AttentiveProbe(
    learning_rates=(1e-4, 3e-4, 1e-3, 3e-3, 5e-3),
    weight_decays=(0.01, 0.1, 0.4, 0.8),
    epochs=20,
    warmup=0.0,
    depth=4,
    clip_norm=None,
)
"""The published probe: 20 heads of 4 blocks, 20 epochs (arXiv 2506.09985, appendix; the settings
are those of the published evaluation files, but for the batch size and random crops)."""


def make_candidates(dim: int, classes: int, config: AttentiveProbe, seed: int) -> list[Candidate]:
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
    tune(start)
    return [Candidate(*pair, copy.deepcopy(start)) for pair in pairs]


def default_heads(dim: int) -> int:
    """The largest number of heads up to 16 that divides `dim` into at least 16 channels each."""
    return max(
        heads for heads in range(1, 17) if dim % heads == 0 and (dim // heads >= 16 or heads == 1)
    )


class HeadTraining:
    """The training of all candidates on the same batches; their parameters never meet.

    Args:
        rows: of the tokens, to train on.
        generator: orders the batches.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        config: AttentiveProbe,
        rows: Int[ndarray, " rows"],
        generator: Generator,
        device: torch.device,
    ) -> None:
        self.candidates, self.config, self.rows = candidates, config, rows
        self.generator, self.device = generator, device
        self.optimizers = [
            torch.optim.AdamW(
                candidate.head.to(device).parameters(),
                lr=candidate.learning_rate,
                weight_decay=candidate.weight_decay,
            )
            for candidate in candidates
        ]
        self.batches = math.ceil(len(rows) / config.batch_size)
        self.epochs = config.epochs or max(EPOCHS, math.ceil(FEWEST_STEPS / self.batches))
        self.epoch, self.taken = 0, 0
        self.order = generator.get_state()
        """What the batches of this epoch are drawn from; `taken` of them have been."""

    def run(
        self,
        tokens: TokenSource,
        labels: Int[ndarray, " table_rows"],
        progress: Progress | None = None,
        unfinished: Unfinished | None = None,
    ) -> None:
        """Train to the end, from what is `unfinished` if there is something.

        Raises:
            KeyboardInterrupt: on Ctrl-C or SIGTERM, after the step at hand is kept.
        """
        if unfinished and (kept := unfinished.load()) is not None:
            unfinished.say(self.restore(kept, unfinished.path))
        with Interrupts() if unfinished else nullcontext(Interrupts()) as interrupts:
            while self.epoch < self.epochs:
                for _ in self._epoch(tokens, labels):
                    if unfinished and (interrupts.requested or unfinished.is_due):
                        unfinished.save(self.state())
                    if interrupts.requested:
                        raise KeyboardInterrupt
                self.epoch, self.taken = self.epoch + 1, 0
                self.order = self.generator.get_state()
                if progress is not None:
                    progress(self.epoch, self.epochs)
        if unfinished and unfinished.is_older(WORTH_KEEPING):
            unfinished.save(self.state())  # scoring may take long as well

    def _epoch(self, tokens: TokenSource, labels: Int[ndarray, " table_rows"]) -> Iterator[None]:
        """What is left of an epoch; stops after each step."""
        config = self.config
        self.generator.set_state(self.order)
        order = self.rows[torch.randperm(len(self.rows), generator=self.generator).numpy()]
        parts = np.array_split(order, self.batches)[self.taken :]
        for chosen, batch in zip(parts, tokens.batches(parts), strict=True):
            step = self.epoch * self.batches + self.taken
            share = schedule(step, self.batches * self.epochs, config.warmup)
            batch = batch.to(self.device)
            targets = torch.from_numpy(labels[chosen]).to(self.device)
            for candidate, optimizer in zip(self.candidates, self.optimizers, strict=True):
                optimizer.param_groups[0]["lr"] = candidate.learning_rate * share
                train_step(candidate.head, optimizer, batch, targets, config)
            self.taken += 1
            yield

    def state(self) -> dict[str, Any]:
        """All that going on needs, as tensors and plain values."""
        return {
            "heads": [candidate.head.state_dict() for candidate in self.candidates],
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "rows": torch.tensor(self.rows),
            "order": self.order,
            "epoch": self.epoch,
            "taken": self.taken,
        }

    def restore(self, state: Mapping[str, Any], place: Path) -> str:
        """Go back to a `state()` of the same training, unless other clips can be read now; says
        which."""
        if not torch.equal(state["rows"], torch.tensor(self.rows)):
            return f"{place} is of a training with other clips; this one starts over"
        for candidate, tensors in zip(self.candidates, state["heads"], strict=True):
            candidate.head.load_state_dict(tensors)
        for optimizer, tensors in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(tensors)
        self.order, self.epoch, self.taken = state["order"], state["epoch"], state["taken"]
        return (
            f"going on from {place}: {self.epoch} of {self.epochs} epochs and {self.taken} "
            f"of {self.batches} batches of the next are done"
        )


def train_step(
    head: AttentiveHead,
    optimizer: torch.optim.Optimizer,
    tokens: Float[Tensor, "rows tokens dim"],
    targets: Int[Tensor, " rows"],
    config: AttentiveProbe,
) -> None:
    """One step of a head on a batch, part by part; its gradients are gone afterwards."""
    size = _rows_at_once(tokens)
    for part, wanted in zip(tokens.split(size), targets.split(size), strict=True):
        with autocast(config.precision, tokens.device):
            loss = F.cross_entropy(head(part), wanted)
        (loss * (len(part) / len(tokens))).backward()
    if config.clip_norm is not None:
        nn.utils.clip_grad_norm_(head.parameters(), config.clip_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def schedule(step: int, total: int, warmup: float) -> float:
    """Share of the peak learning rate at a step: linear warm-up, then a cosine to zero."""
    rising = max(1, round(warmup * total)) if warmup else 0
    return learning_rate(step, steps=total, peak=1.0, warmup_steps=rising, final=0.0)


@torch.no_grad()
def logits_of(
    heads: Iterable[AttentiveHead],
    tokens: TokenSource,
    rows: Int[ndarray, " rows"],
    config: AttentiveProbe,
    device: torch.device,
) -> list[Float[Tensor, "rows classes"]]:
    """Each head's class scores for some rows, in eval mode, float32 on the CPU."""
    heads = [head.eval() for head in heads]
    found: list[list[Tensor]] = [[] for _ in heads]
    for batch in tokens.batches(split_rows(rows, config.batch_size)):
        batch = batch.to(device)
        with autocast(config.precision, device):
            for kept, head in zip(found, heads, strict=True):
                kept += [head(part).float().cpu() for part in batch.split(_rows_at_once(batch))]
    return [torch.cat(parts) for parts in found]


def _rows_at_once(tokens: Float[Tensor, "rows tokens dim"]) -> int:
    return max(1, TOKENS_AT_ONCE // tokens.shape[1])


def _tried(candidate: Candidate, logits: Tensor, task: ClassTask) -> SweepRow:
    validation = task.parts.validation
    labels = torch.from_numpy(task.labels[validation.rows])
    loss = float(F.cross_entropy(logits, labels))
    return SweepRow(
        learning_rate=candidate.learning_rate,
        weight_decay=candidate.weight_decay,
        accuracy=vote_accuracy(task, validation, logits.softmax(dim=-1).numpy()),
        loss=loss if math.isfinite(loss) else None,
    )


def _rank(tried: SweepRow) -> tuple[float, float, float]:
    """Larger is better; a head whose scores are not finite numbers comes last."""
    return (-1.0, 0.0, 0.0) if tried.loss is None else (0.0, tried.accuracy, -tried.loss)
