"""A trial decoding of one video file: do its frames come out as its packets announce?

The first and the last group of pictures are decoded the way training decodes them. If they do not
match the packets, the whole file is decoded once and the good frames are counted. A full trial
decodes all of it anyway, and keyframes once more after a seek: they must come out the same.
"""

import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

from nexus.data.videos.container import (
    DamagedError,
    OpenVideo,
    frames_from_here,
    good_frames,
    open_video,
    scan_packets,
    video_streams,
)
from nexus.data.videos.orientation import Orientation
from nexus.data.videos.pyav import (
    FLAGS_LIE,
    MissedError,
    NotAKeyframeError,
    frames_by_time,
    orientation_of,
    told_orientation,
)
from nexus.data.videos.timeline import Timeline, timeline_from_frames, timeline_from_packets
from nexus.errors import DataError

_MAX_GROUP = 1500  # frames of one group of pictures that are decoded at most
_MAX_FULL = 50_000  # longer files are decoded as a whole only if that is asked for
_MOST_SEEKS = 1000  # in a full trial
_REORDERED = 16  # so many frames may still come out after the first one that is lost at a cut end


@dataclass
class Looks:
    """What the decoded frames look like. Sizes are (height, width), upright, each once.

    `orientation` is that of all frames; None: of each its own.
    """

    orientation: Orientation | None = None
    sizes: list[tuple[int, int]] = field(default_factory=list)
    interlaced: bool = False

    def at(self, frame: VideoFrame) -> None:
        """Take note of a frame."""
        orientation = orientation_of(frame) if self.orientation is None else self.orientation
        size = orientation.size(frame.height, frame.width)
        if size not in self.sizes:
            self.sizes.append(size)
        self.interlaced |= frame.interlaced_frame


@dataclass(frozen=True)
class Trial:
    """The outcome.

    `frames` and `seconds` (None: it does not say), `streams`, `codec` and `pixel_aspect` are what
    the file says about itself before anything is decoded. `timeline` is what decoders use; only its
    first `usable` frames decode, `lost` frames among those do not either. `found` packets hold data
    that can be decoded, by their flags.
    """

    frames: int | None
    seconds: float | None
    streams: int
    codec: str
    pixel_aspect: float
    found: int
    looks: Looks
    timeline: Timeline | None
    usable: int = 0
    lost: int = 0
    trouble: str | None = None
    differing: tuple[float, ...] = ()


def try_decoding(path: Path, *, full: bool = False) -> Trial:
    """Scan and decode; a file in which nothing decodes gives a trial without timeline.

    Args:
        full: decode every frame, with decoders that are told to report all they can.

    Raises:
        NoVideoError: the file holds no video stream.
        DataError: the file cannot be opened.
    """
    with open_video(path) as video:
        scan = scan_packets(video)
        timeline = timeline_from_packets(scan, video.tick, stores_pts=video.stores_pts)
        trial = Trial(
            frames=video.stream.frames or None,
            seconds=_announced_seconds(video),
            streams=len(video_streams(video.container)),
            codec=video.stream.codec_context.codec.canonical_name,
            pixel_aspect=float(video.stream.sample_aspect_ratio or 1),
            found=int(scan.decodable().sum()),
            looks=Looks(),
            timeline=timeline,
        )
    trial.looks.orientation = told_orientation(path, scan)
    trouble = scan.error
    if timeline is not None:
        try:
            try:
                _try_ends(path, timeline, trial.looks)
            except NotAKeyframeError:
                timeline = timeline.decoded_from_start(FLAGS_LIE)
                trial = replace(trial, timeline=timeline)
                _try_ends(path, timeline, trial.looks)
            if not full:
                return replace(trial, usable=len(timeline), trouble=trouble)
        except MissedError:
            trouble = "its frames are not shown when its packets say"
        except DataError as error:
            trouble = str(error).removeprefix(f"{path}: ")
        if len(scan) > _MAX_FULL and not full:
            return replace(trial, usable=len(timeline), trouble=trouble)
    trial = replace(trial, trouble=trouble)
    if not full:
        return _count(path, trial, {}, strict=False)
    first_seen: dict[int, int] = {}
    counted = _count(path, trial, first_seen, strict=True)
    return replace(counted, differing=_after_seeks(path, counted, first_seen))


def _announced_seconds(video: OpenVideo) -> float | None:
    stream, container = video.stream, video.container
    if stream.duration:
        return float(stream.duration * video.tick)
    if "DURATION" in stream.metadata:
        return _clock(stream.metadata["DURATION"])
    if container.duration and len(container.streams) == 1:
        return container.duration / av.time_base
    return None


