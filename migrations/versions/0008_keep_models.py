"""Complete models are not changed, and what they were trained on is not forgotten.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

FUNCTIONS = (
    r"""CREATE FUNCTION refuse_changing_model() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'model %@% is complete: what it records never changes', old.name, old.edition
        USING HINT = 'train again: that makes a new edition';
END $$""",
    "COMMENT ON FUNCTION refuse_changing_model() IS 'Trigger: a complete model is never changed'",
    r"""CREATE FUNCTION refuse_forgetting_members() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    touched text;
BEGIN
    SELECT m.name || '@' || m.edition INTO touched FROM model m
    WHERE m.status = 'complete' AND m.model_id IN (SELECT c.model_id FROM changed c) LIMIT 1;
    IF touched IS NOT NULL THEN
        RAISE EXCEPTION 'model % is complete: what it was trained on is not forgotten', touched
            USING HINT = 'remove the model whole: crosslabel models remove';
    END IF;
    RETURN NULL;
END $$""",
    "COMMENT ON FUNCTION refuse_forgetting_members() IS 'Trigger: what a complete model was trained on is kept, or scores would not be honest'",
)

TRIGGERS = (
    r"""CREATE TRIGGER keep_model BEFORE UPDATE ON model FOR EACH ROW WHEN (old.status = 'complete' AND old IS DISTINCT FROM new) EXECUTE FUNCTION refuse_changing_model()""",
    r"""CREATE TRIGGER keep_training_member AFTER DELETE ON training_member REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION refuse_forgetting_members()""",
)


def upgrade() -> None:
    for statement in (*FUNCTIONS, *TRIGGERS):
        op.execute(sa.text(statement))


def downgrade() -> None:
    op.execute("DROP TRIGGER keep_model ON model")
    op.execute("DROP TRIGGER keep_training_member ON training_member")
    op.execute("DROP FUNCTION refuse_changing_model()")
    op.execute("DROP FUNCTION refuse_forgetting_members()")
