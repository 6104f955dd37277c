"""What was fetched from the archive, and what became of every item that was asked for.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "fetched_file",
        sa.Column(
            "path",
            sa.Text(),
            nullable=False,
            comment="Path of the file when it was read (meta.id;meta.file)",
        ),
        sa.Column(
            "url",
            sa.Text(),
            nullable=False,
            comment="Address in the archive from which it came (meta.ref.url)",
        ),
        sa.Column("kind", sa.Text(), nullable=False, comment="Kind of the row (meta.code.class)"),
        sa.Column("release", sa.Text(), nullable=False, comment="Data release (meta.version)"),
        sa.Column(
            "size",
            sa.BigInteger(),
            nullable=False,
            comment="Size of the file [byte] (phys.size;meta.file)",
        ),
        sa.Column(
            "sha256", sa.Text(), nullable=False, comment="SHA-256 of the content (meta.checksum)"
        ),
        sa.Column(
            "remote_version",
            sa.Text(),
            nullable=True,
            comment="What the archive calls this version: ETag or Last-Modified (meta.version)",
        ),
        sa.Column(
            "sha1",
            sa.Text(),
            nullable=True,
            comment="SHA-1 that the archive publishes and the file was checked against (meta.checksum)",
        ),
        sa.Column(
            "fetched_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the archive was last asked (UTC) (time.processing)",
        ),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_fetched_file")),
        comment="Catalog files that were downloaded from the archive",
    )
    op.create_table(
        "fetch_outcome",
        sa.Column(
            "source_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of a source (meta.id;meta.main)",
        ),
        sa.Column("kind", sa.Text(), nullable=False, comment="Kind of the row (meta.code.class)"),
        sa.Column("release", sa.Text(), nullable=False, comment="Data release (meta.version)"),
        sa.Column(
            "outcome",
            sa.Text(),
            nullable=False,
            comment="matched, none (the archive has nothing) or failed (see reason_code) (meta.code.status)",
        ),
        sa.Column(
            "reason_code",
            sa.Text(),
            nullable=True,
            comment="Why it was refused; the codes are listed in docs/operations.md (meta.code.error)",
        ),
        sa.Column("detail", sa.Text(), nullable=True, comment="The refusal in words (meta.note)"),
        sa.Column(
            "url",
            sa.Text(),
            nullable=True,
            comment="Address in the archive from which it came (meta.ref.url)",
        ),
        sa.Column(
            "path",
            sa.Text(),
            nullable=True,
            comment="Path of the file when it was read (meta.id;meta.file)",
        ),
        sa.Column(
            "attempts",
            sa.Integer(),
            server_default="1",
            nullable=False,
            comment="How often it was tried (meta.number)",
        ),
        sa.Column(
            "fetched_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the archive was last asked (UTC) (time.processing)",
        ),
        sa.CheckConstraint(
            "(outcome = 'failed') = (reason_code IS NOT NULL)",
            name=op.f("ck_fetch_outcome_reason_code"),
        ),
        sa.CheckConstraint(
            "outcome IN ('matched','none','failed')", name=op.f("ck_fetch_outcome_outcome")
        ),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["source.source_id"],
            name=op.f("fk_fetch_outcome_source_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("source_id", "kind", "release", name=op.f("pk_fetch_outcome")),
        comment="What became of every source that the archive was asked about",
    )


def downgrade() -> None:
    op.drop_table("fetch_outcome")
    op.drop_table("fetched_file")
