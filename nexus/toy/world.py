"""A toy world with known physics, written as real H.264 mp4 files with labels.

Small shapes move over a textured, moving background under sensor noise. Four motion tasks can only
be told from the order of frames (see `physics` for why no single frame gives a label away);
the shape of the body can be told from any frame. Everything is a pure function of the seed.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from pydantic import Field, model_validator

from nexus.atomic import write_text
from nexus.config import Config
from nexus.errors import ConfigError
from nexus.mp4 import EvenSide, encode_mp4
from nexus.shares import Shares, apportion
from nexus.toy.physics import TASKS, Scene, Task, simulate
from nexus.toy.render import SHAPES, draw, draw_look

SPLITS = ("train", "validation", "test")


class ToyConfig(Config):
    """What the toy world holds.

    `tasks` are relative shares (`{"direction": 1}`: all clips are direction clips). `noise` and
    `texture` are standard deviations in shares of the range from black to white; without
    `distractors` the background is plain and still. `crf` is x264's quality (0 best).

    `keyframe_every` is 1: each frame is coded by itself. With longer groups a body leaves a trail
    of coding errors, and in noise-free files a linear probe reads its direction from one frame
    (24 % of 8 classes at 8 frames a group). Under noise the files are not larger for it.
    """

    size: EvenSide = Field(default=32, ge=16, le=1024)
    num_frames: int = Field(default=16, ge=4, le=1024)
    fps: float = Field(default=8.0, ge=0.1, le=240)
    train_clips: int = Field(default=4000, ge=0)
    validation_clips: int = Field(default=600, ge=0)
    test_clips: int = Field(default=1200, ge=0)
    tasks: Shares[Task] = Field(
        default={"direction": 0.5, "speed": 0.2, "contact": 0.15, "occlusion": 0.15}
    )
    noise: float = Field(default=0.2, ge=0, le=1)
    distractors: bool = True
    texture: float = Field(default=0.08, ge=0, le=0.5)
    crf: int = Field(default=10, ge=0, le=40)
    keyframe_every: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.train_clips + self.validation_clips + self.test_clips:
            raise ValueError("got no clips in any split; expected at least one clip")
        return self

    def clips_in(self, split: str) -> int:
        """The number of clips of one of the `SPLITS`."""
        counts = (self.train_clips, self.validation_clips, self.test_clips)
        return counts[SPLITS.index(split)]


@dataclass(frozen=True)
class ToyClip:
    """One clip before it is drawn: what it shows, and where its randomness comes from."""

    split: str
    index: int
    task: Task
    label: str
    shape: str
    seed: int

    @property
    def path(self) -> str:
        """The file's path relative to the world's folder; it says nothing of the labels."""
        return f"{self.split}/{self.index:06d}.mp4"

    @property
    def labels(self) -> dict[str, str]:
        """The label columns: `motion` (the task), one a task (empty where not its own), `shape`."""
        own = {task: self.label if task == self.task else "" for task in TASKS}
        return {"motion": self.task, **own, "shape": self.shape}


def plan_clips(config: ToyConfig, split: str, *, seed: int) -> tuple[ToyClip, ...]:
    """The clips of a split, in a random order.

    Tasks get their shares by largest remainder; within a task the classes, and within a class the
    shapes, are balanced to within one clip.

    Raises:
        ConfigError: the seed is negative.
    """
    if seed < 0:
        raise ConfigError(f"seed {seed}: expected a whole number of 0 or more")
    total = config.clips_in(split)
    shown = []
    shares: dict[Task, float] = {t: config.tasks[t] for t in TASKS if t in config.tasks}
    for task, count in apportion(shares, total).items():
        classes = TASKS[task]
        for number in range(count):
            turn, label = divmod(number, len(classes))
            # The shift by the class keeps the shapes balanced when the last round is incomplete.
            shape = SHAPES[(turn + label) % len(SHAPES)]
            shown.append((task, classes[label], shape))
    order = _stream(seed, split, total, 3).permutation(total)
    return tuple(
        ToyClip(split, index, *shown[place], seed=seed) for index, place in enumerate(order)
    )


def _stream(seed: int, split: str, index: int, purpose: int) -> np.random.Generator:
    """Independent randomness for each (seed, split, clip, purpose)."""
    entropy = (seed, SPLITS.index(split), index, purpose)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


def clip_scene(clip: ToyClip, config: ToyConfig) -> Scene:
    """The true geometry of a clip: the positions of its bodies in every frame."""
    return simulate(
        clip.task,
        clip.label,
        num_frames=config.num_frames,
        fps=config.fps,
        rng=_stream(clip.seed, clip.split, clip.index, 0),
    )


def render_clip(
    clip: ToyClip, config: ToyConfig
) -> tuple[UInt8[np.ndarray, "frames size size 3"], dict[str, str]]:
    """Draw one clip: frames 0..255 and its label columns.

    Motion, look and noise have streams of their own: a config that differs only in `noise` or
    `texture` shows the same motions in the same colours.
    """
    scene = clip_scene(clip, config)
    looks, noises = (_stream(clip.seed, clip.split, clip.index, purpose) for purpose in (1, 2))
    look = draw_look(len(scene.centres), config.texture if config.distractors else 0.0, looks)
    video = draw(
        scene,
        look,
        clip.shape,
        size=config.size,
        fps=config.fps,
        noise=config.noise,
        rng=noises,
    )
    return video, clip.labels


def write_toy_world(
    out: str | Path,
    config: ToyConfig,
    *,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> Path:
    """Write the clips of all splits as `out/SPLIT/NUMBER.mp4` and return `out/labels.csv`.

    `labels.csv` (columns path, split, motion, direction, speed, contact, occlusion, shape) is
    written last: where it lies, the world is complete. `progress(done, total)` is called as files
    land. The files do not depend on `workers` (threads; None: one a core, at most 4).
    """
    clips = [clip for split in SPLITS for clip in plan_clips(config, split, seed=seed)]
    out = Path(out)
    listing = out / "labels.csv"
    listing.unlink(missing_ok=True)
    for split in SPLITS:
        (out / split).mkdir(parents=True, exist_ok=True)

    def write(clip: ToyClip) -> None:
        video, _ = render_clip(clip, config)
        mp4 = encode_mp4(video, config.fps, crf=config.crf, keyframe_every=config.keyframe_every)
        (out / clip.path).write_bytes(mp4)

    threads = workers or min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        done = 0
        for first in range(0, len(clips), 16 * threads):  # a failure stops the rest early
            for _ in pool.map(write, clips[first : first + 16 * threads]):
                done += 1
                if progress:
                    progress(done, len(clips))
    table = pd.DataFrame([{"path": it.path, "split": it.split, **it.labels} for it in clips])
    write_text(listing, table.to_csv(index=False, lineterminator="\n"))
    return listing
