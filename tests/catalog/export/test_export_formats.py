"""ECSV, VOTable and Parquet files hold what the database holds, as other programs read them."""

from __future__ import annotations

import io
import json
import math
import resource
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from astropy import units
from astropy.io import fits, votable
from astropy.table import Table

from catalog.errors import SourceUnavailableError, UsageError
from catalog.export.comparison import comparison_selection
from catalog.export.query import query_selection
from catalog.export.selection import NO_UNIT, described
from catalog.store.columns import LABELS, VOCABULARY
from catalog.store.names import TABLES
from catalog.store.people import people_sql
from catalog.store.views import VIEWS
from catalog.writing import replace_files
from jobs.export.tables import export
from tests.support.export_survey import BIG, N, as_python, make_survey, written

SUFFIXES = (".ecsv", ".vot", ".parquet")
# every kind of column, the ends of its range, NULL, and numbers that are no numbers
KINDS = f"""SELECT * FROM (VALUES
    (1, true, 32767::smallint, (-2147483648)::int, {2**63 - 1}::bigint, 'Infinity'::real,
     1e-310::float8, {BIG}::numeric(20), 'a "quoted", text', timestamptz '2024-02-29 12:00Z'),
    (2, false, (-32768)::smallint, 2147483647::int, ({-(2**63)})::bigint, 0.1::real, 0.1::float8,
     {2**64 - 1}::numeric(20), 'αβγ 𝛼', timestamptz '2024-02-29 12:00:00.000001Z'),
    (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
) v (n, is_primary, small, plain, large, ra4, ra, specobjid, name, created_at)"""
KINDS_TEXT = {
    "specobjid": [str(BIG), str(2**64 - 1), None],
    "name": ['a "quoted", text', "αβγ 𝛼", None],
    "created_at": ["2024-02-29T12:00:00.000000Z", "2024-02-29T12:00:00.000001Z", None],
}  # fmt: skip


@pytest.fixture
def survey(db):
    return make_survey(db)


def written_query(db, query: str, path: Path, **kw) -> Path:
    """The path of the rows of a query."""
    with people_sql(db) as conn:
        export(conn, query_selection(conn, query, **kw), path)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_kind_of_value_comes_back(db, tmp_path, suffix):
    got = as_python(written_query(db, KINDS, tmp_path / f"x{suffix}"))
    assert got["n"] == [1, 2, 3]
    assert got["is_primary"] == [True, False, None]
    assert got["small"] == [32767, -32768, None]
    assert got["plain"] == [-(2**31), 2**31 - 1, None]
    assert got["large"] == [2**63 - 1, -(2**63), None]
    assert got["ra4"] == [math.inf, float(np.float32(0.1)), None]
    assert got["ra"] == [1e-310, 0.1, None]
    assert {name: got[name] for name in KINDS_TEXT} == KINDS_TEXT


def test_times_without_end_and_before_christ_are_kept(db, tmp_path):
    query = """SELECT * FROM (VALUES (1, timestamptz '-infinity'), (2, 'infinity'), (3, NULL),
        (4, '0044-03-15 00:00Z BC'), (5, '9999-12-31 23:59:59.999999Z')) v (n, created_at)"""
    got = as_python(written_query(db, query, tmp_path / "x.parquet"))["created_at"]
    assert got[:3] == ["-infinity", "infinity", None]
    assert got[3:] == ["0044-03-15 00:00:00 BC", "9999-12-31T23:59:59.999999Z"]


