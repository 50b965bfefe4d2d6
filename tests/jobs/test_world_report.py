"""`nexus world report`: from a run to its results, its page and a sentence in the terminal."""

import shutil

import pytest
from control.made_dots import write_dots
from rich.console import Console

import nexus
from nexus.checkpoints.files import ModelCard, save_checkpoint
from nexus.cli.main import run as run_command
from nexus.control.trust.measuring import TrustConfig
from nexus.control.trust.verdict import headline_rank
from nexus.errors import DataError, RunError
from nexus.jobs.world_training import train_world
from nexus.models.ssl import VJEPAModel
from nexus.reports.next_steps import next_steps
from nexus.runs.folder import RunDirectory
from nexus.runs.read import read_run
from nexus.runs.world import WORLD, WorldReport

SMALL = (
    "model.img_size=16",
    "model.num_frames=4",
    "model.slow_dim=4",
    "model.encoder={kind: patches, patch_size: 4, dim: 16, hidden: 64, patch_dim: 8}",
    "model.predictor={kind: adaln, width: 64, depth: 2, heads: 2, window: 1}",
    "training.batch_size=32",
    "training.log_every=100",
    "training.threads=1",
    "training.tensorboard=false",
    "optim.lr=3e-3",
)
QUICK = TrustConfig(excerpts=40, ranked=8, candidates=12, steps=3, fitted_episodes=20)


def train(data, out, steps):
    train_world(data, out, overrides=[*SMALL, f"training.steps={steps}"], report=False)
    return out


@pytest.fixture(autouse=True, scope="module")
def _quiet():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nexus.training.loop.Console", lambda **_: Console(quiet=True))
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("world-report")
    write_dots(place / "dots", episodes=40)
    train(place / "dots", place / "run", 3)
    return place


@pytest.fixture
def run(place, tmp_path):
    return shutil.copytree(place / "run", tmp_path / "run")


def test_the_held_out_episodes_of_the_runs_own_recording_are_judged(run, place, undrawn):
    result = nexus.world_report(run, settings=QUICK, command="nexus world report <run>")
    report = result.report
    assert report.episodes == (9, 19, 29, 39)
    assert not set(report.episodes) & set(report.fitted) and len(report.fitted) == 20
    assert report.choice == f"4 episodes: held out from training of {place / 'dots'}"
    assert WorldReport.read(run / WORLD) == report and report.step == 3
    assert {row.term for row in report.ranks} == {"picture", "things", "proprioception"}
    again = nexus.world_report(run, place / "dots", settings=QUICK).report
    assert again.episodes == report.episodes and again.errors == report.errors


def test_the_page_says_what_was_measured(run, undrawn):
    text = nexus.report(run).read_text()
    assert "Whether this model can be trusted has not been measured yet" in text
    assert f"nexus world report {run}" in text and "nexus probe" not in text
    result = nexus.world_report(run, settings=QUICK, command="nexus world report <run>")
    text = result.page.read_text()
    verdict = result.report.verdict
    assert f"<strong>{verdict.sentence}</strong>" in text
    assert "4 episodes: held out from training of" in text
    assert f"; {result.report.excerpts} excerpts of 4 of them." in text
    assert "<p>9, 19, 29, 39</p>" in text
    for name in ("Rank of the true actions", "Where things are", "Imagined and real"):
        assert name in text
    assert 'aria-label="Goal energy of episode 9' in text
    assert text.count('aria-label="imagined frames of episode') == 3
    assert "nexus world report &lt;run&gt;" in text and "<script" not in text
    assert "What the features are worth" not in text
    shown = {each.short for each in _answers(run)}
    assert any(word in shown for word in ("No: dynamics", "No: data", "No: perception"))


def test_what_to_do_next_follows_from_the_verdict(run, undrawn):
    def commands():
        files = read_run(run)
        return [each.command for each in next_steps(files)]

    assert commands() == [f"nexus world report {run}", f"nexus plan {run} --env ENV --out plans"]
    report = nexus.world_report(run, settings=QUICK, page=False).report
    said = report.verdict.with_changes(plan="no", fault="dynamics")
    report.with_changes(verdict=said).save(run / WORLD)
    assert commands() == [f"nexus world train --resume --out {run} --steps 6"]
    report.with_changes(verdict=said.with_changes(flipped=("dy",))).save(run / WORLD)
    assert commands() == []


def _answers(run):
    from nexus.reports.verdict import verdict

    return verdict(read_run(run))


def test_damaged_results_are_left_out_with_a_note(run, undrawn):
    nexus.world_report(run, settings=QUICK)
    (run / WORLD).write_text('{"format": 2, "verdict": 3}')
    files = read_run(run)
    assert files.world is None and "world.json could not be read" in " ".join(files.notes)
    assert "has not been measured yet" in nexus.report(run).read_text()


def test_another_recording_is_judged_whole_or_by_its_split(run, tmp_path, undrawn):
    write_dots(tmp_path / "new", episodes=5, seed=9)
    report = nexus.world_report(run, tmp_path / "new", settings=QUICK).report
    assert report.episodes == (0, 1, 2, 3, 4) and report.calibration is not None
    with pytest.raises(DataError, match="no split 'test'; known: train"):
        nexus.world_report(run, tmp_path / "new", split="test", settings=QUICK)
    with pytest.raises(DataError, match="episode 0 of split 'train' was trained on"):
        nexus.world_report(run, split="train", settings=QUICK)


