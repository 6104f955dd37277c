"""A few hundred mutated files of each kind; `benchmarks.fuzz` reads thousands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.fuzz import READERS, fuzz, mutate, write_seeds


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return write_seeds(tmp_path_factory.mktemp("seeds"))


@pytest.mark.parametrize("kind", READERS)
def test_mutated_files_are_read_or_refused(
    seeds: dict[str, bytes], tmp_path: Path, kind: str
) -> None:
    found = fuzz(kind, seeds[kind], tmp_path, 150, seed=7)
    assert found.faults == []
    assert sum(found.outcomes.values()) == 150
    assert found.outcomes["read"] > 10  # damage is not so heavy that nothing gets past the headers
    # other formats have fewer ways to be damaged than FITS
    assert len(found.outcomes) > (5 if READERS[kind][0].endswith(".fits") else 2)


def test_the_same_seed_makes_the_same_damage(seeds: dict[str, bytes]) -> None:
    data = seeds["spec"]
    made = [mutate(data, np.random.default_rng(s)) for s in (1, 1, 2)]
    assert made[0] == made[1] != made[2]
    assert data not in made
