"""Small sources for the benchmark of real motion."""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from nexus.mp4 import encode_mp4


def textured(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    """A picture of blots, float (height, width, 3) in 0..255."""
    rng = np.random.default_rng(seed)
    blots = torch.from_numpy(rng.uniform(0, 255, (1, 3, height // 6, width // 6)))
    grown = F.interpolate(blots, (height, width), mode="bicubic")
    return grown.clamp(0, 255)[0].permute(1, 2, 0).numpy()


def drifting(seed: int, frames: int = 24, **size: int) -> np.ndarray:
    """A video of such a picture that rolls by one pixel a frame."""
    picture = textured(seed, **size).astype(np.uint8)
    return np.stack([np.roll(picture, number, axis=1) for number in range(frames)])


def write_source(path: Path, video: np.ndarray, fps: float = 8.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_mp4(video, fps, crf=12, keyframe_every=8))
