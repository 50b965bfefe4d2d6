"""Tubelets against `F.conv3d` and against indexing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from nexus.nn.grid import Grid, TokenLayout
from nexus.nn.tubelet import TubeletEmbed, split_tubelets


@settings(max_examples=25, deadline=None)
@given(
    chans=st.integers(1, 3),
    patch=st.integers(1, 4),
    tubelet=st.integers(1, 3),
    sides=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
)
def test_the_embedding_is_a_strided_convolution(
    chans: int, patch: int, tubelet: int, sides: tuple[int, int, int]
) -> None:
    torch.manual_seed(0)
    time, height, width = sides
    embed = TubeletEmbed(in_chans=chans, dim=5, patch_size=patch, tubelet_size=tubelet).double()
    video = torch.randn(
        2, chans, time * tubelet, height * patch, width * patch, dtype=torch.float64
    )
    kernel = (tubelet, patch, patch)
    volume = F.conv3d(video, embed.proj.weight, embed.proj.bias, stride=kernel)
    expected = volume.flatten(2).transpose(1, 2)  # (B, D, t, h, w) to time-major tokens
    grid = embed.grid_of(video)
    assert grid == Grid(time, height, width)
    torch.testing.assert_close(embed(video, TokenLayout.full(grid)), expected)


def test_a_layout_embeds_its_own_tubelets_only() -> None:
    torch.manual_seed(0)
    embed = TubeletEmbed(in_chans=2, dim=5, patch_size=4, tubelet_size=2)
    video = torch.randn(2, 2, 4, 8, 12)
    grid = embed.grid_of(video)
    every = embed(video, TokenLayout.full(grid))
    index = torch.tensor([[11, 0, 7], [2, 3, 4]])
    some = embed(video, TokenLayout(grid, index))
    for clip in range(2):
        torch.testing.assert_close(some[clip], every[clip, index[clip]])


def test_a_masked_tubelet_is_never_read() -> None:
    embed = TubeletEmbed(in_chans=1, dim=4, patch_size=2, tubelet_size=2)
    video = torch.randn(1, 1, 4, 4, 4)
    video[:, :, 2:] = torch.nan
    grid = embed.grid_of(video)
    index = torch.arange(4).unsqueeze(0)
    assert embed(video, TokenLayout(grid, index)).isfinite().all()


def test_splitting_orders_values_as_the_convolutions_weights() -> None:
    video = torch.arange(2 * 3 * 4 * 6 * 4).view(2, 3, 4, 6, 4)
    tubelets = split_tubelets(video.float(), 2, 2)
    assert tubelets.shape == (2, 2 * 3 * 2, 3 * 2 * 2 * 2)
    token = 0
    for t in range(2):
        for row in range(3):
            for col in range(2):
                block = video[:, :, 2 * t : 2 * t + 2, 2 * row : 2 * row + 2, 2 * col : 2 * col + 2]
                assert torch.equal(tubelets[:, token], block.flatten(1).float())
                token += 1


@pytest.mark.parametrize("batch", [1, 3])
def test_gradients_reach_weight_and_bias(batch: int) -> None:
    embed = TubeletEmbed(in_chans=1, dim=4, patch_size=2, tubelet_size=2)
    video = torch.randn(batch, 1, 2, 4, 4)
    embed(video, TokenLayout.full(embed.grid_of(video))).square().sum().backward()
    for parameter in embed.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0
