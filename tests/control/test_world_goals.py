"""Goals of a planner: a model that knows the truth gets where they say, in the order they say."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_dots import SIDE, Dots, robot_of, write_dots
from oracles.world import robot, world

from nexus.checkpoints.files import ModelCard, save_checkpoint
from nexus.control.acting import Actor
from nexus.control.goal_cost import CostConfig, GoalCost, WorldClass, WorldGoal
from nexus.control.model_policy import ModelPolicy, PlanningConfig
from nexus.control.observing import Observer
from nexus.control.pursuit import Pursuit
from nexus.control.world_goals import ClassGoal, ClipGoal, GoalChain, LatentGoal, PictureGoal
from nexus.errors import PlanningError

SEARCH = {"kind": "icem", "candidates": 64, "iterations": 4, "elites": 8}


class DotsModel(Dots):
    predictor = SimpleNamespace(config=SimpleNamespace(window=1, width=1))

    def eval(self):
        return self

    def parameters(self):
        return iter(())


def picture(x, y):
    frame = np.zeros((SIDE, SIDE, 3), np.uint8)
    frame[y - 1 : y + 2, x - 1 : x + 2] = 255
    return frame


@pytest.fixture(scope="module")
def dots(tmp_path_factory):
    folder = write_dots(tmp_path_factory.mktemp("dots") / "d", episodes=4, state=None)
    return DotsModel(robot_of(folder))


def driven(model, goal, start, steps, horizon=2, **cost):
    """The places that the square comes to."""
    planning = PlanningConfig(planner=SEARCH, horizon=horizon)
    policy = ModelPolicy(model, name="p", cost=CostConfig(**cost), planning=planning)
    place, places = np.array(start), []
    policy.begin([], [goal], [0])
    for _ in range(steps):
        [action] = policy.act([{"pixels": picture(*place)}])
        place = np.clip(place + np.round(action).astype(int), 2, 13)
        places.append(tuple(map(int, place)))
    return places, policy


def test_a_picture_is_reached(dots):
    places, _ = driven(dots, PictureGoal(picture(11, 4)), (4, 9), 6)
    assert places[-1] == (11, 4)


def test_a_clip_is_followed_frame_by_frame_and_its_last_one_held(dots):
    way = [(6, 9), (8, 9), (8, 7), (8, 5), (10, 5)]
    places, policy = driven(dots, ClipGoal([picture(*one) for one in way]), (4, 9), 7, horizon=3)
    assert places == [*way, way[-1], way[-1]]
    assert policy.places == [4]


def test_a_chain_goes_on_when_its_sub_goal_is_near(dots):
    corner, end = PictureGoal(picture(12, 12)), PictureGoal(picture(12, 3))
    places, _ = driven(dots, end, (3, 3), 16)
    assert all(y == 3 for _, y in places), "without sub-goals: straight on"
    places, policy = driven(dots, GoalChain([corner, end], near=0.01), (3, 3), 16)
    assert max(y for _, y in places) >= 11 and places[-1] == (12, 3)
    assert policy.places == [1]


def test_a_chain_goes_on_after_so_many_steps_and_stays_at_its_last(dots):
    far = [PictureGoal(picture(x, y)) for x, y in ((13, 3), (3, 13), (13, 13))]
    seen = []
    planning = PlanningConfig(planner=SEARCH, horizon=1)
    policy = ModelPolicy(dots, name="p", cost=CostConfig(), planning=planning)
    policy.begin([], [GoalChain(far, near=None, steps=3), far[0]], [0, 1])
    for _ in range(10):
        policy.act([{"pixels": picture(3, 3)}] * 2)
        seen.append(policy.places)
    assert [one for one, _ in seen] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert [other for _, other in seen] == [0] * 10


def test_how_near_is_a_share_of_the_cost_one_sub_goal_before(dots):
    chain = GoalChain([PictureGoal(picture(12, 8)), PictureGoal(picture(12, 4))], near=0.25)
    pursuit = Pursuit([chain], Observer(dots, dots.robot), CostConfig())
    places = []
    # From x = 4 to 12: a quarter of the squared distance is left at x = 8, not before.
    for number, x in enumerate((4.0, 6.0, 7.9, 8.0, 8.0)):
        pursuit.look(torch.tensor([[[x, 8.0]]]), None, number)
        places.append(pursuit.places[0])
    assert places == [0, 0, 0, 1, 1]


def right_half(latents):
    """A probe: is the square on the right?"""
    score = 2 * (latents[:, 0, 0] - 8)
    return torch.stack([-score, score], dim=-1).log_softmax(dim=-1)


def test_a_class_is_reached_wherever_all_else_is(dots):
    for number, side in ((1, 1), (0, -1)):
        places, policy = driven(dots, ClassGoal(right_half, number), (8, 5), 4)
        assert policy.places == [0]
        assert side * (places[-1][0] - 8) >= 2


def test_the_cost_of_a_class_is_minus_its_log_probability():
    draw = torch.Generator().manual_seed(0)
    latents, weight = torch.randn(2, 3, 4, 5, generator=draw), torch.randn(20, 7, generator=draw)

    def probe(some):
        return (some.flatten(1) @ weight).log_softmax(-1)

    told = WorldClass(probe, torch.tensor([6, 2])).surprise(latents)
    for row, number in enumerate((6, 2)):
        for candidate in range(3):
            scores = latents[row, candidate].reshape(-1) @ weight
            expected = scores.exp().sum().log() - scores[number]
            assert float(told[row, candidate]) == pytest.approx(float(expected), rel=1e-4)
    with pytest.raises(PlanningError, match=r"class \[7, 0\] of a probe of 7 classes"):
        WorldClass(probe, torch.tensor([7, 0])).surprise(latents)
    with pytest.raises(PlanningError, match=r"answers \(6,\) for latents \(6, 4, 5\)"):
        WorldClass(lambda some: some.mean((1, 2)), torch.tensor([0, 0])).surprise(latents)


def test_each_step_of_a_plan_has_its_own_goal_and_the_last_is_held():
    model = world(robots=(robot(2, 2),)).eval()
    draw = torch.Generator().manual_seed(0)
    start = torch.randn(2, 1, 1, 12, generator=draw), torch.randn(2, 1, 2, generator=draw)
    goals = [
        WorldGoal(torch.randn(2, 1, 12, generator=draw), torch.randn(2, 2, generator=draw))
        for _ in range(2)
    ]
    actions = torch.rand(2, 3, 4, 2, generator=draw)
    config, scale = CostConfig(picture=1.0, proprioception=0.5), (torch.zeros(2), torch.ones(2))
    none = torch.zeros(2, 0, 2)
    with torch.no_grad():
        here = model.begin(start[0], none, start[1])
        told = GoalCost(model, here, goals, config, scale)(actions)
        for row, candidate in np.ndindex(2, 3):
            one = slice(row, row + 1)
            state, expected = model.begin(start[0][one], none[one], start[1][one]), 0.0
            for step in range(4):
                state = model.step(state, actions[one, candidate, step])
                goal = goals[min(step, 1)]
                expected += float((state.latent[0] - goal.latents[row]).square().mean())
                expected += 0.5 * float((state.state[0] - goal.states[row]).square().mean())
            assert float(told[row, candidate]) == pytest.approx(expected, rel=1e-4)


def saved(folder, model):
    save_checkpoint(folder, model, ModelCard("world", model.config.to_mapping(), 0, {}), {}, keep=1)
    return folder


def frames(seed, size=(40, 30)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def test_an_actor_does_what_the_policy_would(tmp_path):
    model = world(robots=(robot(2, 3),)).eval()
    planning = PlanningConfig(planner={**SEARCH, "candidates": 12}, horizon=3)
    cost = CostConfig(proprioception=0.2)
    goal = PictureGoal(frames(9), np.ones(3))
    actor = Actor(saved(tmp_path / "w", model), cost=cost, planning=planning, seed=5)
    with pytest.raises(PlanningError, match="call `aim` first"):
        actor.act(frames(0), np.zeros(3))
    with pytest.raises(PlanningError, match="call `aim` first"):
        _ = actor.place
    actor.aim(goal)
    policy = ModelPolicy(model, name="p", cost=cost, planning=planning)
    policy.begin([], [goal], [5])
    for step in range(3):
        own = np.full(3, step / 10, np.float32)
        action = actor.act(frames(step), own)
        [expected] = policy.act([{"pixels": frames(step), "proprioception": own}])
        assert action.shape == (2,) and np.array_equal(action, expected)
    with pytest.raises(PlanningError, match="dimension 's1' lies 1000 times the spread of"):
        actor.act(frames(0), np.array([0.0, 1000.0, 0.0]))
    with pytest.raises(PlanningError, match="not a number"):
        actor.act(frames(0), np.array([0.0, np.nan, 0.0]))
    with pytest.raises(PlanningError, match="2 numbers, the state of robot 'arm' 3"):
        actor.act(frames(0), np.zeros(2))
    with pytest.raises(PlanningError, match="no `proprioception`"):
        actor.act(frames(0))


def test_a_latent_is_the_same_goal_as_its_picture():
    model = world(robots=(robot(2, 0),)).eval()
    actor = Actor(model, planning=PlanningConfig(planner=SEARCH, horizon=2))
    [latent] = Observer(model, actor.robot).latents([frames(9)])
    actions = []
    for goal in (PictureGoal(frames(9)), LatentGoal(latent), PictureGoal(frames(8))):
        actor.aim(goal)
        actions.append(actor.act(frames(0)))
    assert np.array_equal(actions[0], actions[1]) and not np.array_equal(actions[0], actions[2])
    with pytest.raises(PlanningError, match=r"\(2, 12\), the model's \(1, 12\)"):
        actor.aim(LatentGoal(latent.repeat(2, 1)))


def test_a_model_that_learned_to_do_without_states_does():
    actor = Actor(world(state_dropout=0.5).eval(), planning=PlanningConfig(planner=SEARCH))
    actor.aim(PictureGoal(frames(1)))
    assert actor.act(frames(2)).shape == (2,)
    with pytest.raises(PlanningError, match="does not say where the robot is"):
        Actor(actor.model, cost=CostConfig(proprioception=1.0)).aim(PictureGoal(frames(1)))


def test_several_cameras_are_told_apart_by_name():
    one = robot(2, 0, cameras=("left", "right"))
    model = world(robots=(one,)).eval()
    observer = Observer(model, one)
    a, b = frames(0), frames(1, (20, 24))
    both = observer.latents([{"left": a, "right": b}])
    assert both.shape == (1, 2, 12)
    turned = observer.latents([{"right": a, "left": b}])
    torch.testing.assert_close(both, turned.flip(1))
    with pytest.raises(PlanningError, match="no picture of right, only of left"):
        observer.latents([{"left": a}])
    with pytest.raises(PlanningError, match="got one picture"):
        observer.latents([a])
    with pytest.raises(PlanningError, match=r"float64 \(40, 30, 3\); expected uint8"):
        observer.latents([{"left": a / 255, "right": b}])


def test_goals_that_say_too_little_are_refused(dots):
    with pytest.raises(PlanningError, match="never leaves its first"):
        GoalChain([PictureGoal(picture(3, 3))], near=None)
    with pytest.raises(PlanningError, match="at least one frame"):
        ClipGoal([])
    with pytest.raises(PlanningError, match="clip has 1 frames and proprioception of 2"):
        ClipGoal([picture(3, 3)], np.zeros((2, 2)))
    observer = Observer(dots, dots.robot)
    goals = [ClassGoal(right_half, 0), PictureGoal(picture(3, 3))]
    with pytest.raises(PlanningError, match="1 of 2 goals are a probe's class"):
        Pursuit(goals, observer, CostConfig())
    with pytest.raises(PlanningError, match="classes of 2 probes"):
        Pursuit([goals[0], ClassGoal(right_half.__call__, 0)], observer, CostConfig())
    with pytest.raises(PlanningError, match="weigh the picture alone"):
        driven(dots, goals[0], (8, 8), 1, picture=0.0)
