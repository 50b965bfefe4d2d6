"""Each thing that is wrong with recordings is told, all of them in one pass, in words."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_episodes import LENGTHS, write_by_hand, write_made

from nexus.cli.main import run
from nexus.data.episodes.checking import check_episodes
from nexus.data.episodes.opening import open_episodes
from nexus.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """Five episodes in three groups, two in each but the last."""
    return write_made(tmp_path / "set", LENGTHS, group_episodes=2)


def change_column(path, name, change):
    """Rewrite a column of a Parquet file; `change` is given its numbers as an array."""
    table = pq.read_table(path)
    place = table.schema.get_field_index(name)
    values = np.array(table[name].to_pylist())
    change(values)
    column = pa.array(values.tolist(), table.schema.field(name).type)
    pq.write_table(table.set_column(place, name, column), path)


def data(folder, group):
    return folder / f"data/chunk-000/file-{group:03d}.parquet"


def rows(folder, group):
    return folder / f"meta/episodes/chunk-000/file-{group:03d}.parquet"


def told(folder):
    return [(one.episode, one.kind) for one in check_episodes(folder).problems]


def reason(folder):
    [problem] = check_episodes(folder).problems
    return str(problem)


def test_a_good_folder_has_no_problems(folder):
    checked = check_episodes(folder)
    assert checked.problems == () and checked.usable == (0, 1, 2, 3, 4)


def test_a_missing_video(folder):
    [video] = {open_episodes(folder).storage.rows[2].videos["top"].path}
    (folder / video).unlink()
    assert told(folder) == [(2, "missing_video"), (3, "missing_video")]
    first = check_episodes(folder).problems[0]
    assert str(first) == f"episode 2: camera 'top': its video {video} is missing"
    with pytest.raises(DataError, match=r"2 problems; `nexus check` shows all\n  - episode 2: cam"):
        open_episodes(folder)


def test_a_truncated_table(folder):
    path = data(folder, 1)
    path.write_bytes(path.read_bytes()[:-20])
    assert told(folder) == [(2, "unreadable"), (3, "unreadable")]
    text = str(check_episodes(folder).problems[0])
    assert f"{path} cannot be read as Parquet" in text and "was its writing cut off?" in text
    episodes = open_episodes(folder)
    assert len(episodes.actions(0)) == LENGTHS[0]
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        episodes.actions(3)


def test_a_truncated_table_of_episodes(folder):
    path = rows(folder, 1)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert told(folder) == [(None, "unreadable"), (None, "missing_episode")]
    assert check_episodes(folder).problems[1].reason.endswith("lacks 2 of them: 2, 3")


def test_a_value_that_is_not_a_number(folder):
    def spoil(values):
        values[LENGTHS[0] + 3, 0] = np.nan

    change_column(data(folder, 0), "action", spoil)
    text = "action dimension 'x' is nan at step 3 (1 of 7 values are not finite)"
    assert reason(folder) == f"episode 1: {text}"
    with pytest.raises(DataError, match="episode 1: action dimension 'x' is nan at step 3"):
        open_episodes(folder).actions(1)


def test_a_wrong_rate(folder):
    def spoil(values):
        values[: LENGTHS[2]] /= 3

    change_column(data(folder, 1), "timestamp", spoil)
    assert reason(folder) == (
        "episode 2: its step 1 is at 0.0333 s, and at 0.1000 s by the rate of 10 steps a second; "
        "its steps are 0.03333 s apart (30 a second)"
    )


def test_a_video_of_another_rate(tmp_path):
    """As many frames as steps, and not at their times."""
    from odd_videos import write_clip

    folder = write_by_hand(tmp_path / "set")
    write_clip(
        folder / "videos/observation.images.top/chunk-000/file-001.mp4", 6, fps=25, b_frames=0
    )
    assert reason(folder) == (
        "episode 2: camera 'top': its frame 1 is at 0.0400 s, and at 0.1000 s by the rate of 10 "
        "steps a second; its frames are 0.04 s apart (25 a second)"
    )


def test_an_index_that_is_there_twice(folder):
    def spoil(values):
        values[0] = 1

    change_column(rows(folder, 1), "episode_index", spoil)
    problems = check_episodes(folder).problems
    assert [(one.episode, one.kind) for one in problems] == [
        (1, "duplicate_episode"),
        (None, "missing_episode"),
    ]
    assert problems[0].reason.endswith(
        "second row of this index in " + str(rows(folder, 1).relative_to(folder))
    )
    with pytest.raises(DataError, match="episode 1: there is a second row"):
        open_episodes(folder)


def test_a_table_longer_than_its_video(folder):
    """The last episode's table goes on where its video ends."""
    table = pq.read_table(data(folder, 2))
    more = table.slice(LENGTHS[4] - 1).to_pylist()
    more[0]["frame_index"] += 1
    more[0]["timestamp"] += 0.1
    longer = pa.concat_tables([table, pa.Table.from_pylist(more, table.schema)])
    pq.write_table(longer, data(folder, 2))
    assert told(folder) == [(4, "length"), (4, "video_length")]
    first, second = map(str, check_episodes(folder).problems)
    assert first == "episode 4: the table of episodes says 3 steps, its own table has 4"
    assert second == (
        "episode 4: camera 'top': the table is longer: 4 steps in the table, 3 frames in the video"
    )
    with pytest.raises(DataError, match="has 4 steps; the table of episodes says 3"):
        open_episodes(folder).actions(4)


