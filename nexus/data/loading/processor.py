"""Frames as a user has them to what an encoder is shown, by the same rules as in training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from nexus.data.catalog.catalog import Catalog, Problem, scan
from nexus.data.clip_spec import ClipSpec
from nexus.data.clips import FrameTimes, choose_clip
from nexus.data.loading.augment import to_gray
from nexus.data.loading.batch import normalise
from nexus.data.loading.clip_source import ClipSource
from nexus.data.pictures import collect
from nexus.data.views import CenterView, ReducedView
from nexus.errors import DataError

CHANNELS = (1, 3)


class ClipProcessor:
    """Model input for the weights that `spec` belongs to: `inputs = processor(frames)`.

    A file gives the clip in its middle, at the rate and length of `spec`. Frames at hand are taken
    as the clip that they are, unless `fps`, their own rate, is given: then the clip is cut from
    their middle as from a file. Pictures are resized to `spec.resize` (None: until they cover
    `spec.size`), cropped in the middle and normalised.
    """

    def __init__(self, spec: ClipSpec) -> None:
        self.spec = spec.for_evaluation()

    def __call__(
        self, videos: Any, *, fps: float | None = None
    ) -> Float[Tensor, "batch channels time height width"]:
        """Normalised clips, one a video.

        Args:
            videos: a path (a video, or a folder of numbered pictures); the frames of a video as a
                uint8 array or tensor, (time, height, width, channels) or (time, channels, height,
                width), or as a list of PIL images or of arrays (height, width[, channels]); or a
                batch: a list of videos, or an array of five dimensions.
            fps: rate of the frames that are given.

        Raises:
            DataError: a file cannot be read or is too short, or what is given is no video.
        """
        batch = videos if _is_batch(videos) else [videos]
        clips = [self._clip(video, fps) for video in batch]
        if len({clip.shape for clip in clips}) > 1:
            raise DataError(
                "the videos of a batch give clips of different lengths: "
                f"{', '.join(str(clip.shape[1]) for clip in clips)} frames; give their fps, or as "
                "many frames each"
            )
        return normalise(torch.stack(clips))

    def _clip(self, video: Any, fps: float | None) -> UInt8[Tensor, "channels time height width"]:
        if isinstance(video, str | Path):
            return self._clip_of_file(video)
        frames = _frames(video)
        if fps is not None:
            times = FrameTimes(len(frames), fps)
            frames = frames[choose_clip(times, self.spec, np.random.default_rng(0)).indices]
        view: Any = CenterView(self.spec.size, self.spec.resize)
        if self.spec.short_side is not None:
            view = ReducedView(self.spec.short_side, view)
        shown = torch.from_numpy(collect(iter(frames), np.arange(len(frames)), view))
        return self._channels(shown.permute(3, 0, 1, 2))

    def _clip_of_file(self, path: str | Path) -> Tensor:
        catalog = scan(path, workers=0)
        if len(catalog.records) != 1:
            problems = "; ".join(problem.reason for problem in catalog.problems)
            raise DataError(
                f"{path} holds {len(catalog.records)} usable videos, expected one"
                + (f" ({problems})" if problems else "")
            )
        whole = Catalog(catalog.source, catalog.records, ())
        spec = self.spec.with_changes(clips_per_video=1)
        sample = ClipSource(spec, whole).dataset().sample(0, seed=0, epoch=0)
        if isinstance(sample, Problem):
            raise DataError(f"{path}: {sample.reason}")
        return sample.video

    def _channels(self, clip: Tensor) -> Tensor:
        return to_gray(clip) if self.spec.channels == 1 else clip


def _is_batch(videos: Any) -> bool:
    """Whether these are several videos; a list of pictures is one."""
    if isinstance(videos, np.ndarray | Tensor):
        return videos.ndim == 5
    if isinstance(videos, str | Path | Image.Image) or not isinstance(videos, Sequence):
        return False
    first = videos[0] if videos else None
    several = isinstance(first, Sequence) or getattr(first, "ndim", 0) == 4
    return several or isinstance(first, Path)


def _frames(video: Any) -> UInt8[np.ndarray, "time height width 3"]:
    """Frames in one array, grey ones repeated over the channels.

    Raises:
        DataError: these are not frames.
    """
    if isinstance(video, Image.Image):
        video = [video]
    if isinstance(video, Sequence) and not isinstance(video, str):
        pictures = [_picture(frame) for frame in video]
        if len({picture.shape for picture in pictures}) != 1:
            sizes = sorted({f"{p.shape[1]}x{p.shape[0]}" for p in pictures})
            raise DataError(
                f"the frames of a video have one size, got {', '.join(sizes) or 'no frame at all'}"
            )
        return np.stack(pictures)
    array = video.detach().cpu().numpy() if isinstance(video, Tensor) else video
    if not isinstance(array, np.ndarray) or array.ndim != 4 or not len(array):
        raise _no_video(video)
    if array.shape[-1] not in CHANNELS and array.shape[1] in CHANNELS:
        array = array.transpose(0, 2, 3, 1)
    return np.stack([_picture(frame) for frame in array])


def _picture(frame: Any) -> UInt8[np.ndarray, "height width 3"]:
    if isinstance(frame, Image.Image):
        return np.asarray(frame.convert("RGB"))
    array = frame.detach().cpu().numpy() if isinstance(frame, Tensor) else np.asarray(frame)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in CHANNELS:
        raise _no_video(frame)
    if array.dtype != np.uint8:
        raise DataError(
            f"frames are uint8, 0 to 255; got {array.dtype} from {array.min():g} to "
            f"{array.max():g}. Convert them, for example (255 * frames).astype('uint8')"
        )
    return np.broadcast_to(array, (*array.shape[:2], 3))


def _no_video(given: Any) -> DataError:
    shape = getattr(given, "shape", None)
    got = type(given).__name__ + (f" of shape {tuple(shape)}" if shape is not None else "")
    return DataError(
        f"got {got}; expected a path, a list of PIL images or arrays (height, width, channels), or "
        "an array (time, height, width, channels) or (time, channels, height, width)"
    )
