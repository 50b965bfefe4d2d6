"""Where the parts of an episode lie in a LeRobot v3.0 folder, read when they are asked for."""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nexus.data.episodes.episodes import EpisodeTable
from nexus.data.episodes.lerobot_layout import TOLERANCE, UNREADABLE, EpisodeRow, VideoSpan
from nexus.data.pictures import PictureView
from nexus.data.videos.pyav import PyAVDecoder
from nexus.errors import DataError

KEPT_BYTES = 256_000_000
"""Of tables that are kept in memory: some millions of steps, to be read in any order."""


class LeRobotStorage:
    """Reads tables and frames of the episodes of a folder.

    Args:
        folder: of the data set.
        rows: where the parts of each episode lie.
        columns: names of the features that are `action` and, if there are such, `state` and
            `environment`.
    """

    def __init__(
        self, folder: Path, rows: Mapping[int, EpisodeRow], columns: Mapping[str, str]
    ) -> None:
        self.folder, self.rows, self.columns = folder, rows, columns
        self._decoder = PyAVDecoder()
        self._tables: OrderedDict[str, pa.Table] = OrderedDict()
        ends = [(span.path, span.end) for row in rows.values() for span in row.videos.values()]
        self._last: dict[str, float] = {}
        for path, end in ends:
            self._last[path] = max(end, self._last.get(path, end))

    def __reduce__(self):
        return LeRobotStorage, (self.folder, self.rows, self.columns)

    def table(self, index: int) -> EpisodeTable:
        """The numbers of an episode.

        Raises:
            DataError: naming the file that is damaged, or whose steps are not in order.
        """
        row = self.rows[index]
        table = self._rows_of(index)
        path = self.folder / row.data
        try:
            steps = table["frame_index"].to_numpy()
            if not np.array_equal(steps, np.arange(len(steps))):
                raise DataError(
                    f"{path}: episode {index}: the steps (frame_index) are not 0 to "
                    f"{len(steps) - 1} in order"
                )
            state, environment = self.columns.get("state"), self.columns.get("environment")
            return EpisodeTable(
                actions=_matrix(table[self.columns["action"]]),
                states=None if state is None else _matrix(table[state]),
                times=table["timestamp"].to_numpy().astype(np.float64),
                environment_states=(
                    None if environment is None else _matrix(table[environment], np.float64)
                ),
            )
        except UNREADABLE as error:
            raise DataError(f"{path}: episode {index}: {error}") from error

    def tasks(self, index: int, texts: Mapping[int, str]) -> tuple[str, ...]:
        """The tasks of an episode, from the numbers of its steps."""
        table = self._rows_of(index)
        if "task_index" not in table.column_names:
            return ()
        numbers = table["task_index"].unique().to_pylist()
        return tuple(texts[number] for number in numbers if number in texts)

    def frames(
        self, index: int, camera: str, numbers: np.ndarray, view: PictureView | None
    ) -> np.ndarray:
        """uint8 (n, height, width, 3): the frames of these steps, found by their times.

        Raises:
            DataError: no frame is at the time of a step, or it cannot be decoded.
        """
        span = self.rows[index].videos[camera]
        path, times = self.folder / span.path, self.table(index).times[numbers]
        due = span.start + times
        stamps = self._stamps(path)
        nearest = _near(stamps, due)
        off = np.abs(stamps[nearest] - due)
        # Behind the end of its own part of the file lie the frames of another episode.
        outside = due > span.end - TOLERANCE
        bad = np.flatnonzero((off > TOLERANCE + _rounding(times)) | outside)
        if bad.size:
            one = bad[0]
            why = (
                f"its part of the file ends at {span.end:.4f} s"
                if outside[one]
                else f"the nearest is frame {nearest[one]} at {stamps[nearest[one]]:.4f} s"
            )
            raise DataError(
                f"{path}: episode {index}, camera {camera!r}: there is no frame of step "
                f"{numbers[one]} at {due[one]:.4f} s; {why}"
            )
        return self._decoder.frames(path, nearest, view)

    def frame_times(self, index: int, camera: str) -> np.ndarray:
        """float64 (frames,): seconds from the start of the episode's part of the file.

        What comes after the last episode of a file counts as that episode's.

        Raises:
            DataError: naming the file that cannot be read.
        """
        span = self.rows[index].videos[camera]
        stamps = self._stamps(self.folder / span.path)
        inside = (stamps >= span.start - TOLERANCE) & self._before(span, stamps)
        return stamps[inside] - span.start

    def _before(self, span: VideoSpan, stamps: np.ndarray) -> np.ndarray:
        if span.end >= self._last[span.path] - TOLERANCE:
            return np.ones(len(stamps), dtype=bool)
        return stamps < span.end - TOLERANCE

    def _stamps(self, path: Path) -> np.ndarray:
        """float64 (frames,): seconds in the file at which frames are shown, increasing."""
        timeline = self._decoder.timeline(path)
        return timeline.pts * float(timeline.tick)

    def _rows_of(self, index: int) -> pa.Table:
        """The rows of an episode, by its index: a file may hold more than its table says."""
        table = self._file(self.rows[index].data)
        chosen = np.flatnonzero(table["episode_index"].to_numpy() == index)
        return table.take(chosen)

    def _file(self, name: str) -> pa.Table:
        if name not in self._tables:
            path = self.folder / name
            needed = ["episode_index", "frame_index", "timestamp", *self.columns.values()]
            try:
                known = pq.read_schema(path).names
                absent = [column for column in needed if column not in known]
                if absent:
                    raise DataError(f"{path}: there is no column {absent[0]!r}")
                task = ["task_index"] if "task_index" in known else []
                columns = list(dict.fromkeys([*needed, *task]))  # none twice
                self._tables[name] = pq.read_table(path, columns=columns)
            except UNREADABLE as error:
                raise DataError(
                    f"{path} cannot be read as Parquet ({error}); was its writing cut off?"
                ) from error
            total = sum(table.nbytes for table in self._tables.values())
            while total > KEPT_BYTES and len(self._tables) > 1:
                total -= self._tables.popitem(last=False)[1].nbytes
        self._tables.move_to_end(name)
        return self._tables[name]