@pytest.mark.parametrize("episode", [2, 3])
def test_a_video_longer_than_its_table(folder, episode):
    """In the middle of a file and at its end."""
    keep = [i for i in (2, 3) for _ in range(LENGTHS[i])]
    last = max(place for place, one in enumerate(keep) if one == episode)
    table = pq.read_table(data(folder, 1))
    pq.write_table(pa.concat_tables([table.slice(0, last), table.slice(last + 1)]), data(folder, 1))

    def spoil(values):
        values[episode - 2] -= 1

    change_column(rows(folder, 1), "length", spoil)
    steps = LENGTHS[episode]
    assert reason(folder) == (
        f"episode {episode}: camera 'top': the video is longer: {steps - 1} steps in the table, "
        f"{steps} frames in the video"
    )


def test_a_video_that_breaks_off(tmp_path):
    """The file holds fewer frames than the tables of two episodes say."""
    from odd_videos import draw_number, write_clip

    folder = write_by_hand(tmp_path / "set")
    path = folder / "videos/observation.images.hand/chunk-000/file-000.mp4"
    path.unlink()
    write_clip(path, fps=10, gop=2, b_frames=0, pictures=[draw_number(i) for i in range(9)])
    assert [str(one) for one in check_episodes(folder).problems] == [
        "episode 1: camera 'hand': the table is longer: 7 steps in the table, 4 frames in the "
        "video",
        "episode 2: camera 'hand': the table is longer: 6 steps in the table, 0 frames in the "
        "video",
    ]
    path.write_bytes(b"no video")
    problems = check_episodes(folder).problems
    assert {(one.episode, one.kind) for one in problems} == {(i, "unreadable") for i in range(3)}
    assert "file-000.mp4: cannot be opened as video" in problems[0].reason


def test_a_dimension_that_never_changes(folder):
    def spoil(values):
        values[:, 1] = 2.5

    for group in range(3):
        change_column(data(folder, group), "observation.state", spoil)
    [problem] = check_episodes(folder).problems
    assert (problem.episode, problem.kind, problem.fatal) == (None, "constant", False)
    assert problem.reason == (
        "state dimension 'py' is 2.5 in every step of every episode: nothing can be learned from it"
    )


def test_a_dimension_in_another_unit_than_the_stored_spread(folder):
    def spoil(values):
        values[: LENGTHS[2], 2] *= 1000

    change_column(data(folder, 1), "observation.state", spoil)
    text = reason(folder)
    assert text.startswith("episode 2: state dimension 'angle' lies ")
    assert "times the spread of the stored statistics away" in text


