"""Augmentation: one draw per clip, exact identities, colours against the textbook formulas."""

import colorsys
from collections import Counter

import numpy as np
import pydantic
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.whole_clips import augment, center_view
from PIL import Image

from nexus.data.loading import augment as module
from nexus.data.loading.augment import Augmentation, AugmentConfig, draw_augmentation, to_gray

EVERYTHING = AugmentConfig(
    brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2, grayscale=0.2, invert=0.5
)


def noise(time: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (time, height, width, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 70), st.integers(8, 70), st.integers(0, 2**32))
def test_a_still_clip_stays_still(height, width, seed):
    frames = noise(1, height, width, seed % 1000).expand(5, height, width, 3)
    change = draw_augmentation(EVERYTHING, height, width, np.random.default_rng(seed))
    out = augment(frames, change, (24, 20))
    assert out.shape == (3, 5, 24, 20) and out.dtype == torch.uint8
    for time in range(1, 5):
        assert torch.equal(out[:, time], out[:, 0])


def test_a_draw_can_be_replayed_and_different_draws_differ():
    frames = noise(3, 40, 50)
    draws = [draw_augmentation(EVERYTHING, 40, 50, np.random.default_rng(s)) for s in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    first, again, other = (augment(frames, draw, (16, 16)) for draw in draws)
    assert torch.equal(first, again) and not torch.equal(first, other)


@settings(max_examples=200)
@given(st.integers(4, 300), st.integers(4, 300), st.integers(0, 2**32))
def test_crops_keep_their_promises(height, width, seed):
    config = AugmentConfig(scale=(0.3, 0.6), aspect=(0.75, 1.5))
    change = draw_augmentation(config, height, width, np.random.default_rng(seed))
    assert change.top >= 0 and change.top + change.height <= height
    assert change.left >= 0 and change.left + change.width <= width
    assert change.height >= 1 and change.width >= 1
    aspect = change.width / change.height
    slack = 1 / min(change.height, change.width)
    assert 0.75 * (1 - slack) <= aspect <= 1.5 * (1 + slack)


def test_crop_areas_and_places_spread_over_their_range():
    config = AugmentConfig(scale=(0.3, 0.6))
    rng = np.random.default_rng(0)
    draws = [draw_augmentation(config, 100, 100, rng) for _ in range(500)]
    areas = np.array([draw.height * draw.width / 1e4 for draw in draws])
    assert areas.min() < 0.32 and areas.max() > 0.58 and areas.min() > 0.28 and areas.max() < 0.62
    assert min(draw.top for draw in draws) == 0
    assert max(draw.top + draw.height for draw in draws) == 100
    assert 200 < sum(draw.flip for draw in draws) < 300


def test_every_place_that_a_crop_fits_in_is_drawn():
    square = AugmentConfig(scale=(0.25, 0.25), aspect=(1, 1), flip=0)
    rng = np.random.default_rng(0)
    draws = [draw_augmentation(square, 6, 6, rng) for _ in range(200)]
    assert {(draw.height, draw.width) for draw in draws} == {(3, 3)}
    assert {draw.top for draw in draws} == {draw.left for draw in draws} == {0, 1, 2, 3}
    # Half the area of a picture that is twice as long as it is wide: as wide as the picture.
    half = AugmentConfig(scale=(0.5, 0.5), aspect=(1, 1), flip=0)
    wide = [draw_augmentation(half, 4, 8, rng) for _ in range(100)]
    assert {(draw.top, draw.height, draw.width) for draw in wide} == {(0, 4, 4)}
    assert {draw.left for draw in wide} == {0, 1, 2, 3, 4}
    tall = [draw_augmentation(half, 8, 4, rng) for _ in range(100)]
    assert {(draw.left, draw.height, draw.width) for draw in tall} == {(0, 4, 4)}
    assert {draw.top for draw in tall} == {0, 1, 2, 3, 4}


def test_crops_are_as_wide_and_as_tall_as_they_may_be():
    config = AugmentConfig(scale=(0.1, 0.1), aspect=(0.5, 2))
    rng = np.random.default_rng(0)
    draws = [draw_augmentation(config, 200, 200, rng) for _ in range(500)]
    aspects = np.array([draw.width / draw.height for draw in draws])
    assert 0.49 < aspects.min() < 0.53 and 1.9 < aspects.max() < 2.05
    assert 200 < (aspects < 1).sum() < 300  # as often upright as lying


def test_where_no_crop_fits_the_middle_is_taken():
    config = AugmentConfig(scale=(1, 1), aspect=(1, 1), flip=0)
    rng = np.random.default_rng(0)
    assert draw_augmentation(config, 64, 32, rng) == Augmentation(16, 0, 32, 32)
    assert draw_augmentation(config, 32, 64, rng) == Augmentation(0, 16, 32, 32)
    assert draw_augmentation(config.with_changes(aspect=(2, 4)), 30, 30, rng) == Augmentation(
        7, 0, 15, 30
    )
    assert draw_augmentation(config.with_changes(aspect=(0.25, 0.5)), 30, 30, rng) == Augmentation(
        0, 7, 30, 15
    )


def test_colours_are_drawn_over_all_of_their_range():
    config = AugmentConfig(brightness=0.4, contrast=0.2, saturation=0.6, hue=0.1, flip=0.9)
    rng = np.random.default_rng(0)
    draws = [draw_augmentation(config, 8, 8, rng) for _ in range(1000)]
    for name, middle, spread in (
        ("brightness", 1, 0.4),
        ("contrast", 1, 0.2),
        ("saturation", 1, 0.6),
        ("hue", 0, 0.1),
    ):
        values = np.array([getattr(draw, name) for draw in draws]) - middle
        assert -spread <= values.min() < -0.98 * spread, name
        assert 0.98 * spread < values.max() <= spread, name
    assert 860 < sum(draw.flip for draw in draws) < 940
    often = config.with_changes(grayscale=0.8)
    gray = [draw_augmentation(often, 8, 8, rng).saturation == 0 for _ in range(500)]
    assert 360 < sum(gray) < 440


def test_the_identity_keeps_every_bit():
    frames = noise(4, 32, 48)
    expected = frames.permute(3, 0, 1, 2)
    assert torch.equal(augment(frames, Augmentation(0, 0, 32, 48), (32, 48)), expected)
    assert torch.equal(center_view(frames, (32, 48)), expected)
    crop = augment(frames, Augmentation(3, 5, 16, 20, flip=True), (16, 20))
    assert torch.equal(crop, expected[:, :, 3:19, 5:25].flip(-1))


@pytest.mark.parametrize("size", [(32, 48), (24, 24)])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("upside_down", [False, True])
@pytest.mark.parametrize("flip", [False, True])
def test_a_clip_is_laid_one_way_as_a_whole(size, transpose, upside_down, flip):
    frames = noise(4, *size)
    change = Augmentation(0, 0, *size, flip, upside_down, transpose)
    shown = augment(frames, change, size[::-1] if transpose else size)
    expected = frames.permute(3, 0, 1, 2).numpy()
    expected = expected.swapaxes(-1, -2) if transpose else expected
    expected = np.flip(expected, -2) if upside_down else expected
    expected = np.flip(expected, -1) if flip else expected
    assert np.array_equal(shown.numpy(), expected)


def test_the_eight_ways_to_lay_a_square_are_drawn_equally_often():
    config = AugmentConfig(scale=(1, 1), aspect=(1, 1), vertical_flip=0.5, transpose=0.5)
    rng = np.random.default_rng(0)
    draws = [draw_augmentation(config, 32, 32, rng) for _ in range(1600)]
    ways = Counter((draw.flip, draw.vertical_flip, draw.transpose) for draw in draws)
    assert len(ways) == 8 and min(ways.values()) > 150 and max(ways.values()) < 250


def test_what_never_happens_leaves_the_other_draws_as_they_are():
    plain, more = (np.random.default_rng(5) for _ in range(2))
    config = AugmentConfig(brightness=0.3, grayscale=0.5)
    for _ in range(20):
        before = draw_augmentation(config, 40, 60, plain)
        assert draw_augmentation(config.with_changes(transpose=0.0), 40, 60, more) == before


def test_whole_square_pictures_pass_untouched_when_nothing_is_random():
    config = AugmentConfig(scale=(1, 1), aspect=(1, 1), flip=0)
    change = draw_augmentation(config, 32, 32, np.random.default_rng(0))
    assert change == Augmentation(0, 0, 32, 32)
    wide = draw_augmentation(config, 32, 64, np.random.default_rng(0))
    assert wide == Augmentation(0, 16, 32, 32)


@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
def test_resizing_agrees_with_pillow(kind):
    # Smooth pictures: both libraries antialias, each with its own fixed-point rounding.
    rows, columns = np.mgrid[0:90, 0:120]
    picture = np.stack([rows * 2, columns * 2, (rows + columns)], -1).astype(np.uint8)
    frames = torch.from_numpy(picture)[None]
    ours = augment(frames, Augmentation(0, 0, 90, 120), (30, 40), kind)[:, 0].permute(1, 2, 0)
    pillow = Image.fromarray(picture).resize((40, 30), getattr(Image.Resampling, kind.upper()))
    difference = ours.int() - torch.from_numpy(np.array(pillow)).int()
    assert difference.abs().max() <= 1
    # Antialiasing: a one-pixel chequerboard shrinks to even gray, not to an alias of itself.
    board = ((rows + columns) % 2 * 255).astype(np.uint8)[..., None].repeat(3, -1)
    small = augment(torch.from_numpy(board)[None], Augmentation(0, 0, 90, 120), (30, 40), kind)
    assert small.min() > 100 and small.max() < 156


def test_the_evaluation_view_is_the_middle_of_the_covering_resize():
    frames = noise(2, 40, 80)
    square = center_view(frames, (20, 20))
    whole = module.resize(frames, (20, 40)).permute(3, 0, 1, 2)
    assert torch.equal(square, whole[..., 10:30])
    tall = center_view(frames, (40, 10))
    assert torch.equal(tall, frames.permute(3, 0, 1, 2)[..., 35:45])
    wide = center_view(frames, (10, 80))
    assert torch.equal(wide, frames.permute(3, 0, 1, 2)[..., 15:25, :])


def test_brightness_contrast_saturation_by_formula():
    frames = noise(2, 6, 6).float().mul(0.5).add(40).byte()  # far from clipping
    whole = Augmentation(0, 0, 6, 6)
    rgb = frames.double().permute(3, 0, 1, 2)
    luma = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]

    def check(expected: torch.Tensor, **factors: float) -> None:
        change = Augmentation(whole.top, whole.left, whole.height, whole.width, **factors)
        out = augment(frames, change, (6, 6)).double()
        assert (out - expected.clamp(0, 255)).abs().max() <= 0.5 + 1e-3

    check(rgb * 1.3, brightness=1.3)
    check(0.6 * rgb + 0.4 * luma.mean(), contrast=0.6)
    check(1.4 * rgb - 0.4 * luma, saturation=1.4)
    check(luma.expand(3, -1, -1, -1), saturation=0.0)
    bright = rgb * 0.8
    check(1.2 * bright - 0.2 * (luma * 0.8).mean(), brightness=0.8, contrast=1.2)
    check(255 - rgb, invert=True)
    check(
        255 - (0.6 * bright + 0.4 * (luma * 0.8).mean()), brightness=0.8, contrast=0.6, invert=True
    )
    check(255 - (1.4 * rgb - 0.4 * luma), saturation=1.4, invert=True)


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 2), st.floats(0, 2), st.booleans(), st.integers(0, 99), st.integers(1, 9))
def test_levels_that_are_looked_up_are_those_that_are_worked_out(
    brightness, contrast, invert, seed, width
):
    """Where colours are not mixed a table does it; at a tie it may round the other way."""
    frames = noise(3, 4, width, seed)
    change = Augmentation(0, 0, 4, width, brightness=brightness, contrast=contrast, invert=invert)
    worked_out = module._recolour(frames.permute(0, 3, 1, 2), change).transpose(0, 1)
    assert (module.recolour(frames, change).int() - worked_out.int()).abs().max() <= 1


