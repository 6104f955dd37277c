"""The report's figures of the models: they show what the catalog says, and say what it lacks."""

from __future__ import annotations

import dataclasses
import io
import re

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from catalog.store.models import find_model
from jobs.engine.runner import run_job
from jobs.evaluation.compare import compare
from jobs.evaluation.curves import write_curve
from jobs.evaluation.data import ComparedLabel
from jobs.evaluation.evaluate import evaluate, read_inputs
from jobs.evaluation.records import EDGES, CurvePoint, Repeat, cells_of
from jobs.evaluation.scores import score_label
from jobs.report.drawing import Missing, Subject
from jobs.report.figures import (
    agreement,
    calibration,
    dependence,
    flagged,
    learning,
    planes,
    residuals,
    scaled_labels,
    training,
)
from jobs.report.figures.signal_to_noise import draw_repeats, draw_signal_to_noise
from jobs.report.per_model import stem
from jobs.report.style import WIDTH, key_of, number, style
from jobs.training.explain import explain_model
from jobs.training.model_files import export_model, import_model, open_model
from jobs.training.predict import PredictParams, predict_job
from jobs.training.remove import remove_model
from models.core.scaling import LabelScaler
from models.spectra.recipes import RECIPES
from tests.support.learning import rows, value

MODELS = ("small@1", "seed@1")
SUBJECT = Subject("clean", "aspcap/dr14@1", "sspp/dr12@1", MODELS)
SETS = ("sspp/dr12@1", "small/oof@1", "seed/oof@1")
SECTIONS = (training, scaled_labels, dependence, agreement, flagged, learning)


def draw(db, section, subject=SUBJECT):
    with db.reader() as conn:
        return {found.name: found for found in section.draw(conn, subject)}


def line(panel: Axes, label: str):
    [found] = [x for x in panel.get_lines() if x.get_label() == label]
    return found


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for panel in figure.axes for text in panel.texts]


def png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    with style():
        figure.savefig(stream, format="png", metadata={"Software": None}, dpi=40)
    return stream.getvalue()


def compared_label(n=200, *, sigma=1.0, factor=1.0, label="teff", outlier=0.0) -> ComparedLabel:
    """One label of one set: stated errors ``sigma``, true ones ``factor`` times larger."""
    random = np.random.default_rng(5)
    reference = np.linspace(4000.0, 6000.0, n)
    test = reference + factor * sigma * random.normal(size=n)
    test[0] += outlier
    return ComparedLabel(
        label=label, unit="K", names=("own/oof@1",), star=np.arange(n),
        source_id=np.arange(n)[None], reference=reference, reference_err=np.zeros(n),
        test=test[None], sigma=np.full((1, n), sigma), raw_sigma=np.full((1, n), np.nan),
        half_width95=np.full((1, n), np.nan),
        by={"snr": np.geomspace(10.0, 200.0, n), "teff": reference, "logg": np.full(n, 2.0),
            "fe_h": np.zeros(n)},
    )  # fmt: skip


def scores_of(data: ComparedLabel):
    return score_label(data, {"snr": EDGES["snr"]}, bootstrap=20, seed=0)


