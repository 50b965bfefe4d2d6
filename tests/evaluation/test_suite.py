"""All probes on all columns: which files are missing, which columns can be learned, and how."""

from dataclasses import replace
from pathlib import Path

import pytest
from feature_worlds import memory_world, tiny_encoder

from nexus.data.catalog import Catalog
from nexus.data.clips import ClipConfig
from nexus.evaluation.source import ClipSource
from nexus.evaluation.suite import measure_encoder, measure_pixels

CLIP = ClipConfig(num_frames=4)


def world(folder: Path, lengths: list[int], column: list[str]) -> tuple[Catalog, ClipSource]:
    catalog, decoder = memory_world(folder, lengths, labels=column)
    return catalog, ClipSource(catalog, CLIP, 16, decoder=decoder)


def test_files_that_are_too_short_are_named_once(tmp_path: Path) -> None:
    lengths = [6] * 18 + [3, 2]
    catalog, source = world(tmp_path, lengths, [f"c{number // 3 % 2}" for number in range(20)])
    short = [str(record.path) for record in catalog.records[-2:]]
    for measured in (
        measure_encoder(tiny_encoder(), source, ["class"], kinds=("knn", "attentive"), seeds=1),
        measure_pixels(source, ["class"], kinds=("knn",)),
    ):
        assert [problem.path for problem in measured.problems] == short
        assert all("4 frames" in problem.reason for problem in measured.problems)
        [result] = measured.results["class", "knn"]
        assert (result.n_train, result.n_validation, result.n_test) == (6, 6, 6)


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
    monkeypatch.setattr("nexus.evaluation.frozen.TOKENS_AT_ONCE", 39)
    bound = measure_encoder(encoder, replace(source), ["class"], kinds=kinds, seeds=1)
    assert [shape[0] for shape in shapes] == [4, 4, 4, 4, 2] * 2
    for key, [result] in free.results.items():
        assert bound.results[key][0].value == pytest.approx(result.value)
