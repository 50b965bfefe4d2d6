"""What small real runs are told of their health: in the log, on the page and in Python."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from odd_videos import write_clip
from tiny_runs import TINY

from nexus.config import merge, parse_overrides
from nexus.jobs.pretraining import RunResult, pretrain
from nexus.toy.world import ToyConfig, write_toy_world

SETTINGS = ("training.steps=240", "training.log_every=10", "training.checkpoint_every=1000",
            "training.batch_size=8", "data.cache.kind=memory")  # fmt: skip


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 videos in which a shape moves."""
    config = ToyConfig(size=16, num_frames=8, train_clips=40, validation_clips=0, test_clips=0)
    listing = write_toy_world(tmp_path_factory.mktemp("toy"), config, seed=0)
    return listing.parent / "train"


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 videos, each the same picture eight times."""
    folder, random = tmp_path_factory.mktemp("stills"), np.random.default_rng(0)
    y, x = np.mgrid[0:16, 0:16] / 16
    for number in range(40):
        angle, waves = random.uniform(0, 6.28), random.uniform(2, 12)
        phase = waves * (x * np.cos(angle) + y * np.sin(angle)) + random.uniform(0, 6.28)
        picture = np.stack([128 + random.uniform(40, 120) * np.sin(phase)] * 3, axis=-1)
        pictures = [picture.astype(np.uint8)] * 8
        write_clip(folder / f"{number}.mp4", pictures=pictures, height=16, width=16, fps=8)
    return folder


def run(data: Path, out: Path, *changes: str) -> tuple[RunResult, str, str]:
    """A tiny run: what Python gets, what the log says, the page."""
    recipe = out.parent / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(merge(TINY, parse_overrides(SETTINGS))))
    result = pretrain(data, out, recipe=recipe, overrides=changes)
    assert result.report is not None
    return result, (out / "log.txt").read_text(), result.report.read_text("utf-8")


def colour(page: str, short: str) -> str:
    """The level of the answer whose few words these are."""
    (answer,) = [it for it in page.split('<div class="answer ')[1:] if f">{short}</p>" in it]
    assert "Is it healthy?" in answer
    return answer.partition('"')[0].split()[0]


pytestmark = pytest.mark.usefixtures("undrawn")


def test_a_run_that_learns_is_healthy_and_green(moving: Path, tmp_path: Path) -> None:
    result, log, page = run(moving, tmp_path / "run")
    assert result.health == "healthy"
    assert "the prediction's error is 0." in result.summary
    assert log.count(" healthy\n") and "not learning" not in log
    assert colour(page, "Healthy") == "good"
    assert "✗ not met" not in page


def test_a_run_that_beats_nothing_is_not_learning(moving: Path, tmp_path: Path) -> None:
    result, log, page = run(moving, tmp_path / "run", "optim.lr=1e-7", "optim.final_lr=0")
    assert result.health == "not learning"
    assert "Health: not learning: not collapsed, but not learning" in result.summary
    assert "step 220: not collapsed, but not learning: after 220 steps the prediction is no" in log
    assert colour(page, "Not learning") == "warn"
    assert "error against a copy of the last frame" in page and "✗ not met" in page


def test_stills_teach_nothing_about_motion(stills: Path, tmp_path: Path) -> None:
    result, log, page = run(stills, tmp_path / "run")
    assert result.health == "not learning"
    assert "next to nothing moves in these clips (0.0% of their contrast" in result.summary
    assert "step 220: not collapsed, but not learning: next to nothing moves" in log
    assert colour(page, "Not learning") == "warn"


def test_one_video_for_twenty_steps_proves_nothing(moving: Path, tmp_path: Path) -> None:
    video = next(moving.glob("*.mp4"))
    result, log, page = run(video, tmp_path / "run", "training.steps=20")
    assert result.health == "unproven"
    assert "after 20 steps of training nobody can tell whether it learns" in result.summary
    assert "step 20/20" in log and log.count(" unproven\n")
    assert colour(page, "Not shown to learn") == "warn"


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1, 2))])
def test_collapse_is_an_alarm(moving: Path, tmp_path: Path, seed: int) -> None:
    """Gradients through the target, and no term against it: the shortest way to a loss of zero."""
    changes = ("model.regularizer=none", "model.stop_gradient=false", "training.steps=120")
    result, log, page = run(moving, tmp_path / "run", *changes, f"training.seed={seed}")
    assert result.health == "collapsed"
    assert "Health: collapsed: only " in result.summary
    assert "the representation is collapsed: only " in log
    assert colour(page, "Collapsed") == "bad"
    assert "model.regularizer=variance_covariance" in page  # what to do next
