"""Say what runs of jobs made, in what people count: stars, pairs, spectra; never in rows.

Each function reads the catalog after a run has succeeded and returns an `Outcome`: a line for
people and the same numbers by name for ``--json``.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from catalog.store.labels import LabelSet, find_label_set, list_label_sets
from catalog.surveys.registry import label_catalogs
from catalog.words import count
from jobs.engine.job import Outcome


def catalog_outcome(conn: sa.Connection, label_set: str, release: str) -> Outcome:
    """Count the stars, or spectra, of a release of a survey's catalog, and those with labels.

    Parameters
    ----------
    label_set : str
        Name of the label set that the ingest published.
    release : str
        Data release of the sources.
    """
    published = find_label_set(conn, label_set)
    labelled = {"label_set": published.label_set_id}
    survey, catalog = label_catalogs()[label_set.partition("/")[0]]
    if catalog.star:
        query = """
            SELECT count(DISTINCT s.star_id),
                   count(DISTINCT s.star_id) FILTER (WHERE l.source_id IS NOT NULL)
            FROM source s LEFT JOIN stellar_label l
              ON l.source_id = s.source_id AND l.label_set_id = :label_set
            WHERE s.survey = :survey AND starts_with(s.survey_key, :prefix)"""
        prefix = f"{release}/" if survey.key.has_release else ""
        given = {**labelled, "survey": survey.name, "prefix": prefix}
        n, n_labelled = conn.execute(sa.text(query), given).one()
        return _labelled("star", n, n_labelled, published.full_name)
    if catalog.mark and survey.detail is not None:
        query = f"SELECT count(*) FROM {survey.detail.table} WHERE {catalog.mark}"
    else:
        query = "SELECT count(*) FROM source WHERE survey = :survey"
    n = conn.scalar(sa.text(query), {"survey": survey.name} if ":survey" in query else {})
    return _labelled("spectrum", n or 0, published.n_rows or 0, published.full_name)


def _labelled(what: str, n: int, n_labelled: int, label_set: str) -> Outcome:
    """Return how many there are of something, and how many a label set labels."""
    counts = {f"{what}_count": n, "labelled_count": n_labelled}
    return Outcome(f"{count(n, what)}, {n_labelled:,} with labels in {label_set}", counts)


def labelled_words(conn: sa.Connection, label_set: LabelSet) -> str:
    """Return what a label set labels with its number, such as ``490 stars`` or ``148 spectra``.

    Rows of a survey of stars are counted by star, for a survey may list a star twice.
    """
    given = {"id": label_set.label_set_id}
    query = """
        SELECT s.star_id IS NOT NULL FROM stellar_label l JOIN source s USING (source_id)
        WHERE l.label_set_id = :id LIMIT 1"""
    if not conn.scalar(sa.text(query), given):
        return count(label_set.n_rows or 0, "spectrum")
    query = """
        SELECT count(DISTINCT coalesce(s.star_id, -s.source_id))
        FROM stellar_label l JOIN source s USING (source_id) WHERE l.label_set_id = :id"""
    return count(conn.scalar(sa.text(query), given) or 0, "star")


def exported_words(conn: sa.Connection, what: str, n_rows: int) -> str:
    """Return what an exported file holds: stars or spectra, pairs, or rows of a table.

    Parameters
    ----------
    what : str
        Name of a label set, sample, table or view, that `select_for_export` found.
    n_rows : int
        Rows of the file.
    """
    if any(s.name == what.partition("@")[0] for s in list_label_sets(conn)):
        words = labelled_words(conn, find_label_set(conn, what))
        many = int(words.split()[0].replace(",", "")) != n_rows
        return f"{words} ({count(n_rows, 'row')})" if many else words
    known = conn.scalar(sa.text("SELECT 1 FROM sample WHERE name = :name"), {"name": what})
    return count(n_rows, "pair" if known else "row")


def labels_outcome(conn: sa.Connection, name: str) -> Outcome:
    """Count the stars, or spectra, that a table of labels labels."""
    published = find_label_set(conn, name)
    words = labelled_words(conn, published)
    n = published.n_rows or 0
    return Outcome(f"{words} labelled by {published.full_name}", {"labelled_count": n})


def specobj_outcome(conn: sa.Connection) -> Outcome:
    """Count the SDSS spectra that the catalog knows, with or without their arrays."""
    n = conn.scalar(sa.text("SELECT count(*) FROM source WHERE survey = 'sdss'")) or 0
    return Outcome(f"{count(n, 'SDSS spectrum')} known", {"spectrum_count": n})


def spectra_outcome(conn: sa.Connection, kind: str, paths: Sequence[str]) -> Outcome:
    """Count the spectra that files gave, and those among them without usable pixels.

    Parameters
    ----------
    kind : str
        Kind of the input files.
    paths : sequence of str
        The files, absolute.
    """
    query = """
        SELECT count(*), count(*) FILTER (WHERE b.spectrum_state <> 'ok')
        FROM spectrum_blob b JOIN input_file f USING (input_file_id)
        WHERE f.kind = :kind AND f.path = ANY(:paths)"""
    n, empty = conn.execute(sa.text(query), {"kind": kind, "paths": list(paths)}).one()
    text = count(n, "spectrum") + (f", {empty:,} of them without usable pixels" if empty else "")
    return Outcome(text, {"spectrum_count": n, "empty_count": empty})


def crossmatch_outcome(conn: sa.Connection, crossmatch_id: int) -> Outcome:
    """Count the pairs of a crossmatch and the stars of its left side that are in them."""
    query = """
        SELECT count(*), count(DISTINCT coalesce(s.star_id, -m.left_id))
        FROM match m JOIN source s ON s.source_id = m.left_id
        WHERE m.crossmatch_id = :id"""
    pairs, stars = conn.execute(sa.text(query), {"id": crossmatch_id}).one()
    text = f"{count(pairs, 'pair')} of {count(stars, 'star')}"
    return Outcome(text, {"pair_count": pairs, "star_count": stars})


def sample_outcome(conn: sa.Connection, name: str) -> Outcome:
    """Count the pairs of a sample and those that its rules accepted."""
    query = """
        SELECT count(*), count(*) FILTER (WHERE accepted)
        FROM sample_member JOIN sample USING (sample_id) WHERE name = :name"""
    pairs, accepted = conn.execute(sa.text(query), {"name": name}).one()
    text = f"{accepted:,} of {count(pairs, 'pair')} accepted"
    return Outcome(text, {"pair_count": pairs, "accepted_count": accepted})


def model_outcome(conn: sa.Connection, run_id: int) -> Outcome:
    """Count the spectra and stars that the model of a run was trained on."""
    query = """
        SELECT m.name || '@' || m.edition, count(*), count(DISTINCT t.star_id)
        FROM model m JOIN training_member t USING (model_id)
        WHERE m.run_id = :run GROUP BY 1"""
    name, spectra, stars = conn.execute(sa.text(query), {"run": run_id}).one()
    text = f"{name} trained on {count(spectra, 'spectrum')} of {count(stars, 'star')}"
    return Outcome(text, {"spectrum_count": spectra, "star_count": stars})


def prediction_outcome(conn: sa.Connection, name: str) -> Outcome:
    """Count the spectra that a prediction labels, and the model's own training spectra in it."""
    published = find_label_set(conn, name)
    query = """
        SELECT count(*), count(*) FILTER (WHERE (flags >> b.bit) & 1 = 1)
        FROM stellar_label CROSS JOIN flag_bit b
        WHERE label_set_id = :id AND b.producer = :producer AND b.name = 'TRAINED_ON'"""
    given = {"id": published.label_set_id, "producer": published.name}
    n, trained = conn.execute(sa.text(query), given).one()
    text = f"{count(n, 'spectrum')} labelled in {published.full_name}"
    if trained:
        text += f", {trained:,} of them training spectra (flag TRAINED_ON)"
    return Outcome(text, {"spectrum_count": n, "trained_on_count": trained})
