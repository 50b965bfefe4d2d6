"""Which packets of a stream say how to turn the picture, found without decoding them.

H.264 and HEVC say it in a message beside the picture (ITU-T H.264 and H.265, annex D: display
orientation, payload type 47), JPEG in its EXIF block. Only the frames that carry it come out of
FFmpeg with it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

_DISPLAY_ORIENTATION = 47
_HEAD = 4096  # bytes of a packet that are looked at: messages come before the picture


@dataclass(frozen=True)
class _Syntax:
    """How a codec divides its packets into units, each of a kind."""

    shift: int
    mask: int
    header: int  # bytes of a unit before its body
    slices: range  # kinds of units that hold the picture
    message: int  # the kind that holds messages
    length_at: int  # where the stream's header says how many bytes the length of a unit takes

    def kind(self, first: int) -> int:
        return first >> self.shift & self.mask


_SYNTAXES = {
    "h264": _Syntax(0, 31, 1, range(1, 6), 6, 4),
    "hevc": _Syntax(1, 63, 2, range(32), 39, 21),
}


def orientation_mark(codec: str, extradata: bytes | None) -> Callable[[memoryview], bool] | None:
    """What tells of a packet whether it may turn its picture; None: none of the codec does.

    Args:
        codec: FFmpeg's name of the codec.
        extradata: the stream's header, which says how its packets are divided.
    """
    if codec == "mjpeg":
        return lambda packet: b"Exif\0\0" in bytes(packet[:_HEAD])
    if codec not in _SYNTAXES:
        return None
    syntax, header = _SYNTAXES[codec], extradata or b""
    divided = len(header) > syntax.length_at and header[0] == 1
    size = (header[syntax.length_at] & 3) + 1 if divided else 0

    def tells(packet: memoryview) -> bool:
        # Nearly all packets begin with their picture.
        first = size or (4 if packet[:3] == b"\0\0\0" else 3)
        if len(packet) > first and syntax.kind(packet[first]) in syntax.slices:
            return False
        return _tells(bytes(packet[:_HEAD]), size, syntax)

    return tells


def _tells(head: bytes, size: int, syntax: _Syntax) -> bool:
    """Whether one of the messages before the first slice is a display orientation."""
    for unit in _units(head, size):
        kind = syntax.kind(unit[0])
        if kind in syntax.slices:
            return False
        if kind == syntax.message and _DISPLAY_ORIENTATION in _payloads(unit[syntax.header :]):
            return True
    return False


def _units(head: bytes, size: int) -> Iterator[bytes]:
    """The units of a packet: after their length in `size` bytes, or after start codes (0)."""
    at = 0
    while size and at + size < len(head):
        length = int.from_bytes(head[at : at + size], "big")
        if length:
            yield head[at + size : at + size + length]
        at += size + length
    if size:
        return
    at = head.find(b"\0\0\1")
    while 0 <= at < len(head) - 3:
        after = head.find(b"\0\0\1", at + 3)
        yield head[at + 3 : after if after > 0 else None]
        at = after


def _payloads(body: bytes) -> Iterator[int]:
    """The types of the messages in one unit (H.264, 7.3.2.3.1)."""
    data, at = body.replace(b"\0\0\3", b"\0\0"), 0
    while at + 2 <= len(data) and data[at:] != b"\x80":
        numbers = [0, 0]  # type, size
        for which in (0, 1):
            while at < len(data) and data[at] == 255:
                numbers[which] += 255
                at += 1
            if at == len(data):
                return
            numbers[which] += data[at]
            at += 1
        yield numbers[0]
        at += numbers[1]
