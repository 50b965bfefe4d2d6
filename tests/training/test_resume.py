"""A run that is killed at any moment and resumed ends with the same bits as one that is not."""

import dataclasses
import io
import json
import multiprocessing
import os
import random
import signal
import threading

import pytest
import torch
from rich.console import Console

from nexus import atomic
from nexus.checkpoints.weights import read_weights
from nexus.runs.journal import JournalWriter
from nexus.training.loop import train

TIMING_FIELDS = ("seconds", "clips_per_second", "data_wait")
"""Fields that measure the machine; everything else of a journal is the same in a repeated run."""

STEPS = 20
# As much state as a run can have: dropped paths and drawn masks (the global generator),
# augmentation (the loader's), micro-batches, clips that grow in length and size, changing rates, a
# file that fails.
VARIANT = (
    f"training.steps={STEPS}",
    "training.batch_size=2",
    "training.accumulation=2",
    "training.checkpoint_every=3",
    "training.curriculum=[[0, 4], [7, 4, 24], [12, 8, [16, 32]]]",
    "model.drop_path=0.3",
    "model.mask_ratio=0.7",
    "optim.weight_decay_end=0.4",
    "optim.warmup_steps=5",
    "data.augment.flip=0.5",
)
SYNCS = 5  # a checkpoint: three files, their folder, the folder of checkpoints after the renaming


@dataclasses.dataclass(frozen=True)
class Blow:
    """A signal that hits the process some moment after a journal row, or within a checkpoint."""

    row: int | None = None
    delay: float = 0.0
    sync: int | None = None
    number: signal.Signals = signal.SIGKILL

    def prepare(self):
        if self.row is not None:
            _after_calls(JournalWriter, "write", self.row, self._later)
        if self.sync is not None:
            _after_calls(atomic, "_sync", self.sync, self._now)

    def _later(self):
        threading.Timer(self.delay, self._now).start()

    def _now(self):
        # As a terminal does: the process and its workers.
        os.killpg(0, self.number)


def _after_calls(owner, name, count, act):
    plain, calls = getattr(owner, name), []

    def counted(*args):
        plain(*args)
        calls.append(name)
        if len(calls) == count:
            act()

    setattr(owner, name, counted)


def work(recipe, catalog, out, resume, blow):
    """What runs in a process of its own, as the leader of its group."""
    os.setsid()
    torch.set_num_threads(1)
    if blow is not None:
        blow.prepare()
    console = Console(file=io.StringIO())
    result = train(recipe, catalog, out, resume=resume, command="nexus pretrain", console=console)
    os._exit({"finished": 0, "interrupted": 130}[result.status])


# Processes start from a server that has imported torch already.
server = multiprocessing.get_context("forkserver")
server.set_forkserver_preload(["nexus.training.loop"])


def run(recipe, catalog, out, *, resume=False, blow=None):
    """Train in another process; returns its exit code, negative for the signal that killed it."""
    process = server.Process(target=work, args=(recipe, catalog, out, resume, blow))
    process.start()
    process.join(300)
    return process.exitcode


def outcome(out):
    """All that must be equal, timings left out."""
    rows = [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]
    journal = [{k: v for k, v in row.items() if k not in TIMING_FIELDS} for row in rows]
    info = json.loads((out / "run.json").read_text())
    latest = json.loads((out / "checkpoints" / "latest.json").read_text())
    folder = out / "checkpoints" / latest["folder"]
    state = torch.load(folder / "state.pt", weights_only=True)
    return {
        "journal": journal,
        "problems": json.loads((out / "problems.json").read_text()),
        "info": {k: info[k] for k in ("status", "steps_done", "clips_seen", "seed", "command")},
        "weights": read_weights(folder / "model.safetensors"),
        "optimizer": state["optimizer"]["state"],
        "random": state["rng"]["torch"],
        "loader": state["feed"]["loader"],
        "hidden": sorted(path.name for path in (out / "checkpoints").glob(".*")),
    }


def assert_same(found, expected):
    assert found["journal"] == expected["journal"]
    for name in ("problems", "info", "loader", "hidden"):
        assert found[name] == expected[name], name
    assert torch.equal(found["random"], expected["random"])
    assert set(found["weights"]) == set(expected["weights"])
    for name, tensor in expected["weights"].items():
        assert torch.equal(found["weights"][name], tensor), name
    for index, moments in expected["optimizer"].items():
        for name, tensor in moments.items():
            assert torch.equal(found["optimizer"][index][name], tensor), (index, name)