@pytest.fixture(scope="module")
def figures(trained_once):
    """All that is drawn, by name."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dependence, "N_SPECTRA", 2)  # each takes thousands of predictions
        for section in SECTIONS:
            found |= draw(trained_once, section)
    return found


@pytest.fixture(scope="module")
def evaluation(trained_once):
    with trained_once.reader() as conn:
        inputs = read_inputs(
            conn, MODELS, [SUBJECT.compared], reference=SUBJECT.reference, sample="clean",
            edges={"snr": EDGES["snr"]},
        )  # fmt: skip
    return inputs.labels, evaluate(inputs)


def test_every_figure_is_there_or_says_why_not(figures):
    assert list(figures) == [
        "loss-small-1", "loss-seed-1", "scaling-small-1", "scaling-seed-1", "dependence-small-1",
        "dependence-seed-1", "residuals-small-1", "residuals-seed-1", "plane-fe-h-teff",
        "plane-teff-logg", "plane-fe-h-logg", "calibration", "signal-to-noise", "repeats", "flags",
        "learning-curve",
    ]  # fmt: skip
    for item in figures.values():
        assert re.fullmatch("[a-z0-9-]+", item.name)
        assert item.title
        assert "$" not in item.title
    missing = {name for name, item in figures.items() if isinstance(item, Missing)}
    assert missing == {"learning-curve", "repeats"}  # of the few stars none has two spectra
    assert "crosslabel evaluate small@1 --learning-curve" in figures["learning-curve"].reason
    for name in figures.keys() - missing:
        drawing = figures[name]
        assert ("Simulated data: " in drawing.caption) == (name[:4] not in ("loss", "depe"))
        assert drawing.figure.get_figwidth() == WIDTH
        assert png(drawing.figure)


def test_the_same_catalog_gives_the_same_bytes(trained_once):
    for section in (training, flagged, agreement):
        first, second = (draw(trained_once, section) for _ in range(2))
        for name in first.keys() & {"loss-seed-1", "flags", "residuals-small-1", "plane-teff-logg"}:
            assert first[name].caption == second[name].caption
            assert png(first[name].figure) == png(second[name].figure)


def test_printed_numbers_are_those_of_compare(trained_once, figures):
    figure = figures["residuals-small-1"].figure
    with trained_once.reader() as conn:
        found = compare(conn, SUBJECT.reference, SETS, "clean")
    printed = texts(figure)
    for row in found.rows:
        if row.test_set == "seed/oof@1":  # has a figure of its own
            continue
        for name in ("bias", "sigma_mad"):
            shown, error = getattr(row, name), getattr(row, f"{name}_err")
            assert f"{number(shown, row.label)} ± {number(error, row.label)}" in printed
        for name in ("seed_bias", "seed_scatter"):
            shown = number(getattr(row, name), row.label)
            assert any(text.startswith(f"{shown} ± ") for text in printed)
        assert f"{row.n:,} spectra" in printed


def test_residuals_show_the_labels_and_their_mean_errors(evaluation):
    labels, found = evaluation
    shown = ["sspp/dr12@1", "small/oof@1"]
    figure = residuals.draw_residuals(labels, found.scores, shown, SETS)
    n_columns = len(labels)
    for column, data in enumerate(labels):
        above, below = figure.axes[column], figure.axes[n_columns + column]
        for name in shown:
            test = data.test[data.names.index(name)]
            np.testing.assert_array_equal(line(above, name).get_xdata(), data.reference)
            np.testing.assert_array_equal(line(above, name).get_ydata(), test)
            delta = test - data.reference
            np.testing.assert_array_equal(line(below, name).get_ydata(), delta)
            heights = [x.get_ydata()[0] for x in below.get_lines() if len(x.get_ydata()) == 2]
            assert np.median(delta) in heights
        crosses = [c for c in above.containers if isinstance(c, ErrorbarContainer)]
        sigmas = []
        for cross in crosses:
            [across, upright] = [bars.get_segments()[0] for bars in cross.lines[2]]
            error = np.nanmean(data.reference_err)
            assert np.ptp(across[:, 0]) == pytest.approx(2.0 * error)
            sigmas.append(0.5 * np.ptp(upright[:, 1]))
        expected = [residuals.mean_errors(data, name)[1] for name in shown]
        assert sigmas == pytest.approx(expected)


@pytest.mark.parametrize("sigma", [1.0, 200.0, 5000.0])
def test_crosses_of_mean_errors_stay_inside_their_frames(sigma):
    data = compared_label(300, factor=0.01, sigma=sigma)
    data = dataclasses.replace(data, reference_err=np.full(300, sigma))
    figure = residuals.draw_residuals([data], scores_of(data), data.names, data.names)
    for panel in figure.axes[:2]:
        [cross] = [c for c in panel.containers if isinstance(c, ErrorbarContainer)]
        ends = np.concatenate([s for bars in cross.lines[2] for s in bars.get_segments()])
        (left, right), (bottom, top) = panel.get_xlim(), panel.get_ylim()
        assert (ends[:, 0] > left).all()
        assert (ends[:, 0] < right).all()
        assert (ends[:, 1] > bottom).all()
        assert (ends[:, 1] < top).all()


def test_numbers_and_points_are_told_apart_by_more_than_colour(figures):
    [sign, other] = (key_of(i)["marker"] for i in range(2))
    assert sign != other
    figure = figures["residuals-small-1"].figure
    [legend] = figure.legends
    assert [h.get_marker() for h in legend.legend_handles] == [sign, other]
    for table in [panel for panel in figure.axes if not panel.axison]:
        n_lines = len(residuals.STATISTICS) + 1
        assert [x.get_marker() for x in table.get_lines()] == [sign, other] * n_lines
    plane = figures["plane-teff-logg"].figure
    for panel in [panel for panel in plane.axes if panel.get_xlabel()]:
        markers = [x.get_marker() for x in panel.get_lines()]
        assert len(set(markers)) == len(markers) == 2


def test_captions_promise_only_what_is_drawn(figures):
    for name, item in figures.items():
        words = item.caption if hasattr(item, "caption") else ""
        markers = {x.get_marker() for p in item.figure.axes for x in p.get_lines()} if words else {}
        if name.startswith("loss"):
            assert ("diamonds" in words) == ("D" in markers)
        if "errors from resampled stars" in words:
            above = item.figure.axes[0]
            bars = [c for c in above.containers if isinstance(c, ErrorbarContainer)]
            lengths = [np.ptp(s[:, 1]) for c in bars for b in c.lines[2] for s in b.get_segments()]
            assert max(lengths) > 0
        if name.startswith("residuals"):
            bars = [c for p in item.figure.axes for c in p.containers]
            assert ("Crosses: mean stated errors" in words) == bool(bars)


def test_points_outside_the_frames_are_counted():
    data = compared_label(400, sigma=10.0)
    before = residuals.outside(data, data.names)
    far = compared_label(400, sigma=10.0, outlier=1e5)
    assert residuals.outside(far, far.names) == before + 1
    figure = residuals.draw_residuals([far], scores_of(far), far.names, far.names)
    assert figure.axes[0].get_ylim()[1] < 1e4


def test_planes_hold_the_same_spectra_in_every_set(trained_once, evaluation, figures):
    drawing = figures["plane-teff-logg"]
    labels, _ = evaluation
    both = [next(x for x in labels if x.label == name) for name in ("teff", "logg")]
    places = planes.common_rows(both)
    joints = [panel for panel in drawing.figure.axes if panel.get_xlabel()]
    assert len(joints) == len(SETS)
    for panel, name in zip(joints, SETS, strict=True):
        assert panel.xaxis_inverted()
        assert panel.yaxis_inverted()
        for label, source in (("aspcap/dr14@1", None), (name, name)):
            points = np.column_stack(line(panel, label).get_data())
            expected = [
                (x.reference if source is None else x.test[x.names.index(source)])[place]
                for x, place in zip(both, places, strict=True)
            ]
            np.testing.assert_array_equal(points, np.column_stack(expected))
    with_all = value(
        trained_once,
        "SELECT count(*) FROM comparison_rows(:ref, :tests, 'clean') a JOIN "
        "comparison_rows(:ref, :tests, 'clean') b USING (test_set, left_id, right_id) "
        "WHERE a.label = 'teff' AND b.label = 'logg' AND test_set = 'small/oof@1'",
        ref=SUBJECT.reference, tests=list(SETS),
    )  # fmt: skip
    assert len(places[0]) == with_all


def test_common_rows_are_found_by_source():
    ids = (np.array([[7, 3, 9], [70, 30, 90]]), np.array([[9, 5, 7], [90, 50, 70]]))
    first, second = (compared_label(3) for _ in range(2))
    both = [
        ComparedLabel(**{**vars(data), "source_id": own})
        for data, own in zip((first, second), ids, strict=True)
    ]
    left, right = planes.common_rows(both)
    assert ids[0][:, left].tolist() == ids[1][:, right].tolist() == [[7, 9], [70, 90]]


def test_plane_densities_integrate_to_one():
    points = np.random.default_rng(1).normal(size=(500, 2))
    figure = planes.draw_plane("fe_h", "logg", ("ref@1", points), {"a@1": points + 1.0})
    _, top, side = figure.axes
    for panel in (top, side):
        for outline in panel.patches:
            density, edges, _ = outline.get_data()
            assert (density * np.diff(edges)).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_coverage_tells_true_errors_from_small_ones(factor):
    data = compared_label(4000, sigma=10.0, factor=factor)
    figure = calibration.draw_calibration([data], scores_of(data), data.names)
    [curve] = [x for x in figure.axes[0].get_lines() if len(x.get_xdata()) > 10]
    observed = np.interp([0.6827, 0.95], curve.get_xdata(), curve.get_ydata())
    expected = {1.0: [0.683, 0.95], 2.0: [0.383, 0.673]}[factor]
    assert observed == pytest.approx(expected, abs=0.03)
    [stated] = [x for x in figure.axes[0].get_lines() if x.get_linestyle() == "None"]
    assert stated.get_ydata() == pytest.approx(observed, abs=0.02)
    assert np.std(calibration.pulls_of(data, "own/oof@1")) == pytest.approx(factor, rel=0.05)


def test_sets_without_errors_are_left_out_of_calibration(evaluation):
    labels, _ = evaluation
    for data in labels:
        assert calibration.with_errors(data) == ["small/oof@1", "sspp/dr12@1"]


def test_scatter_by_snr_is_that_of_the_evaluation(evaluation, figures):
    labels, found = evaluation
    figure = figures["signal-to-noise"].figure
    for panel, data in zip(figure.axes[: len(labels)], labels, strict=True):
        bars = [c for c in panel.containers if isinstance(c, ErrorbarContainer)]
        assert [c.get_label() for c in bars] == list(SETS)
        for container in bars:
            expected = [
                s.sigma_mad for s in found.scores
                if (s.label, s.test_set, s.bin_by) == (data.label, container.get_label(), "snr")
                and s.population == "all" and s.n
            ]  # fmt: skip
            assert container.lines[0].get_ydata().tolist() == expected


def test_repeats_are_drawn_with_what_was_stated():
    bins = [*cells_of("snr", (20.0, 80.0))]
    cells = [("snr", cell.bin, cell.bin_low, cell.bin_high) for cell in bins]
    found = [
        Repeat(name, "teff", *cell, "K", n_pairs=n, n_stars=n, repeat_sigma=sigma if n else None,
               repeat_sigma_err=1.0, predicted_sigma=stated)
        for name, stated in (("sspp/dr12@1", 50.0), ("seed/oof@1", None))
        for cell, n, sigma in zip([("all", 0, None, None), *cells], (9, 0, 4, 5), (1, 2, 30, 10),
                                  strict=True)
    ]  # fmt: skip
    above, below = draw_repeats(found, SETS).axes
    scatter = {c.get_label(): c.lines[0].get_ydata().tolist() for c in above.containers}
    assert scatter == {"sspp/dr12@1": [30, 10], "seed/oof@1": [30, 10]}
    ratio = {c.get_label(): c.lines[0].get_ydata().tolist() for c in below.containers}
    assert ratio == {"sspp/dr12@1": [0.6, 0.2], "seed/oof@1": []}
    assert [t.get_text() for t in below.get_xticklabels()] == ["20–80\n4", "≥ 80\n5"]


def test_loss_curves_are_those_of_the_training(trained_once, figures):
    figure = figures["loss-seed-1"].figure
    assert [panel.get_title() for panel in figure.axes] == ["reverse network", "forward network"]
    for panel, network in zip(figure.axes, ("reverse", "forward"), strict=True):
        history = np.array(
            rows(
                trained_once,
                "SELECT fold, training_epoch, loss, coalesce(val_loss, 'NaN') "
                "FROM training_history JOIN model USING (model_id) "
                "WHERE name = 'seed' AND network = :network ORDER BY 1, 2",
                network=network,
            ),
            float,
        )
        folds = np.stack([history[history[:, 0] == k][:, 2] for k in range(3)])
        middle = np.median(folds, axis=0)
        np.testing.assert_array_equal(line(panel, "median of the folds").get_ydata(), middle)
        marked = line(panel, "median of the folds, 10 lowest")
        assert sorted(marked.get_ydata()) == sorted(middle)[:10]
        aside = history[history[:, 0] == -1]
        curve = line(panel, "validation run: stars set aside")
        np.testing.assert_array_equal(curve.get_data(), aside[:, [1, 3]].T)
        lowest = line(panel, "validation run: stars set aside, 10 lowest")
        assert sorted(lowest.get_ydata()) == sorted(aside[:, 3])[:10]
        assert (panel.get_xscale(), panel.get_yscale()) == ("log", "log")
        unit = {"reverse": "[normalized flux]", "forward": "[scaled labels]"}[network]
        assert panel.get_ylabel() == f"MAE {unit}"


def test_losses_below_zero_are_shown_too():
    epoch = np.arange(1.0, 21.0)
    curve = training.Curve(epoch, 1.0 - 0.1 * epoch, np.full(20, np.nan))
    panel = training.draw_curves({"forward": {0: curve, 1: curve}}, "loss").axes[0]
    assert panel.get_yscale() == "linear"
    assert line(panel, "median of the folds").get_ydata()[-1] == pytest.approx(-1.0)


def test_few_epochs_have_fewer_lowest_points():
    loss = np.array([3.0, np.nan, 1.0, 2.0])
    assert training.lowest(loss).tolist() == [2, 3, 0]


def test_scaled_labels_are_those_that_were_learned(trained_once, figures):
    known = rows(
        trained_once,
        "SELECT s.teff FROM training_member t JOIN model m USING (model_id) "
        "JOIN star_link k ON k.right_id = t.source_id AND k.sample_id = m.sample_id "
        "JOIN stellar_label s ON s.source_id = k.left_id "
        "AND s.label_set_id = label_set_id_of('aspcap/dr14') WHERE m.name = 'small'",
    )
    teff = np.array(known, float)[:, 0]
    above, below = (figures["scaling-small-1"].figure.axes[i] for i in (0, 3))
    for panel, values in ((above, teff), (below, (teff - teff.mean()) / teff.std())):
        count, edges, _ = panel.patches[0].get_data()
        assert count.sum() == teff.size
        assert edges[[0, -1]] == pytest.approx([values.min(), values.max()], rel=1e-4)


def test_models_that_learned_the_same_share_a_figure(trained_once):
    subject = Subject("clean", SUBJECT.reference, SUBJECT.compared, ("small@1", "small@1"))
    found = draw(trained_once, scaled_labels, subject)
    assert list(found) == ["scaling-small-1"]
    assert found["scaling-small-1"].title.endswith("small@1, small@1")


def test_reverse_network_shows_its_continuum_pixels(trained_once, figures):
    [panel] = figures["dependence-seed-1"].figure.axes
    with trained_once.reader() as conn:
        model = open_model(conn, find_model(conn, "seed"))
    wavelength, chosen = RECIPES["seed-2018"].wavelength, model.arrays["pixels"].astype(bool)
    curve = line(panel, "label dependence")
    np.testing.assert_array_equal(curve.get_xdata(), wavelength)
    np.testing.assert_array_equal(curve.get_ydata(), model.arrays["sensitivity"].astype(float))
    marked = line(panel, f"{int(chosen.sum())} continuum pixels")
    np.testing.assert_array_equal(marked.get_xdata(), wavelength[chosen])


def test_jacobian_is_in_units_of_the_labels(trained_once, figures):
    drawing = figures["dependence-small-1"]
    with trained_once.reader() as conn:
        found = explain_model(conn, "small", n_spectra=2)
    for panel, slopes in zip(drawing.figure.axes, found.slopes, strict=True):
        curve = max(panel.get_lines(), key=lambda x: len(x.get_xdata()))
        np.testing.assert_allclose(curve.get_ydata(), 0.01 * slopes, rtol=1e-6)
    assert "[K]" in drawing.figure.axes[0].get_ylabel()
    first = max(found.lines, key=lambda x: x.share[0])
    assert f"{first.name} {first.share[0]:.0%}" in drawing.caption


def test_flagged_fractions_are_those_of_the_catalog(trained):
    run_job(predict_job(PredictParams("small", "pred"), trained), trained)
    drawing = draw(trained, flagged)["flags"]
    panels = {panel.get_title(): panel for panel in drawing.figure.axes}
    assert list(panels) == ["small/oof@1", "pred@1", "seed/oof@1"]
    for name, panel in panels.items():
        found = np.array(
            rows(
                trained,
                "SELECT coalesce(b.sn_median, 'NaN'), s.flags & ~128 FROM stellar_label s "
                "JOIN spectrum_blob b USING (source_id) "
                "WHERE s.label_set_id = label_set_id_of(:name)",
                name=name,
            ),
            float,
        )
        shown = line(panel, "any warning").get_ydata()
        for cell, fraction in zip(cells_of("snr", EDGES["snr"]), shown, strict=True):
            inside = cell.holds(found[:, 0])
            if inside.any():
                assert fraction == pytest.approx((found[inside, 1] != 0).mean())
            else:
                assert np.isnan(fraction)
        warned = int((found[:, 1] != 0).sum())
        assert f"{name} {warned:,} of {len(found):,}" in drawing.caption


def test_learning_curve_is_drawn_where_there_is_one(trained):
    names = [f for f in CurvePoint.__dataclass_fields__ if f not in ("model", "label", "unit")]
    points = [
        CurvePoint(
            "small@1", label=label, unit=unit,
            **dict.fromkeys(names, None) | {"training_stars": stars, "n": 60, "n_stars": 55,
                                            "sigma_mad": sigma, "sigma_mad_err": 0.1 * sigma},
        )
        for label, unit, size in (("teff", "K", 100.0), ("fe_h", "dex", 0.1))
        for stars, sigma in ((20, 2.0 * size), (40, size))
    ]  # fmt: skip
    with trained.begin() as conn:
        write_curve(conn, find_model(conn, "small").model_id, points)
    drawing = draw(trained, learning)["learning-curve"]
    assert "Not computed for seed@1" in drawing.caption
    panel = drawing.figure.axes[0]
    [curve] = panel.containers
    assert curve.lines[0].get_data()[0].tolist() == [20, 40]
    assert curve.lines[0].get_data()[1].tolist() == [200.0, 100.0]
    assert panel.get_ylabel().endswith("[K]")


def test_without_models_every_section_says_so(trained_once):
    subject = Subject("clean", SUBJECT.reference, SUBJECT.compared, ())
    for section in (agreement, flagged, learning):
        [missing] = draw(trained_once, section, subject).values()
        assert "crosslabel train" in missing.reason
    for section in (dependence, training, scaled_labels):
        assert draw(trained_once, section, subject) == {}


def test_model_from_a_file_says_what_it_does_not_bring(trained, tmp_path):
    with trained.reader() as conn:
        export_model(conn, "small", tmp_path / "small.npz")
    remove_model(trained, "small", with_labels=True)
    name = import_model(trained, tmp_path / "small.npz", "guest").full_name
    subject = Subject("clean", SUBJECT.reference, SUBJECT.compared, (name,))
    found = {}
    for section in (training, scaled_labels, agreement, flagged, learning):
        found |= draw(trained, section, subject)
    for kind, word in (("loss", "file"), ("scaling", "file"), ("residuals", "imported")):
        missing = found[stem(kind, name)]
        assert isinstance(missing, Missing)
        assert word in missing.reason


def test_survey_without_a_second_label_set_is_no_obstacle(trained_once):
    subject = Subject("clean", SUBJECT.reference, None, ("small@1",))
    found = draw(trained_once, agreement, subject)
    figure = found["residuals-small-1"].figure
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["small/oof@1"]


def test_a_fourth_label_goes_into_a_second_row():
    labels = [compared_label(30, label=name) for name in ("teff", "logg", "fe_h", "alpha_m")]
    scores = [score for data in labels for score in scores_of(data)]
    names = labels[0].names
    for figure in (
        residuals.draw_residuals(labels, scores, names, names),
        calibration.draw_calibration(labels, scores, names),
        draw_signal_to_noise(scores, names),
    ):
        assert sum(panel.axison for panel in figure.axes) == 2 * len(labels)
        assert png(figure)
    learned = np.column_stack([data.reference for data in labels])
    scaler = LabelScaler.from_data(learned, ("teff", "logg", "fe_h", "alpha_m"))
    figure = scaled_labels.draw_scaling(("teff", "logg", "fe_h", "alpha_m"), learned, scaler)
    assert len(figure.axes) == 8
    assert png(figure)


def test_two_spectra_are_enough_to_draw():
    data = compared_label(2)
    scores = scores_of(data)
    for figure in (
        residuals.draw_residuals([data], scores, data.names, data.names),
        calibration.draw_calibration([data], scores, data.names),
        draw_signal_to_noise(scores, data.names),
        planes.draw_plane("teff", "logg", ("ref@1", np.ones((2, 2))), {"a@1": np.ones((2, 2))}),
    ):
        assert png(figure)


def test_names_of_figures_can_be_names_of_files():
    assert stem("loss", "My Model/B+1@2") == "loss-my-model-b-1-2"


def test_many_label_sets_look_all_different():
    keys = [key_of(i) for i in range(40)]
    assert len({tuple(map(str, key.values())) for key in keys}) == 40
