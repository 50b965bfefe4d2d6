"""What a comparison of control policies holds: each policy's successes, distances and times."""

from collections.abc import Mapping
from typing import Any, Literal

from nexus.runs.schema import Record, Row

PolicyRole = Literal[
    "zero", "random", "untrained", "picture", "proprioception", "both", "cloning", "oracle", "other"
]
"""What a policy is to the others of its table, whatever it is called.

zero            does nothing
random          draws its actions
untrained       plans with a model that was never trained
picture         plans with the model, and is shown the goal's picture alone
proprioception  plans with the model, and is told the goal's proprioception alone
both            plans with the model, and is given both
cloning         imitates the training episodes
oracle          plans in the true world; it is shown and never compared with
other           anything else
"""


class ControlEpisode(Row):
    """An episode: `steps_to_success` until its goal was first reached, None if it never was."""

    seed: int
    steps: int
    success_at_end: bool
    steps_to_success: int | None = None
    final_distance: float | None = None


class PolicyRow(Row):
    """A policy in one world; `shift` names what is changed there, None: nothing is.

    Successes are counts of episodes, intervals shares in [0, 1] (Wilson, 95 %). `final_distance` is
    the mean, `steps_to_success` the median of the episodes that have one. `ms`: of an action, one
    environment at a time; `ms_side_by_side`: an environment's share where all act at once.
    `settings`: what the policy was made with.
    """

    policy: str
    role: PolicyRole = "other"
    shift: str | None = None
    count: int
    dropped: int = 0
    successes_at_end: int
    successes_ever: int
    interval_at_end: tuple[float, float]
    interval_ever: tuple[float, float]
    steps_to_success: float | None = None
    final_distance: float | None = None
    ms: float | None = None
    ms_95: float | None = None
    ms_side_by_side: float | None = None
    film: str | None = None
    """A file beside the table's: the first episodes as moving pictures."""
    settings: Mapping[str, Any] = {}
    episodes: tuple[ControlEpisode, ...] = ()

    @property
    def name(self) -> tuple[str, str | None]:
        """What a row is known by."""
        return self.policy, self.shift

    @property
    def success_at_end(self) -> float:
        """Share of the episodes whose goal is reached at their end."""
        return self.successes_at_end / self.count

    @property
    def success_ever(self) -> float:
        """Share of the episodes whose goal was reached at any time."""
        return self.successes_ever / self.count


class ControlTable(Record):
    """`planning.json`: policies that were given the same starts and goals of an environment."""

    environment: str
    steps: int
    rows: tuple[PolicyRow, ...]
    command: str | None = None
    machine: str | None = None
    date: str | None = None
    notes: tuple[str, ...] = ()