def _clock(text: str) -> float | None:
    """Seconds of a Matroska tag like 00:01:02.500000000."""
    try:
        hours, minutes, seconds = (float(part) for part in text.strip("\0 ").split(":"))
    except ValueError:
        return None
    return 3600 * hours + 60 * minutes + seconds


def _try_ends(path: Path, timeline: Timeline, looks: Looks) -> None:
    with open_video(path) as video:
        head = _head(video, timeline, looks)
        last_key = int(np.searchsorted(timeline.pts, timeline.keyframes[-1]))
        last_group = np.arange(max(last_key, len(head)), len(timeline))
        if not 0 < len(last_group) <= _MAX_GROUP:
            return
        if len(timeline.keyframes) > 1:  # a seek leads there, from wherever the file stands
            for frame in frames_by_time(video, timeline, last_group, opened=False):
                looks.at(frame)
            return
    with open_video(path) as video:
        for frame in frames_by_time(video, timeline, last_group):
            looks.at(frame)


def _head(video: OpenVideo, timeline: Timeline, looks: Looks) -> list[int]:
    """The pts of the frames up to the second keyframe, as they come out of a fresh decoder."""
    keys = set(timeline.keyframes.tolist())
    second_key = timeline.keyframes[1] if len(timeline.keyframes) > 1 else np.inf
    head = []
    try:
        for frame in frames_from_here(video):
            if frame.pts is None or len(head) == _MAX_GROUP:
                break
            if head and frame.pts in keys and not video.stands_alone(frame):
                raise NotAKeyframeError
            if frame.pts >= second_key:
                break
            head.append(frame.pts)
            looks.at(frame)
    except DamagedError as error:
        raise DataError(f"a frame near the start does not decode ({error})") from error
    shown = [pts for pts in head if pts >= timeline.pts[0]]
    if not shown or shown != timeline.pts[: len(shown)].tolist() or head != shown:
        raise MissedError
    return head


def _count(path: Path, trial: Trial, seen: dict[int, int], *, strict: bool) -> Trial:
    """Decode everything; sums of the pictures at keyframes (by pts) are left in `seen`."""
    announced, stamps = trial.timeline, []
    keys = set(announced.keyframes.tolist()) if strict and announced is not None else set()
    with open_video(path, strict=strict) as video:
        for frame in good_frames(video):
            stamps.append((frame.pts, frame.dts, frame.duration or 0))
            trial.looks.at(frame)
            if frame.pts is not None and frame.pts in keys:
                seen[frame.pts] = _sum_of(frame)
        if not stamps:
            return replace(trial, timeline=None)
        counted = timeline_from_frames(stamps, video.tick, video.rate)
    if announced is None:
        return replace(trial, timeline=counted, usable=len(counted))
    good = np.array([-1 if pts is None else pts for pts, _, _ in stamps], dtype=np.int64)
    lost = np.flatnonzero(~np.isin(announced.pts, good))
    if lost.size == 0:
        return replace(trial, usable=len(announced))
    late = int(np.sum(good > announced.pts[lost[0]]))
    if lost[0] > 0 and late <= min(_REORDERED, lost[0]):
        return replace(trial, usable=int(lost[0]))
    return replace(trial, usable=len(announced), lost=len(lost))


def _after_seeks(path: Path, trial: Trial, seen: dict[int, int]) -> tuple[float, ...]:
    """When frames at keyframes come out otherwise after a seek than in one go (`seen`)."""
    timeline, differing = trial.timeline, []
    if timeline is None or timeline.by_order or len(timeline.keyframes) < 2:
        return ()
    shown = np.flatnonzero(np.isin(timeline.pts, timeline.keyframes[1:]))
    some = shown[:: -(-len(shown) // _MOST_SEEKS) or 1]
    for position in some:
        try:
            with open_video(path) as video:
                frame = next(frames_by_time(video, timeline, np.array([position])))
        except (DataError, MissedError, NotAKeyframeError):
            continue  # an error that names the file, or found out at the seek: not in silence
        if seen.get(int(timeline.pts[position]), _sum_of(frame)) != _sum_of(frame):
            differing.append(float(timeline.seconds[position]))
    return tuple(differing)


def _sum_of(frame: VideoFrame) -> int:
    return zlib.crc32(frame.to_ndarray(format="rgb24").tobytes())
