"""Sliding-window features: the right pixels at the right times, failures named, any file type."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from feature_worlds import MemoryDecoder, memory_world, picture_frames, tiny_encoder
from oracles.tiny import stir
from oracles.whole_clips import center_view

from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.augment import to_gray
from nexus.data.loading.batch import normalise
from nexus.data.loading.clip_source import ClipSource
from nexus.data.loading.loader import one_ahead
from nexus.errors import DataError
from nexus.features.encoding import FeatureConfig
from nexus.features.extract import Embedded, embed
from nexus.features.table_files import load_table
from nexus.features.window_reader import WindowReader
from nexus.models.heads import AttentiveHead, AttentiveHeadConfig

CLIP = ClipSpec(num_frames=4, size=16)


@pytest.mark.parametrize("ending", ["arrow", "parquet"])
def test_each_row_is_its_windows_feature(tmp_path: Path, ending: str) -> None:
    catalog, decoder = memory_world(tmp_path, [10, 5], labels=["a", "b"])
    encoder = tiny_encoder()
    seen: list[tuple[int, int]] = []
    out = tmp_path / f"out.{ending}"
    written = embed(
        encoder,
        ClipSource(CLIP, catalog, decoder),
        out,
        overlap=0.5,
        config=FeatureConfig(batch_size=3),
        progress=lambda *at: seen.append(at),
    )
    table = load_table(out)
    assert (len(table), table.rows["path"].nunique()) == (6, 2)
    assert written == Embedded(6, 2, ())
    assert table.rows["key"].tolist() == ["video 0.mp4"] * 4 + ["video 1.mp4"] * 2
    firsts = [0, 2, 4, 6, 0, 1]
    assert table.rows["start"].tolist() == pytest.approx([first / 10 for first in firsts])
    assert table.rows["end"].tolist() == pytest.approx([(first + 4) / 10 for first in firsts])
    assert table.rows[["label_class", "split"]].iloc[5].tolist() == ["b", "validation"]
    for row, first in enumerate(firsts):
        number = int(row > 3)
        frames = picture_frames(number, catalog.records[number])[first : first + 4]
        video = torch.from_numpy(frames).permute(3, 0, 1, 2)[None]
        with torch.no_grad():
            expected = encoder(normalise(video)).mean(dim=1)[0]
        np.testing.assert_allclose(table.features[row], expected.numpy(), atol=1e-5)
    assert seen[-1] == (2, 2)


def test_several_layers_stand_side_by_side(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [10])
    encoder = tiny_encoder()
    stir(encoder)
    out = tmp_path / "out.parquet"
    config = FeatureConfig(layers=(0, 1))
    embed(encoder, ClipSource(CLIP, catalog, decoder), out, config=config)
    table = load_table(out)
    assert table.layers == (0, 1) and table.features.shape == (3, 16)
    video = torch.from_numpy(picture_frames(0, catalog.records[0])[:4]).permute(3, 0, 1, 2)
    with torch.no_grad():
        first, last = encoder.features(normalise(video[None]), blocks=[0, 1])
    expected = torch.cat([first.mean(1), last.mean(1)], dim=1)[0]
    np.testing.assert_allclose(table.features[0], expected.numpy(), atol=1e-5)
    assert not np.allclose(first.mean(1), last.mean(1), atol=0.1)


def test_a_probe_pools_the_tokens_of_its_layers(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [4])
    encoder = tiny_encoder()
    torch.manual_seed(1)
    head = AttentiveHead(AttentiveHeadConfig(dim=8, num_classes=3, num_heads=2, depth=2))
    out = tmp_path / "out.arrow"
    config = FeatureConfig(pooling="attentive", layers=(0, 1))
    embed(encoder, ClipSource(CLIP, catalog, decoder), out, config=config, head=head)
    table = load_table(out)
    assert table.pooling == "attentive"
    video = torch.from_numpy(picture_frames(0, catalog.records[0])[:4]).permute(3, 0, 1, 2)
    with torch.no_grad():
        tokens = torch.cat(encoder.features(normalise(video[None]), blocks=[0, 1]), dim=1)
        expected = head.pooler(tokens)[:, 0]
    np.testing.assert_allclose(table.features, expected.numpy(), atol=1e-5)


def test_failures_are_named_and_take_only_themselves_along(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [8, 3, 12, 8, 8])
    decoder.broken[str(catalog.records[2].path)] = 9  # the last of three windows
    decoder.broken[str(catalog.records[3].path)] = 0
    catalog.records[4].path.unlink()
    source = ClipSource(CLIP, catalog, decoder)
    written = embed(tiny_encoder(), source, tmp_path / "out.parquet")
    assert (written.rows, written.videos) == (4, 2)
    problems = written.problems
    table = load_table(tmp_path / "out.parquet")
    assert table.rows["key"].tolist() == ["video 0.mp4"] * 2 + ["video 2.mp4"] * 2
    assert table.rows["start"].tolist() == pytest.approx([0.0, 0.4, 0.0, 0.4])
    assert [(Path(p.path).name, p.kind, p.fatal) for p in problems] == [
        ("video 1.mp4", "too_short", True),
        ("video 4.mp4", "missing", True),
        ("video 2.mp4", "decode_failed", False),
        ("video 3.mp4", "decode_failed", True),
    ]
    assert "1 of 3 windows left out, the first from 0.800 to 1.200 s" in problems[2].reason
    assert table.problems == problems
    assert (len(table), table.rows["path"].nunique()) == (4, 2)


FIVE_WINDOWS = 5 * 4 * 16 * 16 * 3


def test_long_videos_are_decoded_in_pieces(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [103])
    source = ClipSource(CLIP, catalog, decoder)
    whole = list(WindowReader(source).windows())
    assert len(decoder.requests) == 1
    parts = list(WindowReader(source, chunk_bytes=FIVE_WINDOWS).windows())
    assert len(decoder.requests) == 1 + 6 and max(n for _, n in decoder.requests[1:]) <= 20
    for part, window in zip(parts, whole, strict=True):
        assert (part.times[0], part.end) == (window.times[0], window.end)
        assert torch.equal(part.video, window.video)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sides", [(16, 24), (50, 37), (9, 70)])
def test_pictures_are_made_small_one_by_one_with_the_bits_of_whole_windows(
    tmp_path: Path, sides: tuple[int, int], channels: int
) -> None:
    catalog, _ = memory_world(tmp_path, [11])
    record = replace(catalog.records[0], height=sides[0], width=sides[1])
    spec = CLIP.with_changes(size=(16, 24), channels=channels)
    source = ClipSource(spec, replace(catalog, records=(record,)), MemoryDecoder([record]))
    reader = WindowReader(source, overlap=0.5)
    found = list(reader.windows())
    frames = torch.from_numpy(picture_frames(0, record))
    assert len(found) == 5
    for window, first in zip(found, [0, 2, 4, 6, 7], strict=True):
        expected = center_view(frames[first : first + 4], (16, 24))
        assert torch.equal(window.video, to_gray(expected) if channels == 1 else expected)


def test_large_pictures_are_counted_at_the_size_that_is_kept(tmp_path: Path) -> None:
    class Watched(MemoryDecoder):
        def frames(self, path, indices, view=None):
            assert view is not None
            pictures = super().frames(path, indices, view)
            kept.append(pictures.shape)
            return pictures

    kept: list[tuple[int, ...]] = []
    catalog, _ = memory_world(tmp_path, [80], size=64)
    source = ClipSource(CLIP, catalog, Watched(catalog.records))
    assert len(list(WindowReader(source, chunk_bytes=FIVE_WINDOWS).windows())) == 20
    assert kept == [(20, 16, 16, 3)] * 4


def test_nothing_to_embed_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [3])
    for ending in ("arrow", "parquet"):
        with pytest.raises(DataError, match=r"no window of memory could be read \(.*video 0"):
            embed(tiny_encoder(), ClipSource(CLIP, catalog, decoder), tmp_path / f"x.{ending}")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["video 0.mp4"]


def test_a_wrong_ending_is_refused_before_anything_is_decoded(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [8])
    source = ClipSource(CLIP, catalog, decoder)
    with pytest.raises(DataError, match=r"\.arrow or \.parquet"):
        embed(tiny_encoder(), source, tmp_path / "x.csv")
    with pytest.raises(DataError, match=r"an \.arrow or .*, got 'x\.npz'"):
        embed(tiny_encoder(), source, tmp_path / "x.npz")
    assert decoder.requests == []


def test_what_is_made_ahead_keeps_its_order_and_does_not_run_far_ahead() -> None:
    started: list[int] = []
    gate = threading.Event()

    def numbers() -> Iterator[int]:
        for number in range(20):
            started.append(number)
            if number == 0:
                gate.wait(10)
            yield number

    results = one_ahead(numbers())
    gate.set()
    assert next(results) == 0
    assert len(started) <= 2
    assert list(results) == list(range(1, 20))


def test_an_error_ahead_arrives_at_the_caller() -> None:
    def fail() -> Iterator[int]:
        yield 1
        raise RuntimeError("broken job")

    with pytest.raises(RuntimeError, match="broken job"):
        list(one_ahead(fail()))


def test_batches_hold_all_windows_in_order(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [28])
    source = ClipSource(CLIP, catalog, decoder)
    windows = list(WindowReader(source).windows())
    batches = list(WindowReader(source).batches(3))
    assert [len(loaded.batch) for loaded in batches] == [3, 3, 1]
    assert torch.equal(
        torch.cat([loaded.batch.clips for loaded in batches]),
        torch.stack([window.video for window in windows]),
    )
    assert [start for loaded in batches for start in loaded.starts.tolist()] == pytest.approx(
        [0.4 * number for number in range(7)]
    )
    assert (
        list(WindowReader(replace(source, catalog=replace(catalog, records=()))).batches(3)) == []
    )


@pytest.mark.parametrize("ending", ["arrow", "parquet"])
def test_the_file_says_what_made_it(tmp_path: Path, ending: str) -> None:
    catalog, decoder = memory_world(tmp_path, [8])
    out, about = tmp_path / f"a.{ending}", {"weights": "w.pt", "fps": 4.0, "size": [16, 16]}
    embed(tiny_encoder(), ClipSource(CLIP, catalog, decoder), out, about=about)
    assert load_table(out).about == about
    assert load_table(out).take(np.array([0])).about == about
