"""V-JEPA 2.1's encoder, predictor and losses from their formulas, one clip and one token at a time.

Modules serve as bags of weights: their blocks, norms and linear layers are worked out in
`oracles.attention`. With one level, no image layer and no modality vectors this is V-JEPA 2.
"""

import math

import torch
from oracles import attention as slow
from oracles.rope import Sides, place, stretched, turned
from torch import Tensor, nn

from nexus.masks.token_mask import TokenMask
from nexus.models.encoder import EncoderConfig, VideoEncoder
from nexus.models.predictor import MaskedPredictor
from nexus.models.ssl import VJEPAModel


def sides_of(encoder: EncoderConfig, clip: Tensor) -> Sides:
    """Token grid of a clip `(channels, frames, height, width)`; an image has one time step."""
    _, frames, height, width = clip.shape
    time = 1 if is_image(encoder, clip) else frames // encoder.tubelet_size
    return time, height // encoder.patch_size, width // encoder.patch_size


def is_image(encoder: EncoderConfig, clip: Tensor) -> bool:
    return encoder.image_input and clip.shape[1] == 1


def turner(encoder: EncoderConfig, numbers: list[int], sides: Sides) -> slow.Turn:
    """Turns a query or key by the place of the token in its row of the sequence."""
    places = [stretched(place(number, sides), sides, encoder.rope_stretch) for number in numbers]
    kind = {"rope_tiled": "tiled", "rope_interleaved": "interleaved"}[encoder.positions]
    return lambda row, vector: turned(vector, places[row], kind)


def tubelet(proj: nn.Conv3d, clip: Tensor, at: tuple[int, int, int]) -> Tensor:
    """The kernel laid over one tubelet of a clip."""
    block = clip
    for axis, (number, length) in enumerate(zip(at, proj.kernel_size, strict=True), start=1):
        block = block.narrow(axis, number * length, length)
    return (proj.weight * block).sum(dim=(1, 2, 3, 4)) + proj.bias


def encode(encoder: VideoEncoder, clip: Tensor, numbers: list[int]) -> list[Tensor]:
    """Normed features `(tokens, dim)` after each of the config's levels (none: the last block)."""
    config, sides = encoder.config, sides_of(encoder.config, clip)
    image = is_image(config, clip)
    proj = (encoder.embed_image if image else encoder.embed).proj
    tokens = torch.stack([tubelet(proj, clip, place(number, sides)) for number in numbers])
    if config.modality_embedding:
        tokens = tokens + (encoder.image_modality if image else encoder.video_modality)[0, 0]
    levels = config.feature_levels or (config.depth - 1,)
    norms = [*encoder.level_norms, encoder.norm]
    turn, features = turner(config, numbers, sides), []
    for number, block in enumerate(encoder.stack.blocks):
        tokens = slow.transform(block, tokens, turn)
        if number in levels:
            features.append(slow.layer_norm(norms[levels.index(number)], tokens))
    return features


def side_by_side(features: list[Tensor], levels: int) -> Tensor:
    """The last levels of each token, one after another."""
    chosen = features[len(features) - levels :]
    return torch.stack([torch.cat([level[i] for level in chosen]) for i in range(len(chosen[0]))])


def predict(
    predictor: MaskedPredictor,
    context: Tensor,
    seen: list[int],
    asked: list[int],
    sides: Sides,
    *,
    image: bool = False,
    mask_token: int = 0,
) -> tuple[Tensor, Tensor | None]:
    """Predictions at the asked tokens and, if it makes them, at the seen ones.

    As published, tokens are sorted by position for the blocks and brought back afterwards.
    """
    config = predictor.encoder_config
    if isinstance(predictor.embed, nn.Linear):
        embedded = slow.affine(predictor.embed, context)
    else:
        first, _, last = predictor.embed
        embedded = slow.affine(last, slow.gelu(slow.affine(first, context)))
    tokens = [*embedded, *(predictor.mask_tokens[mask_token] for _ in asked)]
    if config.modality_embedding:
        modality = predictor.image_modality if image else predictor.video_modality
        tokens = [token + modality[0, 0] for token in tokens]
    numbers = [*seen, *asked]
    order = sorted(range(len(numbers)), key=lambda row: numbers[row])
    sequence = torch.stack([tokens[row] for row in order])
    turn = turner(config, [numbers[row] for row in order], sides)
    for block in predictor.stack.blocks:
        sequence = slow.transform(block, sequence, turn)
    sequence = slow.layer_norm(predictor.norm, sequence)
    back = torch.stack([sequence[order.index(row)] for row in range(len(numbers))])
    targets = slow.affine(predictor.proj, back[len(seen) :])
    if predictor.proj_context is None:
        return targets, None
    return targets, slow.affine(predictor.proj_context, back[: len(seen)])


def normed(token: Tensor, levels: int) -> Tensor:
    """Each level of a token on its own: (x - mean) / sqrt(variance + 1e-5)."""
    parts = []
    for part in token.reshape(levels, -1):
        centred = part - part.sum() / len(part)
        parts.append(centred / torch.sqrt((centred * centred).sum() / len(part) + 1e-5))
    return torch.cat(parts)


def absolute_error(predicted: Tensor, target: Tensor) -> float:
    return sum(abs(x - y) for x, y in zip(predicted.tolist(), target.tolist(), strict=True)) / len(
        predicted
    )


def nearest(number: int, others: list[int], sides: Sides) -> float:
    """Distance of a token to the nearest of others, in tokens."""
    mine = place(number, sides)
    return min(math.dist(mine, place(other, sides)) for other in others)


def losses(model: VJEPAModel, video: Tensor, masks: tuple[TokenMask, ...]) -> tuple[float, float]:
    """Mean L1 error at the targets, and at the context weighted by 1 / sqrt(distance) (or NaN).

    Both are means over tokens and clips under each mask, then over masks.
    """
    config, levels = model.config, model.config.predicted_levels
    sums: list[tuple[float, float]] = []
    for mask in masks:
        hidden_errors, seen_errors = [], []
        for clip, seen, asked in zip(
            video, mask.context.tolist(), mask.target.tolist(), strict=True
        ):
            sides = sides_of(config, clip)
            every = list(range(math.prod(sides)))
            wanted = side_by_side(encode(model.target_encoder, clip, every), levels)
            wanted = [normed(token, levels) for token in wanted]
            context = side_by_side(encode(model.context_encoder, clip, seen), levels)
            at_targets, at_context = predict(
                model.predictor,
                context,
                seen,
                asked,
                sides,
                image=is_image(config, clip),
                mask_token=config.mask_token,
            )
            for number, token in zip(asked, at_targets, strict=True):
                hidden_errors.append(absolute_error(token, wanted[number]))
            for row in range(0 if at_context is None else len(seen)):
                number, token = seen[row], at_context[row]
                weight = 1 / math.sqrt(nearest(number, asked, sides))
                seen_errors.append(weight * absolute_error(token, wanted[number]))
        mean = sum(seen_errors) / len(seen_errors) if seen_errors else math.nan
        sums.append((sum(hidden_errors) / len(hidden_errors), mean))
    hidden, shown = zip(*sums, strict=True)
    return sum(hidden) / len(sums), sum(shown) / len(sums)
