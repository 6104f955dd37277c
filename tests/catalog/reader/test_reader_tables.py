"""What people get from an opened catalog: the rows of plain SQL, with units, masks and limits."""

from __future__ import annotations

import doctest
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table

from catalog import Catalog, LimitWarning, open_catalog
from catalog.config import Settings
from catalog.errors import (
    ConfigurationError,
    CrosslabelError,
    SourceUnavailableError,
    UsageError,
)
from catalog.store import embedded
from catalog.store.columns import VOCABULARY
from catalog.store.db import connect
from catalog.store.upgrade import upgrade_schema
from tests.conftest import ROOT, libpq_url
from tests.support import factories
from tests.support.export_survey import BIG, N, make_survey


@pytest.fixture
def survey(db):
    return make_survey(db)


@pytest.fixture
def cat(db, survey):
    with open_catalog(libpq_url(db.engine.url), reader_url=libpq_url(db.reader_url)) as cat:
        yield cat


def plain(db, query: str, **values) -> list[tuple]:
    with db.reader() as conn:
        return [tuple(row) for row in conn.execute(sa.text(query), values)]


def cells(table: Table) -> list[tuple]:
    """Rows as SQL has them: masked is None, identifiers of any size are numbers."""
    rows = []
    for row in table:
        values = [None if np.ma.is_masked(v) else v.item() for v in row.values()]
        rows.append(tuple(values))
    return rows


def test_labels_are_those_of_sql_with_masks_units_and_ucds(db, cat):
    table = cat.labels("aspcap/dr14")
    wanted = plain(
        db,
        "SELECT r.survey, r.survey_key, a.apogee_id, r.ra, r.dec, s.teff, s.teff_err, s.fe_h, "
        "s.fe_h_err, s.flags FROM stellar_label s JOIN source r USING (source_id) "
        "JOIN apogee_star a USING (source_id) JOIN current_label_set c USING (label_set_id) "
        "WHERE c.name = 'aspcap/dr14' ORDER BY r.survey_key",
    )
    assert cells(table) == [
        (*row[:5], *(None if x is None else float(np.float32(x)) for x in row[5:9]), row[9])
        for row in wanted
    ]
    assert table["teff"].unit == u.K
    assert table["fe_h"].unit == u.dex
    assert table["ra"].unit == u.deg
    for name in table.colnames:
        assert table[name].meta["ucd"] == VOCABULARY[name].ucd
        assert table[name].description == VOCABULARY[name].description
    assert table["teff"].mask.tolist() == [True, False, False, False]  # sorted by key
    assert np.isnan(table["teff"].data.data[0])  # what forgets the mask is spoiled
    assert not hasattr(table["ra"], "mask")
    assert table.meta["notes"] == ["flags bit 0: TEFF_WARN, Teff is doubtful"]
    assert table.meta["provenance"]["label_set"] == "aspcap/dr14@1"
    assert QTable(table)["teff"][0].unit == u.K
    frame = table.to_pandas()
    assert frame["teff"].isna().tolist() == table["teff"].mask.tolist()


def test_where_columns_and_sample_narrow_labels(db, cat):
    warm = cat.labels(
        "aspcap/dr14", where="teff > %(least)s", params={"least": 4000.5}, columns=["teff", "flags"]
    )
    assert warm.colnames == ["teff", "flags"]
    assert sorted(warm["teff"].tolist()) == [np.float32(4321.1).item(), 5000.0]
    with db.begin() as conn:
        other = factories.add_sources(conn, "apogee", ["dr14/other"])
        factories.add_label_set(conn, "other", other, {"teff": [4000.0]})
    assert len(cat.labels("other")) == 1
    assert len(cat.labels("other", sample="clean")) == 0
    assert len(cat.labels("sspp/dr12", sample="clean")) == N


def test_ids_beyond_2_63_are_exact(db, cat):
    found = cat.matches("clean")
    exact = {None if np.ma.is_masked(v) else int(v) for v in found["specobjid"]}
    assert exact == {BIG, BIG + 1, 42, None}
    assert cat.sql("SELECT specobjid FROM sdss_spectrum WHERE specobjid = %s", [BIG])[
        "specobjid"
    ].tolist() == [str(BIG)]


