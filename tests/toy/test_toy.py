"""The toy world: files, balance, and geometry that agrees with the labels."""

import csv
import hashlib
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus.errors import ConfigError
from nexus.mp4 import encode_mp4
from nexus.toy.physics import SPEED, TASKS, simulate
from nexus.toy.render import SHAPES
from nexus.toy.world import (
    SPLITS,
    ToyConfig,
    clip_scene,
    plan_clips,
    render_clip,
    write_toy_world,
)

CLEAN = ToyConfig(noise=0, distractors=False, train_clips=64)
LUMA = np.array([0.299, 0.587, 0.114])


def world(**changes) -> ToyConfig:
    return CLEAN.with_changes(**changes)


def contrast(video: np.ndarray) -> np.ndarray:
    """Brightness against the plain background, (frames, height, width) in shares of the range."""
    luma = video @ LUMA / 255
    return luma - np.median(luma[0])


def centre(weights: np.ndarray) -> np.ndarray:
    """Mean position on the torus of each frame's weights, (frames, 2) as (x, y) in [0, 1)."""
    size = weights.shape[1]
    turn = np.exp(2j * np.pi * (np.arange(size) + 0.5) / size)
    sums = np.stack([weights.sum(1) @ turn, weights.sum(2) @ turn], axis=1)
    return np.angle(sums) / (2 * np.pi) % 1


def wrapped(difference: np.ndarray) -> np.ndarray:
    return difference - np.round(difference)


def steps(video: np.ndarray) -> np.ndarray:
    """Displacement of a single body from frame to frame, measured from the pixels."""
    return wrapped(np.diff(centre(np.abs(contrast(video))), axis=0))


def decode(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def psnr(error: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean(error**2)))


def clips_of(task: str, count: int = 64, **changes):
    config = world(tasks={task: 1}, train_clips=count, **changes)
    return [(clip, render_clip(clip, config)[0]) for clip in plan_clips(config, "train", seed=5)]


# What the labels say, read back from the pixels ---------------------------------------------------


def test_direction_is_the_way_the_shape_goes():
    for clip, video in clips_of("direction"):
        moved = steps(video)
        angle = np.degrees(np.arctan2(moved[:, 1].mean(), moved[:, 0].mean()))
        expected = 45 * TASKS["direction"].index(clip.label)
        assert abs((angle - expected + 180) % 360 - 180) < 4
        speed = np.linalg.norm(moved.mean(axis=0)) * CLEAN.fps
        assert SPEED[0] * 0.97 < speed < SPEED[1] * 1.03
        assert np.linalg.norm(moved - moved.mean(axis=0), axis=1).max() < 0.15 / CLEAN.size


def test_speeding_up_and_slowing_down_accelerate_and_brake():
    for clip, video in clips_of("speed"):
        pace = np.linalg.norm(steps(video), axis=1)
        slope = np.polyfit(np.linspace(0, 1, len(pace)), pace / pace.mean(), 1)[0]
        sign = 1 if clip.label == "speeding_up" else -1
        assert 1.2 < sign * slope < 1.6  # from 0.25 to 1.75 of the mean, less half a step an end


def test_the_two_bodies_of_a_contact_turn_round_or_go_on():
    for clip, video in clips_of("contact"):
        bright = centre(np.maximum(contrast(video), 0))
        dark = centre(np.maximum(-contrast(video), 0))
        first, last = wrapped(bright[[0, -1]] - dark[[0, -1]])
        alignment = first @ last / (np.linalg.norm(first) * np.linalg.norm(last))
        assert alignment == pytest.approx(1 if clip.label == "bounce" else -1, abs=0.02)


def test_the_hidden_object_comes_out_behind_its_own_screen_or_the_other():
    seen = Counter()
    for clip, video in clips_of("occlusion"):
        signed = contrast(video)
        signed *= -np.sign(signed.sum())  # the screens are larger and of the opposite sign
        body = np.maximum(signed, 0)
        area = (body > 0.1).sum(axis=(1, 2))
        assert area.min() <= 1  # nothing but a sliver left while it is hidden
        entered, left = centre(body)[[0, -1]]
        across = np.abs(wrapped(left - entered)).round(1)
        assert area[0] > 10
        assert area[-1] > 10
        along = int(abs(clip_direction(clip)[1]) > 0.5)  # 1: the motion is vertical
        changed_screen = abs(across[1 - along] - 0.5) < 0.1
        assert changed_screen == (clip.label == "vanish")
        seen[clip.label, along] += 1
    assert len(seen) == 4


def clip_direction(clip) -> np.ndarray:
    config = world(tasks={clip.task: 1})
    centres = clip_scene(clip, config).centres[0]
    moved = wrapped(centres[1] - centres[0])
    return moved / np.linalg.norm(moved)


