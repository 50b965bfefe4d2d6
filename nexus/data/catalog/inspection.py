"""The check of one file: what it holds, and what is wrong with it, in plain words."""

import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from nexus.data.clips import FrameTimes
from nexus.data.decoders import Kind
from nexus.data.failures import decoder_failed
from nexus.data.stills.check import UnequalError, look_at_series, look_at_stack
from nexus.data.stills.depth import Levels
from nexus.data.stills.files import is_series
from nexus.data.stills.pages import pages_of
from nexus.data.videos.container import NoVideoError
from nexus.data.videos.deep_frames import CODECS, has_deep_frames, measured
from nexus.data.videos.headers import cut_short, describe_content
from nexus.data.videos.timeline import Timeline
from nexus.data.videos.trial import Trial, try_decoding
from nexus.errors import DataError


@dataclass(frozen=True)
class Finding:
    """Something wrong or unusual with a file. `fatal`: the file cannot be used at all."""

    kind: str
    reason: str
    fatal: bool


@dataclass(frozen=True)
class Facts:
    """What a usable file holds.

    Times in seconds, sizes in pixels, upright. `num_frames` is what decoders list; those from
    `usable_until` on do not decode, though the file announces them (None: all do). `fps` and
    `duration` are of the usable part; pictures mostly have none of their own. `kind` is "video",
    "frames" (a folder or series of pictures) or "stack" (a file of several pictures). `levels`: how
    pictures of more than eight bits are shown.
    """

    kind: Kind
    num_frames: int
    fps: float | None
    duration: float | None
    height: int
    width: int
    codec: str
    variable_frame_rate: bool = False
    usable_until: float | None = None
    levels: Levels | None = None