def test_without_the_training_episodes_probes_are_fitted_on_half(run, place, tmp_path, undrawn):
    write_dots(tmp_path / "new", episodes=9, seed=9)
    hidden = (place / "dots").rename(place / "away")
    try:
        report = nexus.world_report(run, tmp_path / "new", settings=QUICK).report
        with pytest.raises(DataError, match="no such file or folder"):
            nexus.world_report(run, settings=QUICK)
    finally:
        hidden.rename(place / "dots")
    assert report.episodes == (1, 3, 5, 7) and report.fitted == (0, 2, 4, 6, 8)
    assert report.calibration is None and report.errors[0].training is None
    assert "every second episode" in report.notes[0]


def test_what_is_no_world_model_is_refused(run, tmp_path):
    with pytest.raises(RunError, match="is not a run"):
        nexus.world_report(tmp_path / "nothing")
    with pytest.raises(RunError, match="has no robot 1; it knows 1"):
        nexus.world_report(run, robot=1)
    sizes = {"img_size": 16, "num_frames": 4, "patch_size": 8, "encoder_dim": 12, "num_heads": 2}
    sizes |= {"predictor_dim": 12, "predictor_heads": 2, "num_spatial_layers": 1}
    model = VJEPAModel({**sizes, "num_temporal_layers": 0, "num_predictor_layers": 1})
    shutil.rmtree(run / "checkpoints")
    card = ModelCard("vjepa", model.config.to_mapping(), 0, {})
    save_checkpoint(run / "checkpoints", model, card, {}, keep=1)
    with pytest.raises(RunError, match="holds a model of kind 'vjepa', which knows no actions"):
        nexus.world_report(run)


def test_the_command_prints_the_sentence_and_the_tables(run, capsys, undrawn):
    words = ["world", "report", str(run), "--excerpts", "30", "--candidates", "8", "--steps", "2"]
    assert run_command([*words, "--dims", "dy,dx"]) == 0
    text = capsys.readouterr().out
    report = WorldReport.read(run / WORLD)
    assert text.startswith(report.verdict.sentence)
    assert "held out from training" in text and "effect, correlation" in text
    assert "proprioception" in text and f"Page: {run / 'report.html'}" in text
    assert report.landscapes[0].names == ("dy", "dx")
    assert report.command is not None
    assert run_command([*words, "--dims", "dx"]) == 2
    assert "--dims takes two names" in " ".join(capsys.readouterr().err.split())
    assert run_command([*words, "--dims", "dx,dz"]) == 1
    assert "no dimension 'dz'" in capsys.readouterr().err


@pytest.mark.slow
def test_four_models_that_are_known_to_differ(tmp_path, undrawn):
    """Good, undertrained, blind to actions, and with one of them turned round."""
    told = {
        "true": lambda actions, rng: actions,
        "shuffled": lambda actions, rng: rng.permutation(actions),
        "flipped": lambda actions, rng: actions * (1, -1),
    }
    for name, each in told.items():
        write_dots(tmp_path / name, episodes=150, steps=12, told=each)
    write_dots(tmp_path / "new", episodes=30, steps=12, seed=5)
    runs = {name: train(tmp_path / name, tmp_path / f"run-{name}", 600) for name in told}
    runs["young"] = train(tmp_path / "true", tmp_path / "run-young", 80)
    settings = TrustConfig(excerpts=200, ranked=40, candidates=50, steps=3)

    def report_of(run):
        return nexus.world_report(run, tmp_path / "new", settings=settings, page=False).report

    of_its_own = report_of(runs["shuffled"]).verdict
    assert (of_its_own.plan, of_its_own.fault) == ("no", "data")  # its recording is the wrong one
    for name in ("shuffled", "flipped"):  # the recording is right, and the model's fault is its own
        folder = RunDirectory(runs[name])
        info = folder.read_info()
        source = str(tmp_path / "true")
        folder.write(info.with_changes(data=info.data.with_changes(source=source)))
    reports = {name: report_of(run) for name, run in runs.items()}
    verdicts = {name: report.verdict for name, report in reports.items()}
    assert verdicts["true"].plan == "yes"
    assert verdicts["flipped"].flipped == ("dy",) and verdicts["flipped"].plan == "no"
    for name in ("true", "young", "shuffled"):
        assert verdicts[name].flipped == ()
    assert (verdicts["shuffled"].plan, verdicts["shuffled"].fault) == ("no", "dynamics")
    assert "it ignores actions" in verdicts["shuffled"].sentence
    assert verdicts["young"].plan in ("no", "doubtful") and verdicts["young"].fault == "dynamics"
    assert "train for longer" in verdicts["young"].sentence
    ranks = {name: headline_rank(report.ranks).value for name, report in reports.items()}
    assert ranks["true"] < 0.05 < ranks["young"] < min(ranks["shuffled"], ranks["flipped"])
