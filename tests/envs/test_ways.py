"""Ways round walls and discs, against a search on a fine grid; and what expert and play make."""

import heapq

import numpy as np
import pytest

from nexus.envs import TableEnv
from nexus.envs.physics import STEP, Table, dividing_wall
from nexus.envs.ways import next_place

WALLED = Table(block=True, walls=dividing_wall(0.5, (0.32, 0.68)))


def clear(place, radius, disc, walls):
    """Whether a disc at a place touches nothing, by the distance to each thing."""
    x, y = place
    if min(x, y, 1 - x, 1 - y) < radius - 1e-9:
        return False
    for left, top, right, bottom in walls:
        beside = np.array([max(left - x, 0, x - right), max(top - y, 0, y - bottom)])
        if np.hypot(*beside) < radius - 1e-9:
            return False
    return disc is None or np.hypot(*(place - disc[0])) >= radius + disc[1] - 1e-9


def shortest(start, end, radius, disc, walls, cells=40):
    """Length of the shortest way over a grid with 16 directions: never more than 3 % too long."""

    def at(cell):
        return (np.array(cell) + 0.5) / cells

    def cell_of(place):
        return tuple(np.clip((place * cells).astype(int), 0, cells - 1))

    moves = [(a, b) for a in range(-2, 3) for b in range(-2, 3) if np.gcd(a, b) == 1]
    first, last = cell_of(start), cell_of(end)
    queue, best = [(0.0, first)], {first: 0.0}
    while queue:
        length, cell = heapq.heappop(queue)
        if cell == last:
            return length
        for a, b in moves:
            other = (cell[0] + a, cell[1] + b)
            further = length + np.hypot(a, b) / cells
            free = clear(at(other), radius, disc, walls) or other == last
            if free and further < best.get(other, np.inf):
                best[other] = further
                heapq.heappush(queue, (further, other))
    return np.inf


@pytest.mark.parametrize("walls", [(), WALLED.walls], ids=["open", "walled"])
def test_ways_touch_nothing_and_are_hardly_longer_than_the_shortest(walls):
    rng, ratios = np.random.default_rng(1), []
    table = Table(block=True, walls=walls)
    while len(ratios) < 12:
        start, end, middle = rng.uniform(0.07, 0.93, (3, 2))
        disc, radius = (middle, table.block_radius), table.agent_radius
        if not (clear(start, radius, disc, walls) and clear(end, radius, disc, walls)):
            continue
        far = shortest(start, end, radius, disc, walls)
        if not np.isfinite(far) or far < 0.2:
            continue
        place, length = start, 0.0
        for _ in range(20):
            target = next_place(table, place, end, radius, disc)
            for share in np.linspace(0, 1, 25):
                assert clear(place + share * (target - place), radius, disc, walls)
            length += float(np.linalg.norm(target - place))
            place = target
            if np.array_equal(place, end):
                break
        assert np.array_equal(place, end), (start, middle)
        ratios.append(length / far)
    # Corners stand off what they lead round, and a grid cuts them by up to a cell.
    # Walls are given square margins: once here, a gap that only just fits is gone round.
    assert np.sort(ratios)[-2] < 1.15 and np.median(ratios) < 1.05


def played(env, policy, seeds, steps):
    """States (seeds, steps + 1, numbers) and actions, all environments side by side."""
    envs = [TableEnv(env.task.name, walls=bool(env.table.walls)) for _ in seeds]
    seen = [one.reset(seed=seed)[0] for one, seed in zip(envs, seeds, strict=True)]
    policy.begin(seen, [env.goal(seed) for seed in seeds], list(seeds))
    states, actions = [[one.get_state() for one in envs]], []
    for _ in range(steps):
        chosen = policy.act(seen, states[-1])
        seen = [one.step(action)[0] for one, action in zip(envs, chosen, strict=True)]
        states.append([one.get_state() for one in envs])
        actions.append(chosen)
    return np.stack(states, axis=1), np.stack(actions, axis=1)


@pytest.mark.parametrize(
    ("task", "walls", "least"),
    [("reach", False, 1.0), ("reach", True, 1.0), ("push", False, 0.95), ("push", True, 0.85)],
)
def test_the_expert_reaches_goals(task, walls, least):
    env, seeds = TableEnv(task, walls=walls), range(700, 725)
    states, actions = played(env, env.policies()["expert"](), seeds, 40)
    reached = [env.solved(own[-1], env.goal(seed)) for own, seed in zip(states, seeds, strict=True)]
    assert np.mean(reached) >= least
    assert np.abs(actions).max() <= 1


def test_play_moves_the_block_often_everywhere_and_every_way():
    env = TableEnv("push")
    states, actions = played(env, env.policies()["play"](), range(100), 20)
    moves = np.diff(states[..., 2:], axis=1).reshape(-1, 2)
    places = states[:, 1:, 2:].reshape(-1, 2)
    pushed = np.linalg.norm(moves, axis=1) > 1e-6
    assert pushed.mean() > 0.3
    # A block that is met moves straight, aslant, a little and far: each way often enough.
    ways = np.arctan2(moves[pushed, 1], moves[pushed, 0])
    assert (np.histogram(ways, 8, (-np.pi, np.pi))[0] / pushed.sum()).min() > 0.06
    sizes = np.linalg.norm(moves[pushed], axis=1)
    assert (sizes < 0.04).mean() > 0.1 and (sizes > 0.1).mean() > 0.1
    near = (np.abs(places[pushed] - 0.5).max(axis=1) > 0.35).mean()
    assert 0.15 < near < 0.6
    assert np.histogram2d(*places[pushed].T, 4, ((0.09, 0.91),) * 2)[0].min() > 10
    sampled = actions.reshape(-1, 2)
    assert np.abs(sampled).max() <= 1 and (np.abs(sampled).max(axis=1) < 0.9).mean() > 0.3
    far = np.linalg.norm(np.diff(states[..., :2], axis=1), axis=-1)
    assert far.max() <= np.sqrt(2) * STEP + 1e-9


@pytest.mark.parametrize("name", ["play", "expert"])
def test_a_policy_does_the_same_however_many_play_beside_it(name):
    env, seeds = TableEnv("push", walls=True), [5, 11, 11, 4]
    _, together = played(env, env.policies()[name](), seeds, 12)
    assert np.array_equal(together[1], together[2])
    for row, seed in enumerate(seeds):
        _, alone = played(env, env.policies()[name](), [seed], 12)
        assert np.array_equal(alone[0], together[row])
    assert not np.array_equal(together[0], together[1])
