"""World models in nexus' own loop: learning, exact resume, bad episodes, frozen encoders."""

import inspect
import json

import numpy as np
import pytest
import torch
from made_episodes import write_made
from rich.console import Console

import nexus.cli.world
from nexus.checkpoints.files import ModelCard, save_checkpoint
from nexus.checkpoints.weights import read_weights
from nexus.data.episodes.lerobot_writer import LeRobotWriter
from nexus.data.episodes.opening import open_episodes
from nexus.data.episodes.robot import Robot
from nexus.data.episodes.schema import Schema
from nexus.data.episodes.stretches import Stretches
from nexus.errors import ConfigError, DataError, TrainingError
from nexus.jobs.world_training import train_world
from nexus.models.ssl import VJEPAModel
from nexus.training.episode_feed import EpisodeFeed
from nexus.training.recipe import recipe_names
from nexus.training.step import TrainStep
from nexus.training.world_recipe import held_out, load_world_recipe, trained_on

SMALL = (
    "model.img_size=16",
    "model.num_frames=4",
    "model.encoder={kind: patches, patch_size: 8, dim: 8, hidden: 16, patch_dim: 8}",
    "model.predictor={kind: adaln, width: 24, depth: 1, heads: 2, window: 2}",
    "training.batch_size=4",
    "training.log_every=2",
    "training.checkpoint_every=3",
    "training.threads=1",
    "training.tensorboard=false",
)
KEYPOINTS = ("model.encoder={kind: keypoints, patch_size: 8, width: 8}",)
QS = Schema.plain(["qx", "qy", "qz"], 10)
LENGTHS = (8, 6, 9, 7, 8, 6, 7, 8, 9, 6, 5)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return write_made(tmp_path_factory.mktemp("world") / "made", LENGTHS, codec="lossless")


def train(data, out, *changes, **named):
    return train_world(data, out, overrides=[*SMALL, *changes], report=False, **named)


def weights(run):
    [*_, last] = sorted((run / "checkpoints").glob("step_*"))
    return read_weights(last / "model.safetensors")


def rows(run):
    lines = (run / "journal.jsonl").read_text().splitlines()
    timed = ("seconds", "clips_per_second", "data_wait")
    return [{k: v for k, v in json.loads(line).items() if k not in timed} for line in lines]


@pytest.mark.parametrize(
    "changes",
    [
        (),
        (*KEYPOINTS, "model.encoder_steps=4"),
    ],
)
def test_a_run_that_was_interrupted_ends_with_the_same_bits(
    tmp_path, recording, monkeypatch, changes
):
    changes = ("training.steps=8", *changes)
    train(recording, tmp_path / "whole", *changes)
    # The seventh step fails: the checkpoint of step 6 is what is left.
    taken = []
    step = TrainStep.__call__

    def failing(self, *args, **named):
        taken.append(1)
        if len(taken) == 7:
            raise RuntimeError("the power went out")
        return step(self, *args, **named)

    monkeypatch.setattr(TrainStep, "__call__", failing)
    with pytest.raises(RuntimeError, match="power"):
        train(recording, tmp_path / "broken", *changes)
    monkeypatch.undo()
    train_world(None, tmp_path / "broken", resume=True, report=False)
    before, after = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert rows(tmp_path / "whole") == rows(tmp_path / "broken")


def test_an_encoder_that_is_finished_sees_each_frame_once_more(tmp_path, recording, monkeypatch):
    changes = ("training.steps=12", *KEYPOINTS, "model.encoder_steps=2")
    decoded = []
    frames = Stretches._decoded

    def counting(self, index, numbers):
        decoded.append(index)
        return frames(self, index, numbers)

    monkeypatch.setattr(Stretches, "_decoded", counting)
    train(recording, tmp_path / "kept", *changes)
    # In twelve steps each of ten episodes is met several times.
    assert sorted(decoded) == sorted(set(decoded))
    monkeypatch.setattr(EpisodeFeed, "_look_at_encoder", lambda self: None)
    train(recording, tmp_path / "seen", *changes)
    kept, seen = weights(tmp_path / "kept"), weights(tmp_path / "seen")
    assert any(not torch.equal(kept[name], seen[name]) for name in kept)  # half precision
    for name in kept:
        torch.testing.assert_close(kept[name], seen[name], rtol=0.01, atol=1e-3)


def test_the_run_knows_its_robot_and_refuses_another(tmp_path, recording):
    train(recording, tmp_path / "run", "training.steps=1")
    other = write_made(tmp_path / "other", LENGTHS, state=QS, codec="lossless")
    with pytest.raises(DataError, match=r"whose state is \(px, py, angle\), here it is"):
        train_world(other, tmp_path / "run", resume=True, report=False)
    with pytest.raises(TrainingError, match="resume"):
        train(recording, tmp_path / "run")


def test_two_recordings_are_two_robots_in_turn(tmp_path, recording):
    other = write_made(tmp_path / "other", LENGTHS, codec="lossless")
    train([recording, other], tmp_path / "run", "training.steps=6", "training.log_every=1")
    robots = [row["robot"] for row in rows(tmp_path / "run")]
    assert robots.count(0) == robots.count(1) == 3
    assert {"robots.0.action.weight", "robots.1.action.weight"} <= set(weights(tmp_path / "run"))


def test_blocks_of_control_steps_are_joined_in_training(tmp_path, recording):
    changes = ("training.steps=1", "data.block=2", "model.num_frames=2", "model.context=1")
    train(recording, tmp_path / "run", *changes)
    assert weights(tmp_path / "run")["robots.0.action.weight"].shape[1] == 4


