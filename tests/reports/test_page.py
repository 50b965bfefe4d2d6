"""The page: complete, escaped, self-contained, and calm about what is missing or broken."""

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from run_builder import Builder, journal_rows, probe_rows, run_info, table_of, write_run

from nexus.errors import RunError
from nexus.reports.facts import resume_command
from nexus.reports.page import write_report, write_study_report
from nexus.runs.read import read_run

VOID = {"meta", "img", "br", "link", "input", "hr"}
EVERYTHING = ("recipe", "problems", "probes", "horizon", "pca")


class Page(HTMLParser):
    """A page as tables, ids, attributes and text; complains about tags that do not nest."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.words: list[str] = []
        self.feed(self.source)
        self.close()
        assert self.stack == [], "every tag is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        if tag in VOID:
            return
        self.stack.append(tag)
        if tag == "table":
            self.rows = self.tables.setdefault(found["class"], [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.stack:
            self.words.append(data)
        if "td" in self.stack or "th" in self.stack:
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return re.sub(r"[ \n]+", " ", " ".join(self.words))

    def ids(self) -> list[str]:
        return [found["id"] for _, found in self.tags if "id" in found]


def page(run: Path) -> Page:
    return Page(write_report(run))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of a run that holds everything."""
    return page(write_run(tmp_path_factory.mktemp("whole") / "toy-small"))


def test_every_number_of_the_probe_table_comes_from_the_file(whole: Page) -> None:
    """The grid is compared with numbers formatted here, straight from the JSON."""
    rows = probe_rows()
    head, *body = whole.tables["overview"]
    shown = {
        (line[0], column): cell
        for line in body
        for column, cell in zip(head[1:], line[1:], strict=True)
    }
    assert len(rows) == 24
    for row in rows:
        low, high = (f"{100 * end:.1f}" for end in row["ci95"])
        column = f"{row['task']}{row['probe']}"
        cell = shown.pop((row["arm"], column)).removeprefix("≈ ")
        assert cell == f"{100 * row['mean']:.1f}{low} to {high}"
        assert shown.get(("chance", column), f"{100 * row['chance']:.1f}") == (
            f"{100 * row['chance']:.1f}"
        )
    assert {arm for arm, _ in shown} == {"chance"}, "and nothing else stands in the table"


def test_every_row_and_every_seed_stands_in_the_long_table(whole: Page) -> None:
    rows = probe_rows()
    _, *body = whole.tables["full"]
    for row, cells in zip(rows, body, strict=True):
        assert cells[:3] == [row["task"], row["probe"], row["arm"]]
        assert cells[3] == f"{100 * row['mean']:.1f}\u202f%"
        values = ", ".join(
            f"{100 * v:.1f} (seed {s})" for v, s in zip(row["values"], row["seeds"], strict=True)
        )
        assert cells[6] == values
        assert cells[7] == "800 / 200 / 400"


@pytest.mark.parametrize("full", [True, False])
def test_the_page_refers_to_nothing_outside_itself(whole: Page, build: Builder, full: bool) -> None:
    made = whole if full else page(build(parts=(), journal=[]))
    for tag, found in made.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "use"} or (
            tag == "use" and found["href"].startswith("#")
        )
        for name in ("src", "href", "srcset", "action", "poster", "data", "background"):
            assert re.match(r"#|data:image/(png|jpeg);base64,|$", found.get(name, ""))
        assert all(ref.startswith("#") for ref in re.findall(r"url\(([^)]*)\)", str(found)))
    assert not re.search(r"https?:|@import|//[a-z]+\.", made.source)
    policy = next(found for _, found in made.tags if "http-equiv" in found)["content"]
    assert policy.startswith("default-src 'none'")


def test_ids_are_unique_and_every_reference_meets_one(whole: Page) -> None:
    made = whole
    assert [name for name, times in Counter(made.ids()).items() if times > 1] == []
    wanted = {found["href"][1:] for _, found in made.tags if found.get("href", "").startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]*)\)", made.source))
    assert wanted <= set(made.ids())
    assert {"worth", "loss", "health", "features", "horizon", "files"} <= wanted


def test_every_picture_says_what_it_shows(whole: Page) -> None:
    made = whole
    plots = [found for tag, found in made.tags if tag == "svg"]
    assert len(plots) >= 14
    assert all(found["role"] == "img" and len(found["aria-label"]) > 40 for found in plots)
    loss = next(p["aria-label"] for p in plots if p["aria-label"].startswith("Training loss"))
    rows = journal_rows()
    assert f"total from {rows[0]['loss']:.3g} at step 10 to {rows[-1]['loss']:.3g}" in loss


def test_the_page_is_small(build: Builder) -> None:
    long_run = build(journal=journal_rows(steps=200_000, every=10))
    assert write_report(long_run).stat().st_size < 1_500_000


