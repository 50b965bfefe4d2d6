"""How clips are cut and shown for weights, where nobody asks for anything else.

Weights that nexus wrote say it themselves. Others were published by people whose code brings the
short side of pictures to 256/224 of the crop, and who trained at 4 frames a second.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nexus.data.clip_spec import ClipSpec, published_resize
from nexus.errors import CheckpointError, ConfigError
from nexus.models.contract import SeenClips

CLIPS_KEY = "nexus_clips"
"""Where files that nexus writes keep their clips."""
PUBLISHED = "the published transform"
PRETRAINING_FPS = 4.0
"""Frames a second that V-JEPA 2 was trained with: for weights that do not say how fast."""


@dataclass(frozen=True)
class TrainedClips:
    """The clips of weights, and who says so."""

    spec: ClipSpec
    stated_by: str
    """For people: `PUBLISHED`, or a file."""
    notes: tuple[str, ...] = ()

    @property
    def is_published(self) -> bool:
        """Whether nothing is said of them: they are as the makers' code has them."""
        return self.stated_by == PUBLISHED


Clips = Callable[[], TrainedClips]
"""The clips of weights, read when they are asked for; raises CheckpointError if nexus cannot show
pictures as they are to be shown."""


def covering_clips(trained: SeenClips) -> ClipSpec:
    """As long and large as trained, at 4 frames a second, of pictures that just cover the size."""
    return ClipSpec.from_mapping(
        {
            "num_frames": trained.num_frames,
            "fps": PRETRAINING_FPS,
            "size": trained.image_sides,
            "channels": trained.in_chans,
        }
    ).for_evaluation()


def as_published(trained: SeenClips) -> TrainedClips:
    """As Meta's hub transform and transformers' processor show them."""
    resize = published_resize(max(trained.image_sides))
    return TrainedClips(covering_clips(trained).with_changes(resize=resize), PUBLISHED)


def kept_clips(
    stated_by: str, kept: Mapping[str, Any], trained: SeenClips, given: Mapping[str, Any]
) -> TrainedClips:
    """What a file of nexus says of its clips.

    Args:
        stated_by: the file.
        kept: a `ClipSpec`'s mapping.
        trained: settings of the model, of which the channels count.
        given: settings that the user has chosen: a size or length among them wins.

    Raises:
        CheckpointError: these are not clips.
    """
    chosen = {key: given[key] for key in ("num_frames", "img_size") if key in given}
    try:
        spec = ClipSpec.from_mapping(kept).for_evaluation().chosen(chosen)
    except (ConfigError, TypeError) as error:
        raise CheckpointError(f"{stated_by} does not say how its clips are cut: {error}") from error
    return TrainedClips(spec.with_changes(channels=trained.in_chans), stated_by)
