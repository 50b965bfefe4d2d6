"""Whatever a decoder raises for one file is that file's failure, and names it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nexus.errors import DataError

_log = logging.getLogger(__name__)


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn what a decoder raises for the file at `path` into a DataError that names it.

    Running out of memory, or being interrupted, is nobody's fault and passes.

    Raises:
        DataError: as said; its cause is what the decoder raised.
    """
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:
        raise decoder_failed(path, error) from error


def decoder_failed(path: Path, error: Exception) -> DataError:
    """The error that says so; the log has the traceback (level DEBUG)."""
    _log.debug("the decoder failed on %s", path, exc_info=error)
    if isinstance(error, OSError) and error.strerror:
        return DataError(f"{path}: cannot be read ({error.strerror})")
    return DataError(f"{path}: the decoder failed ({type(error).__name__}: {error})")
