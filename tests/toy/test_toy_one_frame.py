"""No single frame of the toy world gives a motion label away, and the order of frames does."""

import io
from functools import cache

import av
import numpy as np
import pytest
from scipy.stats import binom
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from nexus.mp4 import encode_mp4
from nexus.toy.physics import SPEED, TASKS
from nexus.toy.render import SHAPES
from nexus.toy.world import ToyConfig, clip_scene, plan_clips, render_clip

COUNT = 640
FRAMES = (0, 7, 15)
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@cache
def clean_clips(task: str):
    """Noise-free clips of one task on a plain background, two splits: luma (clips, frames, height,
    width) in [0, 1], and the clips.
    """
    config = ToyConfig(
        noise=0,
        distractors=False,
        tasks={task: 1},
        train_clips=COUNT,
        validation_clips=0,
        test_clips=COUNT,
    )
    splits = {}
    for split in ("train", "test"):
        clips = plan_clips(config, split, seed=11)
        frames = [render_clip(clip, config)[0].astype(np.float32) @ LUMA for clip in clips]
        splits[split] = (np.stack(frames) / 255, clips)
    return config, splits


every_task = pytest.mark.parametrize("task", sorted(TASKS))


def written(video: np.ndarray, config: ToyConfig) -> bytes:
    return encode_mp4(video, config.fps, crf=config.crf, keyframe_every=config.keyframe_every)


def decoded(data: bytes) -> np.ndarray:
    with av.open(io.BytesIO(data)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def classes(clips, column: str) -> np.ndarray:
    return np.array([clip.labels[column] for clip in clips])


def accuracy(probe, features: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> float:
    probe.fit(features["train"], labels["train"])
    chance = chance_interval(len(set(labels["train"])))[1]
    assert probe.score(features["train"], labels["train"]) > chance  # it has learnt its own clips
    return float(probe.score(features["test"], labels["test"]))


def linear() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))


def chance_interval(classes: int, count: int = COUNT) -> tuple[float, float]:
    """Where a guesser's accuracy falls in 99.9 % of cases: there are dozens of comparisons."""
    low, high = binom.interval(0.999, count, 1 / classes)
    return low / count, high / count


def turned(image: np.ndarray, place: np.ndarray) -> np.ndarray:
    """An image on the torus, moved so that `place` (x, y) comes to its middle."""
    size = image.shape[-1]
    shift = size // 2 - np.floor(place * size).astype(int)
    return np.roll(image, (shift[1], shift[0]), axis=(-2, -1))


def centred(config, luma, clips, frame: int) -> np.ndarray:
    """What a keener eye sees of one frame: contrast without its sign, around a body or a screen.

    A linear probe on raw pixels is nearly blind where positions are uniform; this one is not. Of
    two bodies or screens one is picked at random: which came first is not in the frame.
    """
    rng = np.random.default_rng(0)
    maps = []
    for image, clip in zip(luma[:, frame], clips, strict=True):
        scene = clip_scene(clip, config)
        places = scene.screens[:, :2] if len(scene.screens) else scene.centres[:, frame]
        image = np.abs(image - np.median(image))
        maps.append(turned(image, places[rng.integers(len(places))]).ravel())
    return np.stack(maps)


def state(config, clips, frame: int) -> np.ndarray:
    """The true geometry of one frame: absolute and relative positions, radius, screens."""
    rng = np.random.default_rng(1)
    rows = []
    for clip in clips:
        scene = clip_scene(clip, config)
        places = np.concatenate([scene.centres[:, frame], scene.screens[:, :2]])
        bodies = len(scene.centres)
        order = [*rng.permutation(bodies), *(bodies + rng.permutation(len(scene.screens)))]
        places = places[order]
        # Rounded, for a forest splits even where only the last bit of a float differs.
        apart = (np.round(places - places[0], 6) + 0.5) % 1 - 0.5
        places = np.round(places, 6) % 1
        rows.append([*places.ravel(), *apart[1:].ravel(), *scene.screens[:, 2:].ravel()])
        rows[-1].append(scene.radius)
    return np.array(rows)


@every_task
def test_a_linear_probe_of_one_frame_is_at_chance(task):
    config, splits = clean_clips(task)
    labels = {split: classes(clips, task) for split, (_, clips) in splits.items()}
    low, high = chance_interval(len(TASKS[task]))
    for frame in FRAMES:
        raw = {s: luma[:, frame].reshape(COUNT, -1) for s, (luma, _) in splits.items()}
        near = {s: centred(config, luma, clips, frame) for s, (luma, clips) in splits.items()}
        for view in (raw, near):
            assert low <= accuracy(linear(), view, labels) <= high


