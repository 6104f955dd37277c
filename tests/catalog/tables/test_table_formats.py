"""VOTable, FITS, ECSV and Parquet tables of labels as other software and services write them."""

from __future__ import annotations

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Column, QTable, Table
from astropy.utils.masked import Masked

from catalog.errors import BadInputError, UsageError
from catalog.files.identifiers import spectrum_id
from catalog.tables.label_table import read_label_table

KEYS = ("survey_key", "apogee_id")
BIG = 2**63 + 1024


def votable(tmp_path, fields, rows, before="", behind=""):
    head = "".join(f"<FIELD {f}/>" for f in fields)
    body = "".join("<TR>" + "".join(f"<TD>{c}</TD>" for c in row) + "</TR>" for row in rows)
    data = f"<TABLE>{head}<DATA><TABLEDATA>{body}</TABLEDATA></DATA></TABLE>" if fields else ""
    path = tmp_path / "x.vot"
    path.write_text(
        '<?xml version="1.0"?><VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
        f'<RESOURCE type="results">{before}{data}{behind}</RESOURCE></VOTABLE>'
    )
    return path


def field(name, kind="float", more=""):
    size = ' arraysize="*"' if kind == "char" else ""
    return f'name="{name}" datatype="{kind}"{size} {more}'


def info(status, said=""):
    return f'<INFO name="QUERY_STATUS" value="{status}">{said}</INFO>'


def test_votables_are_read_by_name_then_by_id(tmp_path):
    fields = [field("2MASS", "char", 'ID="col_0"'), field("[Fe/H]", more='ID="col_1"'),
              field("temperature", more='ID="Teff"')]  # fmt: skip
    path = votable(tmp_path, fields, [("a", -0.5, 5000)])
    for key in ("2MASS", "2mass", "col_0"):
        found = read_label_table(path, (key,))
        assert found.columns == {"key": "2MASS", "fe_h": "[Fe/H]", "teff": "temperature"}
        assert float(found.block.columns["fe_h"][0]) == -0.5


@pytest.mark.parametrize("unit", ["[cm/s2]", "log(cm.s**-2)", "log(cgs)", "dex(cm/s2)", "cm/s/s"])
def test_units_of_votables_are_read_as_they_are_written(tmp_path, unit):
    fields = [field("apogee_id", "char"), field("logg", more=f'unit="{unit}"')]
    found = read_label_table(votable(tmp_path, fields, [("a", 2.5)]), KEYS)
    assert (found.block.columns["logg"].tolist(), found.unit_assumed) == ([2.5], ())


def test_what_a_service_says_of_its_answer_counts(tmp_path):
    fields = [field("apogee_id", "char"), field("teff")]
    path = votable(tmp_path, fields, [("a", 5000)], info("OK"), info("OVERFLOW"))
    with pytest.raises(BadInputError, match=r"TRUNCATED_ANSWER.*OVERFLOW.*--allow-overflow"):
        read_label_table(path, KEYS)
    found = read_label_table(path, KEYS, allow_overflow=True)
    assert (found.block.n_good, found.partial) == (1, True)
    path = votable(tmp_path, [], [], info("ERROR", "column  teff_x\n does not exist"))
    for allow in (False, True):
        with pytest.raises(BadInputError, match=r"SERVICE_ERROR.*column teff_x does not exist"):
            read_label_table(path, KEYS, allow_overflow=allow)
    found = read_label_table(votable(tmp_path, fields, [("a", 5)], info("OK")), KEYS)
    assert (found.block.n_rows, found.partial) == (1, False)


def test_arrays_in_the_cells_of_a_votable_are_refused(tmp_path):
    fields = [field("apogee_id", "char"), 'name="teff" datatype="float" arraysize="2"']
    with pytest.raises(BadInputError, match=r"BAD_DTYPE.*column teff"):
        read_label_table(votable(tmp_path, fields, [("a", "1 2")]), KEYS)


def table_hdu(n=3, name="", **more):
    columns = [fits.Column("apogee_id", "2A", array=[f"s{i}" for i in range(n)]),
               fits.Column("teff", "E", array=np.arange(n) + 5000.0)]  # fmt: skip
    return fits.BinTableHDU.from_columns(columns, name=name, **more)


def write(path, *hdus):
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return path


