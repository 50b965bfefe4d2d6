"""Pictures of a table: anti-aliased, so that a step of a hundredth of the side can be seen."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from nexus.envs.physics import Table

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Look:
    """Colours, RGB."""

    ground: Colour = (236, 232, 222)
    agent: Colour = (38, 84, 186)
    block: Colour = (214, 92, 42)
    wall: Colour = (70, 70, 76)
    stripes: Colour | None = None
    """A second colour of the ground, in diagonal stripes; None: it is plain."""


def draw(
    table: Table, look: Look, states: Float[np.ndarray, "count state"], size: int = 64
) -> UInt8[np.ndarray, "count size size 3"]:
    """What a camera above the table sees; x to the right, y downwards."""
    centres = (np.arange(size) + 0.5) / size
    x, y = centres[None, None, :], centres[None, :, None]
    shape = (len(states), size, size, 3)
    picture = np.broadcast_to(np.array(look.ground, np.float32), shape).copy()
    if look.stripes is not None:
        wave = 0.5 + 0.5 * np.clip(3 * np.sin(2 * np.pi * 5 * (x + y)), -1, 1)
        _cover(picture, wave, look.stripes)
    for left, top, right, bottom in table.walls:
        covered = _between(x, left, right, size) * _between(y, top, bottom, size)
        _cover(picture, covered, look.wall)
    discs = [(slice(2, 4), table.block_radius, look.block)] if table.block else []
    for place, radius, colour in [*discs, (slice(0, 2), table.agent_radius, look.agent)]:
        at = states[:, place, None, None]
        distance = np.hypot(x - at[:, 0], y - at[:, 1])
        _cover(picture, np.clip(0.5 + (radius - distance) * size, 0, 1), colour)
    return np.rint(picture).astype(np.uint8)


def _between(at: np.ndarray, low: float, high: float, size: int) -> np.ndarray:
    """Share of each pixel that lies between two lines."""
    half = 0.5 / size
    return np.clip((np.minimum(at + half, high) - np.maximum(at - half, low)) * size, 0, 1)


def _cover(picture: np.ndarray, covered: np.ndarray, colour: Colour) -> None:
    share = np.broadcast_to(covered, picture.shape[:3])[..., None].astype(np.float32)
    picture += share * (np.array(colour, np.float32) - picture)
