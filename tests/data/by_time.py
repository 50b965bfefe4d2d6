"""Frames asked for by time, as a clip at a rate does."""

from pathlib import Path

import numpy as np

from nexus.data.clips import FrameTimes
from nexus.data.protocol import Decoder
from nexus.data.videos.container import naming


def frames_at(decoder: Decoder, path: Path, times: np.ndarray) -> np.ndarray:
    with naming(path):
        known = FrameTimes.from_timestamps(decoder.timestamps(path))
        numbers = known.asked_at(np.asarray(times, np.float64))
    return decoder.frames(path, numbers)
