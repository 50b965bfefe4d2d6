"""What a benchmark of real motion holds: the clips' size, length and rate, and how many."""

from typing import Literal, Self

from pydantic import Field, model_validator

from nexus.config import Config
from nexus.mp4 import EvenSide
from nexus.shares import Shares

Task = Literal["pan", "zoom", "still"]
SPLITS = ("train", "validation", "test")


class MotionConfig(Config):
    """The clips of a benchmark of real motion.

    - `size`: side of the square clips, pixels; `seconds`, `fps`: their length and rate.
    - `train_clips`, `validation_clips`, `test_clips`: how many.
    - `tasks`: relative shares of panning, zooming and still windows.
    - `crf`: x264's quality (0 best).
    - `keyframe_every`: frames a group. 1: each frame is coded by itself. In longer groups what
      has moved leaves a trail of coding errors, which shows the way in a single frame.
    """

    size: EvenSide = Field(default=96, ge=32, le=512)
    seconds: float = Field(default=2.0, ge=0.5, le=30)
    fps: float = Field(default=16.0, ge=2, le=120)
    train_clips: int = Field(default=2400, ge=0)
    validation_clips: int = Field(default=480, ge=0)
    test_clips: int = Field(default=800, ge=0)
    tasks: Shares[Task] = Field(default={"pan": 0.4, "zoom": 0.3, "still": 0.3})
    crf: int = Field(default=20, ge=0, le=40)
    keyframe_every: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not any(self.clips.values()):
            raise ValueError("got no clips in any split; expected at least one clip")
        if self.num_frames < 4:
            raise ValueError(
                f"{self.seconds:g} s at {self.fps:g} frames a second are {self.num_frames} "
                "frames; expected at least 4"
            )
        return self

    @property
    def num_frames(self) -> int:
        """Frames a clip."""
        return round(self.seconds * self.fps)

    @property
    def clips(self) -> dict[str, int]:
        """The number of clips of each split."""
        return dict(
            zip(SPLITS, (self.train_clips, self.validation_clips, self.test_clips), strict=True)
        )
