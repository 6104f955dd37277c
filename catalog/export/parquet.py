"""Parquet exports with the head of a VOTable embedded: units, UCDs, descriptions, provenance.

IVOA Note "Parquet in the VO" (2025-01-14): the key ``IVOA.VOTable-Parquet.content`` of the file
holds a VOTable without rows. Every page carries a CRC; NULL is Parquet's own.
"""

from __future__ import annotations

from typing import BinaryIO

import pyarrow.compute as pc
import pyarrow.parquet as pq
import sqlalchemy as sa

from catalog.export.rows import is_plain, read_blocks, schema_of
from catalog.export.selection import Selection, columns_of
from catalog.export.votable import votable_around

_KEY = "IVOA.VOTable-Parquet"


def write_parquet(conn: sa.Connection, selection: Selection, stream: BinaryIO) -> int:
    """Write a selection as Parquet; returns the number of rows."""
    columns = columns_of(conn, selection)
    n_rows = 0
    widths = {c.name: 1 for c in columns if c.kind == "text"}
    plain = dict.fromkeys(widths, True)
    with pq.ParquetWriter(
        stream, schema_of(columns), compression="zstd", write_page_checksum=True, store_schema=False
    ) as writer:
        for block in read_blocks(conn, selection, columns):
            writer.write_batch(block)
            n_rows += len(block)
            for name, width in widths.items():
                widths[name] = max(width, pc.max(pc.utf8_length(block[name])).as_py() or 0)
                plain[name] = plain[name] and is_plain(block[name])
        # of fixed width, though Parquet has none: else Astropy cannot join this head and the rows
        declared = {
            name: ("char" if plain[name] else "unicodeChar", str(width))
            for name, width in widths.items()
        }
        head, foot = votable_around(selection, columns, n_rows, declared)
        content = f'{head}\n<PARQUET type="Parquet-local-XML"/>\n{foot}'
        known = {f"table::len::{name}": str(width) for name, width in widths.items()}  # Astropy's
        known |= {f"{_KEY}.version": "1.0", f"{_KEY}.content": content}
        writer.add_key_value_metadata(known)
    return n_rows
