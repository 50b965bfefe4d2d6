"""Published V-JEPA 2 and 2.1 networks: their tensors' names and shapes, and what they compute.

Written from the published names and formulas alone, in double precision, one token dimension at a
time where that is simplest; nothing of nexus is used. `kind` is "vjepa2" or "vjepa2_1".
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Sizes:
    """The widths and depths of a published model; by default, a tiny one."""

    dim: int = 24
    depth: int = 3
    hidden: int = 60
    heads: int = 2
    levels: tuple[int, ...] = ()
    patch: int = 4
    tubelet: int = 2
    chans: int = 3
    predictor_dim: int = 16
    predictor_depth: int = 2
    predictor_hidden: int = 40
    predictor_heads: int = 2
    predicted_levels: int = 1
    mask_tokens: int = 3
    teacher: int | None = None


TINY = Sizes()
TINY_21 = Sizes(levels=(0, 2), predicted_levels=2)
DISTILLED = Sizes(levels=(0, 2), predicted_levels=1, teacher=40)
GIVEN = {"num_heads": 2, "predictor_heads": 2, "img_size": 16, "num_frames": 8}
"""What the tiny models' shapes do not tell."""
GIVEN_21 = {**GIVEN, "feature_levels": (0, 2)}


def encoder_shapes(kind: str, sizes: Sizes) -> Shapes:
    """Names and shapes of an encoder's state dict."""
    dim, patch = sizes.dim, sizes.patch
    weights = {"patch_embed.proj": (dim, sizes.chans, sizes.tubelet, patch, patch)}
    vectors: Shapes = {}
    if kind == "vjepa2_1":
        weights["patch_embed_img.proj"] = (dim, sizes.chans, 1, patch, patch)
        vectors = {"img_mod_embed": (1, 1, dim), "video_mod_embed": (1, 1, dim)}
    shapes = {f"{name}.weight": shape for name, shape in weights.items()}
    shapes |= {f"{name}.bias": (dim,) for name in weights} | vectors
    for number in range(sizes.depth):
        shapes |= block_shapes(f"blocks.{number}", dim, sizes.hidden)
    norms = ["norm"]
    if kind == "vjepa2_1":
        norms = [f"norms_block.{number}" for number in range(len(sizes.levels))]
    return shapes | {f"{name}.{end}": (dim,) for name in norms for end in ("weight", "bias")}


def predictor_shapes(kind: str, sizes: Sizes) -> Shapes:
    """Names and shapes of a predictor's state dict."""
    width, dim = sizes.dim, sizes.predictor_dim
    out = sizes.teacher or width * sizes.predicted_levels
    linear = {"predictor_embed": (dim, width), "predictor_proj": (out, dim)}
    vectors: Shapes = {}
    if kind == "vjepa2_1":
        linear["predictor_proj_context"] = (out, dim)
        vectors = {"img_mod_embed": (1, 1, dim), "video_mod_embed": (1, 1, dim)}
    if sizes.predicted_levels > 1:
        del linear["predictor_embed"]
        linear["predictor_embed.0"] = (width, width * sizes.predicted_levels)
        linear["predictor_embed.2"] = (dim, width)
    shapes = {f"{name}.weight": shape for name, shape in linear.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in linear.items()} | vectors
    shapes |= {f"mask_tokens.{number}": (1, 1, dim) for number in range(sizes.mask_tokens)}
    for number in range(sizes.predictor_depth):
        shapes |= block_shapes(f"predictor_blocks.{number}", dim, sizes.predictor_hidden)
    return shapes | {f"predictor_norm.{end}": (dim,) for end in ("weight", "bias")}


def block_shapes(prefix: str, dim: int, hidden: int) -> Shapes:
    """Names and shapes of a transformer block."""
    linear = {
        "attn.qkv": (3 * dim, dim),
        "attn.proj": (dim, dim),
        "mlp.fc1": (hidden, dim),
        "mlp.fc2": (dim, hidden),
    }
    shapes = {f"{prefix}.{name}.weight": shape for name, shape in linear.items()}
    shapes |= {f"{prefix}.{name}.bias": shape[:1] for name, shape in linear.items()}
    ends = ("weight", "bias")
    return shapes | {
        f"{prefix}.{norm}.{end}": (dim,) for norm in ("norm1", "norm2") for end in ends
    }


