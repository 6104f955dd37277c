"""Every kind of source and of export that a configuration can name, in one sync."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from astropy.io import fits
from astropy.table import Table

from catalog.archive.places import catalog_places
from catalog.surveys.simulate import NAMES
from catalog.surveys.specobjid import pack_specobjid
from tests.support.archive_server import Archive, serve
from tests.support.content import content_digests
from tests.support.learning import value
from tests.support.specobj_file import specobj_rows, write_specobj
from tests.support.sync_case import Case

SOURCES = """
[[sources]]
name = "specobj"
kind = "specobj"
release = "dr17"
fetch = true

[[sources]]
name = "positions"
kind = "positions"
release = "dr17"

[[sources]]
name = "sppparams"
kind = "sppparams"
release = "dr17"

[[sources]]
name = "ours"
kind = "labels"
survey = "apogee"
label_set = "ours"
paths = ["incoming/ours.csv"]

[[samples]]
name = "by-ours"
crossmatch = "apogee-sdss"
reference = "ours"

[[exports]]
file = "out/pairs.parquet"
content = "aspcap/dr14"
against = ["sspp/dr12"]

[[exports]]
file = "out/spectra"
content = "spectra"
sample = "clean"

[[exports]]
file = "out/clean.npz"
content = "clean"

[archive]
url = "{url}/sas"
skyserver_url = "{url}"
"""


@pytest.fixture
def archive(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """It has specObj, a spectrum at a star of allStar, and SSPP's labels of another one."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    incoming = case.folder / "incoming"
    star = fits.getdata(incoming / NAMES["dr14"], 1)[0]
    ra, dec = float(star["RA"]), float(star["DEC"])
    lone = {"plate": 2, "mjd": 51_000, "fiberid": 3, "run2d": "26", "ra": 10.0, "dec": 20.0}
    specobj = write_specobj(tmp_path / "specObj.fits", specobj_rows(lone)).read_bytes()
    key = str(star["APOGEE_ID"]).strip()
    (incoming / "ours.csv").write_text(f"apogee_id,teff,logg,fe_h\n{key},5000,2.5,-0.5\n")
    sspp = fits.getdata(incoming / "ssppOut-dr12.fits", 1)
    row: dict[str, object] = {name: sspp[0][name] for name in sspp.names}
    row |= {n: str(row[n]).strip() for n in ("RUN2D", "FLAG")} | {"SPECTYPE_SUBCLASS": "K1"}
    row |= {"PLATE": 2, "MJD": 51_000, "FIBER": 3, "PLUG_RA": 10.0, "PLUG_DEC": 20.0}
    row |= {"RUN2D": "26", "SPECOBJID": str(pack_specobjid(2, 51_000, 3, "26"))}
    known = Archive(
        files={catalog_places("specobj", "dr17")[0]: specobj},
        spectra=[(1, 50_000, 1, "26", ra, dec)], sspp=[row],
    )  # fmt: skip
    with serve(known) as running:
        yield running


def test_all_kinds_of_sources_and_exports(case: Case, archive: Archive) -> None:
    case.add(SOURCES.format(url=archive.url))
    code, out, err = case.run("--quiet")
    assert (code, out, err) == (0, "", ""), err
    states = case.states()
    assert set(states.values()) == {"done"}
    labels = "SELECT n_rows FROM current_label_set WHERE name = '{}'"
    assert value(case.db, labels.format("ours")) == 1
    assert value(case.db, labels.format("sspp/dr17")) == 1
    found = "SELECT count(*) FROM source WHERE survey_key IN ('2-51000-3-26', '1-50000-1-26')"
    assert value(case.db, found) == 2
    assert len(Table.read(case.out / "pairs.parquet", format="parquet.votable")) > 0
    accepted = value(case.db, "SELECT count(*) FROM star_link k JOIN sample USING (sample_id) "
                              "WHERE name = 'clean'")  # fmt: skip
    assert len(Table.read(case.out / "spectra" / "index.fits")) == accepted
    made, asked = content_digests(case.db), len(archive.log)
    assert "sync: nothing to do" in case.run()[1]
    assert content_digests(case.db) == made
    assert [entry[1] for entry in archive.log[asked:]] == ["HEAD"], "specObj is as it was"
