"""Gaussian-process regression of labels on scores: the other half of the preset `default`.

The covariance of a label between two spectra with scores x and x' is

    k(x, x') = a^2 x.x' + b^2 / (1 + |x - x'|^2 / (2 l^2)),

a linear part and a rational quadratic of shape 1 (Rasmussen & Williams 2006, section 4.2). The
noise of a training label has the variance n^2 + s^2 q + e^2: q is the noise of the spectrum's
scores in units of the typical one, e^2 the excess of the label's squared error over the least one,
which n^2 already holds. All labels share the length l. The logarithms of l and of each label's a,
b, n, s maximise the marginal likelihood of a random subset of the rows, times a wide prior about
values that suit spectra. Rows that the others contradict by more than `MAX_PULL` sigma, left out
one at a time (same book, section 5.4.2), are dropped.

Up to `MAX_CENTRES` rows the mean is exact. Beyond, it is a weighted sum over as many random rows,
fitted to all (projected process, section 8.3.4).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from models.core.arrays import Arrays, FloatArray

SUBSET = 300  # rows whose marginal likelihood is maximised
ITERATIONS = 12  # of L-BFGS: from these starting values more gain nothing
START_LENGTH = 0.65  # log l, scores in units of the first one's standard deviation
START = (-1.6, 0.5, -2.8, -3.3)  # log a, b, n, s, labels in units of their standard deviation
PRIOR_WIDTH = 2.0  # of the logarithms
BOUND = 5.0  # on how far they move
MAX_PULL = 5.0
MAX_CENTRES = 1500
JITTER = 1e-8
BLOCK = 256  # spectra whose covariances with the centres are held at once, in the cache

Mask = NDArray[np.bool_]


def fit(
    scores: FloatArray,
    score_noise: FloatArray,
    labels: FloatArray,
    label_errors: FloatArray,
    known: Mask,
    seed: int,
) -> Arrays:
    """Return the process of each label.

    Parameters
    ----------
    scores : ndarray, shape (n, c) [standard deviation of the first score]
        Training spectra.
    score_noise : ndarray, shape (n, c) [the same]
        Their noise.
    labels, label_errors : ndarray, shape (n, k) [standard deviation of the label]
        Centred labels and their errors; any number where not known.
    known : ndarray of bool, shape (n, k)
        Labels that are used.
    seed : int
        Of the choice of subset and centres.

    Returns
    -------
    dict of str to ndarray
        `centres` (m, c), `weights` (m, k) and `slope` (c, k), from which `mean` predicts, and
        `parameters` (1 + 4 k,): the logarithms of l, and of a, b, n, s label by label.
    """
    rng = np.random.default_rng(seed)
    level = np.mean(np.square(score_noise), axis=1)
    informative = known.any(axis=1)
    # Noise of the scores in units of the typical one, q of the module's description.
    level = level / max(float(np.median(level[informative])), 1e-30)
    least = np.min(np.where(known, label_errors, np.inf), axis=0)
    excess = np.where(known, label_errors**2 - least**2, 0.0)
    labels = np.where(known, labels, 0.0)
    order = rng.permutation(np.flatnonzero(informative))
    part = np.sort(order[:SUBSET])
    parameters = _maximise(scores[part], level[part], labels[part], excess[part], known[part])
    centres = np.sort(order[:MAX_CENTRES])
    # Leaving out is exact within blocks that are as large as an exact process may be.
    blocks = np.array_split(order, -(-order.size // MAX_CENTRES))
    length, columns = np.exp(parameters[0]), np.exp(parameters[1:].reshape(-1, 4))
    weights = np.zeros((centres.size, labels.shape[1]))
    for j, (a, b, n, s) in enumerate(columns):
        noise = n**2 + s**2 * level + excess[:, j]
        kept = np.zeros(informative.size, dtype=bool)
        for block in blocks:
            rows = block[known[block, j]]
            pull = left_out_pull(
                covariance(scores[rows], scores[rows], length, a, b), noise[rows], labels[rows, j]
            )
            kept[rows[np.abs(pull) <= MAX_PULL]] = True
        rows = np.flatnonzero(kept)
        across = covariance(scores[centres], scores[rows], length, a, b)
        if len(blocks) == 1:
            own = kept[centres]
            factor = cho_factor(across[own] + np.diag(noise[rows]), lower=True)
            weights[own, j] = cho_solve(factor, labels[rows, j])
        else:
            between = covariance(scores[centres], scores[centres], length, a, b)
            weights[:, j] = _project(between, across, noise[rows], labels[rows, j])
    return {
        "centres": scores[centres],
        "weights": weights * columns[:, 1] ** 2,
        "slope": scores[centres].T @ weights * columns[:, 0] ** 2,
        "parameters": parameters,
    }


def mean(process: Arrays, scores: FloatArray) -> FloatArray:
    """Return the mean of the process, shape (n, k) [standard deviation of the label].

    Parameters
    ----------
    process : dict of str to ndarray
        From `fit`.
    scores : ndarray, shape (n, c) [standard deviation of the first score]
    """
    unit = np.sqrt(2.0) * np.exp(process["parameters"][0])
    x, centres = scores / unit, process["centres"] / unit
    # 1 + |x - c|^2 as one matrix product, which takes nearly all the time of a prediction.
    ones = (np.ones((len(x), 1)), np.ones((len(centres), 1)))
    left = np.hstack([x, np.sum(x**2, axis=1, keepdims=True), ones[0]])
    right = np.hstack([-2.0 * centres, ones[1], 1.0 + np.sum(centres**2, axis=1, keepdims=True)]).T
    values = scores @ process["slope"]
    for start in range(0, len(x), BLOCK):
        part = slice(start, start + BLOCK)
        similarity = left[part] @ right
        np.reciprocal(similarity, out=similarity)
        values[part] += similarity @ process["weights"]
    return values


def covariance(x: FloatArray, y: FloatArray, length: float, a: float, b: float) -> FloatArray:
    """Return the covariance k of the module's description between rows of x and y, shape (n, m).

    Parameters
    ----------
    x, y : ndarray, shapes (n, c) and (m, c)
        Scores.
    length : float
        l, in units of the scores.
    a, b : float
        Amplitudes of the linear and of the rational quadratic part.
    """
    return a**2 * (x @ y.T) + b**2 / (1.0 + squared_distance(x, y) / (2.0 * length**2))


def squared_distance(x: FloatArray, y: FloatArray) -> FloatArray:
    """Return the squared Euclidean distances between rows of x and y, shape (n, m)."""
    square = np.sum(x**2, axis=1)[:, None] + np.sum(y**2, axis=1) - 2.0 * (x @ y.T)
    return np.asarray(np.maximum(square, 0.0))


def left_out_pull(signal: FloatArray, noise: FloatArray, y: FloatArray) -> FloatArray:
    """Return the residual of each row by the process on all others, over its predicted sigma.

    Rasmussen & Williams (2006), equation 5.12.

    Parameters
    ----------
    signal : ndarray, shape (n, n)
        Covariance of the noiseless labels.
    noise : ndarray, shape (n,)
        Variance of the noise.
    y : ndarray, shape (n,)
        Labels.
    """
    inverse_root = solve_triangular(
        cholesky(signal + np.diag(noise), lower=True), np.eye(y.size), lower=True
    )
    precision = np.sum(inverse_root**2, axis=0)
    return np.asarray((inverse_root.T @ (inverse_root @ y)) / np.sqrt(precision))


def _project(
    between: FloatArray, across: FloatArray, noise: FloatArray, y: FloatArray
) -> FloatArray:
    """Return the weights of the centres in the projected process.

    Rasmussen & Williams (2006), section 8.3.4.

    Parameters
    ----------
    between : ndarray, shape (m, m)
        Covariances of the centres.
    across : ndarray, shape (m, n)
        Covariances of the centres with the rows.
    noise, y : ndarray, shape (n,)
        Variance of the noise, and labels, of the rows.
    """
    m = between.shape[0]
    root = cholesky(between + JITTER * np.trace(between) / m * np.eye(m), lower=True)
    scaled = solve_triangular(root, across / np.sqrt(noise), lower=True)
    inner = cho_solve(
        cho_factor(np.eye(m) + scaled @ scaled.T, lower=True), scaled @ (y / np.sqrt(noise))
    )
    return np.asarray(solve_triangular(root.T, inner))


def _maximise(
    scores: FloatArray, level: FloatArray, labels: FloatArray, excess: FloatArray, known: Mask
) -> FloatArray:
    """Return the parameters of the highest posterior density on some rows."""
    start = np.concatenate([[START_LENGTH], np.tile(START, labels.shape[1])])
    products, distance = scores @ scores.T, squared_distance(scores, scores)

    def objective(parameters: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = negative_log_likelihood(
            parameters, products, distance, level, labels, excess, known
        )
        pull = (parameters - start) / PRIOR_WIDTH
        return value + 0.5 * float(pull @ pull), gradient + pull / PRIOR_WIDTH

    found = minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(v - BOUND, v + BOUND) for v in start],
        options={"maxiter": ITERATIONS, "maxfun": 2 * ITERATIONS},
    )
    return np.asarray(found.x, dtype=np.float64)


def negative_log_likelihood(
    parameters: FloatArray,
    products: FloatArray,
    distance: FloatArray,
    level: FloatArray,
    labels: FloatArray,
    excess: FloatArray,
    known: Mask,
) -> tuple[float, FloatArray]:
    """Return the negative log marginal likelihood of all labels, but for a constant.

    Rasmussen & Williams (2006), equations 5.8 and 5.9.

    Parameters
    ----------
    parameters : ndarray, shape (1 + 4 k,)
        As in `fit`.
    products, distance : ndarray, shape (n, n)
        Scalar products and squared distances of the rows.
    level : ndarray, shape (n,)
        Squared noise of the scores, in units of the typical one.
    labels, excess, known : ndarray, shape (n, k)
        Centred labels, the excess of their squared errors over the least one, and which count.

    Returns
    -------
    value : float
    gradient : ndarray, shape (1 + 4 k,)
    """
    similarity = 1.0 / (1.0 + distance / (2.0 * np.exp(2.0 * parameters[0])))
    stretch = 2.0 * similarity * (1.0 - similarity)  # derivative by log l
    value, gradient = 0.0, np.zeros(parameters.size)
    for j, (aa, bb, nn, ss) in enumerate(np.exp(2.0 * parameters[1:].reshape(-1, 4))):
        rows = np.flatnonzero(known[:, j])
        if not rows.size:
            continue
        own, y, q = np.ix_(rows, rows), labels[rows, j], level[rows]
        linear, bent = aa * products[own], bb * similarity[own]
        root = cholesky(linear + bent + np.diag(nn + ss * q + excess[rows, j]), lower=True)
        inverse_root = solve_triangular(root, np.eye(rows.size), lower=True)
        inverse = inverse_root.T @ inverse_root
        weights = inverse @ y
        value += 0.5 * float(y @ weights) + float(np.log(np.diag(root)).sum())
        slope = 0.5 * (inverse - np.outer(weights, weights))  # by the covariance
        diagonal = np.diag(slope)
        gradient[0] += bb * np.sum(slope * stretch[own])
        gradient[1 + 4 * j : 5 + 4 * j] = 2.0 * np.array(
            [
                np.sum(slope * linear),
                np.sum(slope * bent),
                nn * diagonal.sum(),
                ss * (diagonal @ q),
            ]
        )
    return value, gradient
