"""How large: a ladder of sizes around a recipe's own, each a few times as costly as the last.

Where to stop is found by trying (`nexus.fitting.choice`); here is what a rung is, around what the
videos can show and what is given already.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nexus.fitting.facts import given_value
from nexus.training.recipe import Recipe

PATCHES = (16, 8, 4)
"""Sides of a patch to choose from, pixels."""
MANY_HEADS, WIDE_HEAD = 8, 64
"""With more heads than that, a head has this width, as in the published models."""


@dataclass(frozen=True)
class Rung:
    """A size, as multiples of a recipe's own.

    Args:
        width: of the features, in encoder and predictor.
        blocks: of encoder and predictor.
        batch: clips of a step.
        side: of the pictures; the number of tokens goes with its square.
        longer: clips of so many times the usual frames, where videos hold them.
    """

    width: float = 1.0
    blocks: float = 1.0
    batch: float = 1.0
    side: float = 1.0
    longer: int = 1


LADDER = (
    Rung(width=0.75, blocks=0.75, batch=0.5),
    Rung(width=0.75, blocks=0.75),
    Rung(),
    Rung(width=1.5, blocks=1.5),
    Rung(width=2, blocks=2, side=1.5),
    Rung(width=3, blocks=2.5, side=2, batch=2),
    Rung(width=3, blocks=3, side=3.5, batch=2),
    Rung(width=6, blocks=3, side=3.5, batch=2),
    Rung(width=8, blocks=6, side=3.5, batch=2, longer=2),
)
"""From a fraction of what a small recipe needs to what keeps a large GPU busy."""
START = LADDER.index(Rung())
"""The recipe's own size, which is tried first."""


def settings_of(rung: Rung, base: Recipe, given: Mapping[str, Any], *, side: int) -> dict[str, Any]:
    """A rung as settings of `model` and `training`, around what is given.

    Args:
        base: the recipe whose size the rung is a multiple of.
        given: nested settings of a recipe that are not to be chosen.
        side: short side of the videos, pixels; pictures are not made larger than that.
    """
    own = base.model.to_mapping()

    def scaled(key: str, factor: float) -> int:
        return given_value(given, f"model.{key}") or max(1, round(own[key] * factor))

    size, patch = picture(rung, own, given, side=side)
    settings: dict[str, Any] = {"img_size": size, "patch_size": patch}
    for dim_key, heads_key in (("encoder_dim", "num_heads"), ("predictor_dim", "predictor_heads")):
        dim = scaled(dim_key, rung.width)
        heads = dim * own[heads_key] / own[dim_key]
        settings[dim_key] = dim
        settings[heads_key] = heads_for(dim, max(min(heads, MANY_HEADS), dim / WIDE_HEAD))
    spatial, temporal = own["num_spatial_layers"], own["num_temporal_layers"]
    blocks = max(1, round(rung.blocks * (spatial + temporal)))
    in_time = given_value(given, "model.num_temporal_layers")
    in_time = round(rung.blocks * temporal) if in_time is None else in_time
    settings["num_temporal_layers"] = in_time
    settings["num_spatial_layers"] = max(0 if in_time else 1, blocks - in_time)
    settings["num_predictor_layers"] = scaled("num_predictor_layers", rung.blocks)
    batch = max(1, round(base.training.batch_size * rung.batch))
    return {"model": settings, "training": {"batch_size": batch}}


def picture(
    rung: Rung, own: Mapping[str, Any], given: Mapping[str, Any], *, side: int
) -> tuple[Any, int]:
    """The picture's size and the patch's side: about as many tokens as the rung has.

    A size that no patch divides is left as it is given; the model's own check names it.
    """
    wanted = own["img_size"] * rung.side
    places = (wanted / own["patch_size"]) ** 2
    size, patch = given_value(given, "model.img_size"), given_value(given, "model.patch_size")
    patches = (patch,) if patch else tuple(dict.fromkeys((own["patch_size"], *PATCHES)))
    if size:
        sides = size if isinstance(size, list | tuple) else (size, size)
        fitting = [p for p in patches if not any(s % p for s in sides)] or list(patches)
        return size, min(fitting, key=lambda p: _apart(places, math.prod(s / p for s in sides)))
    pairs = [(int(min(wanted, side)) // p * p, p) for p in patches]
    pairs = [(s, p) for s, p in pairs if s >= 2 * p] or [(2 * min(patches), min(patches))]
    largest = max(s for s, _ in pairs)
    near = [(s, p) for s, p in pairs if s > 0.8 * largest]
    return min(near, key=lambda pair: _apart(places, (pair[0] / pair[1]) ** 2))


def heads_for(dim: int, wanted: float) -> int:
    """A number of heads that divides a width into even heads of at least 6, near the wanted one."""
    fitting = [n for n in range(1, dim // 6 + 1) if dim % n == 0 and dim // n % 2 == 0]
    return min(fitting, key=lambda n: (abs(math.log(n / wanted)), n)) if fitting else 1


def _apart(places: float, others: float) -> float:
    return abs(math.log(others / places))
