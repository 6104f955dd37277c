"""Surveys to read: made once a session, by the kit's generator or by our own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from catalog.surveys.simulate import write_survey

KIT_SIZE = ["--matched", "30", "--apogee", "1200", "--sspp", "1500"]


def make_kit_survey(kit: Path, *arguments: str | Path) -> None:
    """Run the kit's generator."""
    script = kit / "tools" / "make_survey.py"
    subprocess.run([sys.executable, script, *arguments], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def kit_dr14(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small survey of the kit in the DR14 layout, with spectra."""
    folder = tmp_path_factory.mktemp("dr14")
    make_kit_survey(kit, folder, *KIT_SIZE)
    return folder


@pytest.fixture(scope="session")
def kit_dr17(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Catalogs of the kit in the DR17 layout."""
    folder = tmp_path_factory.mktemp("dr17")
    make_kit_survey(kit, folder, *KIT_SIZE, "--release", "dr17", "--no-spectra")
    return folder


@pytest.fixture(scope="session")
def bad_inputs(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kit's malformed and borderline inputs."""
    folder = tmp_path_factory.mktemp("bad")
    make_kit_survey(kit, "--bad", folder)
    return folder


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """Our own small survey and its counts."""
    folder = tmp_path_factory.mktemp("simulated")
    return folder, write_survey(folder, n_matched=20, n_apogee=150, n_sspp=120, seed=3)
