import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.training.curriculum import ClipLength, check_table, frames_at

TABLE = ((0, 8), (100, 16), (200, 24))


@pytest.mark.parametrize(
    ("step", "frames"), [(0, 8), (99, 8), (100, 16), (199, 16), (200, 24), (10**6, 24)]
)
def test_the_last_row_that_has_come_counts(step, frames):
    assert frames_at(TABLE, step) == frames


@given(starts=st.sets(st.integers(1, 50), max_size=5), step=st.integers(0, 60))
def test_against_a_slow_walk_through_the_table(starts, step):
    table = [(start, 2 * (i + 1)) for i, start in enumerate(sorted({0, *starts}))]
    frames = None
    for start, length in table:
        if step >= start:
            frames = length
    assert frames_at(table, step) == frames


def test_all_micro_batches_of_a_step_have_one_length():
    length = ClipLength(((0, 4), (2, 8)), batches_per_step=3)
    assert [length(number) for number in range(9)] == [4] * 6 + [8] * 3


def test_workers_can_hold_it():
    length = ClipLength(TABLE, 2)
    assert pickle.loads(pickle.dumps(length)) == length


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (((1, 8),), "start at step 0"),
        (((0, 8), (5, 16), (5, 24)), "must rise"),
        (((0, 8), (5, 9)), r"multiples of tubelet_size 2, got \[9\]"),
    ],
)
def test_a_wrong_table_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        check_table(table, tubelet_size=2)


def test_a_right_table_passes():
    check_table(TABLE, tubelet_size=4)
