"""Normalization: against a plain reference, on shifts with known answers, and at its guards."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from benchmarks.baselines.polyfit import fit_continuum_loop
from models.spectra import grid, polynomial, running_gaussian
from models.spectra.lines import REGIONS
from models.spectra.masks import BITS, MASK_SETS, SPPIXMASK, mask_of
from models.spectra.normalize import NORMALIZE_FLAGS, RECIPES, continuum_steps, normalize

SEED, DEFAULT = RECIPES["seed-2018"], RECIPES["default"]
BIT = {name: bit for bit, (name, _) in NORMALIZE_FLAGS.items()}
FIRST, M = 682, 3909  # the window of real spectra: 3700 to 9099 Angstrom


def spectra(n=3, seed=0, z=0.0, noise=0.5, bad=0.02):
    """Absorption lines on a curved continuum, with noise and bad pixels."""
    rng = np.random.default_rng(seed)
    wavelength = grid.grid_wavelength(FIRST, M)
    shape = 1.0 + 0.4 * np.sin(wavelength / 1500.0 + np.arange(n)[:, None])
    lines = np.ones((n, M))
    for center in rng.uniform(3750, 9050, 150):
        width, depth = rng.uniform(2, 12), rng.uniform(0.05, 0.6)
        lines -= depth * np.exp(-0.5 * ((wavelength / (1 + z) - center) / width) ** 2)
    truth = 20.0 * shape * np.clip(lines, 0.1, None)
    ivar = np.full(truth.shape, 4.0)
    ivar[rng.random(truth.shape) < bad] = 0.0
    flux = truth + np.where(ivar > 0, noise * rng.standard_normal(truth.shape), 300.0)
    return flux, ivar, np.zeros(truth.shape, dtype=np.int32)


def has(flags, name):
    return (flags >> BIT[name] & 1).astype(bool)


def test_the_grids_are_those_that_are_documented():
    assert SEED.wavelength[0] == pytest.approx(3950.03, abs=0.01)
    assert np.searchsorted(SEED.wavelength, SEED.split) == 2168
    assert DEFAULT.wavelength[[0, -1]] == pytest.approx([3900.3, 8798.3], abs=0.1)


def test_mask_sets_hold_the_documented_bits():
    """Numbers of https://www.sdss4.org/dr17/algorithms/bitmasks/#SPPIXMASK, counted from 0."""
    documented = {
        "LOWFLAT": 17, "FULLREJECT": 18, "SCATTEREDLIGHT": 20, "CROSSTALK": 21, "NOSKY": 22,
        "BRIGHTSKY": 23, "NODATA": 24, "COMBINEREJ": 25, "BADFLUXFACTOR": 26, "BADSKYCHI": 27,
        "REDMONSTER": 28,
    }  # fmt: skip
    assert {name: BITS[name] for name in documented} == documented
    assert len(BITS) == len(SPPIXMASK)
    assert SEED.mask_set == "none"
    assert mask_of("none") == 0
    assert mask_of(DEFAULT.mask_set) == 2**18 + 2**22 + 2**23 + 2**24 + 2**26
    assert set(MASK_SETS["standard"]) < set(MASK_SETS["strict"]) == set(documented)
    with pytest.raises(ValueError, match="there are none, standard, strict"):
        mask_of("some")


