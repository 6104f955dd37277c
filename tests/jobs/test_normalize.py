"""Normalized spectra are kept up to date, no more and no less."""

from __future__ import annotations

import numpy as np
import pytest
import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.store.db import Database
from catalog.store.spectra import checksum, decode, encode, read_spectra
from jobs.engine.params import digest
from jobs.engine.runner import run_job
from jobs.normalize import (
    NormalizeParams,
    count_normalized,
    normalize_job,
    normalize_report,
)
from models.spectra.normalize import NORMALIZE_FLAGS, RECIPES
from models.spectra.normalize import normalize as normalize_arrays
from tests.support.learning import Stopped, normalize, rows, stopping_after, value

EVERYTHING = """
    SELECT survey_key, recipe, recipe_version, spectrum_sha256, n.z, normalize_flags,
           good_fraction, md5(n.flux), md5(n.ivar), md5(n.continuum)
    FROM normalized_spectrum n JOIN source USING (source_id)
    JOIN spectrum_blob b USING (source_id) ORDER BY survey_key, recipe"""


def forget(db: Database) -> None:
    with db.begin() as conn:
        conn.execute(sa.text("DELETE FROM normalized_spectrum"))


def change_flux(db: Database, source_id: int) -> None:
    """Store another spectrum for a source, as another ingest of its file would."""
    query = "SELECT flux, ivar, and_mask, or_mask FROM spectrum_blob WHERE source_id = :id"
    [(flux, *others)] = rows(db, query, id=source_id)
    flux = encode(decode(flux) * np.linspace(0.5, 1.0, len(flux) // 4))
    with db.begin() as conn:
        conn.execute(
            sa.text("UPDATE spectrum_blob SET flux = :flux, sha256 = :sha WHERE source_id = :id"),
            {"flux": flux, "sha": checksum(flux, *others), "id": source_id},
        )


def a_source(db: Database) -> int:
    return value(db, "SELECT min(source_id) FROM normalized_spectrum")


@pytest.mark.parametrize("recipe", ["default", "seed-2018"])
def test_second_run_has_nothing_to_do(survey, recipe):
    n_usable = value(survey, "SELECT count(*) FROM spectrum_blob WHERE spectrum_state = 'ok'")
    n_done = value(survey, "SELECT count(*) FROM normalized_spectrum WHERE recipe = :r", r=recipe)
    again = normalize(survey, recipe)
    assert n_done == n_usable > 70
    assert (again.state, again.rows_written) == ("idle", 0)


def test_result_is_that_of_the_single_spectrum(survey):
    source_id = a_source(survey)
    with survey.reader() as conn:
        spectrum = read_spectra(conn, [source_id])
    normalize(survey, "masked")
    for name, recipe in RECIPES.items():
        alone = normalize_arrays(
            recipe, spectrum.first_index, spectrum.flux, spectrum.ivar, spectrum.and_mask,
            spectrum.z,
        )  # fmt: skip
        [(flux, ivar, continuum, flags)] = rows(
            survey,
            "SELECT flux, ivar, continuum, normalize_flags FROM normalized_spectrum "
            "WHERE source_id = :id AND recipe = :r",
            id=source_id, r=name,
        )  # fmt: skip
        assert len(decode(flux)) == recipe.n_pixels
        np.testing.assert_allclose(decode(flux), alone.flux[0], rtol=1e-6)
        np.testing.assert_allclose(decode(ivar), alone.ivar[0], rtol=1e-5)
        np.testing.assert_allclose(decode(continuum), alone.continuum[0], rtol=1e-6)
        assert flags == alone.flags[0]


def test_changed_spectrum_is_normalized_again_and_only_that(survey):
    before = rows(survey, EVERYTHING)
    source_id = a_source(survey)
    change_flux(survey, source_id)
    assert normalize(survey, "default").rows_written == 1
    assert normalize(survey, "seed-2018").rows_written == 1
    assert normalize(survey, "default").state == "idle"
    after = rows(survey, EVERYTHING)
    changed = [a for b, a in zip(before, after, strict=True) if a != b]
    assert [row[1] for row in changed] == ["default", "seed-2018"]


def test_changed_redshift_matters_to_the_rest_frame_only(survey):
    with survey.begin() as conn:
        conn.execute(
            sa.text("UPDATE spectrum_blob SET z = NULL WHERE source_id = :id"),
            {"id": a_source(survey)},
        )
    assert normalize(survey, "seed-2018").state == "idle"
    assert normalize(survey, "default").rows_written == 1
    with survey.reader() as conn:
        assert count_normalized(conn, "default", None).flags["REDSHIFT_UNKNOWN"] == 1


def test_newer_recipe_version_replaces_the_old_rows(survey):
    with survey.begin() as conn:
        conn.execute(sa.text("UPDATE normalized_spectrum SET recipe_version = 0"))
    n = value(survey, "SELECT count(*) FROM normalized_spectrum WHERE recipe = 'default'")
    assert normalize(survey, "default").rows_written == n


def test_sample_restricts_the_work(survey):
    forget(survey)
    linked = "SELECT right_id FROM star_link JOIN sample USING (sample_id) WHERE name = 'clean'"
    summary = normalize(survey, "default", sample="clean")
    assert summary.rows_written == len(rows(survey, linked)) > 0
    assert not rows(survey, f"SELECT FROM normalized_spectrum WHERE source_id NOT IN ({linked})")


def test_stopped_run_goes_on_to_the_same_result(survey):
    whole = digest([list(row) for row in rows(survey, EVERYTHING)])
    forget(survey)
    params = NormalizeParams("default", batch=20)
    with pytest.raises(Stopped):
        run_job(stopping_after(normalize_job(params, survey), 2), survey)
    assert value(survey, "SELECT count(*) FROM normalized_spectrum") == 40
    summary = run_job(normalize_job(params, survey), survey)
    assert (summary.state, summary.chunks_left) == ("succeeded", 0)
    n = value(survey, "SELECT count(*) FROM spectrum_blob WHERE spectrum_state = 'ok'")
    assert summary.outcome.text == f"{n} spectra normalized"
    normalize(survey, "seed-2018")
    assert digest([list(row) for row in rows(survey, EVERYTHING)]) == whole


def test_damaged_blob_fails_its_chunk_and_no_other(survey):
    forget(survey)
    damaged = value(survey, "SELECT min(source_id) FROM spectrum_blob WHERE spectrum_state = 'ok'")
    with survey.begin() as conn:
        conn.execute(
            sa.text("UPDATE spectrum_blob SET flux = set_byte(flux, 9, 77) WHERE source_id = :id"),
            {"id": damaged},
        )
    summary = normalize(survey, "default", batch=20)
    assert (summary.state, summary.chunks_failed) == ("failed", 1)
    assert f"source {damaged} is damaged" in summary.errors[0]
    n_usable = value(survey, "SELECT count(*) FROM spectrum_blob WHERE spectrum_state = 'ok'")
    assert value(survey, "SELECT count(*) FROM normalized_spectrum") == n_usable - 20


def test_report_tells_crop_and_signal(survey):
    sn = rows(survey, "SELECT sn_median FROM spectrum_blob WHERE spectrum_state = 'ok'")
    with survey.reader() as conn:
        counts = count_normalized(conn, "seed-2018", None)
        text = normalize_report(conn, "seed-2018")
    assert counts.n_missing == 0
    assert counts.sn_min == pytest.approx(min(sn)[0])
    assert counts.sn_median == pytest.approx(np.median(sn))
    assert "cropped to 3950.0 - 8999.1 A in the observed frame (3577 pixels)" in text
    assert f"minimum {min(sn)[0]:.1f}" in text
    # The simulated spectra begin at 3800 A or up to 39 pixels later, and end at 9200 A.
    assert 3800 < counts.first_wavelength < 3836
    assert counts.last_wavelength == pytest.approx(9198.1, abs=0.1)


def test_report_counts_what_is_missing(survey):
    forget(survey)
    with survey.reader() as conn:
        text = normalize_report(conn, "default", "clean")
    assert text.startswith("0 spectra normalized by default in sample clean, ")


def test_flag_bits_are_recorded(survey):
    found = rows(survey, "SELECT bit, name FROM flag_bit WHERE producer = 'normalize'")
    assert dict(found) == {bit: name for bit, (name, _) in NORMALIZE_FLAGS.items()}


def test_unknown_names_are_refused_with_the_known_ones(survey):
    with pytest.raises(UsageError, match="Recipes: seed-2018, default"):
        normalize_job(NormalizeParams("sharp"), survey)
    with pytest.raises(UsageError, match=r"there is no sample dirty.*clean, seed-2018"):
        normalize_job(NormalizeParams("default", "dirty"), survey)
