"""Anyone's table of labels: CSV, ECSV, FITS, VOTable or Parquet, by the names of its columns.

Labels are known by the catalog's names (``teff``, ``logg``, ``fe_h``) and by those that other files
have for them (`catalog.store.columns.LABELS`). What the catalog has no name for is not taken.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from xml.parsers.expat import ExpatError

import numpy as np

from catalog.errors import BadInputError, UsageError
from catalog.files.identifiers import BadId, plain_id
from catalog.files.missing import is_missing, is_missing_error
from catalog.files.numbers import numbers_of
from catalog.files.opening import Limits
from catalog.files.units import Scale, scale_to
from catalog.files.unpacking import open_unpacked
from catalog.fits.cells import check_labels, forget_zeros
from catalog.fits.duplicates import reject_repeats
from catalog.fits.file import open_fits
from catalog.records import Block, RowAudit
from catalog.store.columns import LABELS, error_of
from catalog.tables.columns import RawColumn, RawTable, choose_table, fold
from catalog.tables.fits import list_tables
from catalog.tables.product import LABEL_TABLE, expecting
from catalog.words import count

#: Suffix -> what the file is; any may be followed by ``.gz`` or ``.bz2``.
SUFFIXES = {
    ".csv": "text", ".tsv": "text", ".txt": "text", ".dat": "text", ".ecsv": "ecsv",
    ".fits": "fits", ".fit": "fits", ".vot": "votable", ".votable": "votable", ".xml": "votable",
    ".parquet": "parquet", ".parq": "parquet",
}  # fmt: skip
MAX_KEY = 200  # characters
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ERROR_FORMS = (
    "{}_err", "e_{}", "{}_error", "{}_unc", "{}unc", "{}_e", "{}err", "err_{}", "sigma_{}",
    "{}_sigma", "{}_std",
)  # fmt: skip


@dataclass(frozen=True)
class LabelTable:
    """Labels by the key of their row.

    Attributes
    ----------
    block : Block
        ``key`` (bytes), ``row`` (its number in the file, from 0), and as float32 the labels with
        their errors ``_err``, in the catalog's units; rows that cannot be used are in ``bad``.
    columns : dict of str to str
        ``key``, labels and errors, by what the file calls them.
    place : str
        Which table of the file; empty if it has only one.
    not_taken : tuple of str
        Columns that are no label of the catalog.
    unit_assumed : tuple of str
        Labels whose column names no unit: taken to be in the catalog's.
    simulated : bool
        Whether the file says that nobody measured this.
    partial : bool
        Whether the service that answered with it has left rows out.
    """

    block: Block
    columns: dict[str, str]
    place: str
    not_taken: tuple[str, ...]
    unit_assumed: tuple[str, ...]
    simulated: bool
    partial: bool = False


def read_label_table(
    path: Path,
    keys: Sequence[str],
    limits: Limits | None = None,
    *,
    read_id: Callable[[object], str] = plain_id,
    which: str = "",
    allow_overflow: bool = False,
) -> LabelTable:
    """Read a table of labels.

    Parameters
    ----------
    path : Path
        Its suffix says what it is: see `SUFFIXES`.
    keys : sequence of str
        Names that the key column may have, best first.
    limits : Limits, optional
        How large the file may be.
    read_id : callable
        The reading of keys: see `catalog.surveys.survey.Key`.
    which : str
        Number or name of the HDU or table; empty: the one that has keys, labels and rows.
    allow_overflow : bool
        Take a VOTable that its service has cut off.

    Raises
    ------
    UsageError
        If the suffix is unknown, or there is no such table in the file.
    BadInputError
        If the file is damaged, too large, has no key or no label, or a unit is not that of the
        label.
    """
    with _open(path, limits or Limits(), allow_overflow) as (found_tables, simulated):
        tables = [table.with_units_of_names(_UNITS) for table in found_tables]
        table = choose_table(tables, lambda t: _fits(t, keys), which)
        key = _find_key(table, keys)
        if key is None:
            raise table.lacks(f"no key column ({', '.join(keys)})", "Name it: --key COLUMN")
        found = {name: c for name, c in _find_labels(table).items() if c.index != key.index}
        if not any(label in found for label in LABELS):
            raise table.lacks("no label", f"The labels are: {', '.join(LABELS)}")
        scales = {name: _scale(table, name, column) for name, column in found.items()}
        key_cells, *label_cells = table.read([key, *found.values()])
    audit = _keys(table, key, key_cells, read_id)
    columns = {"key": audit.keys}
    numbers = {}
    for (name, column), cells in zip(found.items(), label_cells, strict=True):
        numbers[name], words = numbers_of(cells)
        is_word = np.isin(np.arange(table.n_rows), list(words))
        audit.reject(is_word, "BAD_VALUE", _no_number(column.name, words))
    columns |= _labels(numbers, scales)
    check_labels(audit, columns, [name for name in LABELS if name in columns])
    reject_repeats(audit, columns)
    taken = {key.index, *(column.index for column in found.values())}
    return LabelTable(
        audit.block(columns),
        {"key": key.name} | {name: column.name for name, column in found.items()},
        table.place,
        tuple(_plain(c.name) or "(no name)" for c in table.columns if c.index not in taken),
        tuple(name for name in LABELS if name in found and scales[name].assumed),
        simulated,
        table.partial,
    )


@contextmanager
def _open(
    path: Path, limits: Limits, allow_overflow: bool
) -> Iterator[tuple[list[RawTable], bool]]:
    """Give the tables of a file, and whether it calls itself simulated."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] in ([".gz"], [".bz2"]):
        suffixes.pop()
    kind = SUFFIXES.get(suffixes[-1]) if suffixes else None
    if kind is None:
        raise UsageError(
            f"{path} does not say what kind of table it is",
            f"Its name must end with {', '.join(SUFFIXES)}, or one of these and .gz or .bz2",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about units, which are read in one place
            if kind == "fits":
                with open_fits(path) as file, expecting(file, LABEL_TABLE):
                    yield list_tables(path, file, limits), file.simulated
                return
            with open_unpacked(path, limits) as stream:
                yield _read(kind, path, stream, limits, allow_overflow), False
    except (OSError, ValueError, TypeError, LookupError, SyntaxError, ExpatError) as exc:
        raise BadInputError(
            "WRONG_CONTENT",
            f"{path} cannot be read as {kind}: {' '.join(str(exc).split())[:200]}",
            "Write it again, or give it the suffix of what it is",
        ) from exc


def _read(
    kind: str, path: Path, stream: BinaryIO, limits: Limits, allow_overflow: bool
) -> list[RawTable]:
    """Return the tables of a file of one kind; the library of that kind loads here."""
    if kind == "text":
        from catalog.tables.text import read_text

        return read_text(path, stream, limits)
    if kind == "ecsv":
        from catalog.tables.text import read_ecsv

        return read_ecsv(path, stream, limits)
    if kind == "votable":
        from catalog.tables.votable import read_votable

        return read_votable(path, stream, limits, allow_overflow=allow_overflow)
    from catalog.tables.parquet import read_parquet

    return read_parquet(path, stream, limits)


def _fits(table: RawTable, keys: Sequence[str]) -> bool:
    """Return True where a table has a key and a label."""
    found = _find_labels(table)
    return _find_key(table, keys) is not None and any(label in found for label in LABELS)


def _find_key(table: RawTable, keys: Sequence[str]) -> RawColumn | None:
    """Return the key column; one name alone is one that people have given."""
    return table.find(keys, "--key", exact=len(keys) == 1)


def _names_of(label: str) -> tuple[str, ...]:
    """Return what files call a label, best first."""
    return (label, *LABELS[label].names)


def _names_of_error(label: str) -> tuple[str, ...]:
    """Return what files call the error of a label, best first."""
    return tuple(form.format(name) for name in _names_of(label) for form in _ERROR_FORMS)


#: All names of labels and errors, and the catalog's unit of each.
_UNITS = {
    fold(name): entry.measured_in
    for label, entry in LABELS.items()
    for name in (*_names_of(label), *_names_of_error(label))
}


def _find_labels(table: RawTable) -> dict[str, RawColumn]:
    """Return the columns of labels and errors by the catalog's names for them."""
    known = {fold(name) for c in table.columns for name in (c.name, c.other_name)}
    found = {}
    for label in LABELS:
        wanted_of = {label: _names_of(label), error_of(label): _names_of_error(label)}
        for name, wanted in wanted_of.items():
            here = [w for w in wanted if w in known]
            column = table.find(here) if here else None
            if column is not None:
                found[name] = column
    return {n: c for n, c in found.items() if n in LABELS or _label_of(n) in found}


def _label_of(error: str) -> str:
    """Return the label whose error this is."""
    return error.removesuffix("_err")


def _scale(table: RawTable, name: str, column: RawColumn) -> Scale:
    """Return what makes a column of a label or error the catalog's."""
    label = name if name in LABELS else _label_of(name)
    return scale_to(
        column.unit, LABELS[label].measured_in, f"column {column.name} of {table.where}"
    )


def _keys(
    table: RawTable, column: RawColumn, cells: np.ma.MaskedArray, read_id: Callable[[object], str]
) -> RowAudit:
    """Return an audit with the keys of all rows; those that are none are rejected."""
    where = f"the key column {column.name} of {table.where}"
    if cells.dtype.kind == "f":
        raise BadInputError(
            "BAD_DTYPE", f"{where} holds floating-point numbers, in which ids lose digits",
            "Write it as text or integers",
        )  # fmt: skip
    mask = np.ma.getmaskarray(cells)
    keys, bad = [], {}
    for i, cell in enumerate(cells.data.tolist()):
        try:
            text = "" if mask[i] else read_id(cell)
        except BadId as exc:
            text, bad[i] = str(cell), ("BAD_ID", f"{column.name} {exc}")
        except UnicodeDecodeError:
            text, bad[i] = "", ("BAD_TEXT", f"{column.name} is no UTF-8: {cell!r}")
        if _CONTROL.search(text):  # PostgreSQL refuses NUL, and terminals obey others
            bad[i] = "BAD_TEXT", f"{column.name} holds a control character"
        elif len(text) > MAX_KEY:
            bad[i] = (
                "BAD_ID",
                f"{column.name} has {count(len(text), 'character')}: no key is so long",
            )
        elif not text:
            bad.setdefault(i, ("BAD_ID", f"{column.name} is empty"))
        keys.append(_plain(text[:MAX_KEY]).encode())
    audit = RowAudit(np.array(keys or [b""], "S")[: len(keys)], 0)
    for code in ("BAD_ID", "BAD_TEXT"):
        rows = np.isin(np.arange(len(keys)), [i for i in bad if bad[i][0] == code])
        audit.reject(rows, code, lambda i: bad[i][1])
    return audit


def _plain(text: str) -> str:
    """Return a text without control characters, for messages and the database."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def _labels(numbers: dict[str, np.ndarray], scales: dict[str, Scale]) -> dict[str, np.ndarray]:
    """Return labels and errors in the catalog's units, float32, NaN where there is no value."""
    columns = {}
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 means infinite
        for label in (name for name in LABELS if name in numbers):
            given, scale = numbers[label], scales[label]
            missing = is_missing(given, label, scale)
            columns[label] = np.where(missing, np.nan, scale.value(given)).astype("f4")
        if "teff" in numbers:
            forget_zeros(columns, numbers["teff"] == 0)
        for label in list(columns):
            error = error_of(label)
            columns[error] = np.full(len(columns[label]), np.nan, "f4")
            if error in numbers:
                given, scale = numbers[error], scales[error]
                missing = is_missing_error(given, label, scale) | np.isnan(columns[label])
                columns[error] = np.where(missing, np.nan, scale.error(given)).astype("f4")
    return columns


def _no_number(name: str, words: Mapping[int, str]) -> Callable[[int], str]:
    """Return what says which cell of a column is no number."""
    return lambda i: f"{name} is {words[i]!r}, no number"
