"""Multiblock masks: unions of boxes, their complements, and what trimming leaves."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import boxes as slow
from torch import Generator

from nexus.errors import ConfigError, VideoShapeError
from nexus.masks import multiblock
from nexus.masks.config import MaskConfig, draw_masks
from nexus.masks.multiblock import PUBLISHED, BlockFamily, draw_blocks
from nexus.nn.grid import Grid

SIDES = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)).filter(
    lambda sides: sides[1] * sides[2] > 1
)
SEED = st.integers(0, 10_000)
MANY = settings(max_examples=40, deadline=None)
SHARES = st.tuples(st.floats(0.05, 1.0), st.floats(0.05, 1.0)).map(lambda pair: (*sorted(pair),))
ASPECTS = st.sampled_from([(0.75, 1.5), (1.0, 1.0), (0.2, 4.0)])


def draw(
    family: BlockFamily, grid: Grid, batch: int, seed: int = 0
) -> tuple[list[list[int]], list[list[int]]]:
    context, target = draw_blocks(family, grid, batch, Generator().manual_seed(seed))
    assert context.dtype == target.dtype == torch.int64
    for rows in (context.tolist(), target.tolist()):
        assert len(rows) == batch
        for row in rows:
            assert row == sorted(set(row)), "in rising order, each once"
            assert row and row[0] >= 0 and row[-1] < grid.tokens
    return context.tolist(), target.tolist()


@MANY
@given(sides=SIDES, count=st.integers(1, 3), spatial=SHARES, temporal=SHARES, seed=SEED)
def test_of_one_clip_boxes_are_hidden_and_the_rest_is_seen(
    sides: tuple[int, int, int],
    count: int,
    spatial: tuple[float, float],
    temporal: tuple[float, float],
    seed: int,
) -> None:
    """Alone in its batch a clip is not trimmed: union and complement, exactly."""
    grid = Grid(*sides)
    family = BlockFamily(num_blocks=count, spatial_scale=spatial, temporal_scale=temporal)
    [context], [target] = draw(family, grid, 1, seed)
    assert sorted(context + target) == list(range(grid.tokens))
    hidden = slow.coordinates(target, sides)
    possible = slow.sizes(sides, spatial, temporal, family.aspect)
    if not any(slow.is_union(hidden, size, count) for size in possible):
        # The boxes covered everything again and again, so that one place was opened by force.
        every = slow.coordinates(range(grid.tokens), sides)
        assert any(slow.is_union(every, size, count) for size in possible)
        assert context == [context[0] + time * grid.places for time in range(grid.time)]


@MANY
@given(sides=SIDES, spatial=SHARES, aspect=ASPECTS, batch=st.integers(1, 4), seed=SEED)
def test_the_clips_of_a_batch_share_one_box_size(
    sides: tuple[int, int, int],
    spatial: tuple[float, float],
    aspect: tuple[float, float],
    batch: int,
    seed: int,
) -> None:
    """With a single box a clip there is nothing to trim: each target is a whole box."""
    grid = Grid(*sides)
    family = BlockFamily(num_blocks=1, spatial_scale=spatial, aspect=aspect)
    contexts, targets = draw(family, grid, batch, seed)
    found = set()
    for context, target in zip(contexts, targets, strict=True):
        assert sorted(context + target) == list(range(grid.tokens))
        hidden = slow.coordinates(target, sides)
        spans = [[token[axis] for token in hidden] for axis in range(3)]
        size = tuple(max(span) - min(span) + 1 for span in spans)
        if len(hidden) == math.prod(size):
            found.add(size)
        else:
            assert len(context) == grid.time, "a box as large as the frame leaves one place open"
            found.add(sides)
    assert len(found) == 1
    assert found <= slow.sizes(sides, spatial, (1.0, 1.0), aspect)


@MANY
@given(sides=SIDES, count=st.integers(1, 8), spatial=SHARES, batch=st.integers(1, 5), seed=SEED)
def test_trimming_keeps_context_and_targets_apart(
    sides: tuple[int, int, int],
    count: int,
    spatial: tuple[float, float],
    batch: int,
    seed: int,
) -> None:
    """Boxes cover all time steps: a place with a target has no context at any time."""
    grid = Grid(*sides)
    family = BlockFamily(num_blocks=count, spatial_scale=spatial)
    contexts, targets = draw(family, grid, batch, seed)
    tubes = [0, 0]
    for rows in zip(contexts, targets, strict=True):
        seen, asked = ({number % grid.places for number in row} for row in rows)
        assert not seen & asked
        for which, (row, places) in enumerate(zip(rows, (seen, asked), strict=True)):
            tubes[which] += len(row) == grid.time * len(places)
    # The clip with the least of either kind has lost none of it.
    assert min(tubes) >= 1


def test_a_box_as_large_as_the_frame_leaves_a_random_place_open() -> None:
    grid = Grid(3, 2, 2)
    contexts, targets = draw(BlockFamily(spatial_scale=(1.0, 1.0)), grid, 200)
    opened = [context[0] for context in contexts]
    for context, target in zip(contexts, targets, strict=True):
        assert context == [context[0] + 4 * time for time in range(3)]
        assert sorted(context + target) == list(range(12))
    assert all(opened.count(place) > 25 for place in range(4))  # 50 each, five sigma below


def test_positions_are_uniform() -> None:
    """Each place that a box fits in is as likely as any other."""
    sides = (1, 4, 5)
    family = BlockFamily(num_blocks=1, spatial_scale=(0.2, 0.2), aspect=(1.0, 1.0))
    _, targets = draw(family, Grid(*sides), 6000)
    corners = [min(slow.coordinates(target, sides))[1:] for target in targets]
    places = [(row, column) for row in range(3) for column in range(4)]
    assert set(corners) == set(places)
    for place in places:
        assert abs(corners.count(place) - 500) < 5 * math.sqrt(500)


@pytest.mark.parametrize(
    ("family", "context", "target"), [(PUBLISHED[0], 0.24, 0.47), (PUBLISHED[1], 0.07, 0.70)]
)
def test_shares_at_the_published_size(family: BlockFamily, context: float, target: float) -> None:
    """16 frames of 256 x 256 pixels, batches of 24; the shares that the published code gives."""
    grid, shares = Grid(8, 16, 16), []
    for seed in range(40):
        drawn = draw_blocks(family, grid, 24, Generator().manual_seed(seed))
        shares.append([each.shape[1] / grid.tokens for each in drawn])
    means = torch.tensor(shares).mean(dim=0).tolist()
    assert means == pytest.approx([context, target], abs=0.02)


FAIR = Grid(4, 6, 6)
HALVES: dict[str, Callable[[tuple[int, int, int]], float]] = {
    "times": lambda token: token[0] - 1.5,
    "rows": lambda token: token[1] - 2.5,
    "columns": lambda token: token[2] - 2.5,
}


def lateness(draws: list[list[list[int]]], axis: str) -> float:
    """By how many standard errors late tokens are drawn more often than early ones."""
    sides = (FAIR.time, FAIR.height, FAIR.width)
    weights = [
        math.copysign(1, HALVES[axis](token))
        for number in range(FAIR.tokens)
        for token in slow.coordinates([number], sides)
    ]
    more = torch.tensor([sum(weights[number] for row in rows for number in row) for rows in draws])
    return float(more.mean() / (more.std() / math.sqrt(len(draws))))


@pytest.mark.parametrize("family", PUBLISHED)
def test_trimming_is_fair(family: BlockFamily) -> None:
    """Over many draws late patches are seen, and asked for, as often as early ones."""
    drawn = [draw(family, FAIR, 6, seed) for seed in range(300)]
    for which in (0, 1):
        draws = [each[which] for each in drawn]
        for axis in HALVES:
            assert abs(lateness(draws, axis)) < 5
    # The test can fail: cut at the end, as the published code does, the last times are rare.
    alone = [[draw(family, FAIR, 1, 6 * seed + clip) for clip in range(6)] for seed in range(60)]
    for which in (0, 1):
        cut = [slow.trimmed_at_the_end([each[which][0] for each in clips]) for clips in alone]
        assert lateness(cut, "times") < -5


@MANY
@given(sides=SIDES, batch=st.integers(1, 5), seed=SEED)
def test_trimming_at_the_end_is_that_of_the_published_batching(
    sides: tuple[int, int, int], batch: int, seed: int
) -> None:
    """Whatever is hidden: a clip keeps its first tokens, as many as the clip with the fewest."""
    grid = Grid(*sides)
    hidden = torch.rand(batch, grid.tokens, generator=Generator().manual_seed(seed)) < 0.5
    hidden[:, 0], hidden[:, 1] = True, False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multiblock, "_boxes", lambda *_: hidden.clone())
        context, target = draw_blocks(BlockFamily(), grid, batch, trim="end")
    for trimmed, member in ((context, ~hidden), (target, hidden)):
        sets = [torch.nonzero(row).flatten().tolist() for row in member]
        assert trimmed.tolist() == slow.trimmed_at_the_end(sets)


def test_at_the_end_a_clip_s_context_thins_out_with_time() -> None:
    """16 frames of 256 x 256, batches of 24: a share of .39 of the first time step is seen, and
    .02 of the last, where random trimming sees as much of each (.24)."""
    grid, shares = Grid(8, 16, 16), {}
    for trim in ("random", "end"):
        seen = torch.zeros(grid.time)
        for seed in range(20):
            generator = Generator().manual_seed(seed)
            context, _ = draw_blocks(PUBLISHED[0], grid, 24, generator, trim=trim)
            steps = (context // grid.places).flatten()
            seen += torch.bincount(steps, minlength=grid.time) / (20 * 24 * grid.places)
        shares[trim] = seen.tolist()
    assert shares["random"] == pytest.approx([0.24] * 8, abs=0.02)
    assert shares["end"][0] == pytest.approx(0.39, abs=0.03)
    assert shares["end"][-1] == pytest.approx(0.02, abs=0.02)
    assert shares["end"] == sorted(shares["end"], reverse=True)


def test_every_clip_is_masked_once_a_family() -> None:
    config, grid = MaskConfig(mask="multiblock"), Grid(4, 8, 8)
    masks = draw_masks(config, grid, 3, tubelet_size=2, generator=Generator().manual_seed(0))
    assert len(masks) == 2
    assert [mask.context.shape[0] for mask in masks] == [3, 3]
    assert masks[0].target.shape[1] < masks[1].target.shape[1]
    for mask in masks:
        assert (mask.frames, mask.last_context_step) == (None, None)
        assert not torch.equal(mask.target[0], mask.target[1])
    again = draw_masks(config, grid, 3, tubelet_size=2, generator=Generator().manual_seed(0))
    for first, second in zip(masks, again, strict=True):
        assert torch.equal(first.target, second.target)
        assert torch.equal(first.context, second.context)
    family = BlockFamily(num_blocks=1)
    [single] = draw_masks(
        MaskConfig(mask="multiblock", mask_blocks=(family,)), grid, 3, tubelet_size=2
    )
    assert single.target.shape[0] == 3


def test_an_image_can_be_masked_and_a_single_patch_cannot() -> None:
    config = MaskConfig(mask="multiblock")
    assert len(draw_masks(config, Grid(1, 4, 4), 2, tubelet_size=2)) == 2
    with pytest.raises(VideoShapeError, match="at least two places"):
        draw_masks(config, Grid(4, 1, 1), 2, tubelet_size=2)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"spatial_scale": (0.0, 0.5)}, "spatial_scale must be 0 < low <= high <= 1"),
        ({"spatial_scale": (0.6, 0.5)}, "spatial_scale must be 0 < low <= high <= 1"),
        ({"temporal_scale": (0.5, 1.1)}, "temporal_scale must be 0 < low <= high <= 1"),
        ({"aspect": (-1.0, 2.0)}, "aspect must be 0 < low <= high <= inf, got [-1.0, 2.0]"),
        ({"num_blocks": 0}, "num_blocks: got 0"),
        ({"blocks": 3}, "did you mean 'num_blocks'"),
    ],
)
def test_impossible_families_are_refused(changes: dict, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        BlockFamily.from_mapping(changes)
    assert says in str(caught.value)


def test_the_published_families_are_the_default() -> None:
    small, large = MaskConfig(mask="multiblock").mask_blocks
    assert (small.num_blocks, small.spatial_scale, small.aspect) == (8, (0.15, 0.15), (0.75, 1.5))
    assert (large.num_blocks, large.spatial_scale, large.aspect) == (2, (0.7, 0.7), (0.75, 1.5))
    assert small.temporal_scale == large.temporal_scale == (1.0, 1.0)
