"""Features against the encoder called by hand; bad files; the cache; the pixel baseline."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from feature_worlds import coarser, memory_world, picture_frames, tiny_encoder
from torch import nn

from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.batch import normalise
from nexus.data.loading.clip_source import ClipSource
from nexus.data.loading.dataset import AugmentConfig
from nexus.errors import DataError, NexusError
from nexus.features.encoding import (
    FeatureConfig,
    check_layers,
    encoder_digest,
    fitting_batch,
    frozen,
)
from nexus.features.extract import extract, frame_differences, pixel_features
from nexus.models.encoder import VideoEncoder
from nexus.nn.grid import Grid
from nexus.training.cpu import tune

CLIP = ClipSpec(num_frames=4, size=16)


def clip_of(number: int, record, first: int) -> torch.Tensor:
    frames = torch.from_numpy(picture_frames(number, record)[first : first + 4])
    return frames.permute(3, 0, 1, 2)[None]


def test_rows_are_the_encoders_features_of_the_centre_clips(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [10, 4, 7], labels=["a", "b", ""])
    encoder = tiny_encoder()
    source = ClipSource(CLIP, catalog, decoder)
    table = extract(encoder, source, FeatureConfig(pooling="tokens", batch_size=2))
    assert table.rows["key"].tolist() == ["video 0.mp4", "video 1.mp4", "video 2.mp4"]
    assert table.rows["split"].tolist() == ["train", "validation", "test"]
    assert table.rows["label_class"].tolist() == ["a", "b", ""]
    assert table.grid == Grid(2, 2, 2) and table.features.dtype == np.float16
    for row, first in enumerate([3, 0, 2]):
        with torch.no_grad():
            tokens = encoder(normalise(clip_of(row, catalog.records[row], first)))
        np.testing.assert_allclose(table.features[row], tokens[0].numpy(), atol=2e-3)
        assert table.rows["start"].iloc[row] == pytest.approx(first / 10)
        assert table.rows["end"].iloc[row] == pytest.approx((first + 4) / 10)

    for pooling in ("mean", "mean_time"):
        direct = extract(encoder, source, FeatureConfig(pooling=pooling))
        assert direct.features.dtype == np.float32
        np.testing.assert_allclose(direct.features, coarser(table, pooling).features, atol=2e-3)
    tokens = table.features.astype(np.float64)
    np.testing.assert_allclose(direct.features[:, :8], tokens[:, :4].mean(axis=1), atol=2e-3)
    np.testing.assert_allclose(direct.features[:, 8:], tokens[:, 4:].mean(axis=1), atol=2e-3)


def test_uniform_clips_of_a_video_are_rows_of_their_own(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [10, 8])
    source = ClipSource(CLIP.with_changes(clips_per_video=3), catalog, decoder)
    table = extract(tiny_encoder(), source)
    assert table.rows["key"].tolist() == ["video 0.mp4"] * 3 + ["video 1.mp4"] * 3
    assert (table.rows["start"] * 10).round().astype(int).tolist() == [0, 3, 6, 0, 2, 4]


def test_training_settings_leave_no_trace_in_evaluation(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [10, 8])
    training = CLIP.with_changes(sampling="random", jitter=0.2, reversal=0.5)
    assert AugmentConfig().flip  # what training does by default
    encoder = tiny_encoder().train()
    tables = [extract(encoder, ClipSource(clip, catalog, decoder)) for clip in (training, CLIP)]
    np.testing.assert_array_equal(tables[0].features, tables[1].features)
    assert encoder.training and all(module.training for module in encoder.modules())


def test_batch_size_and_neighbours_do_not_matter(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [10, 8, 9, 6, 5])
    source = ClipSource(CLIP, catalog, decoder)
    encoder = tiny_encoder()
    one, many = (extract(encoder, source, FeatureConfig(batch_size=size)) for size in (1, 5))
    np.testing.assert_allclose(one.features, many.features, atol=1e-6)


def test_the_tokens_of_the_clips_at_hand_set_the_batch() -> None:
    encoder = tiny_encoder()
    for frames, sides, clips in (
        (4, (16, 16), 32),  # 8 tokens
        (4, (256, 256), 32),  # 2048
        (4, (512, 256), 16),
        (4, (1024, 512), 4),
        (64, (256, 256), 2),
        (64, (1024, 1024), 1),  # 524 288, more than the limit
    ):
        assert fitting_batch(encoder, frames, sides) == clips


def test_files_that_fail_are_named_and_nothing_takes_their_place(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [10, 3, 8, 8, 9])
    decoder.broken[str(catalog.records[2].path)] = 0
    catalog.records[3].path.unlink()
    source = ClipSource(CLIP.with_changes(clips_per_video=2), catalog, decoder)
    seen: list[tuple[int, int]] = []
    table = extract(
        tiny_encoder(), source, FeatureConfig(batch_size=4), progress=lambda *at: seen.append(at)
    )
    assert table.rows["key"].tolist() == ["video 0.mp4"] * 2 + ["video 4.mp4"] * 2
    assert [(Path(p.path).name, p.kind) for p in table.problems] == [
        ("video 1.mp4", "too_short"),
        ("video 2.mp4", "decode_failed"),
        ("video 3.mp4", "missing"),
    ]
    assert seen[-1] == (10, 10)
    whole = extract(
        tiny_encoder(), ClipSource(CLIP.with_changes(clips_per_video=2), catalog, decoder)
    )
    np.testing.assert_allclose(table.features, whole.features, atol=1e-6)


def test_no_clip_at_all_is_an_error_that_names_the_files(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [3, 2])
    with pytest.raises(DataError, match=r"no clip of memory could be read \(.*video 0\.mp4"):
        extract(tiny_encoder(), ClipSource(CLIP, catalog, decoder))


def test_features_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [5])
    encoder = tiny_encoder()
    next(encoder.parameters()).data.fill_(float("nan"))
    with pytest.raises(NexusError, match="not finite"):
        extract(encoder, ClipSource(CLIP, catalog, decoder))


def test_bf16_is_close_to_fp32(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [5, 6])
    source = ClipSource(CLIP, catalog, decoder)
    encoder = tiny_encoder()
    fine = extract(encoder, source).features
    coarse = extract(encoder, source, FeatureConfig(precision="bf16")).features
    assert coarse.dtype == np.float32
    np.testing.assert_allclose(coarse, fine, atol=0.05)
    assert not np.array_equal(coarse, fine)


def test_the_cache_answers_without_decoding_and_with_todays_labels(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [5, 6, 7], labels=["a", "b", "c"])
    encoder, cache = tiny_encoder(), tmp_path / "cache"
    source = ClipSource(CLIP, catalog, decoder)
    first = extract(encoder, source, cache_dir=cache)
    asked = len(decoder.requests)

    relabelled = replace(
        catalog,
        records=tuple(
            replace(record, labels={"class": "z"}, split=None) for record in catalog.records
        ),
    )
    again = extract(encoder, ClipSource(CLIP, relabelled, decoder), cache_dir=cache)
    assert len(decoder.requests) == asked
    np.testing.assert_array_equal(again.features, first.features)
    assert again.rows["label_class"].tolist() == ["z"] * 3
    assert again.rows["split"].tolist() == [""] * 3
    assert first.rows["label_class"].tolist() == ["a", "b", "c"]


def another_weight(encoder: VideoEncoder, source: ClipSource):
    encoder.norm.bias.data[0] += 1e-3
    return encoder, source, FeatureConfig()


def another_file(encoder: VideoEncoder, source: ClipSource):
    source.catalog.records[1].path.write_bytes(b"changed")
    return encoder, source, FeatureConfig()


def changed(source: ClipSource, **changes) -> ClipSource:
    return replace(source, spec=source.spec.with_changes(**changes))


CHANGES: dict[str, Callable] = {
    "weight": another_weight,
    "file": another_file,
    "pooling": lambda e, s: (e, s, FeatureConfig(pooling="mean_time")),
    "layers": lambda e, s: (e, s, FeatureConfig(layers=(0,))),
    "precision": lambda e, s: (e, s, FeatureConfig(precision="bf16")),
    "stride": lambda e, s: (e, changed(s, fps=5.0), None),
    "size": lambda e, s: (e, changed(s, size=(16, 24)), None),
    "clips": lambda e, s: (e, changed(s, clips_per_video=2), None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_cache_is_not_fooled(tmp_path: Path, change: str) -> None:
    catalog, decoder = memory_world(tmp_path, [8, 9])
    encoder, cache = tiny_encoder(), tmp_path / "cache"
    source = ClipSource(CLIP, catalog, decoder, keep_bytes=0)
    extract(encoder, source, FeatureConfig(), cache_dir=cache)
    asked = len(decoder.requests)
    encoder, source, config = CHANGES[change](encoder, source)
    cached = extract(encoder, source, config, cache_dir=cache)
    assert len(decoder.requests) > asked
    np.testing.assert_array_equal(cached.features, extract(encoder, source, config).features)


def test_a_damaged_cache_file_is_made_again(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [8, 9])
    source = ClipSource(CLIP, catalog, decoder)
    first = extract(tiny_encoder(), source, cache_dir=tmp_path / "cache")
    (held,) = (tmp_path / "cache").iterdir()
    held.write_bytes(held.read_bytes()[:100])
    again = extract(tiny_encoder(), source, cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(again.features, first.features)
    assert len(held.read_bytes()) > 100


@pytest.mark.parametrize("layers", [(), (2,), (-2,), (1, 0), (0, 0), (0, -1)])
def test_layers_that_are_not_there_are_refused(layers: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"rising block numbers from 0 to 1, as in 0, 1"):
        check_layers(tiny_encoder(), layers)


def test_layers_that_are_there() -> None:
    for layers in ((-1,), (0,), (1,), (0, 1)):
        check_layers(tiny_encoder(), layers)


def test_the_identity_of_weights_sees_values_names_and_settings() -> None:
    assert encoder_digest(tiny_encoder()) == encoder_digest(tiny_encoder())
    assert encoder_digest(tiny_encoder()) != encoder_digest(tiny_encoder(seed=1))
    encoder = tiny_encoder()
    other = tiny_encoder()
    other.stack.spatial[0].attn.num_heads = 4  # the same weights, another function
    assert encoder_digest(encoder) != encoder_digest(other)
    encoder.train()
    assert encoder_digest(encoder) == encoder_digest(tiny_encoder().eval())
    tune(encoder, onednn=True)  # the same features, whichever kernel
    assert encoder_digest(encoder) == encoder_digest(tiny_encoder())
    assert encoder_digest(nn.Linear(2, 2, bias=False)) != encoder_digest(nn.Linear(2, 2))


def test_frozen_restores_each_modules_own_mode() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()))
    model[1].eval()
    with frozen(model):
        assert not any(module.training for module in model.modules())
        assert not torch.is_grad_enabled()
    assert [module.training for module in model.modules()] == [True, True, False, False]


def test_pixel_features_are_averaged_pixels(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [4, 9])
    table = pixel_features(ClipSource(CLIP, catalog, decoder), size=4)
    assert table.pooling == "pixels" and table.features.shape == (2, 3 * 4 * 4 * 4)
    video = clip_of(1, catalog.records[1], 3)[0].double() / 255
    for channel in range(3):
        for frame in range(4):
            for row in range(4):
                for column in range(4):
                    place = ((channel * 4 + frame) * 4 + row) * 4 + column
                    block = video[
                        channel, frame, row * 4 : row * 4 + 4, column * 4 : column * 4 + 4
                    ]
                    assert table.features[1, place] == pytest.approx(float(block.mean()), abs=1e-6)
    tiny = pixel_features(ClipSource(CLIP, catalog, decoder), size=99)
    assert tiny.features.shape == (2, 3 * 4 * 16 * 16)  # never enlarged


def test_frame_differences_are_each_averaged_frame_less_the_one_before(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [4, 9])
    pixels = pixel_features(ClipSource(CLIP, catalog, decoder), size=4)
    table = frame_differences(pixels)
    assert table.features.shape == (2, 3 * 3 * 4 * 4) and table.grid == Grid(3, 4, 4)
    assert table.rows.equals(pixels.rows) and table.features.min() < 0 < table.features.max()
    video = clip_of(1, catalog.records[1], 3)[0].double() / 255
    place = 0
    for channel in range(3):
        for frame in range(1, 4):
            for row in range(4):
                for column in range(4):
                    now, before = (
                        video[channel, at, row * 4 : row * 4 + 4, column * 4 : column * 4 + 4]
                        for at in (frame, frame - 1)
                    )
                    change = float(now.mean() - before.mean())
                    assert table.features[1, place] == pytest.approx(change, abs=1e-6)
                    place += 1
    with pytest.raises(DataError, match="two time steps"):
        frame_differences(pixel_features(ClipSource(CLIP, catalog, decoder), size=4, numbers=1))


def test_small_sources_are_decoded_once(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [8, 9])
    source = ClipSource(CLIP, catalog, decoder)
    first = extract(tiny_encoder(), source, FeatureConfig())
    asked = len(decoder.requests)
    again = extract(tiny_encoder(), source, FeatureConfig())
    assert len(decoder.requests) == asked
    np.testing.assert_array_equal(first.features, again.features)
    singly = extract(tiny_encoder(), source, FeatureConfig(batch_size=1))
    assert len(decoder.requests) == asked and singly.rows.equals(first.rows)
    np.testing.assert_allclose(first.features, singly.features, atol=1e-6)
    large = replace(source, keep_bytes=source.nbytes - 1)
    extract(tiny_encoder(), large, FeatureConfig())
    extract(tiny_encoder(), large, FeatureConfig())
    assert len(decoder.requests) == 3 * asked
