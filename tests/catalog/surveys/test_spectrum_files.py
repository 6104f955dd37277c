"""SDSS, BOSS and LAMOST spectra: genuine ones, the kit's, and ones made wrong on purpose."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from catalog.errors import BadInputError, UsageError
from catalog.surveys.find import LocalArchive, list_spectra
from catalog.surveys.formats import spectrum_format
from catalog.surveys.lamost_spectrum import read_lamost
from catalog.surveys.sdss_spectrum import read_spectrum
from tests.support.spectrum_files import write_lamost

# From the kit's description of the genuine files: S/N, pixels, spectrograph, start of the class.
GENUINE = {
    "0618-52049-0372": (50, 3834, "SDSS", "M1"),
    "1079-52621-0509": (24, 3843, "SDSS", "M1"),
    "1123-52882-0065": (10, 3843, "SDSS", "M4"),
    "3764-55514-0972": (1.0, 4597, "BOSS", "M6III"),
    "4068-55445-0924": (21, 4605, "BOSS", "A9V"),
    "4961-55719-0378": (57, 4619, "BOSS", "F3/F5V"),
    "5047-55833-0936": (49, 4599, "BOSS", "M1"),
    "7332-56683-0788": (57, 4594, "BOSS", "G8V"),
    "7454-56751-0770": (30, 4582, "BOSS", "K0V"),
    "4055-55359-0001": (21, 4605, "BOSS", "F3/F5V"),
    "0266-51602-0031": (7, 3842, "SDSS", "WD"),
    "3586-55181-0500": (55, 4625, "BOSS", "G1V"),
    "2942-54521-0124": (94, 3829, "SDSS", "G2"),
    "1678-53433-0425": (41, 3846, "SDSS", "STARBURST"),
    "0548-51986-0020": (13, 3828, "SDSS", "BROADLINE"),
    "2344-53740-0358": (0.6, 3825, "SDSS", "M5"),
    "2297-53738-0042": (0.6, 3827, "SDSS", ""),
}


@pytest.mark.kit
@pytest.mark.parametrize("name", GENUINE)
def test_genuine_sdss_files(kit: Path, name: str) -> None:
    path = kit / "data" / "sdss" / f"spec-{name}.fits"
    sn, n_pixels, instrument, subclass = GENUINE[name]
    spectrum = read_spectrum(path)
    with fits.open(path, memmap=False) as hdus:
        raw, row = hdus[1].data, hdus[2].data[0]
        assert spectrum.specobjid == int(row["SPECOBJID"])
        np.testing.assert_array_equal(spectrum.flux, raw["flux"])
        np.testing.assert_array_equal(spectrum.ivar, raw["ivar"])
        np.testing.assert_array_equal(spectrum.or_mask, raw["or_mask"])
        grid = spectrum.loglam0 + 1e-4 * np.arange(len(raw))
        assert np.abs(grid - raw["loglam"]).max() < 3e-7
        assert spectrum.first_index == round((float(raw["loglam"][0]) - 3.5) / 1e-4)
        assert (spectrum.ra, spectrum.dec) == (row["PLUG_RA"], row["PLUG_DEC"])
        assert spectrum.z == row["Z"]
        assert spectrum.zwarning == row["ZWARNING"]
    # The pipeline's S/N leaves out some pixels that ours keeps.
    assert abs(spectrum.sn_median - sn) < max(0.05 * sn, 0.8)
    assert (len(spectrum.flux), spectrum.instrument, spectrum.state) == (n_pixels, instrument, "ok")
    assert spectrum.subclass.startswith(subclass)
    key = "-".join(str(int(part)) for part in name.split("-"))
    assert spectrum.survey_key.startswith(f"{key}-{'v5_' if instrument == 'BOSS' else '26'}")
    assert spectrum_format(path)[0].name == "sdss"


@pytest.mark.kit
def test_genuine_lamost_files(kit: Path) -> None:
    paths = sorted((kit / "data" / "lamost" / "native").glob("*.fits"))
    assert len(paths) == 6
    for path in paths:
        spectrum = read_lamost(path)
        image = fits.getdata(path)
        good = image[1] > 0
        np.testing.assert_array_equal(spectrum.flux, image[0])
        np.testing.assert_array_equal(spectrum.ivar, image[1])
        assert spectrum.sn_median == pytest.approx(
            np.median(image[0][good] * np.sqrt(image[1][good]))
        )
        assert (spectrum.loglam0, spectrum.first_index) == (3.5682, 682)
        assert (spectrum.survey, spectrum.instrument, spectrum.class_) == (
            "lamost",
            "LAMOST",
            "STAR",
        )
        assert spectrum_format(path)[0].name == "lamost"
    assert read_lamost(paths[0]).survey_key == "55862-B6212-6-3"


@pytest.mark.kit
def test_kit_survey_states(kit_dr14: Path) -> None:
    states = Counter(read_spectrum(p).state for p in list_spectra([kit_dr14]))
    assert states["ok"] > 30
    assert states["ZERO_SPECTRUM"] >= 1
    assert set(states) <= {"ok", "ZERO_SPECTRUM", "NO_GOOD_PIXELS"}


# ------------------------------------------------------------------ files made here

Change = Callable[[fits.HDUList], None]


@pytest.fixture(scope="module")
def original(simulated: tuple[Path, dict[str, int]]) -> Path:
    return list_spectra([simulated[0]])[3]


def changed(original: Path, folder: Path, change: Change, name: str | None = None) -> Path:
    """A copy of a spectrum with something else in it."""
    path = folder / (name or original.name)
    with fits.open(original, memmap=False) as hdus:
        change(hdus)
        hdus.writeto(path)
    return path


def rename_columns(hdus: fits.HDUList, number: int, rename: Callable[[str], str]) -> None:
    data = np.array(hdus[number].data.view(np.ndarray))
    data.dtype.names = tuple(rename(name) for name in data.dtype.names)
    hdus[number] = fits.BinTableHDU(data, name=hdus[number].name)


def test_the_case_of_column_names_does_not_matter(original: Path, tmp_path: Path) -> None:
    def swap(hdus: fits.HDUList) -> None:
        rename_columns(hdus, 1, str.upper)
        rename_columns(hdus, 2, str.lower)

    one, two = read_spectrum(original), read_spectrum(changed(original, tmp_path, swap))
    np.testing.assert_array_equal(one.flux, two.flux)
    assert (one.survey_key, one.specobjid) == (two.survey_key, two.specobjid)


def test_run2d_may_be_in_either_header(original: Path, tmp_path: Path) -> None:
    def first_only(hdus: fits.HDUList) -> None:
        rename_columns(hdus, 2, lambda name: "OTHER" if name == "RUN2D" else name)

    def second_only(hdus: fits.HDUList) -> None:
        del hdus[0].header["RUN2D"]

    def neither(hdus: fits.HDUList) -> None:
        first_only(hdus)
        second_only(hdus)

    expected = read_spectrum(original).survey_key
    for i, change in enumerate((first_only, second_only)):
        (tmp_path / str(i)).mkdir()
        assert read_spectrum(changed(original, tmp_path / str(i), change)).survey_key == expected
    with pytest.raises(BadInputError, match="BAD_ID"):
        read_spectrum(changed(original, tmp_path, neither))


def test_a_file_without_its_second_table_is_read_from_its_header(
    original: Path, tmp_path: Path
) -> None:
    full = read_spectrum(original)

    def strip(hdus: fits.HDUList) -> None:
        del hdus[2]
        hdus[0].header["PLUG_RA"], hdus[0].header["PLUG_DEC"] = full.ra, full.dec

    bare = read_spectrum(changed(original, tmp_path, strip))
    assert (bare.survey_key, bare.specobjid) == (full.survey_key, full.specobjid)
    assert (bare.ra, bare.dec, bare.class_) == (full.ra, full.dec, "")
    assert bare.zwarning is None


def test_a_signed_id_beyond_its_range_is_understood(tmp_path: Path, simulated: tuple) -> None:
    path = next(p for p in list_spectra([simulated[0]]) if p.name.startswith("spec-8954"))
    expected = read_spectrum(path).specobjid
    assert expected is not None
    assert expected > 2**63

    def sign(hdus: fits.HDUList) -> None:
        old = np.array(hdus[2].data.view(np.ndarray))
        fields = [(n, ">i8" if n == "SPECOBJID" else old.dtype[n]) for n in old.dtype.names]
        new = np.zeros(1, fields)
        for name in old.dtype.names:
            new[name] = expected - 2**64 if name == "SPECOBJID" else old[name]
        hdus[2] = fits.BinTableHDU(new, name="SPECOBJ")

    assert read_spectrum(changed(path, tmp_path, sign)).specobjid == expected


def set_row(name: str, value: object) -> Change:
    def change(hdus: fits.HDUList) -> None:
        hdus[2].data[name][0] = value

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (set_row("FIBERID", 639), "WRONG_CONTENT"),
        (lambda hdus: hdus[0].header.set("VACUUM", False), "BAD_GRID"),
        (set_row("SPECOBJID", "299497923312379904"), "WRONG_CONTENT"),
        (set_row("SPECOBJID", "1.2e18"), "BAD_ID"),
        (set_row("PLUG_DEC", 91.0), "BAD_COORD"),
        (set_row("PLUG_RA", np.nan), "BAD_COORD"),
        (lambda hdus: hdus[0].header.set("BUNIT", "Jy"), "BAD_UNIT"),
    ],
)
def test_contradictions_are_refused(
    original: Path, tmp_path: Path, change: Change, code: str
) -> None:
    with pytest.raises(BadInputError, match=code):
        read_spectrum(changed(original, tmp_path, change))


@pytest.mark.parametrize(
    ("card", "code"),
    [("NAXIS1", "NOT_FITS"), ("NAXIS2", "NOT_FITS"), ("NAXIS", "NOT_FITS"),
     ("TFIELDS", "BAD_DTYPE"), ("TFORM2", "BAD_DTYPE"), ("TNULL4", "BAD_DTYPE"),
     ("TSCAL1", "BAD_DTYPE"), ("TZERO1", "BAD_DTYPE")],
)  # fmt: skip
def test_numbers_beyond_all_bounds_in_the_headers(
    original: Path, tmp_path: Path, card: str, code: str
) -> None:
    """``1E400`` became infinite, ended in an OverflowError and stopped the folder for good."""
    path = with_card(original, tmp_path, card, "1E400")
    with pytest.raises(BadInputError, match=code):
        read_spectrum(path)


@pytest.mark.parametrize("card", ["Z", "FBADPIX"])
def test_a_card_that_is_no_number_is_as_if_it_were_not_there(
    original: Path, tmp_path: Path, card: str
) -> None:
    expected = read_spectrum(original)
    path = with_card(original, tmp_path, card, "1E400", like="WRITTEN" if card == "Z" else "")
    np.testing.assert_array_equal(read_spectrum(path).flux, expected.flux)


@pytest.mark.parametrize("zero", ["1E300", "-9.3E18", "9223372036854775808"])
def test_zero_points_that_no_integer_holds(original: Path, tmp_path: Path, zero: str) -> None:
    path = with_card(original, tmp_path, "TZERO4", zero)
    with pytest.raises(BadInputError, match="BAD_DTYPE"):
        read_spectrum(path)


def with_card(original: Path, folder: Path, card: str, value: str, like: str = "") -> Path:
    """A copy of a spectrum in which the first such card, or a new one of HDU1, has this value."""
    data = original.read_bytes()
    new = f"{card:8}= {value:>20}".ljust(80).encode("latin-1")
    at = data.find(f"{card:8}= ".encode())
    if at < 0:  # the header of HDU1 has room behind its END
        at = data.index(b"END".ljust(80), data.index(b"XTENSION"))
        assert data[at + 80 : at + 160].strip() == b""
        data = data[:at] + new + data[at : at + 80] + data[at + 160 :]
    else:
        data = data[:at] + new + data[at + 80 :]
    path = folder / original.name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("odd", "said"),
    [(b"COMMENT Observer: M. Mu\xf1oz", "0xf1 in COMMENT"), (b"HISTORY a\tb", "0x09 in HISTORY")],
)
def test_bytes_that_fits_forbids_in_a_comment_are_noted(
    original: Path, tmp_path: Path, odd: bytes, said: str
) -> None:
    data = original.read_bytes()
    end = data.index(b"END".ljust(80))
    assert data[end + 80 : end + 160].strip() == b""
    path = tmp_path / original.name
    path.write_bytes(data[:end] + odd.ljust(80) + data[end : end + 80] + data[end + 160 :])
    found = read_spectrum(path)
    np.testing.assert_array_equal(found.flux, read_spectrum(original).flux)
    assert found.notes == (f"HDU 0 has bytes that FITS forbids: {said}",)
    assert read_spectrum(original).notes == ()


def test_a_header_padded_with_zero_bytes_is_read(original: Path, tmp_path: Path) -> None:
    data = original.read_bytes()
    end = data.index(b"END".ljust(80)) + 80
    stop = -(-end // 2880) * 2880
    path = tmp_path / original.name
    path.write_bytes(data[:end] + bytes(stop - end) + data[stop:])
    assert "0x00" in read_spectrum(path).notes[0]


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("1E-17 erg/cm^2/s/Ang", 1.0), ("erg/s/cm2/Angstrom", 1e-17), ("W/m2/nm", 1e-19), ("", 1.0)],
)
@pytest.mark.parametrize("with_ivar_unit", [True, False])
def test_declared_units_of_flux_are_converted(
    original: Path, tmp_path: Path, unit: str, factor: float, with_ivar_unit: bool
) -> None:
    expected = read_spectrum(original)

    def change(hdus: fits.HDUList) -> None:
        columns = []
        for column in hdus[1].columns:
            values = hdus[1].data[column.name].astype("f8")
            if column.name == "flux":
                column = fits.Column("flux", "D", array=values * factor, unit=unit)
            elif column.name == "ivar":
                of = "s2 cm4 Angstrom2 / erg2" if with_ivar_unit and factor == 1e-17 else None
                column = fits.Column("ivar", "D", array=values / factor**2, unit=of)
            columns.append(column)
        hdus[1] = fits.BinTableHDU.from_columns(columns, name="COADD")

    found = read_spectrum(changed(original, tmp_path, change))
    np.testing.assert_allclose(found.flux, expected.flux, rtol=1e-6)
    np.testing.assert_allclose(found.ivar, expected.ivar, rtol=1e-6)
    assert found.sn_median == pytest.approx(expected.sn_median, rel=1e-6)


@pytest.mark.parametrize("column", ["flux", "loglam", "ivar"])
def test_units_of_something_else_are_refused(original: Path, tmp_path: Path, column: str) -> None:
    def change(hdus: fits.HDUList) -> None:
        hdus[1].columns[column].unit = "Jy"

    with pytest.raises(BadInputError, match=rf"BAD_UNIT.*{column} of .* is in 'Jy'"):
        read_spectrum(changed(original, tmp_path, change))


@pytest.mark.parametrize(("unit", "per_angstrom"), [("nm", 10.0), ("Angstrom", 1.0)])
def test_wavelengths_in_nanometres(tmp_path: Path, unit: str, per_angstrom: float) -> None:
    name = "spec-56919-EG012606S021203F_sp01-015.fits"
    path = write_lamost(tmp_path / name, units={"WAVELENGTH": unit, "FLUX": "relative flux"})
    with fits.open(path, mode="update") as hdus:
        hdus[1].data["WAVELENGTH"] /= per_angstrom
    assert read_lamost(path).loglam0 == 3.5682


def test_nan_flux_without_weight_is_no_error(original: Path, tmp_path: Path) -> None:
    def spoil(hdus: fits.HDUList) -> None:
        hdus[1].data["flux"][10:20] = np.nan
        hdus[1].data["ivar"][10:20] = 0

    spectrum = read_spectrum(changed(original, tmp_path, spoil))
    assert (spectrum.flux[10:20] == 0).all()
    assert np.isfinite(spectrum.flux).all()


def test_signal_to_noise_ignores_bad_pixels(original: Path, tmp_path: Path) -> None:
    def flat(hdus: fits.HDUList) -> None:
        data = hdus[1].data
        data["flux"], data["ivar"] = 10.0, 4.0
        data["flux"][: len(data) // 3], data["ivar"][: len(data) // 3] = 1e6, 0

    assert read_spectrum(changed(original, tmp_path, flat)).sn_median == 20.0


def test_lamost_table_layout(tmp_path: Path) -> None:
    path = write_lamost(tmp_path / "spec-56919-EG012606S021203F_sp01-015.fits")
    spectrum = read_lamost(path)
    assert (spectrum.survey_key, spectrum.first_index, spectrum.sn_median) == ("353301015", 682, 16)
    assert np.isnan(spectrum.z)
    assert spectrum.or_mask.all()
    assert spectrum_format(path)[0].name == "lamost"


@pytest.mark.kit
def test_a_lamost_file_under_another_name_is_refused(kit: Path, tmp_path: Path) -> None:
    source = kit / "data" / "lamost" / "native" / "spec-55862-B6212_sp06-003.fits"
    path = tmp_path / "spec-55862-B6212_sp06-004.fits"
    path.write_bytes(source.read_bytes())
    with pytest.raises(BadInputError, match="WRONG_CONTENT"):
        read_lamost(path)


def test_spectra_are_listed_once_in_order_and_loops_end(tmp_path: Path) -> None:
    for name in ("b/spec-2.fits", "a/spec-1.fits.gz", "a/other.fits", "spec-3.fits"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "b" / "other.fits").symlink_to(tmp_path / "gone")
    found = LocalArchive((tmp_path, tmp_path / "spec-3.fits", tmp_path / "a")).list_spectra()
    assert {p.name for p in found} == {"spec-1.fits.gz", "spec-2.fits", "spec-3.fits"}
    assert len(found) == 3
    assert found == sorted(found)


def test_what_is_no_file_but_has_the_name_of_a_spectrum_is_listed(tmp_path: Path) -> None:
    for name in ("spec-8.fits", "spec-9.fits"):  # both lead to nothing
        (tmp_path / name).symlink_to(tmp_path / "gone")
    (tmp_path / "spec-loop.fits").symlink_to(tmp_path / "spec-loop.fits")
    (tmp_path / "spec-device.fits").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "spec-pipe.fits")
    (tmp_path / "spec-folder.fits").mkdir()
    names = [path.name for path in list_spectra([tmp_path])]
    assert names == [f"spec-{n}.fits" for n in ("8", "9", "device", "loop", "pipe")]


def test_a_path_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        list_spectra([tmp_path / "nowhere"])
