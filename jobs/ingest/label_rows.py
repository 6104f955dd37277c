"""The rows of a table of labels in the catalog, and the count of what became of each of them.

A row is labelled, unknown to the catalog, without a value, or bad: these add up to the file, and
each is shown with an example.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from catalog.errors import BadInputError
from catalog.reasons import advice
from catalog.records import BadItem, Block
from catalog.store.bulk import stage, upsert
from catalog.store.inputs import item_key, quarantine_items, release_rows, write_block
from catalog.store.labels import find_label_set
from catalog.store.schema import stellar_label
from catalog.surveys.registry import SURVEYS
from catalog.surveys.survey import Survey
from catalog.tables.columns import shown_names
from catalog.words import count, part, verb

_N_EXAMPLES = 3


def write_labels(conn: sa.Connection, edition: int, file_id: int, block: Block, survey: str) -> int:
    """Write the labels of the sources that the catalog has, and count what became of all rows.

    Parameters
    ----------
    edition : int
        The label set that is being built; its ``params`` take the counts.
    file_id : int
        The file, for the quarantine of its bad rows: also of those that label one source twice, and
        of those that the database refuses.
    block : Block
        Of `catalog.tables.label_table.LabelTable`.
    survey : str
        Whose sources the keys name.

    Returns
    -------
    int
        Rows that changed.
    """
    labels = [c for c in block.columns if c != "key"]
    known = " OR ".join(f'k."{c}" IS NOT NULL' for c in labels)
    stage(conn, "stage_labels", {**block.columns, "row": block.rows}, stellar_label)
    conn.execute(sa.text("DROP TABLE IF EXISTS pg_temp.stage_found"))
    conn.execute(sa.text(
        "CREATE TEMPORARY TABLE stage_found ON COMMIT DROP AS "
        "SELECT k.key, s.source_id FROM stage_labels k JOIN source s "
        f"ON s.survey = '{survey}' AND s.survey_key = k.key{_by_other_names(SURVEYS[survey])}"
    ))  # fmt: skip
    twice = _one_source_twice(conn)
    columns = {"label_set_id": ":edition", "source_id": "f.source_id", "flags": "0"}
    columns |= {c: f'k."{c}"' for c in labels}
    from_rows = (
        f"stage_found f JOIN stage_labels k USING (key) WHERE ({known}) "
        "AND k.row BETWEEN :first AND :last"
    )

    def write(part: Sequence[int]) -> int:
        first, last = int(block.rows[part[0]]), int(block.rows[part[-1]])
        params = {"edition": edition, "first": first, "last": last}
        return upsert(conn, stellar_label, columns, from_rows, params=params)

    rows, bad = write_block(conn, block, block.columns["key"], write)
    bad = tuple(sorted((*bad, *twice), key=lambda item: item.row or 0))
    release_rows(conn, file_id, range(block.n_rows), bad)
    rows += quarantine_items(conn, file_id, bad)
    gone = "DELETE FROM stage_labels WHERE row = ANY(:rows)"
    conn.execute(sa.text(gone), {"rows": [item.row for item in bad]})
    found, labelled, unknown = conn.execute(sa.text(
        f"SELECT count(f.key), count(f.key) FILTER (WHERE {known}), "
        "min(k.key) FILTER (WHERE f.key IS NULL) FROM stage_labels k "
        "LEFT JOIN (SELECT DISTINCT key FROM stage_found) f ON f.key = k.key"
    )).one()  # fmt: skip
    reasons = Counter(item.reason_code for item in bad)
    counts = {
        "n_rows": block.n_rows, "n_bad": len(bad), "n_found": labelled, "n_empty": found - labelled,
        "n_unknown": block.n_rows - len(bad) - found, "unknown": unknown,
        "catalog_keys": _example(conn, SURVEYS[survey]),
        "reasons": ", ".join(f"{n} {code}" for code, n in reasons.most_common()),
        "advice": advice(reasons),
        "bad": [f"{item_key(item)}: {item.detail}" for item in examples(bad)],
    }  # fmt: skip
    conn.execute(
        sa.text(
            "UPDATE label_set SET params = params || CAST(:counts AS jsonb) "
            "WHERE label_set_id = :id"
        ),
        {"counts": json.dumps(counts), "id": edition},
    )
    return rows


def _by_other_names(survey: Survey) -> str:
    """Return the SQL that adds what the rows of a survey's detail table name to the keys found.

    A star's name means its main rows. Of two spellings of a name that mean the same the one is
    tried that the survey knows.
    """
    detail, parts = survey.detail, []
    for name in survey.key.others if detail is not None else ():
        assert detail is not None
        main = f" AND d.{detail.is_main}" if name.main_only and detail.is_main else ""
        found = (
            " UNION SELECT k.key, d.source_id FROM stage_labels k "
            f"JOIN {detail.table} d ON d.{name.column}::text = {{key}}{main}"
        )
        parts.append(found.format(key="k.key"))
        if name.swap is not None:
            a, b = name.swap
            other = (
                f"CASE left(k.key, {len(a)}) WHEN '{a}' THEN '{b}' || substr(k.key, {len(a) + 1}) "
                f"WHEN '{b}' THEN '{a}' || substr(k.key, {len(b) + 1}) END"
            )
            parts.append(
                f"{found.format(key=other)} WHERE NOT EXISTS "
                f"(SELECT FROM {detail.table} e WHERE e.{name.column}::text = k.key)"
            )
    return "".join(parts)


def _example(conn: sa.Connection, survey: Survey) -> list[str]:
    """Return a key of the survey's sources, and one of each other kind of name that they have."""
    detail = survey.detail
    others = survey.key.others if detail is not None else ()
    names = ["min(s.survey_key)", *(f"min(d.{name.column})::text" for name in others)]
    join = "" if detail is None else f" JOIN {detail.table} d USING (source_id)"
    query = f"SELECT {', '.join(names)} FROM source s{join} WHERE s.survey = :survey"
    return [key for key in conn.execute(sa.text(query), {"survey": survey.name}).one() if key]