def test_one_episode_of_ten_is_held_out(recording):
    episodes = open_episodes(recording)
    assert held_out(episodes) == (9,)
    assert trained_on(episodes) == (0, 1, 2, 3, 4, 5, 6, 7, 8, 10)


def test_an_episode_that_is_too_short_is_named(recording):
    episodes = open_episodes(recording)
    robot = Robot.of(episodes, episodes.indices)
    part = Stretches(episodes, (0, 10), robot, size=(16, 16), length=6)
    assert list(part.failures) == [10]
    assert "episode 10 has 5 frames" in part.failures[10]
    with pytest.raises(DataError, match="nothing to train on: .*a window has 60"):
        Stretches(episodes, (0,), robot, size=(16, 16), length=60)


def test_windows_hold_what_was_recorded(recording):
    episodes = open_episodes(recording)
    robot = Robot.of(episodes, episodes.indices)
    part = Stretches(episodes, (0, 3), robot, size=(64, 64), length=3, memory=10**9)
    number = int(np.flatnonzero((part.windows.episode == 3) & (part.windows.start == 2))[0])
    batch, failed = part.batch([number])
    assert not failed
    frames = episodes.frames(3, "top", [2, 3, 4])
    assert np.array_equal(batch.frames[0, 0].permute(0, 2, 3, 1).numpy(), frames)
    mean, std = robot.action_scale()
    actions = (episodes.actions(3)[2:4] - mean) / std
    np.testing.assert_allclose(batch.actions[0], actions, rtol=1e-5)
    mean, std = robot.state_scale()
    np.testing.assert_allclose(batch.states[0], (episodes.states(3)[2:5] - mean) / std, rtol=1e-4)


def test_recipes_that_come_with_nexus_are_world_models(tmp_path, recording):
    assert recipe_names("worlds") == ["world", "world-joint"]
    for name in recipe_names("worlds"):
        assert load_world_recipe(name).model.kind == "world"
        assert name in inspect.getsource(nexus.cli.world)
    with pytest.raises(ConfigError, match="'wrld'; did you mean 'world'"):
        train_world(recording, tmp_path / "run", recipe="wrld")


def test_a_mis_scaled_recording_is_refused(tmp_path, recording):
    robot = Robot.of(open_episodes(recording), (0, 1, 2))
    wrong = robot.statistics.action.with_changes(
        std=tuple(s / 1e4 for s in robot.statistics.action.std)
    )
    small = robot.with_changes(statistics=robot.statistics.with_changes(action=wrong))
    with pytest.raises(DataError, match="episode 0: dimension 'x' lies .* another unit"):
        small.check(open_episodes(recording), (0,))


def test_a_frozen_encoder_is_kept_and_its_latents_are_on_disk(tmp_path, recording, monkeypatch):
    monkeypatch.setenv("NEXUS_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    sizes = {"encoder_dim": 24, "num_heads": 2, "num_spatial_layers": 1, "num_temporal_layers": 0}
    model = VJEPAModel(
        {
            "img_size": 16,
            "num_frames": 4,
            "patch_size": 8,
            **sizes,
            "predictor_dim": 12,
            "predictor_heads": 2,
            "num_predictor_layers": 1,
        }
    )
    config = model.config.to_mapping()
    save_checkpoint(tmp_path / "enc", model, ModelCard("vjepa", config, 0, {}), {}, keep=1)
    changes = [c for c in SMALL if not c.startswith(("model.encoder", "model.predictor"))] + [
        "model.predictor={kind: interleaved, width: 24, depth: 1, heads: 2}",
        "training.steps=4",
    ]
    named = {"encoder": tmp_path / "enc", "overrides": changes, "report": False}
    train_world(recording, tmp_path / "one", **named)
    kept = sorted((tmp_path / "cache" / "latents").rglob("*.npy"))
    assert len(kept) == 10
    stamps = [file.stat().st_mtime_ns for file in kept]
    train_world(recording, tmp_path / "two", **named)
    assert [file.stat().st_mtime_ns for file in kept] == stamps
    first, second = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.equal(first[name], second[name]) for name in first)
    target = model.evaluation_encoder("target").state_dict()
    assert all(torch.equal(first[f"encoder.encoder.{name}"], each) for name, each in target.items())
    with pytest.raises(ConfigError, match="--encoder WEIGHTS"):
        train_world(recording, tmp_path / "three", recipe="world", report=False)


def test_a_world_is_learned(tmp_path):
    """A dot that moves as it is told: the prediction beats a copy by far."""
    rng = np.random.default_rng(0)
    action = Schema.plain(["dx"], 10)
    with LeRobotWriter(
        tmp_path / "dots",
        fps=10,
        action=action,
        state=Schema.plain(["x"], 10),
        cameras={"top": (16, 16)},
        codec="lossless",
    ) as out:
        for _ in range(30):
            moves = rng.integers(-2, 3, (12, 1)).astype(np.float32)
            places = np.clip(8 + np.concatenate([[0], np.cumsum(moves[:-1, 0])]), 0, 15)
            frames = np.zeros((12, 16, 16, 3), np.uint8)
            frames[np.arange(12), 6:10, places.astype(int)] = 255
            out.add_episode(frames={"top": frames}, actions=moves, states=places[:, None])
    result = train(
        tmp_path / "dots",
        tmp_path / "run",
        "training.steps=300",
        "optim.lr=3e-3",
        "training.batch_size=32",
        "training.log_every=100",
    )
    assert result.status == "finished"
    assert rows(tmp_path / "run")[-1]["error_vs_copy"] < 0.35


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setattr("nexus.training.loop.Console", lambda **_: Console(quiet=True))
