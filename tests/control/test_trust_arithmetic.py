"""Errors, ranks, readings and landscapes of models whose numbers are known, against slow loops."""

import itertools

import numpy as np
import pytest
import torch
from control.made_dots import Dots, robot_of, trial_of, write_dots

from nexus.control.model_policy import action_space
from nexus.control.trust.actions import action_rows
from nexus.control.trust.bootstrap import bootstrapped, correlation, ratio
from nexus.control.trust.errors import episode_spread, error_rows, step_errors
from nexus.control.trust.excerpts import Excerpts
from nexus.control.trust.films import nearest, world_films
from nexus.control.trust.landscapes import landscape
from nexus.control.trust.places import place_rows
from nexus.control.trust.ranks import action_sequences, random_actions, true_ranks
from nexus.control.trust.reading import explained, pair_reader, ridge_reader
from nexus.control.trust.rollouts import rolled_out
from nexus.control.trust.seen import seen_episodes, truth_schema


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_dots(tmp_path_factory.mktemp("dots") / "seen")


@pytest.fixture(scope="module")
def robot(folder):
    return robot_of(folder)


@pytest.fixture(scope="module")
def trial(folder, robot):
    return trial_of(folder, folder, robot)


def excerpts_of(trial, model, steps=4, count=30):
    seen = seen_episodes(model, trial.judged, trial.judged_indices)
    return seen, Excerpts.cut(seen, model.config.context, steps, count, seed=0)


def moves(excerpts, robot):
    mean, std = robot.action_scale()
    return excerpts.actions.double().numpy() * std + mean


def test_excerpts_are_the_frames_and_actions_of_their_episodes(trial, robot):
    seen, excerpts = excerpts_of(trial, Dots(robot, context=2), count=25)
    assert len(excerpts) == 25 and excerpts.steps == 4
    counts = np.unique(excerpts.episode, return_counts=True)[1]
    assert len(counts) == 12 and set(counts) == {2, 3}
    assert len(set(zip(excerpts.episode, excerpts.start, strict=True))) == 25
    for row in range(25):
        episode, start = int(excerpts.episode[row]), int(excerpts.start[row])
        truth = trial.judged.episodes.environment_states(episode)[start : start + 6]
        np.testing.assert_array_equal(excerpts.truth[row], truth)
        np.testing.assert_allclose(excerpts.latents[row, :, 0], truth, atol=1e-4)
        np.testing.assert_allclose(moves(excerpts, robot)[row], np.diff(truth, axis=0), atol=1e-5)
    with pytest.raises(ValueError, match="no episode has 40 frames"):
        Excerpts.cut(seen, 2, 38, 5, 0)


def test_errors_are_those_of_a_loop(trial, robot):
    model = Dots(robot, gain=(0.5, -1.0), context=2)
    _, excerpts = excerpts_of(trial, model)
    errors = step_errors(model, excerpts, 0, seed=3)
    rows = error_rows(errors, excerpts, robot.rate, seed=0)
    moved = moves(excerpts, robot)[:, 1:]
    for step in range(4):
        path = moved[:, : step + 1].sum(axis=1)
        np.testing.assert_allclose(errors.copy[:, step], (path**2).mean(axis=1), atol=1e-4)
        wrong = path * (0.5, 2.0)
        np.testing.assert_allclose(errors.model[:, step], (wrong**2).mean(axis=1), atol=1e-4)
        assert rows[step].steps == step + 1 and rows[step].seconds == pytest.approx(
            0.1 * (step + 1)
        )
        shares = (wrong**2).sum() / (path**2).sum()
        assert rows[step].vs_copy.value == pytest.approx(shares, rel=1e-4)
        spread = np.array(robot.state_scale()[1])
        np.testing.assert_allclose(
            errors.state[:, step], ((wrong / spread) ** 2).mean(axis=1), atol=1e-4
        )
    mean = torch.from_numpy(robot.action_scale()[0])
    still = moved.cumsum(axis=1) - model.gain.numpy() * mean.numpy() * np.arange(1, 5)[:, None]
    np.testing.assert_allclose(errors.mean, (still**2).mean(axis=2), atol=1e-4)


