"""The errors that nexus raises for reasons a user can act on.

Every message says what was got, what was expected and what to do. The command line prints these
without a traceback; anything else is a bug and keeps its traceback.
"""


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


class RunError(NexusError):
    """A folder is not that of a run, or what should be a file of one is something else."""


class TrainingError(NexusError):
    """Training cannot go on (repeated non-finite steps, collapse under the `stop` policy, ...)."""
