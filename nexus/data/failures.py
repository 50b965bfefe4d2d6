"""Whatever a decoder raises for one file is that file's failure, and names it.

What the code raises that shows the decoded pictures is not: that would fail for any file.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from nexus.data.pictures import PictureView
from nexus.errors import DataError

_log = logging.getLogger(__name__)


class WatchedView:
    """A view as it is; it remembers what it raised."""

    def __init__(self, view: PictureView) -> None:
        self._view = view
        self.raised: Exception | None = None

    def part(self, height: int, width: int) -> tuple[slice, slice]:
        """See `PictureView.part`."""
        with self._watched():
            return self._view.part(height, width)

    def show(self, parts: np.ndarray) -> np.ndarray:
        """See `PictureView.show`."""
        with self._watched():
            return self._view.show(parts)

    def room(self, count: int, out_height: int, out_width: int) -> np.ndarray:
        """See `PictureView.room`."""
        with self._watched():
            return self._view.room(count, out_height, out_width)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.raised = error
            raise


@contextmanager
def decoding(path: Path, view: WatchedView | None = None) -> Iterator[None]:
    """Turn what a decoder raises for the file at `path` into a DataError that names it.

    Running out of memory, or being interrupted, is nobody's fault and passes; so does what the view
    raised.

    Raises:
        DataError: as said; its cause is what the decoder raised.
    """
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:
        if view is not None and error is view.raised:
            raise
        raise decoder_failed(path, error) from error


def decoder_failed(path: Path, error: Exception) -> DataError:
    """The error that says so; the log has the traceback (level DEBUG)."""
    _log.debug("the decoder failed on %s", path, exc_info=error)
    if isinstance(error, OSError) and error.strerror:
        return DataError(f"{path}: cannot be read ({error.strerror})")
    return DataError(f"{path}: the decoder failed ({type(error).__name__}: {error})")
