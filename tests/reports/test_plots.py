"""The drawing surface and the film strips, against slow oracles."""

import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from run_builder import moving_shapes, probe_rows, table_of

from nexus.models.ssl import VJEPAModel
from nexus.models.ssl.collapse import DoctorConfig
from nexus.reports import canvas
from nexus.reports.health import CHARTS
from nexus.reports.intervals import probe_pictures
from nexus.reports.plots import LOSS, draw
from nexus.reports.strips import HEIGHT, films
from nexus.runs.colours import PatchColours
from nexus.runs.journal import Journal
from nexus.training.health import thresholds

VALUES = arrays(
    np.float64, st.integers(1, 200), elements=st.floats(-100, 100) | st.just(float("nan"))
)


@settings(deadline=None)
@given(VALUES, st.integers(1, 50))
def test_thinning_keeps_the_ends_of_the_range_and_the_mean(values: np.ndarray, limit: int) -> None:
    x = np.arange(len(values), dtype=np.float64)
    places, mean, low, high = canvas.thin(x, values, limit)
    assert len(places) == min(len(values), limit)
    assert places[-1] == x[-1]
    if np.isfinite(values).any():
        assert np.nanmin(low) == np.nanmin(values)
        assert np.nanmax(high) == np.nanmax(values)
    if len(values) > limit:
        ends = np.searchsorted(x, places, side="right")
        for index, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            part = [v for v in values[start:end] if np.isfinite(v)]
            expected = sum(part) / len(part) if part else float("nan")
            assert mean[index] == pytest.approx(expected, nan_ok=True)


@settings(deadline=None)
@given(VALUES, st.floats(0, 1))
def test_smoothing_is_a_centred_mean(values: np.ndarray, share: float) -> None:
    half = int(len(values) * share / 2)
    for index, found in enumerate(canvas.smooth(values, share)):
        window = values[max(0, index - half) : index + half + 1]
        window = window[np.isfinite(window)]
        gap = not np.isfinite(values[index])
        expected = float("nan") if gap else window.mean()
        assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_colours_follow_the_theme_of_the_page() -> None:
    """No fixed colour may be left in a plot: it would vanish on a dark page."""
    style = (Path(canvas.__file__).parent / "templates/style.css").read_text()
    (picture,) = probe_pictures(table_of(probe_rows()[:12]).rows)
    fixed = set(re.findall(r"#[0-9a-f]{6}", picture.image)) - {"#ffffff"}
    assert fixed == set()
    light, dark = style.split("@media screen")[:2]
    used = set(re.findall(r"var\((--[a-z]+)\)", picture.image))
    assert {"--blue", "--ink", "--muted"} <= used
    for name in used - {"--sans"}:
        assert f"{name}:" in light
        assert f"{name}:" in dark


def test_the_interval_plot_puts_points_where_the_numbers_are() -> None:
    """The marks are read back from the SVG and compared with means on a straight scale."""
    rows = probe_rows()[:6]
    (picture,) = probe_pictures(table_of(rows).rows)
    assert all(f"{100 * row['mean']:.1f}" in picture.alt for row in rows)
    marks = [
        (float(x), float(y))
        for x, y in re.findall(r'<use href="[^"]*" x="([\d.]+)" y="([\d.]+)"', picture.image)
    ]
    ticks = re.findall(
        r'<use href="[^"]*" x="([\d.]+)" y="[\d.]+"[^>]*/>\s*</g>\s*</g>\s*<g id="[^"]*">\s*'
        r"<text[^>]*>(\d+)</text>",
        picture.image,
    )
    (x0, v0), (x1, v1) = [(float(x), float(v)) for x, v in (ticks[0], ticks[-1])]
    places = [x0 + (100 * row["mean"] - v0) * (x1 - x0) / (v1 - v0) for row in rows]
    for place in places:
        assert any(abs(x - place) < 0.05 for x, _ in marks)


def test_plots_are_safe_from_names() -> None:
    name = '<b>"x" & $\\frac$ 向左 🙂'
    rows = [{**row, "arm": name, "task": name} for row in probe_rows()[:1]]
    (picture,) = probe_pictures(table_of(rows).rows)
    assert "<b>" not in picture.image
    assert name in unescape(picture.image)


@pytest.mark.parametrize(("time", "steps"), [(16, 8), (8, 8), (16, 3), (1, 1), (64, 32)])
def test_colours_stand_under_a_frame_that_they_cover(time: int, steps: int) -> None:
    """Frame t is painted with brightness t and step s with brightness s."""
    frames = np.arange(time, dtype=np.uint8)[None, :, None, None, None]
    colours = np.arange(steps, dtype=np.uint8)[None, :, None, None, None]
    found = films(
        PatchColours(
            np.broadcast_to(frames, (1, time, 6, 10, 3)).copy(),
            np.broadcast_to(colours, (1, steps, 3, 5, 3)).copy(),
        )
    )[0]
    assert len(found.columns) == min(steps, 8)
    assert found.frames.shape[1:] == (HEIGHT, round(HEIGHT * 10 / 6), 3)
    for column, frame in enumerate(found.columns):
        step = int(found.colours[column].max())
        assert found.frames[column].max() == frame
        assert step * time / steps <= frame < (step + 1) * time / steps


def test_blocks_keep_the_colours_of_the_file() -> None:
    frames, colours = moving_shapes(clips=1)
    film = films(PatchColours(frames, colours))[0]
    side = HEIGHT // 8
    assert (film.colours[:, side // 2 :: side, side // 2 :: side] == colours[0]).all()


def test_strips_of_many_large_clips_stay_small() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 32, 256, 320, 3), dtype=np.uint8)
    made = films(PatchColours(noise, noise[:, ::2, ::16, ::16]))
    assert len(made) == 3
    assert sum(len(uri) for strip in made for row in strip.rows for uri in row.images) < 2_000_000


def test_the_curves_and_limits_are_the_models_and_the_doctors() -> None:
    """The report imports no model; this is what keeps the names on both sides the same."""
    torch.manual_seed(0)
    model = VJEPAModel(
        {"encoder_dim": 24, "num_heads": 2, "predictor_dim": 16, "predictor_heads": 2,
         "num_frames": 4, "img_size": 16, "patch_size": 8, "num_spatial_layers": 1,
         "num_temporal_layers": 1, "num_predictor_layers": 1, "regularizer": "variance_covariance"}
    )  # fmt: skip
    _, metrics = model(torch.randn(3, 3, 4, 16, 16))
    columns = {column for chart in (*CHARTS, LOSS) for column in chart.curves}
    assert columns <= set(metrics)
    limits = {key for chart in CHARTS for key in chart.thresholds} - {"even"}
    assert limits == {*DoctorConfig.model_fields, "healthy_rank_share"} <= set(thresholds())


@pytest.mark.parametrize("decades", [0.05, 0.3, 1, 3, 9])
def test_the_ticks_of_ratios_are_few_and_plain(decades: float) -> None:
    """However narrow or wide their range: no powers of ten such as 9e-01 beside 1."""
    chart = next(chart for chart in CHARTS if chart.log)
    rows = ({"step": s, "error_vs_copy": 1.1 * 10 ** (-decades * s / 9)} for s in range(10))
    picture = draw(chart, Journal(tuple(rows)), {"even": 1.0})
    assert picture is not None
    axis = picture.image.partition("optimizer step")[2]
    ticks = re.findall(r"<text[^>]*>([\d.e+-]+)</text>", axis)
    assert 2 <= len(ticks) <= 12 and len({float(tick) for tick in ticks}) == len(ticks)
    assert not any("e-0" in tick and float(tick) >= 1e-4 for tick in ticks)
