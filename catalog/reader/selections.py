"""Selections of the catalog's methods: label sets, samples, stars, pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.export.comparison import comparison_selection
from catalog.export.label_sets import label_set_selection, sample_selection
from catalog.export.query import Params, filled_in
from catalog.export.selection import Selection, columns_of
from catalog.store.columns import LABELS
from catalog.store.comparisons import (
    count_pairs,
    find_compared,
    no_common_stars,
    summary_notes,
)
from catalog.store.labels import find_label_set
from catalog.store.models import MODEL_LINES
from catalog.store.people import TIMEOUT_S, limit_time
from catalog.store.samples import SAMPLE_LINES, find_sample, sample_id_of
from catalog.version import code_version
from catalog.words import names_near


def narrowed(
    conn: sa.Connection,
    selection: Selection,
    where: str | None = None,
    params: Params = None,
    columns: Sequence[str] | None = None,
) -> Selection:
    """Return some rows (by a condition in people's SQL) and columns of a selection.

    With a condition, the connection must be a session of `catalog.store.people.people_sql`.

    Raises
    ------
    UsageError
        If there is no such column.
    """
    if where is not None:
        limit_time(conn, TIMEOUT_S)
        selection = _where(selection, filled_in(conn, where, params))
    query = selection.query
    order = selection.order
    if columns is not None:
        known = [c.name for c in columns_of(conn, selection)]
        unknown = [name for name in columns if name not in known]
        if unknown or not columns:
            raise UsageError(
                f"{selection.name} has no column {', '.join(unknown)}".rstrip(),
                names_near("".join(unknown[:1]), known, "Its columns"),
            )
        wanted = ", ".join(f'"{name}"' for name in columns)
        query = f"SELECT {wanted} FROM (\n{query}\n) c"
        order = tuple(name for name in order if name in columns)
    return replace(selection, query=query, order=order)


def _where(selection: Selection, condition: str) -> Selection:
    """Return the rows of a selection that fulfil a condition."""
    query = f"SELECT * FROM (\n{selection.query}\n) w WHERE (\n{condition}\n)"
    return replace(selection, query=query)


def label_selection(conn: sa.Connection, name: str, sample: str | None) -> Selection:
    """The rows of a label set, or of those of its sources that are in a sample's accepted pairs."""
    selection = label_set_selection(conn, find_label_set(conn, name))
    if sample is None:
        return selection
    wanted = f"""(survey, survey_key) IN (
    SELECT r.survey, r.survey_key FROM star_link k
    JOIN source r ON r.source_id IN (k.left_id, k.right_id)
    WHERE k.sample_id = {find_sample(conn, sample).sample_id})"""
    return _where(selection, wanted)


def difference_selection(
    conn: sa.Connection, ref: str, tests: Sequence[str], sample: str | None, label: str | None
) -> Selection:
    """Return the rows behind a comparison, of all labels or of one."""
    if label is not None and label not in LABELS:
        raise UsageError(f"there is no label {label}", names_near(label, LABELS, "Labels"))
    selection = comparison_selection(conn, ref, tests, sample)
    return selection if label is None else _where(selection, f"label = '{label}'")


def compared_selection(
    conn: sa.Connection, ref: str, tests: Sequence[str], sample: str | None
) -> Selection:
    """The statistics of a comparison: one row per label and label set, in the function's order."""
    sets = find_compared(conn, ref, tests)
    sample_id_of(conn, sample)
    names = [s.full_name for s in sets]
    where = "mutual nearest pairs" if sample is None else f"the pairs of sample {sample}"
    return Selection(
        name=f"{', '.join(names[1:])} against {names[0]}",
        description=f"Differences from {names[0]} on {where}, in the unit of each label",
        query=filled_in(
            conn, "SELECT * FROM compare_label_sets(%s, %s, %s)", (names[0], names[1:], sample)
        ),
        order=(),
        provenance={
            "what": "comparison", "written_by": code_version(), "label_sets": names,
            "sample": sample,
        },
    )  # fmt: skip


def comparison_says(
    conn: sa.Connection, ref: str, tests: Sequence[str], sample: str | None, labels: set[str]
) -> list[str]:
    """Return what must be known to read a comparison of these labels.

    Raises
    ------
    UsageError
        If there are none.
    """
    sets = find_compared(conn, ref, tests)
    if not labels:
        raise no_common_stars(conn, sets, sample, sample_id_of(conn, sample))
    return summary_notes(conn, sets, count_pairs(conn, sets, sample), labels)


def match_selection(conn: sa.Connection, sample: str | None, rejected: bool) -> Selection:
    """The pairs of a sample, accepted or all with the reason; or all mutual nearest pairs."""
    if sample is not None and not rejected:
        return sample_selection(conn, find_sample(conn, sample))
    pairs = """SELECT {columns}, l.survey_key AS left_key, r.survey_key AS right_key,
    l.ra AS left_ra, l.dec AS left_dec, r.ra AS right_ra, r.dec AS right_dec, {more}
FROM {pairs}
JOIN source l ON l.source_id = k.left_id
JOIN source r ON r.source_id = k.right_id
LEFT JOIN star t ON t.star_id = l.star_id
LEFT JOIN sdss_spectrum p ON p.source_id = k.right_id"""
    about = {"written_by": code_version()}
    if sample is None:
        return Selection(
            name="best_match",
            description="Mutual nearest pairs of all crossmatches",
            query=pairs.format(
                columns="c.left_spec, c.right_spec, c.radius_arcsec, t.star_key",
                more="p.specobjid, k.sep_arcsec",
                pairs="best_match k JOIN crossmatch c USING (crossmatch_id)",
            ),
            order=("left_spec", "right_spec", "radius_arcsec", "left_key", "right_key"),
            provenance={"what": "view best_match", **about},
        )
    which = find_sample(conn, sample)
    return Selection(
        name=f"pairs of {sample}",
        description=f"All candidate pairs of sample {sample}, with what rejects them",
        query=pairs.format(
            columns="t.star_key, k.accepted, k.reason",
            more="p.specobjid, m.sep_arcsec, k.label_distance",
            pairs="(SELECT * FROM sample_member JOIN sample USING (sample_id)) k JOIN match m "
            "USING (crossmatch_id, left_id, right_id)",
        )
        + f"\nWHERE k.sample_id = {which.sample_id}",
        order=("left_key", "right_key"),
        provenance={"what": f"sample {sample}", **about},
        date=f"{which.created_at:%Y-%m-%dT%H:%M:%S}",
    )


def star_selection(conn: sa.Connection, sample: str | None) -> Selection:
    """Stars with their main APOGEE entry of the newest release, and their optical spectra."""
    sample_id = sample_id_of(conn, sample)
    of = "" if sample_id is None else f" AND k.sample_id = {sample_id}"
    linked = f"(SELECT count(DISTINCT k.right_id) FROM star_link k WHERE k.star_id = t.star_id{of})"
    only = (
        ""
        if sample_id is None
        else f"""
WHERE EXISTS (SELECT FROM star_link k WHERE k.star_id = t.star_id{of})"""
    )
    query = f"""SELECT t.star_key, e.survey_key, e.data_release, e.ra, e.dec, e.j, e.h, e.k, e.snr,
    e.vhelio_avg, e.nvisits, e.starflag, e.aspcapflag, {linked} AS n_spectra
FROM star t
LEFT JOIN LATERAL (
    SELECT s.survey_key, s.ra, s.dec, a.* FROM source s LEFT JOIN apogee_star a USING (source_id)
    WHERE s.star_id = t.star_id
    ORDER BY a.is_primary DESC NULLS LAST, length(a.data_release) DESC, a.data_release DESC,
             s.survey_key
    LIMIT 1
) e ON true{only}"""
    where = "" if sample is None else f" of sample {sample}"
    return Selection(
        name="stars" + where,
        description=f"Physical stars{where}: their main APOGEE entry, and how many optical spectra "
        "the samples link with them",
        query=query,
        order=("star_key",),
        provenance={"what": "stars", "written_by": code_version(), "sample": sample},
    )


_LABEL_SETS = """SELECT l.name, l.edition, l.kind, l.n_rows, m.name || '@' || m.edition AS model,
    coalesce((l.params ->> 'simulated')::boolean, false) AS simulated, l.published_at, l.description
FROM label_set l LEFT JOIN model m USING (model_id)
WHERE l.status = 'complete'"""
_SAMPLES = f"""SELECT name, preset, left_spec, right_spec, radius_arcsec, n_spectra, n_stars,
    created_at
FROM ({SAMPLE_LINES}) q"""
_MODELS = f"""SELECT name, edition, preset, labels, label_set, sample, recipe, n_spectra, created_at
FROM ({MODEL_LINES}) q"""
_NEWEST = {
    "label_sets": " AND l.label_set_id IN (SELECT label_set_id FROM current_label_set)",
    "models": " WHERE is_newest",
}


def list_selection(what: str, *, all_editions: bool = False) -> Selection:
    """Return a list of what there is: ``label_sets``, ``samples`` or ``models``."""
    query, order = {
        "label_sets": (_LABEL_SETS, ("name", "edition")),
        "samples": (_SAMPLES, ("name",)),
        "models": (_MODELS, ("name", "edition")),
    }[what]
    if not all_editions and what in _NEWEST:
        query += _NEWEST[what]
    words = what.replace("_", " ")
    return Selection(what, f"The {words} of the catalog", query, order)
