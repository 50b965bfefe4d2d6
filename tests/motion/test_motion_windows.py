"""Windows: where they are, and what is cut out of the pictures there."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus.motion.config import MotionConfig
from nexus.motion.footage import details, largest_side, smallest_side
from nexus.motion.plan import MotionClip, Place
from nexus.motion.resample import cut_windows
from nexus.motion.windows import (
    DIRECTIONS,
    MOTIONS,
    SPEEDS,
    ZOOM_RATE,
    Motion,
    Path,
    reach,
    window_path,
)
from nexus.motion.work import cut_clip

EVERY = [motion for motions in MOTIONS.values() for motion in motions]
WAYS = [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)]


def scenery(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Three channels of slow waves, no two places alike, as a function of the place in pixels."""
    waves = [
        127 + 60 * np.sin(x / 11 + c) + 50 * np.cos(y / 13 - c) + 15 * np.sin((x + 2 * y) / 37)
        for c in range(3)
    ]
    return np.stack(waves)


def picture(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width] + 0.5
    return np.round(scenery(x, y)).astype(np.uint8)


def still_video(frames: int, height: int = 200, width: int = 240) -> np.ndarray:
    return np.repeat(picture(height, width)[None], frames, axis=0)


# Paths --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "way"), list(enumerate(WAYS)))
@pytest.mark.parametrize("speed", SPEEDS)
def test_a_pan_goes_its_way_at_its_speed(number, way, speed):
    motion = Motion("pan", direction=DIRECTIONS[number], speed=speed)
    path = window_path(motion, 100, 90, 50, num_frames=17, fps=8)
    steps = np.diff(path.centres, axis=0)
    expected = SPEEDS[speed] * 50 / 8 * np.array(way) / math.hypot(*way)
    np.testing.assert_allclose(steps, np.tile(expected, (16, 1)), atol=1e-9)
    assert (path.sides == 50).all()


def test_a_zoom_in_shows_ever_less_and_a_zoom_out_is_its_mirror():
    paths = [
        window_path(Motion("zoom", zoom=zoom), 100, 90, 50, num_frames=17, fps=8)
        for zoom in ("in", "out")
    ]
    ratios = paths[0].sides[1:] / paths[0].sides[:-1]
    np.testing.assert_allclose(ratios, 2 ** (-ZOOM_RATE / 8))
    np.testing.assert_allclose(paths[0].sides, paths[1].sides[::-1])
    assert all((path.centres == [100, 90]).all() for path in paths)


def test_all_windows_are_at_their_place_in_mid_clip():
    for motion in EVERY:
        path = window_path(motion, 100, 90, 50, num_frames=17, fps=8)
        assert path.centres[8].tolist() == [100, 90]
        assert path.sides[8] == 50


@given(
    seconds=st.floats(0.5, 6),
    fps=st.floats(8, 30),
    motion=st.sampled_from(EVERY),
    side=st.floats(10, 100),
)
def test_no_window_gets_beyond_the_reach_of_its_place(seconds, fps, motion, side):
    frames = max(4, round(seconds * fps))
    path = window_path(motion, 0, 0, side, num_frames=frames, fps=fps)
    farthest = (np.abs(path.centres) + path.sides[:, None] / 2).max()
    assert farthest <= side * reach(frames / fps) + 1e-9


def test_classes_are_dealt_so_that_rounds_are_balanced():
    pans = MOTIONS["pan"]
    assert len({(pan.direction, pan.speed) for pan in pans}) == len(pans) == 24
    for turn in range(3):
        assert {pan.direction for pan in pans[8 * turn : 8 * turn + 8]} == set(DIRECTIONS)


# Pictures -----------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    motion=st.sampled_from(EVERY),
    side=st.floats(60, 90),
    x=st.floats(0, 1),
    y=st.floats(0, 1),
    size=st.sampled_from([32, 64, 96]),
)
def test_pixels_are_what_the_scenery_shows_there(motion, side, x, y, size):
    config = MotionConfig(size=size, seconds=2, fps=6)
    room = side * reach(2)
    place = Place(0, room + x * (240 - 2 * room), room + y * (200 - 2 * room), side, 0)
    video = cut_clip(still_video(12), MotionClip("train", 0, 0, motion, place), config)
    path = window_path(motion, place.x, place.y, side, num_frames=12, fps=6)
    inside = (np.arange(size) + 0.5) / size - 0.5
    for frame, centre, own in zip(video, path.centres, path.sides, strict=True):
        rows, columns = centre[1] + own * inside[:, None], centre[0] + own * inside[None]
        expected = scenery(np.broadcast_to(columns, (size, size)), rows + 0 * columns)
        error = frame - np.moveaxis(expected, 0, 2)
        # The kernel smooths these waves by less than three levels; the rim has half a kernel.
        assert np.abs(error[4:-4, 4:-4]).max() < 4


