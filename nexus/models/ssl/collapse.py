"""Collapse meters, and the doctor that reads them.

A low loss says nothing about health: a collapsed encoder predicts itself perfectly. What tells is
how much of the features depends on the content of the clip (and not on the position alone), how
many directions they use, and whether the predictor beats predictors that need no learning.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nexus.config import Config

MAX_ROWS = 512
"""Rows used for the effective rank: enough to tell one direction from many, cheap for any width."""


class DoctorConfig(Config):
    """Thresholds of the diagnosis, set from runs of a 48-d model on moving blobs (7 seeds each).

    Spread / effective rank once trained: with variance-covariance 0.6 to 0.7 / 12 to 22; without
    stop-gradient below 0.02 / 38; with momentum 0, and with the EMA alone, mostly below 0.07 / 25
    (once 0.8 / 2). An untrained encoder has a spread of 0.11 or more.
    """

    collapsed_spread: float = 0.03
    """Below this share of the features' size that depends on content, nothing is left."""
    collapsing_spread: float = 0.10
    collapsed_rank: float = 1.5
    """Effective rank at or below this: the features live on a line."""
    collapsing_rank: float = 4.0
    collapsing_rank_share: float = 0.02
    """Effective rank as a share of what width and sample count allow."""


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor says, with the reason in plain words."""

    status: Literal["healthy", "unproven", "not learning", "collapsing", "collapsed", "unknown"]
    """`unproven`: not collapsed, and too little to call it learning; see `nexus.training.health`"""
    reason: str


def diagnose(metrics: Mapping[str, float], config: DoctorConfig | None = None) -> Diagnosis:
    """Judge one reading of the meters (`measure`); the weaker of both encoders decides."""
    config = config or DoctorConfig()
    if "context_spread" not in metrics:
        return Diagnosis("unknown", "no meters in this step's metrics (a batch of one has none)")
    spreads = metrics["context_spread"], metrics["target_spread"]
    ranks = metrics["context_rank"], metrics["target_rank"]
    spread, rank, share = min(spreads), min(ranks), metrics["rank_share"]
    if any(math.isnan(value) for value in (*spreads, *ranks, share)):
        return Diagnosis("unknown", "the meters are not numbers: the features hold NaN")
    if spread < config.collapsed_spread:
        return Diagnosis(
            "collapsed",
            f"only {spread:.1%} of the features' size depends on the clip (below "
            f"{config.collapsed_spread:.0%}): every clip gets nearly the same features",
        )
    if rank <= config.collapsed_rank:
        return Diagnosis(
            "collapsed",
            f"the features use {rank:.1f} directions (effective rank at or below "
            f"{config.collapsed_rank}): they say one thing about every clip",
        )
    if spread < config.collapsing_spread:
        return Diagnosis(
            "collapsing",
            f"only {spread:.1%} of the features' size depends on the clip (below "
            f"{config.collapsing_spread:.0%})",
        )
    if rank < config.collapsing_rank:
        return Diagnosis(
            "collapsing",
            f"the features use {rank:.1f} directions (effective rank below "
            f"{config.collapsing_rank:g})",
        )
    if share < config.collapsing_rank_share:
        return Diagnosis(
            "collapsing",
            f"the features use {rank:.1f} directions, {share:.1%} of those available (below "
            f"{config.collapsing_rank_share:.0%})",
        )
    return Diagnosis(
        "healthy",
        f"{spread:.0%} of the features' size depends on the clip, effective rank {rank:.1f}",
    )


@torch.no_grad()
def centre_by_position(
    features: Float[Tensor, "batch tokens dim"],
    index: Int[Tensor, "batch tokens"],
    positions: int,
) -> Float[Tensor, "samples dim"]:
    """Features minus the batch mean at their position; positions seen once are left out.

    What is left is what depends on the clip. Scaled by sqrt(n / (n - 1)) so that the variance is
    unbiased however many clips share a position.
    """
    dim = features.shape[-1]
    flat, at = features.float().reshape(-1, dim), index.reshape(-1)
    count = torch.zeros(positions, device=flat.device).index_add(0, at, torch.ones_like(at).float())
    mean = torch.zeros(positions, dim, device=flat.device).index_add(0, at, flat)
    mean = mean / count.clamp(min=1).unsqueeze(-1)
    shared = count[at] > 1
    scale = (count / (count - 1).clamp(min=1)).sqrt()[at].unsqueeze(-1)
    return ((flat - mean[at]) * scale)[shared]


@torch.no_grad()
def effective_rank(samples: Float[Tensor, "samples dim"]) -> float:
    """RankMe: the exponential of the entropy of the singular values (arXiv 2210.02885).

    Between 1 (one direction) and `min(samples, dim)`; 0 when all samples are zero, NaN when one is
    not finite.
    """
    if samples.shape[0] > MAX_ROWS:
        keep = torch.linspace(0, samples.shape[0] - 1, MAX_ROWS, device=samples.device).long()
        samples = samples[keep]
    samples = (samples.cpu() if samples.device.type == "mps" else samples).double()
    gram = samples.T @ samples if samples.shape[1] <= samples.shape[0] else samples @ samples.T
    if not bool(torch.isfinite(gram).all()):
        return float("nan")  # the eigenvalue solver raises on these
    singular = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    total = singular.sum()
    if float(total) == 0.0:
        return 0.0
    share = singular / total
    return float(torch.exp(-(share * (share + 1e-30).log()).sum()))


@torch.no_grad()
def measure(
    name: str, features: Tensor, index: Tensor, positions: int
) -> tuple[dict[str, float], float]:
    """Meters of one encoder's features `(batch, tokens, dim)`, and the rank's share of its maximum.

    `{name}_std`: mean standard deviation of a dimension over clips, position by position.
    `{name}_spread`: share of the features' size (root mean square) that depends on the clip, from 0
    to about 1.
    `{name}_rank`: effective rank of the part that depends on the clip.
    """
    samples = centre_by_position(features, index.to(features.device), positions)
    if samples.shape[0] < 2:
        return {}, float("nan")
    energy = features.float().square().mean().clamp(min=1e-12)
    rank = effective_rank(samples)
    meters = {
        f"{name}_std": float(samples.square().mean(dim=0).sqrt().mean()),
        f"{name}_spread": float((samples.square().mean() / energy).sqrt()),
        f"{name}_rank": rank,
    }
    return meters, rank / min(samples.shape[0], samples.shape[1], MAX_ROWS)
