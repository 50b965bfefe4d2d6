"""Video files opened with FFmpeg (through PyAV): one stream chosen, its packets scanned."""

import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from nexus.data.videos.checksums import checksum_test
from nexus.data.videos.orientation_marks import orientation_mark
from nexus.data.videos.packet_scan import MISSING, PacketScan
from nexus.errors import DataError

# Text files that send FFmpeg to other files: a list of videos is given to nexus itself, as CSV.
_PLAYLISTS = {"concat", "hls", "dash", "imf", "image2", "image2pipe", "sdp", "tty"}

_DECODING = {
    # The container's word on how to turn pictures goes before that of single frames.
    "side_data_prefer_packet": "displaymatrix",
    # Some 12,000 x 8,000: a header that claims more is wrong, and would take memory by gigabytes.
    "max_pixels": "100000000",
}

# Where decoders would otherwise show what is left of a damaged picture as if it were whole.
_ERRORS_THAT_COUNT = {"mjpeg": "explode"}
# These also take exception to what some encoders write on purpose: for a check that is asked for.
_ERRORS_IN_DOUBT = {"hevc": "crccheck+explode"} | dict.fromkeys(
    ["wmv1", "wmv2", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3"], "bitstream+buffer"
)

_TABLES = 65_536  # bytes of a JPEG picture in which its tables come
_MARKED = 256  # bytes of a packet: enough for the headers of a picture

_NOT_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image


class NoVideoError(DataError):
    """The file can be opened, but holds no video stream."""


class DamagedError(DataError):
    """The stream cannot be decoded past some point."""


@dataclass(frozen=True, eq=False)
class OpenVideo:
    """An open file and the one video stream that nexus reads from it."""

    path: Path
    container: InputContainer
    stream: VideoStream

    @property
    def tick(self) -> Fraction:
        """Seconds a tick of the stream's timestamps."""
        return self.stream.time_base or Fraction(1, 1000)

    @property
    def rate(self) -> Fraction | None:
        """The frame rate that the container states or FFmpeg guesses."""
        return self.stream.average_rate or self.stream.guessed_rate

    def stands_alone(self, first: VideoFrame) -> bool:
        """Whether the decoder vouches for the first frame after a seek: it needs no other.

        Decoders that never mark a keyframe (CineForm, QuickTime Animation) vouch for none.
        """
        return first.key_frame or self.stream.codec_context.codec.intra_only

    def damage_test(self) -> Callable[[Packet], bool]:
        """What tells whether a packet is damaged, as far as its own marks and sums tell."""
        context = self.stream.codec_context
        whole = checksum_test(context.codec.canonical_name, context.extradata)
        if whole is None:
            return lambda packet: packet.is_corrupt
        return lambda packet: packet.is_corrupt or not whole(bytes(packet))

    @property
    def stores_pts(self) -> bool:
        """Whether the format writes when a frame is shown, not only the order of decoding."""
        return self.container.format.name != "avi"


@contextmanager
def open_video(path: str | Path, *, strict: bool = False) -> Iterator[OpenVideo]:
    """Open a video file; the stream is the default one, cover pictures are not video.

    Args:
        strict: decoders report more as damage than is sure to be.

    Raises:
        NoVideoError: no stream of the file is a video.
        DataError: the file is missing or FFmpeg cannot open it.
    """
    path = Path(path).absolute()
    try:
        # Only local files: a playlist in disguise must not reach for the network. An absolute
        # path keeps a colon in the name from being read as a protocol.
        container = av.open(
            str(path), metadata_errors="replace", container_options={"protocol_whitelist": "file"}
        )
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (FFmpegError, OSError) as error:
        raise DataError(f"{path}: cannot be opened as video ({_words(error)})") from error
    with container:
        if not set(container.format.name.split(",")).isdisjoint(_PLAYLISTS):
            raise DataError(f"{path}: a list of other files ({container.format.name}), not a video")
        stream = _choose_stream(path, container)
        stream.codec_context.thread_count = 1
        stream.thread_type = "SLICE"
        stream.codec_context.options = _options(stream, strict)
        yield OpenVideo(path, container, stream)


def _options(stream: VideoStream, strict: bool) -> dict[str, str]:
    errors = _ERRORS_THAT_COUNT | (_ERRORS_IN_DOUBT if strict else {})
    detected = errors.get(stream.codec_context.codec.canonical_name)
    return _DECODING | ({"err_detect": detected} if detected else {})


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Put the file's name before what a DataError says, unless it says it already."""
    try:
        yield
    except DataError as error:
        text = str(error)
        raise DataError(text if str(path) in text else f"{path}: {text}") from error


def video_streams(container: InputContainer) -> list[VideoStream]:
    """The streams of a file that are videos (cover pictures and thumbnails are not)."""
    return [s for s in container.streams.video if not s.disposition & _NOT_VIDEO]


def _choose_stream(path: Path, container: InputContainer) -> VideoStream:
    videos = video_streams(container)
    if not videos:
        others = ", ".join(sorted({_describe(stream) for stream in container.streams}))
        found = f"holds only {others}" if others else "the file may have been cut short"
        raise NoVideoError(f"{path}: no video stream; {found}")
    stream = next((s for s in videos if s.disposition & Disposition.default), videos[0])
    if stream.codec_context is None:
        raise DataError(f"{path}: FFmpeg has no decoder for this video's codec")
    return stream


def _describe(stream) -> str:
    if stream.type == "video":
        return "a cover picture"
    codec = stream.codec_context.name if stream.codec_context else "unknown codec"
    return f"{stream.type} ({codec})"


def _packets(video: OpenVideo) -> Iterator[Packet]:
    """The packets of the stream from the current position on, the one that flushes included."""
    while True:
        try:
            yield from video.container.demux(video.stream)
            return
        except IndexError:
            continue  # a packet of a stream that begins later, which PyAV does not know: not ours


def scan_packets(video: OpenVideo) -> PacketScan:
    """Read all packets of the stream from the current position on, without decoding."""
    rows: list[tuple[int, int, int, int, bool, bool, bool, bool, bool, bool]] = []
    error = None
    context = video.stream.codec_context
    # The older codec that sends references which are never shown as packets of their own.
    shows_all = context.codec.name not in {"vp8", "libvpx"}
    turns = orientation_mark(context.codec.canonical_name, context.extradata)
    jpeg = context.codec.canonical_name == "mjpeg"
    try:
        for packet in _packets(video):
            if packet.size == 0:
                continue
            rows.append(
                (
                    MISSING if packet.pts is None else packet.pts,
                    MISSING if packet.dts is None else packet.dts,
                    packet.duration or 0,
                    packet_mark(packet) if packet.is_keyframe else 0,
                    packet.is_keyframe,
                    packet.is_discard,
                    packet.is_corrupt,
                    not (shows_all or bytes(packet)[0] & 0x10),
                    _has_tables(packet) if jpeg else _sets_up(packet, first=not rows),
                    turns is not None and turns(memoryview(packet)),
                )
            )
    except (FFmpegError, OSError) as failure:
        error = _words(failure)
    columns = list(zip(*rows, strict=True)) if rows else [()] * 10
    numbers = [np.array(column, dtype=np.int64) for column in columns[:4]]
    flags = [np.array(column, dtype=bool) for column in columns[4:]]
    return PacketScan(*numbers, *flags, error=error)


def _sets_up(packet: Packet, *, first: bool) -> bool:
    for data in packet.iter_sidedata():
        # The first header is the stream's own.
        if data.data_type == "palette" or (data.data_type == "new_extradata" and not first):
            return True
    return False


def _has_tables(packet: Packet) -> bool:
    """Whether a JPEG picture brings its tables: in some streams only the first one does."""
    return b"\xff\xdb" in bytes(memoryview(packet)[:_TABLES])


def packet_mark(packet: Packet) -> int:
    """Tells packets of a stream apart: by their size and their first bytes."""
    return packet.size << 32 | zlib.crc32(memoryview(packet)[:_MARKED])


def frames_from_here(
    video: OpenVideo,
    *,
    start_at: int | None = None,
    mark: int | None = None,
    wanted: Collection[int] | None = None,
) -> Iterator[VideoFrame]:
    """Decode from a keyframe on; frames shown before that keyframe are left out.

    Args:
        video: positioned by `seek` or freshly opened.
        start_at: pts of the keyframe to start at; nothing comes out if the position lies after it.
            None: the next keyframe.
        mark: `packet_mark` of that keyframe; nothing comes out if it is another one. After a seek
            MPEG program streams may give a packet its neighbour's time.
        wanted: pts of the frames that matter. Others are left undecoded where that changes nothing
            for these: in H.264, frames that no frame refers to. Nothing comes out from the first
            interlaced frame on: its other field may have been left out. None: all matter.
    Raises:
        DamagedError: after the last good frame, if packets or frames are damaged or do not decode.
            Decoders that patch up damage mark the frame that it hit; B-frames that refer to it and
            are shown before it are not marked, and pass.
    """
    started, floor = False, None
    trouble: str | None = None
    context = video.stream.codec_context
    context.skip_frame, skipping = "DEFAULT", False
    damaged = video.damage_test()
    if context.codec.name != "h264":  # elsewhere the mark does not promise as much
        wanted = None
    try:
        for packet in _packets(video):
            if _is_flush(packet):
                break
            if packet.size == 0:
                continue
            if not started:
                if not packet.is_keyframe or packet.is_corrupt:
                    continue
                if start_at is not None and packet.pts != start_at:
                    if packet.pts is None or packet.pts > start_at:
                        return
                    continue
                if mark is not None and packet_mark(packet) != mark:
                    return
                started, floor = True, packet.pts
            if damaged(packet):
                trouble = "its data is damaged or incomplete"
                break
            needed = wanted is None or packet.pts is None or packet.pts in wanted
            if needed == skipping:
                skipping = not needed
                context.skip_frame = "NONREF" if skipping else "DEFAULT"
            for frame in _undamaged(packet.decode(), floor):
                if wanted is not None and frame.interlaced_frame:
                    return
                yield frame
    except (FFmpegError, OSError) as error:
        trouble = _words(error)
    if started:
        try:
            yield from _undamaged(context.decode(None), floor)
        except (FFmpegError, OSError) as error:
            trouble = trouble or _words(error)
    if trouble:
        raise DamagedError(trouble)


def _undamaged(frames: list[VideoFrame], floor: int | None) -> Iterator[VideoFrame]:
    for frame in frames:
        if floor is not None and frame.pts is not None and frame.pts < floor:
            continue
        if frame.is_corrupt:
            raise DamagedError("its data is damaged")
        yield frame


def good_frames(video: OpenVideo, *, from_keyframe: bool = True) -> Iterator[VideoFrame]:
    """Every frame of a freshly opened file that decodes undamaged; what does not is left out.

    Where the container calls no packet a keyframe, the first one is as good a start as any.
    """
    waiting, marked = from_keyframe, not from_keyframe  # for a packet to start at
    tainted = False  # until a frame that needs no other
    failed: int | None = None
    damaged = video.damage_test()
    try:
        for packet in _packets(video):
            if packet.size == 0 and not _is_flush(packet):
                continue
            if damaged(packet):
                waiting = True
            elif packet.is_keyframe:
                waiting, marked = False, True
            if waiting and not _is_flush(packet):
                continue
            try:
                decoded = packet.decode()
            except (FFmpegError, OSError):
                waiting, failed = True, packet.pts  # its frame may come out all the same
                continue
            for frame in decoded:
                bad = frame.is_corrupt or (failed is not None and frame.pts == failed)
                tainted = bad or (tainted and not frame.key_frame)
                if not tainted:
                    yield frame
    except (FFmpegError, OSError):
        pass  # the file ends in rubbish: what came before counts
    if not marked:
        with open_video(video.path) as again:
            yield from good_frames(again, from_keyframe=False)


def _is_flush(packet: Packet) -> bool:
    return packet.size == 0 and packet.pts is None and packet.dts is None


def _words(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text[0].lower() + text[1:] if text else type(error).__name__
