"""Scores over resampled stars: the definitions, the draws, and their errors."""

from __future__ import annotations

import numpy as np
import pytest

from models.core import metrics, resampling

RNG = np.random.default_rng(8)
STAR = np.r_[np.arange(40), np.arange(10), [0, 0]]
REFERENCE = RNG.normal(5000.0, 400.0, 40)[STAR]
TEST = 0.9 * REFERENCE + 520.0 + RNG.normal(0.0, 50.0, STAR.size)


def test_scores_of_every_row_are_those_of_the_definitions():
    found = resampling.scores(REFERENCE, TEST, resampling.every_row(STAR.size))
    known = metrics.score(TEST - REFERENCE)
    assert set(found) == set(resampling.STATISTICS)
    np.testing.assert_allclose(
        [found[name][0] for name in resampling.STATISTICS[:6]],
        [known.bias, known.sigma_mad, known.mae, known.seed_bias, known.seed_scatter,
         known.outliers],
        rtol=1e-12,
    )  # fmt: skip


def test_draws_score_like_the_rows_they_take():
    draws = resampling.draw_stars(STAR, 5, seed=2)
    found = resampling.scores(REFERENCE, TEST, draws)
    for d in range(5):
        rows = draws.rows[d][draws.inside[d]]
        known = metrics.score((TEST - REFERENCE)[rows])
        once = resampling.scores(REFERENCE[rows], TEST[rows], resampling.every_row(rows.size))
        assert found["bias"][d] == pytest.approx(known.bias, rel=1e-12)
        assert found["sigma_mad"][d] == pytest.approx(known.sigma_mad, rel=1e-12)
        assert found["mae"][d] == pytest.approx(known.mae, rel=1e-12)
        assert found["slope"][d] == pytest.approx(once["slope"][0], rel=1e-9)


def test_a_star_is_drawn_with_all_its_spectra_as_often_as_there_are_stars():
    draws = resampling.draw_stars(STAR, 30, seed=0)
    _, size = np.unique(STAR, return_counts=True)
    for rows, inside in zip(draws.rows, draws.inside, strict=True):
        times = np.bincount(rows[inside], minlength=STAR.size)
        per_star = [set(times[star == STAR]) for star in range(40)]
        assert all(len(times_drawn) == 1 for times_drawn in per_star)
        drawn = np.array([times_drawn.pop() for times_drawn in per_star])
        assert drawn.sum() == 40
        assert inside.sum() == (drawn * size).sum()
    assert len({tuple(rows) for rows in draws.rows.tolist()}) == 30


def test_draws_depend_on_the_seed_and_the_order_of_the_stars_only():
    draws = resampling.draw_stars(STAR, 4, seed=1)
    again = resampling.draw_stars(7 * STAR + 100, 4, seed=1)
    np.testing.assert_array_equal(draws.rows, again.rows)
    assert draws.rows.tolist() != resampling.draw_stars(STAR, 4, seed=2).rows.tolist()


@pytest.mark.parametrize("slope", [0.5, 1.0, 1.2])
def test_slope_is_that_of_the_line_whatever_the_outliers_say(slope):
    x = np.linspace(-2.0, 0.5, 60)
    y = slope * x + 0.1 + 0.01 * np.sin(50.0 * x)
    y[[3, 40]] += (4.0, -9.0)
    found = resampling.scores(x, y, resampling.every_row(60))["slope"][0]
    assert found == pytest.approx(slope, abs=0.005)
    assert abs(np.polyfit(x, y, 1)[0] - slope) > 0.05


def test_without_rows_or_without_spread_nothing_is_known():
    empty = resampling.scores([], [], resampling.draw_stars([], 3, seed=0))
    assert all(values.shape == (3,) and np.isnan(values).all() for values in empty.values())
    constant = resampling.scores([1.0, 1.0], [2.0, 3.0], resampling.every_row(2))
    assert np.isnan(constant["slope"][0])
    assert constant["bias"][0] == 1.5
    assert np.isnan(resampling.error_of(np.zeros(0)))


def test_error_of_the_mean_is_that_of_statistics():
    values = RNG.normal(0.0, 1.0, 400)
    draws = resampling.draw_stars(np.arange(400), 400, seed=0)
    found = resampling.error_of(resampling.scores(np.zeros(400), values, draws)["seed_bias"])
    assert found == pytest.approx(1.0 / np.sqrt(400), rel=0.15)
    twice = resampling.draw_stars(np.repeat(np.arange(400), 2), 400, seed=0)
    copies = resampling.scores(np.zeros(800), np.repeat(values, 2), twice)["seed_bias"]
    assert resampling.error_of(copies) == pytest.approx(found, rel=1e-9)


def test_paired_differences_are_surer_than_their_parts():
    common = RNG.normal(0.0, 1.0, 300)
    sets = [common + RNG.normal(0.0, 0.1, 300), 1.1 * common + RNG.normal(0.0, 0.1, 300)]
    draws = resampling.draw_stars(np.arange(300), 200, seed=0)
    one, two = (resampling.scores(np.zeros(300), x, draws)["mae"] for x in sets)
    assert resampling.error_of(two - one) < 0.5 * resampling.error_of(one)


def test_repeats_give_the_scatter_of_one_spectrum():
    a, b = RNG.normal(0.0, 30.0, (2, 4000))
    found = resampling.repeat_sigma(a - b, resampling.every_row(4000))[0]
    assert found == pytest.approx(30.0, rel=0.05)
    assert resampling.repeat_sigma(b - a, resampling.every_row(4000))[0] == found
