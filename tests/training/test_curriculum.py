from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.data.clip_spec import ClipSpec
from nexus.training.curriculum import Stage, check_table, clip_at, clip_of_batch, stages_of

TABLE = ((0, 8), (100, 16, 32), (200, 16, (48, 64)), (300, 24))
STAGES = stages_of(TABLE, ClipSpec(stride=3, short_side=40, size=(16, 32)))


def clip(num_frames, size):
    return ClipSpec(stride=3, short_side=40, num_frames=num_frames, size=size)


def test_rows_without_a_picture_size_have_the_models():
    assert (
        Stage(0, clip(8, (16, 32))),
        Stage(100, clip(16, (32, 32))),
        Stage(200, clip(16, (48, 64))),
        Stage(300, clip(24, (16, 32))),
    ) == STAGES


@pytest.mark.parametrize(
    ("step", "stage"), [(0, 0), (99, 0), (100, 1), (199, 1), (200, 2), (299, 2), (10**6, 3)]
)
def test_the_last_row_that_has_come_counts(step, stage):
    assert clip_at(STAGES, step) == STAGES[stage].clip


@given(
    rows=st.dictionaries(st.integers(1, 50), st.sampled_from([None, 16, (16, 24)]), max_size=5),
    step=st.integers(0, 60),
)
def test_against_a_slow_walk_through_the_table(rows, step):
    rows = sorted({0: None, **rows}.items())
    table = [
        (at, 2 * i + 2, *([] if size is None else [size])) for i, (at, size) in enumerate(rows)
    ]
    expected = None
    for i, (at, size) in enumerate(rows):
        if step >= at:
            sides = {None: (8, 8), 16: (16, 16), (16, 24): (16, 24)}[size]
            expected = ClipSpec(num_frames=2 * i + 2, size=sides)
    assert clip_at(stages_of(table, ClipSpec(size=8)), step) == expected


def test_all_micro_batches_of_a_step_have_one_shape():
    shape = partial(clip_of_batch, stages_of(((0, 4), (2, 8, 24)), ClipSpec(size=16)), 3)
    first, second = ClipSpec(num_frames=4, size=16), ClipSpec(num_frames=8, size=24)
    assert [shape(number) for number in range(9)] == [first] * 6 + [second] * 3


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (((1, 8),), "start at step 0"),
        (((0, 8), (5, 16), (5, 24)), "must rise"),
    ],
)
def test_a_wrong_table_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        check_table(table)


def test_a_right_table_passes():
    check_table(TABLE)