def test_the_table_with_rows_is_read_and_hdu_names_another(tmp_path):
    path = write(tmp_path / "x.fits", table_hdu(0, "BOSS"), table_hdu(3, "APOGEE"))
    assert read_label_table(path, KEYS).place == "HDU 2 APOGEE"
    assert read_label_table(path, KEYS, which="1").block.n_rows == 0
    with pytest.raises(UsageError, match=r"no table 3.*HDU 1 BOSS \(0 rows\); HDU 2 APOGEE"):
        read_label_table(path, KEYS, which="3")
    other = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])])
    path = write(tmp_path / "y.fits", other, table_hdu(3))
    assert read_label_table(path, KEYS).place == "HDU 2"
    path = write(tmp_path / "z.fits", table_hdu(3, "A"), table_hdu(2, "B"))
    with pytest.raises(BadInputError, match=r"several tables of labels.*--hdu 1"):
        read_label_table(path, KEYS)
    for which in ("2", "B", "hdu 2", "b"):
        assert read_label_table(path, KEYS, which=which).block.n_rows == 2


def test_packed_tables_are_read(tmp_path):
    path = write(tmp_path / "x.fits", table_hdu())
    packed = tmp_path / "x.fits.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_label_table(packed, KEYS).block.n_good == 3


@pytest.mark.parametrize("column", [
    fits.Column("teff", "2E", array=np.zeros((2, 2))),
    fits.Column("teff", "PE()", array=np.array([[1.0], [2.0, 3.0]], object)),
    fits.Column("teff", "M", array=np.zeros(2, complex)),
    fits.Column("teff", "L", array=np.zeros(2, bool)),
])  # fmt: skip
def test_cells_that_are_no_single_values_are_refused(tmp_path, column):
    key = fits.Column("apogee_id", "2A", array=["a", "b"])
    path = write(tmp_path / "x.fits", fits.BinTableHDU.from_columns([key, column]))
    with pytest.raises(BadInputError, match=r"BAD_DTYPE.*column teff"):
        read_label_table(path, KEYS)


@pytest.mark.parametrize("form", ["rAw", "TDIM"])
def test_several_texts_in_a_cell_are_no_key(tmp_path, form):
    path = write(tmp_path / "x.fits", table_hdu())
    data = path.read_bytes()
    if form == "rAw":
        data = data.replace(b"TFORM1  = '2A      '", b"TFORM1  = '2A1     '")
    else:
        data = data.replace(b"TFORM2  = 'E       '", b"TFORM2  = 'E       '          ", 1)
        with fits.open(path, mode="update") as file:
            file[1].header["TDIM1"] = "(1,2)"
        data = path.read_bytes()
    path.write_bytes(data)
    with pytest.raises(BadInputError, match=r"BAD_DTYPE.*column apogee_id.*2 texts"):
        read_label_table(path, KEYS)


@pytest.mark.parametrize("card", [
    "TZERO2  =                  NaN", "TSCAL2  =                1E400", "TZERO2  =        Infinity",
    "TSCAL2  =                  0.0", "TNULL1  =                1E400",
])  # fmt: skip
def test_headers_with_numbers_that_are_none_are_refused(tmp_path, card):
    path = write(tmp_path / "x.fits", table_hdu())
    data = path.read_bytes()
    old = b"TTYPE2  = 'teff    '".ljust(80)
    assert data.count(old) == 1
    end = b"END".ljust(80)
    at = data.rindex(end)
    data = data[:at] + card.encode().ljust(80) + end + data[at + 160 :]
    path.write_bytes(data)
    with pytest.raises(BadInputError, match=f"BAD_DTYPE.*{card[:6]}"):
        read_label_table(path, KEYS)


def test_an_ascii_table_is_named(tmp_path):
    columns = [fits.Column("apogee_id", "A2", array=["a"]), fits.Column("teff", "E15.7", array=[1])]
    path = write(tmp_path / "x.fits", fits.TableHDU.from_columns(columns))
    with pytest.raises(BadInputError, match=r"NO_TABLE_HDU.*HDU 1 is an ASCII table.*binary table"):
        read_label_table(path, KEYS)


