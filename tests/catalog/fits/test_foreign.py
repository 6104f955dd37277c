"""Files that are no spectra of a kind that is read: each is told what it is and what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from catalog.errors import BadInputError
from catalog.surveys.allstar import open_allstar
from catalog.surveys.find import list_spectra, what_else
from catalog.surveys.formats import spectrum_format
from catalog.surveys.sdss_spectrum import read_spectrum
from catalog.surveys.specobj import open_specobj
from catalog.surveys.sspp import open_sspp
from catalog.tables.label_table import read_label_table
from tests.support.spectrum_files import write_sdss

NAME = "spec-1000-52000-0001.fits"


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(NAME, data)
    return out.getvalue()


@pytest.mark.parametrize(
    ("suffix", "pack", "what", "todo"),
    [
        (".xz", lzma.compress, "compressed by xz", "unxz"),
        (".zip", zipped, "a zip archive", "Unzip"),
        (".gz", lambda d: gzip.compress(gzip.compress(d)), "gzip compressed twice", "gunzip"),
        (".Z", lambda d: b"\x1f\x9d\x90" + d, "compressed by compress", "uncompress"),
        ("", lambda d: b"<!DOCTYPE html><html>404</html>", "a web page", "download it again"),
        ("", lambda d: b"\x89HDF\r\n" + d, "an HDF5 file", "not read"),
        ("", lambda d: b"plain words", "no FITS file", "download it again"),
        ("", lambda d: b"<?xml version='1.0'?><VOTABLE/>", "an XML file", "ingest labels"),
    ],
)
def test_files_that_are_no_fits(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes], what: str, todo: str
) -> None:
    path = tmp_path / (NAME + suffix)
    path.write_bytes(pack(write_sdss(tmp_path / "good" / NAME).read_bytes()))
    with pytest.raises(BadInputError, match=what) as caught:
        spectrum_format(path)
    assert (caught.value.reason_code, str(path) in caught.value.reason) == ("NOT_FITS", True)
    assert todo in caught.value.todo
    assert list_spectra([tmp_path / NAME if not suffix else tmp_path]) != []


def image(rows: int, **cards: object) -> fits.HDUList:
    primary = fits.PrimaryHDU(np.ones((rows, 3800), "f4"))
    primary.header.update({"COEFF0": 3.58, "COEFF1": 1e-4, "PLATEID": 1000, "MJD": 52000} | cards)
    return fits.HDUList([primary])


def table(*names: str, extname: str = "", **cards: object) -> fits.HDUList:
    primary = fits.PrimaryHDU()
    primary.header.update(cards)
    columns = [fits.Column(name, "E", array=np.ones(3)) for name in names]
    return fits.HDUList([primary, fits.BinTableHDU.from_columns(columns, name=extname)])


def packed() -> fits.HDUList:
    """What funpack would unpack."""
    hdus = table("COMPRESSED_DATA", extname="COADD")
    hdus[1].header["ZTABLE"] = True
    return hdus


@pytest.mark.parametrize(
    ("name", "hdus", "what"),
    [
        ("spSpec-52000-1000-001.fit", image(5, FIBERID=1), "spSpec"),
        ("spPlate-1000-52000.fits", image(3), "spPlate"),
        ("x.fits", table("FLUX", "LOGLAM", "CATALOGID"), "SDSS-V"),
        ("spec-112360-60000-27021598150202075.fits", table("flux", "loglam"), "SDSS-V"),
        ("mwmStar-0.6.0-1.fits", table("flux", extname="BOSS/APO"), "mwmStar"),
        ("med-1.fits", table("FLUX", extname="COADD_B", TELESCOP="LAMOST"), "medium-resolution"),
        ("coadd.fits", table("x", extname="B_WAVELENGTH"), "DESI"),
        ("apStar-1.fits", table("x", APRED="dr17"), "infrared"),
        ("spec.fits", packed(), "compressed by fpack"),
        ("allStar.fits", table("APOGEE_ID", "APSTAR_ID"), "allStar"),
        ("ssppOut.fits", table("SPECOBJID", "PLUG_RA", "TEFF_ADOP"), "ssppOut"),
        ("specObj.fits", table("SPECOBJID", "PLUG_RA"), "specObj"),
    ],
)
def test_products_of_other_kinds(tmp_path: Path, name: str, hdus: fits.HDUList, what: str) -> None:
    path = tmp_path / name
    hdus.writeto(path)
    with pytest.raises(BadInputError, match=what) as caught:
        spectrum_format(path)
    assert (caught.value.reason_code, bool(caught.value.todo)) == ("OTHER_PRODUCT", True)


CATALOGS = {
    "apogee": partial(open_allstar, release="dr14"),
    "sspp": partial(open_sspp, release="dr12"),
    "specobj": partial(open_specobj, release="dr12"),
}
PRODUCTS = {
    "apogee": ("APOGEE_ID", "APSTAR_ID"),
    "sspp": ("SPECOBJID", "PLUG_RA", "TEFF_ADOP"),
    "specobj": ("SPECOBJID", "PLUG_RA"),
    "spectra": ("flux", "loglam", "ivar"),
    "labels": ("OBSID", "FEH"),
}


@pytest.mark.parametrize("given", PRODUCTS)
@pytest.mark.parametrize("wanted", CATALOGS)
def test_a_catalog_names_the_command_that_ingests_what_it_was_given(
    tmp_path: Path, given: str, wanted: str
) -> None:
    path = tmp_path / "given.fits"
    table(*PRODUCTS[given]).writeto(path)
    with pytest.raises(BadInputError) as caught, CATALOGS[wanted](path):
        pass
    if given == wanted:  # the right product, without the columns that are needed
        assert caught.value.reason_code in ("MISSING_COLUMN", "BAD_DTYPE")
    else:
        assert caught.value.reason_code == "OTHER_PRODUCT"
        assert f"crosslabel ingest {given} given.fits" in caught.value.todo


def test_a_table_of_labels_names_the_command_that_ingests_what_it_was_given(tmp_path: Path) -> None:
    for given, columns in PRODUCTS.items():
        if given == "labels":
            continue
        path = tmp_path / f"{given}.fits"
        table(*columns).writeto(path)
        with pytest.raises(BadInputError, match=rf"crosslabel ingest {given} {given}\.fits"):
            read_label_table(path, ["star"])


@pytest.mark.parametrize("open_catalog", CATALOGS.values(), ids=CATALOGS)
def test_a_table_of_text_is_no_catalog(
    tmp_path: Path, open_catalog: Callable[[Path], AbstractContextManager[object]]
) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("apogee_id,teff\n2M1,5000\n")
    wanted = r"NOT_FITS.*ingest labels mine\.csv"
    with pytest.raises(BadInputError, match=wanted), open_catalog(path):
        pass


@pytest.mark.kit
def test_genuine_spectra_are_none_of_these(kit: Path) -> None:
    for path in list_spectra([kit / "data" / "sdss", kit / "data" / "lamost" / "native"]):
        assert spectrum_format(path)[0].name in ("sdss", "lamost")


def test_a_folder_without_spectra_says_what_is_there(tmp_path: Path) -> None:
    assert what_else([tmp_path]) == ("it is empty", "Check the path")
    (tmp_path / "deep").mkdir()
    for name in ("spSpec-1.fit", "deep/spSpec-2.fit", "allStar-dr17.fits", "notes.txt", "README"):
        (tmp_path / name).touch()
    there, todo = what_else([tmp_path])
    assert there.startswith("there are 2 spSpec images of SDSS DR7 or earlier, ")
    for words in ("1 APOGEE's catalog allStar", "1 .txt files", "1 nameless files"):
        assert words in there
    assert "DR8 or later" in todo
    assert list_spectra([tmp_path]) == []


def test_packed_spectra_in_a_folder_are_found(tmp_path: Path) -> None:
    for suffix in ("", ".gz", ".bz2", ".xz", ".zip", ".fz"):
        (tmp_path / f"spec-1-2-3.fits{suffix}").touch()
    (tmp_path / "spec-1-2-3.png").touch()
    (tmp_path / "spec-a line\nbreak.fits").touch()
    assert len(list_spectra([tmp_path])) == 7


def test_bzip2_is_read(tmp_path: Path) -> None:
    plain = write_sdss(tmp_path / "good" / NAME)
    path = tmp_path / (NAME + ".bz2")
    path.write_bytes(bz2.compress(plain.read_bytes()))
    assert read_spectrum(path).survey_key == read_spectrum(plain).survey_key


@pytest.mark.parametrize(
    ("damage", "code"),
    [(lambda d: d[:-20], "TRUNCATED"), (lambda d: d[:40] + b"x" * 60 + d[100:], "CHECKSUM")],
)
def test_damaged_bzip2(tmp_path: Path, damage: Callable[[bytes], bytes], code: str) -> None:
    path = tmp_path / (NAME + ".bz2")
    data = bz2.compress(write_sdss(tmp_path / "good" / NAME).read_bytes())
    path.write_bytes(damage(data))
    with pytest.raises(BadInputError, match=code):
        spectrum_format(path)


def test_a_bzip2_bomb_is_stopped(tmp_path: Path) -> None:
    path = tmp_path / (NAME + ".bz2")
    path.write_bytes(bz2.compress(b"SIMPLE  =".ljust(80) * 10**6))
    with pytest.raises(BadInputError, match=r"NOT_FITS|TOO_LARGE"):
        spectrum_format(path)
