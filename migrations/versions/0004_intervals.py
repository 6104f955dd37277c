"""Half widths of the intervals that hold 95%, beside the errors that hold 68%.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "prediction_detail",
        sa.Column(
            "half_width95",
            postgresql.ARRAY(sa.REAL()),
            nullable=True,
            comment="Half width of the interval of 95%, one per label of the model (stat.error)",
        ),
    )


def downgrade() -> None:
    op.drop_column("prediction_detail", "half_width95")
