"""Which packets of a stream say how to turn the picture, found without decoding them.

H.264 and HEVC say it in a message beside the picture (ITU-T H.264 and H.265, annex D: display
orientation, payload type 47), JPEG in its EXIF block. Only the frames that carry it come out of
FFmpeg with it.
"""

from collections.abc import Callable, Iterator

_DISPLAY_ORIENTATION = 47
_HEAD = 4096  # bytes of a packet that are looked at: messages come before the picture


def orientation_mark(codec: str, extradata: bytes | None) -> Callable[[bytes], bool] | None:
    """What tells of a packet's first bytes whether it may turn its picture; None: none does.

    Args:
        codec: FFmpeg's name of the codec.
        extradata: the stream's header, which says how its packets are divided.
    """
    header = extradata or b""
    if codec == "mjpeg":
        return lambda head: b"Exif\0\0" in head
    if codec == "h264":
        size = (header[4] & 3) + 1 if len(header) > 4 and header[0] == 1 else 0
        return lambda head: _tells(head, size, lambda unit: (unit[0] & 31, unit[1:]), (1, 5), 6)
    if codec == "hevc":
        size = (header[21] & 3) + 1 if len(header) > 21 and header[0] == 1 else 0
        return lambda head: _tells(
            head, size, lambda unit: (unit[0] >> 1 & 63, unit[2:]), (0, 31), 39
        )
    return None


def head_of(packet) -> bytes:
    """The first bytes of a packet, without a copy of the rest."""
    return bytes(memoryview(packet)[:_HEAD])


def _tells(
    head: bytes,
    size: int,
    read: Callable[[bytes], tuple[int, bytes]],
    slices: tuple[int, int],
    message: int,
) -> bool:
    """Whether one of the messages before the first slice is a display orientation."""
    for unit in _units(head, size):
        kind, body = read(unit)
        if slices[0] <= kind <= slices[1]:
            return False
        if kind == message and _DISPLAY_ORIENTATION in _payloads(body):
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
