"""Files as they were last seen, so that a scheduled run need not read them again.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "file_stamp",
        sa.Column(
            "path",
            sa.Text(),
            nullable=False,
            comment="Path of the file when it was read (meta.id;meta.file)",
        ),
        sa.Column(
            "size",
            sa.BigInteger(),
            nullable=False,
            comment="Size of the file [byte] (phys.size;meta.file)",
        ),
        sa.Column(
            "mtime_ns",
            sa.BigInteger(),
            nullable=False,
            comment="Modification time of the file, since 1970 [ns] (time)",
        ),
        sa.Column(
            "ctime_ns",
            sa.BigInteger(),
            nullable=False,
            comment="Time of the last change of the file's inode, since 1970 [ns] (time)",
        ),
        sa.Column(
            "content_digest",
            sa.Text(),
            nullable=False,
            comment="SHA-256 of an input; of an export, digest of what it was made from (meta.checksum)",
        ),
        sa.Column(
            "stamped_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When this was noted (UTC) (time.processing)",
        ),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_file_stamp")),
        comment="Files that sync has read or written, with what tells whether they are still the same",
    )


def downgrade() -> None:
    op.drop_table("file_stamp")
