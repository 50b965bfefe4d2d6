"""Masks against their written definitions, for any grid and any ratio."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus.errors import ConfigError, VideoShapeError
from nexus.masks.config import MaskConfig, draw_masks
from nexus.masks.future import future_mask
from nexus.masks.token_mask import TokenMask
from nexus.nn.grid import Grid

SIDES = st.tuples(st.integers(2, 8), st.integers(1, 4), st.integers(1, 4))
RATIO = st.floats(0.02, 0.98)
SEED = st.integers(0, 1000)
MANY = settings(max_examples=50, deadline=None)


def draw(config: MaskConfig, grid: Grid, batch: int = 3, seed: int = 0) -> TokenMask:
    generator = torch.Generator().manual_seed(seed)
    return draw_masks(config, grid, batch, tubelet_size=1, generator=generator)[0]


def pictures(mask: TokenMask) -> list[list[list[str]]]:
    """For each clip, time steps of places: `c` context, `t` target, `.` neither."""
    clips = []
    grid = mask.grid
    for context, target in zip(mask.context.tolist(), mask.target.tolist(), strict=True):
        assert context == sorted(set(context)), "context tokens in order, each once"
        assert target == sorted(set(target)), "target tokens in order, each once"
        assert not set(context) & set(target)
        marks = ["."] * grid.tokens
        for token in context:
            marks[token] = "c"
        for token in target:
            marks[token] = "t"
        clips.append([marks[i : i + grid.places] for i in range(0, grid.tokens, grid.places)])
    return clips


def nearest(count: int, ideal: float, low: int, high: int) -> bool:
    """Whether a count is the whole number nearest to an ideal one, within bounds."""
    bounded = min(max(ideal, low), high)
    return low <= count <= high and abs(count - bounded) <= 0.5 + 1e-6


@MANY
@given(sides=SIDES, hidden=RATIO, extra=st.floats(0.0, 1.0), future=st.booleans(), seed=SEED)
def test_future(
    sides: tuple[int, int, int], hidden: float, extra: float, future: bool, seed: int
) -> None:
    grid = Grid(*sides)
    ratio = min(hidden + extra * (1 - hidden), 0.99)
    config = MaskConfig(
        mask_ratio=ratio, temporal_mask_ratio=hidden, targets="future" if future else "hidden"
    )
    mask = draw(config, grid, seed=seed)
    steps = (mask.context // grid.places).max().item() + 1
    assert mask.frames == steps
    assert mask.last_context_step == steps - 1
    assert nearest(grid.time - steps, hidden * grid.time, 1, grid.time - 1)
    for picture in pictures(mask):
        visible = [place for place in range(grid.places) if picture[0][place] == "c"]
        # What the hidden steps do not account for is hidden as tubes.
        ideal = grid.places - (ratio * grid.tokens - (grid.time - steps) * grid.places) / steps
        assert nearest(len(visible), ideal, 1, grid.places)
        for step in range(grid.time):
            for place in range(grid.places):
                if step >= steps:
                    assert picture[step][place] == "t"
                elif place in visible:
                    assert picture[step][place] == "c"
                else:
                    assert picture[step][place] == ("." if future else "t")


@MANY
@given(
    sides=SIDES, hidden=RATIO, early=st.floats(0, 0.98), late=st.floats(0.02, 1.0),
    future=st.booleans(), seed=SEED,
)  # fmt: skip
def test_future_biased(
    sides: tuple[int, int, int],
    hidden: float,
    early: float,
    late: float,
    future: bool,
    seed: int,
) -> None:
    grid = Grid(*sides)
    config = MaskConfig(
        mask="future_biased",
        temporal_mask_ratio=hidden,
        early_mask_ratio=early,
        late_mask_ratio=late,
        targets="future" if future else "hidden",
    )
    mask = draw(config, grid, seed=seed)
    assert mask.frames is None
    assert mask.last_context_step is not None
    first_late = mask.last_context_step + 1
    assert nearest(grid.time - first_late, hidden * grid.time, 1, grid.time - 1)
    for picture in pictures(mask):
        for step, places in enumerate(picture):
            seen = places.count("c")
            if step < first_late:
                assert nearest(seen, (1 - early) * grid.places, 1, grid.places)
                assert set(places) <= ({"c", "."} if future else {"c", "t"})
            else:
                assert nearest(seen, (1 - late) * grid.places, 0, grid.places - 1)
                assert set(places) <= {"c", "t"}


@MANY
@given(sides=SIDES, ratio=RATIO, seed=SEED)
def test_tube(sides: tuple[int, int, int], ratio: float, seed: int) -> None:
    grid = Grid(*sides)
    config = MaskConfig(mask="tube", mask_ratio=ratio)
    if grid.places < 2:
        with pytest.raises(VideoShapeError, match="at least two places"):
            draw(config, grid)
        return
    mask = draw(config, grid, seed=seed)
    assert (mask.frames, mask.last_context_step) == (grid.time, None)
    for picture in pictures(mask):
        assert all(step == picture[0] for step in picture)
        assert set(picture[0]) == {"c", "t"}
        assert nearest(picture[0].count("c"), (1 - ratio) * grid.places, 1, grid.places - 1)


@MANY
@given(sides=SIDES, ratio=RATIO, seed=SEED)
def test_random(sides: tuple[int, int, int], ratio: float, seed: int) -> None:
    grid = Grid(*sides)
    mask = draw(MaskConfig(mask="random", mask_ratio=ratio), grid, seed=seed)
    assert (mask.frames, mask.last_context_step) == (None, None)
    for picture in pictures(mask):
        tokens = [token for step in picture for token in step]
        assert set(tokens) == {"c", "t"}
        assert nearest(tokens.count("c"), (1 - ratio) * grid.tokens, 1, grid.tokens - 1)


def test_the_written_example() -> None:
    """With 0.5 and 0.7 the context sees 60 % of the places of the first half: 118 of 196."""
    mask = draw(MaskConfig(mask_ratio=0.7, temporal_mask_ratio=0.5), Grid(8, 14, 14))
    assert mask.context.shape == (3, 4 * 118)
    assert mask.target.shape == (3, 8 * 196 - 4 * 118)


def test_equal_ratios_hide_whole_steps_only() -> None:
    mask = draw(MaskConfig(mask_ratio=0.5, temporal_mask_ratio=0.5), Grid(4, 2, 3))
    assert mask.context.tolist() == [list(range(12))] * 3
    assert mask.target.tolist() == [list(range(12, 24))] * 3


@pytest.mark.parametrize(
    ("given", "context", "target"),
    [
        ({"context_frames": 4}, (0, 2), (2, 5)),
        ({"future_frames": 4}, (0, 3), (3, 5)),
        ({"context_frames": 2, "future_frames": 6}, (0, 1), (1, 4)),
        ({"context_frames": 4, "future_frames": 2}, (0, 2), (2, 3)),
    ],
)
def test_any_k_frames_ahead(
    given: dict[str, int], context: tuple[int, int], target: tuple[int, int]
) -> None:
    grid = Grid(5, 2, 2)
    config = MaskConfig(mask_ratio=0.1, **given)
    mask = draw_masks(config, grid, 2, tubelet_size=2)[0]
    assert mask.context.tolist() == [list(range(context[0] * 4, context[1] * 4))] * 2
    assert mask.target.tolist() == [list(range(target[0] * 4, target[1] * 4))] * 2
    assert mask.last_context_step == context[1] - 1


def test_tubes_on_top_of_given_frames() -> None:
    """`mask_ratio` beyond what the unseen frames account for is hidden as tubes."""
    grid = Grid(4, 2, 5)
    mask = draw_masks(MaskConfig(mask_ratio=0.65, context_frames=4), grid, 1, tubelet_size=2)[0]
    # 65 % of 40 tokens is 26; two steps account for 20, so 3 places are hidden in each of two.
    assert mask.context.shape[1] == 2 * 7
    assert mask.target.shape[1] == 26


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"context_frames": 3}, "context_frames 3 is not a multiple of tubelet_size 2"),
        ({"future_frames": 5}, "future_frames 5 is not a multiple of tubelet_size 2"),
        ({"context_frames": 8}, "8 frames cannot give 8 context frames followed by 0"),
        ({"future_frames": 8}, "8 frames cannot give 0 context frames followed by 8"),
        ({"context_frames": 4, "future_frames": 6}, "cannot give 4 context frames followed by 6"),
    ],
)
def test_frames_that_a_clip_does_not_have(given: dict[str, int], message: str) -> None:
    with pytest.raises(VideoShapeError, match=message):
        draw_masks(MaskConfig(**given), Grid(4, 2, 2), 1, tubelet_size=2)[0]


@pytest.mark.parametrize("mask", ["future", "future_biased"])
def test_a_single_step_has_no_future(mask: str) -> None:
    with pytest.raises(VideoShapeError, match="at least two time steps, got 1"):
        draw(MaskConfig.from_mapping({"mask": mask}), Grid(1, 3, 3))


def test_a_single_token_cannot_be_split() -> None:
    with pytest.raises(VideoShapeError, match="at least two tokens"):
        draw(MaskConfig(mask="random"), Grid(1, 1, 1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask_ratio": 0.4, "temporal_mask_ratio": 0.5}, "cannot be below temporal_mask_ratio"),
        ({"mask": "tube", "context_frames": 4}, "belong to mask 'future'"),
        ({"mask": "random", "future_frames": 4}, "belong to mask 'future'"),
        ({"mask": "tube", "targets": "future"}, "needs a mask with a future"),
        ({"mask_ratio": 0.0}, "greater than 0"),
        ({"mask_ratio": 1.0}, "less than 1"),
        ({"temporal_mask_ratio": float("nan")}, "temporal_mask_ratio"),
        ({"mask": "tubes"}, "'tube'"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MaskConfig.from_mapping(settings)


def test_ratios_matter_only_to_their_own_masks() -> None:
    """A tube mask may hide less than temporal_mask_ratio: it hides no whole steps."""
    assert MaskConfig(mask="tube", mask_ratio=0.3).mask_ratio == 0.3


@pytest.mark.parametrize("kind", ["future", "future_biased", "tube", "random"])
def test_clips_draw_their_own_masks_and_a_seed_fixes_them(kind: str) -> None:
    config = MaskConfig.from_mapping({"mask": kind})
    grid = Grid(4, 4, 4)
    first, again = draw(config, grid, seed=1), draw(config, grid, seed=1)
    other = draw(config, grid, seed=2)
    assert torch.equal(first.context, again.context)
    assert torch.equal(first.target, again.target)
    assert not torch.equal(first.context, other.context)
    assert not torch.equal(first.context[0], first.context[1])


@pytest.mark.parametrize("kind", ["future", "future_biased", "tube", "random"])
def test_every_place_is_as_likely_to_be_seen(kind: str) -> None:
    grid = Grid(2, 2, 4)
    mask = draw(MaskConfig.from_mapping({"mask": kind}), grid, batch=4000)
    seen = torch.bincount(mask.context.flatten(), minlength=grid.tokens).view(2, -1) / 4000
    assert (seen - seen.mean(dim=1, keepdim=True)).abs().max() < 0.04  # 5 sigma of a proportion


def test_the_global_generator_is_used_by_default() -> None:
    config, grid = MaskConfig(mask="random"), Grid(2, 3, 3)
    torch.manual_seed(3)
    first = draw_masks(config, grid, 1, tubelet_size=1)[0]
    torch.manual_seed(3)
    assert torch.equal(first.context, draw_masks(config, grid, 1, tubelet_size=1)[0].context)


def test_a_mask_that_leaks_cannot_be_made() -> None:
    grid = Grid(2, 1, 2)
    with pytest.raises(ValueError, match="must not hand a target token"):
        TokenMask(grid, torch.tensor([[0, 1]]), torch.tensor([[1, 2]]))
    for context, target in (([[]], [[1]]), ([[1]], [[]])):
        with pytest.raises(ValueError, match="at least one context token and one target token"):
            TokenMask(grid, torch.tensor(context).long(), torch.tensor(target).long())


def test_layouts_and_future_targets() -> None:
    grid = Grid(4, 1, 3)
    mask = future_mask(grid, 2, 2, 1, visible=2, generator=torch.Generator().manual_seed(0))
    layout = mask.context_layout
    assert (layout.grid, layout.frames) == (grid, 2)
    assert layout.index is mask.context
    assert mask.target_layout.index is mask.target
    assert mask.target_layout.frames is None
    for clip in range(2):
        for token, late in zip(
            mask.target[clip].tolist(), mask.future_targets()[clip].tolist(), strict=True
        ):
            assert late == (token // 3 >= 2)
    no_future = draw(MaskConfig(mask="tube"), grid)
    assert not no_future.future_targets().any()
