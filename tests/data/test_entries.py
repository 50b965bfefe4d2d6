"""Files whose keyframes cannot be trusted: read as from the start, and named."""

import numpy as np
import pytest
from coded_videos import decode_everything
from misleading_videos import COUNT, WRITERS

from nexus.data.catalog.inspection import inspect
from nexus.data.videos.pyav import PyAVDecoder


@pytest.mark.parametrize("name", WRITERS)
def test_frames_after_a_seek_are_those_of_a_decode_from_the_start(tmp_path, name):
    path = WRITERS[name](tmp_path / name)
    oracle = decode_everything(path)
    assert len(oracle) == COUNT and len({one.tobytes() for one in oracle}) > COUNT // 2
    rng = np.random.default_rng(0)
    decoder = PyAVDecoder()
    for number in range(20):
        wanted = np.sort(rng.integers(0, COUNT, 4))
        frames = (decoder if number % 2 else PyAVDecoder()).frames(path, wanted)
        np.testing.assert_array_equal(frames, np.stack([oracle[i] for i in wanted]))
    result = inspect(path)
    assert result.facts is not None and result.facts.num_frames == COUNT
    reasons = [one.reason for one in result.findings]
    assert any("each request decodes it from the start" in reason for reason in reasons), reasons
