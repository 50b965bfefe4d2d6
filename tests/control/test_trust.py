"""The report as a whole, and its verdict, on models by hand that are good or wrong in one way."""

import numpy as np
import pytest
from control.made_dots import Dots, robot_of, trial_of, write_dots

from nexus.control.trust.measuring import TrustConfig, measured
from nexus.control.trust.verdict import headline_rank, world_verdict
from nexus.errors import ConfigError, DataError
from nexus.runs.world import Measured, WorldFilms, WorldRankRow, WorldReport

QUICK = TrustConfig(excerpts=60, ranked=20, candidates=30, steps=4)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("trust")
    write_dots(place / "fitted", episodes=20, seed=0)
    write_dots(place / "judged", episodes=8, seed=1)
    return place


@pytest.fixture(scope="module")
def robot(folders):
    return robot_of(folders / "fitted")


@pytest.fixture(scope="module")
def trial(folders, robot):
    return trial_of(folders / "judged", folders / "fitted", robot)


def report_of(trial, model, config=QUICK):
    return measured(model, trial, config=config)[0]


def test_a_good_model(trial, robot):
    report, films = measured(Dots(robot, gain=(0.95, 0.95)), trial, config=QUICK, step=7)
    verdict = report.verdict
    assert (verdict.plan, verdict.fault, verdict.flipped) == ("yes", None, ())
    assert verdict.sentence.startswith("Planning with this model makes sense: of random actions")
    assert report.step == 7 and report.episodes == tuple(range(8))
    assert len(report.errors) == 4 and {row.steps for row in report.ranks} == {1, 2, 4}
    assert {row.term for row in report.ranks} == {"picture", "proprioception"}
    assert report.calibration == pytest.approx(1, abs=0.3)
    assert films is not None and films.real.shape[:2] == (3, 5)
    assert all(np.hypot(*np.subtract(land.best, land.true)) < 0.3 for land in report.landscapes)
    assert all(row.inverse_r2 > 0.95 for row in report.actions)


def test_the_same_seed_gives_the_same_report(trial, robot):
    model = Dots(robot, gain=(0.7, 0.4))
    assert report_of(trial, model) == report_of(trial, model)
    other = report_of(trial, model, QUICK.with_changes(seed=1))
    assert other.ranks != report_of(trial, model).ranks


def test_an_action_blind_model(trial, robot):
    report = report_of(trial, Dots(robot, gain=(0.0, 0.0)))
    assert (report.verdict.plan, report.verdict.fault) == ("no", "dynamics")
    assert "it ignores actions" in report.verdict.sentence
    assert all(row.vs_shuffled.value == 1 for row in report.errors)
    assert all(row.rank.value == pytest.approx(0.5) for row in report.ranks)


@pytest.mark.parametrize(("gain", "name"), [((1, -1), "dy"), ((-0.6, 0.8), "dx")])
def test_a_flipped_dimension_is_named(trial, robot, gain, name):
    verdict = report_of(trial, Dots(robot, gain=tuple(map(float, gain)))).verdict
    assert (verdict.plan, verdict.fault, verdict.flipped) == ("no", "dynamics", (name,))
    assert f"it takes {name} for the opposite" in verdict.sentence


def test_both_flipped_are_named(trial, robot):
    assert report_of(trial, Dots(robot, gain=(-1.0, -1.0))).verdict.flipped == ("dx", "dy")


def test_an_encoder_that_does_not_see_y(trial, robot):
    verdict = report_of(trial, Dots(robot, sees=(1.0, 0.0))).verdict
    assert (verdict.plan, verdict.fault) == ("doubtful", "perception")
    assert "the encoder does not tell y" in verdict.sentence


def test_actions_that_do_not_belong_to_their_frames(folders, robot, tmp_path):
    """Nothing can be learned from them, and that is no fault of the model."""
    wrong = {"told": lambda actions, rng: rng.permutation(actions)}
    write_dots(tmp_path / "wrong", episodes=20, seed=2, **wrong)
    trial = trial_of(tmp_path / "wrong", tmp_path / "wrong", robot)
    verdict = report_of(trial, Dots(robot, gain=(0.02, 0.02))).verdict
    assert (verdict.plan, verdict.fault) == ("no", "data")
    assert "actions and frames do not match" in verdict.sentence


def test_a_model_no_better_than_a_copy_has_to_be_trained_for_longer(trial, robot):
    """Twice as far as the truth: as wrong as standing still, though the way is right."""
    verdict = report_of(trial, Dots(robot, gain=(2.0, 2.0))).verdict
    assert (verdict.plan, verdict.fault) == ("no", "dynamics")
    assert "of a copy's; train for longer" in verdict.sentence


