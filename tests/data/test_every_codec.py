"""Random access equals sequential decoding, bit for bit, in every codec and container at hand.

The combinations are those that FFmpeg, as PyAV brings it, can write: codec x container x size of
the groups of pictures x B-frames.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from coded_videos import decode_everything
from odd_videos import write_clip

from nexus.data.videos.pyav import PyAVDecoder

COUNT, HEIGHT, WIDTH = 60, 48, 80  # x265 writes beyond its memory at a height of 32
CLIPS = 20
GROUPS = (1, 7, 250)


@dataclass(frozen=True)
class Coding:
    """A codec, where its streams are stored, and what it can vary."""

    codec: str
    containers: str
    groups: tuple[int, ...] = GROUPS
    b_frames: tuple[int, ...] = (0,)
    pixel_format: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)


QUIET = {"x265-params": "log-level=none:pools=none:scenecut=0"}
OPEN = {"x264-params": "open-gop=1:scenecut=0:b-adapt=0"}
REFRESH = {"x264-params": "intra-refresh=1:scenecut=0"}
WHOLE = (1,)  # every picture stands alone
CODINGS = (
    Coding("libx264", "mp4 mkv avi", b_frames=(0, 3)),
    Coding("libx264", "ts flv", (7, 250), (0, 3)),
    Coding("libx264", "mp4 mkv ts", (9,), (3,), options=OPEN),
    Coding("libx264", "mp4 mkv", (15,), options=REFRESH),
    Coding("libx265", "mp4 mkv", (7, 250), (0, 3), options=QUIET),
    Coding("mpeg4", "mp4 mov avi mkv nut", b_frames=(0, 2)),
    Coding("mpeg2video", "mpg ts mkv", (1, 12), (0, 2)),
    Coding("mpeg1video", "mpg", (12,), (2,)),
    Coding("msmpeg4", "avi mkv", (7, 250)),
    Coding("msmpeg4v2", "avi", (7,)),
    Coding("flv", "flv avi", (1, 7)),
    Coding("h263p", "avi", (7,)),
    Coding("wmv1", "asf", (7,)),
    Coding("wmv2", "asf wmv avi", (1, 7)),
    Coding("libvpx", "webm mkv avi", (7, 250), options={"deadline": "realtime", "cpu-used": "8"}),
    Coding("libvpx-vp9", "webm mp4", (7, 250), options={"deadline": "realtime", "cpu-used": "8"}),
    Coding("libsvtav1", "mp4", (7,), options={"preset": "12"}),
    Coding("ffv1", "mkv avi nut", (1, 7), options={"level": "3"}),
    Coding("snow", "avi nut", (7,)),
    Coding("svq1", "mov", (7,), pixel_format="yuv410p"),
    Coding("qtrle", "mov", (7,), pixel_format="rgb24"),
    Coding("cinepak", "avi mov", (7,), pixel_format="rgb24"),
    Coding("msvideo1", "avi", (7,), pixel_format="rgb555le"),
    Coding("flashsv", "flv", (7,), pixel_format="bgr24"),
    Coding("gif", "gif", (7,), pixel_format="rgb8"),
    Coding("apng", "apng", (7,), pixel_format="rgb24"),
    Coding("mjpeg", "avi mov mkv mp4", WHOLE, pixel_format="yuvj420p"),
    Coding("huffyuv", "avi nut", WHOLE, pixel_format="yuv422p"),
    Coding("ffvhuff", "avi", WHOLE, options={"context": "1"}),
    Coding("utvideo", "avi", WHOLE),
    Coding("rawvideo", "avi mkv nut", WHOLE),
    Coding("prores_ks", "mov", WHOLE, pixel_format="yuv422p10le"),
    Coding("png", "mov avi", WHOLE, pixel_format="rgb24"),
    Coding("cfhd", "mov", WHOLE, pixel_format="yuv422p10le"),
    Coding("jpeg2000", "mov", WHOLE),
)


def combinations() -> Iterator[pytest.param]:
    for coding in CODINGS:
        for container in coding.containers.split():
            for group in coding.groups:
                for b_frames in coding.b_frames if group > 1 else (0,):
                    label = coding.options.get("x264-params", "").partition("=")[0]
                    name = f"{coding.codec}-{container}-{group}-{b_frames}{label and '-' + label}"
                    yield pytest.param(coding, container, group, b_frames, id=name)


def pictures() -> list[np.ndarray]:
    """A patch of another colour in each picture, moving over ground that stays."""
    rng = np.random.default_rng(0)
    ground = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    shown = []
    for i in range(COUNT):
        picture = ground.copy()
        picture[8:24, (3 * i) % (WIDTH - 16) :][:, :16] = rng.integers(0, 256, 3, dtype=np.uint8)
        shown.append(picture)
    return shown


@pytest.mark.parametrize(("coding", "container", "group", "b_frames"), list(combinations()))
def test_random_access_equals_sequential_decoding(
    tmp_path, monkeypatch, coding, container, group, b_frames
):
    monkeypatch.setenv("SVT_LOG", "0")
    path = write_clip(
        tmp_path / f"clip.{container}",
        codec=coding.codec,
        pixel_format=coding.pixel_format,
        gop=group,
        b_frames=b_frames,
        fps=25,
        height=HEIGHT,
        width=WIDTH,
        options=coding.options,
        pictures=pictures(),
    )
    oracle = decode_everything(path)
    assert len({picture.tobytes() for picture in oracle}) > COUNT // 2
    decoder, rng = PyAVDecoder(), np.random.default_rng(1)
    assert len(decoder.timestamps(path)) == len(oracle)
    for _ in range(CLIPS):
        stride = int(rng.integers(1, 8))
        first = int(rng.integers(0, len(oracle) - 3 * stride))
        wanted = first + stride * np.arange(4)
        expected = np.stack([oracle[number] for number in wanted])
        np.testing.assert_array_equal(decoder.frames(path, wanted), expected)


def test_the_sweep_is_wide():
    assert len(list(combinations())) >= 60
