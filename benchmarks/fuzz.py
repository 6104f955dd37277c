"""Read mutated files of each kind: every one is read, or refused with a reason.

None may end in an error that nobody foresaw, take longer than a limit, or more memory than one.

Usage: python -m benchmarks.fuzz [FILES PER KIND (2000)] [SEED (1)]

The readers run without their guards (`catalog.files.guard`), so that what these would hide is seen;
warnings are errors. Seeds have no checksums: damage must reach the readers.
"""

from __future__ import annotations

import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import numpy as np
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from catalog.errors import BadInputError, CrosslabelError
from catalog.files.identifiers import two_mass_id
from catalog.surveys.allstar import open_allstar
from catalog.surveys.formats import read_spectrum_file
from catalog.surveys.simulate import NAMES, write_survey
from catalog.surveys.specobj import open_specobj
from catalog.surveys.specobjid import pack_specobjid
from catalog.surveys.sspp import open_sspp
from catalog.tables.label_table import read_label_table

LIMIT_S = 20
LIMIT_BYTES = 1 << 30
CARD, BLOCK = 80, 2880
WORDS = (
    "1E400", "-1E400", "0", "-1", "1", "2", "7", "1.5", "T", "F", "'text'", "''", "'1E400'",
    "9999999999999999999", "-9223372036854775808", "18446744073709551616", "1E300", "1E-300",
    "NaN", "'9P'", "'1PE(9)'", "'0E'", "'99999999999E'", "'2J'", "'1D'", "'10A'", "'16X'", "'1K'",
    "'(9,2)'", "'(0)'", "'erg/s/cm2/A'", "'Jy'", "'nm'", "'\xff'", "'a\tb'",
)  # fmt: skip
STEMS = ("TFORM", "TTYPE", "TDIM", "TNULL", "TSCAL", "TZERO", "TUNIT", "NAXIS", "TDISP")
CARDS = (
    "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "PCOUNT", "GCOUNT", "TFIELDS", "EXTNAME", "THEAP",
    "PLATEID", "MJD", "FIBERID", "RUN2D", "BUNIT", "VACUUM", "COEFF0", "OBSID", "LMJD", "SPID",
    "Z", "RA", "DEC", "GROUPS", "END",
)  # fmt: skip


