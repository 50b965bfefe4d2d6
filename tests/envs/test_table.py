"""`reach` and `push`: what moves, what stops, what is seen, and that a state comes back exactly."""

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus.envs import SHIFTS, Goal, TableEnv, shifted
from nexus.envs.physics import AGENT_RADIUS, BLOCK_RADIUS, STEP, Table, dividing_wall
from nexus.envs.picture import Look, draw
from nexus.errors import SimulatorError

MANY = settings(max_examples=50, deadline=None)
TABLES = {
    "reach": Table(block=False),
    "push": Table(block=True),
    "push, walls": Table(block=True, walls=dividing_wall(0.5, (0.32, 0.68))),
}


def rolled(table: Table, state: np.ndarray, actions: np.ndarray) -> np.ndarray:
    states = [state]
    for action in actions:
        states.append(table.step(states[-1], action))
    return np.stack(states)


@MANY
@given(name=st.sampled_from(list(TABLES)), seed=st.integers(0, 10_000))
def test_nothing_overlaps_and_nothing_passes_through(name: str, seed: int) -> None:
    """Whatever the agent does, discs stay on the table, out of walls and out of one another."""
    table, rng = TABLES[name], np.random.default_rng(seed)
    env = TableEnv("push" if table.block else "reach", walls=bool(table.walls))
    env.reset(seed=seed)
    actions = 1.5 * rng.uniform(-1, 1, (30, 2)) + rng.uniform(-1, 1, 2)
    states = rolled(table, env.get_state(), actions)
    assert np.all(np.abs(np.diff(states[:, :2], axis=0)) <= 1.5 * STEP)
    places = [(states[:, :2], AGENT_RADIUS)]
    if table.block:
        places.append((states[:, 2:], BLOCK_RADIUS))
        apart = np.linalg.norm(states[:, :2] - states[:, 2:], axis=1)
        assert apart.min() >= AGENT_RADIUS + BLOCK_RADIUS - 0.01
    for place, radius in places:
        assert place.min() >= radius - 1e-9 and place.max() <= 1 - radius + 1e-9
        for left, top, right, bottom in table.walls:
            nearest = np.clip(place, (left, top), (right, bottom))
            assert np.linalg.norm(place - nearest, axis=1).min() >= radius - 0.01


def test_the_agent_goes_where_it_is_told_and_shoves_the_block_along() -> None:
    table = Table(block=True)
    alone = table.step(np.array([0.2, 0.2, 0.8, 0.8]), np.array([0.5, -0.25]))
    assert alone == pytest.approx([0.2 + 0.5 * STEP, 0.2 - 0.25 * STEP, 0.8, 0.8])
    touching = np.array([0.3, 0.5, 0.3 + AGENT_RADIUS + BLOCK_RADIUS, 0.5])
    pushed = table.step(touching, np.array([1.0, 0.0]))
    assert pushed == pytest.approx(touching + np.array([STEP, 0, STEP, 0]))
    pulled = table.step(touching, np.array([-1.0, 0.0]))
    assert pulled == pytest.approx(touching + np.array([-STEP, 0, 0, 0]))
    # Against the edge, block and agent stop.
    edge = rolled(table, touching, np.tile([1.0, 0.0], (9, 1)))[-1]
    assert edge == pytest.approx([1 - 2 * BLOCK_RADIUS - AGENT_RADIUS, 0.5, 1 - BLOCK_RADIUS, 0.5])


def test_an_oblique_push_is_that_of_many_small_steps() -> None:
    """Against the same rule in a thousand parts a step."""
    rng = np.random.default_rng(0)
    table, far = Table(block=True), []
    for _ in range(40):
        angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.8, 0.8)
        toward = np.array([np.cos(angle), np.sin(angle)])
        block = np.array([0.5, 0.5])
        side = np.array([-toward[1], toward[0]]) * offset * (AGENT_RADIUS + BLOCK_RADIUS)
        agent = block - 0.2 * toward + side
        action = toward / np.abs(toward).max()
        done = table.step(np.concatenate([agent, block]), action)
        for _ in range(1000):
            agent = agent + STEP * action / 1000
            between = block - agent
            length = np.linalg.norm(between)
            if length < AGENT_RADIUS + BLOCK_RADIUS:
                block = agent + between / length * (AGENT_RADIUS + BLOCK_RADIUS)
        far.append(np.abs(done - np.concatenate([agent, block])).max())
    assert max(far) < 0.01 and np.mean(far) < 0.004


def test_a_batch_is_its_members_one_by_one() -> None:
    table, rng = TABLES["push, walls"], np.random.default_rng(3)
    state = np.array([0.3, 0.4, 0.35, 0.6])
    actions = rng.uniform(-1, 1, (5, 7, 2))
    together = table.step(state, actions)
    assert together.shape == (5, 7, 4)
    for place in np.ndindex(5, 7):
        assert np.array_equal(together[place], table.step(state, actions[place]))


