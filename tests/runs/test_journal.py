import json
import math

from nexus.runs.journal import JournalWriter


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_come_back_and_numbers_that_are_not_finite_become_null(tmp_path):
    journal = JournalWriter(tmp_path / "journal.jsonl")
    journal.write({"step": 1, "loss": 0.1, "health": "healthy"})
    journal.write({"step": 2, "loss": math.nan, "grad_norm": math.inf, "momentum": None})
    journal.close()
    rows = read(tmp_path / "journal.jsonl")
    assert rows[0] == {"step": 1, "loss": 0.1, "health": "healthy"}
    assert rows[1] == {"step": 2, "loss": None, "grad_norm": None, "momentum": None}


def test_a_row_is_on_file_as_soon_as_it_is_written(tmp_path):
    journal = JournalWriter(tmp_path / "journal.jsonl")
    journal.write({"step": 1})
    assert (tmp_path / "journal.jsonl").stat().st_size == journal.size > 0
    journal.close()


def test_rewind_drops_what_came_after_a_checkpoint(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = JournalWriter(path)
    journal.write({"step": 1})
    kept = journal.size
    journal.write({"step": 2})
    journal.close()
    path.write_bytes(path.read_bytes() + b'{"step": 3, "lo')  # killed while writing

    again = JournalWriter(path)
    assert again.rewind(kept)
    again.write({"step": 2, "again": True})
    again.close()
    assert read(path) == [{"step": 1}, {"step": 2, "again": True}]


def test_rewind_says_when_rows_are_lost(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text('{"step": 1}\n')
    journal = JournalWriter(path)
    assert not journal.rewind(1000)
    assert path.read_text() == '{"step": 1}\n'
    journal.close()


def test_tensorboard_gets_the_same_numbers(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "tensorboard"
    journal = JournalWriter(tmp_path / "journal.jsonl", tensorboard=folder)
    for step in (1, 2, 3):
        journal.write({"step": step, "loss": 1 / step, "health": "healthy", "lr": math.nan})
    journal.close()
    # A resumed run writes steps 2 and 3 again: the earlier ones must be hidden.
    again = JournalWriter(tmp_path / "journal.jsonl", tensorboard=folder)
    again.write({"step": 2, "loss": 20.0})
    again.close()
    events = EventAccumulator(str(folder)).Reload()
    assert events.Tags()["scalars"] == ["loss"]
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 1.0), (2, 20.0)]
