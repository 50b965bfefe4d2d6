"""Episodes played side by side: a policy acts, the environments move, and what happened is kept."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8

from nexus.control.policy import Observation, Policy
from nexus.envs import Goal, GoalEnvironment
from nexus.errors import SimulatorError

Make = Callable[[], GoalEnvironment]
"""Makes one more environment of the same kind."""


@dataclass(eq=False)
class Episode:
    """An environment with its goal, and what has happened there so far.

    `states`: from the start on, one more than steps; `frames`: the pictures of the same, where
    they are kept; `over`: it ended by itself, and is not stepped any more.
    """

    env: GoalEnvironment
    seed: int
    goal: Goal
    seen: Observation
    states: list[Float[np.ndarray, " state"]]
    frames: list[UInt8[np.ndarray, "height width 3"]] = field(default_factory=list)
    over: bool = False

    @property
    def solved(self) -> list[bool]:
        """Of each of its states."""
        return [self.env.solved(state, self.goal) for state in self.states]


def begin_episode(make: Make, seed: int, goal: Goal | None = None) -> Episode:
    """An environment at the start of this seed; so is its goal, unless one is given."""
    env = make()
    seen, _ = env.reset(seed=seed)
    goal = env.goal(seed) if goal is None else goal
    return Episode(env, seed, goal, seen, [env.get_state()])


def play(
    policy: Policy,
    episodes: Sequence[Episode],
    *,
    steps: int,
    filmed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[float]:
    """Let a policy act for so many steps, or until all episodes are over.

    Args:
        filmed: of so many episodes, the first ones, frames are kept.

    Returns:
        How long each step's `act` took, in seconds, of all environments together.

    Raises:
        SimulatorError: the policy answers something else than one action an environment.
    """
    for episode in episodes[:filmed]:
        episode.frames.append(np.array(episode.seen["pixels"]))
    policy.begin(
        [episode.seen for episode in episodes],
        [episode.goal for episode in episodes],
        [episode.seed for episode in episodes],
    )
    seconds = []
    for step in range(steps):
        if all(episode.over for episode in episodes):
            break
        seen = [episode.seen for episode in episodes]
        states = [episode.states[-1] for episode in episodes]
        began = time.perf_counter()
        actions = policy.act(seen, states)
        seconds.append(time.perf_counter() - began)
        _check(policy, actions, episodes)
        for number, (episode, action) in enumerate(zip(episodes, actions, strict=True)):
            if not episode.over:
                _step(episode, action, keep=number < filmed)
        if progress is not None:
            progress(step + 1, steps)
    return seconds


def _step(episode: Episode, action: Float[np.ndarray, " action"], *, keep: bool) -> None:
    episode.seen, _, terminated, truncated, _ = episode.env.step(action)
    episode.states.append(episode.env.get_state())
    episode.over = terminated or truncated
    if keep:
        episode.frames.append(np.array(episode.seen["pixels"]))


def _check(policy: Policy, actions: np.ndarray, episodes: Sequence[Episode]) -> None:
    space = episodes[0].env.action_space
    expected = (len(episodes), *space.shape)
    if np.shape(actions) != expected:
        raise SimulatorError(
            f"{policy.name} answers actions of shape {np.shape(actions)}; expected {expected}: one "
            "an environment"
        )
    inside = (actions >= space.low) & (actions <= space.high)
    if not inside.all():
        place, dimension = np.argwhere(~inside)[0]
        raise SimulatorError(
            f"{policy.name} leaves the bounds of the action: dimension {dimension} is "
            f"{actions[place, dimension]:g}, allowed are {space.low[dimension]:g} to "
            f"{space.high[dimension]:g}"
        )
