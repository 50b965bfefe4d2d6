"""Answers of probes as a file: whole, merged, and never wrong in silence."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from nexus.errors import DataError, RunError
from nexus.runs.predictions import (
    Answers,
    Predictions,
    ProbePredictions,
    ShownClip,
    write_predictions,
)

NUMBERS = st.integers(0, 3)
GIVEN = st.lists(st.tuples(NUMBERS, NUMBERS, st.floats(0, 1)), max_size=40)


def answers(given_: list[tuple[int, int, float]]) -> Answers:
    truth, guess, confidence = zip(*given_, strict=True) if given_ else ((), (), ())
    return Answers(
        classes=("a", "b", "c", "d"),
        samples=tuple(f"{place}.mp4" for place in range(len(given_))),
        truth=truth,
        guess=guess,
        confidence=confidence,
    )


def table(probe: str = "linear", task: str = "shape", sure: float = 0.5) -> ProbePredictions:
    clip = ShownClip(key="0.mp4", labels={"shape": "a"}, jpeg="/9j/")
    made = answers([(0, 1, sure), (2, 2, 0.9)])
    return ProbePredictions(arm="vjepa", task=task, probe=probe, answers=made, mistakes=(clip,))


@given(GIVEN)
def test_the_confusion_is_that_of_scikit_learn(given_: list[tuple[int, int, float]]) -> None:
    made = answers(given_)
    if given_:
        expected = confusion_matrix(made.truth, made.guess, labels=range(4))
        np.testing.assert_array_equal(made.confusion, expected)
    assert made.confusion.sum() == len(given_)


@given(GIVEN, st.integers(0, 10))
def test_mistakes_are_the_surest_wrong_answers_of_many_kinds(
    given_: list[tuple[int, int, float]], count: int
) -> None:
    made = answers(given_)
    chosen = made.mistakes(count)
    wrong = [place for place, (truth, guess, _) in enumerate(given_) if truth != guess]
    assert len(chosen) == len(set(chosen)) == min(count, len(wrong))
    assert set(chosen) <= set(wrong)
    sure = [made.confidence[place] for place in chosen]
    assert sure == sorted(sure, reverse=True)
    kinds = [(made.truth[place], made.guess[place]) for place in chosen]
    crowded = max((kinds.count(kind) for kind in kinds), default=0)
    pairs = {(made.truth[place], made.guess[place]) for place in wrong}
    if crowded > 2:  # then every kind of mistake had its turn
        assert set(kinds) == pairs


def test_tables_are_kept_beside_others_and_replaced_in_their_place(tmp_path: Path) -> None:
    path = tmp_path / "results/predictions.json"
    write_predictions(path, [table(), table("knn")])
    write_predictions(path, [table(sure=0.7), table(task="speed")])
    held = Predictions.read(path).tables
    assert [each.name[1:] for each in held] == [
        ("shape", "linear"), ("shape", "knn"), ("speed", "linear"),
    ]  # fmt: skip
    assert held[0].answers.confidence[0] == 0.7 and held[0] == table(sure=0.7)


@pytest.mark.parametrize("text", ["{", "[]", '{"tables": [{"arm": 1}]}'])
def test_another_file_is_not_overwritten(tmp_path: Path, text: str) -> None:
    path = tmp_path / "predictions.json"
    path.write_text(text)
    with pytest.raises(DataError, match="cannot be read"):
        write_predictions(path, [table()])
    assert path.read_text() == text


def test_a_later_versions_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps({"format": 99, "tables": []}))
    with pytest.raises(RunError, match="later version"):
        write_predictions(path, [table()])


@pytest.mark.parametrize(
    "change", [{"guess": (1,)}, {"truth": (0, 4)}, {"guess": (-1, 0)}, {"samples": ("0.mp4",) * 3}]
)
def test_answers_that_do_not_fit_together_are_refused(change: dict) -> None:
    with pytest.raises(ValueError, match=r"of different length|none of the 4 classes"):
        table().answers.with_changes(**change)


def test_a_picture_holds_nothing_but_a_picture() -> None:
    with pytest.raises(ValueError, match="pattern"):
        ShownClip(key="x", jpeg='/9j/"><script>')


def test_names_that_are_not_unicode_come_back(tmp_path: Path) -> None:
    odd = table().with_changes(mistakes=(ShownClip(key="\udcff.mp4", jpeg="/9j/"),))
    write_predictions(tmp_path / "p.json", [odd])
    assert Predictions.read(tmp_path / "p.json").tables == (odd,)
