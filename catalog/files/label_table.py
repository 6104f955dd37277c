"""Anyone's table of labels: CSV, ECSV, FITS, VOTable or Parquet, by the names of its columns.

Labels are known by the catalog's names (``teff``, ``logg``, ``fe_h``), whatever the case, and a few
usual others; units are checked and converted. What the catalog has no name for is not taken.
"""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from xml.parsers.expat import ExpatError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from astropy.io import ascii, votable
from astropy.table import Column, MaskedColumn, Table

from catalog.errors import BadInputError, UsageError
from catalog.files.block import Block, RowAudit
from catalog.files.cells import MISSING_BELOW, check_labels
from catalog.files.checksum import verify_checksums
from catalog.files.fits import open_fits
from catalog.files.fitstable import open_table
from catalog.files.label_units import factor_and_offset
from catalog.files.opening import Limits, open_unpacked
from catalog.files.votable_guard import refuse_references
from catalog.store.columns import LABELS, error_of

#: Suffix -> what the file is.
SUFFIXES = {
    ".csv": "csv", ".ecsv": "ecsv", ".fits": "fits", ".fit": "fits", ".vot": "votable",
    ".xml": "votable", ".parquet": "parquet",
}  # fmt: skip
_OTHER_NAMES = {
    "t_eff": "teff", "log_g": "logg", "feh": "fe_h", "[fe/h]": "fe_h", "mh": "m_h", "[m/h]": "m_h",
}  # fmt: skip
_ERROR_FORMS = ("{}_err", "e_{}", "{}_error", "{}_unc")
_FLOAT = re.compile(rb"[+-]?[0-9]+(?:\.[0-9]*(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)")
_NULL_WORDS = ("", "nan", "null", "none", "na", "n/a", "-")


@dataclass(frozen=True)
class LabelTable:
    """Labels by the key of their row.

    Attributes
    ----------
    block : Block
        ``key`` (bytes), and as float32 the labels with their errors ``_err``, in the catalog's
        units; rows that cannot be used are in ``bad``.
    not_taken : tuple of str
        Columns that are no label of the catalog.
    unit_assumed : tuple of str
        Labels whose column names no unit: taken to be in the catalog's.
    simulated : bool
        Whether the file says that nobody measured this.
    """

    block: Block
    not_taken: tuple[str, ...]
    unit_assumed: tuple[str, ...]
    simulated: bool


def read_label_table(path: Path, keys: tuple[str, ...], limits: Limits | None = None) -> LabelTable:
    """Read a table of labels.

    Parameters
    ----------
    path : Path
        Its suffix says what it is: see `SUFFIXES`.
    keys : tuple of str
        Names that the key column may have, best first, whatever the case.
    limits : Limits, optional
        How large the file may be.

    Raises
    ------
    UsageError
        If the suffix is unknown.
    BadInputError
        If the file is damaged, too large, has no key or no label, or a unit is not that of the
        label.
    """
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise UsageError(
            f"{path} does not say what kind of table it is",
            f"Its name must end with {', '.join(SUFFIXES)}",
        )
    table, simulated = _read(path, kind, limits or Limits())
    names = {name.lower(): name for name in reversed(table.colnames)}
    key = next((names[k.lower()] for k in keys if k.lower() in names), None)
    if key is None:
        raise _missing(path, table, f"no key column ({', '.join(keys)})", "Name it: --key COLUMN")
    found = {n: c for n, c in _find_labels(names).items() if c != key}
    if not any(label in found for label in LABELS):
        raise _missing(path, table, "no label", f"The labels are: {', '.join(LABELS)}")
    audit = RowAudit(_key_cells(path, table, key), 0)
    audit.reject(audit.keys == b"", "BAD_ID", f"{key} is empty")
    with_nul = np.array([b"\0" in k for k in audit.keys.tolist()], bool)  # PostgreSQL refuses it
    audit.reject(with_nul, "BAD_TEXT", f"{key} holds a NUL")
    columns: dict[str, np.ndarray] = {"key": audit.keys}
    assumed = []
    for label in (name for name in LABELS if name in found):
        columns[label] = _label_cells(path, table, found[label], label, audit, is_error=False)
        error = error_of(label)
        columns[error] = np.full(len(table), np.nan, "f4")
        if error in found:
            columns[error] = _label_cells(path, table, found[error], label, audit, is_error=True)
            columns[error][np.isnan(columns[label])] = np.nan
        if not table[found[label]].unit:
            assumed.append(label)
    check_labels(audit, columns, tuple(name for name in LABELS if name in columns))
    _reject_duplicates(audit, columns)
    taken = {key, *(found[n] for n in columns if n in found)}
    not_taken = tuple(name for name in table.colnames if name not in taken)
    return LabelTable(audit.block(columns), not_taken, tuple(assumed), simulated)


