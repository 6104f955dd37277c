"""Samples in the database: on the simulated survey, on rows made by hand, and on the kit's."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.sky.vectors import offset_position
from catalog.store.db import Database
from catalog.surveys.simulate import write_survey
from jobs.crossmatch.crossmatch import CrossmatchParams, crossmatch_job
from jobs.engine.job import RunSummary
from jobs.engine.params import from_dict, params_hash, to_dict
from jobs.engine.runner import run_job
from jobs.ingest.catalogs import ingest_catalog
from jobs.ingest.spectra import SpectraParams, ingest_spectra_job
from jobs.samples.rules import PRESETS, CleanRules, SeedRules
from jobs.samples.select import SampleParams, sample_job, sample_report
from tests.support.source_rows import put_sources


def load(db: Database, folder: Path) -> None:
    """Ingest a survey and match it."""
    ingest_catalog(db, "apogee", [folder / "allStar-l31c.2.fits"], "dr14")
    ingest_catalog(db, "sspp", [folder / "ssppOut-dr12.fits"], "dr12")
    run_job(ingest_spectra_job(SpectraParams((str(folder / "spectra"),), max_bad=1.0), db), db)
    match(db)


def match(db: Database) -> RunSummary:
    return run_job(crossmatch_job(CrossmatchParams(), db), db)


def select(db: Database, preset: str, **changes: object) -> RunSummary:
    params = SampleParams(**({"name": preset, "preset": preset} | changes))
    return run_job(sample_job(params, db), db)


def members(db: Database, name: str) -> list[sa.Row]:
    """The pairs of a sample by natural keys."""
    query = """
        SELECT a.apogee_id, l.survey_key AS left_key, r.survey_key, m.accepted,
               coalesce(m.reason, '') AS reason, m.label_distance, p.sep_arcsec, l.star_id,
               ref.teff AS ref_teff, cmp.teff AS cmp_teff
        FROM sample s JOIN sample_member m USING (sample_id)
        JOIN match p USING (crossmatch_id, left_id, right_id)
        JOIN source l ON l.source_id = left_id JOIN source r ON r.source_id = right_id
        JOIN apogee_star a ON a.source_id = left_id
        LEFT JOIN stellar_label ref ON ref.source_id = left_id
        LEFT JOIN stellar_label cmp ON cmp.source_id = right_id
        WHERE s.name = :name ORDER BY l.survey_key, p.sep_arcsec, r.survey_key"""
    with db.reader() as conn:
        return list(conn.execute(sa.text(query), {"name": name}))


def links(db: Database, name: str) -> set[tuple[str, str]]:
    query = """
        SELECT t.star_key, r.survey_key FROM star_link k JOIN sample s USING (sample_id)
        JOIN star t USING (star_id) JOIN source r ON r.source_id = right_id WHERE s.name = :name"""
    with db.reader() as conn:
        return {(row[0], row[1]) for row in conn.execute(sa.text(query), {"name": name})}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("survey")
    write_survey(folder, n_matched=40, n_apogee=160, n_sspp=140, seed=2)
    return folder


@pytest.fixture
def survey(db, folder) -> Database:
    load(db, folder)
    return db


def test_both_presets_on_the_simulated_survey(survey, folder):
    truth = {}
    with (folder / "truth.csv").open() as lines:
        for row in csv.DictReader(lines):
            truth[row["apogee_id"], row["survey_key"]] = row["relation"]

    for preset in PRESETS:
        first = select(survey, preset)
        assert first.state == "succeeded"
        pairs = members(survey, preset)
        accepted = {(p.apogee_id, p.survey_key) for p in pairs if p.accepted}
        assert len(accepted) > 20
        assert all(p.accepted == (p.reason == "") for p in pairs)
        assert {p.reason for p in pairs} <= {"", *PRESETS[preset].reasons}
        # Every pair of the crossmatch is there, and links are the accepted ones by star.
        with survey.reader() as conn:
            assert conn.scalar(sa.text("SELECT count(*) FROM match")) == len(pairs)
            counts, text = sample_report(conn, preset)
        assert links(survey, preset) == accepted
        assert first.rows_written == 1 + len(pairs) + len(accepted)
        assert select(survey, preset).state == "idle"

        check_sums(survey, counts, pairs)
        check_statistics(counts, pairs)
        assert f"sample {preset}" in text
        assert counts["labels"] == {"reference": "aspcap/dr14@1", "compared": "sspp/dr12@1"}

    wrong = {k for k in accepted if truth.get(k) not in ("true", "repeat")}
    assert not wrong, "`clean` accepts pairs that the truth calls chance"


def check_sums(db: Database, counts: dict, pairs: list[sa.Row]) -> None:
    """The funnel begins with the rows of the file and loses none."""
    with db.reader() as conn:
        n_rows = conn.scalar(sa.text("SELECT n_rows FROM input_file WHERE kind = 'apogee'"))
    rows = dict(counts["rows"])
    assert rows.pop("total") == n_rows == sum(rows.values())
    by_reason = dict(counts["pairs"])
    assert by_reason.pop("total") == len(pairs) == sum(by_reason.values())
    assert {k: n for k, n in by_reason.items() if n} == Counter(
        p.reason or "accepted" for p in pairs
    )
    assert rows["accepted"] == len({p.left_key for p in pairs if p.accepted})
    assert rows["DUPLICATE"] == 4


def check_statistics(counts: dict, pairs: list[sa.Row]) -> None:
    """Once more with plain Python."""
    delta = [
        p.cmp_teff - p.ref_teff
        for p in pairs
        if p.accepted and None not in (p.cmp_teff, p.ref_teff)
    ]
    stored = counts["differences"]["after"]["teff"]
    assert stored["n"] == len(delta)
    assert stored["mean"] == pytest.approx(np.mean(delta), rel=1e-5)
    assert stored["median"] == pytest.approx(np.median(delta), rel=1e-5)


def test_with_the_same_answer_no_run_is_opened(survey):
    """Only where the crossmatch, the catalogs or the label sets are as they were."""
    select(survey, "clean")
    query = "SELECT count(*) FROM job_run WHERE kind = 'sample'"
    with survey.reader() as conn:
        n_runs = conn.scalar(sa.text(query))
    assert select(survey, "clean").state == "idle"
    with survey.reader() as conn:
        assert conn.scalar(sa.text(query)) == n_runs
    with survey.begin() as conn:  # as if it was selected by an edition that is gone
        conn.execute(
            sa.text(
                "UPDATE sample SET counts = jsonb_set(counts, '{labels,compared}', '\"x@1\"') "
                "WHERE name = 'clean'"
            )
        )
    assert select(survey, "clean").state == "succeeded"
    assert select(survey, "clean").state == "idle"


def test_a_sample_follows_its_crossmatch(survey):
    """A new spectrum beside an accepted star makes it doubtful; without it, all is as before."""
    select(survey, "clean")
    before = members(survey, "clean")
    repeats = Counter(p.left_key for p in before)
    chosen = next(p for p in before if p.accepted and repeats[p.left_key] == 1)
    with survey.reader() as conn:
        ra, dec = conn.execute(
            sa.text("SELECT ra, dec FROM source WHERE survey_key = :k"), {"k": chosen.left_key}
        ).one()
    near = offset_position(ra, dec, -1.3, 0.0)
    put_sources(survey, "sdss", ["9999-59999-1-v5"], *near)
    match(survey)
    # The star's two pairs (one new), its link, and the counts of the sample.
    assert select(survey, "clean").rows_written == 4
    now = {
        p.survey_key: p.reason for p in members(survey, "clean") if p.left_key == chosen.left_key
    }
    assert now == {chosen.survey_key: "AMBIGUOUS", "9999-59999-1-v5": "NO_SPECTRUM"}
    assert chosen.survey_key not in {key for _, key in links(survey, "clean")}

    put_sources(survey, "sdss", ["9999-59999-1-v5"], *offset_position(ra, dec, 30.0, 0.0))
    match(survey)
    select(survey, "clean")
    assert members(survey, "clean") == before
    assert (chosen.apogee_id, chosen.survey_key) in links(survey, "clean")


@pytest.mark.parametrize(("more_snr", "stands"), [(-1, "old"), (1, "new")])
def test_one_row_stands_for_a_star(survey, more_snr, stands):
    """Of two primary rows of one star only the one of higher S/N brings its pairs in."""
    select(survey, "clean")
    before = members(survey, "clean")
    chosen = next(p for p in before if p.accepted)
    with survey.begin() as conn:
        conn.execute(
            sa.text(
                "WITH s AS (INSERT INTO source (survey, survey_key, ra, dec, healpix29, star_id) "
                "SELECT survey, survey_key || '/2', ra, dec, healpix29, star_id FROM source "
                "WHERE survey_key = :k RETURNING source_id) "
                "INSERT INTO apogee_star (source_id, apogee_id, target_id, apstar_id, "
                "data_release, snr, is_primary) SELECT s.source_id, apogee_id, 'again', 'again', "
                "data_release, snr + :more, true FROM s, apogee_star a JOIN source o "
                "ON o.source_id = a.source_id WHERE o.survey_key = :k"
            ),
            {"k": chosen.left_key, "more": more_snr},
        )
    match(survey)
    select(survey, "clean")
    now = {p.left_key: p.reason for p in members(survey, "clean")}
    old, new = now[chosen.left_key], now[f"{chosen.left_key}/2"]
    # The new row has no labels of its own.
    assert (old, new) == (("", "DUPLICATE") if stands == "old" else ("DUPLICATE", "NO_LABELS"))


def test_numbers_of_the_rules_are_parameters(survey):
    select(survey, "clean", name="strict", rules=CleanRules(min_sn=1e6))
    assert not any(p.accepted for p in members(survey, "strict"))
    assert links(survey, "strict") == set()
    select(survey, "seed-2018", name="near", rules=SeedRules(max_distance=3.0))
    near = [p.label_distance for p in members(survey, "near") if p.accepted]
    assert near
    assert max(near) < 3.0


def test_clean_needs_no_labels_to_compare_with(survey):
    select(survey, "clean", name="alone", compared_labels="sspp/dr99")
    with survey.reader() as conn:
        counts, text = sample_report(conn, "alone")
    assert counts["labels"]["compared"] is None
    assert counts["differences"]["after"]["teff"]["n"] == 0
    assert "minus" not in text
    for params, command in (
        ({"compared_labels": "sspp/dr99"}, r"ingest sspp ssppOut-dr99\.fits --release dr99"),
        ({"reference_labels": "aspcap/dr99"}, "ingest apogee .* --release dr99"),
    ):
        with pytest.raises(UsageError, match=rf"no label set .*/dr99.* Run: crosslabel {command}"):
            select(survey, "seed-2018", name="other", **params)


def test_a_name_keeps_its_meaning(survey):
    select(survey, "clean", name="mine")
    with pytest.raises(UsageError, match="mine exists"):
        select(survey, "seed-2018", name="mine")
    with pytest.raises(UsageError, match="mine exists, of preset clean with other rules"):
        select(survey, "clean", name="mine", rules=CleanRules(min_sn=20.0))
    assert select(survey, "clean", name="mine").state == "idle"
    with survey.reader() as conn, pytest.raises(UsageError, match=r"no sample other.*mine"):
        sample_report(conn, "other")


def test_what_cannot_be_selected_is_refused(db):
    with pytest.raises(UsageError, match=r"have not been matched within 2 arcsec.*crossmatch"):
        select(db, "clean")
    with pytest.raises(UsageError, match="no preset best"):
        SampleParams("x", "best")
    with pytest.raises(UsageError, match="rules of clean are CleanRules"):
        SampleParams("x", "clean", rules=SeedRules())
    for left in ("sdss", "apogee"):
        with pytest.raises(UsageError, match="no left catalog"):
            SampleParams("x", left=left)


def test_parameters_survive_the_ledger():
    params = SampleParams("x", "clean", left="apogee/dr17", rules=CleanRules(aspcap_bad=()))
    again = from_dict(SampleParams, to_dict(params))
    assert again == params
    assert params_hash(again) == params_hash(params) != params_hash(SampleParams("x"))
    assert again.reference_labels == "aspcap/dr17"


@pytest.mark.kit
def test_wrong_pairs_of_the_survey_kit(kit, db, tmp_path):
    """`clean` accepts no spectrum of another star where a spectrum of its own shows the conflict.

    A star whose only spectrum within the radius is another star's (``chance_only``) cannot be
    told from a star that was observed; no other kind of wrong pair may pass.
    """
    pd = pytest.importorskip("pandas")
    subprocess.run(
        [
            sys.executable, kit / "tools" / "make_survey.py", tmp_path, "--seed", "4",
            "--matched", "60", "--apogee", "400", "--sspp", "600", "--slim",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    load(db, tmp_path)
    truth = pd.read_parquet(tmp_path / "truth.parquet")
    truth["key"] = (
        truth.plate.astype(str) + "-" + truth.mjd.astype(str) + "-" + truth.fiber.astype(str)
    )
    relation = dict(zip(zip(truth.apogee_id, truth.key, strict=True), truth.relation, strict=True))
    for preset in PRESETS:
        select(db, preset)
        kinds = Counter(
            (p.reason or "accepted", relation[p.apogee_id, p.survey_key.rpartition("-")[0]])
            for p in members(db, preset)
        )
        print(preset, dict(kinds))
        accepted = {kind for reason, kind in kinds if reason == "accepted"}
        assert {"true", "true_repeat", "true_pm"} & accepted
        if preset == "clean":
            assert accepted <= {"true", "true_repeat", "true_pm", "chance_only"}
            assert kinds["accepted", "true"] > 40
