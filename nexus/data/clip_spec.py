"""Which clips: the frames of a video, how large they are shown, how many clips, joined or not."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import pydantic

from nexus.config import Config
from nexus.errors import ConfigError


def _square(size: Any) -> Any:
    return (size, size) if isinstance(size, int) else size


Size = Annotated[
    tuple[pydantic.PositiveInt, pydantic.PositiveInt], pydantic.BeforeValidator(_square)
]
"""Height and width in pixels; a number stands for both."""

CHOICES = (
    *("num_frames", "fps", "stride", "size", "resize", "short_side", "clips_per_video", "join"),
    "pad",
)
"""What a user may choose of the clips of given weights; the rest is random or belongs to them."""


def published_resize(side: int) -> int:
    """Pixels that Meta's hub transform and transformers bring the short side to before they crop.

    Args:
        side: of the crop.
    """
    return int(side * 256 / 224)


class ClipSpec(Config):
    """How clips are cut from videos and shown: the same value in training and everywhere after it.

    Exactly one mode: `fps` (frames per second of the clip, by time) or `stride` (every stride-th
    native frame; `fps` stays None). An `fps` above the video's own shows frames more than once.

    - `sampling`: "random" draws the start anew each epoch; "center" takes the middle; "uniform"
      spreads `clips_per_video` clips evenly from the first to the last possible start.
    - `clips_per_video`: clips taken from each video in one epoch. Raise it for a small folder of
      long videos.
    - `jitter`: each frame moves by up to this share of the frame step (below 0.5, so that frames
      keep their order).
    - `reversal`: probability of playing a clip backwards. Off by default, and rarely right: a
      model that is to predict what happens next is shown effects before causes, and labels such as
      a direction of motion, opening or closing become wrong.
    - `pad`: "error" refuses videos that are too short; "repeat_last" fills up with the last frame.
    - `size`: height and width that a model is shown, pixels: pictures are resized and cropped in
      the middle, or as an augmentation draws.
    - `resize`: pixels that the short side is brought to, up or down, before that middle is cropped;
      None: pictures just cover `size`. An augmentation draws its crop from the whole picture.
    - `channels`: 3 for RGB, 1 for luma.
    - `short_side`: videos larger than this are reduced to it (antialiased) before anything else is
      done with their pictures. None keeps full size.
    - `join`: a probe pools the tokens of a video's clips together, as published (2 clips for
      Something-Something), instead of averaging what it says of each.
    """

    num_frames: int = pydantic.Field(default=16, ge=1)
    fps: float | None = pydantic.Field(default=None, gt=0, allow_inf_nan=False)
    stride: int = pydantic.Field(default=1, ge=1)
    sampling: Literal["random", "center", "uniform"] = "random"
    clips_per_video: int = pydantic.Field(default=1, ge=1)
    jitter: float = pydantic.Field(default=0.0, ge=0, lt=0.5)
    reversal: float = pydantic.Field(default=0.0, ge=0, le=1)
    pad: Literal["error", "repeat_last"] = "error"
    size: Size = (224, 224)
    channels: Literal[1, 3] = 3
    resize: int | None = pydantic.Field(default=None, ge=1)
    short_side: int | None = pydantic.Field(default=None, ge=1)
    join: bool = False

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.fps is not None and self.stride != 1:
            raise ValueError(
                f"got fps={self.fps} and stride={self.stride}; give one of them: fps samples by "
                "time, stride by native frames"
            )
        if self.sampling == "center" and self.clips_per_video != 1:
            raise ValueError(
                f"sampling 'center' gives one clip, got clips_per_video={self.clips_per_video}; "
                "use sampling 'uniform'"
            )
        if self.sampling != "random" and (self.jitter or self.reversal):
            raise ValueError(
                f"jitter and reversal are random, sampling {self.sampling!r} is not; set both to 0"
            )
        if self.resize is not None and self.resize < max(self.size):
            raise ValueError(
                f"resize is {self.resize} and size {self.picture}: the size is cut out of the "
                f"resized picture; give a resize of {max(self.size)} or more, or none"
            )
        return self

    def for_evaluation(self, clips_per_video: int = 1) -> Self:
        """The same frames per clip, rate and pictures, without any random draw."""
        return self.with_changes(
            sampling="uniform", clips_per_video=clips_per_video, jitter=0.0, reversal=0.0
        )

    def seconds(self, native_fps: float) -> float:
        """From a clip's first frame to its last, in a video of this many frames a second."""
        return (self.num_frames - 1) * (1 / self.fps if self.fps else self.stride / native_fps)

    def chosen(self, choices: Mapping[str, Any]) -> Self:
        """With what a user wants otherwise: some of `CHOICES`; None leaves a setting as it is.

        `img_size` is another name of `size`, and `pad` may be a bool. A rate takes the place of a
        stride, and the other way round. With another size, `resize` keeps its share of it.

        Raises:
            ConfigError: another key, or a value that is not acceptable.
        """
        given = {key: value for key, value in choices.items() if value is not None}
        if "img_size" in given:
            given["size"] = given.pop("img_size")
        if unknown := [key for key in given if key not in CHOICES]:
            raise ConfigError(
                f"unknown choice of clips {', '.join(map(repr, unknown))}; known: "
                f"{', '.join(CHOICES)}, img_size (the same as size)"
            )
        if isinstance(given.get("pad"), bool):
            given["pad"] = "repeat_last" if given["pad"] else self.pad
        if "fps" in given:
            given = {"stride": 1, **given}
        elif "stride" in given:
            given = {"fps": None, **given}
        if self.resize is None or "size" not in given or "resize" in given:
            return self.with_changes(**given)
        other = self.with_changes(**given, resize=None)
        return other.with_changes(resize=self._resize_for(max(other.size)))

    def _resize_for(self, side: int) -> int:
        """`resize` for a crop of another side: by the published rule, or in proportion."""
        assert self.resize is not None
        own = max(self.size)
        if self.resize == published_resize(own):
            return published_resize(side)
        return round(self.resize * side / own)

    def __str__(self) -> str:
        """For people: `clips of 8 frames at 4 a second of 32 x 32 pixels`."""
        told = f"clips of {self.num_frames} frames {self.pace} of {self.picture} pixels"
        return told if self.resize is None else f"{told}, cut out of a short side of {self.resize}"

    @property
    def pace(self) -> str:
        """For people: `at 4 a second`, `with a stride of 2`."""
        return f"at {self.fps:g} a second" if self.fps else f"with a stride of {self.stride}"

    @property
    def picture(self) -> str:
        """For people: `32 x 32`."""
        return " x ".join(map(str, self.size))
