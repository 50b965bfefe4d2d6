"""All probes on all columns: which files are missing, which columns can be learned, and how."""

from pathlib import Path

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
