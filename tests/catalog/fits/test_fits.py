"""Opening of FITS files and reading of tables, on files made here."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import BadInputError, SourceUnavailableError, UsageError
from catalog.files.identity import file_identity
from catalog.fits.checksum import verify_checksums
from catalog.fits.file import BLOCK, open_fits
from catalog.fits.table import native, open_table


@pytest.fixture
def table_path(tmp_path: Path) -> Path:
    """A table with every kind of column that matters."""
    columns = [
        fits.Column("Name", "6A", array=np.array(["ab", "  cd", ""])),
        fits.Column("X", "D", array=np.array([1.5, -2.5, np.nan])),
        fits.Column("small", "I", null=-1, array=np.array([7, -1, 9], "i2")),
        fits.Column("big", "K", bzero=2**63, array=np.array([0, 2**63, 2**64 - 1], "u8")),
        fits.Column("u2", "I", bzero=2**15, array=np.array([0, 40_000, 65_535], "u2")),
        fits.Column("many", "3E", array=np.arange(9, dtype="f4").reshape(3, 3)),
        fits.Column("flags", "12X", array=np.zeros((3, 12), bool)),
    ]
    path = tmp_path / "table.fits"
    hdu = fits.BinTableHDU.from_columns(columns, name="THINGS")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, checksum=True)
    return path


def code_of(path: Path) -> str:
    """The reason for refusing a file."""
    with pytest.raises(BadInputError) as caught, open_fits(path) as file:
        verify_checksums(file, open_table(file).hdu)
    assert str(path) in caught.value.reason
    return caught.value.reason_code


def test_columns_of_every_kind(table_path: Path) -> None:
    with open_fits(table_path) as file:
        table = open_table(file, "THINGS")
        verify_checksums(file, table.hdu)
        rows = table.read(0, 3, table.columns.values())
        value = {name: native(rows, column) for name, column in table.columns.items()}
    assert list(value) == ["name", "x", "small", "big", "u2", "many", "flags"]
    np.testing.assert_array_equal(value["x"], [1.5, -2.5, np.nan])
    assert value["small"].tolist() == [7, None, 9]
    assert value["big"].tolist() == [0, 2**63, 2**64 - 1]
    assert value["u2"].tolist() == [0, 40_000, 65_535]
    np.testing.assert_array_equal(value["many"], np.arange(9).reshape(3, 3))
    assert value["name"].tolist() == [b"ab", b"  cd", b""]


def test_gzip_gives_the_same_bytes(table_path: Path) -> None:
    packed = table_path.with_suffix(".fits.gz")
    packed.write_bytes(gzip.compress(table_path.read_bytes()))
    with open_fits(packed) as file:
        table = open_table(file)
        rows = table.read(1, 2, [table.require("x", "double")])
    assert rows["X"].tolist() == [-2.5]


def test_types_are_checked(table_path: Path) -> None:
    with open_fits(table_path) as file:
        table = open_table(file)
        assert table.find("nothing", "int") is None
        assert table.require(("nothing", "x"), "double").name == "X"
        with pytest.raises(BadInputError, match="BAD_DTYPE"):
            table.require("many", "float")
        with pytest.raises(BadInputError, match="BAD_DTYPE"):
            table.require("name", "int")
        with pytest.raises(BadInputError, match="MISSING_COLUMN"):
            table.require("nothing", "int")


def test_positions_in_single_precision_are_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    Table({"RA": np.array([359.9], "f4")}).write(path)
    with open_fits(path) as file, pytest.raises(BadInputError, match=r"BAD_DTYPE.*0\.1 arcsec"):
        open_table(file).require("ra", "double")


def test_file_identity_is_of_the_bytes_on_disk(table_path: Path) -> None:
    data = table_path.read_bytes()
    identity = file_identity(table_path)
    assert (identity.size, identity.sha256) == (len(data), hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("missing", [1, 100, BLOCK, BLOCK + 1])
def test_a_short_file_is_truncated(table_path: Path, missing: int) -> None:
    table_path.write_bytes(table_path.read_bytes()[:-missing])
    assert code_of(table_path) == "TRUNCATED"


def test_a_rest_that_is_no_block_is_not_accepted(table_path: Path) -> None:
    table_path.write_bytes(table_path.read_bytes() + b"x" * 100)
    assert code_of(table_path) == "TRUNCATED"


@settings(max_examples=40, deadline=None)
@given(where=st.integers(0, 3 * 67 - 1), bit=st.integers(0, 7))
def test_any_flipped_bit_of_the_data_is_seen(
    tmp_path_factory: pytest.TempPathFactory, where: int, bit: int
) -> None:
    rows = np.zeros(3, [("text", "S59"), ("value", ">f8")])
    path = tmp_path_factory.mktemp("flip") / "t.fits"
    fits.BinTableHDU(rows).writeto(path, checksum=True)
    with fits.open(path) as hdus:
        start = hdus[1].fileinfo()["datLoc"]
    data = bytearray(path.read_bytes())
    data[start + where] ^= 1 << bit
    path.write_bytes(data)
    assert code_of(path) == "CHECKSUM"


def test_a_changed_header_fails_the_checksum(table_path: Path) -> None:
    data = table_path.read_bytes()
    table_path.write_bytes(data.replace(b"'THINGS  '", b"'THINGZ  '", 1))
    assert code_of(table_path) == "CHECKSUM"


def test_a_damaged_gzip_stream_is_seen(table_path: Path) -> None:
    packed = table_path.with_suffix(".fits.gz")
    data = bytearray(gzip.compress(table_path.read_bytes()))
    data[-6] ^= 1  # in the CRC
    packed.write_bytes(data)
    assert code_of(packed) == "CHECKSUM"


def test_a_gzip_bomb_is_stopped(tmp_path: Path) -> None:
    """A plain bomb is no FITS file; one whose headers declare what it holds is stopped too."""
    path = tmp_path / "bomb.fits.gz"
    path.write_bytes(gzip.compress(bytes(70 << 20), 9))
    assert code_of(path) == "NOT_FITS"
    header = fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 1), ("NAXIS1", 70 << 20)])
    path.write_bytes(gzip.compress(header.tostring().encode() + bytes(70 << 20), 9))
    assert code_of(path) == "TOO_LARGE"


def test_a_gzip_stream_ends_where_its_headers_say(table_path: Path) -> None:
    packed = table_path.with_suffix(".fits.gz")
    packed.write_bytes(gzip.compress(table_path.read_bytes() + bytes(BLOCK)))
    with open_fits(packed) as file:
        assert len(file.hdus) == 2
    packed.write_bytes(gzip.compress(table_path.read_bytes() + bytes(9 << 20)))
    words = r"more than the [\d,]+ bytes that its headers declare"
    with pytest.raises(BadInputError, match=words), open_fits(packed):
        pass


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "EMPTY_FILE"),
        (gzip.compress(b"", mtime=0), "EMPTY_FILE"),
        (b"<!DOCTYPE html><html></html>", "NOT_FITS"),
        (gzip.compress(b"<html>", mtime=0), "NOT_FITS"),
        (b"SIMPLE  =                    T", "TRUNCATED"),
        (b"SIMPLE  =                    T".ljust(BLOCK), "TRUNCATED"),
        (b"SIMPLE  =                    T".ljust(BLOCK - 80) + b"END".ljust(80), "NOT_FITS"),
    ],
)
def test_what_is_no_fits_file(tmp_path: Path, content: bytes, code: str) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(content)
    assert code_of(path) == code


def test_an_image_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(path)
    assert code_of(path) == "NO_TABLE_HDU"


@pytest.mark.parametrize("name", ["nothing.fits", "."])
def test_what_is_no_file_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(UsageError, match=r"no file|not a file"), open_fits(path):
        pass
    with pytest.raises(UsageError, match=r"no file|not a file"):
        file_identity(path)


def test_a_file_that_the_disk_refuses_is_unavailable(tmp_path: Path) -> None:
    loop = tmp_path / "loop.fits"
    loop.symlink_to(loop)
    with pytest.raises(SourceUnavailableError, match="cannot be read"), open_fits(loop):
        pass


def test_rows_and_columns_must_agree(table_path: Path) -> None:
    data = table_path.read_bytes()
    table_path.write_bytes(data.replace(b"TFORM2  = 'D       '", b"TFORM2  = 'E       '", 1))
    assert code_of(table_path) == "BAD_DTYPE"
