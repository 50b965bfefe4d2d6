"""How much moves at which spacing, and which videos are looked at."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.data.catalog.catalog import scan
from nexus.fitting.movement import (
    FEWEST_RECORDS,
    SPACINGS,
    STILL,
    Movement,
    changes_of,
    look_at_movement,
    spread,
    summary,
)
from nexus.mp4 import encode_mp4


def sliding(pixels_a_moment, moments=70, seed=0, height=48, width=64):
    """A smooth texture that moves past a window, brightness 0..255."""
    rng = np.random.default_rng(seed)
    wide = rng.uniform(0, 255, (height // 8, 400)).repeat(8, 0).repeat(8, 1)
    shifts = np.round(np.arange(moments) * pixels_a_moment).astype(int)
    return np.stack([wide[:, s : s + width] for s in shifts]).astype(np.float32)


def write(path, pictures, fps=16):
    rgb = np.repeat(pictures.astype(np.uint8)[..., None], 3, axis=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_mp4(rgb, fps, crf=10, keyframe_every=1))


def test_changes_are_those_of_the_places_that_change_most():
    pictures = np.zeros((5, 9, 30), np.float32)  # 3 x 10 places, of which 3 count
    pictures[1:, :3, :6] = 90  # two of them change between the first two pictures
    first = changes_of(pictures[:2])[0]
    assert first == pytest.approx(60)  # (90 + 90 + 0) / 3
    changes = changes_of(pictures)
    assert changes[0] == 0  # in the median over pairs next to each other nothing happens
    assert changes[2] == pytest.approx(60)  # the only pair so far apart
    assert np.isnan(changes[3:]).all()


def test_what_moves_twice_as_fast_changes_as_much_in_half_the_time():
    slow, fast = (summary([changes_of(sliding(speed))], 1) for speed in (0.5, 1.0))
    assert slow.spacings == fast.spacings == SPACINGS
    for place in range(1, 5):
        assert slow.changes[place + 1] == pytest.approx(fast.changes[place], rel=0.25)
    assert fast.visible_after is not None and slow.visible_after is not None
    assert fast.visible_after < slow.visible_after


def test_noise_alone_stands_still_and_one_cut_is_passed_over():
    rng = np.random.default_rng(0)
    noise = 128 + rng.normal(0, 3, (70, 48, 64)).astype(np.float32)
    still = summary([changes_of(noise)], 1)
    assert still.still_share == 1 and still.visible_after is None
    cut = noise.copy()
    cut[50:] += 100
    assert changes_of(cut)[0] < STILL
    moving = summary([changes_of(noise), changes_of(sliding(0.5))], 2)
    assert moving.still_share == 0.5


def test_shares_lie_between_those_of_the_spacings():
    movement = Movement((0.25, 0.5, 1.0), (10.0, 20.0, 40.0))
    assert movement.share_at(0.5) == 0.5
    assert 0.25 < movement.share_at(0.3) < 0.5
    assert movement.share_at(9) == 1 and movement.share_at(0.01) == 0.25
    assert Movement().share_at(1) == 1


@given(count=st.integers(1, 3000), most=st.integers(1, 40))
def test_a_sample_is_spread_and_so_is_its_beginning(count, most):
    numbers = spread(count, most)
    assert sorted(set(numbers)) == sorted(numbers)
    assert len(numbers) == min(count, most) and min(numbers) >= 0 and max(numbers) < count
    if len(numbers) >= 8:
        gaps = np.diff(sorted([0, *numbers[:8], count]))
        assert max(gaps) <= 0.6 * count


def test_real_files_are_looked_at_within_the_time_that_there_is(tmp_path):
    for number in range(9):
        write(tmp_path / f"{number}.mp4", sliding(1.0, moments=40, seed=number))
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    catalog = scan(tmp_path, workers=0)
    movement = look_at_movement(catalog)
    assert movement.videos == 9 and movement.still_share == 0
    assert movement == look_at_movement(catalog)
    ticks = iter(range(0, 10_000, 100))
    short = look_at_movement(catalog, seconds=1, clock=lambda: next(ticks))
    assert short.videos == FEWEST_RECORDS


def test_still_videos_and_files_that_are_gone(tmp_path):
    write(tmp_path / "a.mp4", np.full((20, 48, 64), 99))
    write(tmp_path / "b.mp4", np.full((1, 48, 64), 99))
    write(tmp_path / "c.mp4", np.full((20, 48, 64), 99))
    catalog = scan(tmp_path, workers=0)
    (tmp_path / "c.mp4").unlink()
    movement = look_at_movement(catalog)
    assert movement.videos == 2 and movement.still_share == 1
    assert movement.visible_after is None
