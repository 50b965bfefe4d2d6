"""Single pictures as videos of one frame."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from nexus.data.catalog.catalog import Catalog, Problem, VideoRecord
from nexus.data.stills.files import IMAGE_EXTENSIONS
from nexus.data.stills.frames import picture_size
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
                kind="frames",
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
