"""Label sets and samples as people take them away, each as a query in a stable order."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from catalog.export.selection import Selection
from catalog.store.columns import error_of
from catalog.store.labels import LabelSet, find_label_set, flag_meanings, labels_of
from catalog.store.samples import Sample
from catalog.version import code_version

_KEYS = """s.survey, s.survey_key, a.apogee_id, p.plate, p.mjd, p.fiberid, p.run2d, p.specobjid,
       s.ra, s.dec"""
_OPTIONAL = ("apogee_id", "plate", "mjd", "fiberid", "run2d", "specobjid", "chi2", "distance")


def label_set_selection(conn: sa.Connection, which: LabelSet) -> Selection:
    """One edition: keys and positions of its sources, the labels that it has, their errors, flags.

    Columns that are NULL throughout are left out, but an error stays with its label.
    """
    source = f"""stellar_label l
JOIN source s USING (source_id)
LEFT JOIN apogee_star a USING (source_id)
LEFT JOIN sdss_spectrum p USING (source_id)
LEFT JOIN prediction_detail d USING (label_set_id, source_id)
WHERE l.label_set_id = {which.label_set_id}"""
    labels = labels_of(conn, which.label_set_id)
    values = [f"l.{name}" for label in labels for name in (label, error_of(label))]
    inner = f"SELECT {_KEYS}, {', '.join([*values, 'd.chi2', 'd.distance'])}, l.flags FROM {source}"
    empty = _empty_columns(conn, inner, _OPTIONAL)
    own = [name.partition(".")[2] for name in values]
    keys = [name.strip().partition(".")[2] for name in _KEYS.split(",")]
    kept = [c for c in (*keys, *own, "chi2", "distance", "flags") if c not in empty]
    provenance = label_set_provenance(conn, which)
    return Selection(
        name=which.full_name,
        description=which.description or f"Label set {which.full_name}",
        query=f"SELECT {', '.join(kept)} FROM ({inner}) i",
        order=("survey", "survey_key"),
        provenance={"what": f"label set {which.full_name}", "written_by": code_version()}
        | provenance,
        date=provenance["published_at"],
        notes=flag_notes(conn, which.name),
    )


def _empty_columns(conn: sa.Connection, query: str, names: tuple[str, ...]) -> set[str]:
    """Return the columns, of those given, that are NULL in all rows of a query."""
    known = ", ".join(f"coalesce(bool_or({name} IS NOT NULL), false)" for name in names)
    found = conn.execute(sa.text(f"SELECT {known} FROM ({query}) q")).one()
    return {name for name, is_known in zip(names, found, strict=True) if not is_known}


def flag_notes(conn: sa.Connection, producer: str) -> tuple[str, ...]:
    """Return the meanings of the bits of ``flags``, in words."""
    return tuple(
        f"flags bit {bit}: {name}, {meaning}"
        for bit, (name, meaning) in sorted(flag_meanings(conn, producer).items())
    )


def label_set_provenance(conn: sa.Connection, which: LabelSet) -> dict[str, Any]:
    """Return the inputs, parameters and code version of an edition."""
    row = conn.execute(
        sa.text(
            "SELECT l.published_at, r.params_hash, r.code_version, m.name AS model, "
            "m.edition AS model_edition, m.sha256 AS model_sha256 FROM label_set l "
            "LEFT JOIN job_run r ON r.run_id = l.run_id "
            "LEFT JOIN model m ON m.model_id = l.model_id WHERE l.label_set_id = :id"
        ),
        {"id": which.label_set_id},
    ).one()
    known = {
        "label_set": which.full_name,
        "kind": which.kind,
        "inputs_hash": which.inputs_hash,
        "params": dict(which.params or {}),
        "params_hash": row.params_hash,
        "made_by": row.code_version,
        "published_at": f"{row.published_at:%Y-%m-%dT%H:%M:%S}",
    }
    if row.model is not None:
        known["model"] = f"{row.model}@{row.model_edition}"
        known["model_sha256"] = row.model_sha256
    return known


def reference_of(conn: sa.Connection, which: Sample) -> LabelSet | None:
    """Return the label set by which a sample was selected.

    Where that is not known, the survey's set that labels most of its left sources; None if none
    does.
    """
    name = conn.scalar(
        sa.text(
            "SELECT c.name FROM current_label_set c JOIN stellar_label l USING (label_set_id) "
            "JOIN star_link k ON l.source_id IN (k.left_id, k.right_id) AND k.sample_id = :id "
            "WHERE c.kind = 'survey' GROUP BY c.name "
            "HAVING c.name = :reference OR bool_or(l.source_id = k.left_id) "
            "ORDER BY c.name = :reference DESC, count(*) DESC, c.name LIMIT 1"
        ),
        {"id": which.sample_id, "reference": which.params.get("reference_labels", "")},
    )
    return None if name is None else find_label_set(conn, name)


def sample_provenance(
    conn: sa.Connection, which: Sample, reference: LabelSet | None
) -> dict[str, Any]:
    """Return the rules and counts by which a sample was selected."""
    left, right, radius = conn.execute(
        sa.text(
            "SELECT left_spec, right_spec, radius_arcsec FROM crossmatch WHERE crossmatch_id = :id"
        ),
        {"id": which.crossmatch_id},
    ).one()
    return {
        "what": f"sample {which.name}",
        "written_by": code_version(),
        "preset": which.preset,
        "params": dict(which.params),
        "counts": None if which.counts is None else dict(which.counts),
        "crossmatch": {"left": left, "right": right, "radius_arcsec": radius},
        "reference": None if reference is None else label_set_provenance(conn, reference),
    }


def sample_selection(conn: sa.Connection, which: Sample) -> Selection:
    """Accepted pairs of a sample: keys, positions, separations, reference labels of the star."""
    reference = reference_of(conn, which)
    labels = [] if reference is None else labels_of(conn, reference.label_set_id)
    values = "".join(f", x.{name}" for label in labels for name in (label, error_of(label)))
    flags = "" if reference is None else ", x.flags"
    join = (
        ""
        if reference is None
        else "LEFT JOIN stellar_label x ON x.source_id IN (k.left_id, k.right_id) "
        f"AND x.label_set_id = {reference.label_set_id}"
    )
    query = f"""SELECT t.star_key, l.survey_key AS left_key, r.survey_key AS right_key, p.plate,
    p.mjd, p.fiberid, p.run2d, p.specobjid, l.ra AS left_ra, l.dec AS left_dec, r.ra AS right_ra,
    r.dec AS right_dec, k.sep_arcsec{values}{flags}
FROM star_link k
JOIN star t ON t.star_id = k.star_id
JOIN source l ON l.source_id = k.left_id
JOIN source r ON r.source_id = k.right_id
LEFT JOIN sdss_spectrum p ON p.source_id = k.right_id
{join} WHERE k.sample_id = {which.sample_id}"""
    return Selection(
        name=which.name,
        description=f"Accepted pairs of sample {which.name}"
        + ("" if reference is None else f", labels of {reference.full_name}"),
        query=query,
        order=("right_key", "left_key"),
        provenance=sample_provenance(conn, which, reference),
        date=f"{which.created_at:%Y-%m-%dT%H:%M:%S}",
        notes=() if reference is None else flag_notes(conn, reference.name),
    )