def test_matches_of_a_sample_with_reasons_and_of_none(db, cat, survey):
    accepted = cat.matches("clean")
    assert accepted["right_key"].tolist() == [f"8954-57453-{i}-v5" for i in range(N)]
    assert accepted["sep_arcsec"].unit == u.arcsec
    with db.begin() as conn:
        conn.execute(
            sa.text(
                "UPDATE sample_member SET accepted = false, reason = 'DUPLICATE' "
                "WHERE right_id = :id"
            ),
            {"id": int(survey["right"][0])},
        )
    pairs = cat.matches("clean", rejected=True)
    assert len(pairs) == N
    assert [r for r in pairs["reason"] if not np.ma.is_masked(r)] == ["DUPLICATE"]
    assert pairs["accepted"].sum() == N - 1
    nearest = cat.matches()
    wanted = plain(
        db,
        "SELECT l.survey_key, r.survey_key FROM best_match b "
        "JOIN source l ON l.source_id = left_id "
        "JOIN source r ON r.source_id = right_id ORDER BY 1, 2",
    )
    assert (
        list(zip(nearest["left_key"].tolist(), nearest["right_key"].tolist(), strict=True))
        == wanted
    )


def test_stars_and_lists(db, cat):
    stars = cat.stars()
    assert stars["star_key"].tolist() == ["2M0", "2M1", "2M2"]
    assert stars["n_spectra"].tolist() == [2, 1, 1]
    assert stars["survey_key"][0] == "dr14/star.c"  # the main entry, not the duplicate
    assert cat.stars("clean", where="n_spectra > 1")["star_key"].tolist() == ["2M0"]
    sets = cat.label_sets()
    assert sets["name"].tolist() == ["aspcap/dr14", "sspp/dr12"]
    assert sets["n_rows"].tolist() == [N, N]
    assert cat.samples()["n_stars"].tolist() == [3]
    with db.begin() as conn:
        left = factories.add_sources(conn, "apogee", ["dr14/star.c"])
        factories.add_label_set(conn, "aspcap/dr14", left, {"teff": [1.0]})
        factories.add_model(conn, "net", left, np.array([1]))
    assert cat.label_sets()["edition"].tolist() == [2, 1]
    assert cat.label_sets(all_editions=True)["edition"].tolist() == [1, 2, 1]
    assert len(cat.labels("aspcap/dr14")) == 1
    assert len(cat.labels("aspcap/dr14@1")) == N
    assert cat.models()["name"].tolist() == ["net"]


def test_limits_are_announced_and_blocks_give_all(cat):
    with pytest.warns(LimitWarning, match="first 2 of 4 rows of aspcap/dr14@1, by") as caught:
        table = cat.labels("aspcap/dr14", limit=2)
    assert caught[0].filename == __file__
    assert len(table) == 2
    assert table.meta["n_rows"] == N
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        full = cat.labels("aspcap/dr14", limit=N)
        everything = cat.labels("aspcap/dr14", limit=None)
    assert cells(full) == cells(everything)
    assert cells(full)[:2] == cells(table)
    blocks = list(cat.iterate("labels", "aspcap/dr14", rows=3))
    assert [len(b) for b in blocks] == [3, 1]
    assert [row for b in blocks for row in cells(b)] == cells(full)
    assert blocks[0]["teff"].unit == u.K
    assert list(cat.iterate("labels", "aspcap/dr14", where="false")) == []
    with pytest.warns(LimitWarning, match="first 0 of 4"):
        assert len(cat.labels("aspcap/dr14", limit=0)) == 0
    for none in (-1, 1.5, "3", float("nan")):
        with pytest.raises(UsageError, match="no number of rows"):
            cat.labels("aspcap/dr14", limit=none)
        with pytest.raises(UsageError, match="no number of rows"):
            next(cat.iterate("labels", "aspcap/dr14", rows=none))
    assert len(cat.labels("aspcap/dr14", limit=2**64)) == N
    assert len(list(cat.iterate("labels", "aspcap/dr14", rows=2**64))) == 1
    with pytest.raises(UsageError, match="nothing called label"):
        next(cat.iterate("label"))


