"""List files of UCF101 and HMDB51 read as labels and splits, wherever they lie."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nexus.jobs.opening as opening
from nexus.data.catalog.catalog import scan
from nexus.data.catalog.sources import Entry, find_entries
from nexus.data.catalog.split_lists import find_lists, read_lists
from nexus.errors import DataError

CLASSES = "1 ApplyLipstick\n2 HandstandPushups\n"
TRAIN = (
    "ApplyLipstick/v_ApplyLipstick_g08_c01.avi 1\n"
    "HandstandPushups/v_HandStandPushups_g08_c01.avi 2\n"
)
TEST = (
    "ApplyLipstick/v_ApplyLipstick_g01_c01.avi\r\n"
    "HandstandPushups/v_HandStandPushups_g01_c01.avi\r\n"
)
UCF = {
    "ApplyLipstick/v_ApplyLipstick_g08_c01.avi": ("train", "ApplyLipstick"),
    "HandstandPushups/v_HandStandPushups_g08_c01.avi": ("train", "HandstandPushups"),
    "ApplyLipstick/v_ApplyLipstick_g01_c01.avi": ("test", "ApplyLipstick"),
    "HandstandPushups/v_HandStandPushups_g01_c01.avi": ("test", "HandstandPushups"),
}
HMDB = {
    "brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi": ("train", "brush_hair"),
    "brush_hair/#20_Rhythm & (a)!_brush_hair_0.avi": ("test", "brush_hair"),
    "wave/one wave.avi": ("test", "wave"),
    "wave/two.avi": (None, None),
    "wave/three.avi": ("train", "wave"),
}  # fmt: skip


def ucf_lists(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classInd.txt").write_text(CLASSES)
    (folder / "trainlist01.txt").write_text(TRAIN)
    (folder / "testlist01.txt").write_bytes(TEST.encode())
    # The second division swaps the two.
    (folder / "trainlist02.txt").write_text(TEST)
    (folder / "testlist02.txt").write_text(TRAIN)
    return folder


def hmdb_lists(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    flags = {None: 0, "train": 1, "test": 2}
    for name in ("brush_hair", "wave"):
        lines = [
            f"{key.partition('/')[2]} {flags[split]} \n"
            for key, (split, _) in HMDB.items()
            if key.startswith(name)
        ]
        (folder / f"{name}_test_split1.txt").write_text("".join(lines))
    return folder


def lay(root: Path, keys) -> Path:
    for key in keys:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).touch()
    return root


def told(entries: list[Entry], strip: str = "") -> dict:
    return {
        entry.key.removeprefix(strip): (entry.split, entry.labels.get("class")) for entry in entries
    }


@pytest.mark.parametrize(
    "place", ["videos/lists", "videos", "ucfTrainTestlist", "annotations", "."]
)
def test_lists_in_and_beside_the_videos(tmp_path, place):
    videos = lay(tmp_path / "ucf/videos", UCF)
    lists = ucf_lists(tmp_path / "ucf" / place)
    assert told(find_entries(videos)) == UCF
    if not place.startswith("videos"):
        assert told(find_entries(tmp_path / "ucf"), "videos/") == UCF
    assert find_lists(videos).folder.resolve() == lists.resolve()  # type: ignore[union-attr]
    assert set(told(find_entries(videos, "plain_folder")).values()) == {(None, None)}
    swapped = {key: ({"train": "test", "test": "train"}[s], c) for key, (s, c) in UCF.items()}
    assert told(find_entries(videos, {"kind": "folder", "split": 2})) == swapped
    assert told(find_entries(lists / "trainlist01.txt")) == UCF
    assert told(find_entries(lists / "testlist02.txt")) == swapped


def test_hmdb51_has_videos_of_neither_split(tmp_path):
    videos = lay(tmp_path / "hmdb51_org", HMDB)
    lists = hmdb_lists(tmp_path / "testTrainMulti_7030_splits")
    assert told(find_entries(videos)) == HMDB
    assert told(find_entries(lists / "wave_test_split1.txt")) == HMDB


def test_files_may_have_another_ending_and_lie_flat(tmp_path):
    converted = {str(Path(key).with_suffix(".mp4")): what for key, what in UCF.items()}
    lists = ucf_lists(tmp_path / "lists")
    assert told(find_entries(lay(tmp_path / "videos", converted))) == converted
    assert told(find_entries(lists / "trainlist01.txt")) == converted
    flat = {Path(key).name: what for key, what in UCF.items()}
    assert told(find_entries(lay(tmp_path / "flat", flat))) == flat


def test_a_listed_video_that_is_not_there_is_named_by_the_list_alone(tmp_path):
    lists = ucf_lists(tmp_path / "lists")
    some = list(UCF)[:3]
    videos = lay(tmp_path / "videos", some)
    assert list(told(find_entries(videos))) == sorted(some)
    problems = scan(lists / "trainlist01.txt", workers=0).problems
    assert {Path(one.path).name: one.kind for one in problems}[Path(list(UCF)[3]).name] == "missing"


def test_videos_of_no_list_have_no_label(tmp_path):
    ucf_lists(tmp_path)
    found = told(find_entries(lay(tmp_path / "videos", [*UCF, "ApplyLipstick/mine.avi"])))
    assert found.pop("ApplyLipstick/mine.avi") == (None, None) and found == UCF
    other = ["jump/a.avi", "jump/b.avi", "run/a.avi", "run/c.avi"]
    assert told(find_entries(lay(tmp_path / "others", other)))["run/a.avi"] == (None, "run")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("trainlist01.txt", "v_loose.avi 1\n", r"trainlist01.txt: line 1: expected CLASS/NAME"),
        ("trainlist01.txt", "ApplyLipstick/v.avi 2\n", "class 2 is 'HandstandPushups' in classInd"),
        ("trainlist01.txt", "ApplyLipstick/v.avi 7\n", "class 7 is 'none' in classInd.txt"),
        ("classInd.txt", "1 a\nb\n", "classInd.txt: line 2: expected a number and a class"),
        ("wave_test_split1.txt", "a.avi 3\n", "expected NAME and 0, 1 .train. or 2 .test., got"),
        ("wave_test_split1.txt", "a.avi\n", "expected NAME and 0, 1"),
        ("testlist01.txt", b"\xff\xfe", "testlist01.txt: cannot be read"),
    ],
)
def test_lines_that_cannot_be_understood_are_named(tmp_path, file, text, message):
    if not file.startswith("wave"):
        ucf_lists(tmp_path)
    (tmp_path / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message):
        find_entries(lay(tmp_path / "videos", UCF))


def test_lists_that_are_not_whole_are_refused(tmp_path):
    lists = ucf_lists(tmp_path / "lists")
    (lists / "testlist01.txt").unlink()
    with pytest.raises(DataError, match=r"lacks lists of the split 1; it has testlist02.txt, tra"):
        read_lists(lists, 1)
    with pytest.raises(DataError, match="lacks lists of the split 3"):
        find_entries(lay(tmp_path / "videos", UCF), {"kind": "folder", "split": 3})
    with pytest.raises(DataError, match="are not there; expected class folders such as ApplyLip"):
        find_entries(ucf_lists(tmp_path / "alone/lists") / "trainlist01.txt")


@given(
    st.dictionaries(
        st.text("abc #&(!", min_size=1, max_size=6).map(str.strip).filter(bool),
        st.sampled_from([0, 1, 2]),
        min_size=1,
    )
)
def test_any_name_comes_back(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("names")
    lines = [f"{name}.avi {flag}\n" for name, flag in names.items()]
    (folder / "wave_test_split1.txt").write_text("".join(lines))
    rows = read_lists(folder, 1).rows
    assert {row.name: row.split for row in rows} == {
        f"{name}.avi": {0: None, 1: "train", 2: "test"}[flag] for name, flag in names.items()
    }


def test_what_was_taken_is_said(tmp_path, clips, capsys):
    video = (clips / "a.mp4").read_bytes()
    videos = lay(tmp_path / "videos", UCF)
    for key in UCF:
        (videos / key).write_bytes(video)
    ucf_lists(tmp_path)
    opening.read_videos(videos)
    note = " ".join(capsys.readouterr().err.split())
    assert f"the lists in {tmp_path} (split 1 of 2) were taken for 2 classes" in note
    assert "the splits test (2), train (2)" in note and "naming its list" in note
