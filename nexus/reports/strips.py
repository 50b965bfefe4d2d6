"""Film strips: the frames of a clip, and the PCA of its patch features laid over them.

Frames and overlays are JPEG (a photograph as PNG would be ten times as large), the blocks of pure
PCA colour are PNG; both ride in the page as data URIs.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from nexus.runs.colours import PatchColours

HEIGHT = 128  # px of a frame in the page; wide screens scale it up a little
_BLEND = 0.6


@dataclass(frozen=True)
class StripRow:
    """One row: what it shows, its pictures as data URIs, and what a listener hears instead."""

    label: str
    images: tuple[str, ...]
    alt: str


@dataclass(frozen=True)
class Film:
    """One clip as arrays: uint8 (columns, height, width, 3) for each of the three rows.

    `columns` are the numbers of the frames.
    """

    name: str
    frames: np.ndarray
    overlay: np.ndarray
    colours: np.ndarray
    columns: tuple[int, ...]

    @property
    def rows(self) -> tuple[StripRow, ...]:
        """The same as images for the page."""
        which = ", ".join(map(str, self.columns))
        return (
            _row("frames", self.frames, "JPEG", f"Frames {which} of {self.name}"),
            _row("overlaid", self.overlay, "JPEG", "Feature colours laid over these frames"),
            _row("features", self.colours, "PNG", "Feature colours of each patch of these frames"),
        )


@dataclass(frozen=True)
class FilmStrip:
    """Rows of pictures under one another, and the numbers of their columns."""

    name: str
    rows: tuple[StripRow, ...]
    columns: tuple[int, ...]


def film_strip(name: str, images: Mapping[str, np.ndarray], columns: tuple[int, ...]) -> FilmStrip:
    """A strip of pictures as they are.

    Args:
        images: uint8 (columns, height, width, 3) by the label of their row.
    """
    rows = []
    for label, row in images.items():
        size = (max(1, round(HEIGHT * row.shape[2] / row.shape[1])), HEIGHT)
        how = Image.Resampling.NEAREST if row.shape[1] < HEIGHT else Image.Resampling.BICUBIC
        shown = np.stack([_resize(image, size, how) for image in row])
        rows.append(_row(label, shown, "JPEG", f"{label} frames of {name}"))
    return FilmStrip(name, tuple(rows), columns)


def films(colours: PatchColours, clips: int = 3, columns: int = 8) -> list[Film]:
    """The first `clips` clips, at most `columns` token time steps of each, evenly spread.

    The colours of a token time step stand under the frame in the middle of the frames it covers.
    """
    return [_film(colours, clip, columns) for clip in range(min(clips, len(colours.frames)))]


def _film(colours: PatchColours, clip: int, columns: int) -> Film:
    frames, patches = colours.frames[clip], colours.colours[clip]
    chosen = np.unique(np.linspace(0, len(patches) - 1, min(columns, len(patches))).astype(int))
    covered = len(frames) / len(patches)
    places = np.minimum((chosen + 0.5) * covered, len(frames) - 1).astype(int)
    size = (max(1, round(HEIGHT * frames.shape[2] / frames.shape[1])), HEIGHT)
    # Small frames keep their pixels as squares; blurring them would hide what the encoder got.
    small = frames.shape[1] < HEIGHT
    how = Image.Resampling.NEAREST if small else Image.Resampling.BICUBIC
    seen = np.stack([_resize(frames[p], size, how) for p in places])
    # Enlarged by whole blocks in the row of colours, smoothly where they lie over the picture.
    blocks = np.stack([_resize(patches[c], size, Image.Resampling.NEAREST) for c in chosen])
    soft = np.stack([_resize(patches[c], size) for c in chosen]).astype(np.float32)
    grey = seen.astype(np.float32).mean(axis=-1, keepdims=True)
    overlay = ((1 - _BLEND) * grey + _BLEND * soft).round().astype(np.uint8)
    name = colours.names[clip] if clip < len(colours.names) else f"clip {clip + 1}"
    return Film(name, seen, overlay, blocks, tuple(int(p) for p in places))


def _row(label: str, images: np.ndarray, kind: str, alt: str) -> StripRow:
    return StripRow(label, tuple(_uri(image, kind) for image in images), alt)


def _resize(
    image: np.ndarray, size: tuple[int, int], how: Image.Resampling = Image.Resampling.BICUBIC
) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize(size, how))


def _uri(image: np.ndarray, kind: str) -> str:
    buffer = BytesIO()
    options = {"quality": 88} if kind == "JPEG" else {"optimize": True}
    Image.fromarray(image).save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
