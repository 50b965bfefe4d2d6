"""Single pictures as videos of one frame."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from nexus.data.catalog import Catalog, Problem, VideoRecord
from nexus.data.frames import IMAGE_EXTENSIONS, picture_size, read_picture
from nexus.data.pictures import PictureView, collect, none_of
from nexus.data.protocol import StreamInfo, frame_numbers
from nexus.errors import DataError

Source = str | Path | Sequence[str | Path]


def is_still(source: Source) -> bool:
    """Whether a source is a picture, or a list of nothing but pictures."""
    paths = _paths(source)
    return bool(paths) and all(
        path.suffix.lower() in IMAGE_EXTENSIONS and not path.is_dir() for path in paths
    )


def find_stills(source: Source) -> Catalog:
    """All pictures of a folder (searched recursively, hidden files left out), or given ones.

    A picture that cannot be read is a `Problem`; only headers are read here.

    Raises:
        DataError: the source does not exist or holds no picture.
    """
    records: list[VideoRecord] = []
    problems: list[Problem] = []
    several = not isinstance(source, str | Path)
    for path, key in _pictures(source, several):
        try:
            height, width = picture_size(path)
        except DataError as error:
            problems.append(Problem(str(path), "unreadable", str(error), True))
            continue
        records.append(
            VideoRecord(
                path=path,
                key=key,
                kind="video",
                num_frames=1,
                fps=1.0,
                duration=0.0,
                height=height,
                width=width,
                codec=path.suffix.lower().removeprefix("."),
                variable_frame_rate=False,
                labels={},
            )
        )
    name = f"{len(source)} paths" if several else str(source)
    if not records and not problems:
        listed = ", ".join(sorted(IMAGE_EXTENSIONS))
        raise DataError(f"{name}: no pictures found; expected files ending in {listed}")
    return Catalog(name, tuple(records), tuple(problems))


def _pictures(source: Source, several: bool) -> Iterator[tuple[Path, str]]:
    for path in _paths(source):
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
        if not path.is_dir():
            yield path.absolute(), str(path) if several else path.name
            continue
        for found in sorted(path.rglob("*")):
            inner = found.relative_to(path)
            hidden = any(part.startswith(".") for part in inner.parts)
            if found.suffix.lower() in IMAGE_EXTENSIONS and found.is_file() and not hidden:
                yield found.absolute(), (path / inner if several else inner).as_posix()


def _paths(source: Source) -> list[Path]:
    paths = [source] if isinstance(source, str | Path) else source
    return [Path(path).expanduser() for path in paths]


class StillDecoder:
    """Reads pictures as videos of one frame; answers the `Decoder` protocol."""

    name = "still"

    def probe(self, path: str | Path) -> StreamInfo:
        """What the picture is.

        Raises:
            DataError: it cannot be read.
        """
        height, width = picture_size(Path(path))
        return StreamInfo(1, 1.0, 0.0, height, width, Path(path).suffix, "rgb24")

    def timestamps(self, path: str | Path) -> np.ndarray:
        """One frame, at 0 seconds."""
        return np.zeros(1)

    def lost(self, path: str | Path) -> np.ndarray:
        """Nothing."""
        return np.zeros(0)

    def frames(
        self, path: str | Path, indices: np.ndarray, view: PictureView | None = None
    ) -> np.ndarray:
        """The picture, as often as it is asked for.

        Raises:
            DataError: it cannot be read.
        """
        picture, place = read_picture(Path(path)), frame_numbers(indices, 1)
        if not place.size:
            return none_of(picture.shape[0], picture.shape[1], view)
        return collect([picture], place, view)