def test_without_a_simulator_the_robots_own_state_is_read(tmp_path, robot):
    write_dots(tmp_path / "real", episodes=8, environment=None)
    report = report_of(trial_of(tmp_path / "real", tmp_path / "real", robot), Dots(robot))
    assert report.places_of == "robot" and [row.name for row in report.places] == ["x", "y"]
    write_dots(tmp_path / "bare", episodes=8, environment=None, state=None)
    bare = robot_of(tmp_path / "bare")
    report = report_of(trial_of(tmp_path / "bare", tmp_path / "bare", bare), Dots(bare))
    assert report.places == () and {row.term for row in report.ranks} == {"picture"}
    assert report.verdict.plan == "yes" and report.errors[0].state_vs_copy is None


def test_blocks_and_a_longer_context(folders):
    robot = robot_of(folders / "fitted", block=2)
    trial = trial_of(folders / "judged", folders / "fitted", robot)
    report = report_of(trial, Dots(robot, context=2))
    assert [row.steps for row in report.errors] == [1, 2, 3]  # 5 frames, of which 2 are seen
    assert report.errors[0].seconds == pytest.approx(0.2)
    assert report.verdict.plan == "yes"


def test_too_few_episodes_tell_nothing(folders, robot, tmp_path):
    write_dots(tmp_path / "two", episodes=2, seed=4)
    verdict = report_of(trial_of(tmp_path / "two", folders / "fitted", robot), Dots(robot)).verdict
    assert (verdict.plan, verdict.fault) == ("unknown", "data")
    assert "2 episodes to judge it by" in verdict.sentence


def test_what_cannot_be_measured_is_said(trial, robot, tmp_path, folders):
    with pytest.raises(ConfigError, match="no dimension 'dz'; known: dx, dy"):
        report_of(trial, Dots(robot), TrustConfig(dimensions=("dx", "dz")))
    with pytest.raises(ConfigError, match="got 'dx' twice"):
        report_of(trial, Dots(robot), TrustConfig(dimensions=("dx", "dx")))
    write_dots(tmp_path / "short", episodes=3, steps=2)
    short = trial_of(tmp_path / "short", folders / "fitted", robot)
    with pytest.raises(DataError, match="the model sees 2, and then nothing is left to foretell"):
        report_of(short, Dots(robot, context=2))


def test_a_model_that_learned_by_heart(trial, robot):
    report = report_of(trial, Dots(robot))
    given = (report.errors, report.ranks, report.places, report.actions)
    verdict = world_verdict(*given, calibration=3.0, episodes=8)
    assert (verdict.plan, verdict.fault) == ("doubtful", "data")
    assert "3.0 times that in training" in verdict.sentence


def test_proprioception_alone_earns_no_trust():
    """A robot knows where it is: its rank says nothing of a goal picture."""

    def row(steps, term, value):
        return WorldRankRow(
            steps=steps, term=term, rank=Measured(value=value, ci95=(0, 1)), excerpts=9
        )

    rows = [row(1, "proprioception", 0.0), row(1, "picture", 0.2), row(4, "picture", 0.4)]
    assert headline_rank(rows).value == 0.4
    assert headline_rank([*rows, row(2, "things", 0.1)]).value == 0.1
    assert headline_rank(rows[:1]) is None


def test_no_more_latents_are_kept_than_there_is_room_for(trial, robot, monkeypatch):
    """A latent of the encoder that is named has 64 numbers, an episode 10 frames."""
    monkeypatch.setattr("nexus.control.trust.measuring.MOST_NUMBERS", 4 * 640)
    report = report_of(trial, Dots(robot))
    assert report.episodes == (0, 2, 5, 7) and report.fitted == (0, 6, 13, 19)
    assert report.excerpts == 4 * 640 // (3 * 4 * 64)


def test_the_report_and_its_films_come_back_from_the_disk(trial, robot, tmp_path):
    report, films = measured(Dots(robot), trial, config=QUICK)
    report.save(tmp_path / "world.json")
    assert WorldReport.read(tmp_path / "world.json") == report
    films.save(tmp_path / "films.npz")
    again = WorldFilms.read(tmp_path / "films.npz")
    np.testing.assert_array_equal(again.imagined, films.imagined)
    assert again.names == films.names
    np.savez(tmp_path / "bad.npz", real=films.real, imagined=films.real, names=np.array(["a"]))
    with pytest.raises(ValueError, match="do not fit"):
        WorldFilms.read(tmp_path / "bad.npz")
