"""Patch colours: the components against numpy's SVD, the colours against their definition."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus.features.colours import patch_colours, principal_components, to_colours
from nexus.models.encoder import EncoderConfig, VideoEncoder


@settings(max_examples=25, deadline=None)
@given(dim=st.integers(3, 12), count=st.integers(20, 60), seed=st.integers(0, 1000))
def test_components_are_those_of_the_svd(dim: int, count: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(count, dim)) * 2.0 ** np.arange(dim) + 7
    projected, explained = principal_components(features)
    left, singular, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    expected = left[:, :3] * singular[:3]
    signs = np.sign((projected * expected).sum(axis=0))
    np.testing.assert_allclose(projected, expected * signs, rtol=1e-6, atol=1e-6 * singular[0])
    np.testing.assert_allclose(explained, singular[:3] ** 2 / (singular**2).sum(), rtol=1e-6)


def test_the_sign_does_not_depend_on_the_sample() -> None:
    generator = np.random.default_rng(0)
    axis = np.array([0.1, -3.0, 1.0, 0.5])
    along = generator.normal(size=200)
    features = np.outer(along, axis) + 0.01 * generator.normal(size=(200, 4))
    for part in (features, features[::-1], features[:100], features[100:], features * 2):
        coordinates = principal_components(part)[0][:, 0]
        # the largest entry of the axis, the second, counts as positive
        assert np.corrcoef(coordinates, part[:, 1])[0, 1] > 0.99


def test_fewer_dimensions_than_colours_and_no_variance_at_all() -> None:
    projected, explained = principal_components(np.array([[0.0, 0.0], [2.0, 0.0], [4.0, 1.0]]))
    assert projected.shape == (3, 3) and (projected[:, 2] == 0).all() and explained[2] == 0
    assert explained.sum() == pytest.approx(1.0)
    projected, explained = principal_components(np.ones((5, 4)))
    assert (projected == 0).all() and (explained == 0).all()
    assert (to_colours(projected) == 128).all()


def test_colours_run_from_the_first_to_the_last_percentile() -> None:
    values = np.repeat(np.arange(1001.0)[:, None], 3, axis=1)
    values[0], values[-1] = -1e6, 1e6  # outliers do not eat the range
    colours = to_colours(values)
    assert colours[0, 0] == 0 and colours[-1, 0] == 255
    assert colours[10, 0] == 0 and colours[990, 0] == 255
    assert colours[500, 0] in (127, 128)
    assert (np.diff(colours[:, 0].astype(int)) >= 0).all()


def test_one_pca_for_all_clips_laid_out_as_time_rows_columns(tmp_path: Path) -> None:
    """Only one patch of one clip differs from the rest: it alone stands out, at its place."""
    torch.manual_seed(0)
    config = EncoderConfig(
        img_size=32, patch_size=8, num_frames=4, encoder_dim=16, num_heads=2,
        num_spatial_layers=1, num_temporal_layers=0,
    )  # fmt: skip
    encoder = VideoEncoder(config)
    for block in encoder.stack.spatial:  # no mixing between places: a patch sees only itself
        torch.nn.init.zeros_(block.attn.proj.weight)
    for table in encoder.positions.parameters():
        table.data.zero_()
    video = torch.full((2, 3, 4, 32, 24), 100, dtype=torch.uint8)
    video[1, :, 2:4, 16:24, 8:16] = 250
    encoder.train()
    result = patch_colours(encoder, video, ["first", "second"])
    assert encoder.training
    assert result.colours.shape == (2, 2, 4, 3, 3) and result.colours.dtype == np.uint8
    odd = (result.colours != result.colours[0, 0, 0, 0]).any(axis=-1)
    assert np.argwhere(odd).tolist() == [[1, 1, 2, 1]]
    assert result.explained[0] == pytest.approx(1.0, abs=1e-3)

    result.save(tmp_path / "pca.npz")
    with np.load(tmp_path / "pca.npz", allow_pickle=False) as held:
        assert set(held) == {"frames", "pca", "explained", "names"}
        np.testing.assert_array_equal(held["frames"], video.permute(0, 2, 3, 4, 1).numpy())
        np.testing.assert_array_equal(held["pca"], result.colours)
        assert held["explained"].shape == (3,)
        assert held["names"].tolist() == ["first", "second"]


def test_grey_clips_are_shown_grey() -> None:
    torch.manual_seed(0)
    encoder = VideoEncoder(
        EncoderConfig(
            img_size=16, patch_size=8, num_frames=2, encoder_dim=16, num_heads=2, in_chans=1,
            num_spatial_layers=1, num_temporal_layers=1,
        )
    )  # fmt: skip
    result = patch_colours(encoder, torch.zeros(1, 1, 2, 16, 16, dtype=torch.uint8))
    assert result.frames.shape == (1, 2, 16, 16, 3)
