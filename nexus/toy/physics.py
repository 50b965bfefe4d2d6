"""Where everything is at each moment of a toy clip: pure trajectories, no pixels.

The field is a torus of side 1 (x to the right, y down): what leaves on one side comes in on the
other, so a uniform start makes every position equally likely in every frame. Each task has classes
whose single frames are equal in distribution, frame number by frame number; only the order of
frames tells them apart:

    direction   constant velocity at k * 45 degrees; the position stays uniform
    speed       the speed grows or falls linearly; either class is the other one played backwards
    contact     A and B approach, meet at a point, and either turn round or go on

                    pass     A ->  <- B      B  A      <- B  A ->
                    bounce   A ->  <- B      A  B      <- A  B ->

                A is bright and B dark or the other way round, and the line of approach is uniform
                over all angles, so "A on the left of B" is as likely in either class. They turn
                round at the meeting point itself (a soft, deep contact): a bounce at the rim
                would never show the overlap that passing through shows, and give itself away.
    occlusion   two screens, half a field apart; an object goes behind one of them

                    reappear   it comes out on the far side of the same screen
                    vanish     it never comes out there; its like comes out from behind the other

                A clip in which the object is simply gone would be told by any late frame (nothing
                to be seen), so in both classes one object is seen entering and one leaving. The
                two screens differ by a translation of half a field, which maps a uniform layout
                onto itself: a single frame cannot tell which screen the object went behind.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

Task = Literal["direction", "speed", "contact", "occlusion"]

TASKS: dict[Task, tuple[str, ...]] = {
    "direction": (
        "right",
        "down-right",
        "down",
        "down-left",
        "left",
        "up-left",
        "up",
        "up-right",
    ),
    "speed": ("speeding_up", "slowing_down"),
    "contact": ("bounce", "pass"),
    "occlusion": ("reappear", "vanish"),
}
"""Each motion task and its classes; directions are in steps of 45 degrees, y pointing down."""

# Lengths are in sides of the field, speeds in sides per second.
RADIUS_ALONE = (0.17, 0.2)
RADIUS = (0.11, 0.14)
RADIUS_BEHIND_SCREEN = (0.085, 0.1)
SPEED = (0.4, 0.7)
SPEED_CHANGE = 0.75  # the speed runs from (1 - this) to (1 + this) times its mean
MEETING = (0.4, 0.6)  # when contact and occlusion happen, in shares of the clip
APPROACH = (0.19, 0.23)  # largest distance of a body from the meeting point
PASSAGE = (0.43, 0.47)  # largest distance of the object from the middle of its screen
SCREEN_ALONG = 0.19  # half the screen's side along the motion: hides the whole object
SCREEN_ACROSS = 0.16


@dataclass(frozen=True)
class Scene:
    """The geometry of one clip: `centres` (bodies, frames, 2) as (x, y) on the torus, in [0, 1);
    `radius` of every body; `screens` (n, 4) as centre x, centre y, half width, half height.
    """

    centres: Float[np.ndarray, "bodies frames 2"]
    radius: float
    screens: Float[np.ndarray, "screens 4"]


def simulate(
    task: Task, label: str, *, num_frames: int, fps: float, rng: np.random.Generator
) -> Scene:
    """Draw one scene of a task and a class.

    Direction and speed move at a pace in field sides per second whatever the clip's length;
    contact and occlusion fit their one event into the clip.
    """
    seconds = np.arange(num_frames) / fps
    return _SIMULATORS[task](TASKS[task].index(label), seconds, rng)


def _unit(angle: float) -> Float[np.ndarray, " 2"]:
    return np.array([np.cos(angle), np.sin(angle)])


def _scene(centres: np.ndarray, radius: float, screens: np.ndarray | None = None) -> Scene:
    return Scene(centres % 1.0, radius, np.zeros((0, 4)) if screens is None else screens)


def _direction(label: int, seconds: np.ndarray, rng: np.random.Generator) -> Scene:
    velocity = rng.uniform(*SPEED) * _unit(label * np.pi / 4)
    centres = rng.random(2) + seconds[:, None] * velocity
    return _scene(centres[None], rng.uniform(*RADIUS_ALONE))


def _speed(label: int, seconds: np.ndarray, rng: np.random.Generator) -> Scene:
    duration = max(float(seconds[-1]), 1e-9)
    share = seconds / duration
    # The integral of a speed that runs linearly from 1 - SPEED_CHANGE to 1 + SPEED_CHANGE.
    path = share * (1 - SPEED_CHANGE + SPEED_CHANGE * share)
    if label == 1:
        path = 1 - path[::-1]
    travel = rng.uniform(*SPEED) * duration * _unit(rng.uniform(0, 2 * np.pi))
    centres = rng.random(2) + path[:, None] * travel
    return _scene(centres[None], rng.uniform(*RADIUS_ALONE))


def _before_and_after(seconds: np.ndarray, reach: float, rng: np.random.Generator) -> np.ndarray:
    """Signed distance from the event, which falls inside the clip; its larger end is `reach`."""
    duration = max(float(seconds[-1]), 1e-9)
    event = rng.uniform(*MEETING) * duration
    return (seconds - event) * (reach / max(event, duration - event))


def _contact(label: int, seconds: np.ndarray, rng: np.random.Generator) -> Scene:
    distance = _before_and_after(seconds, rng.uniform(*APPROACH), rng)
    if label == 0:
        distance = -np.abs(distance)
    offset = distance[:, None] * _unit(rng.uniform(0, 2 * np.pi))
    middle = rng.random(2)
    return _scene(np.stack([middle + offset, middle - offset]), rng.uniform(*RADIUS))


def _occlusion(label: int, seconds: np.ndarray, rng: np.random.Generator) -> Scene:
    along = _before_and_after(seconds, rng.uniform(*PASSAGE), rng)
    middle = rng.random(2)
    motion = _unit(rng.integers(4) * np.pi / 2).round()
    across = np.abs(motion[::-1])  # at right angles to the motion: from one screen to the other
    lane = np.where((along > 0) & (label == 1), 0.5, 0.0)
    centres = middle + along[:, None] * motion + lane[:, None] * across
    half = np.abs(motion) * SCREEN_ALONG + across * SCREEN_ACROSS
    places = np.stack([middle, middle + 0.5 * across]) % 1.0
    screens = np.concatenate([places, np.broadcast_to(half, (2, 2))], axis=1)
    return _scene(centres[None], rng.uniform(*RADIUS_BEHIND_SCREEN), screens)


_SIMULATORS: dict[Task, Callable[[int, np.ndarray, np.random.Generator], Scene]] = {
    "direction": _direction,
    "speed": _speed,
    "contact": _contact,
    "occlusion": _occlusion,
}
