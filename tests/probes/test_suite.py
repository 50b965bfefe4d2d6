"""All probes on all columns: which files are missing, which columns can be learned, and how."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from feature_worlds import memory_world, tiny_encoder

from nexus.data.catalog.catalog import Catalog
from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.clip_source import ClipSource
from nexus.errors import ConfigError, DataError
from nexus.probes.columns import class_columns, is_quantity
from nexus.probes.pixel_arms import measure_pixels
from nexus.probes.results import ProbeResult
from nexus.probes.suite import measure_encoder

CLIP = ClipSpec(num_frames=4, size=16)


def world(folder: Path, lengths: list[int], column: list[str]) -> tuple[Catalog, ClipSource]:
    catalog, decoder = memory_world(folder, lengths, labels=column)
    return catalog, ClipSource(CLIP, catalog, decoder)


def test_files_that_are_too_short_are_named_once(tmp_path: Path) -> None:
    lengths = [6] * 18 + [3, 2]
    catalog, source = world(tmp_path, lengths, [f"c{number // 3 % 2}" for number in range(20)])
    short = [str(record.path) for record in catalog.records[-2:]]
    for measured in (
        measure_encoder(tiny_encoder(), source, ["class"], kinds=("knn", "attentive"), seeds=1),
        *measure_pixels(source, ["class"], kinds=("knn",)).values(),
    ):
        assert [problem.path for problem in measured.problems] == short
        assert all("4 frames" in problem.reason for problem in measured.problems)
        [result] = measured.results["class", "knn"]
        assert (result.n_train, result.n_validation, result.n_test) == (6, 6, 6)
        counted = (
            "memory, clips of 4 frames with a stride of 1: 2 of 20 files left out (too short: 2)"
        )
        assert measured.notes[0] == counted


def test_no_more_tokens_at_a_time_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, source = world(tmp_path, [6] * 18, [f"c{number // 3 % 2}" for number in range(18)])
    encoder = tiny_encoder()
    shapes: list[tuple[int, ...]] = []
    encoder.norm.register_forward_hook(lambda _, inputs, out: shapes.append(tuple(out.shape)))
    kinds = ("linear", "attentive")
    free = measure_encoder(encoder, source, ["class"], kinds=kinds, seeds=1)
    assert [shape[0] for shape in shapes] == [18, 18]
    assert all(shape[1] == 8 for shape in shapes)
    shapes.clear()
    monkeypatch.setattr("nexus.features.encoding.TOKENS_AT_ONCE", 39)
    bound = measure_encoder(encoder, replace(source), ["class"], kinds=kinds, seeds=1)
    assert [shape[0] for shape in shapes] == [4, 4, 4, 4, 2] * 2
    for key, [result] in free.results.items():
        assert bound.results[key][0].value == pytest.approx(result.value)


@pytest.mark.parametrize(
    ("values", "quantity"),
    [
        ([f"{number % 48}" for number in range(96)], False),  # class numbers, two files each
        ([f"{number % 48}.0" for number in range(96)], False),  # the same, as tables write them
        ([f"{number % 48}" for number in range(95)], True),  # hardly any twice
        ([f"{number}" for number in range(20)], False),  # few enough to be classes
        ([f"{number}" for number in range(21)], True),
        ([f"{number % 21 + 0.5}" for number in range(210)], True),  # not whole
        ([f"{number % 20 + 0.5}" for number in range(210)], False),
        ([*(f"{number % 21}" for number in range(41)), "4.5", "", ""], True),
        ([*(f"{number}" for number in range(40)), "nan"], True),
        ([f"c{number}" for number in range(40)], False),
        (["", ""], False),
    ],
)
def test_quantities_are_fractions_or_hardly_repeat(
    tmp_path: Path, values: list[str], quantity: bool
) -> None:
    catalog, _ = memory_world(tmp_path, [6] * len(values), labels=values)
    assert is_quantity(catalog, "class") is quantity


def scarce_classes(folder: Path) -> tuple[Catalog, ClipSource]:
    """22 numbers, each in the training split, ten of them in the others: 42 files."""
    values = [*range(22), *range(10), *range(10)]
    catalog, source = world(folder, [6] * 42, [str(value) for value in values])
    splits = ["train"] * 22 + ["validation"] * 10 + ["test"] * 10
    records = [
        replace(record, split=split) for record, split in zip(catalog.records, splits, strict=True)
    ]
    catalog = replace(catalog, records=tuple(records))
    return catalog, replace(source, catalog=catalog)


def test_an_attentive_probe_takes_numbers_as_classes_if_they_can_be(tmp_path: Path) -> None:
    catalog, source = scarce_classes(tmp_path)
    assert is_quantity(catalog, "class")
    measured = measure_encoder(
        tiny_encoder(), source, ["class"], kinds=("linear", "attentive"), seeds=1, strict=True
    )
    found = {probe: result.metric for (_, probe), [result] in measured.results.items()}
    assert found.pop("ridge") == "r2" and list(found.values()) == ["accuracy"]
    assert "numbers of many values, so they are regressed" in measured.notes[0]
    assert class_columns(catalog, "class") == (["class"], [])
    with pytest.raises(DataError, match=r"to learn \(class: not learned .* many values"):
        class_columns(catalog, None)


def test_a_column_that_cannot_be_learned_says_why(tmp_path: Path) -> None:
    catalog, source = world(tmp_path, [6] * 30, [f"{number / 7}" for number in range(30)])
    source = replace(source, catalog=catalog)
    reason = "label column 'class' holds numbers of many values.*as classes.*no training sample"
    with pytest.raises(DataError, match=reason):
        class_columns(catalog, "class")
    with pytest.raises(DataError, match=reason):
        measure_encoder(tiny_encoder(), source, ["class"], kinds=("attentive",), strict=True)
    measured = measure_encoder(tiny_encoder(), source, ["class"], kinds=("attentive",))
    assert not measured.results
    [note] = measured.notes
    assert note.startswith("class: not measured (label column 'class' holds numbers")
    both = measure_encoder(tiny_encoder(), source, ["class"], kinds=("linear", "attentive"))
    assert list(both.results) == [("class", "ridge")]
    assert "class: no attentive probe, as classes (" in both.notes[1]


def test_classes_that_cannot_be_learned_are_left_out_with_the_reason(tmp_path: Path) -> None:
    catalog, _ = world(tmp_path, [6] * 12, ["a", "b"] * 6)
    records = [replace(record, labels={**record.labels, "same": "x"}) for record in catalog.records]
    catalog = replace(catalog, records=tuple(records))
    columns, notes = class_columns(catalog, None)
    assert columns == ["class"] and len(notes) == 1
    assert notes[0].startswith("same: not learned (label column 'same' holds the single class x")
    with pytest.raises(DataError, match=r"^label column 'same' holds the single class x"):
        class_columns(catalog, "same")


class OwnProbe:
    """Scores how many tokens, or vectors, it was shown."""

    def __init__(self, reads: str = "tokens") -> None:
        self.reads = reads

    def measure(self, features, column, *, seeds, device):
        shown = np.asarray(features.features[:])
        result = ProbeResult(
            task=column, probe=f"own {self.reads}", metric="count", value=float(shown.shape[1]),
            validation=0.0, ci95=(0.0, 0.0), chosen={}, chance=0.0, n_train=1, n_validation=1,
            n_test=len(features), seed=0,
        )  # fmt: skip
        return [replace(result, seed=seed) for seed in seeds]


class PooledProbe(OwnProbe):
    def __init__(self) -> None:
        super().__init__("pooled")


class DeafProbe(OwnProbe):
    def __init__(self) -> None:
        super().__init__("pixels")


def test_a_probe_of_ones_own_is_named_by_its_place(tmp_path: Path) -> None:
    _, source = world(tmp_path, [6] * 18, [f"c{number // 3 % 2}" for number in range(18)])
    kinds = (f"{__name__}:OwnProbe", "knn", f"{__name__}:PooledProbe")
    measured = measure_encoder(tiny_encoder(), source, ["class"], kinds=kinds, seeds=2)
    assert list(measured.results) == [
        ("class", "own tokens"), ("class", "knn"), ("class", "own pooled")
    ]  # fmt: skip
    tokens, pooled = (measured.results["class", f"own {kind}"] for kind in ("tokens", "pooled"))
    assert [(one.seed, one.value, one.n_test) for one in tokens] == [(0, 8.0, 18), (1, 8.0, 18)]
    assert [one.value for one in pooled] == [8.0, 8.0]
    for pixels in measure_pixels(source, ["class"], kinds=kinds).values():
        assert list(pixels.results) == [("class", "knn"), ("class", "own pooled")]


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (("knnn",), "unknown probe 'knnn'; did you mean 'knn'"),
        ((), "no kind of probe is given; known: linear, knn, attentive"),
        ((f"{__name__}:NoProbe",), "has no 'NoProbe'"),
        ((f"{__name__}:DeafProbe",), "reads 'pixels'; expected .* 'pooled' or 'tokens'"),
        ((f"{__name__}:replace",), "does not take these settings"),
    ],
)
def test_what_is_no_probe_is_refused_before_anything_is_read(
    tmp_path: Path, kinds: tuple[str, ...], message: str
) -> None:
    catalog, decoder = memory_world(tmp_path, [6] * 3, labels=["a", "b", "c"])
    source = ClipSource(CLIP, catalog, decoder)
    with pytest.raises(ConfigError, match=message):
        measure_encoder(tiny_encoder(), source, ["class"], kinds=kinds)
    with pytest.raises(ConfigError, match=message):
        measure_pixels(source, ["class"], kinds=kinds)
    assert not decoder.requests


def test_vectors_are_regressed_jointly(tmp_path: Path) -> None:
    catalog, source = world(tmp_path, [6] * 30, ["x"] * 30)
    places = np.random.default_rng(0).normal(size=(30, 2))
    records = [
        replace(record, labels={"place": tuple(place.tolist())})
        for record, place in zip(catalog.records, places, strict=True)
    ]
    source = replace(source, catalog=replace(catalog, records=tuple(records)))
    kinds = ("linear", "knn", "attentive")
    assert is_quantity(source.catalog, "place")
    measured = measure_encoder(tiny_encoder(), source, ["place"], kinds=kinds, seeds=1)
    [((task, probe), [result])] = measured.results.items()
    assert (task, probe, result.metric, result.n_train) == ("place", "ridge", "r2", 10)
    assert any("holds vectors" in note for note in measured.notes)
