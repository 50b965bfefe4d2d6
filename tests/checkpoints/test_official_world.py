"""V-JEPA 2-AC's weights as a world model: the same numbers, and a planner that uses them."""

import json

import numpy as np
import pytest
import torch
from oracles import published
from oracles.published import GIVEN, TINY
from oracles.world import robot
from scipy.spatial.transform import Rotation
from torch.nn.functional import layer_norm

import nexus
from nexus.checkpoints.official_world import droid_robot, published_world
from nexus.control.acting import Actor
from nexus.control.model_policy import PlanningConfig
from nexus.control.trust.measuring import TrustConfig
from nexus.control.world_goals import PictureGoal
from nexus.control.world_policies import load_world
from nexus.data.episodes.lerobot_writer import LeRobotWriter
from nexus.data.episodes.schema import Schema
from nexus.errors import CheckpointError, DataError
from nexus.nn.grid import Grid

SEARCH = {"kind": "cem", "candidates": 8, "iterations": 2, "elites": 3}


def loaded_of(folder, side=16, **settings):
    torch.save(published.random_action_file(TINY), folder / "ac.pt")
    actions = {"heads": 2, "img_size": side, **settings}
    return nexus.load(folder / "ac.pt", config={**GIVEN, "action_predictor": actions})


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def after(state, action):
    """The next state as the published planner has it."""
    turn, angles = (Rotation.from_euler("xyz", one[3:6]) for one in (action, state))
    place = (state + action)[:3]
    grip = np.clip(state[6:] + action[6:], 0, 1)
    return np.concatenate([place, (turn * angles).as_euler("xyz"), grip])


@pytest.mark.parametrize("side", [16, 32])
@pytest.mark.parametrize("acting", [None, robot(7, 7, mean=0.3, std=1.7)])
def test_it_says_what_the_published_predictor_says(tmp_path, side, acting):
    """At once, and step by step with states that follow; `side`: that rows are scaled to."""
    loaded = loaded_of(tmp_path, side)
    world = published_world(loaded, acting).double()
    encoder, predictor = loaded.encoder.double(), loaded.action_predictor.double()
    frames, actions = drawn(0, 2, 1, 4, 3, 16, 16), 0.2 * drawn(1, 2, 4, 7)
    states = drawn(2, 2, 4, 7)
    states[..., 6] = states[..., 6].sigmoid()
    body = world.config.robots[0]
    (a_mean, a_std), (s_mean, s_std) = (
        tuple(torch.from_numpy(each) for each in scale)
        for scale in (body.action_scale(), body.state_scale())
    )
    with torch.no_grad():
        latents = world.encode(frames)
        still = frames[:, 0].flatten(0, 1)[:, :, None].repeat(1, 1, 2, 1, 1)
        features = encoder(still).unflatten(0, (2, 4))
        features = layer_norm(features, features.shape[-1:])
        torch.testing.assert_close(latents, features, rtol=0, atol=1e-9)

        told, _ = world._predict(
            latents, (actions - a_mean) / a_std, (states - s_mean) / s_std, 0, None
        )
        expected = predictor(features.flatten(1, 2), actions, states, grid=Grid(4, 4, 4))
        expected = expected.unflatten(1, (4, -1))
        expected = layer_norm(expected, expected.shape[-1:])
        torch.testing.assert_close(told, expected, rtol=0, atol=1e-5)

        # Two frames are seen; the third action is done from a state that is worked out.
        seen, known = features[:, :2], states[:, :2]
        state = world.begin(
            latents[:, :2], (actions[:, :1] - a_mean) / a_std, (states[:, :2] - s_mean) / s_std
        )
        for step in range(1, 4):
            state = world.step(state, (actions[:, step] - a_mean) / a_std)
            next_ = predictor(
                seen.flatten(1, 2), actions[:, : step + 1], known, grid=Grid(step + 1, 4, 4)
            )
            next_ = layer_norm(next_.unflatten(1, (step + 1, -1))[:, -1], (TINY.dim,))
            torch.testing.assert_close(state.latent, next_, rtol=0, atol=1e-5)
            rows = zip(known[:, -1].numpy(), actions[:, step].numpy(), strict=True)
            follows = torch.from_numpy(np.stack([after(*row) for row in rows]))
            torch.testing.assert_close(state.state * s_std + s_mean, follows, rtol=0, atol=1e-5)
            seen = torch.cat([seen, next_[:, None]], dim=1)
            known = torch.cat([known, follows[:, None]], dim=1)