def _near(stamps: np.ndarray, due: np.ndarray) -> np.ndarray:
    """The number of the frame nearest to each time."""
    after = np.searchsorted(stamps, due).clip(1, max(1, len(stamps) - 1))
    before = after - 1
    after = after.clip(max=len(stamps) - 1)
    return np.where(due - stamps[before] <= stamps[after] - due, before, after)


def _rounding(times: np.ndarray) -> np.ndarray:
    """How far float32, in which times are stored, may be off: more than 0.1 ms after an hour."""
    return np.spacing(np.abs(times).astype(np.float32)).astype(np.float64)


def _matrix(column: pa.ChunkedArray, dtype: type = np.float32) -> np.ndarray:
    """(rows, numbers): a column of lists, or of single numbers.

    Raises:
        ValueError: the lists differ in length, or a value is missing.
    """
    values: Any = column.combine_chunks()
    if isinstance(values, pa.ChunkedArray):  # of no rows
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
    rows = len(values)
    if values.null_count:
        raise ValueError(f"{values.null_count} of {rows} values are missing")
    if isinstance(values, pa.ListArray | pa.LargeListArray) and rows:
        lengths = values.value_lengths().unique().to_pylist()
        if len(lengths) > 1:
            raise ValueError(f"rows of {min(lengths)} to {max(lengths)} numbers; expected as many")
    flat = values
    while isinstance(flat, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        flat = flat.flatten()
    numbers = flat.to_numpy(zero_copy_only=False).astype(dtype)
    return numbers.reshape(rows, -1) if rows else numbers.reshape(0, 1)
