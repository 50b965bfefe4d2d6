"""Atomic file writing: a reader sees the old file or the new one, never half of one."""

import errno
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nexus.errors import OutputError

FULL = (errno.ENOSPC, errno.EDQUOT)
TORCH_WRITING = ("inline_container.cc", "PytorchStreamWriter")
"""In what torch says when it cannot write, whatever the reason."""


def check_writable(
    path: str | Path,
    *,
    folder: bool = True,
    replace: bool = True,
    remedy: str = "name another place (--out)",
) -> None:
    """Check, before any work is done, that a folder or file can be written; makes nothing.

    Args:
        path: what is going to be written.
        folder: whether it is a folder.
        replace: whether a file that is there may be replaced.
        remedy: what to do.

    Raises:
        OutputError: it cannot; saying why, and what to do.
    """
    path = Path(path).absolute()
    home = path if folder else path.parent
    try:
        if not folder and path.is_dir():
            raise OutputError(f"{path} is a folder, and a file is needed; {remedy}")
        if not replace and path.exists():
            raise OutputError(
                f"{path} is there already; add --force (force=True) to replace it, or {remedy}"
            )
        there = next(place for place in (home, *home.parents) if place.exists())
        if not there.is_dir():
            raise OutputError(f"{there} is a file, and a folder is needed there; {remedy}")
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(bytes(4096))
    except OutputError:
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputError(f"{path} cannot be written: {reason}; {remedy}", error.errno) from error


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """What goes wrong while `path` is written for want of space becomes an error that says so.

    Raises:
        OutputError: as said.
    """
    try:
        yield
    except OutputError:
        raise
    except Exception as error:
        # safetensors raises a type of its own, torch a RuntimeError that does not know the reason.
        text, number = str(error), getattr(error, "errno", None)
        full = number in FULL or any(f"(os error {code})" in text for code in FULL)
        if not full and not any(mark in text for mark in TORCH_WRITING):
            raise
        free = shutil.disk_usage(next(it for it in path.absolute().parents if it.exists())).free
        reason = "there is no space left on the disk" if full else "the disk may be full"
        raise OutputError(
            f"{path} cannot be written: {reason} ({free / 1e6:.0f} MB free). What was there before "
            "is unchanged; make room and give the command again",
            number or errno.ENOSPC,
        ) from error


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and renamed onto `path`.

    On an exception the temporary file is removed and `path` is left as it was.

    Raises:
        OutputError: there is no space left.
    """
    path = Path(path)
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            yield temporary
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success its files are synced and it becomes `path`.

    A folder that is there already is replaced as a whole. On an exception the new one is removed
    and `path` is left as it was.

    Raises:
        OutputError: there is no space left.
    """
    path = Path(path)
    temporary, old = (
        path.with_name(f".{path.name}.{secrets.token_hex(4)}.{end}") for end in ("tmp", "old")
    )
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        try:
            yield temporary
            for file in (*temporary.iterdir(), temporary):
                _sync(file)
            if path.exists():
                path.rename(old)
            try:
                temporary.rename(path)
            except BaseException:  # Ctrl-C as well: what was there is not lost
                if old.exists():
                    old.rename(path)
                raise
            _sync(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` (UTF-8) to `path` atomically.

    Names of files need not be valid Unicode. What UTF-8 cannot say is written as an escape
    (`\\udcff`), which JSON reads back as it was.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON to `path` atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