def test_it_is_written_with_a_card_and_plans(tmp_path):
    loaded_of(tmp_path)
    settings = {**GIVEN, "action_predictor": {"heads": 2, "img_size": 16}}
    done = nexus.convert(tmp_path / "ac.pt", tmp_path / "w", to="world", config=settings)
    assert "an action is its change" in done.explain()
    assert "Actor(" in (tmp_path / "w/README.md").read_text()
    card = json.loads((tmp_path / "w/config.json").read_text())
    assert card["kind"] == "world" and card["step"] == 0
    world, direct = load_world(tmp_path / "w"), published_world(done.loaded)
    for name, tensor in direct.state_dict().items():
        assert torch.equal(world.state_dict()[name], tensor), name
    planning = PlanningConfig(planner=SEARCH, horizon=2, context=1)
    actor = Actor(tmp_path / "w", planning=planning)
    draw = np.random.default_rng(0)
    goal, *shown = draw.integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    actor.aim(PictureGoal(goal))
    for picture in shown:
        action = actor.act(picture, np.array([0.4, 0, 0.3, 3.1, 0, 0, 0.5]))
        assert np.abs(action[:3]).max() <= 0.05 and np.abs(action[3:6]).max() <= 1e-3
    assert len(actor._policy._latents) == 1, "plans start from the present frame alone"


def test_the_robot_is_that_of_a_recording(tmp_path):
    loaded_of(tmp_path)
    names = ["x", "y", "z", "a", "b", "c", "g"]
    action, draw = Schema.plain([f"d{name}" for name in names], rate=5), np.random.default_rng(0)
    with LeRobotWriter(
        tmp_path / "arm",
        fps=5,
        action=action,
        state=Schema.plain(names, rate=5),
        cameras={"wrist": (16, 16)},
        codec="lossless",
    ) as out:
        for _ in range(3):
            frames = np.zeros((6, 16, 16, 3), np.uint8)
            moves, places = 0.02 * draw.normal(size=(6, 7)), draw.uniform(0, 1, (6, 7))
            out.add_episode(frames={"wrist": frames}, actions=moves, states=places)
    settings = {**GIVEN, "action_predictor": {"heads": 2, "img_size": 16}}
    told = {"to": "world", "config": settings}
    done = nexus.convert(tmp_path / "ac.pt", tmp_path / "w", robot=tmp_path / "arm", **told)
    assert "was trained at 4 steps a second, robot 'robot' has 5" in done.explain()
    judged = nexus.world_report(tmp_path / "w", tmp_path / "arm", settings=TrustConfig(steps=2))
    assert judged.report.verdict and judged.page is None
    assert (tmp_path / "w/results/world.json").exists()
    with pytest.raises(DataError, match="does not say what it was trained on; name episodes"):
        nexus.world_report(tmp_path / "w")
    own = load_world(tmp_path / "w").config.robots[0]
    assert own.cameras == ("wrist",) and own.action.names[0] == "dx"
    assert own.statistics.action.std[0] == pytest.approx(0.02, rel=0.5)
    with pytest.raises(CheckpointError, match="for the format 'world' alone, not for 'meta'"):
        nexus.convert(tmp_path / "ac.pt", tmp_path / "m", to="meta", robot=tmp_path / "arm")


def test_what_cannot_act_is_refused(tmp_path):
    loaded = loaded_of(tmp_path)
    with pytest.raises(CheckpointError, match="robot 'arm' 2 and 3 a step of the model"):
        published_world(loaded, robot(2, 3))
    with pytest.raises(CheckpointError, match="robot 'arm' 14 and 7"):
        published_world(loaded, robot(7, 7, block=2))
    with pytest.raises(CheckpointError, match="one camera; robot 'arm' has a, b"):
        published_world(loaded, robot(7, 7, cameras=("a", "b")))
    with pytest.raises(CheckpointError, match="use_extrinsics"):
        published_world(loaded_of(tmp_path, use_extrinsics=True))
    torch.save(published.random_file("vjepa2", TINY), tmp_path / "plain.pt")
    with pytest.raises(CheckpointError, match="holds no action-conditioned predictor"):
        nexus.convert(tmp_path / "plain.pt", tmp_path / "w", to="world", config=GIVEN)
    assert droid_robot().rate == 4