def _one_source_twice(conn: sa.Connection) -> list[BadItem]:
    """Take away the rows that name one source in different ways; none of them is used."""
    found = conn.execute(sa.text(
        "DELETE FROM stage_labels k USING (SELECT f.key, min(o.key) AS other FROM stage_found f "
        "JOIN stage_found o ON o.source_id = f.source_id AND o.key <> f.key GROUP BY f.key) t "
        "WHERE t.key = k.key RETURNING k.row, k.key, t.other"
    )).all()  # fmt: skip
    conn.execute(sa.text(
        "DELETE FROM stage_found f WHERE NOT EXISTS "
        "(SELECT FROM stage_labels k WHERE k.key = f.key)"
    ))  # fmt: skip
    return [
        BadItem(key, row, "DUP_CONFLICT", f"the key {other} is of the same source")
        for row, key, other in sorted(found)
    ]


def examples(bad: Iterable[BadItem]) -> list[BadItem]:
    """Return some bad rows: the first of each reason, three at most."""
    first: dict[str, BadItem] = {}
    for item in bad:
        first.setdefault(item.reason_code, item)
    return list(first.values())[:_N_EXAMPLES]


def check_counts(conn: sa.Connection, edition: int, path: str, survey: str, max_bad: float) -> None:
    """Raise unless few rows are bad and some label a source.

    Raises
    ------
    BadInputError
        TOO_MANY_BAD with examples, BAD_ID or BAD_VALUE.
    """
    query = sa.text("SELECT params FROM label_set WHERE label_set_id = :id")
    counts = conn.scalar(query, {"id": edition}) or {}
    if counts["n_bad"] > max_bad * counts["n_rows"]:
        raise BadInputError(
            "TOO_MANY_BAD",
            f"{part(counts['n_bad'], counts['n_rows'], 'row')} of {path} {verb(counts['n_bad'])} "
            f"bad ({counts['reasons']}): {'; '.join(counts['bad'])}",
            f"Nothing was published. {counts['advice']}. All of them are in the table quarantine; "
            "--max-bad raises the limit",
        )  # fmt: skip
    if counts["n_rows"] == 0:
        raise BadInputError("BAD_ID", f"{path} has no rows", "Nothing was published")
    if counts["n_found"] + counts["n_empty"] == 0:
        if not counts["catalog_keys"]:
            raise BadInputError(
                "BAD_ID", f"the catalog has no source of {survey} that {path} could label",
                "Nothing was published. Ingest the survey first",
            )  # fmt: skip
        raise BadInputError(
            "BAD_ID",
            f"no key of {path} is that of a source of {survey} in this catalog: {_beside(counts)}",
            "Nothing was published. Name the column that has such keys: --key",
        )
    if counts["n_found"] == 0:
        raise BadInputError(
            "BAD_VALUE",
            f"{path} has no label of any source in this catalog: its values are missing",
            "Nothing was published. Look at the columns of the labels",
        )


def _beside(counts: Mapping[str, Any]) -> str:
    """Return a key of the file beside those of the catalog."""
    return f"{counts['unknown']} of the file beside {' or '.join(counts['catalog_keys'])}"


def ingested(conn: sa.Connection, name: str) -> list[str]:
    """Return what became of the rows of the newest edition, in lines for people."""
    which = find_label_set(conn, name)
    known = which.params or {}
    parts = [f"{known['n_found']:,} labelled", f"{known['n_unknown']:,} unknown to the catalog"]
    parts += [f"{known['n_empty']:,} without a value"] if known["n_empty"] else []
    parts.append(f"{known['n_bad']:,} in quarantine")
    lines = [
        f"{count(known['n_rows'], 'row')}: {', '.join(parts)}; {which.full_name} labels "
        f"{count(which.n_rows or 0, 'source')}"
    ]
    if which.partial:
        lines.append("a part only: its service left rows out (OVERFLOW)")
    if known["n_unknown"]:
        lines.append(f"unknown to the catalog, such as: {_beside(known)}")
    other = [f"{column} is {label}" for label, column in known["columns"].items()
             if label != "key" and column.lower() != label]  # fmt: skip
    if other:
        lines.append(f"columns by other names: {', '.join(other)}")
    if known["not_taken"]:
        lines.append(
            f"columns not taken, no label of the catalog: {shown_names(known['not_taken'])}"
        )
    if known["unit_assumed"]:
        lines.append(f"no unit named, the catalog's assumed: {', '.join(known['unit_assumed'])}")
    return lines
