"""What `docs/published-weights.md` says of transformers' port: it encodes first and masks later."""

import torch
import transformers
from oracles.tiny import stir

from nexus.models.ssl import VJEPAModel

SETTINGS = {
    "img_size": 32, "num_frames": 8, "encoder_dim": 24, "num_heads": 2, "factorized": False,
    "num_spatial_layers": 2, "num_temporal_layers": 0, "positions": "rope_tiled",
    "predictor_dim": 12, "predictor_heads": 2, "num_predictor_layers": 1, "patch_size": 8,
    "mask": "multiblock",
}  # fmt: skip


def poisoned(video: torch.Tensor, mask) -> torch.Tensor:
    """Other pixels wherever the context must not look."""
    grid = mask.grid
    seen = torch.zeros(video.shape[0], grid.tokens, dtype=torch.bool).scatter(1, mask.context, True)
    seen = seen.view(-1, 1, grid.time, grid.height, grid.width)
    for dim, size in ((2, 2), (3, 8), (4, 8)):
        seen = seen.repeat_interleave(size, dim=dim)
    return torch.where(seen, video, torch.randn(video.shape))


def test_transformers_context_sees_the_targets_and_ours_does_not() -> None:
    torch.manual_seed(0)
    ours = VJEPAModel(SETTINGS).eval()
    stir(ours, scale=0.1)
    config = transformers.VJEPA2Config(
        patch_size=8, crop_size=32, frames_per_clip=8, hidden_size=24, num_attention_heads=2,
        num_hidden_layers=2, pred_hidden_size=12, pred_num_attention_heads=2,
        pred_num_hidden_layers=1,
    )  # fmt: skip
    theirs = transformers.VJEPA2Model(config).eval()
    stir(theirs, scale=0.1)
    video = torch.randn(2, 3, 8, 32, 32)
    for mask in ours.draw_masks(video):
        other = poisoned(video, mask)
        with torch.no_grad():
            before, after = (
                ours.context_encoder(clip, mask.context_layout) for clip in (video, other)
            )
            assert torch.equal(before, after)
            before, after = (
                theirs(
                    clip.transpose(1, 2), context_mask=[mask.context], target_mask=[mask.target]
                ).masked_hidden_state
                for clip in (video, other)
            )
        moved = (before - after).abs().mean() / before.abs().mean()
        assert moved > 0.01  # the features of visible tokens tell of hidden pixels
