"""Scans: settings that were tried, their losses, and what each fold chose.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "scan",
        sa.Column(
            "scan_id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key of a scan (meta.id)",
        ),
        sa.Column("name", sa.Text(), nullable=False, comment="Name (meta.id)"),
        sa.Column("preset", sa.Text(), nullable=False, comment="Preset that made it (meta.id)"),
        sa.Column(
            "params",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Parameters as JSON (meta.note)",
        ),
        sa.Column(
            "params_hash",
            sa.Text(),
            nullable=False,
            comment="Digest of everything that changes the answer (meta.checksum)",
        ),
        sa.Column(
            "n_trials",
            sa.Integer(),
            nullable=True,
            comment="Number of trials that the folds chose among (meta.number)",
        ),
        sa.Column(
            "best_settings",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="Settings with the least mean loss on inner validation stars, as JSON (meta.note)",
        ),
        sa.Column(
            "best_loss",
            sa.Float(precision=53),
            nullable=True,
            comment="Mean inner_loss of best_settings (stat.fit.residual)",
        ),
        sa.Column(
            "metrics",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="Scores as JSON (stat)",
        ),
        sa.Column("chunk_key", sa.Text(), nullable=True, comment="Key of the chunk (meta.id)"),
        sa.Column(
            "state_bytes",
            sa.LargeBinary(),
            nullable=True,
            comment="Everything the next chunk of the training needs, as npz (meta.id;meta.file)",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was made (UTC) (time.creation)",
        ),
        sa.PrimaryKeyConstraint("scan_id", name=op.f("pk_scan")),
        sa.UniqueConstraint("name", name=op.f("uq_scan_name")),
        comment="Searches for the best settings of a preset; the scores are those of stars that did not choose",
    )
    op.create_table(
        "scan_fold",
        sa.Column(
            "scan_id", sa.BigInteger(), nullable=False, comment="Surrogate key of a scan (meta.id)"
        ),
        sa.Column(
            "fold",
            sa.Integer(),
            nullable=False,
            comment="Fold in which the row was held out; -1 the validation run, -2 the final fit (meta.number)",
        ),
        sa.Column(
            "trial",
            sa.Integer(),
            nullable=False,
            comment="Number of the trial in the scan, from 0 (meta.number)",
        ),
        sa.Column(
            "trial_settings",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Settings that were varied, as JSON (meta.note)",
        ),
        sa.Column(
            "inner_loss",
            sa.Float(precision=53),
            nullable=True,
            comment="Mean error of the validation stars within a fold's training part, in scaled labels (stat.fit.residual)",
        ),
        sa.Column(
            "outer_loss",
            sa.Float(precision=53),
            nullable=True,
            comment="Mean error of the stars that the fold held out, in scaled labels (stat.fit.residual)",
        ),
        sa.Column(
            "failure",
            sa.Text(),
            nullable=True,
            comment="Why it failed; NULL if it did not (meta.note)",
        ),
        sa.ForeignKeyConstraint(
            ["scan_id"], ["scan.scan_id"], name=op.f("fk_scan_fold_scan_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("scan_id", "fold", name=op.f("pk_scan_fold")),
        comment="What each fold of a scan chose, and how that did on the stars that it held out",
    )
    op.create_table(
        "scan_trial",
        sa.Column(
            "scan_id", sa.BigInteger(), nullable=False, comment="Surrogate key of a scan (meta.id)"
        ),
        sa.Column(
            "trial",
            sa.Integer(),
            nullable=False,
            comment="Number of the trial in the scan, from 0 (meta.number)",
        ),
        sa.Column(
            "fold",
            sa.Integer(),
            nullable=False,
            comment="Fold in which the row was held out; -1 the validation run, -2 the final fit (meta.number)",
        ),
        sa.Column(
            "trial_settings",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Settings that were varied, as JSON (meta.note)",
        ),
        sa.Column(
            "trial_state",
            sa.Text(),
            nullable=False,
            comment="open, done or failed (meta.code.status)",
        ),
        sa.Column(
            "inner_loss",
            sa.Float(precision=53),
            nullable=True,
            comment="Mean error of the validation stars within a fold's training part, in scaled labels (stat.fit.residual)",
        ),
        sa.Column(
            "failure",
            sa.Text(),
            nullable=True,
            comment="Why it failed; NULL if it did not (meta.note)",
        ),
        sa.CheckConstraint(
            "trial_state IN ('open','done','failed')", name=op.f("ck_scan_trial_trial_state")
        ),
        sa.ForeignKeyConstraint(
            ["scan_id"], ["scan.scan_id"], name=op.f("fk_scan_trial_scan_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("scan_id", "trial", "fold", name=op.f("pk_scan_trial")),
        comment="Settings that a scan tried in each fold, judged on stars of the fold's training part",
    )


def downgrade() -> None:
    op.drop_table("scan_trial")
    op.drop_table("scan_fold")
    op.drop_table("scan")
