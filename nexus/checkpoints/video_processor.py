"""transformers' video processor files: what they do to pictures, as our clips, and the way back.

`VJEPA2VideoProcessor` brings the short side to 256/224 of the crop, whatever `size` its file
states; the other processors do as their files say. What nexus does not do is an error.

Source: transformers 5.23, `models/vjepa2/video_processing_vjepa2.py`, `video_processing_utils.py`.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexus.checkpoints.clips import TrainedClips, as_published
from nexus.data.clip_spec import ClipSpec, published_resize
from nexus.data.loading.batch import MEAN_AND_STD
from nexus.errors import CheckpointError, ConfigError
from nexus.models.contract import SeenClips

PROCESSOR_FILE = "video_preprocessor_config.json"
NESTED_FILE, NESTED_KEY = "processor_config.json", "video_processor"
PROCESSOR_FILES = (NESTED_FILE, PROCESSOR_FILE, "preprocessor_config.json")
"""In the order in which transformers looks for them."""
OWN_CLASS = "VJEPA2VideoProcessor"
PLAIN_CLASS = "LlavaNextVideoVideoProcessor"
"""A processor of transformers' that does as its file says and gives `pixel_values_videos`."""
RGB, BILINEAR = 3, 2  # the latter is Pillow's number of it
STEPS = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")
PUBLISHED_CROP = 256


def processor_clips(folder: Path, trained: SeenClips) -> TrainedClips:
    """The clips that a folder's processor file makes; without one, the published ones.

    Raises:
        CheckpointError: the file is damaged, or asks for what nexus does not do to pictures.
    """
    published, (file, told) = as_published(trained), _processor_of(folder)
    if file is None or trained.in_chans != RGB:
        return published
    processor = _Processor(file, told)
    size, resize = processor.crop(), processor.resize()
    if resize < max(size):
        raise processor.refusal("size", told.get("size"), f"a short side of {max(size)} or more")
    processor.check_pixels()
    covers = set(size) == {resize}
    spec = published.spec.with_changes(size=size, resize=None if covers else resize)
    if told.get("fps"):
        try:
            spec = spec.chosen({"fps": told["fps"]})
        except ConfigError:
            raise processor.refusal("fps", told["fps"], "a rate above 0") from None
    return TrainedClips(spec, file.name, processor.notes(resize))


def processor_config(clips: ClipSpec) -> dict[str, Any]:
    """The processor file with which transformers shows what nexus shows; see `has_processor`."""
    (height, width), (mean, std) = clips.size, MEAN_AND_STD[RGB]
    short_side = clips.resize or height
    published = short_side == published_resize(height)
    return {
        "video_processor_type": OWN_CLASS if published else PLAIN_CLASS,
        "do_resize": True,
        "size": {"shortest_edge": short_side},
        "resample": BILINEAR,
        "do_center_crop": True,
        "crop_size": {"height": height, "width": width},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(mean),
        "image_std": list(std),
        "do_sample_frames": False,
        "data_format": "channels_first",
        **({"fps": clips.fps} if clips.fps else {}),
    }


def has_processor(clips: ClipSpec) -> bool:
    """Whether a processor of transformers' can show these clips: square ones, of RGB."""
    return clips.channels == RGB and len(set(clips.size)) == 1


@dataclass(frozen=True)
class _Processor:
    """A processor's file and what stands in it."""

    file: Path
    told: Mapping[str, Any]

    @property
    def is_own(self) -> bool:
        """Whether it is V-JEPA 2's, whose class fills in what its file leaves out."""
        return self.told.get("video_processor_type") in (None, OWN_CLASS)

    def value(self, key: str, published: Any) -> Any:
        """What the file says, or V-JEPA 2's class where it does not."""
        if key in self.told or self.is_own:
            return self.told.get(key, published)
        raise self.refusal(key, "not stated", f"it, {published!r} for example")

    def crop(self) -> tuple[int, int]:
        """Height and width that are cut out of the middle."""
        told = self.value("crop_size", PUBLISHED_CROP)
        sides = [told, told] if isinstance(told, int) else _sides(told)
        if not all(isinstance(side, int) and side > 0 for side in sides):
            raise self.refusal("crop_size", told, "a height and a width in pixels")
        return sides[0], sides[1]

    def resize(self) -> int:
        """Pixels that the short side is brought to before that."""
        if self.is_own:
            return published_resize(self.crop()[0])
        told = self.value("size", {"shortest_edge": PUBLISHED_CROP})
        side = told.get("shortest_edge") if isinstance(told, Mapping) else told
        if not isinstance(side, int) or (isinstance(told, Mapping) and len(told) > 1):
            raise self.refusal("size", told, "the shortest_edge alone: pictures keep their shape")
        return side

    def check_pixels(self) -> None:
        """Check that what is done to pixels is what nexus does.

        Raises:
            CheckpointError: it is something else.
        """
        for step in STEPS:
            if (told := self.value(step, True)) is not True:
                raise self.refusal(step, told, "true")
        if self.told.get("do_pad"):
            raise self.refusal("do_pad", True, "false")
        if (told := self.value("resample", BILINEAR)) != BILINEAR:
            raise self.refusal("resample", told, f"{BILINEAR} (bilinear)")
        mean, std = MEAN_AND_STD[RGB]
        numbers = {"rescale_factor": [1 / 255], "image_mean": mean, "image_std": std}
        for key, expected in numbers.items():
            told = self.value(key, expected)
            found = told if isinstance(told, list | tuple) else [told]
            if len(found) != len(expected) or not all(map(_close, found, expected)):
                raise self.refusal(key, told, ", ".join(f"{each:.6g}" for each in expected))

    def notes(self, resize: int) -> tuple[str, ...]:
        """That transformers passes over a size, where it would be another one."""
        size = self.told.get("size")
        stated = size.get("shortest_edge") if isinstance(size, Mapping) else size
        if stated in (None, resize):
            return ()
        return (
            f"{self.file.name} states a short side of {stated}, but {OWN_CLASS} brings it to "
            f"{resize}, 256/224 of the crop: so do these clips",
        )

    def refusal(self, key: str, told: Any, expected: str) -> CheckpointError:
        """What nexus cannot do, and what to do about it."""
        return CheckpointError(
            f"{self.file}: {key} is {told!r}; nexus can show pictures only with {expected}. Change "
            "the file, or remove it: the published preprocessing of V-JEPA 2 is used then"
        )


def _processor_of(folder: Path) -> tuple[Path | None, dict[str, Any]]:
    """The processor file that transformers would take, and its content."""
    for name in PROCESSOR_FILES:
        file = folder / name
        if not file.is_file():
            continue
        try:
            content = dict(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(
                f"cannot read {file}: {error}; expected a JSON mapping"
            ) from error
        if name != NESTED_FILE:
            return file, content
        if isinstance(nested := content.get(NESTED_KEY), dict):
            return file, nested
    return None, {}


def _sides(told: Any) -> list[Any]:
    return [told.get(key) for key in ("height", "width")] if isinstance(told, Mapping) else [None]


def _close(found: Any, expected: float) -> bool:
    return isinstance(found, int | float) and math.isclose(found, expected, rel_tol=1e-4)
