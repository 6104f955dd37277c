"""What nobody observed is known spectrum by spectrum, and labels of it keep the mark."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from catalog.store.db import Database
from tests.conftest import Cli
from tests.support.spectrum_files import write_sdss


@pytest.fixture
def spectra(cli: Cli, tmp_path: Path) -> Path:
    """Spectra of fibres 1 and 2, of which the second says that it is simulated."""
    folder = tmp_path / "spectra"
    write_sdss(folder / "spec-1000-52000-0001.fits", fiber=1)
    write_sdss(folder / "spec-1000-52000-0002.fits", fiber=2, cards={"SIMULATE": True})
    assert cli("ingest", "spectra", folder)[0] == 0
    return folder


def test_each_spectrum_says_whether_it_is_simulated(spectra: Path, db: Database) -> None:
    query = "SELECT survey_key, simulated FROM spectrum_blob JOIN source USING (source_id)"
    with db.reader() as conn:
        found = dict(conn.execute(sa.text(query)).all())
    assert found == {"1000-52000-1-26": False, "1000-52000-2-26": True}


@pytest.mark.parametrize("fiber", [1, 2])
def test_labels_of_simulated_spectra_keep_the_mark(
    cli: Cli, spectra: Path, db: Database, tmp_path: Path, fiber: int
) -> None:
    """A table of one's own has no card to say it; the spectra that it labels do."""
    table = tmp_path / "mine.csv"
    table.write_text(f"survey_key,teff\n1000-52000-{fiber}-26,5000\n")
    assert cli("ingest", "labels", table, "--survey", "sdss", "--name", "mine")[0] == 0
    query = "SELECT description, params -> 'simulated' FROM label_set WHERE name = 'mine'"
    with db.reader() as conn:
        text, simulated = conn.execute(sa.text(query)).one()
    assert ("SIMULATED" in text, simulated) == (fiber == 2, fiber == 2)