def test_sql_keeps_its_order_and_cannot_write(db, cat):
    found = cat.sql("SELECT survey_key, ra FROM source WHERE survey = 'sdss' ORDER BY ra DESC, 1")
    wanted = plain(
        db, "SELECT survey_key, ra FROM source WHERE survey = 'sdss' ORDER BY ra DESC, 1"
    )
    assert cells(found) == wanted
    assert found["ra"].unit == u.deg
    assert cat.sql("SELECT '100%' AS percent")["percent"][0] == "100%"
    for write in (
        "DELETE FROM source",
        "WITH gone AS (DELETE FROM source RETURNING 1) SELECT * FROM gone",
        "SELECT 1) q; DROP TABLE source; --",
        "SELECT nextval('source_source_id_seq') AS n",
        "SELECT pg_read_file('/etc/passwd') AS text",
    ):
        with pytest.raises(UsageError):
            cat.sql(write)
    for where in ("true); DELETE FROM source; --", "set_config('role', 'crosslabel', true) <> ''"):
        with pytest.raises(UsageError):
            cat.labels("aspcap/dr14", where=where)
    assert len(plain(db, "SELECT FROM source")) == 2 * N
    with pytest.raises(UsageError, match="too long"):
        cat.sql("SELECT pg_sleep(20)", timeout_s=0.1)
    with pytest.raises(UsageError, match="do not fit"):
        cat.sql("SELECT %(a)s AS a", {"b": 1})


@pytest.mark.parametrize("method", ["iterate", "sql"])
def test_examples_run(cat, method):
    examples = doctest.DocTestParser().get_examples(getattr(Catalog, method).__doc__)
    assert examples
    for example in examples:
        exec(example.source, {"cat": cat})


def test_unknown_names_are_answered_with_those_that_exist(cat):
    with pytest.raises(UsageError, match=r"no label set aspcap/dr99.*aspcap/dr14, sspp/dr12"):
        cat.labels("aspcap/dr99")
    with pytest.raises(UsageError, match=r"no sample nope.*clean"):
        cat.matches("nope")
    with pytest.raises(UsageError, match=r"no column mass.*teff"):
        cat.labels("aspcap/dr14", columns=["mass"])
    with pytest.raises(UsageError, match='column "tef" does not exist'):
        cat.labels("aspcap/dr14", where="tef > 1")
    with pytest.raises(UsageError, match="no survey gaia"):
        cat.cone(1, 2, radius_arcsec=3, survey="gaia")
    for name in ("a\0b", "\udcff"):  # what no text of the database can hold
        with pytest.raises(UsageError, match=r"cannot be one|is not UTF-8"):
            cat.stars(name)


# ---------------------------------------------------------------------------- cones


def scattered(db, ra, dec) -> np.ndarray:
    """Sources at these positions, in two surveys by turns."""
    with db.begin() as conn:
        for survey, start in (("apogee", 0), ("lamost", 1)):
            keys = [f"{i}" for i in range(start, len(ra), 2)]
            factories.add_sources(conn, survey, keys, ra=ra[start::2], dec=dec[start::2])
    return np.arange(len(ra))


@pytest.mark.parametrize(
    ("ra", "dec", "radius"),
    [
        (0.0, 0.0, 1.0), (359.9999, 12.0, 0.5), (0.0001, -33.0, 0.5), (123.0, 90.0, 2.0),
        (77.0, -90.0, 0.3), (45.0, 89.9, 0.2), (45.0, 41.8103149, 0.01), (250.0, -20.0, 50.0),
        (10.0, 5.0, 180.0), (180.0, 0.0, 0.0003),
    ],
)  # fmt: skip
def test_cone_is_the_great_circle(db, ra, dec, radius):
    rng = np.random.default_rng(3)
    n = 400
    far = np.sqrt(rng.random(n)) * min(2 * radius, 170)
    centre = SkyCoord(ra, dec, unit="deg")
    places = centre.directional_offset_by(rng.uniform(0, 360, n) * u.deg, far * u.deg)
    lon, lat = places.ra.deg % 360, np.clip(places.dec.deg, -90, 90)
    scattered(db, lon, lat)
    sep = centre.separation(SkyCoord(lon, lat, unit="deg")).arcsec
    inside = np.flatnonzero(sep <= radius * 3600)
    with open_catalog(libpq_url(db.engine.url)) as cat:
        found = cat.cone(ra, dec, radius=radius * u.deg)
        one = cat.cone(centre, radius_arcsec=radius * 3600, survey="lamost")
    assert sorted(int(k) for k in found["survey_key"]) == inside.tolist()
    assert 0 < len(found) <= n
    order = [int(k) for k in found["survey_key"]]
    np.testing.assert_allclose(found["distance_arcsec"], sep[order], rtol=1e-9, atol=1e-7)
    assert np.all(np.diff(found["distance_arcsec"]) >= 0)
    assert found["distance_arcsec"].unit == u.arcsec
    assert sorted(int(k) for k in one["survey_key"]) == [i for i in inside.tolist() if i % 2]


