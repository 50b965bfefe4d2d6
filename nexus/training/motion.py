"""How much of the clips that a model is trained on moves at all."""

import torch
from jaxtyping import UInt8
from torch import Tensor


def moving_share(clips: UInt8[Tensor, "batch channels time height width"]) -> float | None:
    """Share of the clips' contrast that changes within a clip, from 0 (stills) to about 1.

    The root mean square of what is left of each clip without its mean picture, over that of the
    clip without its mean colour; the mean over the clips. None: the clips are single pictures, or
    there are none.
    """
    if not len(clips) or clips.shape[2] == 1:
        return None
    pixels = clips.float()
    within = pixels - pixels.mean(dim=2, keepdim=True)
    contrast = pixels - pixels.mean(dim=(2, 3, 4), keepdim=True)
    shares = [each.square().mean(dim=(1, 2, 3, 4)) for each in (within, contrast)]
    return float((shares[0] / shares[1].clamp(min=torch.finfo().tiny)).sqrt().mean())
