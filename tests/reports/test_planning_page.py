"""Page and table of a comparison of policies: complete, self-contained, and what they say."""

import base64

import pytest
from test_page import Page

from nexus.reports.control_table import HEADINGS, control_markdown, headline
from nexus.reports.planning import write_planning_report
from nexus.runs.control import ControlEpisode, ControlTable, PolicyRow


def row(policy, role, reached, interval, **told):
    episodes = tuple(
        ControlEpisode(seed=seed, steps=5, success_at_end=seed < reached) for seed in range(100)
    )
    numbers = {"steps_to_success": 7.5, "final_distance": 0.0312, "ms": 41.8, "ms_95": 60.2}
    return PolicyRow(
        policy=policy,
        role=role,
        count=100,
        successes_at_end=reached,
        successes_ever=min(100, reached + 4),
        interval_at_end=interval,
        interval_ever=interval,
        episodes=episodes,
        **(numbers | told),
    )


RANDOM = row("random actions", "random", 8, (0.04, 0.15), steps_to_success=None)
PICTURE = row("planner, picture alone", "picture", 90, (0.83, 0.94), dropped=3)
OWN = row("planner, proprioception alone", "proprioception", 20, (0.13, 0.29))
BOTH = row("planner, both", "both", 92, (0.85, 0.96))
ORACLE = row("planner in the true world", "oracle", 99, (0.95, 1.0))
STRIPED = row("planner, picture alone", "picture", 30, (0.22, 0.4), shift="background")


def table(*rows, **told):
    return ControlTable(environment="push", steps=40, rows=rows, **told)


@pytest.fixture
def page(tmp_path):
    film = b"RIFF" + bytes(40)
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.webp").write_bytes(film)
    filmed = PICTURE.with_changes(film="films/a.webp")
    lost = OWN.with_changes(film="films/lost.webp", policy="<script>alert(1)</script>")
    all_of_them = table(
        RANDOM, filmed, lost, BOTH, ORACLE, STRIPED, command="nexus plan <x>", notes=("a note",)
    )
    place = write_planning_report(all_of_them, tmp_path / "planning.html")
    assert base64.b64encode(film).decode() in place.read_text()
    return Page(place)


def test_the_page_is_one_file_without_a_script(page):
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "video"}
    assert not any(key.startswith("on") for _, found in page.tags for key in found)
    images = [found["src"] for tag, found in page.tags if tag == "img"]
    assert len(images) == 1 and images[0].startswith("data:image/webp;base64,")
    assert "http" not in page.source.replace("http-equiv", "")
    assert "&lt;script&gt;alert(1)" in page.source


def test_the_page_holds_every_row_the_note_and_the_command(page):
    lines = page.tables["full"]
    assert lines[0] == list(HEADINGS) and len(lines) == 7
    assert lines[1] == ["random actions", "8 [4 to 15]", "12", "–", "0.031", "42", "60", "100", "0"]
    assert lines[2][0] == "planner, picture alone" and lines[2][-1] == "3"
    assert lines[6][0] == "planner, picture alone, other background"
    assert "a note" in page.text and "nexus plan <x>" in page.text


def test_the_plot_has_a_bar_a_row(page):
    [plot] = [found for tag, found in page.tags if tag == "svg"]
    assert "random actions 8 % (4 to 15)" in plot["aria-label"]
    assert plot["aria-label"].count(";") == 5


def test_the_markdown_has_a_line_a_row_and_says_what_the_numbers_are():
    lines = control_markdown(table(RANDOM, PICTURE)).splitlines()
    assert lines[0].startswith("| policy | success at the end, % |") and len(lines) == 6
    assert (
        lines[3]
        == "| planner, picture alone | 90 [83 to 94] | 94 | 7.5 | 0.031 | 42 | 60 | 100 | 3 |"
    )
    assert "Wilson" in lines[5] and "40 steps" in lines[5]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            [PICTURE, OWN],
            "90 %, from proprioception alone 20 %: its success is owed to what it sees",
        ),
        (
            [PICTURE.with_changes(role="proprioception"), OWN.with_changes(role="picture"), BOTH],
            "from both 92 %: its success is owed to where its body is, not to what it sees",
        ),
        ([PICTURE, BOTH.with_changes(role="proprioception")], "a difference that these episodes"),
    ],
)
def test_it_says_whether_success_comes_from_the_picture(rows, words):
    assert words in headline(table(*rows))[0]


def test_it_says_who_is_best_and_holds_the_oracle_apart():
    told = headline(table(RANDOM, OWN, ORACLE))
    assert told[0] == (
        "The best is planner, proprioception alone: 20 % at the end, not clearly above random "
        "actions (8 %)."
    )
    assert told[1].startswith("The planner in the true world reaches 99 %")
    assert "clearly above random actions" in " ".join(headline(table(RANDOM, PICTURE)))
    assert headline(table(RANDOM)) == ["Knowing nothing reaches 8 % (random actions)."]


def test_it_names_the_shifts_that_a_policy_does_not_bear():
    borne = STRIPED.with_changes(shift="colours", successes_at_end=88, interval_at_end=(0.8, 0.93))
    told = headline(table(PICTURE, STRIPED, borne))
    fallen = [sentence for sentence in told if "falls" in sentence]
    assert fallen == ["planner, picture alone falls from 90 % to 30 % with other background."]
