"""Whether videos hold the clips that are asked of them, told before one is cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from nexus.data.catalog.catalog import Problem, VideoRecord
from nexus.data.clip_spec import ClipSpec
from nexus.data.clips import ClipTooShortError, FrameTimes, choose_clip
from nexus.errors import DataError

SLOWER = 0.99
"""A video has fewer frames a second than a clip where its rate is below this share of it."""
SHOWN = 5


@dataclass(frozen=True)
class ClipCheck:
    """How videos and clips go together.

    `fitting` are the videos (or segments) that can be used, `too_short` the problems of those that
    cannot fill a clip; `padded` and `slower` count
    those that are filled up with their last frame, and those of which frames are shown twice.
    """

    clip: ClipSpec
    videos: int
    fitting: tuple[VideoRecord, ...]
    too_short: tuple[Problem, ...]
    padded: int
    slower: int
    seconds: float
    """What a clip lasts in the median video, from its first frame to its last."""

    def notes(self) -> list[str]:
        """What a user should know, and which keys change it."""
        clip, notes = self.clip, []
        if self.too_short:
            notes.append(f"{self._short()}: left out; {self._remedy()}")
        if self.padded:
            notes.append(
                f"{self.padded} of {self.videos} videos are shorter than a clip of "
                f"{self.seconds:.2f} s and end in copies of their last frame (data.clip.pad="
                f"{clip.pad}): nothing moves there; for less of it {self._shorter()}"
            )
        if self.slower:
            notes.append(
                f"{self.slower} of {self.videos} videos have fewer frames a second than clips ask "
                f"for ({clip.fps:g}), so that frames are shown twice: lower data.clip.fps"
            )
        return notes

    def raise_if_too_many(self, limit: float, floor: int = 3) -> None:
        """Refuse what training would refuse after some steps (see `FailureLedger`).

        Args:
            limit: the share of videos that may fail (`data.max_bad_files`).

        Raises:
            DataError: so many videos are too short.
        """
        count = len(self.too_short)
        if not count or (count < self.videos and (count < floor or count <= limit * self.videos)):
            return
        named = [f"{one.path}: {one.reason}" for one in self.too_short[:SHOWN]]
        if count > SHOWN:
            named.append(f"and {count - SHOWN} more")
        raise DataError(
            "\n  - ".join([f"{self._short()}; at most {limit:.1%} may fail", *named])
            + f"\nTo use them, {self._remedy()}"
            + ("." if not self.fitting else "; data.max_bad_files=1 leaves them out.")
        )

    def _short(self) -> str:
        return (
            f"{len(self.too_short)} of {self.videos} videos are shorter than a clip "
            f"({self.seconds:.2f} s: {self.clip})"
        )

    def _remedy(self) -> str:
        pad = "data.clip.pad=repeat_last fills them up with their last frame"
        return f"{pad}, or {self._shorter()}"

    def _shorter(self) -> str:
        faster = "raise data.clip.fps" if self.clip.fps else "lower data.clip.stride"
        return f"lower model.num_frames ({self.clip.num_frames}), or {faster}"


def check_clips(records: Sequence[VideoRecord], clip: ClipSpec) -> ClipCheck:
    """Check videos against clips by what a scan knows of them; no file is opened.

    Of a variable frame rate the average counts.
    """
    strict, rng = clip.with_changes(pad="error"), np.random.default_rng(0)
    tried = ((number, _too_short(record, strict, rng)) for number, record in enumerate(records))
    short = {number: reason for number, reason in tried if reason}
    problems = tuple(
        Problem(str(records[number].path), "too_short", reason, True)
        for number, reason in short.items()
    )
    slower = sum(record.fps < SLOWER * clip.fps for record in records) if clip.fps else 0
    seconds = median(clip.seconds(record.fps) for record in records) if records else 0.0
    pads = clip.pad != "error"
    return ClipCheck(
        clip=clip,
        videos=len(records),
        fitting=tuple(one for n, one in enumerate(records) if pads or n not in short),
        too_short=() if pads else problems,
        padded=len(short) if pads else 0,
        slower=slower,
        seconds=seconds,
    )


def _too_short(record: VideoRecord, clip: ClipSpec, rng: np.random.Generator) -> str | None:
    times = FrameTimes(record.num_frames, record.fps)
    try:
        choose_clip(times, clip, rng, start=record.start, end=record.end)
    except ClipTooShortError as error:
        return str(error)
    return None
