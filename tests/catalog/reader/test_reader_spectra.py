"""Spectra as people get them: the stored numbers, on vacuum wavelengths, with their units."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import sqlalchemy as sa
from astropy import units as u
from astropy.nddata import InverseVariance
from specutils import Spectrum

from catalog import Catalog, LimitWarning, open_catalog
from catalog.errors import UsageError
from catalog.store.db import Database
from catalog.store.grids import RECIPE_GRIDS
from catalog.store.spectra import decode
from models.spectra.recipes import RECIPES
from tests.conftest import libpq_url
from tests.support.learning import rows, value

FLUX = u.Unit("1e-17 erg / (s cm2 Angstrom)")


@pytest.fixture
def cat(survey: Database) -> Iterator[Catalog]:
    with open_catalog(libpq_url(survey.engine.url)) as cat:
        yield cat


def a_spectrum(db: Database, beyond: bool = False) -> tuple:
    """Key, specObjID, source id and blob of one spectrum; ``beyond`` 2^63 or not."""
    sign = ">" if beyond else "<"
    return rows(
        db,
        "SELECT s.survey_key, p.specobjid, b.* FROM spectrum_blob b JOIN source s USING (source_id)"
        " JOIN sdss_spectrum p USING (source_id) WHERE b.spectrum_state = 'ok' "
        f"AND p.specobjid {sign} 9223372036854775808 ORDER BY s.survey_key LIMIT 1",
    )[0]


def test_grids_are_those_of_the_recipes() -> None:
    assert RECIPES.keys() == RECIPE_GRIDS.keys()
    for name, grid in RECIPE_GRIDS.items():
        for part in ("version", "first_index", "n_pixels", "rest_frame"):
            assert getattr(grid, part) == getattr(RECIPES[name], part)


@pytest.mark.parametrize("beyond", [False, True])
def test_a_spectrum_by_each_of_its_names(survey: Database, cat: Catalog, beyond: bool) -> None:
    key, specobjid, source_id, *_ = a_spectrum(survey, beyond)
    specobjid = int(specobjid)
    assert (specobjid > 2**63) == beyond
    flux, ivar, loglam0, dloglam, mask = rows(
        survey,
        "SELECT flux, ivar, loglam0, dloglam, and_mask FROM spectrum_blob WHERE source_id = :i",
        i=source_id,
    )[0]
    plate, mjd, fiber, run2d = key.split("-", 3)
    padded = f"{plate}-{mjd}-{int(fiber):04d}"
    names = [
        key, f"{plate}-{mjd}-{fiber}", padded, f"{padded}-{run2d}", specobjid, str(specobjid),
        np.uint64(specobjid), source_id, np.int64(source_id), np.str_(key),
    ]  # fmt: skip
    for name in names:
        found = cat.spectrum(name)
        assert isinstance(found, Spectrum)
        assert found.meta["survey_key"] == key
        assert found.meta["specobjid"] == str(specobjid)
    assert found.flux.unit == FLUX
    np.testing.assert_array_equal(found.flux.value, decode(flux))
    assert isinstance(found.uncertainty, InverseVariance)
    np.testing.assert_allclose(
        found.uncertainty.quantity.to_value(1 / FLUX**2), decode(ivar), rtol=1e-6
    )
    np.testing.assert_array_equal(found.mask, decode(ivar) == 0)
    np.testing.assert_array_equal(found.meta["and_mask"], decode(mask, "<i4"))
    assert found.spectral_axis.unit == u.AA
    wavelength = 10 ** (loglam0 + dloglam * np.arange(len(found.flux)))
    np.testing.assert_allclose(found.spectral_axis.value, wavelength, rtol=1e-12)
    assert found.meta["frame"] == "observed, heliocentric"


@pytest.mark.parametrize("recipe", ["default", "seed-2018"])
def test_a_normalized_spectrum(survey: Database, cat: Catalog, recipe: str) -> None:
    key, _, source_id, *_ = a_spectrum(survey)
    flux, ivar, continuum = rows(
        survey,
        "SELECT flux, ivar, continuum FROM normalized_spectrum WHERE source_id = :i "
        "AND recipe = :r",
        i=source_id, r=recipe,
    )[0]  # fmt: skip
    found = cat.spectrum(key, recipe)
    assert found.flux.unit == u.dimensionless_unscaled
    np.testing.assert_array_equal(found.flux.value, decode(flux))
    np.testing.assert_allclose(found.uncertainty.array, decode(ivar))
    np.testing.assert_array_equal(found.meta["continuum"].value, decode(continuum))
    np.testing.assert_allclose(found.spectral_axis.value, RECIPES[recipe].wavelength, rtol=1e-12)
    assert (found.meta["frame"] == "of the star") == RECIPES[recipe].rest_frame


def test_the_flux_of_lamost_is_relative(survey: Database, cat: Catalog) -> None:
    key, *_ = a_spectrum(survey)
    with survey.begin() as conn:
        conn.execute(
            sa.text(
                "UPDATE spectrum_blob SET instrument = 'LAMOST' WHERE source_id = "
                "(SELECT source_id FROM source WHERE survey = 'sdss' AND survey_key = :key)"
            ),
            {"key": key},
        )
    assert cat.spectrum(key).flux.unit == u.dimensionless_unscaled
    assert cat.spectrum(key, "default").meta["continuum"].unit == u.dimensionless_unscaled


def test_spectra_that_cannot_be_had(survey: Database, cat: Catalog) -> None:
    key, *_ = a_spectrum(survey)
    source_id = value(
        survey, "SELECT source_id FROM source WHERE survey_key = :k AND survey = 'sdss'", k=key
    )
    star = value(survey, "SELECT survey_key FROM source WHERE survey = 'apogee' LIMIT 1")
    without = value(
        survey,
        "SELECT survey_key FROM source s WHERE survey = 'sdss' AND NOT EXISTS "
        "(SELECT FROM spectrum_blob b WHERE b.source_id = s.source_id) LIMIT 1",
    )
    for name, message in (
        ("1-2-3", "no source 1-2-3"), (star, "APOGEE's own spectra"), (1.5e18, "names no spectrum"),
        (without, "has no spectrum in this catalog"), (-1, "no source -1"),
        ("9" * 30, "no source"), ("99999999999-1-1", "no source"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            cat.spectrum(name)
    with pytest.raises(UsageError, match=r"no recipe nope.*default"):
        cat.spectrum(key, "nope")
    with pytest.raises(UsageError, match=r"normalize --recipe masked"):
        cat.spectrum(key, "masked")
    with survey.begin() as conn:  # another redshift: what was normalized is no longer up to date
        conn.execute(
            sa.text("UPDATE spectrum_blob SET z = z + 0.0001 WHERE source_id = :i"),
            {"i": source_id},
        )
    with pytest.raises(UsageError, match=r"not normalized by default"):
        cat.spectrum(key, "default")
    with pytest.warns(LimitWarning, match=r"^1 of .* spectra left out"):
        cat.spectra(recipe="default")
    reductions = """
        UPDATE sdss_spectrum SET (plate, mjd, fiberid, run2d) = (1, 2, 3, {})
        WHERE source_id IN (SELECT source_id FROM spectrum_blob WHERE spectrum_state = 'ok'
                            ORDER BY source_id LIMIT 2) RETURNING source_id"""
    with survey.begin() as conn:  # of which the higher number is the newer
        two = conn.scalars(sa.text(reductions.format("'v5_' || 9 + source_id % 9999"))).all()
    assert cat.spectrum("1-2-3").meta["source_id"] == max(two)
    with survey.begin() as conn:
        conn.execute(sa.text(reductions.format("chr(97 + CAST(source_id % 26 AS int))")))
    with pytest.raises(UsageError, match=r"1-2-3 names several spectra"):
        cat.spectrum("1-2-3")


@pytest.mark.parametrize("recipe", [None, "default"])
def test_blocks_hold_each_spectrum_once_in_order(cat: Catalog, recipe: str | None) -> None:
    blocks = list(cat.spectra("clean", recipe, rows=30))
    keys = np.concatenate([b.survey_key for b in blocks]).tolist()
    assert keys == sorted(cat.matches("clean")["right_key"].tolist())
    assert [len(b) for b in blocks[:-1]] == [30] * (len(blocks) - 1)
    for block in blocks:
        np.testing.assert_array_equal(block.wavelength, blocks[0].wavelength)
        assert block.flux.shape == block.ivar.shape == (len(block), len(block.wavelength))
    for i in (0, len(blocks[-1]) - 1):
        block = blocks[-1]
        one = cat.spectrum(block.survey_key[i], recipe)
        start = np.searchsorted(block.wavelength, one.spectral_axis.value[0] * (1 - 1e-5))
        part = slice(start, start + len(one.flux))
        np.testing.assert_array_equal(block.flux[i, part], one.flux.value)
        np.testing.assert_array_equal(block.ivar[i, part] == 0, one.mask)
        assert not np.delete(block.ivar[i], np.r_[part]).any()
        assert block.z[i] == one.meta["z"]
        assert block.instrument[i] == one.meta["instrument"] in ("SDSS", "BOSS")


def test_blocks_that_cannot_be(cat: Catalog) -> None:
    with pytest.raises(UsageError, match="no sample nope"):
        cat.spectra("nope")
    with pytest.raises(UsageError, match="normalize --recipe masked"):
        cat.spectra(recipe="masked")
    for none in (0, 1.5):
        with pytest.raises(UsageError, match="no number of rows"):
            cat.spectra(rows=none)
