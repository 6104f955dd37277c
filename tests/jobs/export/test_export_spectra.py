"""Spectra as FITS files: what specutils and Astropy read is what the database holds."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from specutils import Spectrum
from sqlalchemy.engine import URL

from catalog.errors import ChunkFailed, SourceUnavailableError, UsageError
from catalog.store.db import Database
from catalog.store.spectra import decode
from jobs.export.spectra import INDEX, SpectraSummary, export_spectra
from models.spectra.normalize import RECIPES
from tests.conftest import cloned, full_disk
from tests.support.learning import rows

FLUX = u.Unit("1e-17 erg / (s cm2 Angstrom)")
STORED = """SELECT s.survey_key, b.flux, b.ivar, b.and_mask, b.or_mask, b.loglam0, b.z, b.class,
    d.specobjid::text, n.flux, n.ivar, n.continuum, n.normalize_flags, t.star_key, k.sep_arcsec
FROM spectrum_blob b JOIN source s USING (source_id) JOIN sdss_spectrum d USING (source_id)
JOIN normalized_spectrum n USING (source_id) JOIN star_link k ON k.right_id = source_id
JOIN star t ON t.star_id = k.star_id JOIN sample p ON p.sample_id = k.sample_id
WHERE p.name = 'clean' AND n.recipe = 'default' ORDER BY 1"""


def exported(db: Database, folder: Path, **kw: str) -> SpectraSummary:
    with db.reader() as conn:
        return export_spectra(conn, folder, **kw)


@pytest.fixture(scope="module")
def folder(
    server_url: URL,
    admin: sa.Engine,
    survey_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The spectra of the sample, exported once."""
    path = tmp_path_factory.mktemp("exported") / "spectra"
    with cloned(server_url, admin, survey_template) as db:
        exported(db, path, sample="clean", recipe="default")
    return path


def files_of(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.name != INDEX)


def test_values_are_those_of_the_database(survey: Database, folder: Path) -> None:
    stored = rows(survey, STORED)
    assert len(stored) == len(files_of(folder)) > 20
    masked = 0
    for row in stored:
        key, flux, ivar, and_mask, or_mask, loglam0, z, class_, specobjid = row[:9]
        with fits.open(folder / f"sdss-{key}.fits", checksum=True) as file:
            head, observed, normal = file[0].header, file[1].data, file[2].data
            np.testing.assert_array_equal(observed["flux"], decode(flux))
            np.testing.assert_array_equal(observed["ivar"], decode(ivar))
            np.testing.assert_array_equal(observed["and_mask"], decode(and_mask, "<i4"))
            np.testing.assert_array_equal(observed["or_mask"], decode(or_mask, "<i4"))
            np.testing.assert_array_equal(observed["mask"], decode(ivar) == 0)
            np.testing.assert_allclose(observed["uncertainty"] ** -2, decode(ivar), rtol=1e-6)
            loglam = loglam0 + 1e-4 * np.arange(len(decode(flux)))
            np.testing.assert_array_equal(observed["loglam"], loglam)
            np.testing.assert_allclose(observed["wavelength"], 10**loglam, rtol=1e-15)
            for name, blob in zip(("flux", "ivar", "continuum"), row[9:12], strict=True):
                np.testing.assert_array_equal(normal[name], decode(blob))
            np.testing.assert_allclose(
                normal["wavelength"], RECIPES["default"].wavelength, rtol=1e-12
            )
            np.testing.assert_array_equal(normal["mask"], decode(row[10]) == 0)
            masked += int(observed["mask"].sum())
            assert (head["SPECID"], head["CLASS"], head["OBJECT"]) == (specobjid, class_, row[13])
            assert np.float32(head["Z"]) == np.float32(z)
            assert head["SEPARCS"] == row[14]
            assert (head["SIMULATE"], head["SAMPLE"], head["VACUUM"]) == (True, "clean", True)
            assert json.loads(head["PROV"])["reference"]["label_set"] == "aspcap/dr14@1"
            assert (file[2].header["RECIPE"], file[2].header["FRAME"]) == ("default", "STAR")
            assert file[2].header["NORMFLAG"] == row[12]
    assert masked > 0
    assert max(int(row[8]) for row in stored) > 2**63


