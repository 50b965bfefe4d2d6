"""Anything with the Gymnasium API as a `GoalEnvironment`."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from nexus.envs import Goal, TableEnv
from nexus.envs.adapter import AdaptedEnv
from nexus.envs.registry import make_environment
from nexus.errors import SimulatorError

FIELD = spaces.Dict(
    {
        "body": spaces.Dict({"arm": spaces.Box(-1, 1, (2,), np.float64)}),
        "view": spaces.Dict({"top": spaces.Box(0, 255, (6, 8, 3), np.uint8)}),
    }
)


class Slider(gymnasium.Env):
    """A point with a speed; `hidden` is a part of its state that its attributes do not name."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012
    action_names = ("push_x", "push_y")

    def __init__(self, render_mode=None, hidden=False, noisy=False):
        self.render_mode, self.hidden, self.noisy = render_mode, hidden, noisy
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self.observation_space = FIELD
        self.canvas = np.zeros((6, 8, 3), np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-0.5, 0.5, 2)
        self.speed = (0.0, 0.0)
        self.ticks, self.secret = 0, 0
        return self._get_obs(), {}

    def step(self, action):
        speed = 0.5 * np.array(self.speed) + 0.1 * np.asarray(action)
        if self.noisy:
            speed += 0.01 * self.np_random.normal(size=2)
        if self.hidden:
            self.secret += 1
            speed += 0.01 * self.secret
        self.place = np.clip(self.place + speed, -1, 1)
        self.speed, self.ticks = tuple(speed.tolist()), self.ticks + 1
        return self._get_obs(), 1.0, bool(np.all(self.place == 1)), False, {"own": 3}

    def _get_obs(self):
        return {"body": {"arm": self.place}, "view": {"top": self.render()}}

    def render(self):
        self.canvas[:] = np.rint(127 + 100 * self.place[0]), np.rint(127 + 100 * self.place[1]), 9
        return self.canvas


gymnasium.register("NexusSlider-v0", lambda **given: Slider(**given), max_episode_steps=7)
gymnasium.register("NexusTable-v0", lambda **given: TableEnv("push", **given))
SEES = {"picture": "view/top", "proprioception": "body/arm"}
STATE = ["place", "speed", "ticks"]


def adapted(**settings):
    return AdaptedEnv("NexusSlider-v0", **(SEES | {"state": STATE} | settings))


def test_a_registered_environment_is_used_by_its_id():
    choice = {"kind": "gym:NexusSlider-v0", **SEES, "state": STATE, "moved": [0, 1]}
    env = make_environment({**choice, "tolerance": 0.1})
    again = make_environment({**choice, "kind": f"gym:{__name__}:NexusSlider-v0"})
    assert again.env.unwrapped.spec.id == "NexusSlider-v0"
    seen, info = env.reset(seed=3)
    assert seen["pixels"].shape == (6, 8, 3) and seen["proprioception"].dtype == np.float32
    assert np.array_equal(seen["proprioception"], info["state"][:2].astype(np.float32))
    assert env.observation_space.contains(seen)
    assert env.state_names == ("place_0", "place_1", "speed_0", "speed_1", "ticks")
    assert env.action_names == ("push_x", "push_y") and env.metadata["render_fps"] == 25
    cuts = [env.step(np.zeros(2))[3] for _ in range(7)]
    assert cuts == [False] * 6 + [True]
    first = env.step(np.zeros(2))[0]["pixels"].copy()
    env.step(np.ones(2))
    assert np.array_equal(first, env.step(np.zeros(2))[0]["pixels"]) is False


def test_the_table_through_the_adapter_is_the_table():
    """Ours has get_state and set_state; what comes out is what it gives itself."""
    own, env = TableEnv("push"), AdaptedEnv("NexusTable-v0", moved=[2, 3], tolerance=0.05)
    seen, _ = own.reset(seed=4)
    other, _ = env.reset(seed=4)
    for action in np.random.default_rng(0).uniform(-1, 1, (12, 2)):
        assert all(np.array_equal(seen[key], other[key]) for key in seen)
        assert np.array_equal(own.get_state(), env.get_state())
        seen, other = own.step(action)[0], env.step(action)[0]
    kept = env.get_state()
    env.step(np.ones(2))
    assert np.array_equal(env.set_state(kept)["pixels"], own.render())
    goal = own.goal(9)
    assert env.solved(goal.state, goal) and not env.solved(own.get_state(), goal)
    assert env.distance(own.get_state(), goal) == pytest.approx(own.distance(kept, goal))
    assert env.policies().keys() == own.policies().keys()


def test_a_state_comes_back_exactly_and_with_the_types_that_it_had():
    env = adapted()
    env.reset(seed=0)
    for action in np.random.default_rng(1).uniform(-1, 1, (3, 2)):
        env.step(action)
    kept = env.get_state()
    first = [env.step(np.array([0.3, -0.9]))[0] for _ in range(3)]
    env.set_state(kept)
    inner = env.env.unwrapped
    assert isinstance(inner.speed, tuple) and isinstance(inner.ticks, int)
    again = [env.step(np.array([0.3, -0.9]))[0] for _ in range(3)]
    for one, other in zip(first, again, strict=True):
        assert all(np.array_equal(one[key], other[key]) for key in one)
    with pytest.raises(SimulatorError, match=r"is 5 numbers \(place, speed, ticks\), got the sha"):
        env.set_state(np.zeros(4))
    fresh = adapted(verify=False)
    assert np.array_equal(fresh.set_state(kept)["pixels"], env.set_state(kept)["pixels"])