def test_the_same_files_give_the_same_page(whole: Page, build: Builder) -> None:
    """But for the folder's own path and name."""
    run = build(name="toy-small")
    told = re.compile(r"[\w./-]+/toy-small")
    assert told.sub("RUN", page(run).source) == told.sub("RUN", whole.source)


NASTY = "<script>alert(1)</script> & \"quoted\" 'x' $\\frac$ {{ 7*7 }}"


def test_names_from_files_are_shown_and_never_run(build: Builder, tmp_path: Path) -> None:
    rows = probe_rows({NASTY: (0.6, 0.5), "random init": (0.2, 0.3)})
    rows[0]["task"] = NASTY
    bad = [{"path": NASTY, "kind": NASTY, "reason": NASTY, "fatal": True, "stage": NASTY}]
    info = run_info(status="failed", error=NASTY, command=NASTY, recipe=NASTY)
    info["environment"]["cpu"] = info["data"]["source"] = NASTY
    info["data"]["labels"] = {NASTY: {NASTY: 3}}
    journal = journal_rows(steps=10)
    journal[-1]["health_reason"] = NASTY
    run = build(name="a <b>run</b> & more", rows=rows, bad=bad, info=info, journal=journal)
    (run / "recipe.yaml").write_text(f"note: {NASTY}\n")
    made = page(run)
    assert not {"script", "b"} & {tag for tag, _ in made.tags}
    assert made.tables["files"][1][0] == NASTY
    assert made.tables["overview"][1][0] == NASTY
    assert made.text.count("{{ 7*7 }}") > 10
    study = Page(
        write_study_report(table_of(rows), tmp_path / "s.html", title=NASTY, command=NASTY)
    )
    assert "script" not in {tag for tag, _ in study.tags}


def test_missing_parts_are_said_with_the_command_that_makes_them(build: Builder) -> None:
    run = build(name="my run", journal=[], parts=(), info=run_info(status="running", steps_done=0))
    text = page(run).text
    assert "No probe has been run on these features yet" in text
    assert text.count(f"nexus probe '{run}'") == 1
    assert text.count("--out runs/toy --resume") == 3  # at the top, for colours, for the horizon
    assert "No step has been logged yet" in text
    assert "nexus check 'toy world/labels.csv'" in text
    assert "The run holds no recipe.yaml" in text


def test_a_run_that_was_planned_says_what_was_chosen(build: Builder) -> None:
    plan = {"lines": ["clips of 2 s", "a model", "9 steps"], "objections": "too <few> videos"}
    page = Page(write_report(build(info=run_info(plan=plan))))
    for words in (*plan["lines"], plan["objections"]):
        assert words in page.text
    assert ", as chosen" not in Page(write_report(build("other", info=run_info()))).text


def test_a_run_on_unlabelled_videos_is_told_to_bring_labels(build: Builder) -> None:
    info = run_info()
    info["data"]["labels"] = {}
    run = build(parts=(), info=info, journal=[])
    assert f"nexus probe {run} LABELLED.csv --label COLUMN" in page(run).text


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("nexus pretrain v --out r", "nexus pretrain v --out r --resume"),
        ("nexus pretrain v --out r --resume", "nexus pretrain v --out r --resume"),
        ("nexus pretrain v --no-report --out r", "nexus pretrain v --out r --resume"),
        ("nexus demo --out d --seed 0", "nexus demo --out d --seed 0"),
        ("", "nexus pretrain 'toy world/labels.csv' --recipe RUN/recipe.yaml --out RUN --resume"),
    ],
)
def test_how_to_go_on_fits_the_command_that_started_it(
    build: Builder, command: str, told: str
) -> None:
    run = build(parts=(), journal=[], info=run_info(command=command, status="interrupted"))
    assert resume_command(read_run(run)) == told.replace("RUN", str(run))


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("recipe", "The run holds no recipe.yaml"),
        ("problems", "The run wrote no list of bad files"),
        ("probes", "No probe has been run"),
        ("horizon", "has not been measured yet"),
        ("pca", "have not been coloured yet"),
    ],
)
def test_each_part_may_be_missing_alone(
    whole: Page, build: Builder, missing: str, words: str
) -> None:
    parts = tuple(part for part in EVERYTHING if part != missing)
    assert words in page(build(parts=parts, journal=[])).text
    assert words not in whole.text