def test_batched_polynomials_agree_with_polyfit():
    flux, ivar, mask = spectra(4)
    out = normalize(SEED, FIRST, flux, ivar, mask, np.full(4, np.nan))
    crop = slice(SEED.first_index - FIRST, SEED.first_index - FIRST + SEED.n_pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", np.exceptions.RankWarning)
        expected = fit_continuum_loop(SEED.wavelength, flux[:, crop], ivar[:, crop] > 0, SEED.split)
    arms = polynomial.make_arms(SEED.wavelength, SEED.split)
    continuum, fitted = polynomial.fit_continuum(flux[:, crop], ivar[:, crop] > 0, arms)
    assert fitted.all()
    np.testing.assert_allclose(continuum, expected, rtol=1e-6)
    good = out.ivar > 0
    np.testing.assert_allclose(
        out.flux[good], (flux[:, crop] / expected)[good], rtol=2e-6, atol=1e-6
    )


def test_the_steps_lead_from_a_plain_fit_to_the_continuum():
    flux, ivar, mask = spectra()
    for recipe, n_steps in ((SEED, 5), (DEFAULT, 1)):
        out = normalize(recipe, FIRST, flux, ivar, mask, np.zeros(3))
        shown, steps = continuum_steps(recipe, FIRST, flux, ivar, mask, np.zeros(3))
        assert steps.shape == (n_steps, 3, recipe.n_pixels)
        good = out.ivar > 0
        np.testing.assert_allclose(steps[-1][good], out.continuum[good], rtol=1e-6)
        np.testing.assert_allclose((shown / steps[-1])[good], out.flux[good], rtol=1e-5, atol=1e-6)
    first = polynomial.make_arms(SEED.wavelength, SEED.split)[0]
    shown, steps = continuum_steps(SEED, FIRST, flux, ivar, mask, np.zeros(3))
    blue = np.isfinite(shown[0, first.pixels])
    wavelength = SEED.wavelength[first.pixels][blue]
    plain = np.polynomial.Polynomial.fit(wavelength, shown[0, first.pixels][blue], 7)
    np.testing.assert_allclose(steps[0, 0, first.pixels][blue], plain(wavelength), rtol=1e-7)


def test_the_polynomial_fit_leans_to_the_upper_envelope():
    flux, ivar, mask = spectra()
    out = normalize(SEED, FIRST, flux, ivar, mask, np.zeros(3))
    assert (np.median(out.flux, axis=1) < 1.0).all()
    assert (np.quantile(out.flux, 0.9, axis=1) > 0.97).all()


def test_values_at_bad_pixels_never_matter():
    flux, ivar, mask = spectra()
    for recipe in RECIPES.values():
        first = normalize(recipe, FIRST, flux, ivar, mask, np.full(3, 1e-4))
        other = np.where(ivar > 0, flux, np.nan)
        again = normalize(recipe, FIRST, other, ivar, mask, np.full(3, 1e-4))
        np.testing.assert_array_equal(first.flux, again.flux)
        assert (first.flux[first.ivar == 0] == 1.0).all()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_spectrum_depends_neither_on_its_neighbours_nor_on_padding(recipe):
    flux, ivar, mask = spectra(5)
    together = normalize(recipe, FIRST, flux, ivar, mask, np.full(5, 2e-4))
    pad = ((0, 0), (37, 21))
    alone = normalize(
        recipe,
        FIRST - 37,
        np.pad(flux, pad, constant_values=7.0)[2:3],
        np.pad(ivar, pad)[2:3],
        np.pad(mask, pad)[2:3],
        [2e-4],
    )
    np.testing.assert_allclose(alone.flux, together.flux[2:3], rtol=1e-6)
    np.testing.assert_array_equal(alone.ivar > 0, together.ivar[2:3] > 0)


def test_continuum_times_normalized_flux_is_the_flux():
    flux, ivar, mask = spectra()
    out = normalize(SEED, FIRST, flux, ivar, mask, np.zeros(3))
    crop = slice(SEED.first_index - FIRST, SEED.first_index - FIRST + SEED.n_pixels)
    good = out.ivar > 0
    np.testing.assert_allclose((out.flux * out.continuum)[good], flux[:, crop][good], rtol=1e-6)
    snr = out.flux * np.sqrt(out.ivar)
    np.testing.assert_allclose(snr[good], (flux * np.sqrt(ivar))[:, crop][good], rtol=1e-5)


def test_rest_frame_undoes_the_redshift():
    z = 7e-4  # three pixels
    still, ivar, mask = spectra(2, noise=0.0, bad=0.0)
    moving, _, _ = spectra(2, z=z, noise=0.0, bad=0.0)
    wanted = normalize(DEFAULT, FIRST, still, ivar, mask, np.zeros(2)).flux
    corrected = normalize(DEFAULT, FIRST, moving, ivar, mask, np.full(2, z)).flux
    ignored = normalize(DEFAULT, FIRST, moving, ivar, mask, np.full(2, np.nan)).flux
    assert np.std(corrected - wanted) < 0.003
    assert np.std(ignored - wanted) > 0.03


def test_what_is_not_of_the_star_is_left_out_where_it_was_observed():
    z, recipe = 1e-3, RECIPES["masked"]  # 300 km/s, more than the margin around the regions
    flux, ivar, mask = spectra(2, noise=0.0, bad=0.0)
    out = normalize(recipe, FIRST, flux, ivar, mask, np.array([0.0, z]))
    oxygen = next(w for w in REGIONS["telluric"] if w.name == "O2 A")
    for row, redshift in ((0, 0.0), (1, z)):
        observed = recipe.wavelength * (1.0 + redshift)
        gone = out.ivar[row] == 0.0
        assert gone[(observed > oxygen.low) & (observed < oxygen.high)].all()
        assert not gone[(observed > oxygen.high + 3.0) & (observed < oxygen.high + 50.0)].any()
        assert gone[np.searchsorted(observed, 5891.58)]  # sodium of the gas
    assert 0.1 < np.mean(out.ivar == 0.0) < 0.2
    whole = normalize(DEFAULT, FIRST, flux, ivar, mask, np.array([0.0, z]))
    assert (whole.ivar > 0.0).all()


def test_a_whole_pixel_shift_copies_and_a_half_pixel_interpolates_a_cubic_exactly():
    x = np.arange(50.0)
    quadratic = 3.0 + 0.2 * x - 0.01 * x**2
    flux, ivar = np.stack([quadratic, quadratic]), np.ones((2, 50))
    moved, moved_ivar = grid.shift(flux, ivar, 0, 40, np.array([3.0, 3.5]))
    np.testing.assert_array_equal(moved[0], quadratic[3:43])
    expected = 3.0 + 0.2 * (x[:40] + 3.5) - 0.01 * (x[:40] + 3.5) ** 2
    np.testing.assert_allclose(moved[1], expected, rtol=1e-12)
    np.testing.assert_allclose(moved_ivar, 1.0)


def test_a_bad_pixel_voids_what_is_interpolated_from_it():
    ivar = np.ones((1, 20))
    ivar[0, 10] = 0.0
    _, shifted = grid.shift(np.ones((1, 20)), ivar, 0, 20, np.array([0.5]))
    assert np.flatnonzero(shifted[0] == 0).tolist() == [9, 10, 19]


def test_running_gaussian_is_the_weighted_mean_of_its_formula():
    rng = np.random.default_rng(0)
    wavelength = grid.grid_wavelength(1000, 400)
    flux, ivar = rng.uniform(1, 2, (2, 400)), rng.uniform(0, 3, (2, 400))
    out = running_gaussian.smooth_gaussian(flux, ivar, wavelength)
    for j in (0, 170, 255, 256, 399):
        distance = np.abs(wavelength - wavelength[j]) / 50.0
        weight = ivar * np.where(distance <= 3.0, np.exp(-(distance**2)), 0.0)
        np.testing.assert_allclose(out[:, j], (weight * flux).sum(1) / weight.sum(1), rtol=1e-12)


def test_mask_bits_void_pixels_in_default_only():
    flux, ivar, mask = spectra()
    mask[:, 2000:2100] = 1 << BITS["BRIGHTSKY"]
    mask[:, 2200:2300] = 1 << 3
    default = normalize(DEFAULT, FIRST, flux, ivar, mask, np.zeros(3))
    seed = normalize(SEED, FIRST, flux, ivar, mask, np.zeros(3))
    start = 2000 - (DEFAULT.first_index - FIRST)
    assert (default.ivar[:, start : start + 100] == 0).all()
    assert (default.ivar[:, start + 200 : start + 300] > 0).any()
    start = 2000 - (SEED.first_index - FIRST)
    assert (seed.ivar[:, start : start + 100] > 0).mean() > 0.9


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_guards_and_flags(recipe):
    flux, ivar, mask = spectra(5)
    z = np.array([0.0, np.nan, 0.0, 0.5, 0.0])
    flux[0] -= 40.0  # below zero
    ivar[2] = 0.0
    ivar[4, :2300] = 0.0
    out = normalize(recipe, FIRST, flux, ivar, mask, z)
    assert has(out.flags, "REDSHIFT_UNKNOWN").tolist() == [
        False,
        recipe.rest_frame,
        False,
        recipe.rest_frame,
        False,
    ]
    assert has(out.flags, "CONTINUUM_NOT_POSITIVE")[0]
    assert (
        has(out.flags, "NO_INFORMATION").tolist() == [False, False, True, False, False]
        or (out.ivar[0] == 0).all()
    )
    assert has(out.flags, "FEW_PIXELS")[[2, 4]].all()
    assert has(out.flags, "MISSING_ARM")[2]
    for part in (out.flux, out.ivar, out.continuum):
        assert np.isfinite(part).all()
    assert (out.continuum > 0).all()
    assert (out.flux[2] == 1).all()
    assert out.good_fraction[2] == 0


def test_shapes_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        normalize(SEED, 0, np.ones((2, 9)), np.ones((2, 8)), np.zeros((2, 9), int), np.zeros(2))
