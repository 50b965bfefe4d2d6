"""Whether the state of an environment comes back exactly: what follows from it, twice."""

import copy

import numpy as np

from nexus.envs.protocol import GoalEnvironment
from nexus.errors import SimulatorError

BEFORE, AFTER = 3, 3
"""Steps before the state is saved, and those that are made twice."""
LACKS = (
    "what is saved is not all there is to know, or the environment draws at random while it runs; "
    "`state` or `get_state` has to name more, and verify=False goes on all the same"
)


def check_exact(env: GoalEnvironment, name: str) -> None:
    """Act from one state twice, and hold what came of it side by side.

    Args:
        name: as errors call the environment.

    Raises:
        SimulatorError: a picture, the proprioception or the state differs.
    """
    space = copy.deepcopy(env.action_space)
    space.seed(0)
    actions = [space.sample() for _ in range(BEFORE + AFTER)]
    env.reset(seed=0)
    for action in actions[:BEFORE]:
        env.step(action)
    kept = env.get_state()
    first = _followed(env, actions[BEFORE:])
    env.set_state(kept)
    if not np.array_equal(kept, env.get_state()):
        raise SimulatorError(f"{name}: a state that was restored is another one; {LACKS}")
    again = _followed(env, actions[BEFORE:])
    for step, (one, other) in enumerate(zip(first, again, strict=True)):
        for key, value in one.items():
            if not np.array_equal(value, other[key]):
                raise SimulatorError(
                    f"{name}: from one and the same state, {key} differs after "
                    f"{step + 1} step{'s' * (step > 0)}; {LACKS}"
                )


def _followed(env: GoalEnvironment, actions: list) -> list[dict[str, np.ndarray]]:
    """What is observed after each action, and the state."""
    return [{**env.step(action)[0], "state": env.get_state()} for action in actions]