def test_a_run_of_damaged_files_still_has_a_page(build: Builder) -> None:
    run = build()
    files = [file for file in run.rglob("*") if file.is_file()]
    for file in files:
        file.write_bytes(b"\xff\xfe{")
    made = page(run)
    for file in files:
        assert file.name in made.text or file.name == "journal.jsonl"
    assert made.text.count("could not be read and is left out") == len(files) - 1
    assert "breaks off in line 1" in made.text


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("finished", "Finished 2\u202f000 steps in 7 min 43 s, 64\u202f000 clips seen."),
        ("interrupted", "Interrupted Stopped at step 2\u202f000 of 2\u202f000 after 7 min 43 s."),
        (
            "failed",
            "Failed It broke off at step 2\u202f000 of 2\u202f000 after 7 min 43 s. No disk.",
        ),
        ("running", "still at work, or killed"),
    ],
)
def test_how_the_run_ended_is_said_first(build: Builder, status: str, words: str) -> None:
    error = "no disk" if status == "failed" else None
    text = page(build(info=run_info(status=status, error=error), journal=[], parts=())).text
    assert words in text
    resumed = "To go on where it stopped" in text
    assert resumed == (status != "finished")


def test_bad_files_are_all_named_or_none_is_said(whole: Page, build: Builder) -> None:
    made = whole
    names = [row[0] for row in made.tables["files"][1:]]
    assert len(names) == 7
    assert "Überraschung ñ/3 frames.mp4" in names
    assert made.tables["files"][7][-2:] == ["14", "left out"]
    assert made.tables["files"][6][-1] == "still used"
    assert "None: every file" in page(build(bad=[], journal=[], parts=("problems",))).text


def test_a_file_name_that_is_no_unicode_is_shown(build: Builder) -> None:
    bad = [{"path": "caf\udce9.mp4", "kind": "truncated", "reason": "", "fatal": True}]
    assert page(build(bad=bad, journal=[], parts=("problems",))).tables["files"][1][0] == "caf?.mp4"


def test_the_limits_that_the_run_was_judged_by_are_drawn(whole: Page, build: Builder) -> None:
    made = whole
    assert "collapsing below 12\u202f%" in made.source
    assert "collapsed below 5\u202f%" in made.source
    assert "collapsed below 1.5" in made.source
    info = run_info(health_thresholds={})
    assert "collapsing below" not in page(build(info=info, parts=())).source


def test_every_axis_has_a_unit(whole: Page) -> None:
    for figure in re.findall(r"<svg.*?</svg>", whole.source, re.DOTALL):
        told = re.findall(r"<text[^>]*>([^<]*)</text>", figure)
        assert set(told) & {"optimizer step", "seconds ahead", "accuracy, %"}, told


def test_out_names_another_file(build: Builder, tmp_path: Path) -> None:
    run = build(parts=(), journal=[])
    assert write_report(run, tmp_path / "pages/x.html") == tmp_path / "pages/x.html"
    assert (tmp_path / "pages/x.html").exists()
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_that_is_no_run_is_an_error_that_says_so(tmp_path: Path, made: bool) -> None:
    folder = tmp_path / "nothing"
    if made:
        folder.mkdir()
    with pytest.raises(RunError, match=r"nothing .*expected a run directory"):
        write_report(folder)


def test_a_study_page_holds_rows_plots_and_markdown(tmp_path: Path) -> None:
    results = table_of(probe_rows()).with_changes(notes=("weights chosen on validation",))
    made = Page(
        write_study_report(
            results, tmp_path / "study.html", title="Toy", command="nexus study toy", machine="m1"
        )
    )
    assert len(made.tables["full"]) == 25
    assert "weights chosen on validation" in made.text
    assert "| V-JEPA |" in made.text
    assert sum(tag == "svg" for tag, _ in made.tags) == 2
    with pytest.raises(RunError, match="no rows"):
        write_study_report(table_of([]), tmp_path / "none.html")


def test_single_values_and_missing_intervals_are_drawn(build: Builder) -> None:
    """One seed, no interval, no chance, another metric, an arm that was not asked everything."""
    rows = [
        {"arm": "this run", "task": "speed", "probe": "ridge", "metric": "r2", "values": [0.84],
         "mean": 0.84, "ci95": None},
        {"arm": "random init", "task": "speed", "probe": "ridge", "metric": "r2", "values": [-0.09],
         "mean": -0.09, "ci95": None, "chance": 0.0},
        {"arm": "this run", "task": "shape", "probe": "linear", "values": [], "mean": None},
    ]  # fmt: skip
    made = page(build(rows=rows, journal=journal_rows(steps=10)))
    assert made.tables["overview"][1] == ["this run", "0.84", "–"]
    assert made.tables["overview"][2] == ["random init", "−0.09", "–"]
    assert "0.93 above random init" in made.text
    assert "no intervals" in made.text


def test_numbers_that_are_not_finite_leave_gaps(build: Builder) -> None:
    rows = journal_rows(steps=200)
    for row in rows[3:9]:
        row["loss"] = float("nan")
        row["context_rank"] = None
    rows[5]["prediction_loss"] = float("inf")
    made = page(build(journal=rows, parts=()))
    assert "NaN" not in made.source
    assert ">nan<" not in made.source
