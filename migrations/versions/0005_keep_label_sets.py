"""Complete label sets are not emptied, renamed or opened again.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

FUNCTIONS = (
    r"""CREATE FUNCTION refuse_truncate_of_complete() RETURNS trigger LANGUAGE plpgsql AS $$
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
END $$""",
    "COMMENT ON FUNCTION refuse_truncate_of_complete() IS 'Trigger: tables that hold rows of complete label sets are never emptied'",
    r"""CREATE FUNCTION refuse_reopening_label_set() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'label set %@% is complete: it keeps its name, kind and status',
        old.name, old.edition USING HINT = 'publish a new edition instead';
END $$""",
    "COMMENT ON FUNCTION refuse_reopening_label_set() IS 'Trigger: a complete label set is never renamed or opened again'",
)

TRIGGERS = (
    r"""CREATE TRIGGER keep_stellar_label BEFORE TRUNCATE ON stellar_label FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate_of_complete()""",
    r"""CREATE TRIGGER keep_prediction_detail BEFORE TRUNCATE ON prediction_detail FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate_of_complete()""",
    r"""CREATE TRIGGER keep_label_set BEFORE UPDATE ON label_set FOR EACH ROW WHEN (old.status = 'complete' AND (old.status, old.name, old.edition, old.kind) IS DISTINCT FROM (new.status, new.name, new.edition, new.kind)) EXECUTE FUNCTION refuse_reopening_label_set()""",
)


def upgrade() -> None:
    for statement in (*FUNCTIONS, *TRIGGERS):
        op.execute(sa.text(statement))


def downgrade() -> None:
    op.execute("DROP TRIGGER keep_stellar_label ON stellar_label")
    op.execute("DROP TRIGGER keep_prediction_detail ON prediction_detail")
    op.execute("DROP TRIGGER keep_label_set ON label_set")
    op.execute("DROP FUNCTION refuse_truncate_of_complete()")
    op.execute("DROP FUNCTION refuse_reopening_label_set()")
