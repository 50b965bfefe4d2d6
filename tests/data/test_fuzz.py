"""Mutants of small files: each is used or refused by name; nothing crashes, hangs or grows.

Bounded and seeded. Each mutant is checked and one clip of it is read in a process of its own (the
pool of the checks), which reports what must not happen as a finding of the kind `broken`.
"""

import random
import resource
import struct
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from odd_videos import packet_places, write_clip

from nexus.data.catalog.inspection import Inspection, inspect
from nexus.data.catalog.inspection_pool import inspect_all
from nexus.data.clip_spec import ClipSpec
from nexus.data.clips import FrameTimes, choose_clip
from nexus.data.videos.pyav import PyAVDecoder
from nexus.errors import DataError
from nexus.features.windows import slide

SECONDS, BYTES = 10.0, 1_000_000_000
COUNT = 24
CLIP = ClipSpec(num_frames=8, fps=8.0, sampling="random", pad="repeat_last")
QUIET = {"x265-params": "log-level=none:pools=none"}
PARENTS = {
    "h264.mp4": {},
    "front.mp4": {"container_options": {"movflags": "+faststart"}},
    "h264.mkv": {"b_frames": 3},
    "hevc.mp4": {"codec": "libx265", "options": QUIET},
    "mpeg4.avi": {"codec": "mpeg4", "b_frames": 0},
    "vp9.webm": {"codec": "libvpx-vp9", "b_frames": 0, "options": {"cpu-used": "8"}},
    "flash.flv": {"codec": "flv", "b_frames": 0},
    "mpeg2.ts": {"codec": "mpeg2video"},
    "jpeg.mov": {"codec": "mjpeg", "pixel_format": "yuvj420p", "b_frames": 0},
    "ffv1.mkv": {"codec": "ffv1", "b_frames": 0, "options": {"level": "3"}},
    "palette.gif": {"codec": "gif", "pixel_format": "rgb8", "b_frames": 0, "fps": 25},
    "windows.asf": {"codec": "wmv2", "b_frames": 0},
}


def mutate(data: bytes, places: list[tuple[int, int, int]], draw: random.Random) -> bytes:
    """One to three changes: in what describes the file, in its packets, or of its length."""
    changed = bytearray(data)
    first = min(position for position, _, _ in places if position)
    last = max(position + size for position, size, _ in places)
    for _ in range(draw.randint(1, 3)):
        kind = draw.choice(["header", "number", "packet", "cut", "swap"])
        if kind in ("header", "number"):
            # In front of the packets and behind them, where MP4 and AVI keep their index.
            ends = [*range(min(first, len(changed))), *range(min(last, len(changed)), len(changed))]
            at = draw.choice(ends or range(len(changed)))
            if kind == "header":
                changed[at] = draw.randrange(256)
            else:
                number = draw.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFF])
                raw = struct.pack(draw.choice("<>") + "I", number)
                changed[at : at + 4] = raw[: len(changed) - at]
        elif kind == "packet":
            position, size, _ = draw.choice(places)
            for _ in range(draw.randint(1, 20)):
                at = min(position + draw.randrange(size), len(changed) - 1)
                changed[at] = draw.randrange(256)
        elif kind == "cut":
            del changed[draw.randrange(len(changed) // 2, len(changed)) :]
        else:
            at, length = draw.randrange(len(changed)), draw.randrange(1, 200)
            to = draw.randrange(len(changed))
            part = bytes(changed[at : at + length])
            del changed[at : at + length]
            changed[to:to] = part
    return bytes(changed)


def try_mutant(path: Path) -> Inspection:
    """What the check says, or what must not happen, as a finding of the kind `broken`."""
    begin, before = time.process_time(), _most_memory()
    try:
        result = inspect(path, full=path.stem.endswith("7"))
        if result.facts is None:
            said = [finding.reason for finding in result.findings if finding.fatal]
            result = result if said and all(said) else _broken("refused without a reason")
        elif problem := _clip(path):
            result = _broken(problem)
    except Exception as error:  # noqa: BLE001  (any is a result here)
        result = _broken(f"{type(error).__name__}: {error}")
    if (took := time.process_time() - begin) > SECONDS:  # of the processor: others may be at work
        return _broken(f"took {took:.0f} s")
    if (grown := _most_memory() - before) > BYTES:
        return _broken(f"took {grown:,} bytes")
    return result


def _clip(path: Path) -> str | None:
    decoder = PyAVDecoder()
    try:
        times = FrameTimes.from_timestamps(decoder.timestamps(path))
        clip = choose_clip(times, CLIP, np.random.default_rng(0))
        slide(times, CLIP, 0.5)
        frames = decoder.frames(path, clip.indices)
    except DataError as error:
        named = str(path) in str(error) or "use a lower rate" in str(error)
        return None if named else f"an error that does not name the file: {error}"
    return None if len(frames) == CLIP.num_frames else f"{len(frames)} frames"


def _broken(reason: str) -> Inspection:
    return Inspection.failed("broken", reason)


def _most_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parents")
    return [write_clip(folder / name, COUNT, **options) for name, options in PARENTS.items()]


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_every_mutant_is_used_or_refused_by_name(parents, tmp_path, count):
    draw = random.Random(count)
    material = [(path, path.read_bytes(), packet_places(path)) for path in parents]
    mutants = []
    for number in range(count):
        path, data, places = material[number % len(material)]
        mutants.append(tmp_path / f"{path.stem}_{number}{path.suffix}")
        mutants[-1].write_bytes(mutate(data, places, draw))
    results: dict[Path, Inspection] = {}
    broken = []

    def done(path: Path, result: Inspection, lasting: bool) -> None:
        results[path] = result
        kinds = [finding.kind for finding in result.findings]
        if "broken" in kinds or not lasting:  # not lasting: the process died, or was stopped
            broken.append(f"{path.name}: {result.findings[0].reason}")

    inspect_all(mutants, done, workers=2, timeout=6 * SECONDS, check=try_mutant)
    assert not broken, "\n".join(broken)
    assert set(results) == set(mutants)
    outcomes = Counter("refused" if one.facts is None else "used" for one in results.values())
    assert min(outcomes["refused"], outcomes["used"]) > count / 10, outcomes
