"""The report's figures of the catalog show the values that they are given."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
import sqlalchemy as sa

from jobs.report import style
from jobs.report.chosen import ChosenSpectra, choose_spectra
from jobs.report.drawing import Drawing, Missing, Subject
from jobs.report.figures import continua, differences, distributions, offsets, sky, spectra
from jobs.report.figures.differences import Differences
from jobs.report.figures.offsets import CIRCLES, Offsets
from jobs.report.figures.sky import Sky
from jobs.report.origin import simulated_words
from jobs.report.page import render_figure
from models.spectra.lines import LINES
from models.spectra.normalize import RECIPES, Normalized

RANDOM = np.random.default_rng(3)
SUBJECT = Subject("clean", "aspcap/dr14@1", "sspp/dr12@1", ())


def pairs(n: int = 60) -> Offsets:
    east, north = RANDOM.uniform(-1.2, 1.2, (2, n))
    accepted = np.arange(n) % 4 > 0
    return Offsets(
        east, north, np.hypot(east, north), accepted,
        np.where(accepted, np.arange(n, dtype=float), np.nan), 2.0, 3.0,
    )  # fmt: skip


def normalized(n: int, recipe=RECIPES["default"]) -> Normalized:
    shape = (n, recipe.n_pixels)
    ivar = np.full(shape, 4.0, np.float32)
    ivar[:, 100:120] = 0.0
    return Normalized(
        RANDOM.normal(1.0, 0.1, shape).astype(np.float32), ivar, np.full(shape, 7.0, np.float32),
        np.zeros(n, np.int64), np.ones(n, np.float32),
    )  # fmt: skip


def test_offsets_lie_where_they_are_with_circles_of_their_size():
    given = pairs()
    axes = offsets.draw_offsets(given).axes[0]
    crosses, *_ = axes.get_lines()
    np.testing.assert_array_equal(crosses.get_xdata(), given.east[~given.accepted])
    [points] = axes.collections
    shown = np.asarray(points.get_offsets())
    order = np.argsort(points.get_array())
    np.testing.assert_allclose(shown[order, 0], given.east[given.accepted])
    np.testing.assert_allclose(shown[order, 1], given.north[given.accepted])
    circles = [line for line in axes.get_lines() if len(line.get_xdata()) == 181]
    radii = [np.hypot(line.get_xdata(), line.get_ydata()) for line in circles]
    np.testing.assert_allclose(radii, np.array(CIRCLES)[:, None] * np.ones(181))
    assert axes.xaxis_inverted()  # east to the left
    assert axes.get_xlabel().endswith("[arcsec]")


def test_separations_count_all_pairs_and_what_chance_gives():
    given = pairs()
    axes = offsets.draw_separations(given).axes[0]
    every, mine = (patch.get_data().values for patch in axes.patches)
    assert every.sum() == 60
    assert mine.sum() == given.accepted.sum()
    [chance] = axes.get_lines()
    assert np.sum(chance.get_ydata()) == pytest.approx(3.0)
    few = offsets.draw_separations(Offsets(*(getattr(given, n) for n in (
        "east", "north", "sep", "accepted", "distance", "radius")), np.nan))  # fmt: skip
    assert not few.axes[0].get_lines()


def test_distributions_have_an_area_of_one_and_leave_out_what_is_missing():
    labels = np.column_stack([RANDOM.normal(m, s, 400) for m, s in ((5000, 300), (3, 1), (0, 0.3))])
    labels[:50, 1] = np.nan
    figure = distributions.draw_distributions({"sample": labels[:100], "all": labels})
    assert len(figure.axes) == 3
    for axes in figure.axes:
        for patch in axes.patches:
            height, edges, _ = patch.get_data()
            assert np.sum(height * np.diff(edges)) == pytest.approx(1.0, abs=0.03)
    teff, logg, fe_h = figure.axes
    assert teff.xaxis_inverted()
    assert logg.xaxis_inverted()
    assert not fe_h.xaxis_inverted()
    assert fe_h.get_xlabel() == "[Fe/H] [dex]"


def test_differences_show_bias_and_scatter_and_both_errors():
    value = np.linspace(4000, 6000, 101)
    delta = np.linspace(-100, 140, 101)
    rows = Differences(value, np.full(101, 30.0), delta, np.full(101, 50.0))
    [axes] = differences.draw_differences({"teff": rows}, "b@1", "a@1").axes
    lines = axes.get_lines()
    assert {float(np.ravel(line.get_ydata())[0]) for line in lines[:2]} == {0.0, 20.0}
    band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (band.y0, band.y1) == pytest.approx((20 - 1.4826 * 60, 20 + 1.4826 * 60), rel=1e-3)
    across, upwards = axes.containers[0].lines[2]
    assert np.ptp(across.get_segments()[0][:, 0]) == pytest.approx(60.0)
    assert np.ptp(upwards.get_segments()[0][:, 1]) == pytest.approx(100.0)
    assert axes.get_xlabel() == r"$T_{\rm eff}$ of a@1 [K]"


def within(axes, points: np.ndarray) -> np.ndarray:
    """Which points, shape (n, 2), are inside the frame."""
    (left, right), (bottom, top) = (sorted(ends) for ends in (axes.get_xlim(), axes.get_ylim()))
    x, y = points.T
    return (x >= left) & (x <= right) & (y >= bottom) & (y <= top)


def test_error_bars_are_whole_and_the_caption_promises_no_others(survey):
    random = np.random.default_rng(1)
    value, delta = random.normal(5000.0, 200.0, 90), random.normal(20.0, 50.0, 90)
    delta[0] = 5000.0
    rows = Differences(value, np.full(90, 80.0), delta, np.full(90, 260.0))
    [axes] = differences.draw_differences({"teff": rows}, "b@1", "a@1").axes
    bars = [b for lines in axes.containers[0].lines[2] for b in lines.get_segments()]
    assert len(bars) == 2 * 89  # none of the one that is not shown
    assert within(axes, np.concatenate(bars)).all()
    with survey.reader() as conn:
        [drawing] = differences.draw(conn, SUBJECT)
    assert "Error bars: across that of the reference, upwards both combined." in drawing.caption
    unknown = np.full(90, np.nan)
    assert differences.errors_told({"teff": Differences(value, unknown, delta, unknown)}) == ""
    only = differences.errors_told({"teff": Differences(value, unknown, delta, rows.delta_err)})
    assert only == " Error bars: upwards both combined."
    assert differences.outside_told({"teff": rows}) == (
        " Not shown: 1 point farther than 6 scatters from the bias."
    )


def test_calcium_lines_are_whole_and_wild_pixels_do_not_matter():
    spectra_ = normalized(3)
    wave = RECIPES["default"].wavelength
    calcium = [w for w in LINES if w.name in ("Ca K", "Ca H, H epsilon")]
    assert len(calcium) == 2
    inside = np.any([(wave > w.low) & (wave < w.high) for w in calcium], axis=0)
    spectra_.flux[:, inside] = 0.05
    spectra_.flux[:, 2000] = 400.0
    figures = (
        spectra.draw_lines(spectra_),
        spectra.draw_grid(ChosenSpectra(("a",) * 3, ("x",) * 3, None), spectra_),
    )
    for figure, panels in zip(figures, (figures[0].axes[:1], figures[1].axes), strict=True):
        assert figure.axes
        for axes in panels:
            line = axes.get_lines()[0]
            points = np.column_stack([line.get_xdata(), line.get_ydata()])
            near = points[(points[:, 0] > calcium[0].low) & (points[:, 0] < calcium[-1].high)]
            assert within(axes, near[np.isfinite(near[:, 1])]).all()
            assert axes.get_ylim()[1] < 100.0


def test_the_sky_has_east_to_the_left():
    x, y = sky.project([180.0, 190.0, 170.0, 0.0], [0.0, 10.0, -10.0, 90.0])
    assert x[0] == y[0] == 0.0
    assert x[1] < 0 < x[2]
    assert y[3] == pytest.approx(np.pi / 2)
    cells = np.array([5, 77], np.int64)
    figure = sky.draw_sky(Sky("apogee/dr14", cells, np.array([1, 9]), x, y), "stars")
    density = figure.axes[0].collections[0].get_array()
    assert set(np.unique(density.compressed())) == {1.0, 9.0}


def test_the_legend_of_the_sky_says_what_its_caption_says(survey):
    with survey.reader() as conn:
        [drawing] = sky.draw(conn, SUBJECT)
    axes = drawing.figure.axes[0]
    [legend] = drawing.figure.legends
    said = [text.get_text() for text in legend.get_texts()]
    assert said == ["stars of the sample clean", "plane of the Galaxy"]
    assert f"Points: {said[0]} (" in drawing.caption
    assert f"Dashed line: {said[1]}." in drawing.caption
    points, plane = axes.get_lines()
    assert (points.get_marker(), points.get_linestyle()) == ("o", "None")
    assert plane.get_linestyle() == "--"
    # the colours that the caption names: the scale of blues, light where there are few
    few, many = axes.collections[0].cmap([0.2, 1.0])
    assert few[:3].sum() > many[:3].sum()
    assert few[2] > few[0]
    assert many[2] > many[0]


def test_fits_and_spectra_are_drawn_with_gaps_where_nothing_is_known():
    figure = spectra.draw_lines(normalized(3))
    first = figure.axes[0].get_lines()
    assert len(first) == 3
    names = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert {"Mg b", "Na D", "H alpha", "Ca triplet", "G band"} <= names
    drawn = np.concatenate([axes.get_lines()[0].get_ydata() for axes in figure.axes])
    assert np.isnan(drawn).sum() == 20
    chosen = ChosenSpectra(("a", "b"), ("x", "y"), None)
    grid = spectra.draw_grid(chosen, normalized(2))
    assert [axes.get_title("left") for axes in grid.axes] == ["a", "x", "b", "y"]
    continuum = grid.axes[0].get_lines()[1].get_ydata()
    assert set(continuum[np.isfinite(continuum)]) == {7.0}


def test_a_few_spectra_are_the_same_ones_every_time(survey):
    with survey.reader() as conn:
        chosen = choose_spectra(conn, SUBJECT, 4, least_sn=0.5)
        assert choose_spectra(conn, SUBJECT, 4, least_sn=0.5).keys == chosen.keys
        fits = continua.fit_continua(chosen)
    teff = [float(words.split()[1]) for words in chosen.labels]
    assert teff == sorted(teff)
    assert len(set(chosen.keys)) == 4
    for fit in fits:
        assert fit.steps.shape == (5, fit.wavelength.size)
        mean = np.nanmean(fit.steps, axis=1)
        assert mean[0] < mean[1] < mean[4]  # each leans more on the tops
    figure = continua.draw_continua(fits)
    for axes, fit in zip(figure.axes, fits, strict=True):
        np.testing.assert_array_equal(axes.get_lines()[5].get_ydata(), fit.steps[4])


def test_without_a_second_survey_or_spectra_figures_are_missing_with_a_reason(survey):
    alone = Subject("clean", "aspcap/dr14@1", None, ())
    with survey.reader() as conn:
        [found] = differences.draw(conn, alone)
        assert isinstance(found, Missing)
        assert "crosslabel ingest sspp" in found.reason
        for section in (sky, distributions, offsets):
            assert all(isinstance(f, Drawing) for f in section.draw(conn, alone))


def test_what_is_simulated_is_said_in_few_words(survey):
    def words() -> str:
        with survey.reader() as conn:
            return simulated_words(conn, SUBJECT)

    assert words() == "simulated sspp/dr12, simulated aspcap/dr14"
    note = sa.text(
        "UPDATE label_set SET params = params || jsonb_build_object('note', CAST(:note AS text)) "
        "WHERE name = :name"
    )
    with survey.begin() as conn:
        conn.execute(note, {"name": "sspp/dr12", "note": "simulated SSPP labels"})
        conn.execute(note, {"name": "aspcap/dr14", "note": "LASP labels stand in for ASPCAP"})
    assert words() == "simulated SSPP, LASP labels"
    with survey.begin() as conn:
        conn.execute(note, {"name": "aspcap/dr14", "note": "long " * 20})
    assert words() == "simulated SSPP, simulated aspcap/dr14"


def test_equal_drawings_are_equal_files_and_carry_the_stamp():
    def files(stamp: str) -> list[bytes]:
        figure = differences.draw_differences(
            {"teff": Differences(*np.full((4, 9), 5.0))}, "b@1", "a@1"
        )
        drawing = Drawing("name", "title", "caption", figure)
        return [render_figure(drawing, form, stamp) for form in ("png", "pdf")]

    once = files("Simulated data: all of it")
    assert files("Simulated data: all of it") == once
    assert files("") != once
    assert b"CreationDate" not in once[1]
    assert b"Software" not in once[0]


def test_the_style_leaves_no_trace_and_says_units():
    before = dict(mpl.rcParams)
    with style.style():
        assert mpl.rcParams["font.size"] == 14
    assert dict(mpl.rcParams) == before
    assert style.axis_label("fe_h") == "[Fe/H] [dex]"
    assert style.axis_label("mg_fe") == "[Mg/Fe] [dex]"
    assert style.axis_label("sep_arcsec", "separation") == "separation [arcsec]"
    assert style.number(12.345, "teff") == "12.3"
    assert style.number(-0.0001, "logg") == "0.000"
    assert style.number(None, "logg") == "–"
    assert style.choose(10, 4, 1).tolist() == style.choose(10, 4, 1).tolist()
    assert style.drawn_of(4, 10, "star") == "4 of 10 stars, chosen at random"
    assert style.limits([]) == (0.0, 1.0)
