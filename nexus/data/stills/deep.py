"""How the deep pictures of each video are brought down to eight bits: measured once, remembered."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from nexus.data.stills.depth import Levels
from nexus.data.stills.files import Signature, signature

_MOST = 65536  # videos that are remembered

_known: dict[tuple[str, Signature | None], Levels] = {}


def levels_of(path: Path, measure: Callable[[], Levels]) -> Levels:
    """Those of a video, by `measure` when it is first asked for or has changed since."""
    key = str(path), signature(path)
    if key not in _known:
        remember(path, measure())
    return _known[key]


def remember(path: Path, levels: Levels) -> None:
    """Take over what a check measured."""
    if len(_known) >= _MOST:
        _known.clear()
    _known[str(path), signature(path)] = levels


def shown(
    pictures: Iterable[np.ndarray], levels: Callable[[], Levels]
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Pictures of eight bits as they are, deep ones by the levels, grey in all three channels."""
    known: Levels | None = None
    for picture in pictures:
        if picture.dtype != np.uint8:
            known = known or levels()
            picture = known.show(picture)
        yield picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)
