"""Pictures of one folder, sorted into series by their names."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.data.stills.series import find_series


def numbered(form: str, numbers=range(3)) -> list[str]:
    return [form.format(number) for number in numbers]


def sorted_out(names: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    series, alone = find_series([Path("x", name) for name in reversed(names)])
    found = {one.pattern: [image.name for image in one.images] for one in series}
    return found, [image.name for image in alone]


MINUTES = [f"2026-11-28_12-{m:02d}-{s:02d}.png" for m in (29, 30) for s in (5, 40)]
SHOTS = [f"shot{shot:03d}.{frame:04d}.png" for shot in (10, 20) for frame in range(1, 5)]
TIMES = [f"1305031{second}.{part}.png" for second in (102, 103) for part in (175304, 843290)]
TAKES = [f"video{take}_frame{frame}.jpg" for take in (1, 2) for frame in range(4)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["frame_1.png", "frame_2.png", "frame_10.png"], {"frame_#.png": 3}),
        (["take3_1_left.png", "take3_2_left.png"], {"take3_#_left.png": 2}),
        (["0001.jpg"], {}),
        (["beach.jpg", "forest.jpg"], {}),
        (["cat1.png", "dog2.png"], {}),
        (
            numbered("img_{:05d}.jpg") + numbered("flow_x_{:05d}.jpg"),
            {"flow_x_#.jpg": 3, "img_#.jpg": 3},
        ),
        (
            numbered("frame_{:04d}.png") + numbered("frame_{:04d}_mask.png"),
            {"frame_#.png": 3, "frame_#_mask.png": 3},
        ),
        (
            numbered("vida_{:04d}.png") + numbered("vidb_{:04d}.png"),
            {"vida_#.png": 3, "vidb_#.png": 3},
        ),
        (numbered("{:04d}.jpg") + numbered("{:04d}.png"), {"#.jpg": 3, "#.png": 3}),
        (TAKES, {"video1_frame#.jpg": 4, "video2_frame#.jpg": 4}),
        (
            [f"frame{f}_mask{m}.png" for f in range(5) for m in (0, 1)],
            {"frame#_mask0.png": 5, "frame#_mask1.png": 5},
        ),
        (TIMES, {"#.#.png": 4}),
        (SHOTS, {"shot010.#.png": 4, "shot020.#.png": 4}),
        (MINUTES, {"#-#-#_#-#-#.png": 4}),
        (["IMG_20261128_235959.jpg", "IMG_20261129_000001.jpg"], {"IMG_#_#.jpg": 2}),
        (["2026-11-28T12:30:05.10.png", "2026-11-28T12:31:05.20.png"], {"#-#-#T#:#:#.#.png": 2}),
        (
            [f"Screenshot 2026-11-28 at 12.{m}.05.png" for m in (30, 31)],
            {"Screenshot #-#-# at #.#.#.png": 2},
        ),
        (
            [f"2026-11-{day}_{n:04d}.png" for day in (28, 29) for n in range(70)],
            {"2026-11-28_#.png": 70, "2026-11-29_#.png": 70},
        ),
        (["0001_12.5.png", "0002_12.9.png", "0003_13.4.png"], {"#_#.#.png": 3}),
        (["a_1.JPG", "a_2.jpg"], {"a_#.jpg": 2}),
        (["a_1.jpg", "a_2.jpg", "a_#.jpg"], {"#a_#.jpg": 2}),
    ],
)
def test_series_are_found_by_name(names, expected):
    found, alone = sorted_out(names)
    assert {pattern: len(some) for pattern, some in found.items()} == expected
    assert sorted(alone + [name for some in found.values() for name in some]) == sorted(names)


@pytest.mark.parametrize(
    "names",
    [
        MINUTES,
        TIMES,
        ["0.04.png", "0.08.png", "0.16.png", "0.2.png", "0.64.png", "1.04.png"],
        [f"shot1.{n}.png" for n in range(1, 12)],
        ["frame_2.png", "frame_10.png", "frame_100.png"],
    ],
)
def test_pictures_follow_in_the_order_of_their_numbers(names):
    [ordered], alone = list(sorted_out(names)[0].values()), sorted_out(names)[1]
    assert ordered == names and not alone


@pytest.mark.parametrize(
    ("names", "gaps"),
    [
        (numbered("f_{}.png", [7, 8, 9, 500, 501]), [("9", "500")]),
        (numbered("f_{}.png", range(0, 50, 5)), []),
        (numbered("f_{}.png", [0, 5, 10, 25, 30, 95]), [("30", "95"), ("10", "25")]),
        (MINUTES, []),
        (TIMES, []),
        (numbered("t{:.6f}.png", [1.0, 1.03, 1.07, 1.6, 90.5, 90.6]), [("1.600000", "90.500000")]),
    ],
)
def test_gaps_in_the_numbers(names, gaps):
    [series], _ = find_series([Path(name) for name in names])
    assert series.gaps() == gaps


def test_what_no_camera_saw_is_known_by_its_name():
    names = ["flow_x_1.jpg", "a_1_mask.png", "Depth-1.png", "maskedsinger_1.png", "seg1.png"]
    both = [Path(name.replace("1", n)) for name in names for n in ("1", "2")]
    words = {series.pattern: series.computed for series in find_series(both)[0]}
    assert words == {
        "flow_x_#.jpg": "flow",
        "a_#_mask.png": "mask",
        "Depth-#.png": "depth",
        "maskedsinger_#.png": None,
        "seg#.png": "seg",
    }


@given(st.sets(st.from_regex(r"[ab]?[0-9]{1,3}[_.]?[0-9]{0,2}[xy]?", fullmatch=True), max_size=12))
def test_every_picture_has_one_place(stems):
    names = [f"{stem}.png" for stem in sorted(stems)]
    found, alone = sorted_out(names)
    assert sorted(alone + [name for some in found.values() for name in some]) == sorted(names)
    assert all(len(some) > 1 for some in found.values())
    for pattern, some in found.items():  # the pictures of a series alone are that series
        again, none = sorted_out(some)
        assert not none and [*again.values()] == [some], pattern
