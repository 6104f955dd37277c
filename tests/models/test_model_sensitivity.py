"""What a model looks at: the measured Jacobian is the true one, shares find the lines."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from models.core import arrays as ar
from models.core.records import TrainSpec
from models.networks.architecture import Architecture, apply, template
from models.networks.parameters import unflatten
from models.predict import load
from models.projection.projection import Projection
from models.sensitivity import jacobian, line_shares, pixel_shares, unnamed_shares
from models.spectra.foreground_absorption import interstellar_sodium, telluric_bands
from models.spectra.grid import grid_wavelength
from models.spectra.lines import LINES, REGIONS, Window, find_pixels
from tests.support.simulated import FIRST_INDEX, N_PIXELS, NAMES, run_all

ROWS = slice(0, 3)


@pytest.fixture(scope="module")
def ridge(data):
    return load(
        run_all(TrainSpec("ridge", NAMES, "default", folds=3, components=8), data)[-1].artifact
    )


def spectra(data, rows=ROWS):
    return data.flux[rows], data.ivar[rows], data.continuum[rows]


def test_jacobian_of_a_linear_model_is_its_coefficients(ridge, data):
    flux, ivar, continuum = spectra(data)
    slopes = jacobian(ridge, flux, ivar, continuum, width=1)
    scale = ridge.arrays["scale"]
    exact = np.where(ivar[0] > 0.0, ridge.arrays["coefficients"].T * scale[:, None], 0.0)
    # Pixels far from the mean spectrum are clipped: there the model is flat.
    near = np.abs(flux[0] - ridge.arrays["mean"]) < 0.9
    np.testing.assert_allclose(slopes[0][:, near], exact[:, near], rtol=1e-5, atol=1e-5)


def test_jacobian_of_the_networks_is_that_of_the_chain_rule(default_steps, data):
    model = load(default_steps[-1].artifact)
    networks = dataclasses.replace(model.spec, options={"process": 0.0})
    model = dataclasses.replace(model, spec=networks)
    flux, ivar, continuum = spectra(data, slice(0, 1))
    slopes = jacobian(model, flux, ivar, continuum, width=1)[0]
    fit = Projection(
        **{n: a for n, a in ar.select("projection", model.arrays).items() if n != "scale"}
    )
    weight = np.where(ivar[0] > 0.0, ivar[0] / (1.0 + ivar[0] * fit.scatter), 0.0)
    basis = fit.basis.astype(float)
    gram = (basis * weight[:, None]).T @ basis + np.diag(1.0 / fit.prior)
    scores_by_flux = np.linalg.solve(gram, (basis * weight[:, None]).T)
    scores = fit.scores(flux, ivar).values[0] / model.arrays["projection/scale"]
    arch = Architecture("mlp", scores.size, len(NAMES), 64, 2, "gelu")

    def means(x, member):
        params = unflatten(f"member-{member}", model.arrays, template(arch))
        return apply(arch, params, x[None])[0, : len(NAMES)]

    by_scores = np.mean(
        [
            jax.jacrev(means)(scores.astype(np.float32), member)
            for member in range(model.spec.members)
        ],
        axis=0,
    )
    exact = by_scores @ scores_by_flux / model.arrays["projection/scale"]
    exact *= model.arrays["scale"][:, None]
    tolerance = 0.01 * np.abs(exact).max(axis=1, keepdims=True)
    assert (np.abs(slopes - exact) <= tolerance).all()


def test_blocks_of_pixels_give_their_mean_slope(ridge, data):
    flux, ivar, continuum = spectra(data, slice(0, 1))
    single = jacobian(ridge, flux, ivar, continuum, width=1)[0]
    block = jacobian(ridge, flux, ivar, continuum, width=4)[0]
    good = ivar[0] > 0.0
    n_good = np.maximum(good.reshape(-1, 4).sum(axis=1), 1)
    mean = np.repeat(single.reshape(3, -1, 4).sum(axis=2) / n_good, 4, axis=1)
    np.testing.assert_allclose(block, mean * good, rtol=1e-4, atol=1e-4)


def test_shares_add_up_and_lie_in_the_lines_of_each_label(ridge, data):
    flux, ivar, continuum = spectra(data)
    shares = pixel_shares(jacobian(ridge, flux, ivar, continuum), ivar)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    x = np.arange(N_PIXELS)
    for j in range(3):  # the simulated lines of label j are every third
        own = np.zeros(N_PIXELS, dtype=bool)
        for center in range(20 + 24 * j, N_PIXELS - 10, 72):
            own |= np.abs(x - center) <= 7
        assert shares[j, own].sum() > 2.0 * own.mean()


def test_sums_over_windows_account_for_every_pixel_once(data):
    shares = np.full((3, N_PIXELS), 1.0 / N_PIXELS)
    ivar = data.ivar[:1]
    lines, regions = line_shares(shares, ivar, FIRST_INDEX)
    assert [line.name for line in lines] == ["H alpha"]  # all that the window holds
    assert {r.name for r in regions if ":" not in r.name} == {"telluric", "interstellar", "sky"}
    stretches = unnamed_shares(shares, ivar, FIRST_INDEX)
    total = sum(s.share[0] for s in (*lines, *stretches))
    assert total == pytest.approx(1.0)


def test_label_that_hangs_on_nothing_has_no_share():
    ivar = np.ones((2, N_PIXELS), np.float32)
    slopes = np.zeros((2, 2, N_PIXELS))
    slopes[:, 1, 5] = 3.0
    shares = pixel_shares(slopes, ivar)
    assert np.isnan(shares[0]).all()
    assert shares[1, 5] == 1.0


def test_windows_are_in_order_in_vacuum_and_widen_with_velocity():
    for windows in (LINES, *REGIONS.values()):
        assert all(w.low < w.high for w in windows)
        assert [w.low for w in windows] == sorted(w.low for w in windows)
    wave = np.arange(5850.0, 5950.0, 0.1)
    # Air wavelengths of the D lines, 5889.95 and 5895.92, are 1.63 A smaller.
    core = find_pixels([w for w in REGIONS["interstellar"] if w.name == "Na D"], wave)
    assert wave[core].mean() == pytest.approx((5889.95 + 5895.92) / 2 + 1.63, abs=0.2)
    wide = find_pixels([Window("x", 5890.0, 5900.0)], wave, margin=300.0)
    assert np.ptp(wave[wide]) == pytest.approx(10.0 + 2 * 5.9, abs=0.3)


def test_sodium_has_its_equivalent_width_at_its_velocity():
    wave = np.arange(5850.0, 5950.0, 0.05)
    for velocity in (0.0, -200.0):
        depth = 1.0 - interstellar_sodium(wave, 0.4, velocity)
        assert depth.sum() * 0.05 == pytest.approx(0.4 * 1.73, rel=1e-3)
        assert wave[np.argmax(depth)] == pytest.approx(5891.58 * (1 + velocity / 299792), abs=0.2)
    each = interstellar_sodium(wave, 0.4, np.array([0.0, -200.0]))
    np.testing.assert_array_equal(each[1], interstellar_sodium(wave, 0.4, -200.0))


def test_bands_of_the_atmosphere_are_as_deep_as_asked():
    wave = grid_wavelength(911, 3900)
    transmission = telluric_bands(wave, 0.1)
    assert transmission.min() == pytest.approx(0.9, abs=1e-3)
    a_band = (wave > 7620.0) & (wave < 7690.0)
    np.testing.assert_allclose(transmission[a_band], 0.9, atol=1e-3)
    away = ~find_pixels(REGIONS["telluric"], wave, margin=1000.0)
    np.testing.assert_allclose(transmission[away], 1.0, atol=1e-3)


def test_metallicity_of_real_spectra_leans_on_neither_atmosphere_nor_interstellar_sodium(
    lamost_default,
):
    model, unseen = lamost_default.model, lamost_default.unseen
    j = unseen.names.index("fe_h")
    flux, ivar, continuum = spectra(unseen, slice(0, 400, 100))
    shares = pixel_shares(jacobian(model, flux, ivar, continuum, width=6), ivar)
    lines, regions = line_shares(shares, ivar, model.first_index, margin=150.0)
    lift = {s.name: s.lift[j] for s in (*lines, *regions)}
    assert lift["telluric"] < 0.7
    assert lift["interstellar: Na D"] < 0.7
    assert lift["Fe 5270"] > 1.5
    # More sodium or a tenth of the bands more or less moves it by less than half its error.
    flux, ivar, continuum = spectra(unseen, slice(0, 200))
    wave = grid_wavelength(model.first_index, model.n_pixels)
    before = model.predict(flux, ivar, continuum)
    for transmission in (
        interstellar_sodium(wave, 0.4),
        interstellar_sodium(wave, -0.4),
        telluric_bands(wave, 0.1),
        telluric_bands(wave, -0.1),
    ):
        after = model.predict((flux * transmission).astype(np.float32), ivar, continuum)
        change = np.abs(after.values - before.values)[:, j] / before.sigma[:, j]
        assert np.median(change) < 0.5
