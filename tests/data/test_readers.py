"""Data sets that nexus does not know, by a reader of one's own; labels of videos and of parts."""

import json

import pytest
from odd_videos import write_clip

import nexus
from nexus.cli.main import run
from nexus.data.catalog.catalog import scan
from nexus.data.catalog.labels import Segment, label_text
from nexus.data.catalog.sources import Entry
from nexus.errors import ConfigError, DataError

SEGMENTS = [
    {"start": 0.1, "end": 0.5, "label": "open"},
    {"start": 0.5, "end": 1, "label": "shut"},
]


@pytest.fixture
def database(tmp_path):
    """Three videos of 1.33 s and what happens in them, in a form that nexus has no reader for."""
    database = {}
    for number, subset in enumerate(("training", "training", "testing")):
        write_clip(tmp_path / f"v{number}.mp4", fps=30)
        actions = [{"segment": [0.1 * number, 1.0], "label": f"action {number}"}]
        database[f"v{number}"] = {
            "subset": subset,
            "duration": 1.5,
            "quality": [1.0, 0.5 * number],
            "annotations": actions,
        }
    database["v1"]["annotations"] += [
        {"segment": [1.0, 2.0], "label": "long"},
        {"segment": [3.0, 4.0], "label": "late"},
    ]
    database["lost"] = {**database["v0"], "annotations": []}
    (tmp_path / "all.json").write_text(json.dumps({"database": database}))
    return tmp_path / "all.json"


def test_a_reader_of_ones_own_gives_records_labels_splits_and_problems(database):
    catalog = scan(database, workers=0, reader="own_reader:ActivityNet")
    assert [record.key for record in catalog.records] == ["v0", "v1", "v2"]
    assert [record.split for record in catalog.records] == ["train", "train", "test"]
    assert len(catalog.select("test")) == 1
    first, second, _ = catalog.records
    assert first.labels == {"quality": (1.0, 0.0), "seconds": 1.5} and first.num_frames == 40
    assert first.segments == (Segment(0.0, 1.0, "action 0"),)
    assert second.segments[:1] == (Segment(0.1, 1.0, "action 1"),)
    long = second.segments[1]
    assert len(second.segments) == 2 and (long.start, long.label) == (1.0, "long")
    assert long.end == pytest.approx(4 / 3)
    problems = [(problem.kind, problem.fatal, problem.reason) for problem in catalog.problems]
    assert problems == [
        (
            "odd",
            False,
            "the segment 'long' from 1 to 2 s passes the video's end at 1.33 s; cut there",
        ),
        (
            "odd",
            False,
            "the segment 'late' from 3 to 4 s passes the video's end at 1.33 s; left out",
        ),
        ("missing", True, "no such file"),
    ]
    assert json.loads(json.dumps(catalog.to_mapping()))["records"][0]["segments"] == [
        {"start": 0.0, "end": 1.0, "label": "action 0", "score": None}
    ]


def test_a_reader_has_settings_and_is_named_in_errors(database):
    choice = {"kind": "own_reader:ActivityNet", "ending": "avi"}
    found = scan(database, workers=0, reader=choice)
    assert not found.records and {problem.kind for problem in found.problems} == {"missing"}
    with pytest.raises(ConfigError, match="unknown reader of a data set 'lists'; did you mean 'li"):
        scan(database, workers=0, reader="lists")
    with pytest.raises(ConfigError, match=r"own_reader has no 'Activity'"):
        scan(database, workers=0, reader="own_reader:Activity")
    with pytest.raises(ValueError, match="`split` is 'training'; expected train, validation or"):
        Entry(database, "x", split="training")
    with pytest.raises(ValueError, match=r"label 'x' is \[1.0\]; expected text, a number or a tup"):
        Entry(database, "x", labels={"x": [1.0]})
    with pytest.raises(ValueError, match="must be later"):
        Entry(database, "x", start=2.0, end=1.0)


def test_a_list_is_read_as_a_list_whatever_it_is_called(tmp_path):
    write_clip(tmp_path / "a.mp4", 8)
    (tmp_path / "names.txt").write_text("path,label\na.mp4,x\n")
    [record] = scan(tmp_path / "names.txt", workers=0, reader="list").records
    assert record.labels == {"label": "x"}
    assert scan([tmp_path / "names.txt"], workers=0, reader="list").records[0].key == "a.mp4"


