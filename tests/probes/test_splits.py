"""Who trains and who tests: by file, stratified, the same every time, and never guessed."""

import os
from collections import Counter

import numpy as np
import pytest
from feature_worlds import make_table, three_splits
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus.errors import DataError
from nexus.probes.columns import class_task
from nexus.probes.splits import assign_splits


def table_of(labels: list[str], **given):
    return make_table(np.zeros((len(labels), 2), np.float32), labels, **given).rows


@settings(max_examples=30, deadline=None)
@given(
    counts=st.lists(st.integers(5, 40), min_size=2, max_size=5),
    clips=st.integers(1, 3),
    seed=st.integers(0, 5),
)
def test_division_is_sixty_twenty_twenty_of_each_class_by_file(
    counts: list[int], clips: int, seed: int
) -> None:
    labels, paths = [], []
    for label, count in enumerate(counts):
        for number in range(count):
            labels += [f"c{label}"] * clips
            paths += [f"{label}-{number}.mp4"] * clips
    table = table_of(labels, keys=paths)
    task = class_task(table, "class", split_seed=seed)
    parts = [task.parts.train, task.parts.validation, task.parts.test]
    where = [{table["path"][row] for row in part.rows} for part in parts]
    assert not (where[0] & where[1] or where[0] & where[2] or where[1] & where[2])
    assert sum(len(part.rows) for part in parts) == len(labels)
    for label, count in enumerate(counts):
        of_class = [sum(path.startswith(f"{label}-") for path in paths) for paths in where]
        assert sum(of_class) == count
        assert of_class[1] == of_class[2] == max(1, round(0.2 * count))
    assert "60/20/20" in task.parts.notes[0]


def test_division_depends_on_the_seed_and_the_names_but_not_on_the_order() -> None:
    labels = ["a", "b"] * 20
    table = table_of(labels)
    tests = class_task(table, "class").parts.test
    named = {table["key"][row] for row in tests.rows}

    backwards = table_of(labels[::-1], keys=table["key"].tolist()[::-1])
    again = class_task(backwards, "class").parts.test
    assert {backwards["key"][row] for row in again.rows} == named

    other = class_task(table, "class", split_seed=1).parts.test
    assert {table["key"][row] for row in other.rows} != named


def test_segments_of_one_file_stay_together_whatever_their_labels() -> None:
    labels = ["a", "b", "a"] * 30
    paths = [f"{number // 3}.mp4" for number in range(90)]
    keys = [f"{path}#{number}" for number, path in enumerate(paths)]
    task = class_task(table_of(labels, keys=keys, paths=paths), "class")
    parts = (task.parts.train, task.parts.validation, task.parts.test)
    where = [{paths[row] for row in part.rows} for part in parts]
    assert [len(found) for found in where] == [18, 6, 6]
    assert len(where[0] | where[1] | where[2]) == 30
    assert [part.count for part in parts] == [54, 18, 18]  # samples are the segments


def test_given_splits_are_taken_at_their_word() -> None:
    splits = three_splits(6, 2, 4)
    parts = class_task(table_of(["a", "b"] * 6, splits=splits), "class").parts
    assert parts.train.rows.tolist() == [0, 1, 2, 3, 4, 5]
    assert parts.validation.rows.tolist() == [6, 7]
    assert parts.test.rows.tolist() == [8, 9, 10, 11]
    assert parts.notes == ()


@pytest.mark.parametrize("second", ["test", "validation"])
def test_a_missing_split_is_carved_out_of_training_never_out_of_the_test(second: str) -> None:
    splits = ["train"] * 40 + [second] * 10
    parts = class_task(table_of(["a", "b"] * 25, splits=splits), "class").parts
    assert parts.test.rows.tolist() == list(range(40, 50))
    assert parts.validation.count == 10 and parts.validation.rows.max() < 40
    assert parts.train.count == 30
    assert any("a quarter of the training files" in note for note in parts.notes)


def test_rows_without_a_label_take_no_part() -> None:
    labels = ["a", "b", ""] * 20
    task = class_task(table_of(labels), "class")
    rows = np.concatenate(
        [p.rows for p in (task.parts.train, task.parts.validation, task.parts.test)]
    )
    assert sorted(rows) == [row for row in range(60) if labels[row]]
    assert task.classes == ("a", "b")


