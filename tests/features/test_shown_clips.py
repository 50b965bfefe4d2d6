"""Which clips of a run are shown."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from nexus.data.catalog.catalog import Catalog, VideoRecord
from nexus.features.pictures import different_videos


def records(*paths: str) -> Catalog:
    listed = (
        VideoRecord(
            Path(path), f"{path}#{number}", "video", 8, 8.0, 1.0, 16, 16, "h264", False, {},
        )
        for number, path in enumerate(paths)
    )  # fmt: skip
    return Catalog("list", tuple(listed), ())


@given(st.lists(st.sampled_from("abcdef"), max_size=12), st.integers(0, 8))
def test_shown_clips_are_of_as_many_files_as_there_are(paths: list[str], count: int) -> None:
    catalog = records(*paths)
    chosen = different_videos(catalog, count).records
    assert len(chosen) == min(count, len(paths)) == len({record.key for record in chosen})
    assert len({record.path for record in chosen}) == min(count, len(set(paths)))
