"""The published action-conditioned predictor, token by token, from its tensors' published names."""

import torch
from oracles.attention import gelu, softmax_attention
from oracles.rope import turned
from torch import Tensor

State = dict[str, Tensor]


def affine(state: State, name: str, x: Tensor) -> Tensor:
    return state[f"{name}.weight"] @ x + state[f"{name}.bias"]


def layer_norm(state: State, name: str, x: Tensor) -> Tensor:
    centred = x - x.mean()
    spread = torch.sqrt((centred * centred).mean() + 1e-6)
    return centred / spread * state[f"{name}.weight"] + state[f"{name}.bias"]


def predict(
    state: State,
    features: Tensor,
    actions: Tensor,
    states: Tensor,
    extrinsics: Tensor | None = None,
    *,
    heads: int,
    sides: tuple[int, int],
    side: int,
) -> Tensor:
    """One clip: features `(time * height * width, width)`, conditions `(time, size)`.

    Args:
        sides: rows and columns of the features.
        side: rows and columns of the frames that the model was trained on.
    """
    height, width = sides
    conditions = [("action_encoder", actions), ("state_encoder", states)]
    if extrinsics is not None:
        conditions.append(("extrinsics_encoder", extrinsics))
    tokens, steps, places, patches = [], [], [], []
    for time in range(len(actions)):
        for name, values in conditions:
            tokens.append(affine(state, name, values[time]))
            steps.append(time)
            places.append((time, 0.0, 0.0))
        for row in range(height):
            for column in range(width):
                number = (time * height + row) * width + column
                patches.append(len(tokens))
                tokens.append(affine(state, "predictor_embed", features[number]))
                steps.append(time)
                places.append((time, row * side / height, column * side / width))
    depth = sum(name.endswith("norm1.weight") for name in state)
    for block in (f"predictor_blocks.{number}" for number in range(depth)):
        normed = [layer_norm(state, f"{block}.norm1", token) for token in tokens]
        qkv = [affine(state, f"{block}.attn.qkv", token) for token in normed]
        mixed = attention(qkv, steps, places, heads)
        for number, token in enumerate(tokens):
            token = token + affine(state, f"{block}.attn.proj", mixed[number])
            inner = affine(state, f"{block}.mlp.fc1", layer_norm(state, f"{block}.norm2", token))
            tokens[number] = token + affine(state, f"{block}.mlp.fc2", gelu(inner))
    return torch.stack(
        [
            affine(state, "predictor_proj", layer_norm(state, "predictor_norm", tokens[number]))
            for number in patches
        ]
    )


def attention(
    qkv: list[Tensor], steps: list[int], places: list[tuple[float, float, float]], heads: int
) -> Tensor:
    """Each token looks at those of its own and of earlier steps; queries and keys are turned."""
    dim = len(qkv[0]) // 3
    size = dim // heads
    mixed = []
    for head in range(heads):
        query, key, value = (
            [vector[part * dim + head * size : part * dim + (head + 1) * size] for vector in qkv]
            for part in range(3)
        )
        query, key = (
            [turned(vector, at, "tiled") for vector, at in zip(part, places, strict=True)]
            for part in (query, key)
        )
        mixed.append(
            softmax_attention(
                torch.stack(query),
                torch.stack(key),
                torch.stack(value),
                lambda i, j: steps[j] <= steps[i],
            )
        )
    return torch.cat(mixed, dim=1)
