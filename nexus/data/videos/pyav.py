"""The decoder of video files: PyAV (FFmpeg), exact to the frame, one forward pass a request.

Frames come out upright (rotation and mirroring that the file asks for are applied), as 8-bit RGB
of the size that the stream is coded in: pixels that are not square are not stretched, high bit
depths are reduced to 8, grey is repeated over the channels, transparency is dropped.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from nexus.data.clips import FrameTimes
from nexus.data.pictures import PictureView, collect, none_of, of_one_size
from nexus.data.protocol import frame_numbers
from nexus.data.videos.container import (
    DamagedError,
    OpenVideo,
    frames_from_here,
    good_frames,
    naming,
    open_video,
    scan_packets,
)
from nexus.data.videos.deep_frames import DEEP, eight_bits
from nexus.data.videos.known_videos import KnownVideo, KnownVideos
from nexus.data.videos.orientation import Orientation
from nexus.data.videos.packet_scan import PacketScan
from nexus.data.videos.timeline import Timeline, timeline_from_frames, timeline_from_packets
from nexus.errors import DataError

FLAGS_LIE = "its index calls frames keyframes that are none"
"""Why a file is decoded from the start."""

_PIXELS_AHEAD = 4_000_000  # decoded, not yet converted
_HELD_BACK = 32  # frames; no codec reorders more


class MissedError(Exception):
    """Undamaged decoding did not meet a frame that the packets announce."""


class NotAKeyframeError(Exception):
    """A packet that the container calls a keyframe gave a frame that needs others to be whole."""


class PyAVDecoder:
    """Decodes video files with PyAV, on one thread: loaders parallelise over workers."""

    name = "pyav"

    def __init__(self) -> None:
        self._known = KnownVideos()

    def __reduce__(self):
        return PyAVDecoder, ()

    def timestamps(self, path: str | Path) -> np.ndarray:
        """float64 (frames,): when each frame is shown, seconds after the first, increasing.

        Raises:
            DataError: the file cannot be opened, holds no video, or nothing in it decodes.
        """
        return self.timeline(path).seconds

    def frames(
        self, path: str | Path, indices: np.ndarray, view: PictureView | None = None
    ) -> np.ndarray:
        """Frames by number.

        Args:
            path: the video file.
            indices: int (n,), numbers of frames in `timestamps`, any order, repeats allowed.
            view: what is kept of each decoded picture; None keeps all of it.

        Returns:
            uint8 (n, height, width, 3), RGB, of the view's size.

        Raises:
            DataError: naming the file and what happened: a frame is damaged or comes after the
                last one, the file is gone or unreadable, or its frames differ in size.
            ValueError: `indices` is not a list of whole numbers from 0 on.
        """
        path, known = Path(path), self._known.get(path, _learn)
        with naming(path):
            numbers = frame_numbers(indices, len(known.timeline))
        if not numbers.size:
            height, width = self.frames(path, np.zeros(1, np.int64)).shape[1:3]
            return none_of(height, width, view)
        if known.counted is None:
            try:
                return _decode(path, known.timeline, known.orientation, numbers, view)
            except NotAKeyframeError:
                line = known.timeline.decoded_from_start(FLAGS_LIE)
                self._known.learned(path, replace(known, timeline=line))
                return self.frames(path, indices, view)
            except MissedError:
                # The decoder shows other frames than the packets announce: count frames instead.
                known = self._known.learned(path, replace(known, counted=_by_decoding(path)))
        assert known.counted is not None
        due, shown = (
            FrameTimes.from_timestamps(line.seconds, line.fps)
            for line in (known.timeline, known.counted)
        )
        with naming(path):
            numbers = shown.asked_at((due.time_of(numbers) + due.end_of(numbers)) / 2)
        return _decode(path, known.counted, known.orientation, numbers, view)

    def timeline(self, path: str | Path) -> Timeline:
        """When each frame is shown, from the packets (cached); decodes only if they do not tell.

        Raises:
            DataError: the file cannot be opened, holds no video, or nothing in it decodes.
        """
        return self._known.get(path, _learn).timeline


def _learn(path: str | Path) -> KnownVideo:
    with open_video(path) as video:
        scan = scan_packets(video)
        timeline = timeline_from_packets(scan, video.tick, stores_pts=video.stores_pts)
    return KnownVideo(timeline or _by_decoding(path), told_orientation(path, scan))


def _decode(
    path: Path,
    timeline: Timeline,
    orientation: Orientation | None,
    numbers: np.ndarray,
    view: PictureView | None,
) -> np.ndarray:
    with naming(path):
        wanted, place = np.unique(numbers, return_inverse=True)
        with open_video(path) as video:
            if timeline.by_order:
                found = _by_order(video, wanted)
            else:
                found = frames_by_time(video, timeline, wanted)
            upright = _upright(_some_ahead(found), path, orientation)
            return collect(of_one_size(upright, _changed), place, view)


def _by_decoding(path: str | Path) -> Timeline:
    """When each frame is shown, from decoding the whole file."""
    with open_video(path) as video:
        stamps = [(frame.pts, frame.dts, frame.duration or 0) for frame in good_frames(video)]
        if not stamps:
            raise DataError(f"{path}: no frame decodes")
        return timeline_from_frames(stamps, video.tick, video.rate)


def orientation_of(frame: VideoFrame) -> Orientation:
    """How this frame is to be turned: by the container's word, else by its own."""
    try:
        data = frame.side_data.get("DISPLAYMATRIX") if len(frame.side_data) else None
    except ValueError:  # PyAV refuses them all where it does not know one (EXIF in JPEG)
        return Orientation.from_rotation(frame.rotation)
    matrix = None if data is None else np.frombuffer(data, dtype=np.int32).tolist()
    return Orientation.from_display_matrix(matrix)


