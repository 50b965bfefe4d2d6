"""Pictures on their way out of a decoder: what a view is given, and what is kept."""

import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from watching import Corner

from nexus.data.pictures import collect, none_of

WIDE = 700  # a picture of 700 x 700 is too large to be gathered with others, in these tests


class Picture(np.ndarray):
    """An array that can be referred to weakly."""


def noise(count: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, height, width, 3)).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 9),
    sides=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    room=st.integers(1, 400),
    data=st.data(),
)
def test_what_is_kept_is_each_pictures_part_changed(count, sides, room, data):
    rows, columns = (data.draw(st.integers(1, side)) for side in sides)
    more = data.draw(st.lists(st.integers(0, count - 1), max_size=6))
    place = np.array(data.draw(st.permutations([*range(count), *more])))
    pictures = noise(count, *sides)
    expected = [pictures[number, :rows, :columns][::-1] // 2 for number in place]
    view = Corner(rows, columns, lambda parts: parts[:, ::-1] // 2)
    kept = collect(iter(pictures), place, view, gathered_bytes=room)
    np.testing.assert_array_equal(kept, np.stack(expected))
    assert len(view.rooms) == 1
    assert (kept is view.rooms[0]) == (place.tolist() == list(range(count)))
    np.testing.assert_array_equal(np.stack(view.seen), pictures[:, :rows, :columns])
    np.testing.assert_array_equal(collect(iter(pictures), place), pictures[place])
    assert none_of(*sides, view).shape == (0, rows, columns, 3)


def test_small_parts_are_shown_together_and_large_ones_alone():
    shown: list[int] = []

    def count(parts: np.ndarray) -> np.ndarray:
        shown.append(len(parts))
        return parts[:, :2, :2]

    room = {"gathered_bytes": 2**19}  # 100 x 100 x 3 bytes go into it 17 times
    collect(noise(40, 120, 110), np.arange(40), Corner(100, 100, count), **room)
    assert shown == [17, 17, 6]
    shown.clear()
    collect(noise(3, WIDE, WIDE), np.arange(3), Corner(WIDE, WIDE, count), **room)
    assert shown == [1, 1, 1]


@pytest.mark.parametrize("part", [4, WIDE])
def test_only_one_picture_is_held_at_its_full_size(part):
    made: list[weakref.ref] = []

    def pictures():
        for number in range(6):
            assert sum(earlier() is not None for earlier in made) <= 1
            picture = np.full((WIDE, WIDE, 3), number, np.uint8).view(Picture)
            made.append(weakref.ref(picture))
            yield picture
            del picture

    view = Corner(part, part, lambda parts: parts[:, :2, :2])
    kept = collect(pictures(), np.arange(6), view, gathered_bytes=2**19)
    assert kept[:, 0, 0, 0].tolist() == list(range(6))


def test_what_a_view_does_to_a_picture_does_not_reach_the_caller():
    locked = noise(2, 4, 4)
    before = locked.copy()
    locked.flags.writeable = False  # as Pillow's pictures are

    def overwrite(parts: np.ndarray) -> np.ndarray:
        parts[:] = 7
        return parts

    for room in (1, 1000):
        view = Corner(4, 4, overwrite)
        assert (collect(locked, np.arange(2), view, gathered_bytes=room) == 7).all()
        np.testing.assert_array_equal(locked, before)
