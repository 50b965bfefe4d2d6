"""Drawing a toy scene: anti-aliased shapes over a moving texture, plus sensor noise.

Everything is an analytic function of position and time (signed distances for the shapes, a few
plane waves for the texture), so motion is smooth below the pixel and frames need no resampling.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from nexus.toy.physics import Scene

SHAPES = ("disc", "square", "triangle", "cross")
_LUMA = np.array([0.299, 0.587, 0.114])

# Brightness and colour are in shares of the range from black to white. They differ little between
# clips: what stays the same throughout a clip is the easiest thing to predict, and a small encoder
# would learn it in place of motion.
BACKGROUND = 0.3
CONTRAST = (0.45, 0.55)
TINT = 0.05
WAVES = 6
WAVE_NUMBERS = 4  # at most this many periods of the texture across the field
DRIFT = (0.02, 0.12)  # the background's speed in field sides per second


@dataclass(frozen=True)
class Look:
    """The appearance of one clip, drawn without sight of its labels: `background` (3,), `texture`
    (3,) its amplitude, `bodies` and `screen` colours (n, 3), in [0, 1]; the texture's plane waves
    as `waves` (n, 2) integer periods across the field, `phases` (n,), `weights` (n,), and its
    `drift` (2,) in field sides per second; `order` (bodies,): the last one is drawn on top.
    """

    background: Float[np.ndarray, " 3"]
    texture: Float[np.ndarray, " 3"]
    bodies: Float[np.ndarray, "bodies 3"]
    screen: Float[np.ndarray, " 3"]
    waves: Float[np.ndarray, "waves 2"]
    phases: Float[np.ndarray, " waves"]
    weights: Float[np.ndarray, " waves"]
    drift: Float[np.ndarray, " 2"]
    order: np.ndarray


def draw_look(num_bodies: int, texture: float, rng: np.random.Generator) -> Look:
    """Random colours, texture and drift.

    A single body is brighter than the background. Two alternate between brighter and darker,
    starting with either, so that they can be told apart. `texture` is the sd of the background,
    in shares of the range.
    """
    level = BACKGROUND
    sign = 1.0 if num_bodies == 1 else rng.choice((-1.0, 1.0))
    signs = sign * (-1.0) ** np.arange(num_bodies)
    bodies = [_colour(level + s * rng.uniform(*CONTRAST), rng) for s in signs]
    screen = _colour(level - sign * rng.uniform(*CONTRAST), rng)
    angle = rng.uniform(0, 2 * np.pi)
    waves = rng.integers(-WAVE_NUMBERS, WAVE_NUMBERS + 1, (WAVES, 2)).astype(float)
    waves[(waves == 0).all(axis=1)] = 1.0
    weights = rng.uniform(0.5, 1.0, WAVES)
    return Look(
        background=_colour(level, rng),
        texture=texture * (1 + rng.uniform(-0.5, 0.5, 3)),
        bodies=np.stack(bodies),
        screen=screen,
        waves=waves,
        phases=rng.uniform(0, 2 * np.pi, WAVES),
        weights=weights * np.sqrt(2 / np.sum(weights**2)),
        drift=rng.uniform(*DRIFT) * np.array([np.cos(angle), np.sin(angle)]),
        order=rng.permutation(num_bodies),
    )


def _colour(luma: float, rng: np.random.Generator) -> Float[np.ndarray, " 3"]:
    tint = rng.uniform(-TINT, TINT, 3)
    return np.clip(luma + tint - tint @ _LUMA, 0.02, 0.98)


def draw(
    scene: Scene,
    look: Look,
    shape: str,
    *,
    size: int,
    fps: float,
    noise: float,
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "frames size size 3"]:
    """Render a scene, 0..255.

    `noise` is the sd of the sensor noise in shares of the range. One draw is added to all three
    channels of a pixel: colour noise would not outlive the halved colour resolution of the video
    files, and the noise level would then not be what it says.
    """
    num_frames = scene.centres.shape[1]
    pixels = ((np.arange(size) + 0.5) / size).astype(np.float32)
    video = _background(look, pixels, np.arange(num_frames) / fps)
    for body in look.order:
        x = _offset(pixels, scene.centres[body, :, 0])[:, None, :]
        y = _offset(pixels, scene.centres[body, :, 1])[:, :, None]
        _paint(video, _distance(shape, x, y, scene.radius) * size, look.bodies[body])
    for cx, cy, half_width, half_height in scene.screens:
        x = np.abs(_offset(pixels, np.array([cx])))[:, None, :]
        y = np.abs(_offset(pixels, np.array([cy])))[:, :, None]
        inside = np.maximum(x - np.float32(half_width), y - np.float32(half_height))
        _paint(video, inside * size, look.screen)
    if noise > 0:
        grain = rng.standard_normal(video.shape[1:], dtype=np.float32)
        grain *= np.float32(noise)
        video += grain
    video *= np.float32(255)
    video += np.float32(0.5)
    np.clip(video, 0, 255, out=video)
    return np.ascontiguousarray(np.moveaxis(video.astype(np.uint8), 0, -1))


def _background(
    look: Look, pixels: Float[np.ndarray, " size"], seconds: Float[np.ndarray, " frames"]
) -> Float[np.ndarray, "3 frames size size"]:
    """Plane waves split into a part along y (with time) and a part along x: two small products."""
    turn = 2 * np.pi * look.waves
    column = pixels[None, None, :] * turn[:, 1, None, None]
    column = column - (turn @ look.drift)[:, None, None] * seconds[None, :, None]
    column = (column + look.phases[:, None, None]).astype(np.float32)
    row = (pixels[None, :] * turn[:, 0, None]).astype(np.float32)
    weights = look.weights.astype(np.float32)
    # cos(a + b) = cos a cos b - sin a sin b. einsum, not BLAS: its sums have one fixed order.
    texture = np.einsum("kty,kx,k->tyx", np.cos(column), np.cos(row), weights)
    texture -= np.einsum("kty,kx,k->tyx", np.sin(column), np.sin(row), weights)
    amplitude = look.texture.astype(np.float32)[:, None, None, None]
    return texture[None] * amplitude + look.background.astype(np.float32)[:, None, None, None]


def _offset(
    pixels: Float[np.ndarray, " size"], centre: Float[np.ndarray, " frames"]
) -> Float[np.ndarray, "frames size"]:
    """Signed distance of each pixel from the nearest copy of a centre on the torus."""
    away = pixels[None, :] - centre.astype(np.float32)[:, None]
    return away - np.round(away)


def _distance(
    shape: str, x: Float[np.ndarray, "..."], y: Float[np.ndarray, "..."], radius: float
) -> Float[np.ndarray, "..."]:
    """Signed distance to a shape's edge, negative inside; the four have about equal areas."""
    r = np.float32(radius)
    if shape == "disc":
        return np.sqrt(x * x + y * y) - r
    if shape == "triangle":
        side = np.maximum(np.float32(0.8660254) * np.abs(x) - np.float32(0.5) * y, y)
        return side - np.float32(0.7) * r
    x, y = np.abs(x), np.abs(y)
    if shape == "square":
        return np.maximum(x, y) - np.float32(0.89) * r
    long, short = np.float32(1.2) * r, np.float32(0.4) * r
    return np.minimum(np.maximum(x - long, y - short), np.maximum(x - short, y - long))


def _paint(
    video: Float[np.ndarray, "3 frames size size"],
    distance: Float[np.ndarray, "..."],
    colour: Float[np.ndarray, " 3"],
) -> None:
    """Blend a colour in by the share of each pixel that the shape covers (`distance` in pixels)."""
    cover = np.clip(np.float32(0.5) - distance, 0, 1)
    colour = colour.astype(np.float32)
    for channel, value in zip(video, colour, strict=True):
        channel += cover * (value - channel)