def test_a_negative_of_a_negative_is_the_clip():
    frames = noise(2, 8, 8)
    negative = Augmentation(0, 0, 8, 8, invert=True)
    once = augment(frames, negative, (8, 8))
    assert torch.equal(255 - once, frames.permute(3, 0, 1, 2))
    again = augment(once.permute(1, 2, 3, 0).contiguous(), negative, (8, 8))
    assert torch.equal(again, frames.permute(3, 0, 1, 2))


def test_hue_turns_colours_and_keeps_gray_and_luma():
    gray = torch.full((1, 4, 4, 3), 90, dtype=torch.uint8)
    turned = augment(gray, Augmentation(0, 0, 4, 4, hue=0.3), (4, 4))
    assert torch.equal(turned, gray.permute(3, 0, 1, 2))
    red = torch.tensor([140, 80, 80], dtype=torch.uint8).expand(1, 4, 4, 3)
    out = augment(red, Augmentation(0, 0, 4, 4, hue=0.5), (4, 4))[:, 0, 0, 0].double()
    assert abs(out @ torch.tensor([0.299, 0.587, 0.114]).double() - 97.94) < 1
    hue = colorsys.rgb_to_hsv(*(out / 255).tolist())[0]
    assert abs(hue - 0.5) < 0.06  # red became cyan


