"""A reader of a data set that nexus does not know: annotations in the manner of ActivityNet."""

import json
from collections.abc import Iterator
from pathlib import Path

from nexus.data.catalog.labels import Segment
from nexus.data.catalog.sources import Entry

SPLITS = {"training": "train", "validation": "validation", "testing": "test"}


class ActivityNet:
    """Reads `{"database": {name: {"subset": ..., "annotations": [{"segment": [...], ...}]}}}`."""

    def __init__(self, ending: str = "mp4") -> None:
        self.ending = ending

    def entries(self, path: Path) -> Iterator[Entry]:
        """A video for each entry of the database, its actions as segments."""
        for name, known in json.loads(path.read_text())["database"].items():
            yield Entry(
                path=path.parent / f"{name}.{self.ending}",
                key=name,
                labels={"quality": tuple(known["quality"]), "seconds": known["duration"]},
                split=SPLITS[known["subset"]],
                segments=tuple(
                    Segment(*one["segment"], one["label"]) for one in known["annotations"]
                ),
            )
