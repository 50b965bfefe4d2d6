"""Attention over steps of time that remembers: each step sees itself and so many before it.

    step        0  1  2  3  4  5          window 3
    step 4 sees       *  *  *             keys and values of steps 2 and 3 are remembered, so that
                                          a step costs one step, not the whole stretch again

What a step is depends on nothing that comes after it, so a stretch worked out at once and the same
stretch worked out step by step are equal.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nexus.nn.attention import SelfAttention, attend
from nexus.nn.rotary import Rotation


@dataclass
class Memory:
    """Keys and values of the steps so far, a pair a layer.

    `steps`: how many have been; `window`: so many are kept, the next one among them. A memory of
    some rows can be `spread` over several continuations of each of them.
    """

    window: int
    steps: int = 0
    layers: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def spread(self, times: int) -> "Memory":
        """The memory of each row for so many continuations of it, one after the other."""
        layers = [(spread(key, times), spread(value, times)) for key, value in self.layers]
        return Memory(self.window, self.steps, layers)

    def extended(
        self, layer: int, key: Tensor, value: Tensor, tokens: int
    ) -> tuple[Tensor, Tensor]:
        """Keys and values that the new steps may look at, the new ones last.

        Args:
            key, value: (batch, heads, new tokens, head_dim).
            tokens: of one step.
        """
        if layer < len(self.layers):
            old_key, old_value = self.layers[layer]
            key = torch.cat([old_key, key], dim=2)
            value = torch.cat([old_value, value], dim=2)
        kept = (self.window - 1) * tokens
        held = (
            (key[:, :, -kept:], value[:, :, -kept:]) if kept else (key[:, :, :0], value[:, :, :0])
        )
        if layer < len(self.layers):
            self.layers[layer] = held
        else:
            self.layers.append(held)
        return key, value


def spread(values: Float[Tensor, "batch *rest"], times: int) -> Float[Tensor, "rows *rest"]:
    """Each row so many times, one after the other; a single row is not copied."""
    return values.unsqueeze(1).expand(-1, times, *values.shape[1:]).flatten(0, 1)


def attend_causally(
    attention: SelfAttention,
    qkv: Float[Tensor, "batch tokens dims"],
    *,
    layer: int,
    memory: Memory | None,
    tokens_per_step: int,
    allowed: Bool[Tensor, "1 1 queries keys"] | None,
    rotation: Rotation | None,
) -> Float[Tensor, "batch tokens dim"]:
    """Self-attention of some steps, and of those that a memory holds; the memory takes them in.

    Args:
        qkv: the new tokens' queries, keys and values, of the attention's own projection.
        allowed: what the new tokens may look at among the remembered and the new ones; see
            `banded`. None: everything.
        rotation: of the new tokens; what is remembered has been turned before.
    """
    batch, length, dim = *qkv.shape[:2], qkv.shape[2] // 3
    qkv = qkv.view(batch, length, 3, attention.num_heads, -1)
    query, key, value = qkv.unbind(2)
    if rotation is not None:
        query, key = rotation(qkv[:, :, :2]).unbind(2)
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    if memory is not None:
        key, value = memory.extended(layer, key, value, tokens_per_step)
    # All the weight lies on the one token there is.
    mixed = value if key.shape[2] == 1 else attend(query, key, value, allowed)
    return attention.proj(mixed.transpose(1, 2).reshape(batch, length, dim))


def banded(
    new: int, before: int, window: int, tokens: int, device: torch.device
) -> Bool[Tensor, "1 1 queries keys"] | None:
    """What `new` steps may look at after `before` remembered ones; None: everything there is.

    Args:
        window: steps that a step sees, itself among them.
        tokens: of a step.
    """
    if new == 1:  # a memory holds no more than the window
        return None
    step = torch.arange(before + new, device=device)
    ago = step[before:, None] - step[None, :]
    seen = (ago >= 0) & (ago < window)
    return seen.repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)[None, None]
