"""Lists of videos: segments, splits and labels as written, and rows that cannot be understood."""

from pathlib import Path

import pytest
from odd_videos import (
    write_variable_rate,
)

from nexus.data.catalog.catalog import scan
from nexus.data.videos.pyav import PyAVDecoder
from nexus.errors import DataError


def write_list(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_list_with_splits_segments_and_labels(clips):
    source = write_list(
        clips / "list.csv",
        "\ufeffpath,split,start,end,direction,note\n"
        'a.mp4,train,,,north,"one, two"\n'
        "sub/b.mp4,VAL,0.5,1.0,south,\n"
        "\n"
        "sub/b.mp4,test,1,,north,\n"
        f"{clips}/a.mp4,,,0.2,east,\n",
    )
    catalog = scan(source, workers=0)
    first, second, third, fourth = catalog.records
    assert first.labels == {"direction": "north", "note": "one, two"}
    assert second.labels == {"direction": "south"}
    assert [record.split for record in catalog.records] == ["train", "validation", "test", None]
    assert [record.key for record in catalog.records] == [
        "a.mp4",
        "sub/b.mp4[0.5-1]",
        "sub/b.mp4[1-]",
        f"{clips}/a.mp4",
    ]
    assert (second.start, second.end, second.num_frames) == (0.5, 1.0, 40)
    assert second.duration == pytest.approx(0.5)
    assert (third.start, third.end, third.duration) == (1.0, None, pytest.approx(1 / 3))
    assert fourth.path == clips / "a.mp4" and fourth.duration == pytest.approx(0.2)
    assert catalog.total_seconds == pytest.approx(4 / 3 + 0.5 + 1 / 3 + 0.2)
    assert {one.labels["direction"] for one in catalog.records} == {"east", "north", "south"}
    assert [record.key for record in catalog.select("validation").records] == ["sub/b.mp4[0.5-1]"]
    assert catalog.select() is catalog
    with pytest.raises(DataError, match=r"split 'valid'.*none, test, train, validation"):
        catalog.select("valid")


def test_segments_and_the_frames_they_hold(clips):
    write_variable_rate(clips / "vfr.mp4", 60)
    source = write_list(
        clips / "list.jsonl",
        '{"video": "a.mp4", "start": 0.1, "end": 0.2, "clip": 7, "tags": ["x"], "ok": true}\n'
        '{"video": "a.mp4", "start": 0.1, "end": 9}\n'
        '{"video": "a.mp4", "start": 5}\n'
        '{"video": "vfr.mp4", "start": 0.0, "end": 0.5}\n'
        '{"video": "a.mp4"}\n{"video": "a.mp4"}\n'
        '{"video": "lost.mp4"}\n',
    )
    catalog = scan(source, workers=0)
    assert [record.key for record in catalog.records] == [
        "a.mp4[0.1-0.2]",
        "a.mp4[0.1-9]",
        "vfr.mp4",
        "a.mp4",
        "a.mp4#2",
    ]
    assert catalog.records[0].labels == {"clip": "7", "tags": '["x"]', "ok": "true"}
    assert catalog.records[1].end == pytest.approx(4 / 3)
    reasons = [(Path(p.path).name, p.kind, p.reason) for p in catalog.problems]
    assert ("lost.mp4", "missing", "no such file") in reasons
    assert any(kind == "odd" and "ends at 9 s" in reason for _, kind, reason in reasons)
    assert ("a.mp4", "too_short", "segment a.mp4[5-]: 0 frames; at least 1 are needed") in reasons
    # 30 a second: frames 3, 4 and 5 appear within [0.1, 0.2).
    assert len(scan(source, workers=0, min_frames=3).records) == 5
    counts = PyAVDecoder().timestamps(clips / "vfr.mp4") < 0.5 - 1e-6
    for least, kept in ((4, True), (int(counts.sum()), True), (int(counts.sum()) + 1, False)):
        keys = [record.key for record in scan(source, workers=0, min_frames=least).records]
        assert ("vfr.mp4" in keys) == kept
        assert "a.mp4[0.1-0.2]" not in keys


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.csv", "file,label\na.mp4,x\n", r"line 1: no column `path`.*file, label"),
        ("l.csv", "", r"line 1: no column `path`"),
        ("l.csv", "path,x,x\na.mp4,1,2\n", r"line 1: column `x` appears more than once"),
        ("l.csv", "path,label\na.mp4,x\na.mp4\n", r"line 3: 1 columns, the first line has 2"),
        ("l.csv", "path,label\n,x\n", r"line 2: `path` is empty"),
        ("l.csv", "path,start\na.mp4,soon\n", r"line 2: `start` is 'soon'; expected seconds"),
        ("l.csv", "path,start\na.mp4,-1\n", r"line 2: `start` is '-1'"),
        ("l.csv", "path,start,end\na.mp4,2,1\n", r"line 2: `end` \(1\) must be later"),
        ("l.csv", "path,split\na.mp4,some\n", r"line 2: `split` is 'some'; expected train"),
        ("l.csv", 'path\n"a\nb.mp4\n', r"line \d: "),
        ("l.csv", "path\n", r"no videos found"),
        ("l.tsv", "path\tsplit\na.mp4\tno\n", r"line 2: `split` is 'no'"),
        ("l.jsonl", '{"path": "a.mp4"}\n{"path"\n', r"line 2: not JSON"),
        ("l.jsonl", '["a.mp4"]\n', r"line 1: expected an object"),
        ("l.jsonl", '{"file": "a.mp4"}\n', r"line 1: no `path`.*file"),
        ("l.jsonl", '{"path": 3}\n', r"line 1: `path` is not text"),
    ],
)
def test_lists_that_cannot_be_understood(tmp_path, name, text, message):
    with pytest.raises(DataError, match=message):
        scan(write_list(tmp_path / name, text))


def test_all_bad_rows_are_named_up_to_ten(tmp_path):
    rows = "".join("a.mp4,nosplit\n" for _ in range(12))
    with pytest.raises(DataError) as caught:
        scan(write_list(tmp_path / "l.csv", f"path,split\n{rows}"))
    assert str(caught.value).count("line ") == 10
    assert str(caught.value).endswith("... and 2 more")