def test_a_dimension_in_another_unit_than_the_other_episodes(folder):
    """Where the stored statistics are those of the mistake, or not there."""

    def spoil(values):
        values[: LENGTHS[2], 2] *= 1000

    change_column(data(folder, 1), "observation.state", spoil)
    (folder / "meta/stats.json").unlink()
    text = reason(folder)
    assert text.startswith("episode 2: state dimension 'angle' lies, or spreads, ")
    assert text.endswith("times as far as in the other episodes; another unit?")


def test_bounds_that_are_left(folder):
    def spoil(values):
        values[1, 0] = 1.5

    change_column(data(folder, 2), "action", spoil)
    text = "action dimension 'x' is 1.5 at step 1, above its upper bound 1"
    assert reason(folder) == f"episode 4: {text}"


def test_steps_out_of_order(folder):
    def spoil(values):
        values[1] = 2

    change_column(data(folder, 2), "frame_index", spoil)
    assert reason(folder).endswith("episode 4: the steps (frame_index) are not 0 to 2 in order")


def test_nexus_check_lists_all_of_them_in_one_pass(folder, capsys, tmp_path):
    """Six mistakes in one folder: each is told, and none hides another."""

    def not_a_number(values):
        values[0, 0] = np.nan

    def other_rate(values):
        values[LENGTHS[0] :] *= 2

    change_column(data(folder, 0), "action", not_a_number)
    change_column(data(folder, 0), "timestamp", other_rate)
    path = data(folder, 1)
    path.write_bytes(path.read_bytes()[:-9])
    storage = open_episodes(folder).storage
    (folder / storage.rows[4].videos["top"].path).unlink()

    table = pq.read_table(rows(folder, 2))
    pq.write_table(table, folder / "meta/episodes/chunk-000/file-003.parquet")
    assert run(["check", str(folder), "--json", str(tmp_path / "told.json")]) == 1
    printed = capsys.readouterr().out
    for text in (
        "'x' is nan at step 0",
        "by the rate of 10 steps a second",
        "cannot be read as Parquet",
        "is missing",
        "second row of this index",
        "Nothing usable is left.",
    ):
        assert text in " ".join(printed.split()), text
    kinds = {
        (one["episode"], one["kind"])
        for one in json.loads((tmp_path / "told.json").read_text())["problems"]
    }
    assert kinds == {
        (0, "not_finite"),
        (1, "wrong_rate"),
        (2, "unreadable"),
        (3, "unreadable"),
        (4, "missing_video"),
        (4, "duplicate_episode"),
    }


def test_nexus_check_of_a_good_folder(folder, capsys):
    assert run(["check", str(folder), "--strict"]) == 0
    printed = capsys.readouterr().out
    assert "No problems found." in printed
    assert f"5, {sum(LENGTHS)} steps in all" in printed and "top 64x64" in printed
    assert "x, grip" in printed and "px, py, angle" in printed


def test_strict_makes_a_remark_an_error(folder):
    info = json.loads((folder / "meta/info.json").read_text())
    (folder / "meta/info.json").write_text(json.dumps(info | {"total_episodes": 4}))
    assert run(["check", str(folder)]) == 0
    assert run(["check", str(folder), "--strict"]) == 1


def test_nothing_that_opens_is_one_problem(tmp_path):
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/info.json").write_text("{")
    checked = check_episodes(tmp_path)
    assert checked.episodes is None and checked.usable == ()
    assert [one.kind for one in checked.problems] == ["unreadable"]
    assert run(["check", str(tmp_path)]) == 1


def test_a_reader_of_ones_own(tmp_path, capsys):
    path = tmp_path / "drives.numbers"
    path.write_text("0 1 2 3\n4 5 6\n7 nan 9\n")
    episodes = open_episodes(path, "made_episodes:NumbersReader")
    assert episodes.actions(1).tolist() == [[4], [5], [6]]
    assert run(["check", str(path), "--reader", "made_episodes:NumbersReader"]) == 0
    printed = capsys.readouterr().out
    assert "2, 7 steps in all" in printed and "'d0' is nan at step 1" in printed