@dataclass(frozen=True)
class Inspection:
    """The result of one check: facts (None if the file is unusable) and findings.

    `full`: every frame was looked at.
    """

    facts: Facts | None
    findings: tuple[Finding, ...] = ()
    full: bool = False

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Read what `dataclasses.asdict` gave.

        Raises:
            KeyError: a part is missing.
            TypeError: a part has another layout.
        """
        facts = mapping["facts"]
        findings = tuple(Finding(**finding) for finding in mapping["findings"])
        if facts is not None:
            levels = facts.get("levels")
            facts = Facts(**{**facts, "levels": None if levels is None else Levels(*levels)})
        return cls(facts, findings, mapping["full"])

    @classmethod
    def failed(cls, kind: str, reason: str) -> Self:
        """The result for a file that cannot be used."""
        return cls(None, (Finding(kind, reason, True),))


def inspect(path: str | Path, *, full: bool = False) -> Inspection:
    """Check one video file or one directory of pictures; a bad file is a result, not an error.

    Args:
        full: decode every frame of a video, not only those at its ends.
    """
    return replace(_inspect(Path(path), full), full=full)


def _inspect(path: Path, full: bool) -> Inspection:
    try:
        if is_series(path):
            return _inspect_pictures(path, full)
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return _inspect_pictures(path, full)
        if not stat.S_ISREG(status.st_mode):
            return Inspection.failed("unreadable", "not a regular file")
        if status.st_size == 0:
            return Inspection.failed("empty_file", "the file is empty (0 bytes)")
        if pages_of(path) is not None:
            return _inspect_stack(path, full)
        return _deep_or_not(path, _inspect_video(path, full))
    except FileNotFoundError:
        gone = "a link to a file that does not exist" if path.is_symlink() else "no such file"
        return Inspection.failed("missing", gone)
    except NoVideoError as error:
        return Inspection.failed("no_video_stream", _bare(path, error))
    except DataError as error:
        return Inspection.failed("unreadable", _bare(path, error))
    except OSError as error:
        return Inspection.failed("unreadable", f"cannot be read: {error.strerror or error}")
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 (whatever a decoder raises is about this file)
        return Inspection.failed("unreadable", _bare(path, decoder_failed(path, error)))


def _bare(path: Path, error: Exception) -> str:
    return str(error).removeprefix(f"{path.absolute()}: ").removeprefix(f"{path}: ")


def _inspect_video(path: Path, full: bool) -> Inspection:
    missing = cut_short(path)
    try:
        trial = try_decoding(path, full=full)
    except NoVideoError:
        raise
    except DataError as error:
        if missing:
            return Inspection.failed("truncated", f"the file is cut short: {missing}")
        return Inspection.failed("unreadable", f"{_bare(path, error)}: {describe_content(path)}")
    if trial.timeline is None:
        kind = "truncated" if missing else "unreadable"
        return Inspection.failed(kind, f"no frame decodes: {missing or trial.trouble}")
    usable = trial.timeline.first(trial.usable)
    facts = Facts(
        kind="video",
        num_frames=len(trial.timeline),
        fps=usable.fps,
        duration=usable.duration,
        height=trial.looks.sizes[0][0],
        width=trial.looks.sizes[0][1],
        codec=trial.codec,
        variable_frame_rate=usable.variable_frame_rate,
        usable_until=usable.duration if len(usable) < len(trial.timeline) else None,
    )
    return Inspection(facts, tuple(_findings(trial, usable, missing)))


def _findings(trial: Trial, usable: Timeline, missing: str | None) -> Iterator[Finding]:
    listed, decoded = len(trial.timeline or ()), len(usable) - trial.lost
    short = _ends_early(trial, usable, missing)
    if short or missing or len(usable) < listed:
        says = f"the header announces {short}, " if short else ""
        of = "" if short else f" of {listed} frames" if decoded < listed else " frames"
        why = f"; {missing}" if missing else ""
        yield Finding(
            "truncated",
            f"the file is cut short: {says}{decoded}{of} decode (the first {usable.duration:.2f} s)"
            f"{why}; what decodes is used",
            False,
        )
    elif usable.variable_frame_rate:
        yield _unequal_steps(usable.seconds, usable.fps)
    if not short and trial.frames and trial.found < trial.frames:
        yield _odd(f"the header announces {trial.frames} frames, {trial.found} decode")
    if trial.lost:
        yield _odd(
            f"{trial.lost} of {len(usable)} frames do not decode ({trial.trouble or 'damaged'}); "
            "clips that need them fail"
        )
    if trial.differing:
        yield _odd(
            f"{len(trial.differing)} frames, the first at {trial.differing[0]:.2f} s, come out "
            "otherwise after a seek than in one go; re-encode it"
        )
    why = "it does not say reliably when its frames are shown" if usable.by_order else ""
    if why := usable.from_start or why:
        yield _odd(
            f"{why}, so each request decodes it from the start; re-encode it if loading is slow"
        )
    if usable.gaps.size:
        yield _odd(_gaps(usable))
    if len(trial.looks.sizes) > 1:
        sizes = ", ".join(f"{width}x{height}" for height, width in trial.looks.sizes)
        yield _odd(f"the frame size changes within the video ({sizes}); clips across it fail")
    if trial.streams > 1:
        yield _odd(f"{trial.streams} video streams; the default one is used")
    if abs(trial.pixel_aspect - 1) > 0.01:
        yield _odd(
            f"pixels are not square (aspect {trial.pixel_aspect:.3f}); frames are not stretched"
        )
    if trial.looks.interlaced:
        yield _odd("interlaced: moving edges may look like combs")


def _ends_early(trial: Trial, usable: Timeline, missing: str | None) -> str | None:
    """What the header announces, in words, if the frames end well before that."""
    absolute_end = float(int(usable.pts[-1]) * usable.tick) + usable.duration - usable.seconds[-1]
    gap = (trial.seconds or 0.0) - max(usable.duration, absolute_end)
    if trial.frames is not None and trial.frames > trial.found:
        # Fewer frames over the full time are dropped frames, not a cut.
        if missing or trial.seconds is None or gap > 2 / usable.fps:
            return f"{trial.frames} frames"
    elif gap > max(0.5, 3 / usable.fps):
        return f"{trial.seconds:.2f} s"
    return None


def _unequal_steps(seconds: np.ndarray, fps: float) -> Finding:
    steps = seconds[1:] - seconds[:-1]
    return Finding(
        "variable_frame_rate",
        f"frames last between {1000 * steps.min():.0f} and {1000 * steps.max():.0f} ms "
        f"({fps:.2f} a second on average); clips are cut by timestamp",
        False,
    )


def _gaps(usable: Timeline) -> str:
    lengths = usable.gap_seconds()
    longest = int(np.argmax(lengths))
    ends = float(usable.seconds[usable.gaps[longest] + 1])
    several = f"{len(lengths)} gaps, the longest of" if len(lengths) > 1 else "a gap of"
    return (
        f"its times jump: {several} {_spoken(lengths[longest])} after {ends:.1f} s; times after it "
        "are counted without it"
    )


def _spoken(seconds: float) -> str:
    for unit, name in ((31_557_600, "years"), (86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit or unit == 60:
            return f"{seconds / unit:.3g} {name}"
    raise AssertionError("unreachable")


def _odd(reason: str) -> Finding:
    return Finding("odd", reason, False)


def _inspect_pictures(path: Path, full: bool) -> Inspection:
    try:
        look = look_at_series(path, full)
    except UnequalError as error:
        return Inspection.failed("odd", _bare(path, error))
    facts = Facts("frames", look.count, None, None, *look.size, look.codec, levels=look.levels)
    return Inspection(facts, tuple(map(_odd, look.remarks)))


def _inspect_stack(path: Path, full: bool) -> Inspection:
    look = look_at_stack(path, full)
    facts = Facts("stack", look.count, None, None, *look.size, look.codec, levels=look.levels)
    if look.times is None:
        return Inspection(facts, tuple(map(_odd, look.remarks)))
    times = FrameTimes.from_timestamps(look.times)
    facts = replace(
        facts,
        fps=times.fps,
        duration=look.count / times.fps,
        variable_frame_rate=times.timestamps is not None,
    )
    unequal = (_unequal_steps(look.times, times.fps),) if facts.variable_frame_rate else ()
    return Inspection(facts, (*unequal, *map(_odd, look.remarks)))


def _deep_or_not(path: Path, inspection: Inspection) -> Inspection:
    """With how the frames of a video file are shown that have more than eight bits."""
    if inspection.facts is None or inspection.facts.codec not in CODECS:
        return inspection
    if not has_deep_frames(path):
        return inspection
    levels, remark = measured(path)
    told = (_odd(remark),) if remark else ()
    facts = replace(inspection.facts, levels=levels)
    return replace(inspection, facts=facts, findings=(*inspection.findings, *told))