@pytest.fixture(scope="module")
def catalog(world, tmp_path_factory):
    """The toy world with one file that was whole when it was scanned and is not any more."""
    record = next(record for record in world.records if record.split == "train")
    broken = tmp_path_factory.mktemp("broken") / "cut.mp4"
    broken.write_bytes(record.path.read_bytes()[:300])
    bad = dataclasses.replace(record, path=broken, key="cut.mp4")
    return dataclasses.replace(world, records=(*world.records, bad))


@pytest.fixture(scope="module")
def expected(tmp_path_factory, tiny, catalog):
    """The outcome of a run that nothing interrupts."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert run(tiny(*VARIANT), catalog, out) == 0
    found = outcome(out)
    assert len(found["journal"]) == STEPS and found["info"]["status"] == "finished"
    assert found["problems"][0]["count"] >= 3 and found["hidden"] == []
    return found


def at_row(first, last):
    return Blow(row=random.randint(first, last), delay=random.uniform(0, 0.015))


def in_checkpoint(number, sync):
    return Blow(sync=(number - 1) * SYNCS + sync)


BLOWS = {
    "before the first checkpoint": lambda: at_row(1, 2),
    "at a random step": lambda: at_row(4, 9),
    "at a later random step": lambda: at_row(10, 15),
    "in the first checkpoint": lambda: in_checkpoint(1, random.randint(1, 4)),
    "in a later checkpoint": lambda: in_checkpoint(random.randint(2, 6), random.randint(1, 4)),
    "between a checkpoint and latest.json": lambda: in_checkpoint(random.randint(1, 6), SYNCS),
}


@pytest.mark.parametrize("draw", BLOWS.values(), ids=BLOWS.keys())
def test_a_killed_run_resumes_to_the_same_bits(tmp_path, tiny, catalog, expected, draw):
    out, blow = tmp_path / "run", draw()
    print(blow)  # shown when the test fails: what to repeat
    assert run(tiny(*VARIANT), catalog, out, blow=blow) == -signal.SIGKILL
    assert json.loads((out / "run.json").read_text())["status"] == "running"
    assert run(tiny(*VARIANT), catalog, out, resume=True) == 0
    assert_same(outcome(out), expected)


def test_a_run_that_is_killed_again_and_again_gets_there(tmp_path, tiny, catalog, expected):
    out = tmp_path / "run"
    blows = [at_row(2, 4), in_checkpoint(2, 3), at_row(1, 5), in_checkpoint(1, SYNCS)]
    print(blows)
    for number, blow in enumerate(blows):
        code = run(tiny(*VARIANT), catalog, out, resume=number > 0, blow=blow)
        assert code == -signal.SIGKILL
    assert run(tiny(*VARIANT), catalog, out, resume=True) == 0
    assert_same(outcome(out), expected)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_run_that_is_asked_to_stop_saves_and_resumes_with_workers_to_the_same_bits(
    tmp_path, tiny, catalog, expected, number
):
    out, blow = tmp_path / "run", Blow(row=random.randint(3, 10), number=number)
    print(blow)
    assert run(tiny(*VARIANT, "data.num_workers=1"), catalog, out, blow=blow) == 130
    info = json.loads((out / "run.json").read_text())
    assert info["status"] == "interrupted" and blow.row <= info["steps_done"] < STEPS
    log = (out / "log.txt").read_text()
    assert f"{number.name}: saved at step {info['steps_done']} of {STEPS}" in log
    assert "nexus pretrain --resume" in log
    assert run(tiny(*VARIANT), catalog, out, resume=True) == 0
    assert_same(outcome(out), expected)


def test_checkpoints_by_the_clock_change_no_bit(tmp_path, tiny, catalog, expected):
    out = tmp_path / "run"
    clock = tiny(*VARIANT, "training.checkpoint_every=99", "training.checkpoint_minutes=1e-6")
    assert run(clock, catalog, out, blow=at_row(6, 12)) == -signal.SIGKILL
    kept = sorted(folder.name for folder in (out / "checkpoints").glob("step_*"))
    assert len(kept) == 2 and int(kept[1][-2:]) == int(kept[0][-2:]) + 1 >= 5  # after every step
    never = tiny(*VARIANT, "training.checkpoint_every=99", "training.checkpoint_minutes=null")
    assert run(never, catalog, out, resume=True) == 0
    assert_same(outcome(out), expected)
