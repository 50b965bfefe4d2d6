"""What a choice is made from: the videos in numbers, and what was given already."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nexus.data.catalog.catalog import Catalog
from nexus.data.clip_spec import ClipSpec
from nexus.fitting.movement import Movement

MOST = 0.9
"""Share of the videos that counts as most of them."""


@dataclass(frozen=True)
class VideoFacts:
    """The videos that are trained on.

    Args:
        durations: seconds of each.
        frames: native frames of each.
        rates: frames a second of each.
        short_sides: pixels of each.
        movement: of a sample of them.
    """

    durations: tuple[float, ...]
    frames: tuple[int, ...]
    rates: tuple[float, ...]
    short_sides: tuple[int, ...]
    movement: Movement = field(default_factory=Movement)

    @classmethod
    def of(cls, catalog: Catalog, movement: Movement) -> "VideoFacts":
        """Those of a catalog; of a segment the frames are those of its seconds."""
        records = catalog.records
        return cls(
            durations=tuple(record.duration for record in records),
            frames=tuple(min(r.num_frames, round(r.duration * r.fps)) for r in records),
            rates=tuple(record.fps for record in records),
            short_sides=tuple(min(record.height, record.width) for record in records),
            movement=movement,
        )

    def __len__(self) -> int:
        return len(self.durations)

    @property
    def median_seconds(self) -> float:
        """How long a video is in the median."""
        return statistics.median(self.durations)

    @property
    def common_rate(self) -> float:
        """The largest rate that most videos have or exceed, frames a second."""
        return self._most_have(self.rates)

    @property
    def common_side(self) -> int:
        """The largest short side that most videos have or exceed, pixels."""
        return int(self._most_have(self.short_sides))

    def _most_have(self, values: tuple[float, ...]) -> float:
        return sorted(values)[len(values) - math.ceil(MOST * len(values))]

    def lasts(self, clip: ClipSpec) -> float:
        """How long a clip is shown, its last frame included, seconds."""
        return clip.num_frames * (1 / clip.fps if clip.fps else clip.stride / self.common_rate)

    def different_clips(self, clip: ClipSpec) -> int:
        """Clips that the videos hold side by side; at least one each."""
        seconds = self.lasts(clip)
        return sum(max(1, int(duration / seconds + 1e-6)) for duration in self.durations)


def given_value(given: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key in nested settings; None where it is not given, or null."""
    value: Any = given
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value
