"""The errors that nexus raises for reasons a user can act on.

Every message says what was got, what was expected and what to do. The command line prints these
without a traceback; anything else is a bug and keeps its traceback.
"""

import difflib
from collections.abc import Iterable

ALIKE = 0.6
"""How alike two names are, of 1, for one to be meant by the other (difflib's ratio)."""
SHOWN_NAMES = 20
"""More names than this are not listed in an error."""


class NexusError(Exception):
    """Base of all errors whose message is meant for the user."""


class ConfigError(NexusError, ValueError):
    """A configuration key or value is not acceptable."""


class VideoShapeError(NexusError, ValueError):
    """A video tensor does not fit the model that it was given to."""


class DataError(NexusError):
    """Video data on disk cannot be used."""


class CheckpointError(NexusError):
    """A checkpoint is missing, incomplete or does not match the model."""


class PlanningError(NexusError, ValueError):
    """Actions, bounds or a cost that no plan can be made with."""


class SimulatorError(NexusError, ValueError):
    """A state, an action or a setting that an environment does not have."""


class RunError(NexusError):
    """A folder is not that of a run, or what should be a file of one is something else."""


class OutputError(NexusError, OSError):
    """A result cannot be written where it is to go; `errno` as the system gave it, if it did."""

    def __init__(self, text: str, number: int | None = None) -> None:
        super().__init__(text)
        self.errno = number


class TrainingError(NexusError):
    """Training cannot go on (repeated non-finite steps, collapse under the `stop` policy, ...)."""


def did_you_mean(name: str, known: Iterable[str], where: str = "", group: str = "") -> str:
    """The end of an error about a name that there is not: what may be meant, and what there is.

    Args:
        name: as it was given.
        known: the names that there are.
        where: what lists the names where there are too many for an error; "" says nothing.
        group: what stands before the names wherever they are written: `optim.`.
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=ALIKE)
    if len(names) <= SHOWN_NAMES:
        told = f"known: {', '.join(names) or 'none'}"
    else:
        told = f"there are {len(names)}" + (f", listed in {where}" if where else "")
    if not near:
        return told
    meant = " or ".join(repr(group + one) for one in near)
    return f"did you mean {meant}? {told[0].upper()}{told[1:]}"
