"""Planning with a world model as the published loops do it: a plain reading, to compare with.

    published     the action-conditioned predictor of V-JEPA 2-AC and its loop: the context is
                  repeated for every candidate, every step runs the predictor over the whole
                  sequence again, and every layer makes its mask's and its rotations' numbers anew
    whole         one token a frame, action and state by AdaLN: the whole sequence again each step
    window        the same over the last frames only, as LeWM does. Once the window slides, its
                  first frame no longer knows of those before it: another function of the actions

Written from the descriptions (arXiv 2506.09985, section 3; arXiv 2603.19312), on the weights of our
own model, whose numbers they must give.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from nexus.models.worlds.predictors import AdaLNPredictor, InterleavedPredictor
from nexus.models.worlds.world import WorldModel
from nexus.nn.attention import SelfAttention
from nexus.nn.blocks import LAYER_NORM_EPS

Predict = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Frames (batch, time, tokens, dim), actions and states to the frames and states after each."""


class PlainCost:
    """How far from a goal the last frame is that actions lead to: mean absolute difference.

    Args:
        model: in eval mode, of one robot.
        latents: tokens of the frame now, (1, tokens, dim); the goal's alike.
        state: scaled, (1, state).
        scale: mean and spread of an action, as training scales them.
        window: frames that a step is given; None: all there are.
    """

    def __init__(
        self,
        model: WorldModel,
        latents: Tensor,
        state: Tensor,
        goal: Tensor,
        scale: tuple[Tensor, Tensor],
        window: int | None = None,
    ) -> None:
        self.model, self.latents, self.state, self.goal = model, latents, state, goal
        self._mean, self._std = scale
        self._window = window
        interleaved = isinstance(model.predictor, InterleavedPredictor)
        self._predict = _published if interleaved else _conditioned

    def __call__(self, actions: Tensor) -> Tensor:
        """The cost of each of (1, candidates, horizon, action)."""
        given = (actions[0] - self._mean) / self._std
        candidates, horizon = given.shape[:2]
        frames = self.latents.repeat(candidates, 1, 1).unsqueeze(1)
        states = self.state.repeat(candidates, 1).unsqueeze(1)  # of width 0 where none is known
        goal = self.goal.repeat(candidates, 1, 1)
        body = self.model.robots[0]
        first = 0
        for step in range(1, horizon + 1):
            if self._window is not None:
                first = max(0, step - self._window)
            seen, known = frames[:, first:], states[:, first:]
            done = body.action_vectors(given[:, first:step])  # pyright: ignore
            vectors = body.state_vectors(known if known.shape[-1] else None, done)  # pyright: ignore
            after, summary = self._predict(self.model, seen, done, vectors, first)
            frames = torch.cat([frames, after[:, -1:]], dim=1)
            if body.next_state is not None:  # pyright: ignore
                moved = body.next_state(summary[:, -1:])  # pyright: ignore
                states = torch.cat([states, known[:, -1:] + moved], dim=1)
        return (frames[:, -1].flatten(1) - goal.flatten(1)).abs().mean(dim=-1).unsqueeze(0)


def _published(
    model: WorldModel, frames: Tensor, actions: Tensor, states: Tensor, first: int
) -> tuple[Tensor, Tensor]:
    """The predictor of V-JEPA 2-AC over a whole sequence."""
    predictor = model.predictor
    assert isinstance(predictor, InterleavedPredictor)
    time = frames.shape[1]
    height, width = predictor.grid.height, predictor.grid.width
    x = predictor.embed(frames)
    x = torch.cat([actions.unsqueeze(2), states.unsqueeze(2), x], dim=2).flatten(1, 2)
    mask = _block_causal(time, 2 + height * width, predictor.config.window).to(x.device)
    for block in predictor.blocks:
        y = block.norm1(x)  # pyright: ignore
        x = x + _published_attention(block.attn, y, mask, time, height, width)  # pyright: ignore
        x = x + block.mlp(block.norm2(x))  # pyright: ignore
    x = predictor.norm(x.unflatten(1, (time, -1)))
    after = predictor.proj(x[:, :, 2:])
    if model.config.latent_norm == "layer":
        after = F.layer_norm(after, after.shape[-1:])
    return after, x[:, :, 1]