def action_shapes(
    *, width: int, dim: int, depth: int, hidden: int, conditions: tuple[int, int, int] = (7, 7, 6)
) -> Shapes:
    """Names and shapes of the action-conditioned predictor's state dict."""
    linear = {"predictor_embed": (dim, width), "predictor_proj": (width, dim)}
    names = ("action_encoder", "state_encoder", "extrinsics_encoder")
    linear |= {name: (dim, size) for name, size in zip(names, conditions, strict=True)}
    shapes = {f"{name}.weight": shape for name, shape in linear.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in linear.items()}
    for number in range(depth):
        shapes |= block_shapes(f"predictor_blocks.{number}", dim, hidden)
    return shapes | {f"predictor_norm.{end}": (dim,) for end in ("weight", "bias")}


def random_state(shapes: Shapes, seed: int) -> State:
    """Tensors in which every entry has a part in the result."""
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.4 * torch.randn(s, generator=generator) for name, s in shapes.items()}


def random_file(kind: str, sizes: Sizes, *, prefix: str = "") -> dict[str, object]:
    """A training checkpoint as the published code writes it."""
    parts = {
        "encoder": random_state(encoder_shapes(kind, sizes), 0),
        "target_encoder": random_state(encoder_shapes(kind, sizes), 1),
        "predictor": random_state(predictor_shapes(kind, sizes), 2),
    }
    named = {p: {prefix + name: t for name, t in s.items()} for p, s in parts.items()}
    rest = {"opt": {"state": {}, "param_groups": [{"lr": 1e-3}]}, "epoch": 3, "loss": 0.5}
    return {**named, **rest}


def random_action_file(sizes: Sizes, *, prefix: str = "") -> dict[str, State]:
    """A file of V-JEPA 2-AC: one encoder, and the predictor of width `predictor_dim`."""
    actions = action_shapes(
        width=sizes.dim,
        dim=sizes.predictor_dim,
        depth=sizes.predictor_depth,
        hidden=sizes.predictor_hidden,
    )
    parts = {"encoder": encoder_shapes("vjepa2", sizes), "predictor": actions}
    return {
        part: {prefix + name: t for name, t in random_state(shapes, seed).items()}
        for seed, (part, shapes) in enumerate(parts.items())
    }


def encode(kind: str, sizes: Sizes, state: State, video: Tensor) -> list[Tensor]:
    """Normed outputs of the levels (2.0: the final one), each `(batch, tokens, dim)`."""
    state = {name: tensor.double() for name, tensor in state.items()}
    image = kind == "vjepa2_1" and video.shape[2] == 1
    embed = "patch_embed_img.proj" if image else "patch_embed.proj"
    weight, bias = state[f"{embed}.weight"], state[f"{embed}.bias"]
    patches = F.conv3d(video.double(), weight, bias, stride=weight.shape[2:])
    grid = patches.shape[2:]
    tokens = patches.flatten(2).transpose(1, 2)
    if kind == "vjepa2_1":
        tokens = tokens + state["img_mod_embed" if image else "video_mod_embed"]
    where = places(torch.arange(math.prod(grid)).expand(len(video), -1), grid, kind)
    outputs = []
    for number in range(sizes.depth):
        tokens = block(state, f"blocks.{number}", tokens, where, sizes.heads, kind)
        outputs.append(tokens)
    if kind == "vjepa2":
        return [norm(state, "norm", tokens)]
    return [norm(state, f"norms_block.{j}", outputs[level]) for j, level in enumerate(sizes.levels)]


