"""Ways to act that episodes are collected with: random actions anywhere, others where there are."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gymnasium import spaces

from nexus.control.policy import Policy
from nexus.control.wandering import Wandering
from nexus.errors import SimulatorError, did_you_mean

RANDOM, PLAY, EXPERT = "random", "play", "expert"


class OffersPolicies(Protocol):
    """An environment that has policies of its own.

    Names are free, but two have a meaning: `play` moves about what there is, in many ways, and
    `expert` reaches the goals of `goal(seed)`. They may look at exact states.
    """

    def policies(self) -> Mapping[str, Callable[[], Policy]]:
        """Makers of policies, by name."""
        ...


def policy_of(env: Any, name: str) -> Policy:
    """The policy of this name in an environment.

    Raises:
        SimulatorError: the environment has none of this name.
    """
    if not isinstance(env.action_space, spaces.Box):
        raise SimulatorError(
            f"actions are {env.action_space}; expected numbers (a Box): a robot's, to be recorded"
        )
    if name == RANDOM:
        return Wandering(env.action_space)
    offered = env.policies() if hasattr(env, "policies") else {}
    if name not in offered:
        raise SimulatorError(
            f"{type(env).__name__} has no policy {name!r}; {did_you_mean(name, [RANDOM, *offered])}"
        )
    return offered[name]()
