"""Clips as a model gets them: moved, cut and normalised together with their times."""

import pytest
import torch

from nexus.data.loading.batch import Batch, clips_of, normalise
from nexus.errors import VideoShapeError


def pixels(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def test_a_batch_is_cut_moved_and_normalised_as_one():
    clips, times = pixels(3, 3, 4, 6, 6), torch.arange(12.0).double().view(3, 4)
    batch = Batch(clips, times)
    part = batch.part(slice(1, 3)).to("cpu", non_blocking=True).normalised()
    assert len(batch) == 3 and len(part) == 2
    assert torch.equal(part.clips, normalise(clips[1:])) and part.times is not None
    assert part.times.tolist() == times[1:].tolist()
    alone = Batch(clips).part(slice(1)).to("meta")
    assert alone.times is None and alone.clips.device.type == "meta"
    assert clips_of(batch) is clips_of(clips) is clips


def test_normalise_by_formula():
    video = pixels(1, 4, 6, 6, 3).permute(0, 4, 1, 2, 3)
    out = normalise(video)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1, 1)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, (video.float() / 255 - mean) / std, rtol=0, atol=2e-6)
    assert out.is_contiguous() and not video.is_contiguous()  # as the loader gives them
    assert torch.equal(normalise(video.contiguous()), out)
    gray = normalise(video[:, :1])
    torch.testing.assert_close(gray, (video[:, :1].float() / 255 - 0.449) / 0.226)


def test_normalise_refuses_what_it_cannot_mean():
    with pytest.raises(VideoShapeError, match="float32"):
        normalise(torch.zeros(1, 3, 2, 4, 4))  # type: ignore[arg-type]
    with pytest.raises(VideoShapeError, match="2 channels; expected 3 or 1"):
        normalise(torch.zeros(1, 2, 2, 4, 4, dtype=torch.uint8))
    with pytest.raises(VideoShapeError, match=r"\(3, 2, 4, 4\)"):
        normalise(torch.zeros(3, 2, 4, 4, dtype=torch.uint8))
