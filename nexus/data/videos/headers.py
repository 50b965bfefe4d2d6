"""What the first bytes of a file say about it, in words for the person who owns the file."""

import os
from pathlib import Path

_SIGNATURES = (
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG", "a PNG picture"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF document"),
    (b"SQLite format 3", "a database"),
    (b"\x7fELF", "a program"),
)


def cut_short(path: str | Path) -> str | None:
    """Why the container says that the file is incomplete; None if it does not say so.

    Understands MP4/MOV (boxes), AVI (RIFF) and GIF; other formats carry no such statement.

    Raises:
        OSError: the file cannot be read.
    """
    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return _cut_mp4(file, size)
        if head[:4] == b"RIFF":
            stated = int.from_bytes(head[4:8], "little") + 8
            if stated > size:
                return f"its header announces {stated:,} bytes, the file has {size:,}"
        if head[:4] == b"GIF8":
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b";":
                return "the mark that ends a GIF is missing"
    return None


def _cut_mp4(file, size: int) -> str | None:
    position, seen = 0, set()
    while position + 8 <= size:
        file.seek(position)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length == 0:  # "until the end of the file"
            length = size - position
        if length < 8:
            break
        seen.add(kind)
        if position + length > size:
            name = kind.decode("latin-1")
            missing = f"{position + length - size:,} of {length:,} bytes of its {name!r} box"
            if b"moov" not in seen or kind == b"moov":
                return f"{missing} are missing, and so is the index ('moov') needed to read it"
            return f"{missing} are missing"
        position += length
    if b"moov" not in seen:
        return (
            "the index ('moov' box) that cameras write last is missing: "
            "the recording or the copy stopped early"
        )
    return None


def describe_content(path: str | Path) -> str:
    """A few words on what a file is that cannot be opened as video, for example "plain text".

    Raises:
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        head = file.read(4096)
    for signature, words in _SIGNATURES:
        if head.startswith(signature):
            return words
    if not head.strip(b"\0"):
        return "only zero bytes"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page (a download that failed?)"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer (run `git lfs pull`)"
    try:
        words = head.decode("utf-8", errors="strict" if len(head) < 4096 else "ignore")
    except UnicodeDecodeError:
        return "not a video format that FFmpeg knows"
    if all(letter.isprintable() or letter in "\r\n\t\f" for letter in words):
        return "plain text"
    return "not a video format that FFmpeg knows"