@dataclass
class Found:
    """Outcomes of the mutated files of one kind.

    Attributes
    ----------
    outcomes : Counter of str
        Files by ``read`` or the reason code.
    faults : list of str
        Number of the file, and the traceback or what was exceeded.
    slowest_s : float
        Longest time of one file.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest_s: float = 0.0


def _read_spectrum(path: Path) -> None:
    """Read a spectrum as the ingest does."""
    read_spectrum_file(path)


def _read_catalog(opener: Callable[..., object]) -> Callable[[Path], None]:
    """Return what reads all rows of a catalog."""

    def read(path: Path) -> None:
        with opener(path, "dr14") as catalog:  # type: ignore[attr-defined]
            catalog.read(0, catalog.n_rows)

    return read


def _read_labels(path: Path) -> None:
    """Read a table of labels of APOGEE."""
    read_label_table(path, ("apogee_id",), read_id=two_mass_id)


#: Formats of tables of labels beside FITS, as Astropy calls them: suffix.
LABEL_FORMATS = {"ascii.csv": "csv", "ascii.ecsv": "ecsv", "votable": "vot", "parquet": "parquet"}

READERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "spec": ("spec.fits", _read_spectrum),
    "lamost table": ("lamost.fits", _read_spectrum),
    "lamost image": ("lamost-image.fits", _read_spectrum),
    "allStar": ("allStar.fits", _read_catalog(open_allstar)),
    "ssppOut": ("ssppOut.fits", _read_catalog(open_sspp)),
    "specObj": ("specObj.fits", _read_catalog(open_specobj)),
    "label FITS": ("labels.fits", _read_labels),
} | {f"label {suffix}": (f"labels.{suffix}", _read_labels) for suffix in LABEL_FORMATS.values()}


def write_seeds(folder: Path) -> dict[str, bytes]:
    """Write a small file of each kind and return their bytes, without checksums."""
    survey = folder / "survey"
    write_survey(survey, n_matched=6, n_apogee=30, n_sspp=30, seed=1)
    files = {
        "spec": sorted((survey / "spectra").rglob("spec-*.fits"))[3],
        "allStar": survey / NAMES["dr14"],
        "ssppOut": survey / "ssppOut-dr12.fits",
    }
    for kind, write in _WRITERS.items():
        files[kind] = folder / READERS[kind][0]
        write(files[kind])
    seeds = {kind: file.read_bytes() for kind, file in files.items()}
    for kind, data in seeds.items():
        for card in (b"CHECKSUM= ", b"DATASUM = "):
            data = data.replace(card, b"COMMENT   ")
        seeds[kind] = data
    return seeds


def _lamost_header() -> fits.PrimaryHDU:
    """Return the primary unit of a LAMOST spectrum."""
    primary = fits.PrimaryHDU()
    cards = {"TELESCOP": "LAMOST", "OBSID": 1, "LMJD": 56000, "MJD": 55999, "PLANID": "TEST01"}
    primary.header.update(cards | {"SPID": 1, "FIBERID": 1, "RA": 10.0, "DEC": 1.0, "Z": 1e-4})
    primary.header.update({"COEFF0": 3.5682, "COEFF1": 1e-4, "VACUUM": True})
    return primary


def _write_lamost(path: Path, n: int = 500) -> None:
    """Write a short LAMOST spectrum in the table layout."""
    wave = 10 ** (3.5682 + 1e-4 * np.arange(n))
    arrays = {"FLUX": np.full(n, 9.0), "IVAR": np.ones(n), "WAVELENGTH": wave,
              "ANDMASK": np.zeros(n), "ORMASK": np.zeros(n)}  # fmt: skip
    columns = [
        fits.Column(name, f"{n}E", array=[values.astype("f4")]) for name, values in arrays.items()
    ]
    table = fits.BinTableHDU.from_columns(columns, name="COADD")
    fits.HDUList([_lamost_header(), table]).writeto(path)


def _write_lamost_image(path: Path, n: int = 500) -> None:
    """Write a short LAMOST spectrum in the image layout."""
    wave = 10 ** (3.5682 + 1e-4 * np.arange(n))
    rows = np.stack([np.full(n, 9.0), np.ones(n), wave, np.zeros(n), np.zeros(n)])
    fits.PrimaryHDU(rows.astype("f4"), _lamost_header().header).writeto(path)


def _write_specobj(path: Path, n: int = 20) -> None:
    """Write a short catalog of spectra."""
    fibers = np.arange(1, n + 1)
    ids = [f"{pack_specobjid(266, 51602, int(f), '26'):>22}".encode() for f in fibers]
    columns = [
        fits.Column("SPECOBJID", "22A", array=np.array(ids)),
        fits.Column("PLATE", "J", array=np.full(n, 266)),
        fits.Column("MJD", "J", array=np.full(n, 51602)),
        fits.Column("FIBERID", "J", array=fibers),
        fits.Column("RUN2D", "7A", array=np.full(n, b"26")),
        fits.Column("PLUG_RA", "D", array=10.0 + fibers, unit="deg"),
        fits.Column("PLUG_DEC", "D", array=np.ones(n), unit="deg"),
        fits.Column("CLASS", "6A", array=np.full(n, b"STAR")),
        fits.Column("SPECPRIMARY", "B", array=np.ones(n)),
        fits.Column("ZWARNING", "J", array=np.zeros(n), null=-1),
        fits.Column("THETA", "10E", array=np.zeros((n, 10))),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(path)


def _write_labels(path: Path, n: int = 20) -> None:
    """Write a short table of labels."""
    i = np.arange(n)
    columns = [
        fits.Column("APOGEE_ID", "18A", array=np.array([f"2M{k:016d}".encode() for k in i])),
        fits.Column("TEFF", "E", array=4000.0 + 10 * i, unit="K"),
        fits.Column("TEFF_ERR", "E", array=np.full(n, 50.0), unit="K"),
        fits.Column("LOGG", "D", array=np.full(n, 2.5), unit="dex(cm/s2)"),
        fits.Column("FE_H", "I", array=i, null=-99),
        fits.Column("MG_FE", "E", array=np.full(n, 0.1)),
        fits.Column("NOTE", "2E", array=np.zeros((n, 2)), dim="(2)"),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="LABELS")
    table.header["TSCAL5"], table.header["TZERO5"] = 0.01, -0.5
    table.writeto(path)


def _write_labels_as(kind: str) -> Callable[[Path], None]:
    """Return what writes a short table of labels in a format of Astropy."""

    def write(path: Path) -> None:
        table = Table({"apogee_id": [f"2M{k:08d}+{k:07d}" for k in range(20)],
                       "teff": MaskedColumn(4000.0 + np.arange(20), mask=np.arange(20) == 3),
                       "fe_h": np.linspace(-1, 0, 20).astype("f4")})  # fmt: skip
        table["teff"].unit = "K"
        table.write(path, format=kind)

    return write


_WRITERS: dict[str, Callable[[Path], None]] = {
    "lamost table": _write_lamost, "lamost image": _write_lamost_image,
    "specObj": _write_specobj, "label FITS": _write_labels,
    **{f"label {suffix}": _write_labels_as(kind) for kind, suffix in LABEL_FORMATS.items()},
}  # fmt: skip


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with one to four damages: bytes, cards, blocks, length."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        DAMAGES[int(rng.integers(len(DAMAGES)))](out, rng)
    return bytes(out)


def _bytes(data: bytearray, rng: np.random.Generator) -> None:
    """Overwrite single bytes, of the headers rather than of the data."""
    within = len(data) if rng.random() < 0.5 else min(len(data), 4 * BLOCK)
    for at in rng.integers(0, within, int(rng.integers(1, 9))) if within else ():
        data[at] = int(rng.choice([0, 9, 32, 39, 45, 46, 48, 57, 69, 84, 127, 128, 240, 255]))


def _value(data: bytearray, rng: np.random.Generator) -> None:
    """Give a card that is there another value."""
    cards = [at for at in range(0, len(data) - CARD, CARD) if data[at + 8 : at + 10] == b"= "]
    if cards:
        at = cards[int(rng.integers(len(cards)))]
        word = WORDS[int(rng.integers(len(WORDS)))].encode("latin-1")
        data[at + 10 : at + CARD] = word.rjust(20).ljust(CARD - 10)


def _card(data: bytearray, rng: np.random.Generator) -> None:
    """Write a card that matters over another one, mostly where a header ends."""
    keyword = CARDS[int(rng.integers(len(CARDS)))]
    if rng.random() < 0.7:
        keyword = STEMS[int(rng.integers(len(STEMS)))] + str(int(rng.integers(0, 12)))
    word = WORDS[int(rng.integers(len(WORDS)))]
    card = f"{keyword:8}= {word:>20}".ljust(CARD).encode("latin-1")
    ends = [at for at in range(0, len(data) - CARD, CARD) if data[at : at + 4] == b"END "]
    if ends and rng.random() < 0.8:
        at = ends[int(rng.integers(len(ends)))]
        if data[at + CARD : at + 2 * CARD].strip() == b"":
            data[at + CARD : at + 2 * CARD] = data[at : at + CARD]
    else:
        at = CARD * int(rng.integers(0, max(len(data) // CARD, 1)))
    data[at : at + CARD] = card


def _blank(data: bytearray, rng: np.random.Generator) -> None:
    """Take a card away."""
    cards = [at for at in range(0, len(data) - CARD, CARD) if data[at + 8 : at + 10] == b"= "]
    if cards:
        at = cards[int(rng.integers(len(cards)))]
        data[at : at + CARD] = b" " * CARD


def _blocks(data: bytearray, rng: np.random.Generator) -> None:
    """Repeat, drop or swap whole blocks."""
    n = len(data) // BLOCK
    if n < 2:
        return
    i, j = (BLOCK * int(k) for k in rng.integers(0, n, 2))
    what = rng.random()
    if what < 0.3:
        del data[i : i + BLOCK]
    elif what < 0.6:
        data[i:i] = data[j : j + BLOCK]
    else:
        data[i : i + BLOCK], data[j : j + BLOCK] = data[j : j + BLOCK], data[i : i + BLOCK]


def _cut(data: bytearray, rng: np.random.Generator) -> None:
    """Cut the end off, at any byte or between blocks."""
    at = int(rng.integers(0, len(data) + 1))
    del data[at // BLOCK * BLOCK if rng.random() < 0.5 else at :]


def _fill(data: bytearray, rng: np.random.Generator) -> None:
    """Fill a stretch with one value: zeros, NaN, infinity, random bytes."""
    if len(data) <= BLOCK:
        return
    at, n = int(rng.integers(BLOCK, len(data))), int(rng.integers(1, 4 * BLOCK))
    patterns = (
        b"\0",
        b"\xff",
        b"\x7f\x80\0\0",
        b"\x7f\xc0\0\0",
        b"\x7f\x7f\xff\xff",
        rng.bytes(64),
    )
    pattern = patterns[int(rng.integers(len(patterns)))]
    at -= at % 4
    n = min(n, len(data) - at)
    data[at : at + n] = (pattern * (n // len(pattern) + 1))[:n]


DAMAGES = (_bytes, _value, _value, _value, _card, _card, _card, _blank, _blocks, _cut, _fill)


@contextmanager
def _time_limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError where a file takes too long."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fuzz(kind: str, data: bytes, folder: Path, n: int, seed: int) -> Found:
    """Read ``n`` mutations of a file; the same seed makes the same ones.

    Parameters
    ----------
    kind : str
        One of `READERS`.
    data : bytes
        The file.
    folder : Path
        Where mutations are written.
    """
    name, read = READERS[kind]
    found, path = Found(), folder / name
    for i in range(n):
        path.write_bytes(mutate(data, np.random.default_rng((seed, i))))
        started = time.monotonic()
        try:
            with _time_limit(LIMIT_S), warnings.catch_warnings():
                warnings.simplefilter("error")
                read(path)
            found.outcomes["read"] += 1
        except CrosslabelError as exc:
            code = exc.reason_code if isinstance(exc, BadInputError) else type(exc).__name__
            found.outcomes[code] += 1
        except Exception:  # the one thing that is looked for
            found.outcomes["FAULT"] += 1
            found.faults.append(f"{kind} {i}: {traceback.format_exc()}")
        found.slowest_s = max(found.slowest_s, time.monotonic() - started)
    return found


def main(n: int = 2000, seed: int = 1) -> int:
    """Fuzz every kind within a limit of memory; returns 1 if there was a fault."""
    resource.setrlimit(resource.RLIMIT_AS, (4 * LIMIT_BYTES, 4 * LIMIT_BYTES))
    n_faults = 0
    with tempfile.TemporaryDirectory(prefix="crosslabel-fuzz-") as name:
        seeds = write_seeds(Path(name))
        for kind, data in seeds.items():
            found = fuzz(kind, data, Path(name), n, seed)
            words = ", ".join(f"{k} {v:,}" for k, v in found.outcomes.most_common())
            print(f"{kind}: {n:,} files, slowest {found.slowest_s:.2f} s: {words}", flush=True)
            for fault in found.faults[:3]:
                print(fault, flush=True)
            n_faults += len(found.faults)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{n_faults} faults; peak memory {peak / 2**20:,.0f} MiB")
    return int(n_faults > 0 or peak > LIMIT_BYTES)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