@pytest.mark.parametrize("make", [{"hidden": True}, {"noisy": True}])
def test_a_state_that_does_not_come_back_exactly_is_refused(make):
    with pytest.raises(SimulatorError, match="from one and the same state, .* differs after 1 ste"):
        adapted(make=make)
    assert adapted(make=make, verify=False).has_state


def test_goals_are_other_starts_and_leave_the_environment_where_it_was():
    env = adapted(moved=[0, 1], tolerance=0.05)
    env.reset(seed=5)
    env.step(np.ones(2))
    kept, drawn = env.get_state(), env.env.unwrapped.np_random.bit_generator.state
    goal, again, other = env.goal(5), env.goal(5), env.goal(6)
    assert np.array_equal(kept, env.get_state())
    assert env.env.unwrapped.np_random.bit_generator.state == drawn
    assert np.array_equal(goal.state, again.state) and not np.array_equal(goal.state, other.state)
    env.set_state(goal.state)
    assert np.array_equal(env.set_state(goal.state)["pixels"], goal.pixels)
    starts = {tuple(env.reset(seed=seed)[1]["state"]) for seed in range(50)}
    assert not starts & {tuple(env.goal(seed).state) for seed in range(50)}
    near = Goal(goal.state + np.array([0.03, 0, 0.9, 0.9, 7]), goal.pixels, goal.proprioception)
    assert env.solved(near.state, goal), "speed and ticks do not count"
    assert not env.solved(goal.state + 0.04, goal)


def fixed_goal(env, seed):
    state = np.array([0.25, 0.5, 0, 0, 0])
    return Goal(state, np.zeros((6, 8, 3), np.uint8), state[:2].astype(np.float32))


def right_of(inner, state, goal):
    assert isinstance(inner, Slider)
    return state[0] > goal.state[0]


def test_goals_rules_and_states_may_be_functions():
    env = adapted(
        state=None,
        get_state=lambda inner: [*inner.place, *inner.speed],
        set_state=put,
        goal=f"{__name__}:fixed_goal",
        solved=right_of,
        size=16,
    )
    assert env.state_names is None
    goal = env.goal(0)
    assert goal.state[0] == 0.25
    assert env.solved(np.array([0.3, 0, 0, 0]), goal)
    assert not env.solved(np.array([0.2, 0, 0, 0]), goal)
    env.reset(seed=0)
    assert env.set_state(np.array([0.5, -0.5, 0, 0]))["pixels"][0, 0].tolist() == [177, 77, 9]
    assert env.render().shape == (16, 16, 3)


def put(inner, state):
    inner.place, inner.speed = state[:2].copy(), tuple(state[2:].tolist())


def test_wrappers_are_worn_where_a_state_is_set():
    darker = gymnasium.wrappers.TransformObservation(
        Slider("rgb_array"), lambda seen: {"pixels": seen["view"]["top"] // 2}, FIELD
    )
    darker.observation_space = spaces.Dict({"pixels": FIELD["view"]["top"]})
    env = AdaptedEnv(darker, state=STATE)
    seen, info = env.reset(seed=1)
    assert seen["proprioception"].shape == (0,)
    assert np.array_equal(env.set_state(info["state"])["pixels"], seen["pixels"])


class Flat(Slider):
    """Observes four numbers."""

    def _get_obs(self):
        return np.array([*self.place, *self.speed])


def test_a_list_of_numbers_is_proprioception_by_its_places_and_pictures_are_rendered():
    inner = Flat("rgb_array")
    inner.observation_space = spaces.Box(-1, 1, (4,), np.float64)
    env = AdaptedEnv(inner, state=STATE, proprioception=[1, 0])
    seen, info = env.reset(seed=2)
    assert np.array_equal(seen["proprioception"], info["state"][[1, 0]].astype(np.float32))
    assert np.array_equal(seen["pixels"], inner.render())
    shown = env.set_state(info["state"] + 0.1)
    assert np.array_equal(shown["pixels"], inner.render())
    assert not np.array_equal(shown["pixels"], seen["pixels"])


def test_what_cannot_be_is_said():
    with pytest.raises(SimulatorError, match=r"have no 'view/side'; there are: top"):
        adapted(picture="view/side")
    with pytest.raises(SimulatorError, match="has no state 'velocity' of numbers after a reset"):
        adapted(state=["velocity"])
    with pytest.raises(SimulatorError, match="`get_state` and `set_state` together"):
        adapted(get_state=lambda inner: inner.place)
    with pytest.raises(SimulatorError, match="shows no picture: no part of its observations"):
        AdaptedEnv(Slider())
    with pytest.raises(SimulatorError, match=r"picture of .* is float64 \(2,\); expected uint8"):
        adapted(picture="body/arm")
    for name in ("Nexus-v9", "nexus_is_not_there:Nexus-v9"):
        with pytest.raises(SimulatorError, match=f"Gymnasium does not make '{name}'"):
            make_environment(f"gym:{name}")
    blind = adapted(state=None)
    assert not blind.has_state
    for act in (blind.get_state, lambda: blind.set_state(np.zeros(2)), lambda: blind.goal(1)):
        with pytest.raises(SimulatorError, match="the state of NexusSlider-v0 cannot be"):
            act()
    env = adapted()
    with pytest.raises(SimulatorError, match="does not say when a goal is reached; give `tolera"):
        env.solved(env.get_state(), env.goal(0))