def _published_attention(
    attn: SelfAttention, x: Tensor, mask: Tensor, time: int, height: int, width: int
) -> Tensor:
    """Conditions apart from patches, each of a patch's three coordinates turned by itself."""
    batch, length, dim = x.shape
    heads = attn.num_heads
    part = 2 * (dim // heads // 3 // 2)
    place = torch.arange(time * height * width, device=x.device)
    frame = place // (height * width)
    row = (place - frame * height * width) // width
    column = place - frame * height * width - row * width
    x = x.view(batch, time, 2 + height * width, dim)
    conditions: list[tuple[Tensor, ...]] = []
    steps = torch.arange(time, device=x.device)
    for number in range(2):
        q, k, v = _split(attn, x[:, :, number])
        q, k = (torch.cat([_turned(t[..., :part], steps), t[..., part:]], -1) for t in (q, k))
        conditions.append((q, k, v))
    q, k, v = _split(attn, x[:, :, 2:].flatten(1, 2))
    turned = []
    for t in (q, k):
        split = t[..., : 3 * part].split(part, dim=-1)
        parts = [_turned(*one) for one in zip(split, (frame, row, column), strict=True)]
        turned.append(torch.cat([*parts, t[..., 3 * part :]], dim=-1))
    merged = []
    for number, patches in enumerate((*turned, v)):
        own = torch.stack([one[number] for one in conditions], dim=3)
        patches = patches.view(batch, heads, time, height * width, -1)
        merged.append(torch.cat([own, patches], dim=3).flatten(2, 3))
    q, k, v = merged
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return attn.proj(mixed.transpose(1, 2).reshape(batch, length, dim))


def _split(attn: SelfAttention, x: Tensor) -> tuple[Tensor, ...]:
    """Queries, keys and values, each (batch, heads, tokens, head_dim)."""
    qkv = attn.qkv(x).unflatten(-1, (3, attn.num_heads, -1))
    return qkv.permute(2, 0, 3, 1, 4).unbind(0)


def _turned(x: Tensor, position: Tensor) -> Tensor:
    """Pairs of dimensions, turned by their position."""
    half = x.shape[-1] // 2
    frequency = 1.0 / 10_000.0 ** (torch.arange(half, device=x.device) / half)
    angles = position.unsqueeze(-1) * frequency
    sin, cos = (wave.repeat_interleave(2, dim=-1) for wave in (angles.sin(), angles.cos()))
    first, second = x.unflatten(-1, (-1, 2)).unbind(dim=-1)
    return x * cos + torch.stack((-second, first), dim=-1).flatten(-2) * sin


def _block_causal(time: int, tokens: int, window: int) -> Tensor:
    """Which tokens may look at which: those of their own frame and of some before it."""
    mask = torch.zeros(time * tokens, time * tokens, dtype=torch.bool)
    for later in range(time):
        for earlier in range(max(0, later - window + 1), later + 1):
            rows, columns = (slice(t * tokens, (t + 1) * tokens) for t in (later, earlier))
            mask[rows, columns] = True
    return mask


def _conditioned(
    model: WorldModel, frames: Tensor, actions: Tensor, states: Tensor, first: int
) -> tuple[Tensor, Tensor]:
    """AdaLN over a whole sequence of frames of one token each."""
    predictor = model.predictor
    assert isinstance(predictor, AdaLNPredictor) and frames.shape[2] == 1
    batch, time = frames.shape[:2]
    condition = predictor.condition(torch.cat([actions, states], dim=-1))
    x = predictor.embed(frames[:, :, 0]) + predictor.view[0, 0] + condition
    mask = _block_causal(time, 1, predictor.config.window).to(x.device)
    steps = first + torch.arange(time, device=x.device)
    for block in predictor.blocks:
        parts = block.modulation(F.gelu(condition)).chunk(6, dim=-1)  # pyright: ignore
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = parts
        q, k, v = _split(block.attn, _normed(x) * (1 + scale) + shift)  # pyright: ignore
        part = 2 * (q.shape[-1] // 3 // 2)
        q, k = (torch.cat([_turned(t[..., :part], steps), t[..., part:]], -1) for t in (q, k))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        mixed = mixed.transpose(1, 2).reshape(batch, time, -1)
        x = x + (1 + gate) * block.attn.proj(mixed)  # pyright: ignore
        x = x + (1 + mlp_gate) * block.mlp(_normed(x) * (1 + mlp_scale) + mlp_shift)  # pyright: ignore
    x = predictor.norm(x)
    after = frames + predictor.proj(x).unsqueeze(2)
    if model.config.latent_norm == "layer":
        after = F.layer_norm(after, after.shape[-1:])
    return after, x


def _normed(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=LAYER_NORM_EPS)
