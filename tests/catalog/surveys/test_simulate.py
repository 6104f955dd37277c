"""Our own survey, read back by our own readers."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from catalog.sky.vectors import separation_arcsec
from catalog.surveys.allstar import open_allstar
from catalog.surveys.find import list_spectra
from catalog.surveys.sdss_spectrum import read_spectrum
from catalog.surveys.simulate import NAMES, write_survey
from catalog.surveys.simulate_spectra import LOGLAM, model_flux
from catalog.surveys.sspp import open_sspp

Survey = tuple[Path, dict[str, int]]
SIZE = {"n_matched": 8, "n_apogee": 60, "n_sspp": 40}


@pytest.mark.parametrize("release", sorted(NAMES))
def test_catalogs_hold_what_the_counts_say(tmp_path: Path, release: str) -> None:
    counts = write_survey(tmp_path, **SIZE, seed=5, release=release)
    with open_allstar(tmp_path / NAMES[release], release) as catalog:
        stars = catalog.read(0, catalog.n_rows)
    with open_sspp(tmp_path / "ssppOut-dr12.fits", "dr12") as catalog:
        optical = catalog.read(0, catalog.n_rows)
    assert (stars.bad, optical.bad) == ((), ())
    assert stars.n_good == counts["allstar_rows"] == 60
    assert (~stars.columns["is_primary"]).sum() == counts["duplicate_rows"] > 0
    assert stars.columns["has_labels"].sum() == counts["labelled_rows"] < 60
    assert ((stars.columns["aspcapflag"] >> 23) & 1).sum() == counts["star_bad_rows"] > 0
    assert np.isnan(stars.columns["pmra"]).any()
    assert optical.n_good == counts["sspp_rows"] == 40
    assert (~optical.columns["has_labels"]).sum() == counts["sspp_without_labels"]


def test_spectra_are_those_of_the_catalog(simulated: Survey) -> None:
    folder, counts = simulated
    spectra = [read_spectrum(path) for path in list_spectra([folder])]
    with open_sspp(folder / "ssppOut-dr12.fits", "dr12") as catalog:
        columns = catalog.read(0, catalog.n_rows).columns
    of_key = dict(zip(columns["survey_key"].tolist(), columns["specobjid"].tolist(), strict=True))
    assert len(spectra) == counts["spectra"]
    for spectrum in spectra:
        assert int(of_key[spectrum.survey_key.encode()]) == spectrum.specobjid
    states = Counter(spectrum.state for spectrum in spectra)
    assert states == {"ok": len(spectra) - 1, "ZERO_SPECTRUM": counts["zero_spectra"]}
    sn = [s.sn_median for s in spectra if s.state == "ok"]
    assert 10 < min(sn) < max(sn) < 115
    assert all((s.ivar == 0).any() for s in spectra)
    assert len({s.first_index for s in spectra}) > 1


def test_truth_names_every_spectrum_once(simulated: Survey) -> None:
    folder, counts = simulated
    with (folder / "truth.csv").open(newline="") as stream:
        truth = list(csv.DictReader(stream))
    relations = Counter(row["relation"] for row in truth)
    assert relations["repeat"] == counts["repeat_spectra"]
    assert relations["chance"] == counts["chance_neighbours"]
    keys = {read_spectrum(path).survey_key for path in list_spectra([folder])}
    assert {row["survey_key"] for row in truth} == keys
    assert len(truth) == len(keys)


def test_labels_of_a_star_agree_between_truth_and_allstar(simulated: Survey) -> None:
    folder, counts = simulated
    with open_allstar(folder / NAMES["dr14"], "dr14") as catalog:
        columns = catalog.read(0, catalog.n_rows).columns
    first = columns["is_primary"] & columns["has_labels"]
    teff = dict(zip(columns["apogee_id"][first].tolist(), columns["teff"][first], strict=True))
    with (folder / "truth.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["relation"] == "true"]
    gaps = [
        abs(teff[row["apogee_id"].encode()] - float(row["teff"]))
        for row in rows
        if row["apogee_id"].encode() in teff
    ]
    assert len(gaps) == counts["matched_stars"]
    assert max(gaps) < 200


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    def content(name: str, seed: int) -> dict[str, bytes]:
        write_survey(tmp_path / name, **SIZE, seed=seed)
        files = (p for p in (tmp_path / name).rglob("*") if p.is_file())
        return {str(p.relative_to(tmp_path / name)): p.read_bytes() for p in files}

    one = content("one", 1)
    assert one == content("again", 1)
    assert one[NAMES["dr14"]] != content("other", 2)[NAMES["dr14"]]


def test_every_file_is_standard_and_says_that_it_is_simulated(simulated: Survey) -> None:
    for path in simulated[0].rglob("*.fits"):
        assert path.stat().st_size % 2880 == 0
        with fits.open(path) as hdus:
            hdus.verify("exception")
            assert hdus[0].header["SIMULATE"] is True, path
            for hdu in hdus[1:]:
                assert all(code[-1] in "AEDJ" for code in hdu.columns.formats)


@pytest.mark.parametrize(("release", "motion"), [("dr14", "PMRA"), ("dr17", "GAIAEDR3_PMRA")])
def test_sentinels_and_padding_are_those_of_the_release(
    tmp_path: Path, release: str, motion: str
) -> None:
    write_survey(tmp_path, **SIZE, release=release)
    rows = fits.getdata(tmp_path / NAMES[release]).view(np.ndarray)
    labels = ("TEFF", "TEFF_ERR", "LOGG", "FE_H", "ALPHA_M")
    gone = np.isnan if release == "dr17" else (lambda values: values == -9999)
    missing = gone(rows["TEFF"])
    assert 0 < missing.sum() < len(rows)
    assert all((gone(rows[name]) == missing).all() for name in labels)
    assert gone(rows[motion]).any()
    assert set(rows["TELESCOPE"].tolist()) == {b"apo25m  ", b"apo1m   "}


def test_neighbours_lie_within_the_radius_and_are_other_stars(simulated: Survey) -> None:
    folder, counts = simulated
    with open_allstar(folder / NAMES["dr14"], "dr14") as catalog:
        stars = catalog.read(0, catalog.n_rows).columns
    with open_sspp(folder / "ssppOut-dr12.fits", "dr12") as catalog:
        optical = catalog.read(0, catalog.n_rows).columns
    star_of = {key: i for i, key in enumerate(stars["apogee_id"].tolist())}
    row_of = {key: i for i, key in enumerate(optical["survey_key"].tolist())}
    with (folder / "truth.csv").open(newline="") as stream:
        truth = list(csv.DictReader(stream))
    left = [star_of[row["apogee_id"].encode()] for row in truth]
    right = [row_of[row["survey_key"].encode()] for row in truth]
    ra, dec = stars["ra"][left], stars["dec"][left]
    sep = separation_arcsec(ra, dec, optical["ra"][right], optical["dec"][right])
    chance = np.array([row["relation"] == "chance" for row in truth])
    assert sep[~chance].max() < 1
    assert 0.5 < sep[chance].min() < sep[chance].max() < 2
    own = {row["teff"] for row in truth if row["relation"] == "true"}
    assert chance.sum() == counts["chance_neighbours"]
    assert own.isdisjoint(row["teff"] for row in truth if row["relation"] == "chance")
    assert own.issuperset(row["teff"] for row in truth if row["relation"] == "repeat")


def test_sspp_scatters_as_seen_against_high_resolution(tmp_path: Path) -> None:
    write_survey(tmp_path, n_matched=400, n_apogee=500, n_sspp=450)
    with (tmp_path / "truth.csv").open(newline="") as stream:
        truth = [row for row in csv.DictReader(stream) if row["relation"] == "true"]
    rows = fits.getdata(tmp_path / "ssppOut-dr12.fits")[: len(truth)]
    good = rows["TEFF_ADOP"] != -9999
    scatter = {"teff": ("TEFF_ADOP", 101), "logg": ("LOGG_ADOP", 0.25), "fe_h": ("FEH_ADOP", 0.22)}
    for label, (column, expected) in scatter.items():
        delta = rows[column][good] - np.array([float(row[label]) for row in truth])[good]
        bias = np.median(delta)
        assert 1.4826 * np.median(np.abs(delta - bias)) == pytest.approx(expected, rel=0.15)
        assert 0.2 * expected < abs(bias) < 1.5 * expected
        assert 0 < (np.abs(delta - bias) > 5 * expected).sum() < 0.05 * len(delta)


def depth(teff: float, logg: float, fe_h: float, wave: float, half: int) -> float:
    """Mean depth of a line below its surroundings."""
    (flux,) = model_flux(*np.array([[teff], [logg], [fe_h], [0.0]]))
    centre = int(np.argmin(np.abs(LOGLAM - np.log10(wave))))
    line, side = flux[centre - half : centre + half + 1], flux[centre - 60 : centre + 61]
    return float(1 - line.mean() / np.percentile(side, 95))


def test_lines_depend_on_the_labels_in_the_right_sense() -> None:
    assert depth(4800, 2.5, 0.2, 5271.0, 4) > depth(4800, 2.5, -1.0, 5271.0, 4)
    assert depth(4200, 2.5, 0.0, 5185.0, 5) > depth(5400, 2.5, 0.0, 5185.0, 5)
    assert depth(5400, 2.5, 0.0, 6564.6, 4) > depth(4200, 2.5, 0.0, 6564.6, 4)
    assert depth(4800, 3.5, 0.0, 5185.0, 5) > depth(4800, 1.0, 0.0, 5185.0, 5)
    assert depth(4800, 1.0, 0.0, 8544.4, 4) > depth(4800, 3.5, 0.0, 8544.4, 4)


def test_velocity_shifts_the_spectrum() -> None:
    still, moving = model_flux(*np.full((3, 2), [[4800], [2.5], [0]]), np.array([0, 69.05 * 2]))
    a, b = still[2900:3100] - still[2900:3100].mean(), moving - moving.mean()
    match = [float(a @ b[2900 + k : 3100 + k]) for k in range(-5, 6)]
    assert int(np.argmax(match)) - 5 == 2


@pytest.mark.parametrize(
    "arguments", [{"n_sspp": 5}, {"n_apogee": 100}, {"n_matched": 2}, {"release": "dr9"}]
)
def test_impossible_requests_are_refused(tmp_path: Path, arguments: dict) -> None:
    with pytest.raises(ValueError, match=r"need|cannot be simulated"):
        write_survey(tmp_path, **arguments)