def told_orientation(path: str | Path, scan: PacketScan) -> Orientation | None:
    """The orientation that some frames of a file carry, to be that of all; None: none carries one.

    The first frame that carries one decides.

    Raises:
        DataError: the file cannot be opened.
    """
    if not scan.turns.any():
        return None
    # The first packet that may tell does tell, or (EXIF without a turn) none does.
    last = int(np.argmax(scan.turns)) + _HELD_BACK
    with open_video(path) as video:
        turned = (orientation_of(frame) for frame in islice(good_frames(video), last))
        return next((one for one in turned if one != Orientation()), None)


def _by_order(video: OpenVideo, wanted: np.ndarray) -> Iterator[VideoFrame]:
    goals = iter(wanted.tolist())
    goal = next(goals)
    for number, frame in enumerate(good_frames(video)):
        if number == goal:
            yield frame
            goal = next(goals, None)
            if goal is None:
                return
    raise DataError(f"{video.path}: frame {goal} does not decode any more; has the file changed?")


def frames_by_time(
    video: OpenVideo, timeline: Timeline, wanted: np.ndarray, *, opened: bool = True
) -> Iterator[VideoFrame]:
    """Decode the frames at increasing positions of a (not `by_order`) timeline.

    Args:
        opened: nothing was read of the file yet; False makes the first pass begin with a seek.

    Raises:
        DataError: a frame is damaged.
        MissedError: the decoder, undamaged, shows other frames than the timeline says.
        NotAKeyframeError: a keyframe of the timeline is none.
    """
    passes = deque(timeline.runs(wanted))
    # An opened file stands where it should.
    fresh = opened and passes[0][0] <= timeline.keyframes[0]
    while passes:
        entry, positions = passes.popleft()
        met = 0
        try:
            for frame in _one_pass(video, None if fresh else entry, timeline, positions):
                yield frame
                met += 1
        except DamagedError as error:
            # What comes after the damage may still be reached from a later keyframe.
            rest = timeline.runs(positions[met:])
            if rest[0][0] <= entry:
                when = timeline.seconds[positions[met]]
                raise DataError(
                    f"{video.path}: the frame at {when:.3f} s cannot be decoded ({error})"
                ) from error
            passes.extendleft(reversed(rest))
        fresh = False


def _one_pass(
    video: OpenVideo, entry: int | None, timeline: Timeline, positions: np.ndarray
) -> Iterator[VideoFrame]:
    """Frames from the keyframe at `entry` on (None: from where the file stands)."""
    goals = timeline.pts[positions].tolist()
    # Where the file begins, there is nothing before that a frame might need.
    doubt = entry is not None and entry > timeline.keyframes[0]
    mark = None if entry is None else timeline.mark_of(entry)
    second = round(1 / timeline.tick)
    # Some formats land after the frame that was asked for: step back until it comes up.
    for start in [None] if entry is None else [entry, entry - second, entry - 5 * second]:
        if start is not None and not _seek(video, start):
            break
        for frame in _meet(video, entry, mark, goals, skipping=True, doubt=doubt):
            yield frame
            goals = goals[1:]
        if not goals:
            return
    with open_video(video.path) as again:
        for frame in _meet(again, entry, mark, goals, skipping=False, doubt=doubt):
            yield frame
            goals = goals[1:]
    if goals:
        raise MissedError


def _seek(video: OpenVideo, pts: int) -> bool:
    try:
        video.container.seek(pts, stream=video.stream, backward=True)
    except (FFmpegError, OSError):
        return False
    return True


def _meet(
    video: OpenVideo,
    entry: int | None,
    mark: int | None,
    goals: list[int],
    *,
    skipping: bool,
    doubt: bool,
) -> Iterator[VideoFrame]:
    """Decode forward and yield the frames whose pts are `goals`, until one fails to come up."""
    number = 0
    needed = set(goals) if skipping else None
    frames = frames_from_here(video, start_at=entry, mark=mark, wanted=needed)
    for frame in frames:
        if doubt and not video.stands_alone(frame):
            raise NotAKeyframeError
        doubt = False
        if frame.pts is None or frame.pts > goals[number]:
            # Damage, if that is why, is reported within the frames that a decoder holds back.
            deque(islice(frames, _HELD_BACK), maxlen=0)
            return
        if frame.pts == goals[number]:
            yield frame
            number += 1
            if number == len(goals):
                return


def _some_ahead(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    """The same frames, a few decoded at a time: decoding and converting in turns costs more."""
    decoded: list[VideoFrame] = []
    pixels = 0
    for frame in frames:
        decoded.append(frame)
        pixels += frame.width * frame.height
        if pixels > _PIXELS_AHEAD:
            yield from decoded
            decoded, pixels = [], 0
    yield from decoded


def _upright(
    frames: Iterator[VideoFrame], path: Path, orientation: Orientation | None
) -> Iterator[np.ndarray]:
    """Pictures as a viewer sees them, all turned alike."""
    reformatter = VideoReformatter()  # one for all frames: it keeps its conversion tables
    for frame in frames:
        if frame.format.name in DEEP:
            rgb = eight_bits(frame, path)
        else:
            rgb = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
        if orientation is None:  # the container's, which FFmpeg gives to every frame
            orientation = orientation_of(frame)
        yield orientation.apply(rgb)


def _changed(_: int, other: str, first: str) -> str:
    return (
        f"the frame size changes within the video, from {first} to {other}; one size is needed: "
        "re-encode it"
    )
