"""What a decoder has learned of the videos that it read, while their files stay the same."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nexus.data.videos.orientation import Orientation
from nexus.data.videos.timeline import Timeline
from nexus.errors import DataError

_REMEMBERED_FRAMES = 2_000_000  # of all timelines together (16 MB)

Fingerprint = tuple[str, int, int]


@dataclass(frozen=True, eq=False)
class KnownVideo:
    """One file.

    Args:
        timeline: when each frame is shown; its positions are the numbers of frames.
        orientation: how all frames are turned; None: as each says, all alike.
        counted: the timeline by decoding, where the decoder shows other frames than `timeline`.
    """

    timeline: Timeline
    orientation: Orientation | None = None
    counted: Timeline | None = None


class KnownVideos:
    """Videos by path, size and time of last change; those not asked for longest are forgotten."""

    def __init__(self) -> None:
        self._videos: OrderedDict[Fingerprint, KnownVideo] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: str | Path, learn: Callable[[str | Path], KnownVideo]) -> KnownVideo:
        """What is known of a file; `learn` finds it out at the first time.

        Raises:
            DataError: the file cannot be read.
        """
        key = _fingerprint(path)
        with self._lock:
            if key in self._videos:
                self._videos.move_to_end(key)
                return self._videos[key]
        return self._put(key, learn(path))

    def learned(self, path: str | Path, video: KnownVideo) -> KnownVideo:
        """Remember more of a file than before.

        Raises:
            DataError: the file cannot be read.
        """
        return self._put(_fingerprint(path), video)

    def _put(self, key: Fingerprint, video: KnownVideo) -> KnownVideo:
        with self._lock:
            self._videos[key] = video
            total = sum(len(known.timeline) for known in self._videos.values())
            while total > _REMEMBERED_FRAMES and len(self._videos) > 1:
                total -= len(self._videos.popitem(last=False)[1].timeline)
        return video


def _fingerprint(path: str | Path) -> Fingerprint:
    try:
        status = Path(path).stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return str(path), status.st_mtime_ns, status.st_size
