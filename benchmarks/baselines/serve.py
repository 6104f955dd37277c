"""Time a rival in a process of its own: one run for each line that it is sent."""

from __future__ import annotations

import json
import sys
import time


def serve(run):
    """Say that all is warmed up; then run once per line of standard input and print the result."""
    print("ready", flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        loss = run()
        result = [time.perf_counter() - wall, time.process_time() - cpu, float(loss)]
        print(json.dumps(result), flush=True)


def read_folds(path):
    """Spectra, labels, and the training rows of each fold, from an npz file."""
    import numpy as np

    with np.load(path) as data:
        rows = [data[f"rows-{i}"] for i in range(int(data["folds"]))]
        return data["x"], data["y"], rows
