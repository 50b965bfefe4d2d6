"""Tables, plots and films of the section on trust: what they say of numbers that are known."""

import base64
import io
import re

import numpy as np
from PIL import Image

from nexus.reports import trust
from nexus.reports.tables import numbers
from nexus.reports.verdict import verdict
from nexus.runs.read import RunFiles
from nexus.runs.schema import ModelInfo, RunInfo
from nexus.runs.world import (
    Measured,
    WorldActionRow,
    WorldErrorRow,
    WorldFilms,
    WorldLandscape,
    WorldPlaceRow,
    WorldRankRow,
    WorldReport,
    WorldVerdict,
)


def number(value, spread=0.1):
    return Measured(value=value, ci95=(value - spread, value + spread))


def error(steps):
    ratios = {"vs_copy": number(0.2 * steps), "vs_shuffled": number(0.3), "vs_mean": number(0.4)}
    return WorldErrorRow(
        steps=steps, seconds=steps / 10, error=number(0.05), training=0.04, **ratios
    )


REPORT = WorldReport(
    verdict=WorldVerdict(
        plan="no", fault="dynamics", sentence="Do not plan with this model.", flipped=("dy",)
    ),
    robot="arm",
    source="pushes",
    choice="4 episodes: held out from training of pushes",
    episodes=(9, 19, 29, 39),
    excerpts=12,
    candidates=64,
    errors=(error(1), error(2)),
    ranks=(
        WorldRankRow(steps=1, term="picture", rank=number(0.25), excerpts=12),
        WorldRankRow(steps=2, term="picture", rank=number(0.5), excerpts=12),
        WorldRankRow(steps=2, term="things", rank=number(0.4), excerpts=12),
    ),
    places=(
        WorldPlaceRow(
            name="x",
            unit="m",
            spread=0.3,
            perception=0.01,
            r2=0.987,
            dynamics=(0.02, 0.05),
            copied=(0.1, 0.2),
        ),
    ),
    actions=(
        WorldActionRow(name="dx", effect=number(0.9), reversed=number(3.0), inverse_r2=0.8),
        WorldActionRow(
            name="dy", unit="m", effect=number(-0.9), reversed=number(0.2), flipped=True
        ),
    ),
    landscapes=(
        WorldLandscape(
            episode=9,
            frame=3,
            names=("dx", "dy"),
            x=(-1.0, 0.0, 1.0),
            y=(-1.0, 0.0, 1.0),
            energy=((3.0, 2.0, 3.0), (2.0, 1.0, 2.0), (3.0, 2.0, 2.5)),
            true=(0.25, 0.5),
            best=(0.0, 0.0),
        ),
    ),
)


def test_tables_hold_the_numbers():
    lines = {table.name: lines for table, lines in trust.tables(REPORT)}
    assert lines["Error by how far ahead"][2] == (
        "2",
        "0.05",
        "0.40 (0.30 to 0.50)",
        "0.30 (0.20 to 0.40)",
        "0.40 (0.30 to 0.50)",
        "0.04",
    )
    assert lines["Rank of the true actions"] == [
        ("steps ahead", "picture", "things"),
        ("1", "25 % (15 to 35)", "–"),
        ("2", "50 % (40 to 60)", "40 % (30 to 50)"),
    ]
    [heads, place] = lines["Where things are"]
    assert heads[4:] == ("foretold, 1 ahead", "foretold, 2 ahead", "copied, the same")
    assert place == ("x, m", "0.3", "0.01", "0.99", "0.02", "0.05", "0.2")
    [_, dx, dy] = lines["What each dimension of the action does"]
    assert dx == ("dx", "0.80", "0.90 (0.80 to 1.00)", "3.00 (2.90 to 3.10)", "")
    assert dy == ("dy, m", "–", "-0.90 (-1.00 to -0.80)", "0.20 (0.10 to 0.30)", "flipped")
    bare = REPORT.with_changes(ranks=(), places=(), actions=())
    assert [table.name for table, _ in trust.tables(bare)] == ["Error by how far ahead"]


def test_pictures_are_drawn_and_described():
    errors, ranks, land = trust.pictures(REPORT)
    assert "a copy's 0.2 to 0.4" in errors.alt
    assert "picture 25 % (15 to 35), 50 % (40 to 60); things 40 %" in ranks.alt
    assert "of episode 9, frame 3: true action at 0.25, 0.5, lowest at 0, 0" in land.alt
    for picture in (errors, ranks, land):
        assert picture.image.startswith("<svg") and "http" not in picture.image
    ids = [
        name for p in (errors, ranks, land) for name in set(re.findall(r' id="([^"]+)"', p.image))
    ]
    assert ids and len(ids) == len(set(ids))
    assert len(trust.pictures(REPORT.with_changes(ranks=(), landscapes=()))) == 1


def test_films_show_the_real_frames_above_the_imagined_ones():
    real = np.zeros((1, 3, 8, 12, 3), np.uint8)
    real[0, 1:] = 90
    imagined = np.full((1, 2, 8, 12, 3), 200, np.uint8)
    [strip] = trust.imagined(WorldFilms(real, imagined, ("episode 9, from frame 0",)))
    assert strip.columns == (0, 1, 2) and [row.label for row in strip.rows] == ["real", "imagined"]
    shown = [[_level(image) for image in row.images] for row in strip.rows]
    assert shown == [[0, 90, 90], [0, 200, 200]]  # both begin with what was seen
    assert trust.imagined(None) == []


def test_the_answer_at_the_top_is_the_verdicts():
    run = RunFiles("run", info=RunInfo(model=ModelInfo(kind="world")), world=REPORT)
    answer = verdict(run)[2]
    assert (answer.question, answer.level) == ("Can it be planned with?", "bad")
    assert (answer.short, answer.detail) == ("No: dynamics", "Do not plan with this model.")
    assert verdict(RunFiles("run", info=run.info))[2].short == "Not measured"
    assert verdict(RunFiles("run"))[2].question == "What are the features worth?"


def test_numbers_in_a_row_are_told_by_their_ends():
    assert numbers((0, 1, 2, 3, 9, 11, 12)) == "0 to 3, 9, 11, 12"
    assert numbers(()) == ""


def _level(uri):
    data = base64.b64decode(uri.partition(",")[2])
    return round(np.asarray(Image.open(io.BytesIO(data))).mean())
