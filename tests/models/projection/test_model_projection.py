"""Scores by conjugate gradients on binned weights against the plain formula in float64."""

from __future__ import annotations

import numpy as np
import pytest

from models.projection import batched_linalg, posterior, projection
from models.projection.projection import Projection, fit_projection

N_PIXELS, N_COMPONENTS = 1003, 21  # multiples of nothing


def direct_scores(fit, flux, ivar):
    """Score spectra one by one, as the formula in `models.projection.projection` is written."""
    used = np.isfinite(fit.scatter)
    basis = fit.basis.astype(float)
    values, noise, chi2 = [], [], []
    for x, w in zip(flux.astype(float), ivar.astype(float), strict=True):
        weight = np.where(used, w / (1.0 + w * np.where(used, fit.scatter, 0.0)), 0.0)
        deviation = np.where(weight > 0.0, np.clip(x - fit.mean, -1.0, 1.0), 0.0)
        gram = (basis * weight[:, None]).T @ basis
        covariance = np.linalg.inv(gram + np.diag(1.0 / fit.prior))
        z = covariance @ basis.T @ (weight * deviation)
        values.append(z)
        noise.append(np.sqrt(np.diag(covariance @ gram @ covariance)))
        residual = deviation - basis @ z
        chi2.append(np.sum(weight * residual**2) / max(np.sum(weight > 0.0), 1))
    return np.array(values), np.array(noise), np.array(chi2)


@pytest.fixture(scope="module")
def spectra():
    """Make spectra of all qualities: S/N from 5 to 200, bad pixels, lost arms, a blank one."""
    rng = np.random.default_rng(7)
    n = 300
    kernel = np.exp(-0.5 * (np.arange(-9, 10) / 3.0) ** 2)
    lines = rng.standard_normal((N_COMPONENTS, N_PIXELS))
    lines = np.array([np.convolve(line, kernel, mode="same") for line in lines])
    strength = rng.standard_normal((n, N_COMPONENTS)) * np.geomspace(0.05, 0.001, N_COMPONENTS)
    snr = rng.choice([5.0, 30.0, 200.0], (n, 1)) * np.linspace(0.5, 1.5, N_PIXELS)
    flux = 1.0 + strength @ lines + rng.standard_normal((n, N_PIXELS)) / snr
    ivar = snr**2
    bad = rng.random(ivar.shape) < 0.02
    bad[:20, 500:] = True
    bad[20] = True
    bad[21:40, 100:160] = True
    flux[bad], ivar[bad] = np.nan, 0.0
    flux[50, 300:303] = 40.0  # a cosmic ray
    return flux.astype(np.float32), ivar.astype(np.float32)


@pytest.fixture(scope="module")
def fit(spectra):
    return fit_projection(*spectra, N_COMPONENTS, 0)


def test_scores_are_those_of_the_formula(fit, spectra):
    values, noise, chi2 = direct_scores(fit, *spectra)
    found = fit.scores(*spectra)
    seen = spectra[1].any(axis=1)
    off = np.abs(found.values - values)[seen] / noise[seen]
    assert np.percentile(off, 99.0) < 0.02
    assert off.max() < 0.1
    ratio = found.noise[seen] / noise[seen]
    assert np.abs(np.median(ratio) - 1.0) < 0.01
    assert np.percentile(np.abs(ratio - 1.0), 99.0) < 0.1
    np.testing.assert_allclose(found.chi2, chi2, rtol=5e-3)


def test_a_blank_spectrum_is_the_mean_without_noise(fit, spectra):
    found = fit.scores(*(part[20:21] for part in spectra))
    assert not found.values.any()
    assert np.all(found.noise < 1e-3 * np.sqrt(fit.prior))
    assert found.chi2[0] == 0.0


def test_scores_do_not_depend_on_the_company(fit, spectra):
    together = fit.scores(*spectra)
    alone = fit.scores(*(part[[3, 299]] for part in spectra))
    np.testing.assert_array_equal(alone.values, together.values[[3, 299]])
    np.testing.assert_array_equal(alone.noise, together.noise[[3, 299]])


def test_unused_pixels_say_nothing(fit, spectra):
    scatter = fit.scatter.copy()
    scatter[:200] = np.inf
    cut = Projection(fit.mean, fit.basis, fit.prior, scatter)
    flux, ivar = (part.copy() for part in spectra)
    before = cut.scores(flux, ivar)
    flux[:, :200] = 0.3
    np.testing.assert_array_equal(cut.scores(flux, ivar).values, before.values)


def test_pixel_fits_are_those_of_least_squares():
    rng = np.random.default_rng(3)
    n, m, d = 120, 5, 19
    design = rng.standard_normal((n, d)) * np.geomspace(1.0, 0.1, d)
    weight = rng.uniform(0.1, 2.0, (m, n))
    weight[0, :60] = 0.0
    target = rng.standard_normal((m, n))
    ridge = np.full(d, 1e-3)
    found = posterior.solve_pixels(*(a.astype(np.float32) for a in (weight, target, design, ridge)))
    for w, t, coefficients in zip(weight, target, np.asarray(found), strict=True):
        normal = (design * w[:, None]).T @ design + np.diag(ridge)
        np.testing.assert_allclose(
            coefficients, np.linalg.solve(normal, design.T @ (w * t)), rtol=2e-3, atol=1e-3
        )


@pytest.mark.parametrize("components", [1, 2, 16, 17])
def test_there_may_be_few_components(spectra, components):
    fit = fit_projection(*spectra, components, 0)
    values, noise, _ = direct_scores(fit, *(part[60:120] for part in spectra))
    found = fit.scores(*(part[60:120] for part in spectra))
    assert found.values.shape == (60, components)
    assert np.abs((found.values - values) / noise).max() < 0.1
    np.testing.assert_allclose(found.noise, noise, rtol=0.05)


@pytest.mark.parametrize("size", [1, 5, 16, 33, 64])
def test_inverses_are_inverses(size):
    rng = np.random.default_rng(size)
    root = rng.standard_normal((4, size, 2 * size))
    matrices = (root @ root.transpose(0, 2, 1)).astype(np.float32)
    product = np.asarray(batched_linalg.invert_spd(matrices)) @ matrices
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(size), product.shape), atol=1e-3)


def test_orthogonal_columns_span_the_same_space():
    rng = np.random.default_rng(1)
    columns = rng.standard_normal((50, 6)) * np.geomspace(1.0, 1e-3, 6)
    q, r = projection._orthonormalise(columns)
    np.testing.assert_allclose(q.T @ q, np.eye(6), atol=1e-8)
    np.testing.assert_allclose(q @ r, columns, atol=1e-12)