@pytest.mark.parametrize("task", ["reach", "push"])
@pytest.mark.parametrize("walls", [False, True])
def test_it_is_a_gymnasium_environment_with_exact_states(task: str, walls: bool) -> None:
    env = TableEnv(task, walls=walls)  # type: ignore[arg-type]
    check_env(env, skip_render_check=True)
    env.reset(seed=5)
    for action in np.random.default_rng(0).uniform(-1, 1, (5, 2)):
        env.step(action)
    kept, first = env.get_state(), [env.step(np.array([0.7, -0.3]))[0] for _ in range(4)]
    shown = env.set_state(kept)
    again = [env.step(np.array([0.7, -0.3]))[0] for _ in range(4)]
    for one, other in zip(first, again, strict=True):
        assert all(np.array_equal(one[key], other[key]) for key in one)
    env.set_state(kept)
    assert np.array_equal(shown["pixels"], env.render())
    *_, truncated, _ = env.step(np.zeros(2))
    assert not truncated
    env.reset(seed=5)
    ends = [env.step(np.zeros(2))[3] for _ in range(40)]
    assert ends == [False] * 39 + [True]


@pytest.mark.parametrize("task", ["reach", "push"])
def test_goals_are_of_the_seed_apart_from_the_start_and_not_reached_yet(task: str) -> None:
    env, starts, goals = TableEnv(task), [], []  # type: ignore[arg-type]
    for seed in range(60):
        env.reset(seed=seed)
        goal = env.goal(seed)
        assert np.array_equal(goal.state, env.goal(seed).state)
        assert 0.15 <= env.distance(env.get_state(), goal) <= 0.5
        assert not env.solved(env.get_state(), goal) and env.solved(goal.state, goal)
        assert np.array_equal(goal.pixels, env.set_state(goal.state)["pixels"])
        near = goal.state + np.array([0.03, 0.03, 0.03, 0.03])[: len(goal.state)]
        assert env.solved(near, goal)
        assert not env.solved(goal.state + 0.04, goal)
        starts.append(env.reset(seed=seed)[1]["state"])
        goals.append(goal.state)
    assert len({tuple(state) for state in starts + goals}) == 120
    if task == "push":
        other = Goal(goal.state + np.array([0.3, 0.3, 0, 0]), goal.pixels, goal.proprioception)
        assert env.solved(goal.state, other), "where the agent ends up does not matter"


def test_a_picture_shows_where_things_are_below_the_pixel() -> None:
    """The centre of a disc's ink is its place, to a hundredth of a pixel."""
    look = Look(ground=(0, 0, 0), agent=(255, 0, 0), block=(0, 255, 0))
    states = np.random.default_rng(1).uniform(0.15, 0.85, (60, 4))
    states = states[np.linalg.norm(states[:, :2] - states[:, 2:], axis=1) > 0.2]
    assert len(states) > 10
    centres = (np.arange(64) + 0.5) / 64
    for state, picture in zip(states, draw(Table(block=True), look, states), strict=True):
        for channel, place, radius in ((0, state[:2], AGENT_RADIUS), (1, state[2:], BLOCK_RADIUS)):
            ink = picture[..., channel].astype(float) / 255
            middle = [(ink.sum(axis=axis) @ centres) / ink.sum() for axis in (0, 1)]
            assert middle == pytest.approx(place, abs=0.0005)
            assert ink.sum() / 64**2 == pytest.approx(np.pi * radius**2, rel=0.02)


def test_walls_are_drawn_where_they_stand() -> None:
    table = Table(block=False, walls=((0.25, 0.0, 0.5, 0.75),))
    look = Look(ground=(0, 0, 0), wall=(200, 100, 0))
    [picture] = draw(table, look, np.array([[0.9, 0.9]]))
    assert np.all(picture[:48, 16:32] == (200, 100, 0))
    assert not picture[:48, :16].any() and not picture[48:56, 16:32].any()


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_changes_the_picture_and_keeps_the_task(name: str) -> None:
    env = TableEnv("push", walls=True)
    env.reset(seed=1)
    other = shifted(env, name)
    other.reset(seed=1)
    shown = other.set_state(env.get_state())["pixels"]
    assert not np.array_equal(shown, env.render())
    assert np.array_equal(other.goal(4).state[2:] > 0, env.goal(4).state[2:] > 0)
    assert other.table.walls == env.table.walls and other.task == env.task


def test_what_it_does_not_have_is_refused() -> None:
    with pytest.raises(SimulatorError, match="unknown task 'pull'"):
        TableEnv("pull")  # type: ignore[arg-type]
    env = TableEnv("reach")
    env.reset(seed=0)
    with pytest.raises(SimulatorError, match="two finite numbers"):
        env.step(np.array([0.0, np.nan]))
    with pytest.raises(SimulatorError, match="2 finite numbers"):
        env.set_state(np.zeros(4))
    with pytest.raises(SimulatorError, match="unknown shift 'snow'"):
        shifted(env, "snow")