def test_what_was_foretold_before_is_not_asked_again(trial, robot):
    model = Dots(robot, gain=(0.5, -1.0), context=2)
    _, excerpts = excerpts_of(trial, model)
    latents, states = rolled_out(model, excerpts)
    asked = step_errors(model, excerpts, 0, seed=3)
    given = step_errors(model, excerpts, 0, 3, (latents, states))
    for name in ("model", "state", "shuffled"):
        np.testing.assert_array_equal(getattr(given, name), getattr(asked, name))
    other = step_errors(model, excerpts, 0, 3, (latents + 1, states))
    apart = ((latents + 1 - excerpts.targets) ** 2).mean(dim=(2, 3)).numpy()
    np.testing.assert_allclose(other.model, apart, rtol=1e-4)


def test_shuffled_actions_are_another_excerpts_own(trial, robot):
    model = Dots(robot)
    _, excerpts = excerpts_of(trial, model)
    errors = step_errors(model, excerpts, 0, seed=3)
    paths = moves(excerpts, robot).cumsum(axis=1)
    apart = ((paths[:, None] - paths[None]) ** 2).mean(axis=3)
    chosen = [
        [other for other in range(30) if np.allclose(apart[row, other], each, atol=1e-3)]
        for row, each in enumerate(errors.shuffled)
    ]
    assert all(others and others != [row] for row, others in enumerate(chosen))
    blind = step_errors(Dots(robot, gain=(0.0, 0.0)), excerpts, 0, seed=3)
    np.testing.assert_array_equal(blind.shuffled, blind.model)
    np.testing.assert_array_equal(blind.model, blind.copy)


def test_a_rank_is_the_share_of_candidates_that_seem_better(trial, robot):
    model = Dots(robot, gain=(0.4, -0.3))
    _, excerpts = excerpts_of(trial, model, count=6)
    space = action_space(robot)
    draw = torch.Generator().manual_seed(0)
    drawn = torch.rand(6, 9, 3, 2, generator=draw) * 4 - 2
    true = torch.from_numpy(moves(excerpts, robot)[:, :3]).float()
    ranks = true_ranks(model, excerpts, 0, torch.cat([true[:, None], drawn], 1), space)
    gain, scale = np.array([0.4, -0.3]), np.array(robot.state_scale()[1])
    for row in range(6):
        path = true[row].numpy().sum(axis=0)
        for term, spread in ((0, 1.0), (2, scale)):
            own = (((gain * path - path) / spread) ** 2).sum()
            better = 0
            for candidate in drawn[row].numpy():
                better += (((gain * candidate.sum(axis=0) - path) / spread) ** 2).sum() < own
            assert float(ranks[row, term]) == pytest.approx(better / 9)
    assert ranks[:, 1].isnan().all()


def test_the_truth_ranks_first_ignoring_it_ranks_in_the_middle(trial, robot):
    space = action_space(robot)
    for gain, rank in (((1.0, 1.0), 0.0), ((0.0, 0.0), 0.5)):
        model = Dots(robot, gain=gain, slow_dim=1)
        _, excerpts = excerpts_of(trial, model, count=8)
        drawn = random_actions(excerpts.actions, (8, 20), space, torch.Generator().manual_seed(1))
        true = torch.from_numpy(moves(excerpts, robot)).float()
        actions = torch.cat([true[:, None], drawn], dim=1)
        ranks = true_ranks(model, excerpts, 0, actions, space)
        np.testing.assert_allclose(ranks, rank)


def test_random_actions_spread_as_the_others_do_within_bounds(robot):
    draw = torch.Generator().manual_seed(0)
    steady = torch.randn(400, 1, 2, generator=draw).expand(400, 3, 2) * torch.tensor([0.5, 2.0])
    space = action_space(robot)
    drawn = random_actions(steady, (50, 40), space, draw)
    assert (drawn >= space.low).all() and (drawn <= space.high).all()
    assert (drawn == space.high).any()
    # Who goes on in one direction there does so here: all three steps are alike.
    torch.testing.assert_close(drawn[:, :, 0], drawn[:, :, 2], atol=1e-3, rtol=0)
    scaled = (drawn[..., 0, 0] - space.mean[0]) / space.std[0]
    assert float(scaled.std()) == pytest.approx(float(steady[:, 0, 0].std()), rel=0.08)


def test_action_sequences_are_those_of_the_episodes(trial, robot):
    seen, _ = excerpts_of(trial, Dots(robot))
    rows = action_sequences(seen, 3)
    assert rows.shape == (12 * 7, 3, 2)  # 9 actions lead from one of 10 frames to another
    for row, (one, start) in zip(rows, itertools.product(seen, range(7)), strict=True):
        torch.testing.assert_close(row, one.actions[start : start + 3])
    torch.testing.assert_close(action_sequences(seen, 3, most=2), rows[[0, -1]])