def unlikeness(first: np.ndarray, second: np.ndarray, shift: float) -> float:
    """Of a 64 pixels wide picture to another one that is moved to the right by so much."""
    inner = np.arange(8, 56)
    moved = [np.interp(inner - shift, np.arange(64), row) for row in first]
    return float(np.abs(second[:, inner] - np.stack(moved)).mean())


def test_a_pan_to_the_right_moves_the_picture_to_the_left():
    motion = Motion("pan", direction="right", speed="medium")
    path = window_path(motion, 120, 100, 64, num_frames=9, fps=4)
    video = cut_windows(still_video(9), path, size=64, details=64)
    step = SPEEDS["medium"] * 64 / 4  # 3.84 pixels a frame
    for first, second in pairwise(video[..., 1].astype(float)):
        assert unlikeness(first, second, -step) < 0.7
        assert min(unlikeness(first, second, shift) for shift in (step, 0, -step / 2)) > 2


def slow_pixel(plane: np.ndarray, x: float, y: float, spacing: float) -> float:
    """One pixel, summed from the formula: Mitchell and Netravali with B = C = 1/3."""

    def kernel(t: float) -> float:
        t = abs(t) / spacing
        if t < 1:
            return (7 * t**3 - 12 * t**2 + 16 / 3) / 6
        return (-7 / 3 * t**3 + 12 * t**2 - 20 * t + 32 / 3) / 6 if t < 2 else 0.0

    height, width = plane.shape
    total = weight = 0.0
    for row in range(height):
        for column in range(width):
            share = kernel(column + 0.5 - x) * kernel(row + 0.5 - y)
            total += share * float(plane[row, column])
            weight += share
    return min(255.0, max(0.0, total / weight))


@pytest.mark.parametrize(("side", "kept"), [(21.3, 16), (30.7, 12), (17.0, 16), (39.9, 9.5)])
def test_resampling_is_the_sum_of_the_formula(side, kept):
    rng = np.random.default_rng(0)
    planes = rng.integers(0, 256, (2, 3, 40, 44), dtype=np.uint8)
    path = Path(np.array([[21.4, 20.0], [22.1, 20.03]]), np.array([side, side * 0.99]))
    video = cut_windows(planes, path, size=16, details=kept)
    for frame in range(2):
        for i, j in [(0, 0), (3, 7), (15, 15), (8, 0), (11, 4)]:
            own = path.sides[frame]
            x, y = (
                path.centres[frame, a] + own * ((n + 0.5) / 16 - 0.5) for a, n in ((0, j), (1, i))
            )
            expected = slow_pixel(planes[frame, 1], x, y, max(1.0, own / kept))
            assert abs(int(video[frame, i, j, 1]) - expected) < 0.8


@pytest.mark.parametrize("level", [0, 1, 127, 255])
def test_an_even_picture_stays_even(level):
    planes = np.full((9, 3, 100, 120), level, np.uint8)
    for motion in EVERY[::5]:
        path = window_path(motion, 60, 50, 40, num_frames=9, fps=6)
        assert (cut_windows(planes, path, size=32, details=32) == level).all()


def test_the_whole_picture_is_a_window_and_more_is_none():
    planes = still_video(2, 64, 64)
    whole = Path(np.full((2, 2), 32.0), np.full(2, 64.0))
    assert cut_windows(planes, whole, size=32, details=32).shape == (2, 32, 32, 3)
    with pytest.raises(ValueError, match="leaves the picture of 64x64"):
        cut_windows(
            planes, Path(np.array([[32, 32], [32, 32.1]]), whole.sides), size=32, details=32
        )


def test_backward_is_forward_from_its_end():
    rng = np.random.default_rng(1)
    config = MotionConfig(size=32, seconds=2, fps=4)
    planes = rng.integers(0, 256, (8, 3, 90, 90), dtype=np.uint8)
    shown = [
        cut_clip(
            planes,
            MotionClip("train", 0, 0, Motion("still", arrow=arrow), Place(0, 45, 44, 40, 0)),
            config,
        )
        for arrow in ("forward", "backward")
    ]
    assert (shown[0] == shown[1][::-1]).all()
    assert (shown[0] != shown[1]).any()


@given(height=st.integers(120, 400), width=st.integers(120, 700), size=st.sampled_from([32, 64]))
def test_sides_leave_room_and_details_have_pixels(height, width, size):
    config = MotionConfig(size=size)
    low, high = (of(height, width, config) for of in (smallest_side, largest_side))
    assert 0 < low <= high <= min(height, width)
    assert high * reach(config.seconds) * 2 <= min(height, width) + 1e-6
    for side in (low, high):
        for motion in EVERY:
            path = window_path(motion, 0, 0, side, num_frames=config.num_frames, fps=config.fps)
            assert details(side, config) <= min(size, path.sides.min()) + 1e-9
