"""Parquet tables, with the units that Astropy, VOParquet and others keep in their metadata."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from astropy.io import votable
from astropy.table import meta

from catalog.errors import BadInputError
from catalog.files.opening import Limits
from catalog.tables.columns import RawColumn, RawTable

_UNIT_KEYS = (b"unit", b"units", b"UNIT", b"TUNIT")


def read_parquet(path: Path, stream: BinaryIO, limits: Limits) -> list[RawTable]:
    """Read a Parquet table.

    Parameters
    ----------
    path : Path
        For messages.
    stream : typing.BinaryIO
        The file.
    limits : Limits
        How much of it may be unpacked.

    Raises
    ------
    BadInputError
        TOO_LARGE.
    """
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
    units = _units(rows.schema)
    columns = tuple(RawColumn(i, n, units.get(n, "")) for i, n in enumerate(rows.column_names))

    def read(wanted: Sequence[RawColumn]) -> list[np.ma.MaskedArray]:
        return [_cells(path, column.name, rows.column(column.index)) for column in wanted]

    return [RawTable(path, "", columns, rows.num_rows, read)]


def _cells(path: Path, name: str, values: Any) -> np.ma.MaskedArray:
    """Return the cells of a column; null is masked."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        values = values.cast(kind)
    mask = pc.is_null(values).to_numpy()
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        array = values.fill_null(pa.scalar(0, kind)).to_numpy()
        if array.dtype == np.float16:  # too small for the fill value of a masked column
            array = array.astype(np.float32)
        return np.ma.MaskedArray(array, mask)
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_decimal,
            pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_null)  # fmt: skip
    if not any(is_kind(kind) for is_kind in text):
        raise BadInputError(
            "BAD_DTYPE", f"column {name} of {path} holds {kind}, not single numbers or texts",
            "Write it as numbers or text",
        )  # fmt: skip
    cells = np.empty(len(values), object)
    cells[:] = [v if isinstance(v, bytes) else "" if v is None else str(v)
                for v in values.to_pylist()]  # fmt: skip
    return np.ma.MaskedArray(cells, mask)


def _units(schema: Any) -> Mapping[str, str]:
    """Return the units of columns: those of the fields, of a VOTable inside, of Astropy's YAML."""
    metadata = schema.metadata or {}
    units: dict[str, str] = {}
    if header := metadata.get(b"table_meta_yaml"):
        lines = header.decode("utf-8", "replace").splitlines()
        try:
            described = meta.get_header_from_yaml(lines).get("datatype", ())
        except meta.YamlParseError as exc:
            raise ValueError("its description of the columns, table_meta_yaml, is damaged") from exc
        for column in described:
            units[column["name"]] = str(column.get("unit") or "")
    if content := metadata.get(b"IVOA.VOTable-Parquet.content"):
        for field in votable.parse_single_table(io.BytesIO(content)).fields:
            units[field.name] = str(field.unit or "")
    for field in schema:
        said = field.metadata or {}
        if key := next((k for k in _UNIT_KEYS if k in said), None):
            units[field.name] = said[key].decode("utf-8", "replace")
    return units