def test_texts_do_not_depend_on_settings(db, tmp_path):
    query = """SELECT ARRAY[timestamptz '2024-02-29 12:00Z'] AS a, interval '1 day 2:00' AS b,
        date '2024-02-29' AS c, timestamptz '2024-02-29 12:00Z' AS d"""
    with people_sql(db) as conn:
        for name, value in (
            ("TimeZone", "Asia/Tokyo"), ("IntervalStyle", "iso_8601"), ("DateStyle", "German"),
        ):  # fmt: skip
            conn.execute(sa.text(f"SET LOCAL {name} = '{value}'"))
        export(conn, query_selection(conn, query), tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text().splitlines()[1] == (
        '"{""2024-02-29 12:00:00+00""}",1 day 02:00:00,2024-02-29,2024-02-29T12:00:00.000000Z'
    )


def test_csv_and_fits_hold_every_kind_that_they_can(db, tmp_path):
    plain = KINDS.replace("αβγ 𝛼", "abc").replace(str(-(2**63)), "-5").replace("-32768", "-7")
    path = written_query(db, plain.replace("-2147483648", "-6"), tmp_path / "x.fits")
    with fits.open(path, logical_as_bytes=True) as file:
        table = Table.read(file[1])
    assert [int(v) for v in table["large"].filled(0)] == [2**63 - 1, -5, 0]
    assert table["specobjid"].tolist() == [str(BIG), str(2**64 - 1), ""]
    text = pd.read_csv(written_query(db, KINDS, tmp_path / "x.csv"), dtype="string")
    assert text["large"].tolist() == [str(2**63 - 1), str(-(2**63)), pd.NA]
    assert text["name"].tolist() == [*KINDS_TEXT["name"][:2], pd.NA]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_columns_say_what_they_are(db, survey, tmp_path, suffix):
    path = written(db, "clean", tmp_path / f"x{suffix}")
    if suffix == ".ecsv":
        table = Table.read(path)
        ucds = {c: table[c].meta["ucd"] for c in table.colnames}
        provenance, notes = table.meta["provenance"], table.meta["notes"]
        assert table.meta["key"] == ["right_key", "left_key"]
    else:
        content = path
        if suffix == ".parquet":
            content = io.BytesIO(pq.read_metadata(path).metadata[b"IVOA.VOTable-Parquet.content"])
        head = votable.parse(content).resources[0]
        parsed = head.tables[0]
        table = parsed.to_table()
        ucds = {f.name: f.ucd for f in parsed.fields}
        infos = [(i.name, i.value) for i in head.infos]
        provenance = json.loads(dict(infos)["provenance"])
        notes = [value for name, value in infos if name == "note"]
        assert parsed.nrows == N
        assert {f.name for f in parsed.fields if f.ref == "icrs"} == {
            "left_ra", "left_dec", "right_ra", "right_dec",
        }  # fmt: skip
    for name in table.colnames:
        meaning = VOCABULARY[name]
        has_unit = meaning.unit not in ("", *NO_UNIT) or (meaning.unit and suffix == ".ecsv")
        assert table[name].unit == (units.Unit(meaning.unit) if has_unit else None)
        assert (
            table[name].description == meaning.description
            if suffix == ".ecsv"
            else described(meaning)
        )
        assert ucds[name] == VOCABULARY[name].ucd
    assert provenance["reference"]["label_set"] == "aspcap/dr14@1"
    assert notes == ["flags bit 0: TEFF_WARN, Teff is doubtful"]


def test_astropy_reads_the_votable_in_parquet(db, survey, tmp_path):
    table = Table.read(written(db, "clean", tmp_path / "x.parquet"), format="parquet.votable")
    assert len(table) == N
    assert str(table["teff"].unit) == "K"
    assert table["teff"].description == LABELS["teff"].description
    assert table["teff"].dtype == np.float32
    assert set(table["specobjid"]) >= {str(BIG), str(BIG + 1), "42"}


def test_everything_can_be_exported_and_repeats_to_the_byte(db, survey, tmp_path):
    folders = [tmp_path / "1", tmp_path / "2"]
    for folder in folders:
        folder.mkdir()
        for i, what in enumerate(
            [*TABLES, *(v.name for v in VIEWS), "aspcap/dr14", "sspp/dr12@1", "clean"]
        ):
            for suffix in SUFFIXES:
                written(db, what, folder / f"{i}{suffix}")
    first, again = ({p.name: p.read_bytes() for p in f.iterdir()} for f in folders)
    assert first == again


def test_the_checksum_beside_a_file_is_its_own(db, survey, tmp_path):
    for suffix in SUFFIXES:
        name = written(db, "source", tmp_path / f"x{suffix}").name
        check = ["sha256sum", "--check", "--strict", f"{name}.sha256"]
        subprocess.run(check, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)


def test_parquet_pages_that_were_damaged_are_found(db, survey, tmp_path):
    path = written(db, "source", tmp_path / "x.parquet")
    damaged = bytearray(path.read_bytes())
    chunk = pq.read_metadata(path).row_group(0).column(1)
    first = (
        chunk.data_page_offset
        if chunk.dictionary_page_offset is None
        else chunk.dictionary_page_offset
    )
    damaged[first + chunk.total_compressed_size - 1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(OSError, match=r"CRC|checksum"):
        pq.read_table(path, page_checksum_verification=True)


def test_fits_refuses_more_columns_than_a_table_has(db, tmp_path):
    query = "SELECT " + ", ".join(f"{i} AS c{i}" for i in range(1000))
    with pytest.raises(UsageError, match="1,000 columns"):
        written_query(db, query, tmp_path / "x.fits")
    assert list(tmp_path.iterdir()) == []


def test_ecsv_refuses_line_breaks(db, tmp_path):
    for code in (10, 11, 12, 13, 28, 133, 8232):  # Astropy takes all of them for one
        with pytest.raises(UsageError, match="line breaks, which ECSV cannot hold"):
            written_query(db, f"SELECT 'a' || chr({code}) || 'b' AS name", tmp_path / "x.ecsv")
        assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_what_was_there(db, survey, tmp_path):
    paths = [
        written(db, "clean", tmp_path / f"x{suffix}") for suffix in (".csv", ".fits", *SUFFIXES)
    ]
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        for path in paths:
            with pytest.raises(SourceUnavailableError, match=r"written: .* Make space"):
                written(db, "source", path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_comparison_is_what_compare_sees(db, survey, tmp_path):
    with db.reader() as conn:
        selection = comparison_selection(conn, "aspcap/dr14", ["sspp/dr12"])
    got = Table.read(written(db, selection, tmp_path / "x.ecsv"))
    assert set(got["label"]) == {"teff"}
    np.testing.assert_allclose(got["delta"], got["test_value"] - got["ref_value"])
    with db.reader() as conn:
        n = conn.scalar(sa.text("SELECT n FROM compare_label_sets('aspcap/dr14', '{sspp/dr12}')"))
        with pytest.raises(UsageError, match="named twice"):
            comparison_selection(conn, "aspcap/dr14", ["aspcap/dr14@1"])
        with pytest.raises(UsageError, match="there is no label set nothing"):
            comparison_selection(conn, "aspcap/dr14", ["nothing"])
    assert len(got) == n > 0


def test_rows_of_a_query_are_sorted_by_its_columns(db, survey, tmp_path):
    query = "SELECT survey_key AS key, ra, source_id % 2 = 0 AS even FROM source; "
    for suffix in (".csv", ".fits", *SUFFIXES):
        path = written_query(db, query, tmp_path / f"1{suffix}")
        keys = (pd.read_csv(path) if suffix == ".csv" else Table.read(path))["key"].tolist()
        assert keys == sorted(keys)
        assert len(keys) == 2 * N
        again = written_query(db, query, tmp_path / f"2{suffix}")
        assert again.read_bytes() == path.read_bytes()


REFUSED = [
    ("DELETE FROM source", "syntax error"),
    ("WITH d AS (DELETE FROM source RETURNING 1) SELECT * FROM d", "data-modifying"),
    ("SELECT 1 AS n) q; COMMIT; DROP TABLE source CASCADE; --", "syntax error"),
    ("SELECT 1 AS n) q; COMMIT; DELETE FROM source; SELECT * FROM (SELECT 1 AS n",
     "multiple commands"),
    ("SELECT 1 AS n; DELETE FROM source", "syntax error"),
    ("SELECT nextval('source_source_id_seq') AS n", "permission denied|read-only transaction"),
    ("SELECT * FROM source FOR UPDATE", "read-only transaction|permission denied"),
    ("SELECT pg_read_file('/etc/passwd') AS name", "permission denied"),
    ("SELECT set_config('role', 'crosslabel', true) AS name", "permission denied|does not exist"),
    ("SELECT 1" + " + 1" * 100_000 + " AS n", "cannot be answered: stack depth"),
    ("SELECT " + ", ".join(f"1 AS c{i}" for i in range(1665)), "at most 1664"),
    ("SELECT * FROM nowhere", 'relation "nowhere" does not exist'),
    ("SELECT 1/0 AS n", "division by zero"),
    ("SELECT $1 AS n", "cannot be answered: .* 0 parameters"),
    ("SELECT 1 AS n, 2 AS N", "is there twice"),
    ('SELECT 1 AS "a b"', "has no plain name"),
    ('SELECT 1 AS "a"" FROM q; DROP TABLE source; --"', "has no plain name"),
    ("SELECT FROM source", "no columns"),
    ("SELECT flux FROM spectrum_blob", "is binary"),
    (" ; ", "the query is empty"),
]  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_queries_can_only_read(db, survey, tmp_path, suffix):
    for query, message in REFUSED:
        with pytest.raises(UsageError, match=message):
            written_query(db, query, tmp_path / f"x{suffix}")
        assert list(tmp_path.iterdir()) == [], query
        with db.reader() as conn:
            assert conn.scalar(sa.text("SELECT count(*) FROM source")) == 2 * N, query


def test_queries_are_taken_as_they_are(db, survey, tmp_path):
    path = tmp_path / "x.csv"
    written_query(db, "SELECT '%s %(x)s :name' AS name WHERE 'a' LIKE '%a'", path)
    assert path.read_text() == "name\n%s %(x)s :name\n"
    written_query(db, "SELECT count(*) FROM source -- how many", path)
    assert path.read_text() == f"count\n{2 * N}\n"


def test_a_query_that_takes_too_long_is_stopped(db, tmp_path):
    with pytest.raises(UsageError, match="took too long"):
        written_query(db, "SELECT pg_sleep(60)::text AS n", tmp_path / "x.csv", timeout_s=0.2)
    for none in (0, -1, 1e-9, 1e12, float("nan")):
        with pytest.raises(UsageError, match="no time limit"):
            written_query(db, "SELECT 1 AS n", tmp_path / "x.csv", timeout_s=none)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.full
def test_validators_find_nothing(db, survey, tmp_path):
    missing = [tool for tool in ("fitsverify", "stilts") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed (Debian packages of that name)")
    written_query(db, KINDS, tmp_path / "kinds.vot")
    for i, what in enumerate(("aspcap/dr14", "clean", "sdss_spectrum", "quarantine")):
        written(db, what, tmp_path / f"{i}.fits")
        written(db, what, tmp_path / f"{i}.vot")
    for path in sorted(tmp_path.glob("*.fits")):
        command = ["fitsverify", "-q", path]
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        assert found.startswith("verification OK"), found
    for path in sorted(tmp_path.glob("*.vot")):
        command = ["stilts", "votlint", "validate=true", path]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        assert found.stdout + found.stderr == "", path


def test_a_failed_sidecar_leaves_both_files(tmp_path):
    paths = tmp_path / "x.vot", tmp_path / "x.vot.sha256"
    for path in paths:
        path.write_bytes(b"old")
    with pytest.raises(TypeError), replace_files(*paths) as (_, sidecar):
        sidecar.write("text, not bytes")
    assert [p.read_bytes() for p in sorted(tmp_path.iterdir())] == [b"old", b"old"]