def test_scaled_integers_and_nulls_of_fits(tmp_path):
    hdu = fits.BinTableHDU.from_columns([
        fits.Column("apogee_id", "1A", array=["a", "b", "c"]),
        fits.Column("teff", "I", array=np.array([0, 10, -1], "i2")),
        fits.Column("logg", "J", array=np.array([2, 3, -1], "i4"), null=-1),
    ])  # fmt: skip
    hdu.header["TSCAL2"], hdu.header["TZERO2"], hdu.header["TNULL2"] = 0.5, 4100.0, -1
    columns = read_label_table(write(tmp_path / "x.fits", hdu), KEYS).block.columns
    assert np.array_equal(columns["teff"], [4100.0, 4105.0, np.nan], equal_nan=True)
    assert np.array_equal(columns["logg"], [2.0, 3.0, np.nan], equal_nan=True)


def test_signed_and_unsigned_ids_are_the_same(tmp_path):
    ids = np.array([7, BIG], np.uint64)
    teff = fits.Column("teff", "E", array=[5000.0, 5100.0])
    for name, column in (
        ("signed.fits", fits.Column("specobjid", "K", array=ids.view(np.int64))),
        ("unsigned.fits", fits.Column("specobjid", "K", array=ids, bzero=2**63)),
    ):
        write(tmp_path / name, fits.BinTableHDU.from_columns([column, teff]))
    for name, values in (("signed.parquet", ids.view(np.int64)), ("unsigned.parquet", ids)):
        pq.write_table(pa.table({"specobjid": values, "teff": [5000.0, 5100.0]}), tmp_path / name)
    for path in sorted(tmp_path.iterdir()):
        block = read_label_table(path, ("specobjid",), read_id=spectrum_id).block
        assert block.columns["key"].tolist() == [b"7", str(BIG).encode()], path.name


def test_masked_quantities_of_astropy_are_null(tmp_path):
    table = QTable({"apogee_id": ["a", "b"]})
    table["teff"] = Masked([5000, 5100] * u.K, mask=[True, False])
    table["logg"] = Masked(np.array([2.0, 2.5]), mask=[False, True])
    for name in ("x.ecsv", "x.fits"):
        table.write(tmp_path / name)
        columns = read_label_table(tmp_path / name, KEYS).block.columns
        assert np.array_equal(columns["teff"], [np.nan, 5100.0], equal_nan=True), name
        assert np.array_equal(columns["logg"], [2.0, np.nan], equal_nan=True), name


def test_units_of_parquet_are_read_wherever_they_are(tmp_path):
    table = Table({"apogee_id": ["a"], "teff": Column([5.1], unit="kK"),
                   "logg": Column([0.5], unit=u.dex(u.m / u.s**2))})  # fmt: skip
    table.write(tmp_path / "astropy.parquet")
    schema = pa.schema([
        ("apogee_id", pa.string()), pa.field("teff", pa.float64(), metadata={"unit": "kK"}),
        pa.field("logg", pa.float64(), metadata={"unit": "dex(m/s2)"}),
    ])  # fmt: skip
    rows = {"apogee_id": ["a"], "teff": [5.1], "logg": [0.5]}
    pq.write_table(pa.table(rows, schema=schema), tmp_path / "fields.parquet")
    for path in sorted(tmp_path.iterdir()):
        found = read_label_table(path, KEYS)
        assert float(found.block.columns["teff"][0]) == pytest.approx(5100)
        assert float(found.block.columns["logg"][0]) == pytest.approx(2.5)
        assert found.unit_assumed == ()
    table["logg"].unit = u.cm / u.s**2
    table.write(tmp_path / "linear.parquet")
    with pytest.raises(BadInputError, match=r"BAD_UNIT.*column logg.*'cm / s2'"):
        read_label_table(tmp_path / "linear.parquet", KEYS)


def test_keys_of_parquet_in_other_types(tmp_path):
    for name, keys in {
        "binary": pa.array([b"a ", b"b"], pa.binary()),
        "dictionary": pa.array(["a", "b"]).dictionary_encode(),
        "large": pa.array(["a", "b"], pa.large_string()),
    }.items():
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table({"apogee_id": keys, "teff": [5000.0, 5100.0]}), path)
        assert read_label_table(path, KEYS).block.columns["key"].tolist() == [b"a", b"b"]
    lists = pa.table({"apogee_id": ["a"], "teff": [[1.0, 2.0]]})
    pq.write_table(lists, tmp_path / "lists.parquet")
    with pytest.raises(BadInputError, match=r"BAD_DTYPE.*column teff.*list"):
        read_label_table(tmp_path / "lists.parquet", KEYS)