def test_names_that_are_not_utf8_are_divided_like_others() -> None:
    odd = [os.fsdecode(b"caf\xe9 %d.mp4" % number) for number in range(20)]
    for splits in (None, ["train"] * 10 + ["test"] * 10):
        parts = class_task(table_of(["a", "b"] * 10, keys=odd, splits=splits), "class").parts
        assert parts.train.count + parts.validation.count + parts.test.count == 20


def test_votes_average_the_clips_of_a_sample() -> None:
    keys = ["x", "y", "x", "z", "y"]
    splits = ["train", "test", "train", "validation", "test"]
    table = table_of(["a"] * 5, keys=keys, splits=splits)
    parts = assign_splits(table, ["a"] * 5)
    scores = np.array([[1.0, 0.0], [0.0, 4.0]])
    assert parts.train.vote(scores).tolist() == [[0.5, 2.0]]
    assert parts.test.per_sample(np.arange(5)).tolist() == [1]


def test_a_class_without_a_training_sample_loses_its_samples_not_the_column() -> None:
    labels = ["a", "b", "a", "b", "a", "b", "odd", "a", "b", "odd", "only"]
    splits = ["train"] * 4 + ["validation"] * 3 + ["test"] * 3 + ["train"]
    task = class_task(table_of(labels, splits=splits), "class")
    assert task.classes == ("a", "b", "only")
    assert task.labels.tolist() == [0, 1, 0, 1, 0, 1, -1, 0, 1, -1, 2]
    parts = (task.parts.train, task.parts.validation, task.parts.test)
    assert [part.rows.tolist() for part in parts] == [[0, 1, 2, 3, 10], [4, 5], [7, 8]]
    assert task.parts.notes == (
        "class: 2 of 6 validation and test samples left out, of classes without a training sample: "
        "odd",
    )


@pytest.mark.parametrize(
    ("labels", "splits", "message"),
    [
        (["a"] * 10, None, r"single class a"),
        (["a"] * 10 + ["b"] * 4, None, r"too few files .*b \(4\); expected at least 5"),
        (list("abcdefg"), None, r"splits: a \(1\), .*, e \(1\) and 2 more; expected"),
        (["a", "b"] * 5, ["train"] * 9 + [""], r"1 of 10 samples have no split"),
        (["a", "b"] * 5, ["train"] * 10, r"expected train with validation"),
        (["a", "b"] * 5, ["train", "dev"] * 5, r"splits are dev, train"),
        (["a"] * 4 + ["b"] * 4, three_splits(4, 2, 2), r"no training sample of class b \(4 of 4"),
        (
            list("ababcdabce"),
            three_splits(4, 2, 4),
            r"no training sample of class c, d, e \(4 of 6",
        ),
        (list("ababcabab"), three_splits(4, 1, 4), r"no sample .* is in the validation split"),
    ],
)
def test_what_cannot_be_learned_is_refused(labels, splits, message: str) -> None:
    with pytest.raises(DataError, match=message):
        class_task(table_of(labels, splits=splits), "class")


def test_one_file_in_two_splits_is_refused() -> None:
    table = table_of(
        ["a", "b"] * 2, splits=["train", "train", "test", "test"], paths=["same.mp4"] * 4
    )
    with pytest.raises(DataError, match=r"same\.mp4 stands in two splits"):
        class_task(table, "class")


def test_a_missing_column_names_those_there_are() -> None:
    table = table_of(["a", "b"] * 5)
    with pytest.raises(DataError, match=r"no label column 'direction'; the data has class\."):
        class_task(table, "direction")
    bare = table.drop(columns="label_class")
    with pytest.raises(DataError, match="the data has no label columns"):
        class_task(bare, "direction")


def test_division_of_a_large_table_is_balanced() -> None:
    labels = [f"c{number % 8}" for number in range(400)]
    task = class_task(table_of(labels), "class")
    counts = Counter(task.labels[task.parts.test.rows].tolist())
    assert set(counts.values()) == {10}


def test_numbers_are_classes_by_their_value_and_vectors_are_none() -> None:
    assert class_task(table_of([0.0, 2.5] * 5), "class").classes == ("0", "2.5")
    with pytest.raises(DataError, match="label column 'class' holds vectors"):
        class_task(table_of([(0.0, 1.0)] * 10), "class")
