"""What a clip measures: the part of a sample that a training run may change on its way."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClipShape:
    """Frames of a clip, and height and width of its pictures in pixels."""

    num_frames: int
    size: tuple[int, int]