def test_a_recipe_names_its_reader(database, tmp_path, capsys):
    changes = [
        "training.steps=2",
        "training.threads=1",
        "training.batch_size=2",
        "model.img_size=16",
    ]
    changes += ["model.encoder_dim=16", "model.num_heads=2", "model.predictor_dim=16"]
    changes += ["model.predictor_heads=2", "data.reader=own_reader:ActivityNet"]
    done = nexus.pretrain(
        database, tmp_path / "run", recipe="small", overrides=changes, report=False
    )
    assert done.status == "finished"
    info = json.loads((tmp_path / "run/run.json").read_text())["data"]
    assert info["videos"] == 2
    assert info["labels"] == {"quality": {"vectors of 2 numbers": 2}, "seconds": {"1.5": 2}}
    reread = nexus.embed(tmp_path / "run", str(database.parent / "v0.mp4"), tmp_path / "x.arrow")
    assert reread.exists()
    assert run(["check", str(database), "--reader", "own_reader:ActivityNet"]) == 0
    assert "usable videos    3, 4.0 s in all" in capsys.readouterr().out


def test_labels_of_a_list_are_text_numbers_and_vectors(tmp_path):
    write_clip(tmp_path / "a.mp4", 40, fps=30)
    rows = [
        {
            "video": "a.mp4",
            "force": [1, 2.5, -3],
            "class": "x",
            "count": 7,
            "tags": ["x"],
            "no": [],
        },
        {"video": "a.mp4", "start": 0, "end": 1, "segments": SEGMENTS, "ok": True},
    ]
    (tmp_path / "l.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first, second = scan(tmp_path / "l.jsonl", workers=0).records
    assert first.labels == {
        "force": (1.0, 2.5, -3.0), "class": "x", "count": "7", "tags": '["x"]', "no": "[]",
    }  # fmt: skip
    assert first.segments == () and second.labels == {"ok": "true"}
    assert second.segments == (Segment(0.1, 0.5, "open"), Segment(0.5, 1.0, "shut"))
    # In a CSV list every cell is text, and no column is special that was not.
    (tmp_path / "l.csv").write_text('path,force,segments\na.mp4,"[1, 2]",two\n')
    [record] = scan(tmp_path / "l.csv", workers=0).records
    assert record.labels == {"force": "[1, 2]", "segments": "two"} and record.segments == ()
    assert [label_text(label) for label in ("x", 2.0, 0.1, (1.0, 2.5))] == [
        "x", "2", "0.1", "[1.0, 2.5]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ('{"start": 0}', "line 2: `segments` is not a list of objects"),
        ("[3]", "line 2: `segments` is not a list of objects"),
        ('[{"start": 0, "end": 1}]', "line 2: `segments`: got the keys start, end; expected"),
        ('[{"start": 0, "end": 1, "label": "x", "colour": 1}]', "got the keys start, .*colour"),
        (
            '[{"start": 1, "end": 1, "label": "x"}]',
            "line 2: a segment from 1 to 1 s; expected 0 <=",
        ),
        ('[{"start": -1, "end": 1, "label": "x"}]', "line 2: `start` is -1; expected seconds"),
        ('[{"start": 0, "end": "soon", "label": "x"}]', "line 2: `end` is 'soon'"),
        (
            '[{"start": 0, "end": 1, "label": ""}]',
            "line 2: `segments`: .* lacks a start, an end or",
        ),
        ('[{"start": 0, "end": null, "label": "x"}]', "line 2: `segments`: .* lacks a start"),
    ],
)
def test_segments_that_cannot_be_understood(tmp_path, segments, message):
    (tmp_path / "l.jsonl").write_text(
        f'{{"video": "a.mp4"}}\n{{"video": "a.mp4", "segments": {segments}}}\n'
    )
    with pytest.raises(DataError, match=message):
        scan(tmp_path / "l.jsonl", workers=0)


def test_a_segment_that_passes_the_end_is_named_with_its_line(tmp_path):
    write_clip(tmp_path / "a.mp4", 40, fps=30)
    (tmp_path / "l.jsonl").write_text(
        '\n{"video": "a.mp4", "segments": [{"start": 1, "end": 9, "label": "x", "score": 0.5}]}\n'
    )
    catalog = scan(tmp_path / "l.jsonl", workers=0)
    [problem], [record] = catalog.problems, catalog.records
    assert problem.reason.startswith("line 2: the segment 'x' from 1 to 9 s passes the video's end")
    [segment] = record.segments
    assert segment.score == 0.5 and segment.end == pytest.approx(4 / 3)
