"""A digest of what a database says: natural keys and values; no surrogate ids, runs or times."""

from __future__ import annotations

import sqlalchemy as sa

from catalog.store.db import Database
from catalog.store.schema import metadata

_SOURCE = "(SELECT survey || ' ' || survey_key FROM source k WHERE k.source_id = t.{0})"
#: What stands for a surrogate key: an expression over the row ``t``.
_NATURAL = {
    "source_id": _SOURCE,
    "left_id": _SOURCE,
    "right_id": _SOURCE,
    "star_id": "(SELECT star_key FROM star k WHERE k.star_id = t.{0})",
    "label_set_id": "(SELECT name || '@' || edition FROM label_set k WHERE k.label_set_id = t.{0})",
    "model_id": "(SELECT name || '@' || edition FROM model k WHERE k.model_id = t.{0})",
    "sample_id": "(SELECT name FROM sample k WHERE k.sample_id = t.{0})",
    "crossmatch_id": "(SELECT concat_ws(':', left_spec, right_spec, radius_arcsec) "
    "FROM crossmatch k WHERE k.crossmatch_id = t.{0})",
    "scan_id": "(SELECT name FROM scan k WHERE k.scan_id = t.{0})",
    "input_file_id": "(SELECT kind || ' ' || path FROM input_file k WHERE k.input_file_id = t.{0})",
}
_OF_SURROGATES = {"left_digest", "right_digest"}  # of match_coverage: they cover source_id
_LEDGER = {"job_run", "job_chunk", "file_stamp"}


def content_digests(db: Database) -> dict[str, str]:
    """Table -> digest of its rows, of all tables but the ledger's, and the files' times."""
    with db.reader() as conn:
        return {
            table.name: conn.scalar(sa.text(_query(table)))
            for table in metadata.sorted_tables
            if table.name not in _LEDGER
        }


def _query(table: sa.Table) -> str:
    values = []
    for column in table.columns:
        if column.name in _NATURAL:
            values.append(_NATURAL[column.name].format(column.name))
        elif column.name not in {"run_id", *_OF_SURROGATES} and not isinstance(
            column.type, sa.DateTime
        ):
            values.append(f't."{column.name}"')
    return (
        "SELECT count(*) || ' rows ' || md5(coalesce(string_agg(line, ',' ORDER BY line), '')) "
        f'FROM (SELECT md5(ROW({", ".join(values)})::text) AS line FROM "{table.name}" t) x'
    )
