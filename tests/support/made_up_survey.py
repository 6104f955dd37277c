"""NOVA, a survey that does not exist: its record, the readers of its files, and such files.

docs/how-to/add-a-survey.md goes through this module, and `tests/e2e/test_made_up_survey.py` runs
every command with it. Importing it registers the survey; nothing else of crosslabel knows of it.

Usage: python -m tests.support.made_up_survey FOLDER N (writes files of N stars)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from catalog.surveys.registry import register
from catalog.surveys.survey import Catalog, Instrument, Key, Ref, SpectrumFormat, Survey

HERE = "tests.support.made_up_survey"
LABELS = ("teff", "logg", "fe_h")

NOVA = Survey(
    name="nova",
    title="NOVA",
    key=Key(columns=("survey_key", "nova_id"), has_release=True),
    catalogs=(
        Catalog(
            kind="nova",
            product="NOVA's catalog of stars",
            open=Ref(f"{HERE}:open_stars"),
            label_set="novalab",
            description="Labels of NOVA's stars, as published in its catalog",
            star="nova_id",
        ),
    ),
    spectra=(
        SpectrumFormat(
            files="NOVA spec-*.fits",
            recognise=Ref(f"{HERE}:is_nova"),
            read=Ref(f"{HERE}:read_nova"),
        ),
    ),
    instruments=(Instrument(name="NOVASPEC"),),
    ingest_hint="crosslabel ingest nova FILE --release r1",
    citations=("NOVA: nobody, in no year.",),
)
register(NOVA)

# What follows uses the rest of crosslabel, which is imported after the survey is known.
from catalog.fits.catalog_table import CatalogTable  # noqa: E402
from catalog.fits.cells import (  # noqa: E402
    check_labels,
    check_positions,
    error_cells,
    position_cells,
    text_cells,
    value_cells,
)
from catalog.fits.checksum import verify_checksums  # noqa: E402
from catalog.fits.duplicates import find_duplicates  # noqa: E402
from catalog.fits.file import FitsFile, open_fits  # noqa: E402
from catalog.fits.table import Column, Table, native, open_table  # noqa: E402
from catalog.records import Block, RowAudit  # noqa: E402
from catalog.surveys.release import Recognised  # noqa: E402
from catalog.surveys.spectrum import SpectrumFile, bad_fraction, check_pixels  # noqa: E402


@dataclass(frozen=True)
class Stars(CatalogTable):
    """An open catalog of stars."""

    columns: dict[str, Column]
    release: str

    @property
    def recognised(self) -> Recognised:
        """Nothing in the file names its release."""
        return Recognised()

    def read(self, start: int, stop: int) -> Block:
        """Read some rows: keys, positions, labels with errors."""
        columns = self.columns
        rows = self.table.read(start, stop, columns.values())
        audit = RowAudit(_keys(self.release, rows, columns), start)
        audit.reject(audit.keys == b"", "BAD_ID", "ID is blank")
        out = {"survey_key": audit.keys, "nova_id": text_cells(rows, columns["id"], audit)}
        out |= {name: position_cells(rows, columns[name], name) for name in ("ra", "dec")}
        check_positions(audit, out["ra"], out["dec"])
        out["epoch"] = np.full(len(rows), 2016.0)
        for name in LABELS:
            out[name] = value_cells(rows, columns[name], name)
            out[f"{name}_err"] = error_cells(rows, columns[f"{name}_err"], name)
        check_labels(audit, out, LABELS)
        out["has_labels"] = np.all([np.isfinite(out[name]) for name in LABELS], axis=0)
        self.duplicates.reject(audit, len(rows))
        return audit.block(out)


@contextmanager
def open_stars(path: str | os.PathLike[str], release: str) -> Iterator[Stars]:
    """Open a catalog of stars, check it and look for duplicate rows."""
    with open_fits(path) as file:
        table = open_table(file)
        columns = _columns(table)
        verify_checksums(file, table.hdu)
        duplicates = find_duplicates(
            table, [columns["id"]], lambda rows: _keys(release, rows, columns)
        )
        yield Stars(table, duplicates, columns, release)


def _columns(table: Table) -> dict[str, Column]:
    """Return the columns of the file by their names in the database."""
    columns = {"id": table.require("id", "text")}
    columns |= {name: table.require(name, "double") for name in ("ra", "dec")}
    labels = [name for label in LABELS for name in (label, f"{label}_err")]
    return columns | {name: table.require(name, "float") for name in labels}


def _keys(release: str, rows: np.ndarray, columns: dict[str, Column]) -> np.ndarray:
    """Return the keys release/ID, blank where there is no ID."""
    ids = text_cells(rows, columns["id"])
    return np.where(ids == b"", b"", np.strings.add(f"{release}/".encode(), ids))


def is_nova(file: FitsFile) -> bool:
    """Return whether a file has a spectrum of NOVA."""
    return str(file.hdus[0].header.get("SURVEY", "")).strip() == "NOVA"


def read_nova(path: str | os.PathLike[str]) -> SpectrumFile:
    """Read a spectrum: a table with LOGLAM, FLUX and IVAR on the logarithmic grid."""
    path = Path(path)
    with open_fits(path) as file:
        header = file.hdus[0].header
        table = open_table(file)
        names = ("loglam", "flux", "ivar")
        columns = [table.require(name, "float") for name in names]
        rows = table.read(0, table.n_rows, columns)
        loglam, flux, ivar = (native(rows, column) for column in columns)
        simulated = file.simulated
    none = np.zeros(len(loglam), np.int64)
    pixels = check_pixels(path, loglam, flux, ivar, none, none)
    return SpectrumFile(
        **vars(pixels), path=path, survey="nova", survey_key=f"exp/{header['EXPOSURE']}",
        ra=float(header["RA"]), dec=float(header["DEC"]), plate=None, mjd=None, fiberid=None,
        run2d=None, specobjid=None, class_="STAR", subclass="", z=float(header["Z"]),
        z_err=float("nan"), zwarning=None, instrument="NOVASPEC",
        fbadpix=bad_fraction(pixels.ivar), simulated=simulated,
    )  # fmt: skip


def write_files(folder: Path, n: int = 40) -> None:
    """Write ``stars.fits`` and ``spectra/spec-*.fits``: n stars, each with a spectrum beside it."""
    from astropy.io import fits

    from catalog.surveys.simulate_spectra import LOGLAM, model_flux

    rng = np.random.default_rng(7)
    labels = {
        "teff": rng.uniform(4200, 5200, n),
        "logg": rng.uniform(1.0, 3.5, n),
        "fe_h": rng.uniform(-1.5, 0.3, n),
    }
    ra, dec = 150 + 0.01 * np.arange(n), np.full(n, 2.0)
    columns = [fits.Column("ID", "8A", array=[f"N{i:04d}" for i in range(n)])]
    columns += [fits.Column(c, "D", "deg", array=v) for c, v in (("RA", ra), ("DEC", dec))]
    for name, unit, err in (("teff", "K", 50.0), ("logg", "dex", 0.1), ("fe_h", "dex", 0.05)):
        columns.append(fits.Column(name.upper(), "E", unit, array=labels[name]))
        columns.append(fits.Column(f"{name}_err".upper(), "E", unit, array=np.full(n, err)))
    (folder / "spectra").mkdir(parents=True)
    fits.BinTableHDU.from_columns(columns).writeto(folder / "stars.fits")
    flux = model_flux(*labels.values(), np.zeros(n))
    for i in range(n):
        ivar = np.full(LOGLAM.size, 2500.0)
        pixels = flux[i] + rng.normal(0, 0.02, LOGLAM.size)
        head = fits.PrimaryHDU()
        head.header.update(
            SURVEY="NOVA", EXPOSURE=f"{i:04d}", RA=ra[i] + 1e-4, DEC=dec[i], Z=0.0, SIMULATE=True
        )
        data = [fits.Column("LOGLAM", "D", array=LOGLAM), fits.Column("FLUX", "E", array=pixels),
                fits.Column("IVAR", "E", array=ivar)]  # fmt: skip
        table = fits.BinTableHDU.from_columns(data)
        fits.HDUList([head, table]).writeto(folder / "spectra" / f"spec-nova-{i:04d}.fits")


if __name__ == "__main__":
    write_files(Path(sys.argv[1]), int(sys.argv[2]))