def test_intervals_are_over_episodes_not_over_excerpts():
    rng = np.random.default_rng(0)
    values, episode = rng.normal(1, 1, 12), np.arange(12)
    once = ratio(values, None, episode, seed=0)
    often = ratio(values.repeat(9), None, episode.repeat(9), seed=0)
    assert once.value == pytest.approx(values.mean())
    assert often.ci95 == pytest.approx(once.ci95)
    half = 1.96 * values.std() / np.sqrt(12)
    assert once.ci95 == pytest.approx((values.mean() - half, values.mean() + half), abs=0.12)
    assert ratio(np.full(12, 2.0), np.full(12, 4.0), episode, 0).ci95 == (0.5, 0.5)
    first, second = rng.normal(size=(2, 12, 4))
    r = correlation((first * second).sum(1), (first**2).sum(1), (second**2).sum(1), episode, seed=0)
    flat = np.stack([first.ravel(), second.ravel()])
    expected = (flat[0] @ flat[1]) / np.linalg.norm(flat[0]) / np.linalg.norm(flat[1])
    assert r.value == pytest.approx(expected)


def test_an_interval_is_that_of_all_draws():
    """Five episodes can be drawn in 3,125 ways; the quantiles are theirs, but for chance."""
    values = np.array([0.0, 1.0, 5.0, 6.0, 9.0])
    means = [np.mean(chosen) for chosen in itertools.product(values, repeat=5)]
    given = bootstrapped(values[:, None], lambda sums: sums[..., 0] / 5, np.arange(5), seed=0)
    assert given.ci95 == pytest.approx(tuple(np.quantile(means, (0.025, 0.975))), abs=0.3)


def test_the_spread_of_episodes():
    errors = np.array([[1.0], [3.0], [6.0], [6.0]])
    low, high = episode_spread(errors, np.array([0, 0, 1, 2]))
    means = np.array([2.0, 6.0, 6.0]) / (14 / 3)
    assert (low, high) == pytest.approx(tuple(np.quantile(means, (0.1, 0.9))))


def test_places_are_told_apart_by_perception_and_dynamics(trial, robot):
    """It sees both; foretold, x stays behind by half of its way, y is right."""
    model = Dots(robot, gain=(0.5, 1.0))
    seen, excerpts = excerpts_of(trial, model)
    foretold, _ = rolled_out(model, excerpts)
    schema = truth_schema(trial.judged.episodes)
    x, y = place_rows(seen, seen, excerpts, foretold, schema)
    assert (x.name, x.unit, y.name) == ("x", "px", "y")
    assert x.perception < 0.05 and y.perception < 0.05 and x.r2 > 0.99
    path = moves(excerpts, robot).cumsum(axis=1)
    for step in range(4):
        behind = np.sqrt((path[:, step, 0] ** 2).mean())
        assert x.dynamics[step] == pytest.approx(behind / 2, abs=0.05)
        assert x.copied[step] == pytest.approx(behind, abs=0.05)
        assert y.dynamics[step] < 0.05


def test_what_the_encoder_does_not_see_is_not_read(trial, robot):
    model = Dots(robot, sees=(1.0, 0.0))
    seen, excerpts = excerpts_of(trial, model)
    x, y = place_rows(
        seen, seen, excerpts, rolled_out(model, excerpts)[0], truth_schema(trial.judged.episodes)
    )
    assert x.r2 > 0.99 and y.r2 < 0.3  # in so few episodes x says a little of y
    assert y.perception == pytest.approx(y.spread * np.sqrt(1 - y.r2))


def test_effects_are_those_of_a_loop(trial, robot):
    model = Dots(robot, gain=(0.5, -1.0))
    seen, excerpts = excerpts_of(trial, model)
    rows = action_rows(model, robot, 0, seen, seen, excerpts, seed=0)
    assert [row.name for row in rows] == ["dx", "dy"]
    assert [row.flipped for row in rows] == [False, True]
    moved = moves(excerpts, robot)[:, 0]
    gain, mean = np.array([0.5, -1.0]), robot.action_scale()[0]
    for place, row in enumerate(rows):
        product = first = second = turned_error = error = 0.0
        for each in moved:
            without, turned = each.copy(), each.copy()
            without[place] = mean[place]
            turned[place] = 2 * mean[place] - each[place]
            effect, missing = gain * each - gain * without, each - gain * without
            product += effect @ missing
            first, second = first + effect @ effect, second + missing @ missing
            error += ((gain * each - each) ** 2).sum()
            turned_error += ((gain * turned - each) ** 2).sum()
        assert row.effect.value == pytest.approx(product / np.sqrt(first * second), abs=1e-3)
        assert row.reversed.value == pytest.approx(turned_error / error, rel=1e-3)


