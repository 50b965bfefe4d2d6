"""A user's frames to model input: every form gives what training would have shown."""

import numpy as np
import pytest
import torch
from PIL import Image

from nexus.data.catalog.catalog import scan
from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.batch import normalise
from nexus.data.loading.clip_source import ClipSource
from nexus.data.loading.processor import ClipProcessor
from nexus.errors import DataError

SPEC = ClipSpec(num_frames=4, fps=10.0, size=(32, 48))


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).integers(0, 256, (4, 40, 60, 3), dtype=np.uint8)


def test_a_file_gives_the_clip_that_a_probe_reads(good_clip):
    source = ClipSource(SPEC.for_evaluation(), scan(good_clip, workers=0))
    expected = normalise(source.dataset().sample(0, seed=0, epoch=0).video[None])
    for path in (good_clip, str(good_clip)):
        assert torch.equal(ClipProcessor(SPEC)(path), expected)


def test_all_forms_of_the_same_frames_give_the_same_input(frames):
    processor = ClipProcessor(SPEC)
    expected = processor(frames)
    assert expected.shape == (1, 3, 4, 32, 48)
    pictures = [Image.fromarray(frame) for frame in frames]
    forms = [
        torch.from_numpy(frames),
        frames.transpose(0, 3, 1, 2),
        list(frames),
        pictures,
        frames[None],
        [frames],
        [pictures],
    ]
    for form in forms:
        assert torch.equal(processor(form), expected)
    both = processor([frames, pictures])
    assert torch.equal(both, torch.cat([expected, expected]))


def test_frames_of_a_known_rate_are_cut_as_from_a_file(frames):
    long = np.repeat(frames, 5, axis=0)  # 20 frames
    shown = ClipProcessor(SPEC)(long, fps=20.0)
    # 4 frames at 10 a second of 20 at 20: every second one, the middle of the room for it.
    first = round((19 - 6) / 2 - 0.1)
    assert torch.equal(shown, ClipProcessor(SPEC)(long[first : first + 8 : 2]))


def test_grey_frames_and_grey_weights(frames):
    grey = frames[..., :1]
    repeated = np.repeat(grey, 3, axis=-1)
    processor = ClipProcessor(SPEC)
    assert torch.equal(processor(grey), processor(repeated))
    assert torch.equal(processor(list(grey[..., 0])), processor(repeated))
    assert ClipProcessor(SPEC.with_changes(channels=1))(frames).shape == (1, 1, 4, 32, 48)


def test_short_side_acts_on_frames_at_hand(frames):
    plain, reduced = ClipProcessor(SPEC), ClipProcessor(SPEC.with_changes(short_side=16))
    assert not torch.equal(plain(frames), reduced(frames))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((4, 8, 8, 3), np.float32), "uint8"),
        (np.zeros((8, 8)), "expected a path"),
        (np.zeros((4, 8, 8, 7), np.uint8), "expected a path"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)], "one size"),
        ([], "no frame"),
        (7, "expected a path"),
        ([np.zeros((4, 8, 8, 3), np.uint8), np.zeros((6, 8, 8, 3), np.uint8)], "4, 6 frames"),
    ],
)
def test_what_is_no_video_is_said(given, said):
    with pytest.raises(DataError, match=said):
        ClipProcessor(SPEC)(given)


def test_a_file_that_is_no_video_or_too_short_is_named(tmp_path, good_clip):
    text = tmp_path / "notes.mp4"
    text.write_text("no video")
    with pytest.raises(DataError, match=r"notes.mp4"):
        ClipProcessor(SPEC)(text)
    with pytest.raises(DataError, match=r"good.mp4.*more than"):
        ClipProcessor(SPEC.with_changes(num_frames=64))(good_clip)
