"""Which videos there are, what they hold and what is wrong with the rest."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nexus.data.catalog.index import InspectionIndex
from nexus.data.catalog.inspection import Facts, Inspection, inspect
from nexus.data.catalog.inspection_pool import inspect_all
from nexus.data.catalog.labels import Label, Segment, label_text
from nexus.data.catalog.sources import Entry, find_entries
from nexus.data.clips import ClipTooShortError, FrameTimes
from nexus.data.decoders import Kind, decoder_for
from nexus.data.failures import decoding
from nexus.data.stills.depth import Levels
from nexus.data.videos.pyav import PyAVDecoder
from nexus.errors import DataError
from nexus.registry import Choice

_SHOWN = 5  # files that an error names
_SAVE_EVERY = 500  # checks, so that an interrupted scan of a large folder is not lost


@dataclass(frozen=True)
class Problem:
    """Something wrong or unusual with one file. `fatal`: the file is not used.

    Kinds: "missing", "empty_file", "unreadable", "truncated", "no_video_stream", "too_short",
    "variable_frame_rate", "odd" (see the reason) and, while training, "decode_failed".
    """

    path: str
    kind: str
    reason: str
    fatal: bool

    def __post_init__(self) -> None:
        # Errors name their file; a problem does so already.
        object.__setattr__(self, "reason", self.reason.removeprefix(f"{self.path}: "))

    def to_mapping(self) -> dict[str, Any]:
        """JSON-ready values."""
        return dict(vars(self))


@dataclass(frozen=True)
class VideoRecord:
    """One usable video, or one segment of a video.

    Args:
        path: absolute path of the file, or of a directory or series of pictures.
        key: its name within the source; unique.
        kind: "video", "frames" (a folder or series of pictures: `FOLDER/img_#.jpg`) or "stack" (a
            file of several pictures).
        num_frames: frames of the whole file, as many as decoders give timestamps for.
        fps: average frames a second.
        duration: seconds that are used (of the segment, if it is one).
        height, width: pixels, upright.
        codec: FFmpeg's name of it, or the pictures' extension.
        variable_frame_rate: whether frame intervals differ by more than rounding explains.
        labels: what a list file says about all of it.
        split: "train", "validation" or "test", when a list file says so.
        start, end: the usable part in seconds after the first frame; None: from the start, to the
            end. `end` is also set for a file whose last frames do not decode.
        segments: what happens when in the video, as a list says.
        levels: how pictures of more than eight bits are shown, as the check measured.
    """

    path: Path
    key: str
    kind: Kind
    num_frames: int
    fps: float
    duration: float
    height: int
    width: int
    codec: str
    variable_frame_rate: bool
    labels: Mapping[str, Label]
    split: str | None = None
    start: float | None = None
    end: float | None = None
    segments: tuple[Segment, ...] = ()
    levels: Levels | None = None

    @property
    def label_texts(self) -> dict[str, str]:
        """Its labels as text."""
        return {name: label_text(label) for name, label in self.labels.items()}

    def to_mapping(self) -> dict[str, Any]:
        """JSON-ready values."""
        segments = [vars(segment) for segment in self.segments]
        changed = {"path": str(self.path), "labels": dict(self.labels), "segments": segments}
        return {**vars(self), **changed}


@dataclass(frozen=True)
class Catalog:
    """The usable videos of a source, in a fixed order, and the problems of its files."""

    source: str
    records: tuple[VideoRecord, ...]
    problems: tuple[Problem, ...]

    def __len__(self) -> int:
        return len(self.records)

    @property
    def total_seconds(self) -> float:
        """How long all usable videos are together."""
        return math.fsum(record.duration for record in self.records)

    def check_usable(self) -> None:
        """Check that there is anything to read.

        Raises:
            DataError: not one video can be used; the first files are named with their reasons.
        """
        if self.records:
            return
        reasons = {problem.path: problem.reason for problem in self.problems if problem.fatal}
        lines = [f"{path}: {reason}" for path, reason in list(reasons.items())[:_SHOWN]]
        if len(reasons) > _SHOWN:
            lines.append(f"and {len(reasons) - _SHOWN} more, which `nexus check` lists")
        raise DataError("\n  - ".join([f"{self.source}: no usable video", *lines]))

    def select(self, split: str | None = None) -> "Catalog":
        """The records of one split (all of them if None); problems stay with the whole.

        Raises:
            DataError: no record belongs to the split; names the splits that there are.
        """
        if split is None:
            return self
        chosen = tuple(record for record in self.records if record.split == split)
        if not chosen:
            known = sorted({str(record.split or "none") for record in self.records})
            raise DataError(
                f"{self.source}: no videos in the split {split!r}; there are: {', '.join(known)}"
            )
        return replace(self, records=chosen)

    def of_at_least(self, frames: int) -> "Catalog":
        """The records with so many frames, or one; those with fewer become problems."""
        least, left, problems = max(1, frames), [], dict.fromkeys(self.problems)
        for record in self.records:
            try:
                there = _usable_frames(record)
            except DataError as error:
                problems.setdefault(Problem(str(record.path), "unreadable", str(error), True))
                continue
            if there >= least:
                left.append(record)
                continue
            reason = f"{there} frame{'s' * (there != 1)}; at least {least} are needed"
            if record.start is not None or record.end is not None:
                reason = f"segment {record.key}: {reason}"
            problems.setdefault(Problem(str(record.path), "too_short", reason, True))
        return replace(self, records=tuple(left), problems=tuple(problems))

    def summary(self) -> dict[str, Any]:
        """Counts and distributions for a report; JSON-ready.

        `videos`, `seconds`; `problems` (files by kind), `unusable` (files);
        `splits`, `resolutions`, `frame_rates`, `codecs` (records by value, most frequent first);
        `duration_quantiles` in seconds: min, q25, median, q75, max (empty without videos).
        """
        durations = [record.duration for record in self.records]
        names = ("min", "q25", "median", "q75", "max")
        points = np.quantile(durations, [0, 0.25, 0.5, 0.75, 1]).tolist() if durations else []
        return {
            "source": self.source,
            "videos": len(self.records),
            "seconds": self.total_seconds,
            "unusable": len({problem.path for problem in self.problems if problem.fatal}),
            "problems": _ranked(problem.kind for problem in self.problems),
            "duration_quantiles": dict(zip(names, points, strict=False)),
            "splits": _ranked(record.split or "none" for record in self.records),
            "resolutions": _ranked(f"{record.width}x{record.height}" for record in self.records),
            "frame_rates": _ranked(f"{round(record.fps, 2):g}" for record in self.records),
            "codecs": _ranked(record.codec for record in self.records),
        }

    def to_mapping(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "source": self.source,
            "records": [record.to_mapping() for record in self.records],
            "problems": [problem.to_mapping() for problem in self.problems],
        }


def _ranked(values) -> dict[str, int]:
    counts = Counter(values)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def scan(
    source: str | Path | Sequence[str | Path],
    *,
    index_dir: Path | None = None,
    min_frames: int = 1,
    frames_fps: float = 10.0,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 2,
    reader: Choice | None = None,
    full: bool = False,
) -> Catalog:
    """Find and check all videos of a source. A bad file becomes a `Problem`, never an error.

    Args:
        source: a folder (searched recursively without hidden files; pictures in it that are named
            alike but for a number are a video), a .csv/.tsv/.jsonl list
            (see `nexus.data.catalog.lists.ListReader`), a video file, a directory of pictures, or
            several of these.
        index_dir: where check results are kept between scans; None: nowhere.
        min_frames: records with fewer frames are "too_short".
        frames_fps: frames a second of directories of pictures.
        progress: called with (files checked, files to check).
        workers: checking processes; 0 checks in this process.
        reader: what knows how the source lies on the disk: a name of `READERS`, or one of your own
            as `package.module:Class`; None chooses by what the source is.
        full: decode every frame of every video, not only those at its ends.

    Raises:
        ConfigError: there is no such reader.
        DataError: the source does not exist, cannot be read or names no video at all, or a list
            has rows that cannot be understood (named with their line numbers).
    """
    entries = find_entries(source, reader)
    inspections = _inspect_files(entries, InspectionIndex(index_dir), workers, progress, full)
    records: list[VideoRecord] = []
    problems: dict[Problem, None] = {}
    for entry in entries:
        inspection = inspections[entry.path]
        for finding in inspection.findings:
            problem = Problem(str(entry.path), finding.kind, finding.reason, finding.fatal)
            problems.setdefault(problem)
        if inspection.facts is None:
            continue
        record, notes = _record_of(entry, inspection.facts, frames_fps)
        records.append(record)
        for problem in notes:
            problems.setdefault(problem)
    name = str(source) if isinstance(source, (str, Path)) else f"{len(source)} paths"
    return Catalog(name, tuple(records), tuple(problems)).of_at_least(min_frames)


def _inspect_files(
    entries: Sequence[Entry],
    index: InspectionIndex,
    workers: int,
    progress: Callable[[int, int], None] | None,
    full: bool,
) -> dict[Path, Inspection]:
    paths = list(dict.fromkeys(entry.path for entry in entries))
    remembered = {path: index.get(path) for path in paths}
    # What a full check found answers a quick one, not the other way round.
    results = {path: known for path, known in remembered.items() if known and known.full >= full}

    def done(path: Path, inspection: Inspection, lasting: bool) -> None:
        results[path] = inspection
        if lasting:
            index.put(path, inspection)
        if len(results) % _SAVE_EVERY == 0:
            index.save()
        if progress is not None:
            progress(len(results), len(paths))

    if progress is not None:
        progress(len(results), len(paths))
    try:
        check = partial(inspect, full=full)
        inspect_all([path for path in paths if path not in results], done, workers, check=check)
    finally:
        index.save()
    return results


def _record_of(entry: Entry, facts: Facts, frames_fps: float) -> tuple[VideoRecord, list[Problem]]:
    """The record of an entry; a segment is cut to what the file holds (and says so)."""
    fps = facts.fps if facts.fps is not None else frames_fps
    duration = facts.duration if facts.duration is not None else facts.num_frames / fps
    notes = []
    start, end = entry.start, entry.end
    if end is not None and end > duration + 1.5 / fps:
        reason = f"the segment ends at {end:g} s, the video at {duration:.2f} s; cut there"
        notes.append(Problem(str(entry.path), "odd", reason, False))
        end = duration
    segments = []
    for segment in entry.segments:
        if segment.end > duration + 1.5 / fps:
            left = segment.start < duration
            line = "" if entry.line is None else f"line {entry.line}: "
            reason = (
                f"{line}the segment {segment.label!r} from {segment.start:g} to {segment.end:g} s "
                f"passes the video's end at {duration:.2f} s; {'cut there' if left else 'left out'}"
            )
            notes.append(Problem(str(entry.path), "odd", reason, False))
            segment = replace(segment, end=duration) if left else None
        segments += [segment] if segment else []
    stop = duration if end is None else min(end, duration)
    if end is None:
        end = facts.usable_until
    record = VideoRecord(
        path=entry.path,
        key=entry.key,
        kind=facts.kind,
        num_frames=facts.num_frames,
        fps=fps,
        duration=max(0.0, stop - (start or 0.0)),
        height=facts.height,
        width=facts.width,
        codec=facts.codec,
        variable_frame_rate=facts.variable_frame_rate,
        labels=dict(entry.labels),
        split=entry.split,
        start=start,
        end=end,
        segments=tuple(segments),
        levels=facts.levels,
    )
    return record, notes


def _usable_frames(record: VideoRecord) -> int:
    if record.start is None and record.end is None:
        return record.num_frames
    if record.variable_frame_rate:
        decoder = decoder_for(record.kind, record.fps, PyAVDecoder())
        with decoding(record.path):
            stamps = decoder.timestamps(record.path)
        times = FrameTimes.from_timestamps(stamps)
    else:
        times = FrameTimes(record.num_frames, record.fps)
    try:
        first, last = times.span(record.start, record.end)
    except ClipTooShortError:
        return 0
    return last - first + 1


__all__ = ["Catalog", "Problem", "VideoRecord", "scan"]
