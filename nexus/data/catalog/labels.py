"""What is known about a video beside its pixels: labels of all of it, and of parts of it."""

import json
import math
from dataclasses import dataclass

Label = str | float | tuple[float, ...]
"""A class (or any text), a quantity, or a vector of quantities."""


@dataclass(frozen=True)
class Segment:
    """What happens in a part of a video, in seconds of it; `score`: how sure a prediction is.

    Raises:
        ValueError: unless 0 <= start < end.
    """

    start: float
    end: float
    label: str
    score: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end < math.inf:
            raise ValueError(
                f"a segment from {self.start:g} to {self.end:g} s; expected 0 <= start < end"
            )


def label_text(label: Label) -> str:
    """A label as text: whole numbers without a point, vectors as a JSON list."""
    if isinstance(label, tuple):
        return json.dumps(label)
    return label if isinstance(label, str) else repr(float(label)).removesuffix(".0")


SPLIT_NAMES = {
    **dict.fromkeys(["train", "training"], "train"),
    **dict.fromkeys(["validation", "val", "valid", "dev", "eval"], "validation"),
    **dict.fromkeys(["test", "testing"], "test"),
}
"""What splits are called in lists and folders, and here."""
