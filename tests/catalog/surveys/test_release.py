"""Tests of catalog.surveys.release: what a catalog file says of its release."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from catalog.errors import BadInputError
from catalog.surveys.release import Recognised, recognise
from catalog.surveys.simulate import write_survey


def write(path: Path, columns: dict[str, list[object]], **cards: str) -> Path:
    """A FITS file with one table."""
    primary = fits.PrimaryHDU(header=fits.Header(list(cards.items())))
    table = fits.BinTableHDU(
        np.rec.fromarrays([np.array(c) for c in columns.values()], names=list(columns))
    )
    fits.HDUList([primary, table]).writeto(path)
    return path


@pytest.mark.parametrize(
    ("name", "columns", "cards", "releases"),
    [
        ("a.fits", {"RESULTS_VERSION": [b"v603"]}, {}, "dr12"),
        ("a.fits", {"RESULTS_VERSION": [b"", b"l31c.2"]}, {}, "dr14 dr15"),
        ("a.fits", {"ASPCAP_VERSION": [b"l31c"]}, {}, "dr14 dr15"),
        ("a.fits", {"ASPCAP_ID": [b"apogee.apo25m.l31c.2.4264.2M00000032+5737103"]}, {},
         "dr14 dr15"),
        ("a.fits", {"FILE": [b"apStar-r6-2M00000032+5737103.fits"]}, {}, "dr13"),
        ("a.fits", {"FILE": [b"asStar-dr17-2M00000032+5737103.fits"]}, {}, "dr17"),
        ("allStar-l31c.2.fits", {"GAIAEDR3_SOURCE_ID": [1]}, {}, "dr17"),  # renamed
        ("a.fits", {"GAIA_SOURCE_ID": [1]}, {}, "dr16"),
        ("a.fits", {"PMRA": [1.0]}, {}, "dr10 dr11 dr12 dr13 dr14 dr15"),
        ("a.fits", {"PMRA": [1.0]}, {"RELEASE": "DR13"}, "dr13"),
        ("allStar-v402.fits", {"TEFF": [1.0]}, {}, "dr11"),
        ("allStar-v603-Hipparcos.fits", {"TEFF": [1.0]}, {}, "dr12"),
        ("allStar-l30e.2.fits", {"TEFF": [1.0]}, {}, "dr13"),
        ("allStar-r12-l33.fits.part", {"TEFF": [1.0]}, {}, "dr16"),
        ("allStar-dr17-synspec_rev1.fits", {"TEFF": [1.0]}, {}, "dr17"),
        ("allStar.fits", {"FILE": [b"asynspecx"]}, {}, ""),
        ("allStar-l33x.fits", {"FILE": [1]}, {}, ""),
    ],
)  # fmt: skip
def test_what_an_allstar_says(
    tmp_path: Path, name: str, columns: dict[str, list[object]], cards: dict[str, str],
    releases: str,
) -> None:  # fmt: skip
    found = recognise(write(tmp_path / name, columns, **cards), "apogee")
    assert found.releases == set(releases.split())
    assert bool(found.why) == bool(releases)


@pytest.mark.parametrize(
    ("kind", "name", "releases"),
    [
        ("sspp", "ssppOut-dr9.fits", "dr8 dr9"),
        ("sspp", "ssppOut-dr12.fits", "dr12 dr13 dr14 dr15 dr16 dr17"),
        ("sspp", "mine.fits", ""),
        ("specobj", "specObj-dr14.fits", "dr14 dr15"),
        ("specobj", "specObj-dr17.fits", "dr17"),
        ("specobj", "specObj-dr170.fits", ""),
    ],
)
def test_what_catalogs_of_spectra_say(tmp_path: Path, kind: str, name: str, releases: str) -> None:
    found = recognise(write(tmp_path / name, {"PLATE": [1]}), kind)
    assert found.releases == set(releases.split())


def test_real_files_are_recognised(kit: Path) -> None:
    found = recognise(kit / "data" / "apogee" / "allStar-v603-Hipparcos.fits.gz", "apogee")
    assert found == Recognised(frozenset(["dr12"]), "RESULTS_VERSION is 'v603'")


@pytest.mark.parametrize("release", ["dr14", "dr17"])
def test_files_of_the_simulated_survey_and_of_the_kit_agree(
    tmp_path: Path, release: str, kit_dr14: Path, kit_dr17: Path
) -> None:
    write_survey(tmp_path, n_matched=5, n_apogee=20, n_sspp=20, seed=1, release=release)
    for folder in (tmp_path, kit_dr14 if release == "dr14" else kit_dr17):
        path = next(folder.glob("allStar*"))
        found = recognise(path, "apogee")
        assert release in found.releases
        found.check(path, release)
        renamed = tmp_path / "renamed.fits"
        renamed.write_bytes(path.read_bytes())
        if folder != tmp_path:  # the kit's files have all columns
            assert recognise(renamed, "apogee").releases == found.releases


def test_only_a_contradiction_is_refused(tmp_path: Path) -> None:
    dr14 = Recognised(frozenset(["dr15", "dr14"]), "RESULTS_VERSION is 'l31c.2'")
    for release in ("dr14", "dr15", "mine", "dr14-test"):
        dr14.check(tmp_path, release)
    Recognised().check(tmp_path, "dr17")
    with pytest.raises(BadInputError) as said:
        dr14.check(tmp_path / "a.fits", "dr17")
    assert said.value.reason_code == "BAD_RELEASE"
    assert "is of dr14 or dr15 (RESULTS_VERSION is 'l31c.2'), not of dr17" in said.value.reason
    assert "--as-release" in said.value.todo
