"""How much of the clips moves, against the formula written out."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nexus.training.motion import moving_share


def by_hand(clips: np.ndarray) -> float:
    shares = []
    for clip in clips.astype(np.float64):
        contrast = np.sqrt(np.mean([(colour - colour.mean()) ** 2 for colour in clip]))
        moving = [clip[:, t] - clip.mean(axis=1) for t in range(clip.shape[1])]
        shares.append(np.sqrt(np.mean(np.square(moving))) / contrast)
    return float(np.mean(shares))


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(2, 5))
def test_it_is_the_formula(seed: int, batch: int, frames: int) -> None:
    clips = np.random.default_rng(seed).integers(0, 256, (batch, 3, frames, 4, 5), dtype=np.uint8)
    share = moving_share(torch.from_numpy(clips))
    assert share == pytest.approx(by_hand(clips), rel=1e-5)
    assert 0 <= share <= 1


def test_stills_have_none_and_single_pictures_no_answer() -> None:
    picture = torch.randint(256, (2, 3, 1, 8, 8), dtype=torch.uint8)
    assert moving_share(picture.expand(-1, -1, 4, -1, -1)) == 0
    assert moving_share(torch.zeros(1, 3, 4, 8, 8, dtype=torch.uint8)) == 0  # black all through
    assert moving_share(picture) is None and moving_share(picture[:0].expand(0, 3, 4, 8, 8)) is None
    shifted = torch.stack([picture[:, :, 0].roll(step, -1) for step in range(4)], dim=2)
    assert moving_share(shifted) > 0.5
