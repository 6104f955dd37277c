"""A small simulated survey in the database, made once a session and cloned for each test."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from catalog.store.db import Database
from catalog.surveys.simulate import NAMES, write_survey
from jobs.crossmatch.crossmatch import CrossmatchParams, crossmatch_job
from jobs.engine.runner import run_job
from jobs.ingest.catalogs import ingest_catalog
from jobs.ingest.spectra import SpectraParams, ingest_spectra_job
from jobs.samples.select import SampleParams, sample_job
from tests.conftest import Cli, cloned
from tests.support.learning import TRAININGS, normalize, train
from tests.support.sync_case import Case, make_case


@pytest.fixture
def cli(db_url: URL, command_line: Cli) -> Cli:
    """The command line on the database of the test: exit code, output, errors."""
    return partial(command_line, db_url)


@pytest.fixture
def case(tmp_path: Path, db: Database, command_line: Cli) -> Case:
    """A simulated survey and the example's configuration of sync."""
    return make_case(tmp_path, db, command_line)


@pytest.fixture(scope="session")
def survey_template(
    server_url: URL, admin: sa.Engine, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A simulated survey: ingested, matched, sampled and normalized, each in both ways."""
    folder = tmp_path_factory.mktemp("survey")
    write_survey(folder, n_matched=70, n_apogee=160, n_sspp=120)
    with cloned(server_url, admin, template) as db:
        ingest_catalog(db, "apogee", [folder / NAMES["dr14"]], "dr14")
        ingest_catalog(db, "sspp", [folder / "ssppOut-dr12.fits"], "dr12")
        run_job(ingest_spectra_job(SpectraParams((str(folder / "spectra"),)), db), db)
        run_job(crossmatch_job(CrossmatchParams(), db), db)
        for preset in ("clean", "seed-2018"):
            run_job(sample_job(SampleParams(preset, preset), db), db)
        for recipe in ("default", "seed-2018"):
            normalize(db, recipe)
        db.engine.dispose()
        yield str(db.engine.url.database)


@pytest.fixture
def survey(server_url: URL, admin: sa.Engine, survey_template: str) -> Iterator[Database]:
    """A database with the simulated survey, with the samples ``clean`` and ``seed-2018``."""
    with cloned(server_url, admin, survey_template) as db:
        yield db


@pytest.fixture(scope="session")
def trained_template(server_url: URL, admin: sa.Engine, survey_template: str) -> Iterator[str]:
    """The simulated survey with a small model of each preset."""
    with cloned(server_url, admin, survey_template) as db:
        for params in TRAININGS.values():
            train(db, params)
        db.engine.dispose()
        yield str(db.engine.url.database)


@pytest.fixture
def trained(server_url: URL, admin: sa.Engine, trained_template: str) -> Iterator[Database]:
    """A database with the simulated survey and the models of `learning.TRAININGS`."""
    with cloned(server_url, admin, trained_template) as db:
        yield db


@pytest.fixture(scope="module")
def trained_once(server_url: URL, admin: sa.Engine, trained_template: str) -> Iterator[Database]:
    """The same for a module whose tests only read."""
    with cloned(server_url, admin, trained_template) as db:
        yield db
