"""Robot episodes by their path: who can read what lies there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from nexus.data.episodes.episodes import Episodes
from nexus.errors import DataError
from nexus.registry import Choice, Registry


class EpisodeReader(Protocol):
    """Knows how a format of recordings lies on the disk."""

    def open(self, path: Path, *, strict: bool = True) -> Episodes:
        """What lies there.

        Args:
            strict: False goes on where files are missing: `problems` says what, and reading it
                raises.

        Raises:
            DataError: it cannot be understood, or (strict) something is missing.
        """
        ...


LEROBOT_FILE = "meta/info.json"
HDF5_ENDINGS = frozenset({".hdf5", ".h5"})
READERS = Registry(
    "reader of episodes",
    {
        "lerobot": "nexus.data.episodes.lerobot:LeRobotReader",
        "robomimic": "nexus.data.episodes.robomimic:RobomimicReader",
    },
)


def is_episodes(path: str | Path, reader: str | None = None) -> bool:
    """Whether a path is for a reader of episodes, of those there are or the one that is named.

    Raises:
        ConfigError: the one that is named is not there.
    """
    if reader is None:
        return _format_of(Path(path).expanduser()) is not None
    own = reader in READERS.names
    return own or (":" in reader and hasattr(READERS.find(reader), "open"))


def open_episodes(
    path: str | Path, reader: Choice | EpisodeReader | None = None, *, strict: bool = True
) -> Episodes:
    """The robot episodes that lie somewhere, read in place.

    Args:
        path: a LeRobot v3.0 folder, or an HDF5 file of robomimic.
        reader: a name of `READERS`, one of your own (`package.module:Class`), either with its
            settings under `kind`, or a reader; None chooses by what lies there.
        strict: False goes on where files are missing: `problems` says what, and reading it raises.

    Raises:
        ConfigError: there is no such reader.
        DataError: nothing lies there, no reader knows it, or (strict) something of it is missing.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if reader is None:
        reader = _format_of(path)
        if reader is None:
            raise DataError(
                f"{path}: no robot episodes; expected a LeRobot v3.0 folder (meta/info.json) or an "
                "HDF5 file of robomimic (.hdf5)"
            )
    chosen: Any = READERS.build(reader) if isinstance(reader, str | Mapping) else reader
    return chosen.open(path.absolute(), strict=strict)


def _format_of(path: Path) -> str | None:
    """The name of our reader for a path, by names alone: most paths are of videos, and wait."""
    if (path / LEROBOT_FILE).is_file():
        return "lerobot"
    if path.suffix.lower() in HDF5_ENDINGS and path.is_file():
        return "robomimic"
    return None