def _read(path: Path, kind: str, limits: Limits) -> tuple[Table, bool]:
    """The table in a file, and whether the file calls itself simulated."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about units, which are checked here
            if kind == "fits":
                return _read_fits(path, limits)
            with open_unpacked(path, limits) as stream:
                table = _READERS[kind](path, stream, limits)
            limits.check_rows(path, len(table))
            return table, False
    except (
        OSError, ValueError, TypeError, KeyError, IndexError, SyntaxError, ExpatError, csv.Error,
    ) as exc:  # fmt: skip
        raise BadInputError(
            "WRONG_CONTENT",
            f"{path} cannot be read as {kind}: {' '.join(str(exc).split())[:200]}",
            "Write it again, or give it the suffix of what it is",
        ) from exc


def _read_fits(path: Path, limits: Limits) -> tuple[Table, bool]:
    """The first table of a FITS file, and whether the file calls itself simulated."""
    with open_fits(path) as file:
        table = open_table(file)
        limits.check_rows(path, table.n_rows)
        verify_checksums(file, table.hdu)
        file.stream.seek(0)
        found = Table.read(
            file.stream, format="fits", hdu=file.hdus.index(table.hdu), unit_parse_strict="silent"
        )
        return found, file.simulated


def _read_csv(path: Path, stream: BinaryIO, limits: Limits) -> Table:
    """A CSV file with a header line, all texts; a row of another length is no table.

    Empty lines, of which many files have one at their end, are no rows.
    """
    lines: list[list[str]] = []
    with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
        for row in csv.reader(text, strict=True):
            if row:
                lines.append(row)
                limits.check_rows(path, len(lines) - 1)
    if not lines:
        raise ValueError("it has no header")
    header, rows = [name.strip() for name in lines[0]], lines[1:]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise ValueError(f"row {number} has {len(row)} fields, the header {len(header)}")
    if len(set(header)) < len(header):
        raise ValueError("two columns have one name")
    texts = np.array(rows, dtype=str).reshape(len(rows), len(header))
    return Table({name: texts[:, i] for i, name in enumerate(header)})


def _read_parquet(path: Path, stream: BinaryIO, limits: Limits) -> Table:
    """A Parquet file; units from the VOTable in it, where it has one."""
    with pq.ParquetFile(stream, page_checksum_verification=True) as file:
        limits.check_rows(path, file.metadata.num_rows)
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        limits.check_bytes(path, sum(group.total_byte_size for group in groups))  # unpacked
        batches, n_bytes = [], 0
        for batch in file.iter_batches():
            n_bytes += batch.nbytes  # more than what was said, where words repeat
            limits.check_bytes(path, n_bytes)
            batches.append(batch)
        rows = pa.Table.from_batches(batches, file.schema_arrow)
    content = (rows.schema.metadata or {}).get(b"IVOA.VOTable-Parquet.content")
    fields = votable.parse_single_table(io.BytesIO(content)).fields if content else ()
    unit = {f.name: f.unit for f in fields}
    table = Table()
    for name in rows.column_names:
        values = rows[name]
        if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
            array = values.fill_null(pa.scalar(0, values.type)).to_numpy()
            if array.dtype == np.float16:  # too small for the fill value of a masked column
                array = array.astype(np.float32)
        else:
            array = np.array(["" if v is None else str(v) for v in values.to_pylist()], str)
        mask = pc.is_null(values).to_numpy()
        table[name] = MaskedColumn(array, mask=mask, unit=unit.get(name))
    return table


def _read_ecsv(path: Path, stream: BinaryIO, limits: Limits) -> Table:
    """An ECSV file."""
    with io.TextIOWrapper(stream, encoding="utf-8", newline=None) as text:
        return ascii.read(text.read().splitlines(), format="ecsv", guess=False)


def _read_votable(path: Path, stream: BinaryIO, limits: Limits) -> Table:
    """The first table of a VOTable."""
    refuse_references(path, stream)
    return Table.read(stream, format="votable")


_READERS: dict[str, Callable[[Path, BinaryIO, Limits], Table]] = {
    "csv": _read_csv, "ecsv": _read_ecsv, "votable": _read_votable, "parquet": _read_parquet,
}  # fmt: skip


def _missing(path: Path, table: Table, what: str, todo: str) -> BadInputError:
    """What is said of a table that lacks a column."""
    have = ", ".join(table.colnames)
    return BadInputError("MISSING_COLUMN", f"{path} has {what}; its columns are: {have}", todo)


def _find_labels(names: Mapping[str, str]) -> dict[str, str]:
    """Catalog's name of a label or error -> name in the file (``names``: by lower case)."""
    spelled = {label: [label, *(o for o, n in _OTHER_NAMES.items() if n == label)]
               for label in LABELS}  # fmt: skip
    found = {}
    for label, forms in spelled.items():
        errors = [form.format(name) for name in forms for form in _ERROR_FORMS]
        for name, wanted in ((label, forms), (error_of(label), errors)):
            here = [names[w] for w in wanted if w in names]
            if here:
                found[name] = here[0]
    return found


