"""Environments by name: ours, anybody's with the Gymnasium API, and classes of your own.

reach, push, reach-walls, push-walls        ours
pusht                                       gym-pusht (extra `envs`)
gym:ID                                      what Gymnasium knows by this id, see `AdaptedEnv`
package.module:Class                        a `GoalEnvironment` of your own

Each with its settings as a mapping: `{"kind": "push", "size": 96}`.
"""

from nexus.config import parse_overrides
from nexus.envs.adapter import AdaptedEnv
from nexus.envs.protocol import GoalEnvironment
from nexus.errors import ConfigError
from nexus.registry import Choice, Registry, split_choice

GYM = "gym:"
ENVIRONMENTS = Registry(
    "environment",
    {
        "reach": "nexus.envs.table:reach",
        "push": "nexus.envs.table:push",
        "reach-walls": "nexus.envs.table:reach_walls",
        "push-walls": "nexus.envs.table:push_walls",
        "pusht": "nexus.envs.pusht:PushT",
    },
)
PARTS = ("reset", "step", "get_state", "set_state", "goal", "solved", "action_space")
"""What an environment has to have, see `GoalEnvironment`."""


def make_environment(choice: Choice) -> GoalEnvironment:
    """The environment that a name, or a mapping with its settings, stands for.

    Raises:
        ConfigError: there is none, it does not take these settings, or it lacks something.
        SimulatorError: it refuses a setting.
    """
    name, settings = split_choice(choice, ENVIRONMENTS.what)
    if name.startswith(GYM):
        try:
            return AdaptedEnv(name.removeprefix(GYM), **settings)
        except TypeError as error:
            raise ConfigError(f"environment {name!r} does not take these settings: {error}") from (
                error
            )
    env = ENVIRONMENTS.build(choice)
    lacking = [part for part in PARTS if not hasattr(env, part)]
    if lacking:
        raise ConfigError(
            f"environment {name!r} lacks {', '.join(lacking)} (see nexus.envs.GoalEnvironment); "
            f"one that has Gymnasium's API alone is named {GYM}ID, or given to AdaptedEnv"
        )
    return env


def environment_choice(text: str) -> Choice:
    """An environment as it is typed: a name, or `{kind: push, size: 96}` as YAML has it.

    Raises:
        ConfigError: it is neither.
    """
    if not text.lstrip().startswith("{"):
        return text
    choice = parse_overrides([f"environment={text}"])["environment"]
    split_choice(choice, ENVIRONMENTS.what)
    return choice