def test_speeding_up_is_slowing_down_played_backwards():
    for seed in range(20):
        up, down = (
            simulate(label, kind, num_frames=16, fps=8, rng=np.random.default_rng(seed))
            for label, kind in (("speed", "speeding_up"), ("speed", "slowing_down"))
        )
        forward = wrapped(np.diff(up.centres[0], axis=0))
        backward = wrapped(np.diff(down.centres[0][::-1], axis=0))
        np.testing.assert_allclose(forward, -backward, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    task=st.sampled_from(list(TASKS)),
    frames=st.integers(4, 64),
    fps=st.floats(1, 60),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_scenes_stay_on_the_field_at_any_length_and_rate(task, frames, fps, seed, data):
    label = data.draw(st.sampled_from(TASKS[task]))
    rng = np.random.default_rng(seed)
    scene = simulate(task, label, num_frames=frames, fps=fps, rng=rng)
    assert scene.centres.shape == (2 if task == "contact" else 1, frames, 2)
    assert scene.centres.min() >= 0
    assert scene.centres.max() < 1
    assert len(scene.screens) == (2 if task == "occlusion" else 0)
    if task == "contact":
        apart = wrapped(scene.centres[0] - scene.centres[1])
        assert np.linalg.norm(apart, axis=1).max() < 0.5  # never nearer the other way round
    if task == "occlusion":
        # When the object is clear of the screens, it stands in line with exactly one of them.
        away = np.abs(wrapped(scene.centres[0][:, None] - scene.screens[None, :, :2]))
        in_line = (away < 1e-9).any(axis=2)
        assert (in_line.sum(axis=1) == 1).all()


# Frames -------------------------------------------------------------------------------------------


def test_shapes_have_their_areas_and_edges_below_the_pixel():
    areas = {"disc": np.pi, "square": 1.78**2, "triangle": 1.3 * 1.4**2, "cross": 3.2}
    config = world(tasks={"direction": 1}, size=64)
    for clip in plan_clips(config, "train", seed=1)[:24]:
        video, _ = render_clip(clip, config)
        shown = np.abs(contrast(video))
        cover = shown.sum(axis=(1, 2)) / shown.max(axis=(1, 2)) / 64**2
        radius = clip_scene(clip, config).radius
        np.testing.assert_allclose(cover / radius**2, areas[clip.shape], rtol=0.08)


def test_the_background_moves_and_bodies_are_drawn_over_it():
    still = world(tasks={"direction": 1})
    moving = still.with_changes(distractors=True)
    for clip in plan_clips(still, "train", seed=3)[:16]:
        plain, _ = render_clip(clip, still)
        textured, _ = render_clip(clip, moving)
        inside = np.abs(contrast(plain)) > 0.99 * np.abs(contrast(plain)).max()
        assert np.abs(plain[inside].astype(int) - textured[inside]).max() <= 2
        outside = np.abs(contrast(plain)) < 0.004
        sd = (textured @ LUMA / 255)[outside].std()
        assert 0.04 < sd < 0.13
        both = outside[0] & outside[1]
        assert np.abs(np.diff(textured[:2].astype(int), axis=0))[0][both].mean() > 0.2


def test_noise_has_its_standard_deviation_and_is_new_in_every_frame():
    config = world(tasks={"direction": 1})
    clip = plan_clips(config, "train", seed=2)[0]
    clean, _ = render_clip(clip, config)
    noisy, _ = render_clip(clip, config.with_changes(noise=0.1))
    grain = noisy[..., 1] / 255 - clean[..., 1] / 255
    assert grain.std() == pytest.approx(0.1, rel=0.06)
    assert abs(np.corrcoef(grain[0].ravel(), grain[1].ravel())[0, 1]) < 0.12


@pytest.mark.parametrize(("size", "frames"), [(32, 16), (64, 8), (128, 4)])
def test_size_and_length_are_what_the_config_says(size, frames):
    config = world(size=size, num_frames=frames)
    for clip in plan_clips(config, "train", seed=0)[:4]:
        video, _ = render_clip(clip, config)
        assert video.shape == (frames, size, size, 3)
        assert video.dtype == np.uint8
        assert video.flags["C_CONTIGUOUS"]


def test_a_larger_picture_shows_the_same_scene():
    small, large = world(), world(size=64)
    for clip in plan_clips(small, "train", seed=4)[:12]:
        a = render_clip(clip, small)[0].astype(float)
        b = render_clip(clip, large)[0].astype(float)
        halved = b.reshape(16, 32, 2, 32, 2, 3).mean(axis=(2, 4))
        assert np.abs(a - halved).mean() < 1.5


# Files --------------------------------------------------------------------------------------------

SMALL = ToyConfig(train_clips=24, validation_clips=8, test_clips=8)


def digest(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def test_a_world_is_bit_identical_from_its_seed_whatever_the_workers(tmp_path):
    heard = []
    write_toy_world(
        tmp_path / "a", SMALL, seed=7, workers=1, progress=lambda *step: heard.append(step)
    )
    write_toy_world(tmp_path / "b", SMALL, seed=7, workers=4)
    write_toy_world(tmp_path / "c", SMALL, seed=8, workers=4)
    a, b, c = (digest(tmp_path / name) for name in "abc")
    assert a == b
    assert len(a) == 41
    assert a.keys() == c.keys()
    assert not set(a.values()) & set(c.values())
    assert heard == [(done, 40) for done in range(1, 41)]


def test_files_decode_to_what_was_rendered(tmp_path):
    listing = write_toy_world(tmp_path / "world", SMALL, seed=1)
    with listing.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    clips = [clip for split in SPLITS for clip in plan_clips(SMALL, split, seed=1)]
    assert list(rows[0]) == ["path", "split", "motion", *TASKS, "shape"]
    assert len(rows) == len(clips) == 40
    for row, clip in zip(rows, clips, strict=True):
        video, labels = render_clip(clip, SMALL)
        assert row == {"path": clip.path, "split": clip.split, **labels}
        shown = decode(listing.parent / row["path"])
        assert shown.shape == video.shape
        error = shown.astype(float) - video
        assert psnr(error @ LUMA) > 35
        assert psnr(error) > 28  # colour has half the resolution in yuv420p


@pytest.mark.parametrize("keyframe_every", [1, 8])
def test_files_are_what_players_and_loaders_expect(tmp_path, keyframe_every):
    config = ToyConfig(
        train_clips=1,
        validation_clips=0,
        test_clips=0,
        fps=12.5,
        num_frames=10,
        keyframe_every=keyframe_every,
    )
    listing = write_toy_world(tmp_path, config, seed=0)
    with av.open(str(tmp_path / "train" / "000000.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 12.5
        assert stream.frames == 10
        frames = list(container.decode(stream))
    np.testing.assert_allclose([float(f.time) for f in frames], np.arange(10) / 12.5, atol=1e-6)
    assert [i for i, f in enumerate(frames) if f.key_frame] == list(range(0, 10, keyframe_every))
    assert listing.name == "labels.csv"


def test_quality_follows_crf():
    clip = plan_clips(SMALL, "train", seed=0)[0]
    video, _ = render_clip(clip, SMALL)
    sizes = [len(encode_mp4(video, SMALL.fps, crf=crf, keyframe_every=1)) for crf in (4, 16, 28)]
    assert sizes[0] > sizes[1] > sizes[2]


def test_an_interrupted_world_has_no_listing(tmp_path):
    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise StopError

    listing = write_toy_world(tmp_path, SMALL, seed=0)
    assert listing.exists()
    with pytest.raises(StopError):
        write_toy_world(tmp_path, SMALL, seed=0, progress=stop)
    assert not listing.exists()


# Plans --------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    total=st.integers(1, 300),
    shares=st.dictionaries(st.sampled_from(sorted(TASKS)), st.floats(0.01, 5), min_size=1),
)
def test_plans_keep_shares_and_balance(total, shares):
    config = ToyConfig(train_clips=total, tasks=shares)
    clips = plan_clips(config, "train", seed=3)
    assert len(clips) == total
    assert [clip.index for clip in clips] == list(range(total))
    per_task = Counter(clip.task for clip in clips)
    for task, share in shares.items():
        assert abs(per_task[task] - total * share / sum(shares.values())) < 1
        classes = Counter(clip.label for clip in clips if clip.task == task)
        counts = [classes[label] for label in TASKS[task]]
        assert max(counts) - min(counts) <= 1
        for label in TASKS[task]:
            shapes = Counter(clip.shape for clip in clips if clip.label == label)
            counts = [shapes[shape] for shape in SHAPES]
            assert max(counts) - min(counts) <= 1


def test_plans_are_shuffled():
    clips = plan_clips(world(train_clips=400), "train", seed=0)
    assert {clip.task for clip in clips[:40]} == set(TASKS)
    assert [c.label for c in clips] != [
        c.label for c in plan_clips(world(train_clips=400), "train", seed=1)
    ]


def test_splits_and_seeds_never_share_a_scene():
    config = ToyConfig(train_clips=200, validation_clips=200, test_clips=200, noise=0)
    starts = set()
    for seed in range(2):
        for split in SPLITS:
            for clip in plan_clips(config, split, seed=seed):
                starts.add(tuple(clip_scene(clip, config).centres[0, 0]))
    assert len(starts) == 2 * 3 * 200


def test_every_label_column_is_empty_unless_it_applies():
    for clip in plan_clips(world(train_clips=80), "train", seed=0):
        labels = clip.labels
        filled = [task for task in TASKS if labels[task]]
        assert filled == [labels["motion"]] == [clip.task]
        assert labels[clip.task] in TASKS[clip.task]
        assert labels["shape"] in SHAPES


@pytest.mark.parametrize(
    ("settings_", "expected"),
    [
        ({"size": 33}, "even number"),
        ({"tasks": {"direction": -1}}, "shares >= 0"),
        ({"tasks": {"direction": float("nan")}}, "finite number"),
        ({"tasks": {}}, "sum above 0"),
        ({"tasks": {"colour": 1}}, "direction"),
        ({"train_clips": 0, "validation_clips": 0, "test_clips": 0}, "at least one clip"),
        ({"noize": 0.1}, "did you mean 'noise'"),
    ],
)
def test_bad_settings_say_what_was_expected(settings_, expected):
    with pytest.raises(ConfigError, match=expected):
        ToyConfig.from_mapping(settings_)


def test_bad_seeds_are_refused():
    with pytest.raises(ConfigError, match="seed -1"):
        plan_clips(SMALL, "train", seed=-1)
