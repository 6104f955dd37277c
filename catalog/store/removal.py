"""Take an edition of a label set away, with the sources that came with it and that nothing uses."""

from __future__ import annotations

from dataclasses import dataclass, field

import sqlalchemy as sa

from catalog.store.labels import LabelSet
from catalog.surveys.registry import label_catalogs
from catalog.surveys.survey import Catalog, Survey

#: Why a source ``g`` stays: words, and the tables (with the column, if not source_id) that have it.
_USES = (
    ("with a spectrum", ("spectrum_blob",)),
    ("in a sample", ("star_link.left_id", "star_link.right_id", "sample_member.left_id",
                     "sample_member.right_id")),
    ("of a model's training", ("training_member",)),
    ("of another edition or label set", ("stellar_label", "unlabelled_source")),
)  # fmt: skip
_TOOK_PART = "ref_set = :full_name OR :full_name = ANY(test_sets)"


@dataclass(frozen=True)
class Removed:
    """The numbers of rows that were removed with an edition.

    Attributes
    ----------
    full_name : str
        The edition.
    labels, sources, files : int
        Rows of labels, entries of the survey, and files of which nothing is left.
    kept : dict of str to int
        Entries of the survey that the edition's files had and that stay, by what uses them; each
        is counted once.
    """

    full_name: str
    labels: int
    sources: int
    files: int
    kept: dict[str, int] = field(default_factory=dict)


def rests_on(conn: sa.Connection, found: LabelSet) -> list[str]:
    """Return the models and samples that rest on an edition, in words.

    A sample that names the label set without an edition rests on the one that was the newest when
    it was selected.
    """
    words = conn.scalars(
        sa.text("""
        SELECT 'the model ' || m.name || '@' || m.edition FROM model m
        WHERE m.label_set_id = :id
        UNION ALL
        SELECT 'the sample ' || s.name FROM sample s
        CROSS JOIN LATERAL (SELECT max(r.finished_at) AS at FROM job_run r
            WHERE r.kind = 'sample' AND r.target = s.name AND r.state = 'succeeded') last
        WHERE :full_name IN (s.params ->> 'reference_labels', s.params ->> 'compared_labels')
        OR :name IN (s.params ->> 'reference_labels', s.params ->> 'compared_labels')
        AND :id = (SELECT l.label_set_id FROM label_set l WHERE l.name = :name
            AND l.published_at <= greatest(s.created_at, last.at)
            ORDER BY l.edition DESC LIMIT 1)
        ORDER BY 1"""),
        {"id": found.label_set_id, "name": found.name, "full_name": found.full_name},
    )
    return list(dict.fromkeys(words))


def count_evaluations(conn: sa.Connection, found: LabelSet) -> int:
    """Return the number of stored evaluations in which an edition took part."""
    query = sa.text(f"SELECT count(*) FROM evaluation WHERE {_TOOK_PART}")
    return conn.scalar(query, {"full_name": found.full_name}) or 0


def remove_edition(conn: sa.Connection, found: LabelSet) -> Removed:
    """Remove an edition and its evaluations; of a survey's also sources that nothing else uses.

    Sources stay that a spectrum, another edition or label set, a sample or a model uses, and that
    others named too, such as specObj. What only the survey's catalog said of them goes with the
    last edition that has them. Pairs of crossmatches go with their sources; the next crossmatch
    sees that they are gone.

    Parameters
    ----------
    conn : Connection
        For writing; the caller holds the locks.
    found : LabelSet
        The edition; nothing rests on it.
    """
    query = f"DELETE FROM evaluation WHERE {_TOOK_PART}"
    conn.execute(sa.text(query), {"full_name": found.full_name})
    _note_files(conn, found)
    brought = _note_sources(conn, found)
    query = "DELETE FROM label_set WHERE label_set_id = :id"
    conn.execute(sa.text(query), {"id": found.label_set_id})
    kept, sources = _remove_sources(conn, *brought) if brought else ({}, 0)
    return Removed(found.full_name, found.n_rows or 0, sources, _remove_files(conn), kept)


def _note_files(conn: sa.Connection, found: LabelSet) -> None:
    """Note the files of the edition in a temporary table."""
    conn.execute(
        sa.text(
            "CREATE TEMPORARY TABLE gone_file ON COMMIT DROP AS "
            f"SELECT input_file_id FROM label_set_file WHERE label_set_id = {found.label_set_id:d}"
        )
    )