def test_a_flipped_dimension_of_blocks_is_one_dimension(folder):
    robot = robot_of(folder, block=2)
    trial = trial_of(folder, folder, robot)
    model = Dots(robot, gain=(1.0, -1.0))
    seen, excerpts = excerpts_of(trial, model, steps=2)
    rows = action_rows(model, robot, 0, seen, seen, excerpts, seed=0)
    assert [(row.name, row.flipped) for row in rows] == [("dx", False), ("dy", True)]
    assert rows[0].inverse_r2 > 0.5


def test_a_landscape_is_the_energy_of_each_action(trial, robot):
    model = Dots(robot, gain=(1.0, 0.5))
    _, excerpts = excerpts_of(trial, model)
    space = action_space(robot)
    drawn = landscape(model, excerpts, 7, robot, 0, (1, 0), space)
    true = moves(excerpts, robot)[7, 0]
    assert drawn.names == ("dy", "dx") and drawn.true == pytest.approx((true[1], true[0]))
    assert (drawn.x[0], drawn.x[-1]) == pytest.approx((-2, 2), abs=1e-6)
    for j, dx in enumerate(drawn.y):
        for i, dy in enumerate(drawn.x):
            energy = ((dx - true[0]) ** 2 + (0.5 * dy - true[1]) ** 2) / 2
            assert drawn.energy[j][i] == pytest.approx(energy, abs=1e-3)
    assert drawn.best[1] == pytest.approx(true[0], abs=0.11)
    assert drawn.best[0] == pytest.approx(np.clip(2 * true[1], -2, 2), abs=0.11)


def test_films_show_the_frames_that_are_nearest(trial, robot):
    model = Dots(robot)
    seen, excerpts = excerpts_of(trial, model)
    foretold, _ = rolled_out(model, excerpts)
    films = world_films(excerpts, foretold, (2, 9), seen, trial.fitted, trial.judged)
    assert films.real.shape == (2, 5, 16, 16, 3)
    # The model is right, and what follows was recorded: the nearest frame is the real one.
    np.testing.assert_array_equal(films.imagined, films.real[:, 1:])
    start = int(excerpts.start[9])
    whole = trial.judged.episodes.frames(int(excerpts.episode[9]), "top", range(start, start + 5))
    np.testing.assert_array_equal(films.real[1], whole)
    latents = torch.tensor([[[0.0, 0.0]], [[3.0, 0.0]], [[0.0, 5.0]]])
    assert nearest(torch.tensor([[[0.0, 4.0]], [[2.0, 0.0]]]), latents).tolist() == [2, 1]


def test_readers_find_what_is_there():
    rng = np.random.default_rng(0)
    place, turn = rng.uniform(-1, 1, (600, 2)), rng.normal(size=(2, 8))
    numbers = place @ [[2.0, 0.0], [1.0, 0.1]] + 5
    read = ridge_reader(place[:400] @ turn, numbers[:400])
    np.testing.assert_allclose(read(place[400:] @ turn), numbers[400:], atol=0.01)
    assert explained(numbers, numbers).tolist() == [1, 1]
    mean = np.broadcast_to(numbers.mean(axis=0), numbers.shape)
    np.testing.assert_allclose(explained(mean, numbers), 0, atol=1e-9)
    # What is to be read depends on where one is: no linear reading finds it.
    angle, step = rng.uniform(0, 6.28, 1500), rng.uniform(-0.5, 0.5, (1500, 1))
    before, after = (np.stack([np.cos(a), np.sin(a)], axis=1) for a in (angle, angle + step[:, 0]))
    read = pair_reader(before[:1000], after[:1000], step[:1000], seed=0)
    assert explained(read(before[1000:], after[1000:]), step[1000:])[0] > 0.9
    line = ridge_reader(np.hstack([before, after])[:1000], step[:1000])
    assert explained(line(np.hstack([before, after])[1000:]), step[1000:])[0] < 0.2