def _key_cells(path: Path, table: Table, name: str) -> np.ndarray:
    """The keys as byte strings, empty where there is none."""
    column = table[name]
    masked = np.ma.getmaskarray(np.ma.asarray(column))
    texts = [b"" if m else str(v).strip().encode() for v, m in zip(column, masked, strict=True)]
    as_text = [text for text in texts if text]  # CSV has texts only
    if column.dtype.kind == "f" or (as_text and all(map(_FLOAT.fullmatch, as_text))):
        raise BadInputError(
            "BAD_DTYPE", f"the key column {name} of {path} holds floating-point numbers, in which "
            "ids lose digits", "Write it as text or integers",
        )  # fmt: skip
    return np.array(texts or [b""], "S")[: len(texts)]


def _label_cells(
    path: Path, table: Table, name: str, label: str, audit: RowAudit, *, is_error: bool
) -> np.ndarray:
    """A column in the catalog's unit, NaN where there is no value."""
    column = table[name]
    if column.ndim != 1 or column.dtype.kind not in "fiuSUO":
        raise BadInputError(
            "BAD_DTYPE", f"column {name} of {path} does not hold numbers", "Write it again"
        )
    factor, offset = factor_and_offset(column.unit, label, f"column {name} of {path}")
    values = _numbers(column, audit, name)
    missing = (values <= MISSING_BELOW) & (values > -np.inf)
    values = values * factor + (0.0 if is_error else offset)
    if is_error:
        missing |= (values < 0) | ~np.isfinite(values)
    with np.errstate(over="ignore"):  # beyond float32 means infinite, which the checks report
        return np.where(missing, np.nan, values).astype("f4")


def _numbers(column: Column, audit: RowAudit, name: str) -> np.ndarray:
    """The numbers of a column, float64; a text that is none rejects its row."""
    masked = np.ma.getmaskarray(np.ma.asarray(column))
    if column.dtype.kind in "fiu":
        values = np.asarray(column).astype("f8")
    else:
        values = np.full(len(column), np.nan)
        no_number: dict[int, str] = {}
        for i, cell in enumerate(np.asarray(column).tolist()):
            text = (
                cell.decode("ascii", "replace") if isinstance(cell, bytes) else str(cell)
            ).strip()
            if masked[i] or text.lower() in _NULL_WORDS:
                continue
            try:
                values[i] = float(text)
            except ValueError:
                no_number[i] = text[:40]
        bad = np.isin(np.arange(len(column)), list(no_number))
        audit.reject(bad, "BAD_VALUE", lambda i: f"{name} is {no_number[i]!r}")
    return np.where(masked, np.nan, values)


def _reject_duplicates(audit: RowAudit, columns: Mapping[str, np.ndarray]) -> None:
    """Of rows with one key keep the first if all say the same, else none."""
    keys = columns["key"]
    values = np.array([columns[c] for c in columns if c != "key"])
    order = np.argsort(keys, kind="stable")
    firsts = np.flatnonzero(np.append(True, keys[order][1:] != keys[order][:-1])[: len(keys)])
    repeated, conflicting = np.zeros((2, len(keys)), bool)
    number = np.zeros(len(keys), int)
    for group in np.split(order, firsts[1:]):
        if len(group) > 1 and keys[group[0]]:
            number[group] = len(group)
            if np.array_equal(values[:, group[1:]], values[:, group[:-1]], equal_nan=True):
                repeated[group[1:]] = True
            else:
                conflicting[group] = True
    for rejected, code in ((repeated, "DUP_EQUAL"), (conflicting, "DUP_CONFLICT")):
        audit.reject(
            rejected, code,
            lambda i: f"{number[i]} rows have the key {keys[i].decode('utf-8', 'replace')}",
        )  # fmt: skip