def _note_sources(conn: sa.Connection, found: LabelSet) -> tuple[Survey, Catalog] | None:
    """Note the sources that may go in a temporary table; returns what brought them, if any did."""
    prefix, _, release = found.name.partition("/")
    if found.kind != "survey" or prefix not in label_catalogs() or not release:
        return None
    survey, catalog = label_catalogs()[prefix]
    conn.execute(sa.text("CREATE TEMPORARY TABLE gone_source (source_id bigint) ON COMMIT DROP"))
    conn.execute(
        sa.text(
            "INSERT INTO gone_source SELECT s.source_id FROM source s WHERE s.survey = :survey AND "
            "(s.source_id IN (SELECT source_id FROM stellar_label WHERE label_set_id = :id "
            "UNION ALL SELECT source_id FROM unlabelled_source WHERE label_set_id = :id) "
            f"OR {_brought(survey, catalog)} AND NOT EXISTS (SELECT FROM label_set o "
            "WHERE o.name = :name AND o.label_set_id <> :id)) "
            # What comes to rest on them meanwhile has come before they are judged.
            "ORDER BY s.source_id FOR UPDATE OF s"
        ),
        {"id": found.label_set_id, "name": found.name, "release": f"{release}/",
         "survey": survey.name, "label_sets": f"{prefix}/"},
    )  # fmt: skip
    return survey, catalog


def _brought(survey: Survey, catalog: Catalog) -> str:
    """Return the condition on a source ``s`` that a file of ``:name`` brought it, if none is left.

    Keys that begin with the release tell; else the catalog's mark, where no other release of it has
    labels here.
    """
    if survey.key.has_release:
        return "starts_with(s.survey_key, :release)"
    if not catalog.mark or survey.detail is None:
        return "false"
    return (
        f"EXISTS (SELECT FROM {survey.detail.table} d WHERE d.source_id = s.source_id "
        f"AND d.{catalog.mark}) AND NOT EXISTS (SELECT FROM label_set l "
        "WHERE l.label_set_id <> :id AND starts_with(l.name, :label_sets))"
    )


def _remove_sources(
    conn: sa.Connection, survey: Survey, catalog: Catalog
) -> tuple[dict[str, int], int]:
    """Remove those of the noted sources that nothing uses.

    Returns
    -------
    kept : dict of str to int
        Those that stay, by what uses them.
    gone : int
        Those that went.
    """
    if survey.detail is not None and catalog.own:
        _forget(conn, survey.detail.table, catalog)
    kept = {}
    for words, condition in _uses(survey):
        query = f"DELETE FROM gone_source g WHERE {condition}"
        if n := conn.execute(sa.text(query)).rowcount:
            kept[words] = n
    for side in ("left_id", "right_id"):
        conn.execute(
            sa.text(f"DELETE FROM match m USING gone_source g WHERE m.{side} = g.source_id")
        )
    gone = conn.execute(
        sa.text("DELETE FROM source s USING gone_source g WHERE s.source_id = g.source_id")
    ).rowcount
    conn.execute(
        sa.text(
            "DELETE FROM star t WHERE NOT EXISTS (SELECT FROM source s WHERE s.star_id = t.star_id)"
            " AND NOT EXISTS (SELECT FROM training_member m WHERE m.star_id = t.star_id)"
            " AND NOT EXISTS (SELECT FROM star_link k WHERE k.star_id = t.star_id)"
        )
    )
    return kept, gone


def _uses(survey: Survey) -> list[tuple[str, str]]:
    """Return what may use a source ``g``: in words, and as a condition."""
    found = [
        (
            words,
            " OR ".join(
                f"EXISTS (SELECT FROM {table} u WHERE u.{column or 'source_id'} = g.source_id)"
                for table, _, column in (name.partition(".") for name in tables)
            ),
        )
        for words, tables in _USES
    ]
    if survey.detail is not None:
        of_row = (
            f"EXISTS (SELECT FROM {survey.detail.table} d WHERE d.source_id = g.source_id AND d."
        )
        found += [(words, f"{of_row}{column})") for words, column in survey.named_by]
    return found


def _forget(conn: sa.Connection, table: str, catalog: Catalog) -> None:
    """Take away what a catalog said of the noted sources that are in no edition of it any more."""
    listed = " OR ".join(
        f"EXISTS (SELECT FROM {rows} v JOIN label_set l USING (label_set_id) "
        "WHERE v.source_id = g.source_id AND starts_with(l.name, :label_sets))"
        for rows in ("stellar_label", "unlabelled_source")
    )
    conn.execute(
        sa.text(
            f"UPDATE {table} d SET {', '.join(f'{c} = NULL' for c in catalog.own)} "
            f"FROM gone_source g WHERE d.source_id = g.source_id AND NOT ({listed})"
        ),
        {"label_sets": f"{catalog.label_set}/"},
    )


def _remove_files(conn: sa.Connection) -> int:
    """Remove the noted files that made nothing else, with their quarantine; returns how many."""
    unused = (
        "SELECT g.input_file_id FROM gone_file g WHERE NOT EXISTS (SELECT FROM label_set_file f "
        "WHERE f.input_file_id = g.input_file_id) AND NOT EXISTS (SELECT FROM spectrum_blob b "
        "WHERE b.input_file_id = g.input_file_id)"
    )
    conn.execute(sa.text(f"DELETE FROM quarantine WHERE input_file_id IN ({unused})"))
    query = sa.text(f"DELETE FROM input_file WHERE input_file_id IN ({unused})")
    return conn.execute(query).rowcount