def test_cone_holds_its_rim_and_its_centre(db):
    scattered(db, np.array([10.0, 10.0, 10.0]), np.array([89.0, 89.5, 88.9999]))
    with open_catalog(libpq_url(db.engine.url)) as cat:
        rim = cat.cone(10, 89.25, radius=0.25 * u.deg)
        assert rim["survey_key"].tolist() == ["0", "1"]
        centre = cat.cone(370 * u.deg, 89, radius=0 * u.arcsec)
        assert centre["distance_arcsec"].tolist() == [0.0]
        with pytest.warns(LimitWarning, match="first 1 of 3"):
            nearest = cat.cone(10, 89, radius_arcsec=7200, limit=1)
        assert nearest["survey_key"].tolist() == ["0"]


def test_positions_and_radii_that_are_none(cat):
    several = SkyCoord([1, 2], [3, 4], unit="deg")
    for arguments in ((several,), (1,), (1, 91), (np.nan, 0), (SkyCoord(1, 2, unit="deg"), 2),
                      (1 * u.K, 2), (np.ma.masked, 2), ("here", 2)):  # fmt: skip
        with pytest.raises(UsageError, match=r"position|declination"):
            cat.cone(*arguments, radius_arcsec=1)
    for radius in ({"radius": 3}, {}, {"radius": 3 * u.K}, {"radius_arcsec": -1},
                   {"radius": 3 * u.deg, "radius_arcsec": 1}):  # fmt: skip
        with pytest.raises(UsageError, match="radius"):
            cat.cone(1, 2, **radius)


# ---------------------------------------------------------------------------- opening


def test_the_catalog_says_what_it_is_and_holds(db, cat):
    text = repr(cat)
    assert str(db.engine.url.database) in text
    for part in ("apogee (4), sdss (4)", "aspcap/dr14@1 (4)", "clean (4)", "models      none"):
        assert part in text
    cat.close()
    assert "closed" in repr(cat)
    with pytest.raises(UsageError, match="closed"):
        cat.samples()


def test_a_password_is_never_shown(db_url):
    url = db_url.set(password="hush", username=db_url.username)
    with open_catalog(libpq_url(url)) as cat:
        assert "hush" not in repr(cat)


def test_a_home_without_a_catalog_stays_empty(tmp_path, monkeypatch):
    with pytest.raises(ConfigurationError, match="no catalog in"):
        open_catalog(home=tmp_path / "home")
    monkeypatch.setenv("CROSSLABEL_HOME", str(tmp_path / "other"))
    with pytest.raises(ConfigurationError, match="other"):
        open_catalog()
    assert list(tmp_path.iterdir()) == []


def test_a_schema_of_another_version_is_refused(db):
    with db.begin() as conn:
        conn.execute(sa.text("UPDATE derived_object SET definition_sha256 = ''"))
    with pytest.raises(CrosslabelError, match=r"of another version.* db upgrade"):
        open_catalog(libpq_url(db.engine.url))


def test_import_is_light_and_lazy():
    code = (
        "import sys, catalog; assert 'open_catalog' in dir(catalog); "
        "heavy = {'sqlalchemy', 'astropy', 'pandas', 'specutils'} & set(sys.modules); "
        "assert not heavy, heavy; from catalog import open_catalog, Catalog, LimitWarning; "
        "heavy = {'specutils', 'pandas', 'jax', 'matplotlib', 'typer'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    env = os.environ | {"PYTHONPATH": str(Path(ROOT))}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
    with pytest.raises(ImportError):
        exec("from catalog import nonsense")


def test_a_server_that_is_gone_is_said_and_comes_back():
    home = Path(tempfile.mkdtemp(prefix="crosslabel-notebook-"))
    home.chmod(0o755)  # as root, the server's account must get in
    try:
        db = connect(Settings(home))
        upgrade_schema(db)
        db.engine.dispose()
        with open_catalog(home=home) as cat:
            assert len(cat.samples()) == 0
            embedded.stop(home)
            with pytest.raises(SourceUnavailableError, match="Open the catalog again"):
                cat.samples()
            assert "does not answer" in repr(cat)
            with open_catalog(home=home) as again:
                assert len(again.samples()) == len(cat.samples()) == 0
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)
