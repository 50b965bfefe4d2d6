"""Useful floating-point operations of a train step, by formula.

A matrix product of `(m, k)` and `(k, n)` counts `2 m k n`. The backward pass of a layer counts
twice its forward pass (gradients of its input and of its weights); the embedding of the pixels
counts once, because pixels need no gradient. The target encoder has no backward pass. What
activation checkpointing computes a second time is not useful and is not counted, nor are norms,
activations, softmax, the optimizer and the EMA.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from nexus.masks.token_mask import TokenMask
from nexus.models.ssl import VJEPAConfig


@dataclass(frozen=True)
class Flops:
    """Operations in linear layers, in the encoders' attention and in the predictor's."""

    linear: float = 0.0
    encoder_attention: float = 0.0
    predictor_attention: float = 0.0

    @property
    def total(self) -> float:
        """All of them."""
        return self.linear + self.encoder_attention + self.predictor_attention

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(
            self.linear + other.linear,
            self.encoder_attention + other.encoder_attention,
            self.predictor_attention + other.predictor_attention,
        )


def train_step(config: VJEPAConfig, masks: Sequence[TokenMask]) -> Flops:
    """One step over the clips of its masks; the target encoder sees the clip once for all."""
    batch, clip = masks[0].context.shape[0], masks[0].grid.tokens
    width, narrow = config.encoder_dim, config.predictor_dim
    one = embedding(config, clip, passes=1)
    one += encoder(config, clip, masks[0].grid.time, passes=1)
    for mask in masks:
        if mask.frames is None and config.factorized:
            raise ValueError("the formula knows factorized stacks on regular masks only")
        seen, asked = mask.context.shape[1], mask.target.shape[1]
        one += embedding(config, seen, passes=2)
        one += encoder(config, seen, mask.frames or 1, passes=3)
        one += Flops(linear=3 * 2 * seen * width * narrow)
        one += Flops(linear=3 * 2 * asked * narrow * width)
        one += predictor(config, seen + asked)
    return Flops(batch * one.linear, batch * one.encoder_attention, batch * one.predictor_attention)


def embedding(config: VJEPAConfig, tokens: int, *, passes: int) -> Flops:
    """Tubelets to tokens."""
    values = config.in_chans * config.tubelet_size * config.patch_size**2
    return Flops(linear=passes * 2 * tokens * values * config.encoder_dim)


def encoder(config: VJEPAConfig, tokens: int, frames: int, *, passes: int) -> Flops:
    """The stack over `tokens` tokens that stand in `frames` time steps."""
    dim, places = config.encoder_dim, tokens // frames
    if config.factorized:
        attention = config.num_spatial_layers * frames * attend(places, dim)
        attention += config.num_temporal_layers * places * attend(frames, dim)
    else:
        attention = config.depth * attend(tokens, dim)
    linear = config.depth * layers(tokens, dim, config.mlp_ratio)
    return Flops(linear=passes * linear, encoder_attention=passes * attention)


def predictor(config: VJEPAConfig, tokens: int) -> Flops:
    """The predictor's blocks, forward and backward; its attention is always joint."""
    depth, dim = config.num_predictor_layers, config.predictor_dim
    return Flops(
        linear=3 * depth * layers(tokens, dim, config.predictor_mlp_ratio),
        predictor_attention=3 * depth * attend(tokens, dim),
    )


def layers(tokens: int, dim: int, mlp_ratio: float) -> float:
    """The linear layers of a block: query, key, value, output and the two of the MLP."""
    return 2 * tokens * dim * (4 * dim + 2 * int(dim * mlp_ratio))


def attend(tokens: int, dim: int) -> float:
    """Scores and mixtures of one sequence in one block, over all heads."""
    return 2 * 2 * tokens**2 * dim