def predict(
    kind: str,
    sizes: Sizes,
    state: State,
    context: Tensor,
    context_index: Tensor,
    target_index: Tensor,
    grid: tuple[int, int, int],
    mask_token: int,
) -> tuple[Tensor, Tensor | None]:
    """Predictions at the targets, and at the context where there is a projection for it."""
    state = {name: tensor.double() for name, tensor in state.items()}
    if sizes.predicted_levels == 1:
        seen = linear(state, "predictor_embed", context.double())
    else:
        seen = gelu(linear(state, "predictor_embed.0", context.double()))
        seen = linear(state, "predictor_embed.2", seen)
    asked = state[f"mask_tokens.{mask_token}"].expand(len(seen), target_index.shape[1], -1)
    tokens = torch.cat([seen, asked], dim=1)
    if kind == "vjepa2_1":
        tokens = tokens + state["video_mod_embed"]
    where = places(torch.cat([context_index, target_index], dim=1), grid, kind)
    for number in range(sizes.predictor_depth):
        name = f"predictor_blocks.{number}"
        tokens = block(state, name, tokens, where, sizes.predictor_heads, kind)
    tokens = norm(state, "predictor_norm", tokens)
    at_targets = linear(state, "predictor_proj", tokens[:, seen.shape[1] :])
    if kind == "vjepa2":
        return at_targets, None
    return at_targets, linear(state, "predictor_proj_context", tokens[:, : seen.shape[1]])


def block(state: State, name: str, tokens: Tensor, where: Tensor, heads: int, kind: str) -> Tensor:
    """Pre-norm attention with turned queries and keys, then the MLP."""
    batch, length, dim = tokens.shape
    qkv = linear(state, f"{name}.attn.qkv", norm(state, f"{name}.norm1", tokens))
    query, key, value = (
        third.reshape(batch, length, heads, -1).transpose(1, 2) for third in qkv.split(dim, dim=-1)
    )
    query, key = turn(query, where, kind), turn(key, where, kind)
    share = (query @ key.transpose(-1, -2) / math.sqrt(dim // heads)).softmax(dim=-1)
    mixed = (share @ value).transpose(1, 2).reshape(batch, length, dim)
    tokens = tokens + linear(state, f"{name}.attn.proj", mixed)
    hidden = gelu(linear(state, f"{name}.mlp.fc1", norm(state, f"{name}.norm2", tokens)))
    return tokens + linear(state, f"{name}.mlp.fc2", hidden)


def turn(values: Tensor, where: Tensor, kind: str) -> Tensor:
    """Rotary positions, one dimension after another; `where` is `(batch, tokens, 3)`."""
    part = 2 * (values.shape[-1] // 3 // 2)
    turned = values.clone()
    for axis in range(3):
        for j in range(part):
            at = axis * part + j
            number = j % (part // 2) if kind == "vjepa2" else j // 2
            angle = (where[..., axis] * 10_000 ** (-number / (part / 2))).unsqueeze(1)
            partner = -values[..., at + 1] if j % 2 == 0 else values[..., at - 1]
            turned[..., at] = values[..., at] * angle.cos() + partner * angle.sin()
    return turned


def places(index: Tensor, grid: tuple[int, ...], kind: str) -> Tensor:
    """Time, row and column of tokens; 2.1 stretches rows and columns to 0 ... 15."""
    _, rows, columns = grid
    place = index % (rows * columns)
    where = [index // (rows * columns), place // columns, place % columns]
    if kind == "vjepa2_1":
        where[1] = where[1] * 15 / (rows - 1)
        where[2] = where[2] * 15 / (columns - 1)
    return torch.stack([axis.double() for axis in where], dim=-1)


def linear(state: State, name: str, values: Tensor) -> Tensor:
    return values @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def norm(state: State, name: str, values: Tensor) -> Tensor:
    centred = values - values.mean(dim=-1, keepdim=True)
    scale = (centred.square().mean(dim=-1, keepdim=True) + 1e-6).rsqrt()
    return centred * scale * state[f"{name}.weight"] + state[f"{name}.bias"]


def gelu(values: Tensor) -> Tensor:
    return values * 0.5 * (1 + torch.erf(values / math.sqrt(2)))
