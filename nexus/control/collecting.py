"""Episodes of a policy in an environment, written as LeRobot v3.0.

step        0     1     2   ...  S-1
pictures    *     *     *         *      what is seen before acting, and the exact state there
actions      -->   -->   --> ...   -->   what the last one leads to is not recorded
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nexus.control.behaviour import EXPERT, policy_of
from nexus.control.collection import COLLECTION, Collection
from nexus.control.policy import Policy
from nexus.data.episodes.lerobot_writer import LeRobotWriter
from nexus.data.episodes.schema import Schema
from nexus.envs import GoalEnvironment
from nexus.errors import DataError, SimulatorError

CAMERA = "camera"
RATE = 10
"""Control steps a second, where an environment does not say it."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Collected:
    """What came of it.

    `episodes`, `steps`: in the folder; `made`: episodes of this call; `short`: those of them that
    the environment ended before their last step; `solved`: those that reached their goal, None
    where nobody tried.
    """

    folder: Path
    episodes: int
    steps: int
    made: int
    short: int
    solved: int | None


@dataclass(frozen=True, eq=False)
class Played:
    """An episode: an entry a step in each. `states` is None where a simulator cannot tell."""

    pictures: np.ndarray
    own: np.ndarray
    actions: np.ndarray
    states: np.ndarray | None
    solved: bool
    ended: bool


def collect(
    env: GoalEnvironment,
    collection: Collection,
    folder: str | Path,
    *,
    progress: Progress | None = None,
) -> Collected:
    """Write episodes until there are as many as are asked for; a folder goes on where it was.

    An episode that was written is on the disk for good: a process that is killed loses the one that
    it was making. The next call makes that one again, as it would have been.

    Args:
        env: the environment of the collection; its state afterwards means nothing.
        progress: called with (episodes there are, all of them).

    Raises:
        DataError: the folder was begun otherwise, or is damaged.
        SimulatorError: the environment has no such policy, or actions that cannot be recorded.
        OutputError: something else lies in the folder, or it cannot be written.
    """
    folder = Path(folder)
    policy = policy_of(env, collection.policy)
    first = _observed(env, collection.reset_seeds[0])
    kept, asked = Collection.of(folder), collection.episodes
    if kept is not None:
        try:
            collection = collection.going_on(kept)
        except DataError as error:
            raise DataError(f"{folder}: {error}") from error
    made = short = solved = steps = 0
    with _writer(env, first, collection, folder) as out:
        if kept is None and len(out):
            raise DataError(
                f"{folder} holds {len(out)} episodes, and no {COLLECTION}: they were not "
                "collected; name another folder"
            )
        collection.write(folder)
        task = f"{_name(collection)}: {collection.policy}"
        for index in range(len(out), asked):
            played = play(env, policy, collection.reset_seeds[index], collection.steps)
            out.add_episode(
                frames={CAMERA: played.pictures},
                actions=played.actions,
                states=played.own if played.own.shape[1] else None,
                environment_states=played.states,
                task=task,
            )
            made += 1
            short += played.ended
            solved += played.solved
            if progress is not None:
                progress(index + 1, asked)
        episodes, steps = len(out), out.steps
    tried = collection.policy == EXPERT
    return Collected(folder, episodes, steps, made, short, solved if tried else None)


def play(env: GoalEnvironment, policy: Policy, seed: int, steps: int) -> Played:
    """An episode: a function of the environment, the policy and the seed alone.

    An expert's ends with the step at which its goal is reached.
    """
    tries, knows = policy.name == EXPERT, _knows_states(env)
    goals = [env.goal(seed)] if tries else []
    observation = _observed(env, seed)
    policy.begin([observation], goals, [seed])
    space: Any = env.action_space
    pictures, own, actions, states = [], [], [], []
    solved = ended = False
    for _ in range(steps):
        state = env.get_state() if knows else np.zeros(0)
        [wish] = policy.act([observation], [state])
        # What is recorded is what is done, to the bit.
        action = np.clip(np.asarray(wish, np.float32), space.low.ravel(), space.high.ravel())
        pictures.append(observation["pixels"])
        own.append(observation["proprioception"])
        actions.append(action)
        states.append(state)
        solved = tries and env.solved(state, goals[0])
        if solved:
            break
        observation, _, terminated, truncated, _ = env.step(action.reshape(space.shape))
        if terminated or truncated:
            ended = len(actions) < steps
            break
    exact = np.stack(states) if knows else None
    return Played(np.stack(pictures), np.stack(own), np.stack(actions), exact, solved, ended)


def _writer(
    env: GoalEnvironment, first: Any, collection: Collection, folder: Path
) -> LeRobotWriter:
    rate = getattr(env, "metadata", {}).get("render_fps") or RATE
    if rate != int(rate):
        raise SimulatorError(
            f"the environment has {rate:g} control steps a second; LeRobot has whole numbers alone "
            "(an adapted environment takes `fps`)"
        )
    rate, space = int(rate), env.action_space
    named = _named(env, "action_names", "action", int(np.prod(space.shape)))
    bounds = zip(named, space.low.ravel().tolist(), space.high.ravel().tolist(), strict=True)
    dimensions = [
        {"name": name, "low": _finite(low), "high": _finite(high)} for name, low, high in bounds
    ]
    own = _named(env, "proprioception_names", "own", len(first["proprioception"]))
    states: Sequence[str] = ()
    if _knows_states(env):
        states = _named(env, "state_names", "state", len(env.get_state()))
    height, width = first["pixels"].shape[:2]
    return LeRobotWriter(
        folder,
        fps=rate,
        action=Schema.from_mapping({"dimensions": dimensions, "rate": rate}),
        state=Schema.plain(list(own), rate) if own else None,
        environment=Schema.plain(list(states), rate) if states else None,
        cameras={CAMERA: (height, width)},
        robot_type=_name(collection),
        codec=collection.codec,
    )


def _observed(env: GoalEnvironment, seed: int) -> dict[str, np.ndarray]:
    return env.reset(seed=seed)[0]


def _knows_states(env: GoalEnvironment) -> bool:
    """An adapted environment may have none."""
    return getattr(env, "has_state", True)


def _named(env: GoalEnvironment, attribute: str, what: str, count: int) -> Sequence[str]:
    """The environment's own names for its numbers, or `state_0`, `state_1`, ..."""
    names = getattr(env, attribute, None)
    return names if names and len(names) == count else [f"{what}_{i}" for i in range(count)]


def _name(collection: Collection) -> str:
    told = collection.environment
    return told if isinstance(told, str) else str(told["kind"])


def _finite(bound: float) -> float | None:
    return bound if np.isfinite(bound) else None