def test_full_circle_of_small_settings_gives_the_config_its_effect():
    rng = np.random.default_rng(0)
    for name in ("brightness", "contrast", "saturation"):
        config = AugmentConfig(**{name: 0.3})
        values = [getattr(draw_augmentation(config, 9, 9, rng), name) for _ in range(200)]
        assert 0.7 <= min(values) < 0.72 and 1.28 < max(values) <= 1.3
    hues = [draw_augmentation(AugmentConfig(hue=0.1), 9, 9, rng).hue for _ in range(200)]
    assert -0.1 <= min(hues) < -0.09 and 0.09 < max(hues) <= 0.1
    grays = [draw_augmentation(AugmentConfig(grayscale=0.3), 9, 9, rng) for _ in range(400)]
    assert 80 < sum(draw.saturation == 0 for draw in grays) < 160
    half = [draw_augmentation(AugmentConfig(invert=0.5), 9, 9, rng).invert for _ in range(400)]
    assert 160 < sum(half) < 240


def test_one_gray_channel_is_luma():
    video = noise(2, 5, 5).permute(3, 0, 1, 2)
    gray = to_gray(video)
    rgb = video.double()
    expected = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
    assert gray.shape == (1, 2, 5, 5) and gray.dtype == torch.uint8
    assert (gray[0].double() - expected).abs().max() <= 0.5 + 1e-3


@pytest.mark.parametrize(
    "settings", [{"scale": (0.0, 1.0)}, {"scale": (0.9, 0.5)}, {"aspect": (2, 1)}, {"flip": 1.5}]
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(pydantic.ValidationError):
        AugmentConfig(**settings)
