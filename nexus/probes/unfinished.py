"""A training of probes that was stopped, kept in a file: the same training goes on from there."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from nexus.atomic import atomic_path
from nexus.checkpoints.pickled import read_pickled
from nexus.errors import CheckpointError, OutputError

SECONDS = 600.0
"""A crash loses no more of a training than this."""
TIMES = 20.0
"""How many times as long as a saving takes the next one is put off: large heads are gigabytes."""


@dataclass
class Unfinished:
    """Where a training is kept while it lasts.

    Args:
        path: the file; it is removed by whoever keeps the result.
        identity: names the training, so that no other one goes on from the file.
        say: told what a user should know.
        seconds, times: between two savings, and as a multiple of what one takes.
    """

    path: Path
    identity: str
    say: Callable[[str], None]
    seconds: float = SECONDS
    times: float = TIMES
    _last: float = field(default_factory=time.monotonic)
    _took: float = 0.0

    def load(self) -> Mapping[str, Any] | None:
        """What `save` was given; None where there is nothing, or something of another training."""
        if not self.path.exists():
            return None
        try:
            kept = read_pickled(self.path)
        except CheckpointError as error:
            self.say(f"{error}; the training starts over")
            return None
        if not isinstance(kept, dict) or kept.get("identity") != self.identity:
            self.say(f"{self.path} is of a training with other settings; this one starts over")
            return None
        return kept

    @property
    def is_due(self) -> bool:
        """Whether it is time to save."""
        return self.is_older(max(self.seconds, self.times * self._took))

    def is_older(self, seconds: float) -> bool:
        """Whether it is so long ago that something was saved, or that the training began."""
        return time.monotonic() - self._last >= seconds

    def save(self, state: Mapping[str, Any]) -> bool:
        """Write tensors and plain values, atomically; False (and said) where there is no room."""
        start = time.monotonic()
        try:
            with atomic_path(self.path) as temporary:
                torch.save({**state, "identity": self.identity}, temporary)
        except (OutputError, OSError) as error:
            self.say(f"the training so far cannot be kept: {error}")
            return False
        finally:
            self._last = time.monotonic()
            self._took = self._last - start
        return True

    def remove(self) -> None:
        """Remove the file, if it is there."""
        self.path.unlink(missing_ok=True)
