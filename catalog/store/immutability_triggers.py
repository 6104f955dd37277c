"""Guards on what is published: triggers, and the functions that they call, with their comments.

`crosslabel db upgrade` makes them anew when they change (`catalog.store.derived`); they are
replaced in place, so that no other session ever sees a table without its guards.
"""

from __future__ import annotations

from dataclasses import dataclass

from catalog.store.sql_function import Function

REFUSE_COMPLETE = Function(
    "refuse_complete_label_set",
    "",
    """
CREATE OR REPLACE FUNCTION refuse_complete_label_set() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    touched text;
BEGIN
    SELECT l.name || '@' || l.edition INTO touched FROM label_set l
    WHERE l.status = 'complete'
      AND l.label_set_id IN (SELECT c.label_set_id FROM changed c) LIMIT 1;
    IF touched IS NOT NULL THEN
        RAISE EXCEPTION 'label set % is complete: its rows never change', touched
            USING HINT = 'publish a new edition instead';
    END IF;
    RETURN NULL;
END $$
""",
    "Trigger: rows of a complete label set are never written",
)

REFUSE_TRUNCATE = Function(
    "refuse_truncate_of_complete",
    "",
    """
CREATE OR REPLACE FUNCTION refuse_truncate_of_complete() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    kept text;
BEGIN
    SELECT l.name || '@' || l.edition INTO kept FROM label_set l
    WHERE l.status = 'complete' LIMIT 1;
    IF kept IS NOT NULL THEN
        RAISE EXCEPTION 'label set % is complete: its rows never change', kept
            USING HINT = 'an edition goes whole: DELETE FROM label_set';
    END IF;
    RETURN NULL;
END $$
""",
    "Trigger: tables that hold rows of complete label sets are never emptied",
)

REFUSE_REOPEN = Function(
    "refuse_reopening_label_set",
    "",
    """
CREATE OR REPLACE FUNCTION refuse_reopening_label_set() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'label set %@% is complete: it keeps its name, kind and status',
        old.name, old.edition USING HINT = 'publish a new edition instead';
END $$
""",
    "Trigger: a complete label set is never renamed or opened again",
)

REFUSE_MODEL = Function(
    "refuse_changing_model",
    "",
    """
CREATE OR REPLACE FUNCTION refuse_changing_model() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'model %@% is complete: what it records never changes', old.name, old.edition
        USING HINT = 'train again: that makes a new edition';
END $$
""",
    "Trigger: a complete model is never changed",
)

REFUSE_FORGETTING = Function(
    "refuse_forgetting_members",
    "",
    """
CREATE OR REPLACE FUNCTION refuse_forgetting_members() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    touched text;
BEGIN
    SELECT m.name || '@' || m.edition INTO touched FROM model m
    WHERE m.status = 'complete' AND m.model_id IN (SELECT c.model_id FROM changed c) LIMIT 1;
    IF touched IS NOT NULL THEN
        RAISE EXCEPTION 'model % is complete: what it was trained on is not forgotten', touched
            USING HINT = 'remove the model whole: crosslabel model remove';
    END IF;
    RETURN NULL;
END $$
""",
    "Trigger: what a complete model was trained on is kept, or scores would not be honest",
)

FUNCTIONS = (
    REFUSE_COMPLETE,
    REFUSE_TRUNCATE,
    REFUSE_REOPEN,
    REFUSE_MODEL,
    REFUSE_FORGETTING,
)


@dataclass(frozen=True)
class Trigger:
    """A trigger on a table: its name and the statement that makes it."""

    name: str
    table: str
    create: str


def _guard(table: str, event: str, rows: str) -> Trigger:
    """Return the guard of ``table`` against one kind of write to complete editions."""
    name = f"guard_{table}_{event}_{rows}".lower()
    return Trigger(
        name,
        table,
        f"CREATE OR REPLACE TRIGGER {name} AFTER {event} ON {table} "
        f"REFERENCING {rows} TABLE AS changed FOR EACH STATEMENT "
        "EXECUTE FUNCTION refuse_complete_label_set()",
    )


def _keep(table: str) -> Trigger:
    """Return the guard of ``table`` against TRUNCATE, which no other guard sees."""
    name = f"keep_{table}"
    return Trigger(
        name,
        table,
        f"CREATE OR REPLACE TRIGGER {name} BEFORE TRUNCATE ON {table} FOR EACH STATEMENT "
        "EXECUTE FUNCTION refuse_truncate_of_complete()",
    )


GUARDED = ("stellar_label", "prediction_detail", "unlabelled_source")

TRIGGERS = (
    # An update is guarded against moving rows in, and out.
    *(
        _guard(table, event, rows)
        for table in GUARDED
        for event, rows in (
            ("INSERT", "NEW"), ("UPDATE", "NEW"), ("UPDATE", "OLD"), ("DELETE", "OLD")
        )
    ),
    *(_keep(table) for table in GUARDED),
    Trigger(
        "keep_label_set",
        "label_set",
        "CREATE OR REPLACE TRIGGER keep_label_set BEFORE UPDATE ON label_set FOR EACH ROW "
        "WHEN (old.status = 'complete' AND (old.status, old.name, old.edition, old.kind) "
        "IS DISTINCT FROM (new.status, new.name, new.edition, new.kind)) "
        "EXECUTE FUNCTION refuse_reopening_label_set()",
    ),
    Trigger(
        "keep_model",
        "model",
        "CREATE OR REPLACE TRIGGER keep_model BEFORE UPDATE ON model FOR EACH ROW "
        "WHEN (old.status = 'complete' AND old IS DISTINCT FROM new) "
        "EXECUTE FUNCTION refuse_changing_model()",
    ),
    # Rows may come: spectra of an imported model's stars are linked when they are found.
    Trigger(
        "keep_training_member",
        "training_member",
        "CREATE OR REPLACE TRIGGER keep_training_member AFTER DELETE ON training_member "
        "REFERENCING OLD TABLE AS changed FOR EACH STATEMENT "
        "EXECUTE FUNCTION refuse_forgetting_members()",
    ),
)  # fmt: skip