@every_task
def test_even_the_true_positions_in_one_frame_say_nothing(task):
    config, splits = clean_clips(task)
    labels = {split: classes(clips, task) for split, (_, clips) in splits.items()}
    low, high = chance_interval(len(TASKS[task]))
    for frame in FRAMES:
        truth = {split: state(config, clips, frame) for split, (_, clips) in splits.items()}
        forest = RandomForestClassifier(100, min_samples_leaf=3, random_state=0)
        assert low <= accuracy(forest, truth, labels) <= high


@every_task
def test_the_same_probe_reads_the_shape_from_one_frame(task):
    config, splits = clean_clips(task)
    labels = {split: classes(clips, "shape") for split, (_, clips) in splits.items()}
    frame = 0  # the object has not reached its screen
    views = {}
    for split, (luma, clips) in splits.items():
        places = [clip_scene(clip, config).centres[0, frame] for clip in clips]
        contrast = [np.abs(image - np.median(image)) for image in luma[:, frame]]
        crops = [turned(c, p)[8:24, 8:24] for c, p in zip(contrast, places, strict=True)]
        views[split] = np.stack(crops).reshape(COUNT, -1)
    assert accuracy(linear(), views, labels) > 0.6 > chance_interval(len(SHAPES))[1]


def test_the_same_probe_finds_a_leak():
    """If the clips started at one place, the last frame alone would tell the direction."""
    config, splits = clean_clips("direction")
    views, labels = {}, {}
    for split, (luma, clips) in splits.items():
        starts = [clip_scene(clip, config).centres[0, 0] for clip in clips]
        contrast = [np.abs(image - np.median(image)) for image in luma[:, 5]]
        moved = [turned(c, p) for c, p in zip(contrast, starts, strict=True)]
        views[split] = np.stack(moved).reshape(COUNT, -1)
        labels[split] = classes(clips, "direction")
    assert accuracy(linear(), views, labels) > 0.9


@pytest.mark.slow
def test_compression_leaves_no_trail():
    """Coding errors behind the body would show the way (they do with 8 frames a group: 24 %)."""
    config, splits = clean_clips("direction")
    views, labels = {}, {}
    for split, (_, clips) in splits.items():
        shown = []
        for clip in clips:
            frames = decoded(written(render_clip(clip, config)[0][:8], config))
            shown.append(frames[-1].astype(np.float32) @ LUMA / 255)
        places = [clip_scene(clip, config).centres[0, 7] for clip in clips]
        contrast = [np.abs(image - np.median(image)) for image in shown]
        moved = [turned(c, place) for c, place in zip(contrast, places, strict=True)]
        views[split] = np.stack(moved).reshape(COUNT, -1)
        labels[split] = classes(clips, "direction")
    low, high = chance_interval(8)
    assert low <= accuracy(linear(), views, labels) <= high


# The label is there in time -----------------------------------------------------------------------


def undone_motions(size: int, frames: int, fps: float) -> np.ndarray:
    """Filters (8 directions, speeds, frames, y, x) that undo a motion and blur to a body's size."""
    frequency = np.fft.fftfreq(size, 1 / size)
    fy, fx = frequency[:, None], frequency[None, :]
    blur = np.exp(-2 * (np.pi * 0.07) ** 2 * (fx**2 + fy**2))
    angles = np.arange(8)[:, None, None, None, None] * np.pi / 4
    speeds = np.linspace(*SPEED, 7)[:, None, None, None]
    seconds = (np.arange(frames) / fps)[:, None, None]
    waves = speeds * seconds * (np.cos(angles) * fx + np.sin(angles) * fy)
    return (blur * np.exp(2j * np.pi * waves)).astype(np.complex64)


def direction_by_shift_and_add(video: np.ndarray, filters: np.ndarray) -> int:
    """Undo each candidate motion, add the frames up, and see which picture stands out most."""
    luma = video.astype(np.float32) @ LUMA
    spectrum = np.fft.fft2(luma - luma.mean()).astype(np.complex64)
    pictures = np.fft.ifft2(np.einsum("tyx,dstyx->dsyx", spectrum, filters)).real
    return int(np.abs(pictures).max(axis=(1, 2, 3)).argmax())


@pytest.mark.parametrize("noise", [0.15, 0.3])
def test_the_files_hold_the_direction_under_noise_and_a_moving_background(noise):
    config = ToyConfig(train_clips=96, noise=noise, tasks={"direction": 1})
    filters = undone_motions(config.size, config.num_frames, config.fps)
    hits = []
    for clip in plan_clips(config, "train", seed=6):
        video = decoded(written(render_clip(clip, config)[0], config))
        found = direction_by_shift_and_add(video, filters)
        hits.append(found == TASKS["direction"].index(clip.label))
    assert np.mean(hits) > 0.9
