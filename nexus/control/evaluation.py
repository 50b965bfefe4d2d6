"""How often a policy reaches goals that were never seen in training, how far off it ends, how fast.

reset(seed) -> start     goal(seed) -> goal     same starts and goals for every policy
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from nexus.control.playing import Episode, Make, begin_episode, play
from nexus.control.policy import Policy
from nexus.envs import Goal
from nexus.errors import SimulatorError
from nexus.runs.control import ControlEpisode

FILMED = 10
"""Of so many episodes, the first ones, frames are kept."""
TIMED_EPISODES, TIMED_STEPS = 2, 10
"""How many episodes are played one at a time, and how far, to see how long an action takes."""


@dataclass(frozen=True, eq=False)
class Film:
    """An episode in pictures; there is one frame more than steps. `solved`: at its end."""

    frames: UInt8[np.ndarray, "frames height width 3"]
    goal: UInt8[np.ndarray, "height width 3"]
    solved: bool


@dataclass(frozen=True, eq=False)
class PolicyResult:
    """What a policy reached.

    `dropped`: seeds whose start satisfies the goal already; `seconds`: what each step's `act`
    took, of all episodes side by side; `seconds_alone`: the same with one environment at a time.
    """

    policy: str
    episodes: tuple[ControlEpisode, ...]
    dropped: tuple[int, ...]
    films: tuple[Film, ...]
    seconds: tuple[float, ...]
    seconds_alone: tuple[float, ...]


def evaluate(
    policy: Policy,
    make: Make,
    seeds: Sequence[int],
    *,
    steps: int,
    goals: Sequence[Goal] | None = None,
    timed_steps: int = TIMED_STEPS,
    filmed: int = FILMED,
    progress: Callable[[int, int], None] | None = None,
) -> PolicyResult:
    """Let a policy act from the starts of these seeds, all environments side by side.

    An episode goes on after its goal is reached, so that success at the end and success at any
    time can differ.

    Args:
        steps: control steps an episode, unless the environment ends it before.
        goals: one a seed; None: those that the environment draws from the seeds.
        timed_steps: steps that some episodes are played one at a time afterwards, for the time of
            an action; 0: none are.
        filmed: of so many episodes, the first ones, frames are kept.

    Raises:
        SimulatorError: every start satisfies its goal, or the policy answers with something else
            than actions within the bounds.
    """
    given = [None] * len(seeds) if goals is None else goals
    drawn = [begin_episode(make, *pair) for pair in zip(seeds, given, strict=True)]
    episodes = [episode for episode in drawn if not episode.solved[0]]
    dropped = tuple(episode.seed for episode in drawn if episode.solved[0])
    if not episodes:
        raise SimulatorError(
            f"nothing to do: {len(dropped)} starts were drawn, and each satisfies its goal already"
        )
    seconds = play(policy, episodes, steps=steps, filmed=filmed, progress=progress)
    alone: list[float] = []
    for episode in episodes[:TIMED_EPISODES] if timed_steps else ():
        again = begin_episode(make, episode.seed, episode.goal)
        alone += play(policy, [again], steps=min(timed_steps, steps))
    return PolicyResult(
        policy=policy.name,
        episodes=tuple(map(_row, episodes)),
        dropped=dropped,
        films=tuple(map(_film, episodes[:filmed])),
        seconds=tuple(seconds),
        seconds_alone=tuple(alone),
    )


def _row(episode: Episode) -> ControlEpisode:
    solved = episode.solved
    distance = getattr(episode.env, "distance", None)
    return ControlEpisode(
        seed=episode.seed,
        steps=len(episode.states) - 1,
        success_at_end=solved[-1],
        steps_to_success=solved.index(True) if any(solved) else None,
        final_distance=distance and float(distance(episode.states[-1], episode.goal)),
    )


def _film(episode: Episode) -> Film:
    return Film(np.stack(episode.frames), episode.goal.pixels, episode.solved[-1])
