"""Evaluations: the numbers, the bins, honesty, refusals, and what is kept of them."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from catalog.errors import UsageError
from catalog.store.bulk import upsert_arrays
from catalog.store.columns import STATISTICS
from catalog.store.db import Database
from catalog.store.labels import find_label_set
from catalog.store.schema import input_file, spectrum_blob
from jobs.cli import app
from jobs.evaluation.data import read_compared
from jobs.evaluation.evaluate import Evaluation, evaluate, read_edges, read_inputs
from jobs.evaluation.evaluate_text import as_csv, as_json, as_table
from jobs.evaluation.records import Cell, Score, cells_of
from jobs.evaluation.stored import find_evaluation, write_evaluation
from models.core import metrics, resampling
from tests.support import comparison_case, factories
from tests.support.comparison_case import N, expected

REF, SSPP, NET = "aspcap/dr14", "sspp/dr12", "net/oof"


@pytest.fixture
def case(db: Database) -> comparison_case.Case:
    case = comparison_case.insert(db)
    with db.begin() as conn:
        factories.add_sample(conn, "clean", case.crossmatch_id, case.left, case.right, case.star)
    return case


def run(db: Database, models: list[str], against: Any = (), **how: Any) -> Evaluation:
    how = {"reference": REF, "bootstrap": 20} | how
    with db.reader() as conn:
        return evaluate(read_inputs(conn, models, against, **how))


def scores_of(found: Evaluation, **wanted: Any) -> list[Score]:
    """Those with these values; the overall ones if no bin is named."""
    wanted = {"population": "all", "bin_by": "all"} | wanted
    return [s for s in found.scores if all(getattr(s, k) == v for k, v in wanted.items())]


def add_spectra(db: Database, source_id: np.ndarray, snr: np.ndarray) -> None:
    with db.begin() as conn:
        file = conn.execute(
            input_file.insert()
            .values(path="f", size=1, sha256="0", kind="spectrum")
            .returning(input_file.c.input_file_id)
        ).scalar_one()
        n = len(source_id)
        upsert_arrays(
            conn, spectrum_blob,
            {"source_id": source_id, "input_file_id": np.full(n, file),
             "instrument": np.full(n, b"SDSS"), "spectrum_state": np.full(n, b"empty"),
             "sn_median": snr.astype(np.float32)},
        )  # fmt: skip


def test_the_tables_have_a_column_for_every_statistic() -> None:
    assert set(resampling.STATISTICS) == set(STATISTICS)


def test_overall_scores_are_those_of_numpy_on_the_common_spectra(db, case):
    found = run(db, ["net"], [SSPP], sample="clean")
    assert (found.ref_set, found.test_sets) == ("aspcap/dr14@1", ("net/oof@1", "sspp/dr12@1"))
    wanted = expected(case, REF, [NET, SSPP], np.ones(N, bool))
    rows = scores_of(found)
    assert [(r.label, r.test_set) for r in rows] == [("teff", "net/oof@1"), ("teff", "sspp/dr12@1")]
    for row in rows:
        numbers = (row.n, row.n_stars, row.bias, row.sigma_mad, row.seed_bias, row.seed_scatter,
                   row.mae)  # fmt: skip
        want = wanted["teff", row.test_set]
        np.testing.assert_allclose(numbers, want[:7], rtol=1e-12)
    net, sspp = rows
    assert net.sigma_mad_diff is net.mae_diff is net.mae_diff_err is None
    assert sspp.sigma_mad_diff == sspp.sigma_mad - net.sigma_mad > 0
    assert sspp.mae_diff == sspp.mae - net.mae


def test_errors_come_from_the_same_stars_for_all_sets(db, case):
    found = run(db, ["net"], [SSPP], seed=3)
    use = np.flatnonzero(
        np.all([np.isfinite(case.values[s]["teff"]) for s in (REF, SSPP, NET)], axis=0)
        & (np.arange(N) < 38)  # nearest pairs
    )
    use = use[np.argsort(case.star[use])]
    draws = resampling.draw_stars(case.star[use], 20, 3)
    reference = case.values[REF]["teff"][use]
    net, sspp = (
        resampling.scores(reference, case.values[s]["teff"][use], draws) for s in (NET, SSPP)
    )
    first, second = scores_of(found)
    for statistic in STATISTICS:
        assert getattr(first, f"{statistic}_err") == resampling.error_of(net[statistic])
        assert getattr(second, f"{statistic}_err") == resampling.error_of(sspp[statistic])
    assert second.mae_diff_err == resampling.error_of(sspp["mae"] - net["mae"]) > 0
    assert run(db, ["net"], [SSPP], bootstrap=0).scores[0].bias_err is None


def test_bins_hold_what_lies_between_their_edges_and_may_be_empty(db, case):
    snr = np.where(np.arange(N) < 5, np.nan, np.linspace(10.0, 60.0, N))
    add_spectra(db, case.right, snr)
    edges = {"snr": (30.0, 60.0, 90.0), "teff": (4500.0,)}
    found = run(db, ["net"], [SSPP], sample="clean", edges=edges)
    ref, sspp, net = (case.values[s]["teff"] for s in (REF, SSPP, NET))
    common = np.isfinite(ref) & np.isfinite(sspp) & np.isfinite(net)
    float_snr = snr.astype(np.float32)
    inside = (float_snr < 30, (float_snr >= 30) & (float_snr < 60), float_snr >= 60, ref < 0)
    for i, chosen in enumerate(inside):
        [_, row] = scores_of(found, bin_by="snr", bin=i)
        assert row.n == (chosen & common).sum()
        if row.n:
            assert row.bias == np.median((sspp - ref)[chosen & common])
    [_, empty] = scores_of(found, bin_by="snr", bin=3)
    assert (empty.bin_low, empty.bin_high, empty.n, empty.n_stars) == (90.0, None, 0, 0)
    assert (empty.bias, empty.bias_err, empty.slope, empty.coverage68) == (None,) * 4
    low, high = scores_of(found, bin_by="teff", test_set="net/oof@1")
    assert (low.n, high.n) == ((common & (ref < 4500)).sum(), (common & (ref >= 4500)).sum())
    assert {s.bin_by for s in found.scores} == {"all", "snr", "teff"}


def test_a_bin_has_its_lower_edge_and_not_its_upper() -> None:
    cells = cells_of("snr", (20.0, 40.0))
    assert cells == [Cell("snr", 0, None, 20.0), Cell("snr", 1, 20.0, 40.0), Cell("snr", 2, 40.0)]
    values = np.array([np.nan, 19.0, 20.0, 39.0, 40.0, np.inf])
    held = np.array([cell.holds(values[:-1]) for cell in cells])
    assert held.tolist() == [
        [False, True, False, False, False],
        [False, False, True, True, False],
        [False, False, False, False, True],
    ]


def small_case(db: Database) -> None:
    """Eight spectra of six stars, with errors that are easy to check."""
    star_of = np.array([0, 0, 0, 1, 1, 2, 3, 4])
    with db.begin() as conn:
        star = factories.add_stars(conn, list("abcde"))
        left = factories.add_sources(conn, "apogee", list("abcde"), ra=np.arange(5), star_id=star)
        right = factories.add_sources(conn, "sdss", [f"1-{i}-1-26" for i in range(8)], ra=200.0)
        cross = factories.add_matches(conn, left[star_of], right)
        factories.add_sample(conn, "small", cross, left[star_of], right, star[star_of])
        truth = np.array([1.0, 2.0, 3.0, 4.0, 4.5])
        factories.add_label_set(
            conn, REF, left, {"logg": truth, "logg_err": np.full(5, 0.03), "teff": truth * 1000}
        )
        model = factories.add_model(conn, "net", right[:1], star[:1])
        delta = np.array([0.04, 0.06, -0.02, 0.0, 0.3, 0.04, 0.12, -0.05])
        factories.add_label_set(
            conn, NET, right,
            {"teff": (truth[star_of] + delta) * 1000,
             "teff_err": np.array([50.0, 50, 50, 50, 100, 50, 50, np.nan])},
            kind="out_of_fold", model_id=model,
            details={"raw_sigma": [10.0, 70, 10, 10, 10, 10, 70, 10], "half_width95": [130.0] * 8},
        )  # fmt: skip
    add_spectra(db, right, np.array([10.0, 30, 50, 30, 90, 30, 30, 30]))


def test_coverage_counts_differences_within_the_combined_error(db):
    small_case(db)
    found = run(db, ["net"], sample="small")
    [overall] = scores_of(found, label="teff")
    # Differences 40, 60, -20, 0, 300, 40, 120 of those with an error; the reference has none.
    assert (overall.n, overall.n_stars, overall.n_sigma) == (8, 5, 7)
    assert overall.coverage68 == pytest.approx(4 / 7)  # 40, -20, 0, 40 within 50
    assert overall.coverage95 == pytest.approx(6 / 7)  # all but 300 within 130
    assert overall.raw_coverage68 == pytest.approx(2 / 8)  # 60 within 70, 0 within 10
    assert overall.raw_coverage95 == pytest.approx(3 / 8)  # and 120 within 1.96 * 70
    [giants] = scores_of(found, label="teff", population="giants")
    [dwarfs] = scores_of(found, label="teff", population="dwarfs")
    assert (giants.n, dwarfs.n) == (6, 2)
    assert giants.coverage68 == pytest.approx(4 / 6)
    assert dwarfs.coverage68 == 0.0
    binned = scores_of(found, label="teff", population="giants", bin_by="snr")
    assert [(s.n, s.coverage68) for s in binned] == [(1, 1.0), (3, 2 / 3), (1, 1.0), (1, 0.0)]


def test_errors_of_the_reference_count(db):
    small_case(db)
    with db.begin() as conn:
        ids = conn.scalars(sa.text("SELECT source_id FROM source WHERE survey = 'sdss'")).all()
        columns = {"logg": np.full(8, 3.04), "logg_err": np.full(8, 0.03)}
        factories.add_label_set(conn, "flat", np.array(sorted(ids)), columns)
    with db.reader() as conn:
        ref, flat = find_label_set(conn, REF), find_label_set(conn, "flat")
        [data] = read_compared(conn, ref, {"logg": [flat]}, "small")
    np.testing.assert_allclose(data.reference_err, 0.03, rtol=1e-6)
    pulls = metrics.pull(data.test[0] - data.reference, data.sigma[0], data.reference_err)
    assert pulls[data.reference == 3.0] == pytest.approx(0.04 / np.hypot(0.03, 0.03), rel=1e-4)


def test_repeats_compare_the_spectra_of_one_star(db):
    small_case(db)
    found = run(db, ["net"], sample="small")
    rows = [r for r in found.repeats if r.label == "teff"]
    # Of star a: 40 - 60, 40 - -20, 60 - -20; of star b: 0 - 300.
    assert (rows[0].bin_by, rows[0].n_pairs, rows[0].n_stars) == ("all", 4, 2)
    middle = np.median([20.0, 60.0, 80.0, 300.0])
    assert rows[0].repeat_sigma == pytest.approx(1.4826 * middle / np.sqrt(2), rel=1e-4)
    assert rows[0].predicted_sigma == pytest.approx(50.0)
    assert rows[0].repeat_sigma_err is None  # two stars tell nothing of it
    # By the lower S/N: 10, 10, 30, 30.
    assert [(r.n_pairs, r.bin_high) for r in rows[1:]] == [
        (2, 20.0), (2, 40.0), (0, 80.0), (0, None),
    ]  # fmt: skip
    assert rows[2].predicted_sigma == pytest.approx(np.mean([50.0, np.hypot(50, 100) / 2**0.5]))
    assert (rows[4].repeat_sigma, rows[4].predicted_sigma) == (None, None)


def test_a_set_that_labels_stars_has_no_repeats(db, case):
    with db.begin() as conn:
        left = np.unique(case.left)
        factories.add_label_set(conn, "other", left, {"teff": np.full(38, 4400.0)})
    found = run(db, ["net"], ["other"], sample="clean")
    pairs = {r.test_set: r.n_pairs for r in found.repeats if r.bin_by == "all"}
    assert pairs == {"net/oof@1": 2, "other@1": 0}


def test_labels_that_a_set_lacks_are_scored_for_the_others(db, case):
    found = run(db, [SSPP], ["net/oof"], sample="clean")
    assert [(s.label, s.test_set) for s in scores_of(found)] == [
        ("teff", "sspp/dr12@1"), ("teff", "net/oof@1"), ("fe_h", "sspp/dr12@1"),
    ]  # fmt: skip
    assert "net/oof@1 does not have fe_h." in found.notes
    assert scores_of(found, label="fe_h")[0].n == N
    [oof, _] = scores_of(run(db, ["net"], [SSPP], sample="clean"))
    assert (oof.n_sigma, oof.label) == (oof.n, "teff")


def test_sets_without_errors_have_no_coverage(db, case):
    with db.begin() as conn:
        factories.add_label_set(conn, "bare", case.right, {"teff": np.full(N, 4500.0)})
    [row] = scores_of(run(db, ["bare"]))
    assert row.n_sigma == 0
    assert (row.coverage68, row.coverage95, row.raw_coverage68, row.pull_sigma) == (None,) * 4
    assert row.bias is not None


def test_a_network_is_never_scored_on_stars_it_was_trained_on(db, case):
    found = run(db, ["net/all"], sample="clean")
    assert found.notes[0] == ("10 stars left out: the network of net/all@1 was trained on them.")
    assert scores_of(found)[0].n == N - 12 - 1  # 12 spectra of the 10 stars, one without label
    with db.begin() as conn:
        factories.add_sample(
            conn, "seen", _other_crossmatch(conn), case.left[:10], case.right[:10], case.star[:10]
        )
    with pytest.raises(UsageError, match="no star has a label in all of the sets") as caught:
        run(db, ["net/all"], sample="seen")
    assert "the network of net/all@1 was trained on them" in str(caught.value)
    assert scores_of(run(db, ["net"], sample="seen"))[0].n == 9  # out of fold: honest, one NULL


def _other_crossmatch(conn: sa.Connection) -> int:
    return conn.execute(
        sa.text(
            "INSERT INTO crossmatch (left_spec, right_spec, radius_arcsec) "
            "VALUES ('apogee', 'sdss', 1) RETURNING crossmatch_id"
        )
    ).scalar_one()


def test_notes_say_what_is_simulated(db, case):
    with db.begin() as conn:
        factories.add_label_set(
            conn, "sim", case.right, {"teff": np.full(N, 4500.0)},
            params={"simulated": True, "note": "LASP labels"},
        )  # fmt: skip
    found = run(db, ["net"], ["sim"])
    assert found.notes == (
        "sim@1: LASP labels.", "Simulated data, no measurement of real stars: sim@1.",
    )  # fmt: skip
    assert all(note in as_table(found) for note in found.notes)


def test_what_is_kept_is_what_was_found_and_is_kept_once(db, case):
    with db.reader() as conn:
        inputs = read_inputs(conn, ["net"], [SSPP], reference=REF, bootstrap=10)
        assert find_evaluation(conn, inputs.evaluation) is None
    found = evaluate(inputs)
    with db.begin() as conn:
        written = write_evaluation(conn, found)
    assert written == 1 + len(found.scores) + len(found.repeats)
    with db.begin() as conn:
        assert write_evaluation(conn, found) == 0
    with db.reader() as conn:
        again = read_inputs(conn, ["net"], [SSPP], reference=REF, bootstrap=10)
        assert find_evaluation(conn, again.evaluation) == found
        other = read_inputs(conn, ["net"], [SSPP], reference=REF, bootstrap=11)
        assert find_evaluation(conn, other.evaluation) is None
    newer = evaluate(other)
    with db.begin() as conn:
        write_evaluation(conn, newer)
        write_evaluation(conn, run(db, ["net"], bootstrap=10))
    with db.reader() as conn:
        rows = conn.execute(
            sa.text("SELECT * FROM evaluation_summary ORDER BY evaluation_id, test_set")
        ).all()
    assert [(r.test_set, r.n, r.mae_err) for r in rows[:2]] == [
        (s.test_set, s.n, s.mae_err) for s in scores_of(newer)
    ]
    assert [(r.test_set, r.n) for r in rows[2:]] == [("net/oof@1", 36)]
    assert rows[0].evaluation_id == rows[1].evaluation_id < rows[2].evaluation_id


def test_renderings_agree_and_fit(db, case):
    found = run(db, ["net"], [SSPP], sample="clean")
    values = json.loads(as_json(found))
    assert values["scores"] == [dataclasses.asdict(s) for s in found.scores]
    assert values["repeats"] == [dataclasses.asdict(r) for r in found.repeats]
    assert values["settings"] == found.settings
    rows = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert [float(r["mae"]) if r["mae"] else None for r in rows] == [s.mae for s in found.scores]
    text = as_table(found)
    assert max(map(len, text.splitlines())) <= 100
    assert f"teff [K]: {found.scores[0].n} spectra of {found.scores[0].n_stars} stars" in text
    assert f"{found.scores[0].sigma_mad:.1f}+-{found.scores[0].sigma_mad_err:.1f}" in text


@pytest.mark.parametrize(
    ("models", "how", "message"),
    [
        (["nope"], {}, "there is no model nope, nor a label set.*Models and label sets: net, "),
        (["net@7"], {}, "there is no model net@7"),
        ([], {}, "nothing was named"),
        (["net"], {"reference": None}, "come from no model. Say what to score against"),
        (["net"], {"sample": "dirty"}, "there is no sample dirty"),
        (["net"], {"against": ["nope"]}, "there is no label set nope"),
        (["net", NET], {}, "net/oof@1 is named twice"),
        (["net"], {"edges": {"mass": (1.0,)}}, "there are no bins of mass. Bins: snr, teff"),
        (["net"], {"edges": {"snr": (2.0, 1.0)}}, "the edges 2, 1 of snr do not grow"),
        (["net"], {"edges": {"snr": (np.nan,)}}, "do not grow"),
        (["net"], {"bootstrap": 1}, "1 bootstrap samples give no error"),
    ],
)
def test_what_makes_no_sense_is_refused(db, case, models, how, message):
    with pytest.raises(UsageError, match=message):
        run(db, models, how.pop("against", ()), **how)


def test_edges_are_read_as_typed():
    edges = read_edges(["snr=10, 20", "teff=5000"])
    assert (edges["snr"], edges["teff"], edges["logg"]) == (
        (10.0, 20.0),
        (5000.0,),
        (2.0, 3.5, 4.2),
    )
    with pytest.raises(UsageError, match="snr=ten does not say where bins end"):
        read_edges(["snr=ten"])


def test_command_keeps_scores_and_says_when_nothing_has_changed(db, db_url, case):
    url = db_url.set(drivername="postgresql").render_as_string(hide_password=False)
    words = ["--database-url", url, "evaluate", "net", "--reference", REF, "--against", SSPP]
    first = CliRunner().invoke(app, [*words, "--bootstrap", "5", "--bins", "teff=4500"])
    assert first.exit_code == 0, first.output
    assert "these scores are kept" in first.output
    again = CliRunner().invoke(app, [*words, "--bootstrap", "5", "--bins", "teff=4500"])
    assert "the catalog has these scores" in again.output
    as_object = CliRunner().invoke(app, [*words, "--bootstrap", "5", "--json"])
    assert json.loads(as_object.stdout)["test_sets"] == ["net/oof@1", "sspp/dr12@1"]
    silent = CliRunner().invoke(app, [*words, "--quiet"])
    assert (silent.exit_code, silent.output) == (0, "")
    refused = CliRunner().invoke(app, [*words, "--learning-curve", "1"])
    assert isinstance(refused.exception, UsageError)
    assert "1 is no number of training stars" in str(refused.exception)
