import json
import multiprocessing
import time

import pytest

from nexus.errors import TrainingError
from nexus.runs.folder import (
    RunDirectory,
    changed_keys,
    how_to_continue,
)
from nexus.runs.schema import RunInfo
from nexus.training.recipe import read_run_recipe

FACTS = {"command": "nexus pretrain videos --out run", "steps_done": 0}


def started(root, recipe, **facts):
    run = RunDirectory(root)
    root.mkdir(exist_ok=True)
    run.start(recipe, RunInfo.model_validate({**FACTS, **facts}))
    return run


def test_a_started_run_is_on_file(tmp_path, tiny):
    run = started(tmp_path, tiny())
    info = json.loads(run.info_file.read_text())
    assert info["status"] == "running" and info["started"] and info["ended"] is None
    assert info["command"] == FACTS["command"]
    assert read_run_recipe(tmp_path) == tiny()
    run.finish("finished")
    info = json.loads(run.info_file.read_text())
    assert info["status"] == "finished" and info["ended"] >= info["started"]


def test_a_folder_that_holds_a_run_is_not_free(tmp_path, tiny):
    RunDirectory(tmp_path).check_free()
    (tmp_path / "notes.txt").write_text("anything else may lie here")
    RunDirectory(tmp_path).check_free()
    started(tmp_path, tiny()).finish("finished")
    with pytest.raises(TrainingError, match=r"status: finished\); add --resume .*another --out"):
        RunDirectory(tmp_path).check_free()


def test_a_run_that_failed_before_it_saved_anything_does_not_block_its_folder(tmp_path, tiny):
    run = started(tmp_path, tiny())
    with pytest.raises(ZeroDivisionError), run.failures_recorded():
        1 / 0
    assert run.read_info().status == "failed"
    assert run.read_info().error == "ZeroDivisionError: division by zero"
    RunDirectory(tmp_path).check_free()
    (tmp_path / "checkpoints" / "step_00000005").mkdir(parents=True)
    with pytest.raises(TrainingError, match="status: failed"):
        RunDirectory(tmp_path).check_free()


def test_a_second_ctrl_c_is_recorded(tmp_path, tiny):
    run = started(tmp_path, tiny())
    with pytest.raises(KeyboardInterrupt), run.failures_recorded():
        raise KeyboardInterrupt
    assert run.read_info().status == "interrupted"


def test_resuming_needs_a_run(tmp_path, tiny):
    with pytest.raises(TrainingError, match="holds no run to resume; leave --resume out"):
        RunDirectory(tmp_path).reopen(tiny())
    with pytest.raises(TrainingError, match="holds no run"):
        read_run_recipe(tmp_path)


def test_resuming_with_another_recipe_names_what_changed(tmp_path, tiny):
    started(tmp_path, tiny())
    other = tiny("optim.lr=0.5", "training.steps=5", "model.mask=tube", "data.num_workers=1")
    with pytest.raises(TrainingError) as error:
        RunDirectory(tmp_path).reopen(other)
    text = str(error.value)
    assert "optim.lr: 0.002 in the run, 0.5 now" in text
    assert "training.steps: 6 in the run, 5 now" in text
    assert "model.mask: 'future' in the run, 'tube' now" in text
    assert "num_workers" not in text


def test_what_does_not_touch_the_numbers_may_change(tmp_path, tiny):
    started(tmp_path, tiny())
    other = tiny(
        "training.checkpoint_every=3",
        "training.keep_checkpoints=5",
        "training.on_collapse=stop",
        "training.tensorboard=true",
        "data.num_workers=1",
        "data.cache.kind=memory",
    )
    run = RunDirectory(tmp_path)
    run.reopen(other)
    run.start(other, RunInfo.model_validate(FACTS))
    assert read_run_recipe(tmp_path) == other


def test_a_resumed_run_keeps_its_command_start_and_threads(tmp_path, tiny):
    run = started(tmp_path, tiny(), steps_done=0)
    run.write(run.info.with_changes(threads=2, started="long ago"))
    run.finish("interrupted")
    again = RunDirectory(tmp_path)
    again.reopen(tiny())
    again.start(tiny(), RunInfo(command="another", steps_done=4))
    info = again.read_info()
    assert info.threads == 2 and info.started == "long ago"
    assert info.command == FACTS["command"]
    assert info.status == "running" and info.ended is None
    assert info.steps_done == 4 and len(info.resumed) == 1


def test_changed_keys_are_dotted_and_cover_both_sides():
    before = {"a": {"b": 1, "c": 2}, "d": None}
    after = {"a": {"b": 1, "c": 3}, "e": [1]}
    assert changed_keys(before, after) == {"a.c": (2, 3), "e": (None, [1])}


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("nexus pretrain 'my videos' --out r", "nexus pretrain 'my videos' --out r --resume"),
        ("nexus pretrain v --resume --out r", "nexus pretrain v --resume --out r"),
        ("", "train(..., resume=True)"),
    ],
)
def test_how_to_continue(command, hint):
    assert how_to_continue(command) == hint


def hold(folder, locked):
    with RunDirectory(folder).lock():
        locked.set()
        time.sleep(60)


def test_two_processes_cannot_train_into_one_folder(tmp_path):
    fork = multiprocessing.get_context("fork")
    locked = fork.Event()
    other = fork.Process(target=hold, args=(tmp_path, locked))
    other.start()
    assert locked.wait(60)
    with (
        pytest.raises(TrainingError, match="another process is training into"),
        RunDirectory(tmp_path).lock(),
    ):
        pass
    other.kill()
    other.join()
    with RunDirectory(tmp_path).lock():
        pass