def test_specutils_reads_them_without_being_told(folder: Path) -> None:
    for path in files_of(folder)[:5]:
        spectrum = Spectrum.read(path)
        table = Table.read(path, hdu=1)
        assert spectrum.flux.unit == FLUX
        assert spectrum.spectral_axis.unit == u.Angstrom
        np.testing.assert_array_equal(spectrum.flux.value, table["flux"])
        np.testing.assert_array_equal(spectrum.spectral_axis.value, table["wavelength"])
        np.testing.assert_array_equal(spectrum.uncertainty.array, table["uncertainty"])
        np.testing.assert_array_equal(spectrum.mask, table["mask"])
        assert spectrum.uncertainty.unit == FLUX
        assert spectrum.meta["header"]["SURVEY"] == "sdss"


def test_specutils_reads_the_normalized_spectrum_when_told(folder: Path) -> None:
    path = files_of(folder)[0]
    with pytest.raises(OSError, match="Could not identify column containing the flux"):
        Spectrum.read(path, format="tabular-fits", hdu=2)  # rather than the continuum
    columns = {
        "wavelength": ("spectral_axis", "Angstrom"), "flux": ("flux", ""),
        "uncertainty": ("uncertainty", ""), "mask": ("mask", None),
    }  # fmt: skip
    spectrum = Spectrum.read(path, format="tabular-fits", hdu=2, column_mapping=columns)
    table = Table.read(path, hdu=2)
    np.testing.assert_array_equal(spectrum.flux.value, table["flux"])
    good = ~spectrum.mask
    assert 0.8 < np.median(spectrum.flux.value[good]) < 1.2


def test_columns_say_what_they_are(folder: Path) -> None:
    path = files_of(folder)[0]
    table = Table.read(path, hdu=1)
    assert table["flux"].unit == FLUX
    assert table["ivar"].unit == FLUX**-2
    assert table["wavelength"].unit == u.Angstrom
    with fits.open(path) as file:
        assert [hdu.name for hdu in file[1:]] == ["SPECTRUM", "NORMALIZED"]
        for hdu in file[1:]:
            for i in range(1, hdu.header["TFIELDS"] + 1):
                assert hdu.header[f"TCOMM{i}"]
                assert hdu.header[f"TUCD{i}"]
        assert any("bit 23: BRIGHTSKY" in line for line in file[1].header["COMMENT"])


def test_the_index_names_every_file_with_its_checksum(folder: Path) -> None:
    index = Table.read(folder / INDEX)
    files = files_of(folder)
    assert index["file_name"].tolist() == [p.name for p in files]
    assert index["sha256"].tolist() == [hashlib.sha256(p.read_bytes()).hexdigest() for p in files]
    assert set(index["recipe"]) == {"default"}
    for row in index:
        head = fits.getheader(folder / row["file_name"])
        assert (row["survey_key"], row["specobjid"]) == (head["SURVKEY"], head["SPECID"])
        assert row["star_key"] == head["OBJECT"]


def test_exported_again_nothing_is_written(survey: Database, tmp_path: Path) -> None:
    first, again = tmp_path / "1", tmp_path / "2"
    n = exported(survey, first, sample="clean", recipe="default").n_spectra
    exported(survey, again, sample="clean", recipe="default")
    content = {p.name: p.read_bytes() for p in first.iterdir()}
    assert {p.name: p.read_bytes() for p in again.iterdir()} == content
    lost, kept, *_ = files_of(first)
    lost.unlink()
    kept.write_bytes(b"something else")
    before = {p.name: p.stat().st_ino for p in files_of(first)[1:]}
    summary = exported(survey, first, sample="clean", recipe="default")
    assert (summary.n_spectra, summary.n_written) == (n, 2)
    assert {p.name: p.read_bytes() for p in first.iterdir()} == content
    same = [name for name, inode in before.items() if (first / name).stat().st_ino == inode]
    assert len(same) == n - 2


