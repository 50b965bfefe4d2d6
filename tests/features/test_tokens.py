"""Tokens from a table, from the encoder anew, and of joined clips: always the same tokens."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from feature_worlds import MemoryDecoder, make_table, memory_world, tiny_encoder

from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.clip_source import ClipSource
from nexus.errors import DataError
from nexus.features import tokens as token_sources
from nexus.features.encoding import FeatureConfig
from nexus.features.extract import extract
from nexus.features.table import FeatureTable, PiecewiseRows
from nexus.features.tokens import (
    JoinedTokens,
    LiveTokens,
    TokenSource,
    live_tokens,
    split_rows,
    token_bytes,
    token_source,
)
from nexus.probes.attentive import AttentiveProbe

CLIP = ClipSpec(num_frames=4, size=16)
TOKENS = FeatureConfig(pooling="tokens", layers=(0, 1), batch_size=4)
QUICK = AttentiveProbe(epochs=2, learning_rates=(1e-2,), weight_decays=(0.0,), batch_size=8)


def world(folder: Path, count: int = 12, clips: int = 1) -> tuple[ClipSource, MemoryDecoder]:
    labels = [f"c{number // 3 % 2}" for number in range(count)]
    catalog, decoder = memory_world(folder, [8 + n % 3 for n in range(count)], labels=labels)
    return ClipSource(CLIP.with_changes(clips_per_video=clips), catalog, decoder), decoder


def all_tokens(source: TokenSource, size: int = 5) -> torch.Tensor:
    parts = split_rows(np.arange(len(source.rows)), size)
    return torch.cat(list(source.batches(parts)))


def test_the_encoder_anew_gives_what_the_table_holds(tmp_path: Path) -> None:
    source, decoder = world(tmp_path)
    decoder.broken[str(source.catalog.records[4].path)] = 0
    encoder = tiny_encoder()
    kept = extract(encoder, source, TOKENS)
    live = live_tokens(encoder, source, TOKENS)
    assert live.dim == kept.dim == 8
    assert len(live.rows) == len(kept.rows) == 11
    pd.testing.assert_frame_equal(live.rows, kept.rows)
    assert live.problems == kept.problems and live.config.layers == kept.layers
    assert all_tokens(live).shape == (11, 2 * 8, 8)
    torch.testing.assert_close(all_tokens(live), all_tokens(kept), atol=2e-3, rtol=0)
    backwards = [np.array([9, 2]), np.array([0])]
    for got, rows in zip(live.batches(backwards), backwards, strict=True):
        torch.testing.assert_close(got, all_tokens(kept)[rows], atol=2e-3, rtol=0)


def test_layers_become_tokens_one_after_the_other(tmp_path: Path) -> None:
    source, _ = world(tmp_path, 2)
    encoder = tiny_encoder()
    both = all_tokens(extract(encoder, source, TOKENS))
    for number in (0, 1):
        config = TOKENS.with_changes(layers=(number,))
        alone = all_tokens(extract(encoder, source, config))
        assert torch.equal(both[:, 8 * number : 8 * number + 8], alone)


def test_a_probe_learns_the_same_from_either(tmp_path: Path) -> None:
    source, _ = world(tmp_path, 24)
    encoder = tiny_encoder().train()
    kept = token_source(encoder, source, TOKENS, cache_dir=tmp_path / "cache")
    live = token_source(encoder, source, TOKENS)
    assert isinstance(kept, FeatureTable) and isinstance(live, LiveTokens)
    first, second = (QUICK.fit(one, "class") for one in (kept, live))
    assert first.sweep[0].loss == pytest.approx(second.sweep[0].loss, abs=1e-3)
    assert first.result == second.result
    assert encoder.training and all(p.grad is None for p in encoder.parameters())


def test_kept_tokens_are_mapped_and_used_again(tmp_path: Path) -> None:
    source, decoder = world(tmp_path)
    encoder = tiny_encoder()
    first = token_source(encoder, source, TOKENS, cache_dir=tmp_path / "cache")
    asked = len(decoder.requests)
    again = token_source(encoder, source, TOKENS, cache_dir=tmp_path / "cache")
    assert len(decoder.requests) == asked
    assert isinstance(again, FeatureTable) and isinstance(again.features, PiecewiseRows)
    assert torch.equal(all_tokens(first), all_tokens(again))


def test_tokens_that_do_not_fit_on_the_disk_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = world(tmp_path)
    encoder, told = tiny_encoder(), []
    table = extract(encoder, source, TOKENS)
    needed = token_bytes(encoder, source, TOKENS)
    assert needed == table.features.nbytes
    monkeypatch.setattr(token_sources, "_free", lambda folder: int(needed / 0.9) - 1)
    found = token_source(encoder, source, TOKENS, cache_dir=tmp_path / "cache", say=told.append)
    assert isinstance(found, LiveTokens) and not (tmp_path / "cache").exists()
    assert "worked out anew in every epoch" in told[0]
    monkeypatch.setattr(token_sources, "_free", lambda folder: int(needed / 0.9) + 2)
    found = token_source(encoder, source, TOKENS, cache_dir=tmp_path / "cache", say=told.append)
    assert isinstance(found, FeatureTable) and len(told) == 1


def test_joined_clips_are_one_row_with_the_tokens_of_all(tmp_path: Path) -> None:
    source, _ = world(tmp_path, 4, clips=2)
    base = extract(tiny_encoder(), source, TOKENS)
    lost = base.take(np.array([0, 1, 2, 4, 5, 6, 7]))
    joined = JoinedTokens(lost, 2)
    assert joined.left_out == ("video 1.mp4",)
    assert joined.rows["key"].tolist() == ["video 0.mp4", "video 2.mp4", "video 3.mp4"]
    assert joined.rows["label_class"].tolist()[1] == "c0" and joined.dim == 8
    assert joined.rows["start"].tolist() == base.rows["start"].iloc[[0, 4, 6]].tolist()
    assert joined.rows["end"].tolist() == base.rows["end"].iloc[[1, 5, 7]].tolist()
    single = all_tokens(base)
    expected = torch.stack([torch.cat([single[row], single[row + 1]]) for row in (0, 4, 6)])
    assert torch.equal(all_tokens(joined, 2), expected)
    with pytest.raises(DataError, match="not one video has all of its 3 clips"):
        JoinedTokens(base, 3)


def test_a_clip_that_vanishes_is_named(tmp_path: Path) -> None:
    source, decoder = world(tmp_path, 3)
    live = live_tokens(tiny_encoder(), source, TOKENS)
    decoder.broken[str(source.catalog.records[1].path)] = 0
    with pytest.raises(DataError, match=r"video 1\.mp4.*damaged"):
        all_tokens(live)
    for record in source.catalog.records:
        decoder.broken[str(record.path)] = 0
    with pytest.raises(DataError, match="no clip of memory could be read"):
        live_tokens(tiny_encoder(), source, TOKENS)


def test_taking_rows_of_a_table() -> None:
    table = make_table(np.arange(12.0).reshape(4, 3), ["a", "b", "c", "d"])
    some = table.take(np.array([3, 1]))
    assert some.features.tolist() == [[9.0, 10.0, 11.0], [3.0, 4.0, 5.0]]
    assert some.rows["key"].tolist() == [table.rows["key"][3], table.rows["key"][1]]
    assert some.rows["label_class"].tolist() == ["d", "b"]
