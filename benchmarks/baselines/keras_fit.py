"""The notebook's forward network in Keras, fold after fold, as ``model.fit`` runs it fastest.

Whole epochs are one call (`steps_per_execution`), compiled; one model serves all folds, its weights
and its optimiser being reset, so that nothing is compiled twice. The backend is that of
KERAS_BACKEND.

Usage: python keras_fit.py FILE.npz N_EPOCHS
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np
from serve import read_folds, serve

BATCH = 16


def main():
    x, y, folds = read_folds(sys.argv[1])
    epochs = int(sys.argv[2])
    start = keras.initializers.RandomUniform(-0.05, 0.05)
    model = keras.Sequential(
        [
            keras.Input((x.shape[1],)),
            keras.layers.Dense(32, kernel_initializer=start),
            keras.layers.Dense(32, activation="relu", kernel_initializer=start),
            keras.layers.Dense(y.shape[1], kernel_initializer=start),
        ]
    )
    model.compile(
        keras.optimizers.Adam(1e-4, amsgrad=True),
        "mae",
        steps_per_execution=-(-folds[0].size // BATCH),
        jit_compile=True,
    )
    rng = np.random.default_rng(0)

    def fit(rows, epochs):
        for variable in model.optimizer.variables:
            if "learning_rate" not in variable.path:
                variable.assign(np.zeros(variable.shape, variable.dtype))
        model.set_weights(
            [
                rng.uniform(-0.05, 0.05, w.shape) if w.ndim == 2 else np.zeros_like(w)
                for w in model.get_weights()
            ]
        )
        curve = model.fit(x[rows], y[rows], batch_size=BATCH, epochs=epochs, verbose=0)
        return curve.history["loss"][-1]

    model.fit(x[folds[0]], y[folds[0]], batch_size=BATCH, epochs=2, verbose=0)
    for rows in folds:
        fit(rows, 1)
    serve(lambda: np.mean([fit(rows, epochs) for rows in folds]))


if __name__ == "__main__":
    main()
