"""Sums by which a stream's own packets tell that they are whole, checked before decoding.

FFV1 (RFC 9043, 4.9): each slice of a packet ends with its size and, if the encoder chose so, with
a status byte and a CRC-32 over all of it. FFmpeg logs a sum that is wrong and shows the picture.

    | slice 0 ... size status crc | slice 1 ... size status crc |    read from the end
"""

import zlib
from collections.abc import Callable

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def checksum_test(codec: str, extradata: bytes | None) -> Callable[[bytes], bool] | None:
    """What tells of a packet whether its sums are right; None: packets of the codec carry none.

    Args:
        codec: FFmpeg's name of the codec.
        extradata: the stream's header.
    """
    return _ffv1_is_whole if codec == "ffv1" and extradata else None  # none: before version 2


def _ffv1_is_whole(packet: bytes) -> bool:
    with_sums = _slices(packet, footer=8)
    if with_sums is not None:
        return all(_crc(packet[start:end]) == 0 for start, end in with_sums)
    return _slices(packet, footer=3) is not None  # else not even the sizes are right


def _slices(packet: bytes, footer: int) -> list[tuple[int, int]] | None:
    """Where slices start and end; None if their sizes do not add up to the packet."""
    slices, end = [], len(packet)
    while end > 0:
        at = end - footer
        start = at - int.from_bytes(packet[at : at + 3], "big") if at > 0 else -1
        if start < 0:
            return None
        slices.append((start, end))
        end = start
    return slices


def _crc(data: bytes) -> int:
    """CRC-32 with the highest bit first, from 0: that of zlib with all bits in reverse order."""
    return zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
