"""The results of file checks kept on disk, so that a second scan of the same files is quick."""

import json
import os
import warnings
from dataclasses import asdict
from pathlib import Path

from nexus.atomic import write_text
from nexus.data.catalog.inspection import Inspection
from nexus.data.stills.files import Signature, signature

FORMAT = 3
"""Raise this when checks find more than they used to: older results are then not used."""


def user_index_dir() -> Path:
    """Where this user's index is kept: $NEXUS_CACHE, else the platform's cache folder."""
    if chosen := os.environ.get("NEXUS_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "nexus"


class InspectionIndex:
    """Check results by absolute path, valid while size and time of last change stay the same.

    One JSON file, replaced atomically. A file that cannot be understood is rebuilt, with a warning.
    Where it cannot be read or written, one warning says so, and nothing is remembered.

    Args:
        folder: where the index lives; None keeps it in memory only.
    """

    def __init__(self, folder: str | Path | None):
        self.path = None if folder is None else Path(folder) / "videos.json"
        self._results: dict[str, tuple[Signature, Inspection]] = {}
        self._now: dict[str, Signature | None] = {}  # of the files that were asked for
        self._changed = False
        if self.path is not None:
            self._load(self.path)

    def get(self, path: Path) -> Inspection | None:
        """The remembered result, if the file is as it was then."""
        now = self._now[str(path)] = signature(path)
        then, inspection = self._results.get(str(path), (None, None))
        return inspection if now is not None and now == then else None

    def put(self, path: Path, inspection: Inspection) -> None:
        """Remember a result that `get` did not have; a file that cannot be read is forgotten."""
        if (then := self._now[str(path)]) is not None:
            self._results[str(path)] = (then, inspection)
            self._changed = True

    def save(self) -> None:
        """Write what is new, atomically; where it cannot be written, a warning says so."""
        if self.path is None or not self._changed:
            return
        files = {
            path: {"size": size, "mtime_ns": changed, **asdict(inspection)}
            for path, ((size, changed), inspection) in self._results.items()
        }
        # ASCII escapes keep file names that are not valid Unicode.
        try:
            write_text(self.path, json.dumps({"format": FORMAT, "files": files}))
        except OSError as error:
            warnings.warn(
                f"the video index {self.path} cannot be written ({error}); files are checked again "
                "next time. NEXUS_CACHE names another folder",
                UserWarning,
                stacklevel=3,
            )
            self.path = None
        self._changed = False

    def _load(self, path: Path) -> None:
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self.path = None
            warnings.warn(
                f"the video index {path} cannot be read ({error}); files are checked again each "
                "time. NEXUS_CACHE names another folder",
                UserWarning,
                stacklevel=3,
            )
            return
        try:
            stored = json.loads(text)
            if stored["format"] != FORMAT:
                return
            for name, entry in stored["files"].items():
                known = (entry["size"], entry["mtime_ns"])
                self._results[name] = (known, Inspection.from_mapping(entry))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._results.clear()
            warnings.warn(
                f"the video index {path} cannot be read ({error}); all files are checked again",
                UserWarning,
                stacklevel=3,
            )