def test_all_spectra_of_a_recipe_without_the_frame_of_the_star(
    survey: Database, tmp_path: Path
) -> None:
    summary = exported(survey, tmp_path / "all", recipe="seed-2018")
    n = rows(survey, "SELECT count(*) FROM spectrum_blob WHERE spectrum_state = 'ok'")[0][0]
    assert summary == SpectraSummary(n, n)
    head = fits.getheader(files_of(tmp_path / "all")[0], 2)
    assert (head["RECIPE"], head["FRAME"]) == ("seed-2018", "OBSERVED")
    assert "star_key" not in Table.read(tmp_path / "all" / INDEX).colnames


def test_spectra_of_lamost_and_keys_that_are_no_file_names(
    survey: Database, tmp_path: Path
) -> None:
    with survey.begin() as conn:
        which = conn.scalar(sa.text("SELECT min(source_id) FROM normalized_spectrum"))
        for statement in (
            "DELETE FROM sdss_spectrum WHERE source_id = :id",
            "UPDATE source SET survey = 'lamost', survey_key = '../5-B/6 x' WHERE source_id = :id",
            "UPDATE spectrum_blob SET instrument = 'LAMOST', subclass = 'G''5' "
            "WHERE source_id = :id",
        ):
            conn.execute(sa.text(statement), {"id": which})
    exported(survey, tmp_path / "all", recipe="default")
    path = tmp_path / "all" / "lamost-..%2F5-B%2F6%20x.fits"
    with fits.open(path) as file:
        head = file[0].header
        assert (head["SURVKEY"], head["SUBCLASS"]) == ("../5-B/6 x", "G'5")
        assert "SPECID" not in head
        assert any("unit is nominal" in line for line in file[1].header["COMMENT"])
        assert not any("BRIGHTSKY" in line for line in file[1].header["COMMENT"])
    assert Spectrum.read(path).flux.unit == FLUX
    assert [p.name for p in tmp_path.iterdir()] == ["all"]


def test_what_cannot_be_exported_is_named(survey: Database, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"spectra are not normalized by masked"):
        exported(survey, tmp_path / "x", sample="clean", recipe="masked")
    with pytest.raises(UsageError, match="there is no sample nothing"):
        exported(survey, tmp_path / "x", sample="nothing")
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "no" / "folder"):
        with pytest.raises(UsageError, match="is no folder and cannot be made one"):
            exported(survey, place, sample="clean", recipe="default")
    with pytest.raises(UsageError, match="is the name of a file"):
        exported(survey, tmp_path / "x.fits", sample="clean", recipe="default")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    with survey.begin() as conn:
        conn.execute(
            sa.text(
                "UPDATE spectrum_blob SET flux = ivar, sha256 = sha256 WHERE sha256 IS NOT NULL"
            )
        )
    with pytest.raises(ChunkFailed, match="is damaged"):
        exported(survey, tmp_path / "x", sample="clean", recipe="default")


def test_a_full_disk_leaves_what_was_there(survey: Database, tmp_path: Path) -> None:
    exported(survey, tmp_path, sample="clean", recipe="default")
    files_of(tmp_path)[3].write_bytes(b"must be written again")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    wrong = r"cannot be written: .* Make space"
    with full_disk(1000), pytest.raises(SourceUnavailableError, match=wrong):
        exported(survey, tmp_path, sample="clean", recipe="default")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.full
def test_validators_find_nothing(folder: Path) -> None:
    if shutil.which("fitsverify") is None:
        pytest.skip("fitsverify not installed (Debian package of that name)")
    for path in [*files_of(folder)[:3], folder / INDEX]:
        command = ["fitsverify", "-q", path]
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        assert found.startswith("verification OK"), found


@pytest.mark.full
def test_topcat_s_reader_takes_both_tables(folder: Path, tmp_path: Path) -> None:
    if shutil.which("stilts") is None:
        pytest.skip("stilts not installed (Debian package of that name)")
    path = files_of(folder)[0]
    for name, hdu in (("SPECTRUM", 1), ("NORMALIZED", 2)):
        out = tmp_path / f"{name}.csv"
        command = [
            "stilts", "tpipe", f"in={path}#{name}", "cmd=select !mask",
            "cmd=keepcols 'wavelength flux uncertainty'", f"out={out}",
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        table = Table.read(path, hdu=hdu)
        np.testing.assert_allclose(
            Table.read(out)["flux"], table["flux"][~table["mask"]], rtol=1e-6
        )
